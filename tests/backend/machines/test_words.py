"""Tags, owners and accounts are words: nothing that a terminal would obey comes in by them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleet_tui.backend.errors import InvalidInput
from fleet_tui.backend.machines import CreateOffering, CreateVm
from fleet_tui.backend.machines.offerings import create_offering
from fleet_tui.backend.store import Store
from tests.backend.machines.desk import Desk, ok
from tests.backend.machines.yard import Fleet

NEW = CreateVm(target="web-1", cluster="c", offering="small", image="/images/debian.qcow2", owners=("bob",), tags=("web",), account="shop")


def test_of_an_offering(sqlite_store: Store) -> None:
    with sqlite_store.write() as tx, pytest.raises(InvalidInput) as refused:
        create_offering(tx, CreateOffering("evil", 1, 100, 128, tags=("\x1b]52;c;ZXZpbA==\x07",)), "ada")
    assert [problem.field for problem in refused.value.problems] == ["tags"]
    with sqlite_store.write() as tx:
        assert create_offering(tx, CreateOffering("ssd", 1, 100, 128, tags=("disk=ssd",)), "ada").tags == ["disk=ssd"]


def test_of_a_new_vm(sqlite_store: Store) -> None:
    fleet = Fleet(sqlite_store, settle_s=1.0, link_s=0.5, busy_s=1.0)
    fleet.hosts("h1")
    fleet.offering()
    desk = Desk(fleet)
    hostile = replace(NEW, tags=("\x1b[2J",), owners=("a\u202eb",), exclusion_tags=(" x",), account="\x9b31m")
    with pytest.raises(InvalidInput) as refused:
        desk.ask(hostile)
    assert [problem.field for problem in refused.value.problems] == ["tags", "owners", "exclusion_tags", "account"]
    ok(desk.do(NEW))
