"""Taking hosts out of the site: removed, removed by force, re-installed, declared degraded (spec 7.3, 7.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.errors import NotFound, Unreachable, WrongState
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.hosts import access, transitions
from fleet_tui.backend.hosts.adding import host_id
from fleet_tui.backend.hosts.drivers import Drivers
from fleet_tui.backend.hosts.rows import HostRow
from fleet_tui.backend.hosts.states import ConnectionState, HostEvent, ResourceState
from fleet_tui.backend.operations.catalogue import OperationFacts, StepContext

Result = Mapping[str, Any] | None
S, E = ResourceState, HostEvent

EASY = (S.MAINTENANCE, S.DEGRADED)
"""States from which a host is removed without force."""
NEVER_STOOD = (S.CREATING, S.ERROR)
"""Records that never became hosts: they are discarded."""

_WAY_OUT: Mapping[ResourceState, tuple[HostEvent, ...]] = {
    S.ENABLED: (E.DISABLE, E.REMOVE),
    S.PREPARE: (E.CANCEL, E.DISABLE, E.REMOVE),
    **dict.fromkeys((S.MAINTENANCE, S.ERROR_IN_PREPARE, S.ERROR_IN_MAINTENANCE, S.DISABLED, S.DEGRADED), (E.REMOVE,)),
}
"""Moves of the table of 8.3 that lead a host out, one after the other."""
RECONNECT_S = 60.0
_clock = SystemClock()


def withdraw(ctx: StepContext) -> Result:
    """From here on nothing new is put there."""
    with ctx.write() as tx:
        try:
            row = transitions.lock(tx, host_id(ctx))
        except NotFound:
            return None
        for event in _WAY_OUT.get(S(row.resource_state), ()):
            transitions.move(tx, row, event, _clock.now(), operation_id=ctx.operation.id, user=ctx.operation.user)
    return None


def release_vms(ctx: StepContext) -> Result:
    """By force: what stands on it is restarted elsewhere or counts as stopped."""
    if not ctx.operation.parameters.get("force"):
        return None
    with ctx.read() as tx:
        names = list(ctx.use(Drivers).tenants.names(tx, host_id(ctx)))
    if names:
        ctx.say(f"{len(names)} VMs are on it: {', '.join(names)}", "warn")
        for sentence in ctx.use(Drivers).tenants.abandon(ctx, host_id(ctx)):
            ctx.say(sentence, "warn")
    return {"vms": names}


def forget(ctx: StepContext) -> Result:
    """The record goes, with its credentials; machine and address are free to be used again."""
    tenants = ctx.use(Drivers).tenants
    with ctx.write() as tx:
        try:
            row = transitions.lock(tx, host_id(ctx))
        except NotFound:
            return None
        refuse_tenants(row, tenants.names(tx, row.id))
        tenants.forget(tx, row.id)
        tx.delete(row)
        append(tx, type="host.removed", ref=f"host:{row.id}", operation_id=ctx.operation.id, user=ctx.operation.user, text=f"host {row.name} removed")
    ctx.use(Drivers).links.refresh()
    ctx.say("removed")
    return None


def refuse_tenants(row: HostRow, names: Sequence[str]) -> None:
    """Raises :class:`WrongState` while VMs are assigned to the host; it names them."""
    if names:
        raise WrongState(
            f"{len(names)} VMs are still on {row.name}: {', '.join(names[:10])}{' …' if len(names) > 10 else ''}",
            hint="put it into maintenance, or remove it by force", state=row.resource_state, allowed=[s.value for s in EASY], vms=list(names),
        )


def begin_anew(ctx: StepContext) -> Result:
    """Re-install: removed and begun again in one record, so that its settings stay."""
    with ctx.write() as tx:
        row = transitions.lock(tx, host_id(ctx))
        if row.resource_state == S.CREATING.value:
            return None
        refuse_tenants(row, ctx.use(Drivers).tenants.names(tx, row.id))
        for event in _WAY_OUT.get(S(row.resource_state), ()):
            transitions.move(tx, row, event, _clock.now(), operation_id=ctx.operation.id)
        row.resource_state, row.state_since = S.CREATING.value, _clock.now()
        row.connection_state, row.reason, row.serial, row.uuid = ConnectionState.CREATING.value, "", "", ""
        append(tx, type="host.changed", ref=f"host:{row.id}", operation_id=ctx.operation.id)
    links = ctx.use(Drivers).links
    links.drop(host_id(ctx))
    ctx.say("taken out; its settings are kept")
    return None


# --- degraded --------------------------------------------------------------------------------------------------------


def declare(tx: Session, op: OperationFacts) -> None:
    row = transitions.lock(tx, op.target_ref.removeprefix("host:"))
    transitions.move(
        tx, row, E.DECLARE_DEGRADED, _clock.now(), level="warn", text=f"{row.name} was declared degraded", operation_id=op.id, user=op.user
    )


def restart_vms(ctx: StepContext) -> Result:
    said = list(ctx.use(Drivers).tenants.restart_elsewhere(ctx, host_id(ctx)))
    for sentence in said:
        ctx.say(sentence)
    if not said:
        ctx.say("no VM of it is to be restarted elsewhere")
    return {"restarted": len(said)}


def look_again(ctx: StepContext) -> Result:
    """Whether it answers; no longer degraded it is in any case."""
    try:
        ctx.use(Drivers).links.hypervisor(host_id(ctx)).ping()
        ctx.say("it answers")
    except Unreachable as error:
        ctx.say(f"it does not answer yet: {error.message}", "warn")
    return None


def no_longer_degraded(tx: Session, op: OperationFacts, results: Mapping[str, Mapping[str, Any]]) -> None:
    row = transitions.lock(tx, op.target_ref.removeprefix("host:"))
    transitions.move(tx, row, E.CANCEL_DEGRADED, _clock.now(), text=f"{row.name} is no longer degraded", operation_id=op.id, user=op.user)


# --- reconnect -------------------------------------------------------------------------------------------------------


def drop_link(ctx: StepContext) -> Result:
    """Whichever daemon keeps the link sees that it is to be built anew."""
    with ctx.write() as tx:
        row = transitions.lock(tx, host_id(ctx))
        row.connection_state, row.reason, row.connection_since = ConnectionState.CONNECTING.value, "", _clock.now()
        append(tx, type="host.changed", ref=f"host:{row.id}", operation_id=ctx.operation.id)
    ctx.use(Drivers).links.drop(host_id(ctx))
    return None


def await_link(ctx: StepContext) -> Result:
    def settled() -> tuple[str, str] | None:
        with ctx.read() as tx:
            row, _ = access.host_and_cluster(tx, host_id(ctx))
        return (row.connection_state, row.reason) if row.connection_state != ConnectionState.CONNECTING.value else None

    state, reason = ctx.wait(settled, RECONNECT_S, 0.2) or ("", "")
    if state != ConnectionState.UP.value:
        ctx.use(Drivers).links.hypervisor(host_id(ctx))  # says why not
        words = f"{ctx.operation.target} does not answer: {state} {reason}".rstrip()
        raise Unreachable(words, hint="look at its power and its network", reason=reason)
    ctx.say("connected")
    return None
