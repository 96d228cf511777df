"""A host is emptied: every VM by its treatment, tried again when it fails, found again after a crash, and never stopped silently."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable

import pytest
from sqlalchemy import select

from fleet_tui.backend.errors import Busy, ConfirmationRequired, FleetError, InUse, InvalidInput, NoCapacity, NotFound, WrongState
from fleet_tui.backend.faults import Fault
from fleet_tui.backend.hosts import transitions
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow
from fleet_tui.backend.hosts.states import Allocation, HostEvent
from fleet_tui.backend.machines.rows import MoveRow
from fleet_tui.backend.maintenance import CancelMaintenance, MaintainHost, queries, sessions
from fleet_tui.backend.maintenance.evacuation import try_again
from fleet_tui.backend.operations import OperationRecord, OperationState
from tests.backend.maintenance.fleet import POLICY, Fleet

Make = Callable[..., Fleet]
MAINTAIN = "host.maintain"


def ask(host: str = "h0", **values: object) -> MaintainHost:
    return MaintainHost(**{"target": host, "reason": "replace DIMM A3", "confirmed": True, **values})  # type: ignore[arg-type]


def submit(fleet: Fleet, host: str = "h0", **values: object) -> OperationRecord:
    operation = fleet.submit(MAINTAIN, ask(host, **values)).operation
    assert operation is not None
    return operation


def states(fleet: Fleet, host: str = "h0") -> dict[str, str]:
    return {name: row.state for name, row in fleet.evacuees(host).items()}


def refusal(fleet: Fleet, host: str = "h0", **values: object) -> FleetError:
    with pytest.raises(FleetError) as refused:
        fleet.submit(MAINTAIN, ask(host, **values))
    return refused.value


def until_state(fleet: Fleet, vm: str, state: str) -> None:
    """Let everybody go on until the evacuee is in that state."""
    for _ in range(500):
        fleet.claim()
        for actor in list(fleet.stage.alive()):
            actor.step()
        with contextlib.suppress(NotFound):
            if states(fleet).get(vm) == state:
                return
    raise AssertionError(f"{vm} is {states(fleet).get(vm)}, not {state}")


def until(fleet: Fleet, label: str, who: str = "", rounds: int = 500) -> None:
    """Let everybody go on until somebody stands at a point of that name."""
    for _ in range(rounds):
        fleet.claim()
        for actor in list(fleet.stage.alive()):
            if actor.at == label and actor.name.startswith(who):
                return
            actor.step()
    raise AssertionError(f"nobody came to {label}")


def test_a_host_is_emptied_and_ready(make_fleet: Make) -> None:
    fleet = make_fleet()
    for name, gib in (("a", 1), ("b", 4), ("c", 2)):
        fleet.add_vm(name, "h0", gib=gib)
    fleet.add_vm("off", "h0", is_running=False, stopped_at=fleet.clock.now())
    record = fleet.through(MAINTAIN, ask())
    assert record.state is OperationState.SUCCEEDED, record.error
    assert fleet.host("h0").resource_state == "Maintenance"
    assert all(fleet.where(name) in (("h1",), ("h2",)) for name in "abc")
    assert states(fleet) == {"a": "moved", "b": "moved", "c": "moved", "off": "stopped"}
    assert fleet.vm("off").stopped_at is None, "its room on the host is kept no longer"


def test_routers_go_first_then_system_vms_then_guests_by_memory(make_fleet: Make) -> None:
    fleet = make_fleet()
    fleet.add_vm("small", "h0", gib=1)
    fleet.add_vm("large", "h0", gib=6)
    fleet.add_vm("proxy", "h0", kind="console-proxy")
    fleet.add_vm("router", "h0", kind="router")
    fleet.through(MAINTAIN, ask())
    assert [name for name, _ in sorted(fleet.evacuees("h0").items(), key=lambda item: item[1].position)] == ["router", "proxy", "large", "small"]
    with fleet.store.read() as tx:
        begun = tx.scalars(select(MoveRow.vm_id).order_by(MoveRow.started_at, MoveRow.id)).all()
    assert set(begun[:2]) == {"router", "proxy"}, "two at once, the first ones first"


def test_at_most_two_leave_a_host_and_two_enter_one(make_fleet: Make) -> None:
    fleet = make_fleet(hosts=2)
    for number in range(6):
        fleet.add_vm(f"v{number}", "h0")
    operation = submit(fleet)
    most = 0
    for _ in range(2000):
        fleet.claim()
        for actor in list(fleet.stage.alive()):
            actor.step()
        with fleet.store.read() as tx:
            most = max(most, len(tx.scalars(select(MoveRow).where(MoveRow.outcome == "")).all()))
        if fleet.show(operation.id).state.is_final:
            break
    assert most == 2 and fleet.show(operation.id).state is OperationState.SUCCEEDED


def test_everything_against_it_is_told_together(make_fleet: Make) -> None:
    fleet = make_fleet(hosts=2, memory_gib=2)
    fleet.add_vm("a", "h0", gib=2)
    fleet.add_vm("b", "h1", gib=1)
    fleet.add_vm("mad", "h0", state="crashed")
    fleet.add_vm("coming", "h1", gib=0, destination_id="h0", state="migrating")
    fleet.add_vm("local", "h0", gib=0, has_local_disk=True)
    refused = refusal(fleet)
    codes = [(one["code"], one["subject"]) for one in refused.details["blockers"]]
    assert codes == [("busy", "h0"), ("wrong_state", "h0"), ("in_use", "h0"), ("capacity", "a"), ("capacity", "mad")]
    assert all(word in refused.message for word in ("coming", "mad", "local", "a has nowhere to go"))
    plan = fleet.submit(MAINTAIN, ask(dry_run=True)).plan
    assert plan is not None and [one.code for one in plan.refusals] == [code for code, _ in codes]


def test_a_request_must_make_sense(make_fleet: Make) -> None:
    fleet = make_fleet()
    assert isinstance(refusal(fleet, reason=" "), InvalidInput)
    assert isinstance(refusal(fleet, reason="x" * 501), InvalidInput)
    assert "in the past" in refusal(fleet, until="2020-01-01T00:00+00:00").message
    assert isinstance(refusal(fleet, until="tomorrow"), InvalidInput)
    assert isinstance(refusal(fleet, confirmed=False), ConfirmationRequired)
    assert refusal(fleet, "nowhere").code == "not_found"


def test_asking_twice_is_one_operation_and_the_state_refuses_the_rest(make_fleet: Make) -> None:
    fleet = make_fleet()
    fleet.add_vm("a", "h0")
    first = submit(fleet)
    again = fleet.submit(MAINTAIN, ask())
    assert again.deduplicated and again.operation is not None and again.operation.id == first.id
    until(fleet, "begun:3")
    during = fleet.submit(MAINTAIN, ask())
    assert during.deduplicated and during.operation is not None and during.operation.id == first.id
    fleet.run()
    refused = refusal(fleet)
    assert isinstance(refused, WrongState) and refused.details["state"] == "Maintenance" and "Enabled" in refused.details["allowed"]


def test_only_one_host_of_a_cluster_prepares_at_once(make_fleet: Make) -> None:
    fleet = make_fleet()
    fleet.add_vm("a", "h0")
    fleet.add_vm("b", "h1")
    submit(fleet, "h0")
    second = submit(fleet, "h1")  # both were asked for before either began
    until(fleet, "begun:3")
    refused = refusal(fleet, "h2")
    assert isinstance(refused, Busy) and "h0" in refused.message
    fleet.run()
    record = fleet.show(second.id)
    assert record.state is OperationState.FAILED and record.error is not None and record.error.code == "busy"
    assert fleet.host("h1").resource_state == "Enabled" and fleet.where("b") == ("h1",)


def test_a_failed_move_is_tried_again_and_the_rest_goes_on(make_fleet: Make) -> None:
    fleet = make_fleet()
    fleet.add_vm("a", "h0", gib=2)
    fleet.add_vm("b", "h0")
    fleet.world.faults.fail("move:copy", "a", times=2)
    operation, seen = submit(fleet), set()
    for _ in range(2000):
        fleet.claim()
        for actor in list(fleet.stage.alive()):
            actor.step()
        seen.add(fleet.host("h0").resource_state)
        if fleet.show(operation.id).state.is_final:
            break
    assert seen == {"PrepareForMaintenance", "ErrorInPrepareForMaintenance", "Maintenance"}
    assert fleet.evacuees("h0")["a"].attempt == 3 and fleet.evacuees("h0")["b"].attempt == 1


def test_when_every_attempt_is_used_the_host_is_in_error_and_the_vm_runs_on(make_fleet: Make) -> None:
    fleet = make_fleet()
    fleet.add_vm("a", "h0")
    fleet.add_vm("b", "h0")
    fleet.world.faults.fail("move:copy", "a", times=99)
    record = fleet.through(MAINTAIN, ask())
    assert record.state is OperationState.FAILED and record.error is not None and record.error.code == "partial"
    assert "a" in record.error.message and record.failed_step == "evacuate"
    assert fleet.host("h0").resource_state == "ErrorInMaintenance"
    assert fleet.where("a") == ("h0",) and fleet.where("b") != ("h0",)
    assert (fleet.evacuees("h0")["a"].state, fleet.evacuees("h0")["a"].attempt) == ("failed", 5)
    with fleet.store.read() as tx:
        shown = queries.show(tx, "h0", fleet.life.drivers)
    assert [blocker.subject for blocker in shown.blockers] == ["h0", "a"] and shown.blockers[1].hint
    fleet.world.faults.clear()
    assert fleet.through(MAINTAIN, ask()).state is OperationState.SUCCEEDED
    assert fleet.host("h0").resource_state == "Maintenance"


def test_retry_makes_failed_moves_due_now_with_new_attempts(make_fleet: Make) -> None:
    fleet = make_fleet(policy=dataclasses.replace(POLICY, retry_s=1e9))
    fleet.add_vm("a", "h0")
    fleet.world.faults.fail("move:copy", "a", times=1)
    operation = submit(fleet)
    until_state(fleet, "a", "retry")
    assert not fleet.show(operation.id).state.is_final
    fleet.change(lambda tx: try_again(tx, sessions.find(tx, "h0")[0].id, "ada") and None)
    fleet.run()
    assert fleet.show(operation.id).state is OperationState.SUCCEEDED and fleet.evacuees("h0")["a"].granted == 1


@pytest.mark.parametrize("form", ["move:check:a", "move:copy:a", "move:switch:a", "stuck:move:switch:a", "after:move:switch:a", "move:cleanup:a",
                                  "after:move:cleanup:a", "hang:move:copy:a", "link-lost:move:copy:a"])
def test_whatever_fails_in_a_move_the_guest_runs_once_and_the_host_is_ready_only_when_it_left(make_fleet: Make, form: str) -> None:
    fleet = make_fleet()
    fleet.add_vm("a", "h0")
    effect, _, rest = form.partition(":") if not form.startswith("move") else ("fail", "", form)
    fleet.world.faults.add(Fault(rest.rpartition(":")[0], "a", 1, effect))
    operation = submit(fleet)
    for _ in range(3000):
        fleet.claim()
        fleet.see_links()
        for actor in list(fleet.stage.alive()):
            actor.step()
            assert len(fleet.where("a")) == 1
        assert fleet.host("h0").resource_state != "Maintenance" or fleet.where("a") != ("h0",)
        if fleet.show(operation.id).state.is_final:
            break
    assert fleet.show(operation.id).state is OperationState.SUCCEEDED
    assert not fleet.world.double_starts


def test_a_source_that_loses_its_power_leaves_its_vms_reported_lost(make_fleet: Make) -> None:
    fleet = make_fleet()
    fleet.add_vm("a", "h0")
    fleet.world.faults.add(Fault("move:copy", "a", 1, "source-off"))
    operation = submit(fleet)
    for _ in range(3000):
        fleet.claim()
        fleet.see_links()
        for actor in list(fleet.stage.alive()):
            actor.step()
        if fleet.show(operation.id).state.is_final:
            break
    assert fleet.show(operation.id).state is OperationState.FAILED
    assert fleet.host("h0").resource_state == "ErrorInMaintenance" and fleet.vm("a").state == "crashed"
    row = fleet.evacuees("h0")["a"]
    assert row.state == "lost" and "fleet vm start a" in row.hint


def test_a_destination_is_never_a_host_in_maintenance(make_fleet: Make) -> None:
    fleet = make_fleet(hosts=4)
    fleet.through(MAINTAIN, ask("h1"))
    assert fleet.host("h1").resource_state == "Maintenance"
    for name in "abcd":
        fleet.add_vm(name, "h0")
    fleet.through(MAINTAIN, ask("h0"))
    assert {fleet.where(name) for name in "abcd"} <= {("h2",), ("h3",)}


def test_a_destination_that_is_taken_away_after_it_was_chosen_is_not_used(make_fleet: Make) -> None:
    fleet = make_fleet()
    fleet.add_vm("a", "h0")
    submit(fleet)
    until(fleet, "start", "move")  # the move was decided, and has not begun
    chosen = fleet.evacuees("h0")["a"].destination_id
    assert chosen is not None
    fleet.change(lambda tx: transitions.move(tx, transitions.lock(tx, chosen), HostEvent.DISABLE, fleet.clock.now()) and None)
    fleet.run()
    assert fleet.where("a") not in ((chosen,), ("h0",)) and fleet.host("h0").resource_state == "Maintenance"


def test_nothing_is_stopped_unless_that_was_allowed(make_fleet: Make) -> None:
    fleet = make_fleet()
    fleet.add_vm("gpu", "h0", has_device=True)
    refused = refusal(fleet)
    assert isinstance(refused, NoCapacity) and "gpu" in refused.message and "allow-stop" in refused.hint
    plan = fleet.submit(MAINTAIN, ask(allow_stop=True, dry_run=True)).plan
    assert plan is not None and not plan.refusals and any("gpu will be stopped" in text for text in plan.consequences)
    assert "stop gpu" in refusal(fleet, allow_stop=True, confirmed=False).message
    assert fleet.through(MAINTAIN, ask(allow_stop=True)).state is OperationState.SUCCEEDED
    assert fleet.where("gpu") == () and fleet.vm("gpu").state == "stopped" and states(fleet) == {"gpu": "stopped"}
    assert any("gpu is stopped, which was allowed" in line[4] for line in fleet.said.lines)


def test_a_device_that_is_found_on_the_way_blocks_instead_of_stopping(make_fleet: Make) -> None:
    fleet = make_fleet()
    fleet.add_vm("gpu", "h0")
    submit(fleet)
    fleet.change(lambda tx: setattr(tx.get_one(queries.VmRow, "gpu"), "has_device", True))
    fleet.run()
    assert states(fleet) == {"gpu": "blocked"} and fleet.where("gpu") == ("h0",)
    assert fleet.host("h0").resource_state == "ErrorInMaintenance"


def test_local_disks_follow_the_strategy(make_fleet: Make) -> None:
    fleet = make_fleet()
    fleet.add_vm("a", "h0", has_local_disk=True)
    assert isinstance(refusal(fleet), InUse)
    fleet = make_fleet_with(make_fleet, "stop")
    fleet.add_vm("a", "h0", has_local_disk=True)
    assert isinstance(refusal(fleet), NoCapacity)
    assert fleet.through(MAINTAIN, ask(allow_stop=True)).state is OperationState.SUCCEEDED and fleet.vm("a").state == "stopped"
    fleet = make_fleet_with(make_fleet, "migrate")
    fleet.add_vm("a", "h0", has_local_disk=True)
    assert fleet.through(MAINTAIN, ask()).state is OperationState.SUCCEEDED
    assert len(fleet.where("a")) == 1 and fleet.where("a") != ("h0",)


def make_fleet_with(make_fleet: Make, strategy: str) -> Fleet:
    return make_fleet(policy=dataclasses.replace(POLICY, local_storage=strategy))


def test_containers_are_restarted_elsewhere(make_fleet: Make) -> None:
    fleet = make_fleet(hypervisor="lxc")
    fleet.add_vm("a", "h0")
    fleet.add_vm("router", "h0", kind="router")
    assert fleet.through(MAINTAIN, ask()).state is OperationState.SUCCEEDED
    assert fleet.where("a") in (("h1",), ("h2",)) and fleet.vm("a").state == "running" and states(fleet) == {"a": "moved", "router": "moved"}


def test_a_container_that_does_not_start_there_goes_on_here(make_fleet: Make) -> None:
    fleet = make_fleet(hypervisor="lxc")
    fleet.add_vm("a", "h0")
    fleet.world.faults.fail("guest:start", "a", times=1)
    submit(fleet)
    until_state(fleet, "a", "retry")
    assert fleet.where("a") == ("h0",) and fleet.vm("a").state == "running"
    fleet.run()
    assert fleet.where("a") in (("h1",), ("h2",)) and fleet.host("h0").resource_state == "Maintenance"


def test_a_container_that_starts_nowhere_any_more_is_told_of(make_fleet: Make) -> None:
    fleet = make_fleet(hypervisor="lxc")
    fleet.add_vm("a", "h0")
    fleet.world.faults.fail("guest:start", "a", times=9)
    assert fleet.through(MAINTAIN, ask()).state is OperationState.FAILED
    assert fleet.vm("a").state == "failed-to-start" and fleet.vm("a").error and states(fleet) == {"a": "lost"}


def test_a_system_vm_without_a_destination_is_made_anew_in_another_cluster(make_fleet: Make) -> None:
    fleet = make_fleet(hosts=2)
    fleet.add_vm("proxy", "h0", kind="console-proxy", has_device=True)

    def second_cluster(tx: object) -> None:
        tx.add(ClusterRow(id="c2", name="c2", pod_id="p", hypervisor="kvm", allocation=Allocation.ENABLED.value))  # type: ignore[attr-defined]
        tx.flush()  # type: ignore[attr-defined]
        for name in ("h1",):
            tx.get_one(HostRow, name).cluster_id = "c2"  # type: ignore[attr-defined]

    fleet.change(second_cluster)
    assert fleet.through(MAINTAIN, ask()).state is OperationState.SUCCEEDED
    assert fleet.where("proxy") == ("h1",) and states(fleet) == {"proxy": "gone"} and fleet.vm("proxy").cluster_id == "c2"


def test_a_guest_that_the_fleet_does_not_know_keeps_the_host_from_being_ready(make_fleet: Make) -> None:
    fleet = make_fleet()
    fleet.add_vm("known", "h0")
    fleet.change(lambda tx: setattr(tx.get_one(queries.VmRow, "known"), "host_id", "h1"))  # the rows say that it is elsewhere
    record = fleet.through(MAINTAIN, ask())
    assert record.state is OperationState.FAILED and record.error is not None and "known" in record.error.message
    assert fleet.host("h0").resource_state == "ErrorInMaintenance"


def test_a_hypervisor_that_cannot_be_asked_keeps_the_host_from_being_ready(make_fleet: Make) -> None:
    fleet = make_fleet()
    fleet.world.faults.fail("host:guests", "h0", times=999)
    record = fleet.through(MAINTAIN, ask())
    assert record.state is OperationState.FAILED and fleet.host("h0").resource_state == "ErrorInMaintenance"


def test_a_dead_host_goes_straight_to_maintenance_where_that_is_allowed(make_fleet: Make) -> None:
    fleet = make_fleet(policy=dataclasses.replace(POLICY, allow_down=True))
    fleet.add_vm("a", "h0")
    fleet.world.power_off("h0")
    fleet.see_links()
    assert fleet.through(MAINTAIN, ask()).state is OperationState.SUCCEEDED
    assert fleet.host("h0").resource_state == "Maintenance" and fleet.vm("a").state == "crashed" and states(fleet) == {"a": "lost"}


def test_cancelling_the_operation_lets_what_flies_land_and_drops_what_waits(make_fleet: Make) -> None:
    fleet = make_fleet()
    for name in "abcd":
        fleet.add_vm(name, "h0")
    operation = submit(fleet)
    until(fleet, "flight")
    fleet.cancel(operation.id)
    fleet.run()
    assert fleet.show(operation.id).state is OperationState.CANCELLED
    assert fleet.host("h0").resource_state == "Enabled"
    moved = [name for name in "abcd" if fleet.where(name) != ("h0",)]
    assert 1 <= len(moved) <= 2 and states(fleet) == dict.fromkeys(moved, "moved")


def test_cancel_leads_back_to_where_it_began(make_fleet: Make) -> None:
    fleet = make_fleet()
    fleet.add_vm("a", "h0")
    fleet.change(lambda tx: transitions.move(tx, transitions.lock(tx, "h0"), HostEvent.DISABLE, fleet.clock.now()) and None)
    fleet.through(MAINTAIN, ask())
    fleet.through("host.cancel-maintenance", CancelMaintenance(target="h0", confirmed=True))
    assert fleet.host("h0").resource_state == "Disabled"


@pytest.mark.parametrize("label", ["adopted", "begun:1", "after-body:1", "begun:3", "start", "flight", "sleep", "after-body:3", "stored:3", "recorded:3", "before-finish"])
def test_a_kill_anywhere_is_survived_and_no_vm_is_touched_again(make_fleet: Make, label: str) -> None:
    fleet = make_fleet()
    for name in "abc":
        fleet.add_vm(name, "h0")
    operation = submit(fleet)
    until(fleet, label, "move" if label in ("start", "flight") else "")
    fleet.crash()
    fleet.run()
    assert fleet.show(operation.id).state is OperationState.SUCCEEDED
    assert fleet.host("h0").resource_state == "Maintenance" and not fleet.world.double_starts
    with fleet.store.read() as tx:
        moved = tx.scalars(select(MoveRow.vm_id).where(MoveRow.outcome == "moved")).all()
    assert sorted(moved) == ["a", "b", "c"]


@pytest.mark.parametrize("cancelled", [False, True])
@pytest.mark.parametrize("turns", range(2, 30, 3))
def test_a_kill_at_any_moment_of_a_restart_leaves_no_container_stopped(make_fleet: Make, turns: int, cancelled: bool) -> None:
    fleet = make_fleet(hypervisor="lxc")
    for name in "ab":
        fleet.add_vm(name, "h0")
    operation = submit(fleet)
    until(fleet, "start", "move")
    for _ in range(turns):
        for actor in list(fleet.stage.alive()):
            if actor.name.startswith("move"):
                actor.step()
    if cancelled and not fleet.show(operation.id).state.is_final:
        fleet.cancel(operation.id)
    fleet.crash()
    fleet.run()
    assert fleet.show(operation.id).state is (OperationState.CANCELLED if cancelled else OperationState.SUCCEEDED)
    assert {fleet.vm(name).state for name in "ab"} == {"running"} and all(len(fleet.where(name)) == 1 for name in "ab")
    assert all(fleet.where(name) == (fleet.vm(name).host_id,) and fleet.vm(name).destination_id is None for name in "ab")


@pytest.mark.parametrize("phase", ["copy", "switch", "verify", "commit", "cleanup"])
def test_a_kill_in_any_phase_of_a_move_is_ended_by_the_next_daemon(make_fleet: Make, phase: str) -> None:
    fleet = make_fleet()
    fleet.add_vm("a", "h0")
    operation = submit(fleet)
    for _ in range(500):
        fleet.claim()
        for actor in list(fleet.stage.alive()):
            actor.step()
        with fleet.store.read() as tx:
            if tx.scalar(select(MoveRow.phase).where(MoveRow.outcome == "")) == phase:
                break
    else:
        raise AssertionError(f"no move came to {phase}")
    fleet.crash()
    fleet.run()
    assert fleet.show(operation.id).state is OperationState.SUCCEEDED and fleet.host("h0").resource_state == "Maintenance"
    with fleet.store.read() as tx:
        assert tx.scalars(select(MoveRow.outcome)).all() == ["moved"]


@pytest.mark.parametrize("label", ["start", "flight"])
def test_a_kill_between_a_cancel_and_its_end_leaves_no_vm_adrift(make_fleet: Make, label: str) -> None:
    fleet = make_fleet()
    for name in "abc":
        fleet.add_vm(name, "h0")
    operation = submit(fleet)
    until(fleet, label, "move")
    fleet.cancel(operation.id)
    fleet.crash()
    fleet.run()
    assert fleet.show(operation.id).state is OperationState.CANCELLED and fleet.host("h0").resource_state == "Enabled"
    assert {fleet.vm(name).state for name in "abc"} == {"running"} and all(fleet.vm(name).destination_id is None for name in "abc")
