"""Every verb of a VM on fake hosts: what it does, what it refuses, and what a failure or a kill leaves."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import select

from fleet_tui.backend.errors import Busy, ConfirmationRequired, InUse, InvalidInput, PermissionDenied, WrongState
from fleet_tui.backend.faults import Faults
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow, PodRow, ZoneRow
from fleet_tui.backend.hypervisors import GuestSpec
from fleet_tui.backend.hypervisors.fake import VOCABULARY
from fleet_tui.backend.hypervisors.fake_host import FakeHypervisor
from fleet_tui.backend.identity import Role
from fleet_tui.backend.identity.rows import UserRow
from fleet_tui.backend.machines import CreateVm, DestroyVm, MigrateVm, RebootVm, ResizeVm, SetRatio, StartVm, StopVm
from fleet_tui.backend.machines.capacity import MIB
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.machines.states import ALLOWED, TRANSITIONAL, VmState
from fleet_tui.backend.operations.rows import LeaseRow, OperationRow
from fleet_tui.backend.store import Store
from tests.backend.machines.desk import Desk, failed, ok
from tests.backend.machines.yard import GIB, START, Fleet

S = VmState


@pytest.fixture
def fleet(sqlite_store: Store) -> Fleet:
    found = Fleet(sqlite_store, settle_s=1.0, link_s=0.5, busy_s=1.0)
    found.hosts("h1", "h2", "h3")
    found.offering()
    return found


@pytest.fixture
def desk(fleet: Fleet) -> Desk:
    return Desk(fleet)


def order(fleet: Fleet, text: str) -> None:
    for fault in Faults.parse(VOCABULARY, text)._faults:
        fleet.world.faults.add(fault)


def only(fleet: Fleet) -> VmRow:
    with fleet.store.read() as tx:
        return tx.scalars(select(VmRow)).one()


NEW = CreateVm(target="web-1", cluster="c", offering="small", image="/images/debian.qcow2", owners=("bob",), tags=("web",))


# --- the life of a VM ----------------------------------------------------------------------------------------------------


def test_a_vm_goes_through_its_life(fleet: Fleet, desk: Desk) -> None:
    ok(desk.do(NEW))
    vm = only(fleet)
    assert (vm.state, vm.name, vm.owners, vm.tags, vm.error) == ("running", "web-1", ["bob"], ["web"], "")
    assert fleet.world.running_on(vm.guest_id) == (vm.host_id,)
    guest = fleet.world.ledger.guest(vm.host_id, vm.guest_id)
    assert guest is not None and (guest.cores, guest.memory_bytes, guest.minimum_memory_bytes, guest.cpu_weight) == (2, 4 * GIB, 4 * GIB, 4000)
    assert guest.disks[0]["path"] == f"/images/web-1.{vm.id}.qcow2" and guest.disks[0]["source"] == "/images/debian.qcow2"
    ok(desk.do(RebootVm(target="web-1", confirmed=True)))
    moved = ok(desk.do(MigrateVm(target="web-1")))
    assert moved.result and moved.result["host"] == only(fleet).host_id != vm.host_id
    ok(desk.do(StopVm(target="web-1", confirmed=True)))
    vm = only(fleet)
    assert vm.state == "stopped" and vm.stopped_at is not None and vm.last_host_id == vm.host_id and not fleet.world.running_on(vm.guest_id)
    fleet.offering("large", cores=4, mhz=1000, gib=8)
    ok(desk.do(ResizeVm(target="web-1", offering="large")))
    guest = fleet.world.ledger.guest(only(fleet).host_id, vm.guest_id)
    assert guest is not None and (guest.cores, guest.memory_bytes, guest.cpu_weight) == (4, 8 * GIB, 4000)
    ok(desk.do(StartVm(target="web-1")))
    assert only(fleet).state == "running"
    fleet.set(VmRow, only(fleet).id, destroy_protected=False)
    ok(desk.do(DestroyVm(target="web-1", confirm="web-1")))
    with fleet.store.read() as tx:
        assert not tx.scalars(select(VmRow)).all() and not tx.scalars(select(LeaseRow)).all()
    assert not fleet.world.places(vm.guest_id) and not fleet.world.ledger.files and not fleet.world.double_starts


def test_a_vm_made_without_starting_it_takes_no_room(fleet: Fleet, desk: Desk) -> None:
    ok(desk.do(CreateVm(target="web-1", cluster="c", offering="small", kernel="/boot/vmlinuz", initrd="/boot/initrd", cmdline="quiet", start=False)))
    vm = only(fleet)
    assert (vm.state, vm.stopped_at) == ("stopped", None) and fleet.world.places(vm.guest_id)[vm.host_id].value == "off"
    assert vm.boot == {"kernel": "/boot/vmlinuz", "initrd": "/boot/initrd", "cmdline": "quiet"} and vm.disks == []


@pytest.mark.parametrize("kernel", ["", "/boot/vmlinuz"])
def test_a_disk_may_be_empty(fleet: Fleet, desk: Desk, kernel: str) -> None:
    request = CreateVm(target="web-1", cluster="c", offering="small", disk_mib=64, kernel=kernel)
    plan = desk.plan(replace(request, dry_run=True))
    assert "an empty disk of 64 MiB" in plan.changes[0] and any("nothing to boot" in text for text in plan.consequences) is not bool(kernel)
    ok(desk.do(request))
    vm = only(fleet)
    guest = fleet.world.ledger.guest(vm.host_id, vm.guest_id)
    assert guest is not None and [(d["path"], d["size_bytes"], d["source"]) for d in guest.disks] == [
        (f"/var/lib/libvirt/images/web-1.{vm.id}.qcow2", 64 * MIB, "")
    ]
    with pytest.raises(InvalidInput) as refused:
        desk.ask(CreateVm(target="web-2", cluster="c", offering="small"))
    assert [(problem.field, "empty disk" in problem.message) for problem in refused.value.problems] == [("image", True)]


@pytest.mark.parametrize("image", ["/images/debian.qcow2", "/images/web-1.qcow2"])
def test_a_file_of_its_name_is_left_alone(fleet: Fleet, desk: Desk, image: str) -> None:
    """It may be the image itself, a data disk of an instance, or what nobody here knows: never written to, never erased."""
    storage = fleet.links.hypervisor("h1").storage
    storage.put("/images/web-1.qcow2", b"precious")
    before = dict(fleet.world.ledger.files)
    ok(desk.do(replace(NEW, image=image, destroy_protected=False)))
    (disk,) = only(fleet).disks
    assert disk["path"] != "/images/web-1.qcow2" and disk["source"] == image
    ok(desk.do(DestroyVm(target="web-1", confirm="web-1")))
    order(fleet, "guest:create:web-1")
    assert desk.do(replace(NEW, image=image)).state.value == "failed"
    assert fleet.world.ledger.files == before


def test_a_disk_that_is_also_an_image_or_another_vms_is_not_erased(fleet: Fleet, desk: Desk) -> None:
    """As VMs of before may have it, whose disks were called like them alone."""
    itself = {"path": "/images/debian.qcow2", "source": "/images/debian.qcow2", "size_bytes": 0, "format": "qcow2", "is_local": False}
    for name, disk in (("debian", itself), ("web", itself | {"path": "/images/web.qcow2"}), ("copy", itself | {"source": "/images/web.qcow2"})):
        fleet.vm(name, "h1", S.STOPPED, disks=[disk | ({"path": "/images/copy.qcow2"} if name == "copy" else {})])
    for name, users in (("debian", ["debian", "web"]), ("web", ["copy"])):
        destroy = DestroyVm(target=name, confirm=name)
        assert "in_use" in {refusal.code for refusal in desk.plan(replace(destroy, dry_run=True)).refusals}
        assert not desk.plan(replace(destroy, keep_disks=True, dry_run=True)).refusals
        with pytest.raises(InUse, match="it would be erased") as refused:
            desk.ask(destroy)
        assert refused.value.details["users"] == users[:1] and "--keep-disks" in refused.value.hint
    ok(desk.do(DestroyVm(target="copy", confirm="copy")))
    ok(desk.do(DestroyVm(target="web", confirm="web")))
    ok(desk.do(DestroyVm(target="debian", confirm="debian", keep_disks=True)))


def test_a_deaf_guest_is_switched_off_after_its_grace(fleet: Fleet, desk: Desk) -> None:
    fleet.vm("vm", "h1")
    fleet.world.change_guest(fleet.row("vm").guest_id, is_deaf=True)
    ok(desk.do(StopVm(target="vm", confirmed=True)))
    assert "it did not shut down within 15 s and was switched off" in desk.words() and fleet.places("vm") == {"h1": "off"}


def test_a_crashed_vm_just_becomes_stopped(fleet: Fleet, desk: Desk) -> None:
    for state in (S.CRASHED, S.FAILED_TO_START):
        fleet.vm(state.value, "h1", state, error="it is dead")
        ok(desk.do(StopVm(target=state.value)))
        assert (fleet.row(state.value).state, fleet.row(state.value).error) == ("stopped", "")


def test_a_start_records_the_ratios_of_now_and_sets_the_minimum_memory(fleet: Fleet, desk: Desk) -> None:
    fleet.vm("vm", "h1", S.STOPPED)
    fleet.set(ClusterRow, "c", cpu_hundredths=300, ram_hundredths=200)
    ok(desk.do(StartVm(target="vm", host="h1")))
    row, guest = fleet.row("vm"), fleet.world.ledger.guest("h1", fleet.row("vm").guest_id)
    assert (row.cpu_hundredths, row.ram_hundredths) == (300, 200) and guest is not None and guest.minimum_memory_bytes == 2 * GIB


def test_a_start_prefers_the_host_that_kept_its_room_and_tidies_up_when_it_goes_elsewhere(fleet: Fleet, desk: Desk) -> None:
    fleet.vm("busy", "h1", offering="small")
    fleet.vm("vm", "h1", S.STOPPED, stopped_at=START)
    ok(desk.do(StartVm(target="vm")))
    assert fleet.row("vm").host_id == "h1", "though others are emptier"
    ok(desk.do(StopVm(target="vm", confirmed=True)))
    ok(desk.do(StartVm(target="vm", host="h2")))
    assert fleet.places("vm") == {"h2": "running"} and fleet.row("vm").last_host_id in ("h1", "h2")


def test_a_stopped_vm_moves_with_its_definition(fleet: Fleet, desk: Desk) -> None:
    fleet.vm("vm", "h1", S.STOPPED)
    ok(desk.do(MigrateVm(target="vm", host="h2")))
    assert fleet.places("vm") == {"h2": "off"} and (fleet.row("vm").state, fleet.row("vm").host_id) == ("stopped", "h2")
    assert [(m.outcome, m.phase) for m in fleet.moves("vm")] == [("moved", "done")]
    order(fleet, "guest:create:vm")
    failed(desk.do(MigrateVm(target="vm", host="h3")), "capacity", "move")
    assert fleet.places("vm") == {"h2": "off"} and (fleet.row("vm").state, fleet.row("vm").host_id, fleet.row("vm").destination_id) == ("stopped", "h2", None)
    assert {m.destination_id: m.outcome for m in fleet.moves("vm")} == {"h2": "moved", "h3": "failed"}


# --- a zone that is not open yet -----------------------------------------------------------------------------------------


def become(fleet: Fleet, role: Role | None, state: str = "active") -> None:
    """Give the desk's user a role."""
    with fleet.store.write() as tx:
        if (row := tx.get(UserRow, "ada")) is not None:
            tx.delete(row)
            tx.flush()
        if role is not None:
            tx.add(UserRow(name="ada", role=role.value, uid=4711, display_name="", state=state, created_at=START))


@pytest.mark.parametrize("role", [*(role for role in Role if role is not Role.ROOT_ADMIN), None])
def test_in_a_disabled_zone_only_root_admins_deploy(fleet: Fleet, desk: Desk, role: Role | None) -> None:
    fleet.vm("off", "h1", S.STOPPED)
    fleet.vm("on", "h1")
    fleet.set(ZoneRow, "z", allocation="Disabled")
    become(fleet, role)
    for request in (NEW, StartVm(target="off"), StartVm(target="off", host="h2")):
        with pytest.raises(PermissionDenied, match="zone z is disabled"):
            desk.ask(request)
        plan = desk.plan(replace(request, dry_run=True))
        assert [(r.code, "only root-admins" in r.message) for r in plan.refusals] == [("permission_denied", True)]
    assert (fleet.row("off").state, fleet.row("on").state) == ("stopped", "running")
    ok(desk.do(StopVm(target="on", confirmed=True)))  # what is there goes on, and can be driven
    become(fleet, Role.ROOT_ADMIN, "disabled")
    with pytest.raises(PermissionDenied):
        desk.ask(NEW)


def test_a_root_admin_tries_a_disabled_zone_out_and_is_told_that_it_is_one(fleet: Fleet, desk: Desk) -> None:
    fleet.vm("off", "h1", S.STOPPED)
    fleet.vm("on", "h1")
    fleet.set(ZoneRow, "z", allocation="Disabled")
    become(fleet, Role.ROOT_ADMIN)
    for request in (NEW, StartVm(target="off")):
        plan = desk.plan(replace(request, dry_run=True))
        assert not plan.refusals and any("zone z is disabled" in text and "try it out" in text for text in plan.consequences)
        ok(desk.do(request))
    assert fleet.row("off").state == "running"
    failed(desk.do(MigrateVm(target="on")), "capacity", "move")  # HST-2: no destination is in a disabled branch
    fleet.set(PodRow, "p", allocation="Disabled")
    failed(desk.do(replace(NEW, target="web-2")), "capacity", "place")  # a pod or cluster that is disabled is closed to everybody


# --- refusals ------------------------------------------------------------------------------------------------------------

REQUESTS = {
    "start": StartVm(target="vm"), "stop": StopVm(target="vm", confirmed=True), "reboot": RebootVm(target="vm", confirmed=True),
    "destroy": DestroyVm(target="vm", confirm="vm"), "resize": ResizeVm(target="vm", offering="small"), "migrate": MigrateVm(target="vm"),
}


@pytest.mark.parametrize("action", sorted(REQUESTS))
def test_the_table_of_actions_is_kept_at_submit_and_at_the_beginning(fleet: Fleet, desk: Desk, action: str) -> None:
    fleet.vm("vm", "h1", destroy_protected=False)
    for state in S:
        fleet.set(VmRow, "vm", state=state.value)
        if state in ALLOWED[action]:
            waiting = desk.ask(REQUESTS[action])
            fleet.set(VmRow, "vm", state="exporting" if action != "start" and action != "destroy" else "running")
            fleet.set(VmRow, "vm", destroy_protected=True)
            desk.claim()
            failed(desk.show(waiting.id), "wrong_state")
            assert fleet.row("vm").state in ("exporting", "running")
            fleet.set(VmRow, "vm", destroy_protected=False)
        else:
            with pytest.raises(WrongState) as refused:
                desk.ask(REQUESTS[action])
            assert refused.value.details["state"] == state.value


def test_destroy_protection_is_for_running_vms(fleet: Fleet, desk: Desk) -> None:
    """VM-1."""
    fleet.vm("vm", "h1")
    with pytest.raises(WrongState, match="protected"):
        desk.ask(DestroyVm(target="vm", confirm="vm"))
    ok(desk.do(StopVm(target="vm", confirmed=True)))
    ok(desk.do(DestroyVm(target="vm", confirm="vm")))


@pytest.mark.parametrize("state", ["Disabled", "PrepareForMaintenance", "ErrorInPrepareForMaintenance", "Maintenance", "ErrorInMaintenance", "Degraded"])
def test_a_host_that_is_not_enabled_takes_no_vm(fleet: Fleet, desk: Desk, state: str) -> None:
    """VM-2."""
    fleet.vm("vm", "h1", S.STOPPED)
    fleet.set(HostRow, "h2", resource_state=state)
    for request in (StartVm(target="vm", host="h2"), CreateVm(target="new", cluster="c", offering="small", image="/i", host="h2"), MigrateVm(target="vm", host="h2")):
        with pytest.raises((WrongState, Busy)) as refused:
            desk.ask(request)
        assert refused.value.code == ("busy" if "Prepare" in state else "wrong_state") and "h2" in refused.value.message
    fleet.set(HostRow, "h3", resource_state=state)
    ok(desk.do(StartVm(target="vm")))
    assert fleet.row("vm").host_id == "h1"


def test_while_a_host_is_being_emptied_its_vms_are_left_alone(fleet: Fleet, desk: Desk) -> None:
    """VM-3: busy, naming the operation."""
    fleet.vm("vm", "h1", destroy_protected=False)
    fleet.set(HostRow, "h1", resource_state="PrepareForMaintenance")
    with fleet.store.write() as tx:
        tx.add(OperationRow(id="o-9", kind="host.maintain", title="maintain", target="h1", target_ref="host:h1", state="running", user="eve",
                            rank=0.0, submitted_at=START, parameters={}, leases=[], request={}, waiting_for=[], epoch=1, executor="e-9"))
        tx.flush()
        tx.add(LeaseRow(level="host", name="h1", operation_id="o-9", shared=False))
    for action in ("stop", "reboot", "destroy"):
        with pytest.raises(Busy, match=r"maintain h1 \(o-9\)") as refused:
            desk.ask(REQUESTS[action])
        assert refused.value.details["holders"] == ["o-9"]
    fleet.vm("other", "h2")
    with pytest.raises(Busy, match="maintain h1"):
        desk.ask(MigrateVm(target="other", host="h1"))
    waiting = desk.do(MigrateVm(target="vm"))
    assert waiting.state.value == "waiting" and waiting.waiting_for == ("maintain h1 (o-9)",)


def test_what_interrupts_is_confirmed_and_what_destroys_is_typed(fleet: Fleet, desk: Desk) -> None:
    fleet.vm("vm", "h1", destroy_protected=False)
    for request in (StopVm(target="vm"), RebootVm(target="vm"), DestroyVm(target="vm"), DestroyVm(target="vm", confirm="VM"), SetRatio(target="c", cpu=2.0)):
        with pytest.raises(ConfirmationRequired):
            desk.ask(request)
    for request in (StopVm(target="vm", dry_run=True), DestroyVm(target="vm", dry_run=True)):
        assert not desk.plan(request).refusals
    assert desk.plan(DestroyVm(target="vm", dry_run=True)).consequences == ("vm is gone for good",)
    assert fleet.row("vm").state == "running"


def test_a_request_for_a_vm_names_everything_that_is_wrong(fleet: Fleet, desk: Desk) -> None:
    wrong = CreateVm(target="-x", cluster="c", offering="small", kind="pet", kernel="boot/../vmlinuz", cmdline="a\nb", disk_mib=-1, placement="best")
    with pytest.raises(InvalidInput) as refused:
        desk.ask(wrong)
    assert [problem.field for problem in refused.value.problems] == ["target", "kind", "kernel", "cmdline", "disk_mib", "placement"]
    ok(desk.do(NEW))
    with pytest.raises(InUse):
        desk.ask(NEW)


def test_the_same_creation_asked_twice_is_one(fleet: Fleet, desk: Desk) -> None:
    first = desk.ask(NEW)
    again = desk.submission.submit("vm.create", NEW, "ada")
    assert again.deduplicated and again.operation is not None and again.operation.id == first.id


def test_leases_are_the_vm_alone_and_what_it_touches_shared(fleet: Fleet, desk: Desk) -> None:
    fleet.vm("vm", "h1")
    asked = desk.ask(MigrateVm(target="vm", host="h2"))
    with fleet.store.read() as tx:
        row = tx.get(OperationRow, asked.id)
        assert row is not None
        assert {(level, name, shared) for level, name, shared in row.leases} == {
            ("cluster", "c", True), ("vm", "vm", False), ("host", "h1", True), ("host", "h2", True),
        }


# --- failures ------------------------------------------------------------------------------------------------------------


def test_a_creation_without_room_leaves_nothing(fleet: Fleet, desk: Desk) -> None:
    fleet.offering("huge", gib=100)
    error = failed(desk.do(CreateVm(target="web-1", cluster="c", offering="huge", image="/i")), "capacity", "place")
    assert "can never fit" in error.message
    with fleet.store.read() as tx:
        assert not tx.scalars(select(VmRow)).all()


@pytest.mark.parametrize("fault", ["guest:create:web-1", "after:guest:create:web-1"])
def test_a_creation_that_fails_before_its_start_leaves_nothing(fleet: Fleet, desk: Desk, fault: str) -> None:
    order(fleet, fault)
    assert desk.do(NEW).state.value == "failed"
    with fleet.store.read() as tx:
        assert not tx.scalars(select(VmRow)).all()
    assert not any(fleet.world.ledger.on_host.values()) and not fleet.world.ledger.files
    ok(desk.do(NEW))


def test_a_disk_whose_guest_was_never_defined_goes_too(fleet: Fleet, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(hypervisor: FakeHypervisor, spec: GuestSpec) -> None:
        for disk in spec.disks:
            hypervisor.storage.make(disk)
        raise WrongState("unsupported configuration", hint="look at its definition")

    monkeypatch.setattr(FakeHypervisor, "create", refuses)
    failed(desk.do(NEW), "wrong_state", "define")
    assert not fleet.world.ledger.files


def test_a_vm_that_does_not_start_is_kept_to_be_looked_at(fleet: Fleet, desk: Desk) -> None:
    order(fleet, "guest:start:web-1")
    failed(desk.do(NEW), "capacity", "start")
    vm = only(fleet)
    assert vm.state == "failed-to-start" and "memory" in vm.error
    ok(desk.do(StartVm(target="web-1")))
    assert only(fleet).state == "running" and only(fleet).error == ""


def test_an_answer_that_is_lost_is_asked_for_again(fleet: Fleet, desk: Desk) -> None:
    fleet.vm("vm", "h1", S.STOPPED)
    order(fleet, "after:guest:start:vm")
    ok(desk.do(StartVm(target="vm", host="h1")))
    assert fleet.row("vm").state == "running"


def test_a_stop_that_fails_leaves_it_running(fleet: Fleet, desk: Desk) -> None:
    fleet.vm("vm", "h1")
    order(fleet, "guest:shut_down:vm")
    failed(desk.do(StopVm(target="vm", confirmed=True)), "unreachable", "stop")
    assert fleet.row("vm").state == "running" and fleet.where("vm") == ("h1",)


def test_a_host_that_does_not_answer_leaves_its_vm_unknown(fleet: Fleet, desk: Desk) -> None:
    fleet.vm("vm", "h1")
    fleet.world.cut_link("h1")
    failed(desk.do(StopVm(target="vm", confirmed=True)), "unreachable", "stop")
    assert fleet.row("vm").state == "unknown" and "h1" in fleet.row("vm").error


def test_a_vm_is_not_started_while_its_old_host_may_still_run_it(fleet: Fleet, desk: Desk) -> None:
    """Two copies would ruin its disks."""
    fleet.vm("vm", "h1")
    fleet.set(VmRow, "vm", state="crashed")  # so the rows say; the guest runs behind a broken link
    fleet.world.cut_link("h1")
    error = failed(desk.do(StartVm(target="vm")), "unreachable", "check")
    assert "h1 may still run vm" in error.message and "degraded" in error.hint
    fleet.world.mend_link("h1")
    failed(desk.do(StartVm(target="vm")), "wrong_state", "check")
    assert (fleet.row("vm").state, fleet.row("vm").host_id) == ("running", "h1") and not fleet.world.double_starts


def test_a_vm_whose_host_counts_as_dead_is_started_elsewhere(fleet: Fleet, desk: Desk) -> None:
    fleet.vm("vm", "h1", S.RUNNING)
    fleet.set(VmRow, "vm", state="crashed")
    fleet.world.power_off("h1")
    fleet.set(HostRow, "h1", resource_state="Degraded", connection_state="alert")
    ok(desk.do(StartVm(target="vm")))
    assert fleet.row("vm").host_id in ("h2", "h3") and fleet.where("vm") == (fleet.row("vm").host_id,)
    assert any("counts as dead" in line for line in desk.words())


def test_a_migration_that_fails_is_a_failed_operation_and_a_vm_that_runs(fleet: Fleet, desk: Desk) -> None:
    fleet.vm("vm", "h1")
    order(fleet, "move:copy:vm")
    error = failed(desk.do(MigrateVm(target="vm", host="h2")), "wrong_state", "move")
    assert "did not move to h2" in error.message and "runs on h1" in error.hint
    assert fleet.where("vm") == ("h1",) and fleet.row("vm").state == "running"


# --- ratios --------------------------------------------------------------------------------------------------------------


def test_a_change_of_ratios_says_who_keeps_the_old_one(fleet: Fleet, desk: Desk) -> None:
    fleet.vm("vm", "h1")
    found = ok(desk.do(SetRatio(target="c", ram=1.5, confirmed=True)))
    assert found.result == {"old_ratio_vms": 1} and any("stop and start to adopt: vm" in line for line in desk.words())
    with fleet.store.read() as tx:
        cluster = tx.get(ClusterRow, "c")
        assert cluster is not None and (cluster.ram_hundredths, cluster.cpu_hundredths, cluster.ratio_is_own, cluster.recalculated_by) == (150, 100, True, None)
    ok(desk.do(SetRatio(target="c", ram=0, cpu=0, confirmed=True)))
    with fleet.store.read() as tx:
        cluster = tx.get(ClusterRow, "c")
        assert cluster is not None and (cluster.ram_hundredths, cluster.ratio_is_own) == (100, False)


def test_new_vms_wait_while_the_ratio_changes(fleet: Fleet, desk: Desk) -> None:
    """CAP-3."""
    changing = desk.ask(SetRatio(target="c", ram=2.0, confirmed=True))
    desk.claim()
    waiting = desk.do(NEW)
    assert waiting.state.value == "waiting" and waiting.waiting_for == (f"ratio c ({changing.id})",)
    with fleet.store.read() as tx:
        assert tx.get(ClusterRow, "c").recalculated_by == changing.id  # type: ignore[union-attr]
    ok(desk.run(changing.id))
    assert waiting.id in desk.claim().started
    ok(desk.run(waiting.id))
    assert only(fleet).ram_hundredths == 200


def test_ratios_that_cannot_be_are_refused(fleet: Fleet, desk: Desk) -> None:
    fleet.cluster("xen", hypervisor="xenserver")
    for target, ratio in (("c", 0.5), ("c", 101.0), ("xen", 4.5)):
        with pytest.raises(InvalidInput):
            desk.ask(SetRatio(target=target, ram=ratio, confirmed=True))
    with pytest.raises(InvalidInput):
        desk.ask(SetRatio(target="c", confirmed=True))


# --- the daemon dies -----------------------------------------------------------------------------------------------------


class Struck(BaseException):
    """``kill -9``."""


SCENES: dict[str, tuple[Callable[[Fleet], object], object, tuple[str, ...]]] = {
    "create": (lambda fleet: None, NEW, ("running",)),
    "start": (lambda fleet: fleet.vm("web-1", "h1", S.STOPPED), StartVm(target="web-1", host="h2"), ("running",)),
    "stop": (lambda fleet: fleet.vm("web-1", "h1"), StopVm(target="web-1", confirmed=True), ("stopped",)),
    "migrate": (lambda fleet: fleet.vm("web-1", "h1"), MigrateVm(target="web-1", host="h2"), ("running",)),
    "carry": (lambda fleet: fleet.vm("web-1", "h1", S.STOPPED), MigrateVm(target="web-1", host="h2"), ("stopped",)),
    "destroy": (lambda fleet: fleet.vm("web-1", "h1", destroy_protected=False), DestroyVm(target="web-1", confirm="web-1"), ()),
}


@pytest.mark.slow
@pytest.mark.parametrize("scene", sorted(SCENES))
def test_killed_at_every_boundary_and_every_call_an_operation_comes_to_its_one_end(sqlite_store: Store, scene: str) -> None:
    """At each checkpoint of the engine, and before and after each call of a hypervisor."""
    for number in itertools.count(1):
        fleet = _fresh(sqlite_store)
        setup, request, ends = SCENES[scene]
        setup(fleet)
        count = itertools.count(1)
        armed = [True]

        def strike(point: str = "", count=count, armed=armed, number=number) -> None:
            if armed[0] and next(count) == number:
                armed[0] = False
                raise Struck

        _around_calls(fleet, strike)
        desk = Desk(fleet, checkpoint=strike)
        operation = desk.ask(request)  # type: ignore[arg-type]
        desk.claim()
        try:
            desk.run(operation.id)
        except Struck:
            fleet.links.forget()
            desk.run(operation.id)
        record = desk.show(operation.id)
        assert record.state.value == "succeeded", (number, record.error)
        with fleet.store.read() as tx:
            rows = tx.scalars(select(VmRow)).all()
            assert not tx.scalars(select(LeaseRow)).all()
        assert tuple(row.state for row in rows) == ends and not fleet.world.double_starts
        for row in rows:
            assert S(row.state) not in TRANSITIONAL and row.destination_id is None
            places = fleet.world.places(row.guest_id)
            assert set(places) == {row.host_id} and places[row.host_id].value == {"running": "running", "stopped": "off"}[row.state]
        if not rows:
            assert not any(fleet.world.ledger.on_host.values())
        if armed[0]:
            assert number > 8
            return


def _fresh(store: Store) -> Fleet:
    from fleet_tui.backend.store import Base

    with store.write() as tx:
        for table in reversed(Base.metadata.sorted_tables):
            tx.execute(table.delete())
    fleet = Fleet(store, settle_s=1.0, link_s=0.5, busy_s=1.0)
    fleet.hosts("h1", "h2", "h3")
    fleet.offering()
    return fleet


def _around_calls(fleet: Fleet, strike: Callable[[], None]) -> None:
    """The daemon may die just before a hypervisor is asked, and just after it did what it was asked."""
    connect = fleet.world.connect

    def watched(name: str, lost=lambda reason: None):
        real = connect(name, lost)
        for verb in ("create", "start", "shut_down", "kill", "remove", "migrate", "resume", "drop_incoming"):
            setattr(real, verb, _between(strike, getattr(real, verb)))
        return real

    fleet.world.connect = watched  # type: ignore[method-assign]


def _between(strike: Callable[[], None], call: Callable[..., object]) -> Callable[..., object]:
    def around(*args, **options):
        strike()
        found = call(*args, **options)
        strike()
        return found

    return around


def test_an_operation_of_which_nothing_is_known_leaves_no_state_that_does_not_end(fleet: Fleet, desk: Desk) -> None:
    """A step that a bug ended: the VM is unknown until it is asked, never stopping for ever."""
    fleet.vm("vm", "h1")
    operation = desk.ask(StopVm(target="vm", confirmed=True))
    desk.claim()

    def broken(*args, **options):
        raise ZeroDivisionError

    fleet.links.hypervisor("h1").shut_down = broken  # type: ignore[method-assign]
    desk.run(operation.id)
    assert S(fleet.row("vm").state) is S.RUNNING
    fleet.links.hypervisor = broken  # type: ignore[method-assign]
    operation = desk.ask(StopVm(target="vm", confirmed=True))
    desk.claim()
    assert desk.run(operation.id).state.value == "failed"
    assert S(fleet.row("vm").state) is S.UNKNOWN


