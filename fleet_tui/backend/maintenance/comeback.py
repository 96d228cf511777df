"""Out of maintenance (spec 8.5): the link must be up, the hypervisor's own mode off, and what came back is looked at before it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import FleetError, Unreachable, WrongState
from fleet_tui.backend.hosts import transitions
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow
from fleet_tui.backend.hosts.states import HostEvent, ResourceState
from fleet_tui.backend.hypervisors import GuestState, Hypervisor
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.maintenance import MoveState, Step
from fleet_tui.backend.maintenance.drivers import Drivers
from fleet_tui.backend.maintenance.rows import EvacueeRow, SessionRow
from fleet_tui.backend.maintenance.sessions import changed, evacuees, open_of
from fleet_tui.backend.operations.catalogue import StepContext

Result = Mapping[str, Any] | None

_LEFT = frozenset({MoveState.WAITING.value, MoveState.RETRY.value, MoveState.FAILED.value, MoveState.BLOCKED.value})


def host_id_of(ctx: StepContext) -> str:
    return ctx.operation.target_ref.removeprefix("host:")


def is_back(tx: Session, host_id: str) -> bool:
    """Whether there is nothing left to come back from: the running operation was cancelled, and that led back already."""
    host = tx.get(HostRow, host_id)
    return host is None or not ResourceState(host.resource_state).is_maintenance


def reach(ctx: StepContext) -> Result:
    """MNT-2: its hypervisor must answer; where that is allowed its service is brought up over SSH first.

    Raises:
        Unreachable: it does not answer.
    """
    drivers, host_id = ctx.use(Drivers), host_id_of(ctx)
    with ctx.read() as tx:
        if is_back(tx, host_id):
            return None
    try:
        drivers.links.hypervisor(host_id).ping()
        return None
    except FleetError as silent:
        if drivers.restart_agent is None or _kind(ctx, host_id) not in ("kvm", "lxc"):
            raise Unreachable(
                f"{ctx.operation.target} does not answer, so it stays in maintenance: {silent.message}", hint="bring it up, then cancel again",
                reason=silent.details.get("reason", "unreachable"),
            ) from None
        ctx.say(f"its hypervisor does not answer ({silent.message}); its service is restarted over SSH", "warn")
    drivers.restart_agent(host_id)
    drivers.links.hypervisor(host_id).ping()
    return {"restarted": True}


def leave_own_mode(ctx: StepContext) -> Result:
    """XenServer's own mode is left by us; vCenter's must have been left by hand (MNT-3).

    Raises:
        WrongState: vCenter's own mode is on.
    """
    drivers, host_id = ctx.use(Drivers), host_id_of(ctx)
    with ctx.read() as tx:
        if is_back(tx, host_id):
            return None
    kind = _kind(ctx, host_id)
    if kind not in ("vsphere", "xenserver"):
        return None
    hypervisor = drivers.links.hypervisor(host_id)
    if kind == "xenserver":
        if hypervisor.in_maintenance():
            hypervisor.leave_maintenance()
            ctx.say("left XenServer's own maintenance mode")
    elif hypervisor.in_maintenance():
        raise WrongState(
            f"{ctx.operation.target} is still in vCenter's own maintenance mode", hint="leave vCenter maintenance first, then cancel again",
            state="vcenter-maintenance", allowed=["vcenter-normal"],
        )
    return None


def verify(ctx: StepContext) -> Result:
    """MNT-5: what came back is the same machine, with what it had, and runs no guest that lives elsewhere by now.

    Raises:
        WrongState: another machine answers, or it runs guests that it must not.
    """
    drivers, host_id = ctx.use(Drivers), host_id_of(ctx)
    with ctx.read() as tx:
        if is_back(tx, host_id):
            return None
    hypervisor = drivers.links.hypervisor(host_id)
    facts = hypervisor.facts()
    strangers = _strangers(ctx, host_id, hypervisor)
    with ctx.write() as tx:
        host = transitions.lock(tx, host_id)
        if host.serial and facts.serial and host.serial != facts.serial:
            raise WrongState(
                f"another machine answers at the address of {host.name}: its serial is {facts.serial}, not {host.serial}",
                hint="if the machine was replaced, remove the host and add it again", state=host.resource_state, allowed=[],
            )
        if strangers:
            raise WrongState(
                f"{host.name} runs guests that live elsewhere, or that the fleet does not know: {', '.join(strangers[:10])}",
                hint="it must not be used before they are stopped there; look at both hosts", state=host.resource_state, allowed=[],
            )
        differences = list(_differences(host, facts.version, facts.patch_level, facts.cores, facts.memory_bytes, facts.nics))
        host.hypervisor_version, host.patch_level = facts.version or host.hypervisor_version, facts.patch_level or host.patch_level
        host.cores, host.memory_bytes, host.mhz = facts.cores, facts.memory_bytes, facts.mhz or host.mhz
    for text in differences:
        ctx.say(text, "warn")
    ctx.say(f"the same machine answers: {facts.hypervisor} {facts.version}, patch level {facts.patch_level or 'unknown'}, {facts.cores} cores")
    return {"differences": differences}


def lead_back(ctx: StepContext) -> Result:
    """To ``Enabled``, or ``Disabled`` if its maintenance began there."""
    drivers, host_id = ctx.use(Drivers), host_id_of(ctx)
    with ctx.write() as tx:
        state = come_back(tx, host_id, drivers.clock.now(), operation_id=ctx.operation.id, user=ctx.operation.user)
    ctx.say(f"{ctx.operation.target} is {state.value}")
    return {"state": state.value}


def come_back(tx: Session, host_id: str, now: Any, *, operation_id: str | None = None, user: str | None = None) -> ResourceState:
    """The move itself, with what it means for the session: what was queued goes, what was moved is remembered (MNT-1, MNT-4)."""
    host = transitions.lock(tx, host_id)
    state = ResourceState(host.resource_state)
    session = open_of(tx, host_id)
    if state.is_maintenance:
        state = transitions.move(
            tx, host, HostEvent.CANCEL, now, text=f"maintenance of {host.name} cancelled", operation_id=operation_id, user=user
        )
        host.error = ""
    if session is not None:
        tx.execute(delete(EvacueeRow).where(EvacueeRow.session_id == session.id, EvacueeRow.state.in_(_LEFT)))
        tx.flush()
        session.step = (Step.MIGRATE_BACK if any(row.state == MoveState.MOVED.value for row in evacuees(tx, session.id)) else Step.CLOSE).value
        changed(tx, session, type="maintenance.cancelled", operation_id=operation_id)
    return state


def forget_operation(tx: Session, operation_id: str) -> SessionRow | None:
    """No operation is at work on its session any more."""
    session = tx.scalar(select(SessionRow).where(SessionRow.operation_id == operation_id))
    if session is not None:
        session.operation_id = None
        changed(tx, session)
    return session


def _kind(ctx: StepContext, host_id: str) -> str:
    with ctx.read() as tx:
        query = select(ClusterRow.hypervisor).join(HostRow, HostRow.cluster_id == ClusterRow.id).where(HostRow.id == host_id)
        return tx.scalar(query) or ""


def _strangers(ctx: StepContext, host_id: str, hypervisor: Hypervisor) -> list[str]:
    """Guests that are not off here though their place is elsewhere: a rebooted host may have started what it remembered."""
    seen = {guest.id: guest.name for guest in hypervisor.guests() if guest.state not in (GuestState.OFF, GuestState.ABSENT)}
    if not seen:
        return []
    with ctx.read() as tx:
        ours = set(tx.scalars(select(VmRow.guest_id).where(VmRow.host_id == host_id, VmRow.guest_id.in_(seen))))
    return sorted(name for guest_id, name in seen.items() if guest_id not in ours)


def _differences(host: HostRow, version: str, patch_level: str, cores: int, memory_bytes: int, nics: tuple[str, ...]) -> list[str]:
    found = []
    if host.hypervisor_version and version and version != host.hypervisor_version:
        found.append(f"its hypervisor is {version} now, it was {host.hypervisor_version}")
    if patch_level and host.patch_level and patch_level != host.patch_level:
        found.append(f"its patch level is {patch_level} now, it was {host.patch_level}")
    if host.cores and cores != host.cores:
        found.append(f"it has {cores} cores now, it had {host.cores}")
    if host.memory_bytes and memory_bytes < host.memory_bytes:
        found.append(f"it has {memory_bytes / 2**30:.1f} GiB of memory now, it had {host.memory_bytes / 2**30:.1f} GiB")
    missing = sorted(set(host.facts.get("nics", ())) - set(nics))
    if missing:
        found.append(f"network interfaces are missing: {', '.join(missing)}")
    return found
