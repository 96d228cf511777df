"""Out of maintenance, VMs back by hand, and the session around it all."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fleet_tui.backend.errors import ConfirmationRequired, FleetError, InvalidInput, NotFound, WrongState
from fleet_tui.backend.events import ListEvents
from fleet_tui.backend.events.feed import Feed
from fleet_tui.backend.hosts.rows import HostRow
from fleet_tui.backend.maintenance import (
    CancelMaintenance,
    CloseMaintenance,
    EditMaintenance,
    MaintenanceRecord,
    MigrateBack,
    Step,
    queries,
    sessions,
)
from fleet_tui.backend.maintenance.watch import Watch
from fleet_tui.backend.operations import OperationRecord, OperationState
from tests.backend.maintenance.fleet import Fleet
from tests.backend.maintenance.test_evacuation import MAINTAIN, Make, ask, submit, until

CANCEL, BACK = "host.cancel-maintenance", "host.migrate-back"


def cancel(fleet: Fleet, host: str = "h0") -> OperationRecord:
    return fleet.through(CANCEL, CancelMaintenance(target=host, confirmed=True))


def shown(fleet: Fleet, host: str = "h0") -> MaintenanceRecord:
    with fleet.store.read() as tx:
        return queries.show(tx, host, fleet.life.drivers)


def edit(fleet: Fleet, **values: object) -> None:
    fleet.change(lambda tx: sessions.edit(tx, EditMaintenance(target="h0", **values), "ada", fleet.clock.now()) and None)  # type: ignore[arg-type]


def test_the_whole_way_there_and_back(make_fleet: Make) -> None:
    fleet = make_fleet()
    for name in "abc":
        fleet.add_vm(name, "h0")
    fleet.through(MAINTAIN, ask(ticket="4711", until=(fleet.clock.now() + timedelta(hours=2)).isoformat()))
    record = shown(fleet)
    assert (record.step, record.reason, record.ticket, record.owner, record.resource_state) == (Step.READY, "replace DIMM A3", "4711", "ada", "Maintenance")
    assert [vm.state.value for vm in record.vms] == ["moved"] * 3 and all(vm.destination and vm.downtime_ms for vm in record.vms)
    assert cancel(fleet).state is OperationState.SUCCEEDED
    assert fleet.host("h0").resource_state == "Enabled" and shown(fleet).step is Step.MIGRATE_BACK
    assert all(fleet.where(name) != ("h0",) for name in "abc"), "nothing comes back by itself"
    done = fleet.through(BACK, MigrateBack(target="h0", confirmed=True))
    assert done.state is OperationState.SUCCEEDED and done.result == {"back": 3}
    assert all(fleet.where(name) == ("h0",) for name in "abc") and shown(fleet).step is Step.CLOSE
    fleet.change(lambda tx: sessions.close(tx, CloseMaintenance(target="h0"), "ada", fleet.clock.now()) and None)
    assert shown(fleet).closed_at is not None
    with pytest.raises(WrongState):
        fleet.submit(BACK, MigrateBack(target="h0", confirmed=True))


def test_only_chosen_vms_come_back_and_what_fails_stays_where_it_runs(make_fleet: Make) -> None:
    fleet = make_fleet()
    for name in "abc":
        fleet.add_vm(name, "h0")
    fleet.through(MAINTAIN, ask())
    cancel(fleet)
    with pytest.raises(NotFound):
        fleet.submit(BACK, MigrateBack(target="h0", vms=("zzz",), confirmed=True))
    fleet.world.faults.fail("move:copy", "b", times=99)
    done = fleet.through(BACK, MigrateBack(target="h0", vms=("a", "b"), confirmed=True))
    assert done.state is OperationState.FAILED and done.error is not None and done.error.code == "partial"
    assert fleet.where("a") == ("h0",) and fleet.where("b") != ("h0",) and fleet.where("c") != ("h0",)
    back = {vm.vm: vm.back for vm in shown(fleet).vms}
    assert back["a"] == "back" and back["b"].startswith("failed: ") and back["c"] == ""


@pytest.mark.parametrize("label", ["begun:1", "start", "flight", "after-body:1", "stored:1"])
def test_a_kill_on_the_way_back_is_survived(make_fleet: Make, label: str) -> None:
    fleet = make_fleet()
    for name in "ab":
        fleet.add_vm(name, "h0")
    fleet.through(MAINTAIN, ask())
    cancel(fleet)
    operation = fleet.submit(BACK, MigrateBack(target="h0", confirmed=True)).operation
    assert operation is not None
    until(fleet, label, "move" if label in ("start", "flight") else "")
    fleet.crash()
    fleet.run()
    assert fleet.show(operation.id).state is OperationState.SUCCEEDED and fleet.where("a") == fleet.where("b") == ("h0",)


def test_cancel_while_it_prepares_ends_the_operation_first(make_fleet: Make) -> None:
    fleet = make_fleet()
    for name in "abcd":
        fleet.add_vm(name, "h0")
    preparing = submit(fleet)
    until(fleet, "flight", "move")
    operation = fleet.submit(CANCEL, CancelMaintenance(target="h0", confirmed=True)).operation
    assert operation is not None
    fleet.run()
    assert fleet.show(preparing.id).state is OperationState.CANCELLED and fleet.show(operation.id).state is OperationState.SUCCEEDED
    assert fleet.host("h0").resource_state == "Enabled" and any(fleet.where(name) == ("h0",) for name in "abcd")


def test_cancel_is_refused_where_there_is_nothing_to_cancel_or_it_was_not_confirmed(make_fleet: Make) -> None:
    fleet = make_fleet()
    with pytest.raises(WrongState) as refused:
        fleet.submit(CANCEL, CancelMaintenance(target="h0", confirmed=True))
    assert refused.value.code == "wrong_state"
    fleet.through(MAINTAIN, ask())
    with pytest.raises(ConfirmationRequired):
        fleet.submit(CANCEL, CancelMaintenance(target="h0"))


def test_a_host_that_does_not_answer_stays_in_maintenance(make_fleet: Make) -> None:
    fleet = make_fleet()
    fleet.through(MAINTAIN, ask())
    fleet.world.power_off("h0")
    record = cancel(fleet)
    assert record.state is OperationState.FAILED and record.error is not None and record.error.code == "unreachable"
    assert fleet.host("h0").resource_state == "Maintenance"
    fleet.world.power_on("h0")
    assert cancel(fleet).state is OperationState.SUCCEEDED


def test_what_came_back_is_looked_at(make_fleet: Make) -> None:
    fleet = make_fleet()
    guest_id = fleet.add_vm("a", "h0")
    fleet.change(lambda tx: setattr(tx.get_one(HostRow, "h0"), "patch_level", "p1"))
    fleet.through(MAINTAIN, ask())
    fleet.world.change_host("h0", patch_level="p2")
    connection = fleet.world.connect("h0")
    connection.create(spec(fleet, guest_id))
    fleet.world.ledger.guest("h0", guest_id).state = "running"  # type: ignore[union-attr]  # what its autostart did when it booted
    record = cancel(fleet)
    assert record.state is OperationState.FAILED and record.error is not None and "a" in record.error.message
    assert fleet.host("h0").resource_state == "Maintenance", "a guest on two hosts is not let in"
    connection.kill(guest_id)
    assert cancel(fleet).state is OperationState.SUCCEEDED
    assert fleet.host("h0").patch_level == "p2" and any("patch level is p2" in line[4] for line in fleet.said.lines)


def spec(fleet: Fleet, guest_id: str) -> object:
    from fleet_tui.backend.hypervisors import GuestSpec

    return GuestSpec(guest_id, "a", 1, 2**30, 2**30, 1000)


def test_another_machine_at_the_address_is_not_let_in(make_fleet: Make) -> None:
    fleet = make_fleet()
    fleet.change(lambda tx: setattr(tx.get_one(HostRow, "h0"), "serial", "OLD-1"))
    fleet.world.change_host("h0", serial="NEW-2")
    fleet.through(MAINTAIN, ask())
    record = cancel(fleet)
    assert record.state is OperationState.FAILED and record.error is not None and "NEW-2" in record.error.message


def test_vcenters_own_mode_must_be_left_first(make_fleet: Make) -> None:
    fleet = make_fleet(hypervisor="vsphere")
    fleet.through(MAINTAIN, ask())
    assert not fleet.world.host("h0").in_mode, "vCenter's mode is by hand"
    assert "enter maintenance mode in vCenter" in shown(fleet).checklist[0].text
    fleet.world.change_host("h0", in_mode=True)
    watch = Watch(fleet.store, fleet.life.drivers)
    watch.sweep()
    assert shown(fleet).own_mode == "on"
    record = cancel(fleet)
    assert record.error is not None and "leave vCenter maintenance first" in record.error.hint
    assert fleet.host("h0").resource_state == "Maintenance"
    fleet.world.change_host("h0", in_mode=False)
    assert cancel(fleet).state is OperationState.SUCCEEDED


def test_a_xenserver_master_hands_over_enters_its_own_mode_and_leaves_it(make_fleet: Make) -> None:
    fleet = make_fleet(hypervisor="xenserver")
    fleet.add_vm("a", "h0")
    assert fleet.world.host("h0").is_master
    assert fleet.through(MAINTAIN, ask()).state is OperationState.SUCCEEDED
    assert fleet.world.host("h0").in_mode and not fleet.world.host("h0").is_master and shown(fleet).master == "h1"
    assert cancel(fleet).state is OperationState.SUCCEEDED and not fleet.world.host("h0").in_mode


def test_the_only_possible_master_may_not_leave(make_fleet: Make) -> None:
    fleet = make_fleet(hosts=2, hypervisor="xenserver")
    fleet.world.cut_link("h1")
    fleet.see_links()
    with pytest.raises(FleetError, match="no other host can be master"):
        fleet.submit(MAINTAIN, ask())


def test_a_cancelled_preparation_leaves_xenservers_mode(make_fleet: Make) -> None:
    fleet = make_fleet(hypervisor="xenserver")
    for name in "abc":
        fleet.add_vm(name, "h0")
    operation = submit(fleet)
    until(fleet, "flight", "move")
    assert fleet.world.host("h0").in_mode
    fleet.cancel(operation.id)
    fleet.run()
    assert not fleet.world.host("h0").in_mode and fleet.host("h0").resource_state == "Enabled"


def test_a_session_is_edited_and_refuses_nonsense(make_fleet: Make) -> None:
    fleet = make_fleet()
    fleet.through(MAINTAIN, ask())
    edit(fleet, note="DIMM came late", check=0, step=Step.WORK, ticket="99")
    record = shown(fleet)
    assert record.step is Step.WORK and record.ticket == "99"
    assert [(note.user, note.text) for note in record.notes] == [("ada", "DIMM came late")]
    assert (record.checklist[0].done, record.checklist[0].by) == (True, "ada")
    edit(fleet, checklist=("swap it", record.checklist[0].text))
    assert [item.done for item in shown(fleet).checklist] == [False, True]
    for wrong in ({"reason": ""}, {"planned_end": fleet.clock.now() - timedelta(1)}, {"check": 99}, {"step": Step.CLOSE}):
        with pytest.raises(InvalidInput):
            edit(fleet, **wrong)
    with pytest.raises(WrongState):
        fleet.change(lambda tx: sessions.close(tx, CloseMaintenance(target="h0"), "ada", fleet.clock.now()) and None)


def test_closing_before_vms_are_back_wants_to_be_confirmed(make_fleet: Make) -> None:
    fleet = make_fleet()
    fleet.add_vm("a", "h0")
    fleet.through(MAINTAIN, ask())
    cancel(fleet)
    with pytest.raises(ConfirmationRequired, match="a"):
        fleet.change(lambda tx: sessions.close(tx, CloseMaintenance(target="h0"), "ada", fleet.clock.now()) and None)
    fleet.change(lambda tx: sessions.close(tx, CloseMaintenance(target="h0", confirmed=True), "ada", fleet.clock.now()) and None)


def test_a_second_maintenance_goes_on_with_the_open_session_and_forgets_nothing(make_fleet: Make) -> None:
    fleet = make_fleet()
    fleet.add_vm("a", "h0")
    fleet.through(MAINTAIN, ask())
    cancel(fleet)
    first = shown(fleet).id
    fleet.add_vm("b", "h0")
    fleet.through(MAINTAIN, ask(reason="again"))
    record = shown(fleet)
    assert record.id == first and {vm.vm: vm.state.value for vm in record.vms} == {"a": "moved", "b": "moved"}


def test_an_overrun_is_told_once(make_fleet: Make) -> None:
    fleet = make_fleet()
    fleet.through(MAINTAIN, ask(until=(fleet.clock.now() + timedelta(minutes=5)).isoformat()))
    watch = Watch(fleet.store, fleet.life.drivers)
    watch.sweep()
    fleet.clock.sleep(600)
    watch.sweep()
    watch.sweep()
    assert shown(fleet).is_overrun
    feed = Feed(fleet.store)
    told = [one for one in feed.list(ListEvents()) if one.type == "maintenance.overrun"]
    feed.close()
    assert len(told) == 1 and told[0].level == "warn" and "h0" in told[0].text


def test_a_host_that_nobody_prepares_any_more_is_found(make_fleet: Make) -> None:
    fleet = make_fleet()
    fleet.change(lambda tx: setattr(tx.get_one(HostRow, "h0"), "resource_state", "PrepareForMaintenance"))
    Watch(fleet.store, fleet.life.drivers).sweep()
    assert fleet.host("h0").resource_state == "ErrorInMaintenance"
