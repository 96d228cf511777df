"""A VM that moves is on exactly one host afterwards, whatever fails, and whenever the daemon dies."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable

import pytest
from sqlalchemy import select

from fleet_tui.backend.errors import Busy, FleetError, NoCapacity, WrongState
from fleet_tui.backend.events import EventsAfter
from fleet_tui.backend.events.feed import Feed
from fleet_tui.backend.faults import Faults
from fleet_tui.backend.hosts.rows import HostRow
from fleet_tui.backend.hypervisors import GuestState, MoveOptions, Progress
from fleet_tui.backend.hypervisors.fake import VOCABULARY
from fleet_tui.backend.machines.capacity import MIB, Rules
from fleet_tui.backend.machines.moves import move, words
from fleet_tui.backend.machines.rows import MoveRow, VmRow
from fleet_tui.backend.machines.settling import Judgement, Outcome, Side, judge, settle
from fleet_tui.backend.machines.states import MovePhase, VmState
from fleet_tui.backend.store import Store
from tests.backend.machines.yard import Fleet, Hand, Killed
from tests.waiting import until

S = VmState


@pytest.fixture
def fleet(sqlite_store: Store) -> Fleet:
    found = Fleet(sqlite_store, settle_s=3.0, link_s=1.0, busy_s=5.0)
    found.hosts("h1", "h2", "h3")
    found.vm("vm", "h1")
    return found


def order(fleet: Fleet, text: str) -> None:
    for fault in Faults.parse(VOCABULARY, text)._faults:
        fleet.world.faults.add(fault)


def whole(fleet: Fleet, name: str = "vm") -> None:
    """The invariant: rows and hosts agree, on one host, with nothing left under way."""
    row = fleet.row(name)
    assert S(row.state) not in (S.MIGRATING, S.STARTING, S.STOPPING) and row.destination_id is None
    assert fleet.where(name) == ((row.host_id,) if row.state == S.RUNNING.value else ())
    assert all(attempt.outcome and attempt.ended_at for attempt in fleet.moves(name))
    assert not fleet.world.double_starts


def test_a_vm_moves_and_every_phase_is_on_record_before_its_effect(fleet: Fleet) -> None:
    hand, seen = Hand(fleet), []
    fleet.store.on_commit.append(lambda tx: seen.extend(row.phase for row in _moves(fleet)))
    found = move(hand, "vm", attempt=3)
    assert (found.outcome, found.source, found.phase, found.percent, found.attempt, found.vm) == ("moved", "h1", MovePhase.DONE, 100, 3, "vm")
    assert found.destination in ("h2", "h3") and found.downtime_ms and found.ended_at and found.operation_id == "o-1"
    assert [phase for phase, _ in itertools.groupby(seen)] == [phase.value for phase in MovePhase]
    assert fleet.places("vm") == {found.destination: "running"}
    row = fleet.row("vm")
    assert (row.state, row.host_id, row.last_host_id, row.error) == ("running", found.destination, found.destination, "")
    whole(fleet)


def _moves(fleet: Fleet) -> list[MoveRow]:
    with fleet.store.read() as tx:
        return list(tx.scalars(select(MoveRow)))


def test_progress_is_told_to_readers_but_not_more_than_four_times_a_second(fleet: Fleet) -> None:
    feed = Feed(fleet.store)
    fleet.world.pace, told = 0.0, 0
    move(Hand(fleet), "vm")
    events = [event for event in feed.after(EventsAfter(cursor=0, limit=1000)).events if event.ref == "vm:vm"]
    told = sum(event.type == "move.changed" for event in events)
    assert 5 <= told <= 9 and any("moved to" in event.text for event in events)
    feed.close()
    assert words(Progress("copy", 8 * 1024**3, int(4.6 * 1024**3), 1.9 * 1024**3, 0)) == "1.9 GiB/s, 4.6 GiB left"
    assert words(Progress("copy", 100, 100, 5 * MIB, 6 * MIB)) == "5 MiB/s, 100 B left, it changes 6 MiB/s"


@pytest.mark.parametrize("fault", [
    "move:check:vm", "move:copy:vm", "move:switch:vm", "stuck:move:switch:vm", "guest:migration:vm", "guest:find:vm:1", "hang:move:copy:vm",
])
def test_before_the_commit_a_failure_leaves_it_running_at_the_source(fleet: Fleet, fault: str) -> None:
    order(fleet, fault)
    found = move(Hand(fleet), "vm")
    if found.outcome == "moved":  # it was settled by asking
        assert fault.startswith("guest:")
    else:
        assert (found.outcome, fleet.row("vm").host_id) == ("failed", "h1") and found.error
        assert fleet.places("vm") == {"h1": "running"}, "nothing is left at the destination"
    whole(fleet)
    assert move(Hand(fleet, "o-2"), "vm").outcome == "moved"
    whole(fleet)


@pytest.mark.parametrize("fault", ["after:move:switch:vm", "move:cleanup:vm", "after:move:cleanup:vm"])
def test_after_the_switch_a_failure_leaves_it_running_at_the_destination(fleet: Fleet, fault: str) -> None:
    order(fleet, fault)
    found = move(Hand(fleet), "vm")
    assert found.outcome == "moved" and fleet.places("vm") == {found.destination: "running"}
    whole(fleet)


def test_what_cannot_be_removed_at_the_source_is_a_warning(fleet: Fleet) -> None:
    order(fleet, "after:move:switch:vm,guest:remove:vm:9")
    hand = Hand(fleet)
    found = move(hand, "vm")
    assert found.outcome == "moved" and fleet.row("vm").host_id == found.destination
    assert any("could not be removed" in line for line in hand.said)
    assert fleet.places("vm") == {"h1": "off", found.destination: "running"}


@pytest.mark.parametrize("phase", ["copy", "switch"])
def test_a_destination_that_loses_its_power_costs_nothing(fleet: Fleet, phase: str) -> None:
    order(fleet, f"destination-off:move:{phase}:vm")
    found = move(Hand(fleet), "vm")
    assert found.outcome == "failed" and fleet.where("vm") == ("h1",)
    whole(fleet)


def test_a_source_that_dies_takes_the_vm_with_it_which_is_said_only_when_it_is_certain(fleet: Fleet) -> None:
    order(fleet, "source-off:move:copy:vm")
    found = move(Hand(fleet), "vm")
    row = fleet.row("vm")
    assert found.outcome == "unknown" and row.state == S.UNKNOWN.value and "degraded" in row.error
    assert fleet.where("vm") == ()
    fleet.set(HostRow, "h1", connection_state="down")
    settled = settle(fleet.store, fleet.machines, "vm")
    row = fleet.row("vm")
    assert settled.outcome is Outcome.LOST and (row.state, row.host_id, row.destination_id) == (S.CRASHED.value, "h1", None)
    assert "start it again" in row.error
    whole(fleet)


def test_a_source_found_dead_is_lost_at_once(fleet: Fleet) -> None:
    order(fleet, "source-off:move:copy:vm")
    fleet.store.on_commit.append(lambda tx: None)
    hand = Hand(fleet)

    def declared() -> None:
        if not fleet.world.host("h1").is_on:
            with fleet.store.read() as tx:
                state = tx.scalar(select(HostRow.connection_state).where(HostRow.id == "h1"))
            if state == "up":
                fleet.set(HostRow, "h1", connection_state="down", reason="off")

    hand.before_write = declared
    sleep = fleet.clock.sleep
    fleet.clock.sleep = lambda seconds: (declared(), sleep(seconds))[1]  # type: ignore[method-assign]
    found = move(hand, "vm")
    assert found.outcome == "lost" and fleet.row("vm").state == S.CRASHED.value


def test_a_link_that_breaks_after_the_switch_is_settled_when_it_is_back(fleet: Fleet) -> None:
    order(fleet, "link-lost:move:cleanup:vm")
    found = move(Hand(fleet), "vm", destination_id="h2")
    assert found.outcome in ("unknown", "moved")
    fleet.world.mend_link("h2")
    settle(fleet.store, fleet.machines, "vm")
    assert fleet.row("vm").host_id == "h2" and fleet.row("vm").state == S.RUNNING.value and fleet.where("vm") == ("h2",)


def test_a_migration_that_cannot_end_is_given_up_in_time(fleet: Fleet) -> None:
    fleet.world.change_guest(fleet.row("vm").guest_id, dirty_rate=5e9)
    fleet = _with_options(fleet, MoveOptions(converge=False, timeout_s=5))
    found = move(Hand(fleet), "vm")
    assert found.outcome == "failed" and fleet.where("vm") == ("h1",)
    whole(fleet)


def _with_options(fleet: Fleet, options: MoveOptions) -> Fleet:
    from dataclasses import replace

    fleet.machines = replace(fleet.machines, options=options)
    return fleet


# --- the daemon dies -----------------------------------------------------------------------------------------------------


def _kill_at(fleet: Fleet, number: int) -> Callable[[], None]:
    count = itertools.count(1)

    def strike() -> None:
        if next(count) == number:
            raise Killed

    return strike


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["", "move:copy:vm", "stuck:move:switch:vm", "after:move:switch:vm"])
@pytest.mark.parametrize("number", range(1, 14))
def test_killed_before_any_write_the_step_repeated_brings_it_to_one_host(fleet: Fleet, number: int, fault: str) -> None:
    order(fleet, fault)
    hand = Hand(fleet)
    hand.before_write = _kill_at(fleet, number)
    try:
        move(hand, "vm", destination_id="h2")
    except Killed:
        fleet.links.forget()
        found = move(Hand(fleet), "vm", destination_id="h2")
        assert found.outcome in ("moved", "failed") and len(fleet.moves("vm")) == 1
    whole(fleet)
    assert move(Hand(fleet), "vm", destination_id="h2") == _last(fleet), "the same attempt again is the same answer"
    assert len(fleet.moves("vm")) == 1


def _last(fleet: Fleet):
    from fleet_tui.backend.machines.queries import move_record

    with fleet.store.read() as tx:
        return move_record(tx, tx.scalars(select(MoveRow)).one())


def test_killed_in_the_middle_of_a_copy_the_migration_in_flight_is_waited_for(fleet: Fleet) -> None:
    """A driver in which a killed daemon's migration goes on, as libvirt's does."""
    real = fleet.links.hypervisor("h1")
    begun = []
    migrate = type(real).migrate

    def killed(guest_id, destination, options, told):
        begun.append(guest_id)

        def strike(progress: Progress) -> None:
            raise Killed

        return migrate(real, guest_id, destination, options, strike)

    real.migrate = killed  # type: ignore[method-assign]
    with pytest.raises(Killed):
        move(Hand(fleet), "vm", destination_id="h2")
    assert fleet.moves("vm")[0].phase == MovePhase.COPY.value and fleet.row("vm").state == S.MIGRATING.value
    fleet.links.forget()
    assert fleet.links.hypervisor("h1").migration(fleet.row("vm").guest_id) is not None
    found = move(Hand(fleet), "vm", destination_id="h2")
    assert found.outcome == "moved" and len(begun) == 1 and len(fleet.moves("vm")) == 1
    whole(fleet)


def test_a_migration_in_flight_that_never_ends_is_stopped_after_a_restart(fleet: Fleet) -> None:
    order(fleet, "hang:move:copy:vm")
    real = fleet.links.hypervisor("h1")
    migrate = type(real).migrate
    looks = itertools.count()

    def killed(guest_id, destination, options, told):
        def strike(progress: Progress) -> None:
            if next(looks) == 3:
                raise Killed

        return migrate(real, guest_id, destination, options, strike)

    real.migrate = killed  # type: ignore[method-assign]
    with pytest.raises(Killed):
        move(Hand(fleet), "vm", destination_id="h2")
    fleet.links.forget()
    fleet = _with_options(fleet, MoveOptions(timeout_s=20))
    found = move(Hand(fleet), "vm", destination_id="h2")
    assert found.outcome == "moved", "it was stopped, and then begun again by the same attempt"
    whole(fleet)


# --- refusals and room ---------------------------------------------------------------------------------------------------


def test_what_cannot_move_is_refused_before_anything_is_begun(fleet: Fleet) -> None:
    fleet.vm("off", "h1", S.STOPPED)
    fleet.vm("gpu", "h1", has_device=True)
    fleet.vm("local", "h1", has_local_disk=True)
    for name in ("off", "gpu", "local"):
        with pytest.raises(WrongState):
            move(Hand(fleet), name)
        assert not fleet.moves(name)
    assert move(Hand(fleet), "local", copy_local_disks=True).outcome == "moved"


def test_a_host_in_maintenance_is_no_destination_even_when_it_is_asked_for(fleet: Fleet) -> None:
    fleet.set(HostRow, "h3", resource_state="Maintenance")
    for state in ("Disabled", "PrepareForMaintenance", "ErrorInPrepareForMaintenance", "Maintenance", "ErrorInMaintenance", "Degraded"):
        fleet.set(HostRow, "h2", resource_state=state)
        for destination in ("", "h2"):
            with pytest.raises(NoCapacity):
                move(Hand(fleet), "vm", destination_id=destination)
    assert fleet.where("vm") == ("h1",) and not fleet.moves("vm")


def test_a_destination_that_goes_into_maintenance_meanwhile_gets_nothing(fleet: Fleet) -> None:
    hand = Hand(fleet)

    def close() -> None:
        if fleet.moves("vm") and fleet.moves("vm")[0].phase == "check":
            fleet.set(HostRow, "h2", resource_state="PrepareForMaintenance")

    hand.before_write = close
    found = move(hand, "vm", destination_id="h2")
    assert found.outcome == "failed" and "PrepareForMaintenance" in found.error and fleet.places("vm") == {"h1": "running"}
    whole(fleet)


def test_excluded_hosts_are_left_out(fleet: Fleet) -> None:
    assert move(Hand(fleet), "vm", exclude=frozenset({"h2"})).destination == "h3"
    fleet.vm("more", "h1")
    with pytest.raises(NoCapacity) as refused:
        move(Hand(fleet), "more", exclude=frozenset({"h2", "h3"}))
    assert refused.value.details["reason"] == "cannot_fit_now"


def test_asked_to_stop_before_the_copy_it_stays(fleet: Fleet) -> None:
    found = move(Hand(fleet), "vm", may_stop=lambda: True)
    assert found.outcome == "failed" and fleet.places("vm") == {"h1": "running"}
    whole(fleet)


def test_a_cancel_does_not_interrupt_what_has_begun(fleet: Fleet) -> None:
    order(fleet, "move:copy:vm")
    hand = Hand(fleet)
    hand.is_cancelled = True
    assert move(hand, "vm").outcome == "failed"
    whole(fleet)


def test_no_more_than_two_leave_a_host_or_arrive_at_one_at_once(fleet: Fleet) -> None:
    for name in ("a", "b"):
        fleet.vm(name, "h1", S.MIGRATING, destination_id="h2")
    with pytest.raises(Busy, match="a, b are on their way"):
        move(Hand(fleet), "vm")
    fleet.vm("other", "h3")
    with pytest.raises(Busy, match="h2"):
        move(Hand(fleet), "other", destination_id="h2")
    assert move(Hand(fleet), "other").destination == "h1"


def test_a_move_waits_for_a_slot_and_then_goes(fleet: Fleet) -> None:
    for name in ("a", "b"):
        fleet.vm(name, "h1", S.MIGRATING, destination_id="h2")
    sleep = fleet.clock.sleep

    def arrived(seconds: float) -> None:
        fleet.set(VmRow, "a", state="running", host_id="h2", destination_id=None)
        sleep(seconds)

    fleet.clock.sleep = arrived  # type: ignore[method-assign]
    assert move(Hand(fleet), "vm").outcome == "moved"


def test_several_move_at_once_in_one_step_and_never_more_than_fits(store: Store) -> None:
    fleet = Fleet(store, rules=Rules(moves_out=20, moves_in=20), settle_s=2.0, busy_s=1.0)
    fleet.host("h1", gib=128, cores=64)
    fleet.hosts("h2", "h3", gib=18)  # four each
    names = [fleet.vm(f"v{n}", "h1") for n in range(10)]
    hand, outcomes = Hand(fleet), {}

    def go(name: str) -> None:
        try:
            outcomes[name] = move(hand, name).outcome
        except FleetError as error:
            outcomes[name] = str(error.details.get("reason"))

    threads = [threading.Thread(target=go, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(outcomes.values()) == ["cannot_fit_now"] * 2 + ["moved"] * 8
    for host in ("h2", "h3"):
        assert sum(fleet.row(name).host_id == host for name in names) == 4
    for name in names:
        whole(fleet, name)


# --- the table of judgements ---------------------------------------------------------------------------------------------

SIDES = [Side(state) for state in GuestState] + [Side(None), Side(None, is_dead=True)]


@pytest.mark.parametrize("source", SIDES)
@pytest.mark.parametrize("destination", SIDES)
def test_two_answers_are_judged_safely(source: Side, destination: Side) -> None:
    found = judge(source, destination)
    held_or_runs = {True: 0, False: 0}
    for side in (source, destination):
        held_or_runs[side.runs or side.held] += 1
    if found is Judgement.NOWHERE:  # a restart may be offered: nobody may still have it
        assert not held_or_runs[True] and not source.is_silent and not destination.is_silent
    if found is Judgement.HELD_AT_SOURCE:  # it is let go on: the other side must be known not to run it
        assert source.held and not destination.runs and not destination.is_silent
    if found is Judgement.HELD_AT_DESTINATION:
        assert destination.held and not source.runs and not source.held and not source.is_silent
    if found is Judgement.AT_DESTINATION:
        assert destination.runs and not source.runs
    if found is Judgement.AT_SOURCE:
        assert source.runs and not destination.runs
    if found is Judgement.UNKNOWN:
        assert source.is_silent or destination.is_silent
    if found is Judgement.TWICE:
        assert source.runs and destination.runs
    assert judge(source, destination, in_flight=True) is Judgement.IN_FLIGHT


def test_a_held_guest_is_let_go_on_where_it_belongs(fleet: Fleet) -> None:
    guest = fleet.row("vm").guest_id
    fleet.set(VmRow, "vm", state="migrating", destination_id="h2")
    fleet.world.change_guest(guest, state="paused")
    assert settle(fleet.store, fleet.machines, "vm").outcome is Outcome.FAILED and fleet.places("vm") == {"h1": "running"}
    whole(fleet)


def test_nothing_is_written_while_a_migration_is_in_flight(fleet: Fleet) -> None:
    fleet.set(VmRow, "vm", state="migrating", destination_id="h2")
    guest = fleet.row("vm").guest_id
    source, destination = fleet.links.hypervisor("h1"), fleet.links.hypervisor("h2")
    held = threading.Event()
    order(fleet, "hang:move:copy:vm")
    thread = threading.Thread(target=lambda: _quietly(lambda: source.migrate(guest, destination, MoveOptions(), lambda p: held.wait(10) and None)))
    thread.start()
    until(lambda: source.migration(guest) is not None)
    version = fleet.row("vm").version
    assert settle(fleet.store, fleet.machines, "vm").outcome is Outcome.IN_FLIGHT
    assert fleet.row("vm").version == version and fleet.row("vm").state == "migrating"
    source.abort(guest)
    held.set()
    thread.join(10)
    assert settle(fleet.store, fleet.machines, "vm").outcome is Outcome.FAILED
    whole(fleet)


def _quietly(work: Callable[[], object]) -> None:
    with contextlib.suppress(FleetError):
        work()


