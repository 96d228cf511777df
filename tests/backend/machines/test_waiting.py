"""Waiting for room: to a deadline, holding nothing, one after the other."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from fleet_tui.backend.errors import InvalidInput
from fleet_tui.backend.hosts.rows import HostRow
from fleet_tui.backend.machines import CreateVm, StartVm, waiting
from fleet_tui.backend.machines.preview import foretold
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.machines.states import VmState
from fleet_tui.backend.operations import OperationRecord
from fleet_tui.backend.operations.rows import LeaseRow, OperationRow
from fleet_tui.backend.store import Store
from tests.backend.machines.desk import Desk, failed, ok
from tests.backend.machines.yard import Fleet

NEW = CreateVm(target="web-1", cluster="c", offering="small", kernel="/k", room_s=600.0)


@pytest.fixture
def fleet(sqlite_store: Store) -> Fleet:
    """Two hosts, full but for nothing."""
    found = Fleet(sqlite_store)
    found.hosts("h1", "h2", gib=8)
    found.offering()
    for host in ("h1", "h2"):
        for n in (1, 2):
            found.vm(f"{host}-{n}", host)
    return found


@pytest.fixture
def desk(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setattr(waiting, "LOOK_S", -1.0)  # every look is a new one
    return Desk(fleet)


def go(desk: Desk, operation: OperationRecord) -> OperationRecord:
    """Let its turn come; run it when it has begun."""
    return desk.run(operation.id) if operation.id in desk.claim().started else desk.show(operation.id)


def test_it_waits_in_the_queue_says_why_and_goes_when_there_is_room(fleet: Fleet, desk: Desk) -> None:
    fleet.set(HostRow, "h1", cores=64, memory_bytes=int(8.5 * 1024**3))
    asked = desk.ask(NEW)
    stands = go(desk, asked)
    assert stands.state.value == "waiting" and "room, until" in stands.waiting_for[0] and "full enough" in stands.waiting_for[0]
    with fleet.store.read() as tx:
        assert not tx.scalars(select(LeaseRow)).all(), "who waits holds nothing"
    for name in ("h1-1", "h1-2"):
        fleet.set(VmRow, name, state="stopped", host_id=None, last_host_id=None)
    ok(go(desk, asked))


def test_a_start_waits_too_and_without_the_word_nobody_does(fleet: Fleet, desk: Desk) -> None:
    fleet.vm("off", "h1", VmState.STOPPED)
    failed(go(desk, desk.ask(StartVm(target="off"))), "capacity", "place")
    asked = desk.ask(StartVm(target="off", room_s=600.0))
    assert go(desk, asked).state.value == "waiting" and fleet.row("off").state == "stopped"
    fleet.set(VmRow, "h2-1", state="stopped", host_id=None, last_host_id=None)
    ok(go(desk, asked))
    assert fleet.row("off").host_id == "h2"


def test_past_its_deadline_it_is_refused_with_the_reason(fleet: Fleet, desk: Desk) -> None:
    asked = desk.ask(NEW)
    assert go(desk, asked).state.value == "waiting"
    with fleet.store.write() as tx:
        row = tx.get(OperationRow, asked.id)
        assert row is not None
        limit = datetime.fromisoformat(row.parameters["room_until"]) - datetime.now(UTC)
        assert timedelta(seconds=500) < limit <= timedelta(seconds=600)
        row.parameters = {**row.parameters, "room_until": datetime.now(UTC).isoformat()}
    assert "fits nowhere now" in failed(go(desk, asked), "capacity", "place").message
    with fleet.store.read() as tx:
        assert tx.scalar(select(VmRow).where(VmRow.name == "web-1")) is None


def test_what_can_never_fit_does_not_wait(fleet: Fleet, desk: Desk) -> None:
    fleet.offering("huge", cores=2, gib=4096)
    assert "can never fit" in failed(go(desk, desk.ask(replace(NEW, offering="huge"))), "capacity", "place").message


def test_it_can_be_cancelled_while_it_waits(fleet: Fleet, desk: Desk) -> None:
    asked = desk.ask(NEW)
    go(desk, asked)
    record, running = desk.submission.cancel(asked.id, "ada")
    assert (record.state.value, running) == ("cancelled", False)
    with fleet.store.read() as tx:
        assert tx.scalar(select(VmRow).where(VmRow.name == "web-1")) is None


def test_of_two_that_wait_for_one_place_one_goes_and_the_other_waits_on(fleet: Fleet, desk: Desk) -> None:
    fleet.vm("off-1", "h1", VmState.STOPPED)
    fleet.vm("off-2", "h2", VmState.STOPPED)
    first, second = (desk.ask(StartVm(target=name, room_s=600.0)) for name in ("off-1", "off-2"))
    assert not desk.claim().started
    fleet.set(VmRow, "h2-1", state="stopped", host_id=None, last_host_id=None)
    assert desk.claim().started == (first.id,) and "another VM" in desk.show(second.id).waiting_for[0]
    ok(desk.run(first.id))
    stands = go(desk, second)
    assert stands.state.value == "waiting" and "without enough RAM" in stands.waiting_for[0]
    fleet.set(VmRow, "h2-2", state="stopped", host_id=None, last_host_id=None)
    ok(go(desk, second))


def test_a_host_that_was_named_is_the_one_waited_for(fleet: Fleet, desk: Desk) -> None:
    fleet.vm("off", "h1", VmState.STOPPED)
    asked = desk.ask(StartVm(target="off", host="h1", room_s=600.0))
    fleet.set(VmRow, "h2-1", state="stopped", host_id=None, last_host_id=None)
    assert go(desk, asked).state.value == "waiting"
    fleet.set(VmRow, "h1-1", state="stopped", host_id=None, last_host_id=None)
    ok(go(desk, asked))
    assert fleet.row("off").host_id == "h1"


def test_the_time_is_checked_and_a_dry_run_tells_of_the_wait(fleet: Fleet, desk: Desk) -> None:
    fleet.vm("off", "h1", VmState.STOPPED)
    for request in (replace(NEW, room_s=-1.0), replace(NEW, room_s=86_401.0), replace(NEW, room_s=float("nan")), StartVm(target="off", room_s=1e9)):
        with pytest.raises(InvalidInput):
            desk.ask(request)
    request = StartVm(target="off", room_s=300.0, dry_run=True)
    plan = foretold(fleet.store, fleet.machines, request, desk.plan(request))
    assert not plan.refusals and any("waits for room for up to 300 s" in text for text in plan.consequences) and plan.against
