"""What a dry run says of the host: the one that the real thing then takes, and why not the others."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from fleet_tui.backend.hosts.rows import HostRow, ZoneRow
from fleet_tui.backend.machines import CreateVm, MigrateVm, PlanPlacement, StartVm
from fleet_tui.backend.machines.preview import foretold, plan_placement
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.machines.states import VmState
from fleet_tui.backend.machines.vms import find
from fleet_tui.backend.operations import Plan
from fleet_tui.backend.store import Store
from tests.backend.machines.desk import Desk, ok
from tests.backend.machines.yard import START, Fleet


@pytest.fixture
def fleet(sqlite_store: Store) -> Fleet:
    found = Fleet(sqlite_store)
    found.hosts("h1", "h2", "h3")
    found.offering()
    return found


@pytest.fixture
def desk(fleet: Fleet) -> Desk:
    return Desk(fleet)


def dry(desk: Desk, kind: type, **fields: Any) -> Plan:
    request = kind(dry_run=True, **fields)
    return foretold(desk.fleet.store, desk.fleet.machines, request, desk.plan(request))


def host_in(plan: Plan) -> str:
    (host,) = {host for host in ("h1", "h2", "h3") for text in plan.changes if f" to {host}" in text}
    return host


def taken(desk: Desk, name: str) -> str:
    with desk.fleet.store.read() as tx:
        return find(tx, name).host_id or ""


def create(**fields: Any) -> dict[str, Any]:
    return {"target": "web-1", "cluster": "c", "offering": "small", "image": "/images/debian.qcow2", **fields}


def test_the_host_foretold_is_the_host_taken(fleet: Fleet, desk: Desk) -> None:
    fleet.vm("busy", "h1")
    for fields in ({}, {"host": "h1"}, {"placement": "fullest"}, {"placement": "adjacent:busy"}):
        plan = dry(desk, CreateVm, **create(**fields))
        assert not plan.refusals
        host = host_in(plan)
        name = f"web-{host}-{len(fields)}-{fields.get('placement', '')[:4]}"
        ok(desk.do(CreateVm(**create(target=name, **fields))))
        assert taken(desk, name) == host, fields


def test_a_start_is_foretold_where_its_room_is_kept(fleet: Fleet, desk: Desk) -> None:
    fleet.vm("busy", "h1")
    fleet.vm("vm", "h1", VmState.STOPPED, stopped_at=START)
    plan = dry(desk, StartVm, target="vm")
    assert host_in(plan) == "h1" and "where its room is kept" in plan.changes[-1]
    fleet.set(HostRow, "h1", connection_state="alert")
    assert host_in(dry(desk, StartVm, target="vm")) in ("h2", "h3")
    fleet.set(HostRow, "h1", connection_state="up")
    ok(desk.do(StartVm(target="vm")))
    assert taken(desk, "vm") == "h1"


@pytest.mark.parametrize("state", [VmState.RUNNING, VmState.STOPPED])
def test_a_move_is_foretold(fleet: Fleet, desk: Desk, state: VmState) -> None:
    fleet.vm("busy", "h2")
    fleet.vm("vm", "h1", state)
    plan = dry(desk, MigrateVm, target="vm")
    assert plan.changes == ("vm moves to h3",) and not plan.refusals
    ok(desk.do(MigrateVm(target="vm")))
    assert taken(desk, "vm") == "h3"


def test_a_running_vm_moves_among_hosts_that_are_secured_alike(fleet: Fleet, desk: Desk) -> None:
    fleet.vm("vm", "h1")
    fleet.set(HostRow, "h1", is_secured=True)
    for host in ("h2", "h3"):
        fleet.vm(f"on-{host}", host)
    fleet.set(HostRow, "h2", is_secured=True)
    fleet.vm("more", "h2")
    assert host_in(dry(desk, MigrateVm, target="vm")) == "h2", "though h3 has more room"
    ok(desk.do(MigrateVm(target="vm")))
    assert taken(desk, "vm") == "h2"


def test_none_is_said_with_the_reason_of_each(fleet: Fleet, desk: Desk) -> None:
    fleet.offering("large", cores=2, gib=40)
    for host in ("h1", "h2"):
        fleet.vm(f"on-{host}", host, offering="large")
    fleet.set(HostRow, "h3", resource_state="Maintenance")
    for plan in (dry(desk, CreateVm, **create(offering="large")), dry(desk, MigrateVm, target="on-h1")):
        assert [refusal.code for refusal in plan.refusals] == ["capacity"]
        assert "1 host cannot be used now" in plan.refusals[0].message and plan.target in plan.refusals[0].message
        assert "h3: the host is Maintenance" in plan.against and len(plan.against) == 3
        assert "h2: needs 40,960 MiB of RAM, 24,576 MiB are free" in plan.against or "above 85 %" in plan.against[0]
    only = dry(desk, CreateVm, **create(offering="large", host="h1"))
    assert [text.partition(":")[0] for text in only.against] == ["h1"], "of a host asked for by name, that one"


def test_what_is_refused_anyway_is_not_placed(fleet: Fleet, desk: Desk) -> None:
    fleet.vm("vm", "h1")
    plan = desk.plan(StartVm(target="vm", dry_run=True))
    assert [refusal.code for refusal in plan.refusals] == ["wrong_state"]


def test_tags_and_account_of_a_new_one_count(fleet: Fleet, desk: Desk) -> None:
    for host in ("h1", "h2"):
        fleet.vm(f"db-{host}", host, exclusion_tags=["db"])
    fleet.vm("busy", "h3")
    assert host_in(dry(desk, CreateVm, **create(exclusion_tags=("db",)))) == "h3"
    assert plan_placement(fleet.store, fleet.machines, PlanPlacement("c", "small", host="h2")).host == "h2"


def test_a_dry_run_takes_nothing(fleet: Fleet, desk: Desk) -> None:
    dry(desk, CreateVm, **create())
    with fleet.store.read() as tx:
        assert not tx.scalars(select(VmRow)).all()


def test_a_disabled_zone_is_said_and_open_to_root_admins_alone(fleet: Fleet, desk: Desk) -> None:
    fleet.vm("on", "h1")
    fleet.vm("off", "h1", VmState.STOPPED)
    fleet.set(ZoneRow, "z", allocation="Disabled")
    for request in (PlanPlacement("c", "small"), PlanPlacement(vm="off")):
        found = plan_placement(fleet.store, fleet.machines, request)
        assert found.host == "" and {v.why for v in found.verdicts} == {"zone z is disabled"} and "only root-admins" in found.note
        found = plan_placement(fleet.store, fleet.machines, request, as_root=True)
        assert found.host and "only root-admins" in found.note
    moves = plan_placement(fleet.store, fleet.machines, PlanPlacement(vm="on"), as_root=True)
    assert (moves.host, moves.note) == ("", "")
    assert plan_placement(fleet.store, fleet.machines, PlanPlacement("c", "small"), as_root=True).more
