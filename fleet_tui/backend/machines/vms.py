"""A VM's row: found, locked, changed. Every change raises its version and tells readers."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import NotFound
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow
from fleet_tui.backend.hosts.states import ConnectionState, ResourceState
from fleet_tui.backend.hypervisors import Disk, GuestSpec
from fleet_tui.backend.machines.capacity import MIB, Size, minimum_memory
from fleet_tui.backend.machines.placement import Wanted
from fleet_tui.backend.machines.rows import MoveRow, OfferingRow, VmRow
from fleet_tui.backend.machines.states import ON_HOST, VmState


def find(tx: Session, target: str) -> VmRow:
    """By name, id or ref.

    Raises:
        NotFound: there is none.
    """
    bare = target.removeprefix("vm:")
    row = tx.scalar(select(VmRow).where((VmRow.id == bare) | (VmRow.name == bare)).order_by(VmRow.id != bare).limit(1))
    if row is None:
        raise NotFound(f"there is no VM {target!r}", hint="`fleet vm list` shows the VMs there are")
    return row


def get(tx: Session, ref: str) -> VmRow:
    """The row of that id or ref, to look at.

    Raises:
        NotFound: the VM is gone.
    """
    row = tx.get(VmRow, ref.removeprefix("vm:"))
    if row is None:
        raise NotFound("the VM is gone", hint="nothing is left to do")
    return row


def owners(tx: Session, target: str) -> frozenset[str]:
    """Who owns a VM, by name, id or ref; nobody when there is none."""
    try:
        return frozenset(find(tx, target).owners)
    except NotFound:
        return frozenset()


def locked(tx: Session, vm_id: str) -> VmRow:
    """The row as it is now, which nobody else changes until the transaction ends. Take a host's lock before a VM's, never after.

    Raises:
        NotFound: the VM is gone.
    """
    query = select(VmRow).where(VmRow.id == vm_id.removeprefix("vm:")).with_for_update().execution_options(populate_existing=True)
    row = tx.scalar(query)
    if row is None:
        raise NotFound("the VM is gone", hint="nothing is left to do")
    return row


def changed(tx: Session, vm: VmRow, now: datetime, text: str = "", level: str = "info", operation_id: str | None = None) -> None:
    """Say that the row was changed, and that the room on its hosts may have been."""
    vm.version = (vm.version or 0) + 1
    vm.updated_at = now
    append(tx, type="vm.changed", ref=f"vm:{vm.id}", text=text, level=level, operation_id=operation_id)
    for host_id in sorted({vm.host_id, vm.destination_id, vm.last_host_id} - {None}):  # type: ignore[type-var]
        append(tx, type="host.changed", ref=f"host:{host_id}")


def settle_at(vm: VmRow, state: VmState, now: datetime, *, host_id: str | None, error: str = "") -> None:
    """Put it where it is: on one host, in a state that lasts. A VM that ran until now keeps its room reserved for a while."""
    ran = VmState(vm.state) in ON_HOST
    vm.state, vm.host_id, vm.destination_id, vm.error = state.value, host_id, None, error
    if state in ON_HOST:
        vm.last_host_id, vm.stopped_at = host_id, None
    elif ran:
        vm.last_host_id, vm.stopped_at = host_id, now


def open_move(tx: Session, vm_id: str) -> MoveRow | None:
    """The VM's attempt that has not ended."""
    query = select(MoveRow).where(MoveRow.vm_id == vm_id, MoveRow.outcome == "").order_by(MoveRow.started_at.desc(), MoveRow.id.desc()).limit(1)
    return tx.scalar(query)


def is_dead(tx: Session, host_id: str | None) -> bool:
    """Whether nothing can run on that host: it was found dead, was declared not to be brought back, or is gone from the fleet.

    A host that merely does not answer is not dead: what ran on it may still run.
    """
    host = tx.get(HostRow, host_id) if host_id is not None else None
    if host is None:
        return True
    return host.connection_state == ConnectionState.DOWN.value or host.resource_state == ResourceState.DEGRADED.value


def host_name(tx: Session, host_id: str | None) -> str:
    return (tx.scalar(select(HostRow.name).where(HostRow.id == host_id)) or "") if host_id else ""


def size_of(vm: VmRow, *, starts: bool = False) -> Size:
    """What it needs; ``starts`` with its cluster's ratios of now."""
    ratios = (0, 0) if starts else (vm.cpu_hundredths, vm.ram_hundredths)
    return Size(vm.cores, vm.mhz, vm.memory_mib * MIB, *ratios)


def wanted_start(vm: VmRow, *, is_new: bool = False, in_disabled_zone: bool = False) -> Wanted:
    """A VM that is to be started somewhere."""
    return Wanted(
        vm.cluster_id, size_of(vm, starts=True), vm.name, frozenset(vm.exclusion_tags), vm.account, is_new=is_new, in_disabled_zone=in_disabled_zone,
        only=vm.host_id if vm.has_local_disk and vm.host_id else "", vm_id=vm.id,
    )


def wanted_live(vm: VmRow, source_is_secured: bool | None, *, exclude: frozenset[str] = frozenset()) -> Wanted:
    """A VM that runs and is to leave its host."""
    return Wanted(
        vm.cluster_id, size_of(vm), vm.name, frozenset(vm.exclusion_tags), vm.account, leaves=vm.host_id or "",
        source_is_secured=source_is_secured, exclude=exclude, vm_id=vm.id,
    )


def wanted_cold(vm: VmRow) -> Wanted:
    """A stopped VM that is to leave its host."""
    return Wanted(vm.cluster_id, size_of(vm, starts=True), vm.name, frozenset(vm.exclusion_tags), vm.account, leaves=vm.host_id or "", vm_id=vm.id)


def spec(tx: Session, vm: VmRow) -> GuestSpec:
    """What its hypervisor is to make of it, were it started now."""
    offering, cluster = tx.get(OfferingRow, vm.offering_id), tx.get(ClusterRow, vm.cluster_id)
    assert offering is not None and cluster is not None  # foreign keys
    return spec_of(vm, offering, cluster)


def spec_of(vm: VmRow, offering: OfferingRow, cluster: ClusterRow) -> GuestSpec:
    """The same, with the ratios of its cluster (spec 9.3, 9.4)."""
    memory = vm.memory_mib * MIB
    return GuestSpec(
        id=vm.guest_id, name=vm.name, cores=vm.cores, memory_bytes=memory, minimum_memory_bytes=minimum_memory(memory, cluster.ram_hundredths),
        cpu_weight=vm.cores * vm.mhz, cpu_limit_mhz=vm.cores * vm.mhz if offering.limit_cpu else 0,
        kernel=str(vm.boot.get("kernel", "")), initrd=str(vm.boot.get("initrd", "")), cmdline=str(vm.boot.get("cmdline", "")),
        disks=tuple(Disk(**disk) for disk in vm.disks),
    )
