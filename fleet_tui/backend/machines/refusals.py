"""What refuses a verb on a VM: its own state, its host's, and a maintenance that is emptying a host (spec 7.8, VM-1 to VM-3)."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy.orm import Session

from fleet_tui.backend.errors import Busy, FleetError, InvalidInput, Problem, WrongState
from fleet_tui.backend.hosts.rows import HostRow
from fleet_tui.backend.hosts.states import ResourceState
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


def _being_emptied(tx: Session, host: HostRow, what: str) -> Busy:
    """VM-3, with the maintenance that is at work."""
    held = holders(tx, [Lease("host", host.id, shared=True)], "")
    by = ", ".join(f"{row.title} {row.target} ({row.id})" for row in held) or "its maintenance"
    return Busy(
        f"{what} is refused: {host.name} is being emptied for maintenance by {by}", hint="wait for that, or cancel the maintenance",
        holders=[row.id for row in held], state=host.resource_state,
    )
