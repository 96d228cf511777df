"""The fleet's own hosts as a place for instances: a machine is a VM from a cloud image, on a guest network; its data disk a volume that stays.

What a machine is made of is made by operations of the slice below (``vm.create``, ``vm.start``, …), submitted here and waited for: they have their
own leases, and a maintenance moves the VM like any other. Disks, snapshots and seeds are files on the storage that the hosts of a cluster share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import select

from fleet_tui.backend.errors import Busy, NotFound, WrongState
from fleet_tui.backend.hosts.rows import HostRow
from fleet_tui.backend.machines import AttachDisk, CreateVm, DestroyVm, DetachDisk, StartVm, StopVm, vms
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.machines.states import VmState
from fleet_tui.backend.providers import (
    ANY_DISK,
    Amiss,
    BootConfiguration,
    DiskInfo,
    DiskSpec,
    MachineInfo,
    MachineSpec,
    MachineState,
    Placement,
    SnapshotInfo,
)
from fleet_tui.backend.providers.addresses import card_of, free_address
from fleet_tui.backend.providers.ids import checked_id
from fleet_tui.backend.providers.own_disks import OwnDisks
from fleet_tui.backend.providers.own_ground import Ground, Say
from fleet_tui.backend.providers.own_survey import survey
from fleet_tui.backend.providers.rows import OwnDiskRow, OwnMachineRow
from fleet_tui.backend.providers.seeds import seed
from fleet_tui.backend.telemetry import AgentLine

_TERMINATE_GRACE_S = 30.0
_OFF = frozenset({VmState.STOPPED, VmState.FAILED_TO_START, VmState.CRASHED, VmState.EXPORTING})
"""States of a VM of which nothing runs. Of one that is unknown it must be thought that it does."""


class OwnHosts:
    """The provider protocol over VMs."""

    name = "own_hosts"
    is_elsewhere = True
    look_s = 2.0
    copies_over_time = False

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._disks = OwnDisks(ground)

    # --- disks -------------------------------------------------------------------------------------------------------

    def ensure_disk(self, disk_id: str, size_gb: int, token: str, say: Say, spec: DiskSpec = ANY_DISK) -> DiskInfo:
        return self._disks.ensure(checked_id(disk_id), size_gb, token, say, spec)

    def grow_disk(self, disk_id: str, size_gb: int, say: Say) -> DiskInfo:
        return self._disks.grow(checked_id(disk_id), size_gb, say)

    def find_disk(self, disk_id: str) -> DiskInfo | None:
        return self._disks.find(checked_id(disk_id))

    def delete_disk(self, disk_id: str) -> None:
        self._disks.delete(checked_id(disk_id))

    def snapshot_disk(self, disk_id: str, snapshot_id: str, say: Say) -> SnapshotInfo:
        return self._disks.snapshot(checked_id(disk_id), checked_id(snapshot_id), say)

    def restore_disk(self, disk_id: str, snapshot_id: str, say: Say, token: str = "") -> None:
        self._disks.restore(checked_id(disk_id), checked_id(snapshot_id), say)

    def delete_snapshot(self, snapshot_id: str, region: str = "") -> None:
        self._disks.delete_snapshot(checked_id(snapshot_id))

    def attach_disk(self, machine_id: str, disk_id: str) -> None:
        """On record as the machine's first: whoever comes after a crash gives it to the VM, or takes it back."""
        vm = self._existing(machine_id)
        disk = self._disks.claim(checked_id(disk_id), machine_id)
        if any(known["path"] == disk.path for known in vm.disks):
            return
        self._ground.do("vm.attach-disk", AttachDisk(target=vm.id, path=disk.path, serial=serial_of(disk_id)), machine_id)

    def detach_disk(self, machine_id: str, disk_id: str) -> None:
        disk = self._disks.row(checked_id(disk_id))
        if disk is None or disk.attached_to != checked_id(machine_id):
            return
        vm = self._vm(machine_id)
        if vm is not None and any(known["path"] == disk.path for known in vm.disks):
            if VmState(vm.state) not in _OFF:
                raise WrongState(
                    f"the data disk is in use by VM {vm.name}, which is {vm.state}", hint="shut the machine down first", holders=[f"vm {vm.name}"],
                    state=vm.state,
                )
            self._ground.do("vm.detach-disk", DetachDisk(target=vm.id, path=disk.path), machine_id)
        self._disks.release(disk_id, machine_id)

    # --- machines ----------------------------------------------------------------------------------------------------

    def create_machine(self, spec: MachineSpec, say: Say) -> MachineInfo:
        """Its row first, with its address; then the VM, off, of the same name."""
        checked_id(spec.id)
        plan = self._plan(spec)
        if not self._is_made(spec.id):
            self._ground.do("vm.create", plan, spec.id)
            say(f"made VM {spec.id} from {plan.image}, address {plan.ips[0]}")
        return self.find_machine(spec.id)

    def find_machine(self, machine_id: str) -> MachineInfo:
        with self._ground.store.read() as tx:
            row = tx.get(OwnMachineRow, checked_id(machine_id))
            vm = tx.scalar(select(VmRow).where(VmRow.name == machine_id))
            host = vms.host_name(tx, vm.host_id) if vm is not None else ""
        if row is None:
            return MachineInfo(machine_id, MachineState.ABSENT)
        is_off = vm is None or VmState(vm.state) in _OFF
        return MachineInfo(machine_id, MachineState.OFF if is_off else MachineState.ON, private_ip=row.address, host=host)

    def boot(self, machine_id: str, configuration: BootConfiguration, bundle: str, say: Say) -> None:
        vm = self._settled(self._existing(machine_id).id)
        if VmState(vm.state) not in _OFF:
            say(f"VM {vm.name} runs already")
            return
        with self._ground.store.read() as tx:
            row = tx.get_one(OwnMachineRow, machine_id)
            card = card_of(tx, row, vm.id)
            disk = tx.scalar(select(OwnDiskRow.id).where(OwnDiskRow.attached_to == machine_id))
        path = _seed_path(row)
        content = seed(configuration, row.label, card, bundle, serial_of(disk) if disk else "", self._ground.workshop)
        self._ground.storage(row.cluster_id).put(path, content)
        if not any(known["path"] == path for known in vm.disks):
            self._ground.do("vm.attach-disk", AttachDisk(target=vm.id, path=path, format="raw", kept=False), machine_id)
        self._ground.do("vm.start", StartVm(target=vm.id), machine_id)
        say(f"VM {vm.name} starts, with a seed of {len(content) / 1024:.0f} KiB")

    def shut_down(self, machine_id: str, grace_s: float, say: Say) -> None:
        vm = self._vm(machine_id)
        if vm is None:
            return
        try:
            vm = self._settled(vm.id)
        except NotFound:  # destroyed meanwhile, as by the run that was cut short
            return
        if VmState(vm.state) not in _OFF:
            self._ground.do("vm.stop", StopVm(target=vm.id, grace_s=grace_s, confirmed=True), machine_id)
            say(f"VM {vm.name} is off")

    def terminate(self, machine_id: str, say: Say) -> None:
        """The VM with its OS disk and seed; data disks are let go before, so nothing can take them along."""
        with self._ground.store.read() as tx:
            row = tx.get(OwnMachineRow, checked_id(machine_id))
        if row is None:
            return
        self.shut_down(machine_id, _TERMINATE_GRACE_S, say)
        for disk_id in self._disks.attached_to(machine_id):
            self.detach_disk(machine_id, disk_id)
        if (vm := self._vm(machine_id)) is not None:
            self._ground.do("vm.destroy", DestroyVm(target=vm.id, confirm=vm.name), machine_id)
        self._ground.storage(row.cluster_id).erase(_seed_path(row))
        with self._ground.store.write() as tx:
            if (gone := tx.get(OwnMachineRow, machine_id)) is not None:
                tx.delete(gone)
        say(f"removed VM {machine_id} and its OS disk")

    def unsent_lines(self, machine_id: str) -> Iterator[tuple[str, Sequence[AgentLine]]]:
        """What its OS disk holds cannot be looked into from here."""
        yield from ()

    def machines(self) -> Sequence[MachineInfo]:
        with self._ground.store.read() as tx:
            found = tx.scalars(select(OwnMachineRow.id).order_by(OwnMachineRow.id)).all()
        return tuple(self.find_machine(machine_id) for machine_id in found)

    def disks(self) -> Sequence[DiskInfo]:
        return self._disks.all()

    def snapshots(self) -> Sequence[SnapshotInfo]:
        return self._disks.all_snapshots()

    def whereabouts(self) -> Mapping[str, str]:
        query = select(OwnMachineRow.id, HostRow.name).join(VmRow, VmRow.name == OwnMachineRow.id).join(HostRow, HostRow.id == VmRow.host_id)
        with self._ground.store.read() as tx:
            return {row.id: row.name for row in tx.execute(query)}

    def survey(self, placement: Placement) -> Sequence[Amiss]:
        return survey(self._ground, placement)

    def measure_host(self) -> Mapping[str, Any]:
        return {}

    # --- inside --------------------------------------------------------------------------------------------------------

    def _plan(self, spec: MachineSpec) -> CreateVm:
        """What is to be asked for; its row is there afterwards.

        Raises:
            WrongState: a machine of that id was made by something else.
        """
        ground = self._ground
        with ground.store.write() as tx:
            row = tx.get(OwnMachineRow, spec.id)
            if row is not None and row.token != spec.token:
                told = f"machine {spec.id} exists already and was made by something else"
                raise WrongState(told, hint="terminate it first", state="present")
            zone, network = ground.place(tx, spec.placement)
            image = ground.image(tx, zone, spec.image)
            disk = tx.get(OwnDiskRow, spec.disk_id) if spec.disk_id else None
            if row is None:
                row = OwnMachineRow(
                    id=spec.id, instance_id=spec.instance_id, label=spec.label, token=spec.token, network_id=network.id,
                    cluster_id=disk.cluster_id if disk is not None else ground.cluster(tx, zone, network).id, folder=image.rpartition("/")[0],
                    address=free_address(tx, network), created_at=ground.clock.now(),
                )
                tx.add(row)
            offering = ground.offering(tx, spec.machine_type)
            return CreateVm(
                target=spec.id, cluster=row.cluster_id, offering=offering.id, image=image, disk_mib=spec.root_disk_gb * 1024, start=False,
                networks=(row.network_id,), ips=(row.address,),
            )

    def _vm(self, machine_id: str) -> VmRow | None:
        with self._ground.store.read() as tx:
            if tx.get(OwnMachineRow, checked_id(machine_id)) is None:
                return None
            return tx.scalar(select(VmRow).where(VmRow.name == machine_id))

    def _is_made(self, machine_id: str) -> bool:
        """Whether its VM is there, once an operation that makes it has ended: one that fails takes it away again."""
        vm = self._vm(machine_id)
        try:
            return vm is not None and self._settled(vm.id) is not None
        except NotFound:
            return False

    def _existing(self, machine_id: str) -> VmRow:
        vm = self._vm(machine_id)
        if vm is None:
            raise NotFound(f"there is no machine {machine_id}", hint="reprovision the instance: its data disk is kept")
        return vm

    def _settled(self, vm_id: str) -> VmRow:
        """The VM once nothing starts or stops it any more; a migration does not count.

        Raises:
            Busy: it is still on its way after a long time.
        """
        passing = (VmState.STARTING.value, VmState.STOPPING.value, VmState.DESTROYING.value)

        def look() -> VmRow | None:
            with self._ground.store.read() as tx:
                vm = vms.get(tx, vm_id)
                return None if vm.state in passing else vm

        found = self._ground.wait(look)
        if found is None:
            raise Busy("the machine's VM is still on its way", hint="look at its operations", holders=[vm_id])
        return found


def serial_of(disk_id: str) -> str:
    """By which a machine finds its data disk: the end of its id, which differs from disk to disk."""
    return disk_id[-20:]


def _seed_path(row: OwnMachineRow) -> str:
    return f"{row.folder}/{row.id}.seed.iso"
