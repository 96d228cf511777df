"""What refuses a verb on a VM: its own state, its host's, and a maintenance that is emptying a host (spec 7.8, VM-1 to VM-3)."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import Busy, FleetError, InvalidInput, PermissionDenied, Problem, WrongState
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow, PodRow, ZoneRow
from fleet_tui.backend.hosts.states import Allocation, ResourceState
from fleet_tui.backend.identity import Role
from fleet_tui.backend.identity.users import role_of
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.machines.states import ALLOWED, ON_HOST, VmState, refusal
from fleet_tui.backend.operations.catalogue import Lease
from fleet_tui.backend.operations.leases import holders

PREPARING = (ResourceState.PREPARE.value, ResourceState.ERROR_IN_PREPARE.value)


def of_state(tx: Session, action: str, vm: VmRow) -> Iterable[FleetError]:
    """What its own state, and its host's, refuse. Asked again when the operation begins."""
    if why := refusal(action, VmState(vm.state), vm.destroy_protected):
        allowed = [a for a in ALLOWED if not refusal(a, VmState(vm.state), vm.destroy_protected)]
        hint = f"possible now: {', '.join(allowed)}" if allowed else "wait for what is under way"
        yield WrongState(f"{action} of {vm.name} is refused: {why}", hint=hint, state=vm.state, allowed=sorted(s.value for s in ALLOWED[action]))
    host = tx.get(HostRow, vm.host_id) if vm.host_id is not None else None
    if host is not None and action in ("stop", "reboot", "destroy") and host.resource_state in PREPARING and VmState(vm.state) in ON_HOST:
        yield _being_emptied(tx, host, f"{action} of {vm.name}")


def of_host(tx: Session, vm: VmRow, host: HostRow) -> Iterable[FleetError]:
    """What speaks against a host that was asked for by name (VM-2, VM-3)."""
    if host.cluster_id != vm.cluster_id:
        yield InvalidInput(f"{host.name} is not of the cluster of {vm.name}", problems=[Problem("host", "is of another cluster")])
    elif host.resource_state in PREPARING:
        yield _being_emptied(tx, host, f"{vm.name} on {host.name}")
    elif host.resource_state != ResourceState.ENABLED.value:
        yield WrongState(
            f"{host.name} is {host.resource_state} and takes no VM", hint="choose another host, or enable it", state=host.resource_state,
            allowed=[ResourceState.ENABLED.value],
        )


def disabled_zone(tx: Session, cluster_id: str) -> str:
    """Name of the zone that a cluster is in, when it is disabled."""
    query = select(ZoneRow.name).join(PodRow, PodRow.zone_id == ZoneRow.id).join(ClusterRow, ClusterRow.pod_id == PodRow.id)
    return tx.scalar(query.where(ClusterRow.id == cluster_id, ZoneRow.allocation != Allocation.ENABLED.value)) or ""


def of_zone(tx: Session, zone: str, user: str) -> Iterable[FleetError]:
    """HST-3: in a disabled zone only root-admins deploy. ``zone`` is empty when it is not."""
    if zone and role_of(tx, user) is not Role.ROOT_ADMIN:
        yield PermissionDenied(
            f"zone {zone} is disabled, and only root-admins may deploy in it", hint=f"`fleet zone enable {zone}`, or choose a cluster elsewhere",
            needed=Role.ROOT_ADMIN.value,
        )


def on_trial(zone: str) -> tuple[str, ...]:
    """What a root-admin is told there."""
    return (f"zone {zone} is disabled: only root-admins may deploy in it, to try it out",) if zone else ()


def _being_emptied(tx: Session, host: HostRow, what: str) -> Busy:
    """VM-3, with the maintenance that is at work."""
    held = holders(tx, [Lease("host", host.id, shared=True)], "")
    by = ", ".join(f"{row.title} {row.target} ({row.id})" for row in held) or "its maintenance"
    return Busy(
        f"{what} is refused: {host.name} is being emptied for maintenance by {by}", hint="wait for that, or cancel the maintenance",
        holders=[row.id for row in held], state=host.resource_state,
    )


def check_movable(vm: VmRow, *, copies: bool = False) -> None:
    """Raises WrongState when that VM cannot move while it runs."""
    if vm.state != VmState.RUNNING.value or vm.host_id is None:
        raise WrongState(f"{vm.name} is {vm.state}; only a running VM moves", hint="start it, or wait for what goes on", state=vm.state)
    if vm.has_device:
        raise WrongState(f"a device is passed through to {vm.name}: it cannot move while it runs", hint="stop it, start it elsewhere", state="device")
    if vm.has_local_disk and not copies:
        raise WrongState(f"{vm.name} has a disk on its host's own storage", hint="move it with its disk", state="local-disk")
