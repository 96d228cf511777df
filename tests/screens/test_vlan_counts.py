"""The map of what is really in the database: after random edits every letter and every count is what the daemon's own model says."""

from __future__ import annotations

from pathlib import Path

import pytest

import fleet_tui.backend.machines.rows  # noqa: F401  the tables that NICs stand in
from fleet_tui.backend.networks import queries
from fleet_tui.backend.store import Store, sqlite_url
from fleet_tui.widgets.vlan_space import VlanSpace
from tests.backend.networks import test_model as model


def test_letters_and_counts_are_those_of_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = 0

    def compare(walk: model.Walk) -> None:
        nonlocal looked
        record = queries.show_map(walk.tx, "guest")
        space = VlanSpace(record)
        counts = {state.value: count for state, count in space.counts.items()}
        assert counts == {name: count for name, count in record.physical.counts.items() if count}
        for number in range(1, model.LAST + 1):
            there = space.at(number)
            is_known = number in walk.model.scope or number in walk.model.taken
            assert (there.state.value if there else None) == (walk.model.state(number) if is_known else None), number
            assert (there.network if there else "") == walk.model.taken.get(number, ("", False))[0]
        looked += 1

    monkeypatch.setattr(model.Walk, "compare", compare)
    store = Store(sqlite_url(tmp_path / "fleet.db"))
    store.create_all()
    assert model.walk(store, 11, 400, 2) > 30
    assert looked > 200
    store.close()
