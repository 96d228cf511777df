"""Rows follow what hypervisors report, and nothing that an operation holds is touched."""

from __future__ import annotations

import pytest

from fleet_tui.backend.events import EventsAfter
from fleet_tui.backend.events.feed import Feed
from fleet_tui.backend.hosts.rows import HostRow
from fleet_tui.backend.hypervisors import GuestSpec
from fleet_tui.backend.machines.rows import MoveRow
from fleet_tui.backend.machines.states import VmState
from fleet_tui.backend.machines.watch import Watch
from fleet_tui.backend.operations.rows import LeaseRow, OperationRow
from fleet_tui.backend.store import Store
from tests.backend.machines.yard import START, Fleet
from tests.waiting import until

S = VmState


@pytest.fixture
def fleet(sqlite_store: Store) -> Fleet:
    found = Fleet(sqlite_store)
    found.hosts("h1", "h2", "h3")
    return found


@pytest.fixture
def watch(fleet: Fleet):
    found = Watch(fleet.store, fleet.machines)
    yield found
    found.stop()


def stands(fleet: Fleet, name: str = "vm") -> tuple[str, str | None]:
    row = fleet.row(name)
    return row.state, row.host_id


def guest(fleet: Fleet, state: str, host: str = "h1", name: str = "vm") -> None:
    found = fleet.world.ledger.guest(host, fleet.row(name).guest_id)
    assert found is not None
    found.state = state
    fleet.world.ledger.put(found)


def hold(fleet: Fleet, level: str, name: str, shared: bool = False, target: str = "vm:vm") -> None:
    with fleet.store.write() as tx:
        tx.add(OperationRow(id="o-9", kind="any", title="any", target=name, target_ref=target, state="running", user="eve", rank=0.0,
                            submitted_at=START, parameters={}, leases=[], request={}, waiting_for=[], epoch=1, executor="e-9"))
        tx.flush()
        if level:
            tx.add(LeaseRow(level=level, name=name, operation_id="o-9", shared=shared))


def test_what_agrees_is_left_alone(fleet: Fleet, watch: Watch) -> None:
    fleet.vm("vm", "h1")
    fleet.vm("off", "h2", S.STOPPED)
    versions = [fleet.row(name).version for name in ("vm", "off")]
    for _ in range(2):
        watch.sweep()
    assert [fleet.row(name).version for name in ("vm", "off")] == versions


@pytest.mark.parametrize("state", ["off", "crashed"])
def test_a_guest_that_ended_by_itself_is_crashed(fleet: Fleet, watch: Watch, state: str) -> None:
    fleet.vm("vm", "h1")
    guest(fleet, state)
    watch.sweep()
    assert stands(fleet) == ("crashed", "h1") and "runs no more" in fleet.row("vm").error
    guest(fleet, "running")
    watch.sweep()
    assert stands(fleet) == ("running", "h1") and fleet.row("vm").error == ""


def test_one_on_a_host_that_does_not_answer_is_unknown_and_known_again_when_it_does(fleet: Fleet, watch: Watch) -> None:
    fleet.vm("vm", "h1")
    fleet.world.cut_link("h1")
    watch.sweep()
    assert stands(fleet) == ("running", "h1"), "the link was only just lost; it may be back in a moment"
    fleet.set(HostRow, "h1", connection_state="alert")
    watch.sweep()
    assert stands(fleet) == ("unknown", "h1")
    version = fleet.row("vm").version
    watch.sweep()
    assert fleet.row("vm").version == version, "said once"
    fleet.world.mend_link("h1")
    watch.sweep()
    assert stands(fleet) == ("running", "h1")


@pytest.mark.parametrize("change", [{"connection_state": "down"}, {"connection_state": "alert", "resource_state": "Degraded"}])
def test_one_whose_host_is_dead_is_crashed(fleet: Fleet, watch: Watch, change: dict[str, str]) -> None:
    fleet.vm("vm", "h1")
    fleet.world.power_off("h1")
    fleet.set(HostRow, "h1", **change)
    watch.sweep()
    assert stands(fleet) == ("crashed", "h1") and "start it again" in fleet.row("vm").error


def test_one_that_was_moved_by_hand_is_found_where_it_is(fleet: Fleet, watch: Watch) -> None:
    fleet.vm("vm", "h1")
    guest(fleet, "off")
    fleet.world.add_guest("h2", GuestSpec(fleet.row("vm").guest_id, "vm", 2, 1, 1, 1))
    watch.sweep()
    assert stands(fleet) == ("running", "h2")
    watch.sweep()
    assert fleet.places("vm") == {"h2": "running"}, "what was left at its old host is removed"


def test_one_that_was_started_by_hand_is_running(fleet: Fleet, watch: Watch) -> None:
    fleet.vm("vm", "h1", S.STOPPED)
    guest(fleet, "running")
    watch.sweep()
    assert stands(fleet) == ("running", "h1")


def test_one_that_runs_twice_is_an_alarm_and_nothing_is_done(fleet: Fleet, watch: Watch) -> None:
    fleet.vm("vm", "h1")
    fleet.world.add_guest("h2", GuestSpec(fleet.row("vm").guest_id, "vm", 2, 1, 1, 1))
    for _ in range(2):
        watch.sweep()
    assert stands(fleet) == ("running", "h1") and "h1 and h2 at once" in fleet.row("vm").error
    feed = Feed(fleet.store)
    said = [event for event in feed.after(EventsAfter(cursor=0, limit=1000)).events if "at once" in event.text]
    feed.close()
    assert len(said) == 1 and said[0].level == "error" and fleet.where("vm") == ("h1", "h2")


def test_one_that_its_host_does_not_know_may_be_on_a_host_that_is_silent(fleet: Fleet, watch: Watch) -> None:
    fleet.vm("vm", "h1")
    fleet.world.ledger.drop(fleet.world.ledger.guest("h1", fleet.row("vm").guest_id))
    fleet.world.cut_link("h3")
    fleet.set(HostRow, "h3", connection_state="alert")
    watch.sweep()
    assert stands(fleet) == ("unknown", "h1") and "does not know" in fleet.row("vm").error
    fleet.world.mend_link("h3")
    fleet.set(HostRow, "h3", connection_state="up")
    watch.sweep()
    assert stands(fleet) == ("crashed", "h1")


@pytest.mark.parametrize(("state", "real", "after"), [
    ("starting", "off", "failed-to-start"), ("starting", "running", "running"), ("stopping", "off", "stopped"), ("stopping", "running", "running"),
    ("destroying", "off", "stopped"), ("migrating", "running", "running"), ("migrating", "off", "crashed"),
])
def test_a_state_that_should_have_ended_ends(fleet: Fleet, watch: Watch, state: str, real: str, after: str) -> None:
    fleet.vm("vm", "h1", S(state))
    guest(fleet, real)
    watch.sweep()
    assert stands(fleet) == (after, "h1")


def test_what_is_left_of_a_half_move_is_put_right(fleet: Fleet, watch: Watch) -> None:
    fleet.vm("vm", "h1", S.UNKNOWN, destination_id="h2")
    with fleet.store.write() as tx:
        tx.add(MoveRow(id="mv", vm_id="vm", source_id="h1", destination_id="h2", phase="switch", outcome="", operation_id="o-dead", started_at=START))
    guest(fleet, "paused")
    watch.sweep()
    assert stands(fleet) == ("running", "h1") and fleet.places("vm") == {"h1": "running"}
    assert fleet.moves("vm")[0].outcome == "failed" and fleet.row("vm").destination_id is None


@pytest.mark.parametrize(("level", "name"), [("vm", "vm"), ("host", "h1"), ("", "vm")])
def test_what_an_operation_holds_is_its_own(fleet: Fleet, watch: Watch, level: str, name: str) -> None:
    fleet.vm("vm", "h1", S.STOPPING)
    hold(fleet, level, name)
    guest(fleet, "off")
    watch.sweep()
    assert stands(fleet) == ("stopping", "h1")


def test_a_move_under_way_is_its_operations(fleet: Fleet, watch: Watch) -> None:
    fleet.vm("vm", "h1", S.MIGRATING, destination_id="h2")
    hold(fleet, "", "h9", target="host:h9")
    with fleet.store.write() as tx:
        tx.add(MoveRow(id="mv", vm_id="vm", source_id="h1", destination_id="h2", phase="check", outcome="", operation_id="o-9", started_at=START))
    watch.sweep()
    assert stands(fleet) == ("migrating", "h1") and fleet.row("vm").destination_id == "h2"


def test_it_watches_by_itself(fleet: Fleet) -> None:
    fleet.vm("vm", "h1")
    guest(fleet, "off")
    watch = Watch(fleet.store, fleet.machines, every_s=0.01)
    watch.start()
    try:
        until(lambda: fleet.row("vm").state == "crashed")
        assert watch.is_alive()
    finally:
        watch.stop()
    assert not watch.is_alive()


def test_a_host_shared_with_other_operations_does_not_keep_the_watch_off(fleet: Fleet, watch: Watch) -> None:
    fleet.vm("vm", "h1")
    guest(fleet, "off")
    hold(fleet, "host", "h1", shared=True, target="vm:another")
    watch.sweep()
    assert stands(fleet) == ("crashed", "h1")
    assert fleet.row("vm").stopped_at == fleet.clock.now()


