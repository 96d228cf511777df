"""Into maintenance: the beginning, which is one decision, and the steps around the evacuation (spec 8.2, 8.6)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import WrongState
from fleet_tui.backend.hosts import transitions
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow
from fleet_tui.backend.hosts.states import HostEvent, ResourceState
from fleet_tui.backend.hypervisors import GuestState, Hypervisor
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.machines.states import ON_HOST, VmState
from fleet_tui.backend.maintenance import MoveState, Step, sessions
from fleet_tui.backend.maintenance.comeback import host_id_of
from fleet_tui.backend.maintenance.drivers import Drivers
from fleet_tui.backend.maintenance.preconditions import Place, error_of, lock_cluster, place_of, skips_evacuation, standing
from fleet_tui.backend.maintenance.rows import EvacueeRow
from fleet_tui.backend.operations import queries
from fleet_tui.backend.operations.catalogue import OperationFacts, StepContext
from fleet_tui.backend.operations.overview import outcome

Result = Mapping[str, Any] | None

_ELECTION_S = 300.0


def begin(tx: Session, op: OperationFacts, drivers: Drivers) -> None:
    """Look again at everything, take the host out of service and write down what is on it, as one decision.

    Holds the cluster's row, so that of two hosts asked for together only as many begin as may be in preparation at once.

    Raises:
        FleetError: what speaks against it now; nothing was changed.
    """
    now, given = drivers.clock.now(), op.parameters
    cluster_id = tx.scalars(select(HostRow.cluster_id).where(HostRow.id == op.target_ref.removeprefix("host:"))).one()
    lock_cluster(tx, cluster_id)
    host = transitions.lock(tx, op.target_ref.removeprefix("host:"))
    place = place_of(tx, host)
    if refusals := standing(tx, place, drivers.policy):
        raise error_of(host, refusals)
    to = transitions.move(
        tx, host, HostEvent.ASK_MAINTENANCE, now, text=f"maintenance of {host.name} begins: {given['reason']}", operation_id=op.id, user=op.user
    )
    host.error = ""
    session = sessions.begin(
        tx, host, place.cluster.hypervisor, step=Step.READY if to is ResourceState.MAINTENANCE else Step.PREPARE, reason=given["reason"],
        ticket=given["ticket"], owner=op.user, now=now, planned_end=datetime.fromisoformat(given["until"]) if given["until"] else None,
        allow_stop=bool(given["allow_stop"]), operation_id=op.id,
    )
    sessions.enlist(tx, session)
    if skips_evacuation(place, drivers.policy):
        _give_up_vms(tx, place, session.id, now)
    sessions.changed(tx, session, type="maintenance.prepare.started", operation_id=op.id)


def check(ctx: StepContext) -> Result:
    """The hypervisor answers, and what runs there is what the fleet thinks."""
    drivers, host_id = ctx.use(Drivers), host_id_of(ctx)
    if _needs_nothing(ctx, drivers, host_id):
        ctx.say(f"{ctx.operation.target} does not run any more; nothing is moved", "warn")
        return None
    hypervisor = drivers.links.hypervisor(host_id)
    hypervisor.ping()
    guests = {guest.id: guest.name for guest in hypervisor.guests() if guest.state not in (GuestState.OFF, GuestState.ABSENT)}
    with ctx.read() as tx:
        ours = {row.guest_id: row for row in tx.scalars(select(VmRow).where(VmRow.host_id == host_id))}
    unknown = sorted(name for guest_id, name in guests.items() if guest_id not in ours)
    if unknown:
        ctx.say(f"guests run here that are not on the fleet's list for this host: {', '.join(unknown[:10])}; they keep it from being ready", "warn")
    running = sum(VmState(row.state) in ON_HOST for row in ours.values())
    ctx.say(f"{running} VMs run on {ctx.operation.target}, {len(ours) - running} are stopped and stay")
    return {"vms": running, "unknown": unknown}


def enter_own_mode(ctx: StepContext) -> Result:
    """XenServer: another master first, if it is the master, then its own maintenance mode. vSphere: ours only; vCenter's is by hand (spec 8.6)."""
    drivers, host_id = ctx.use(Drivers), host_id_of(ctx)
    if _kind(ctx, host_id) != "xenserver" or _needs_nothing(ctx, drivers, host_id):
        return None
    hypervisor = drivers.links.hypervisor(host_id)
    if hypervisor.is_pool_master():
        ctx.progress("electing another pool master")
        name = hypervisor.elect_master()
        ctx.wait(lambda: not hypervisor.is_pool_master(), _ELECTION_S)
        ctx.say(f"{name} is master of the pool now")
        with ctx.write() as tx:
            transitions.lock(tx, host_id).is_master = False
            for other in tx.scalars(select(HostRow).where(HostRow.name == name)):
                other.is_master = True
    if not hypervisor.in_maintenance():
        hypervisor.enter_maintenance()
        ctx.say("XenServer's own maintenance mode is on: nothing is created or started there")
    return {"own_mode": True}


def leave_own_mode(ctx: StepContext) -> Result:
    """Undo, when a person cancelled. After a failure the host stays as it is: still in maintenance, on both sides."""
    drivers, host_id = ctx.use(Drivers), host_id_of(ctx)
    with ctx.read() as tx:
        place = place_of(tx, tx.get_one(HostRow, host_id))
        was_cancelled = outcome(tx, ctx.operation.id).cancelled
    if not was_cancelled or place.cluster.hypervisor != "xenserver" or skips_evacuation(place, drivers.policy):
        return None
    hypervisor: Hypervisor = drivers.links.hypervisor(host_id)
    if hypervisor.in_maintenance():
        hypervisor.leave_maintenance()
        ctx.say("left XenServer's own maintenance mode")
    return None


def own_mode_is_left(tx: Session, op: OperationFacts) -> bool:
    """Whether the undo of a cancelled preparation came through."""
    return queries.get(tx, op.id).rollback != "failed"


def ready(ctx: StepContext) -> Result:
    """Say that work may begin, and what comes first.

    Raises:
        WrongState: it is not ready after all.
    """
    host_id = host_id_of(ctx)
    with ctx.read() as tx:
        host = tx.get_one(HostRow, host_id)
        if host.resource_state != ResourceState.MAINTENANCE.value:
            raise WrongState(f"{host.name} is {host.resource_state}", state=host.resource_state, allowed=[ResourceState.MAINTENANCE.value])
    if _kind(ctx, host_id) == "vsphere":
        ctx.say("now enter maintenance mode in vCenter; leave it there first when the work is done, then cancel here")
    ctx.say(f"{ctx.operation.target} is ready for maintenance")
    return {"state": ResourceState.MAINTENANCE.value, **ctx.results.get("evacuate", {})}


def _give_up_vms(tx: Session, place: Place, session_id: str, now: datetime) -> None:
    """Of a host found dead: what ran on it runs no more, and can be restarted elsewhere."""
    for vm in sessions.on(tx, place.host.id):
        if VmState(vm.state) not in ON_HOST and vm.state != VmState.CRASHED.value:
            continue
        vm.state, vm.last_host_id, vm.host_id, vm.destination_id, vm.stopped_at = VmState.CRASHED.value, place.host.id, None, None, None
        vm.error, vm.updated_at = f"lost with {place.host.name}", now
        vm.version += 1
        row = tx.get_one(EvacueeRow, (session_id, vm.id))
        row.state, row.error, row.hint = MoveState.LOST.value, vm.error, f"restart it elsewhere: `fleet vm start {vm.name}`"


def _needs_nothing(ctx: StepContext, drivers: Drivers, host_id: str) -> bool:
    """A host that is dead, or came here from ``Degraded``, is asked nothing."""
    with ctx.read() as tx:
        host = tx.get_one(HostRow, host_id)
        return host.resource_state == ResourceState.MAINTENANCE.value or skips_evacuation(place_of(tx, host), drivers.policy)


def _kind(ctx: StepContext, host_id: str) -> str:
    with ctx.read() as tx:
        return tx.scalars(select(ClusterRow.hypervisor).join(HostRow, HostRow.cluster_id == ClusterRow.id).where(HostRow.id == host_id)).one()
