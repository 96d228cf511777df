"""Whether commands are sent to a cluster's hosts at all (HST-5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import TimedOut
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.hosts.drivers import Drivers
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow
from fleet_tui.backend.hosts.states import ConnectionState, ManagedState
from fleet_tui.backend.operations import ErrorRecord
from fleet_tui.backend.operations.catalogue import OperationFacts, StepContext

LEAVE_S, LOOK_S = 200.0, 1.0
"""Time its hosts have to leave ``up``, and between looks."""
M = ManagedState


def begin(tx: Session, op: OperationFacts) -> None:
    """From here on nothing is sent to its hosts, and the links to them are closed by whoever keeps them."""
    if not op.parameters["managed"]:
        _set(tx, op, M.PREPARE_UNMANAGED)


def let_go(ctx: StepContext) -> Mapping[str, Any] | None:
    """Wait until no host of it is connected any more."""
    if ctx.operation.parameters["managed"]:
        return None
    ctx.use(Drivers).links.refresh()

    def gone() -> bool:
        left = _connected(ctx)
        ctx.progress(f"{len(left)} hosts still connected")
        return not left

    try:
        ctx.wait(gone, LEAVE_S, LOOK_S)
    except TimedOut:
        left = ", ".join(_connected(ctx))
        raise TimedOut(f"still connected after {LEAVE_S:.0f} s: {left}", hint="look at these hosts, then ask again") from None
    ctx.say("nothing is sent to its hosts any more")
    return None


def done(tx: Session, op: OperationFacts, results: Mapping[str, Mapping[str, Any]]) -> None:
    _set(tx, op, M.MANAGED if op.parameters["managed"] else M.UNMANAGED)


def failed(tx: Session, op: OperationFacts, error: ErrorRecord, step: str) -> None:
    if not op.parameters["managed"]:
        _set(tx, op, M.PREPARE_UNMANAGED_ERROR)


def cancelled(tx: Session, op: OperationFacts) -> None:
    """Asked for in time: its hosts are connected again."""
    if not op.parameters["managed"]:
        _set(tx, op, M.MANAGED)


def _set(tx: Session, op: OperationFacts, state: ManagedState) -> None:
    cluster = tx.get(ClusterRow, op.target_ref.removeprefix("cluster:"))
    if cluster is not None and cluster.managed != state.value:
        cluster.managed = state.value
        text = f"cluster {cluster.name} is {state.value}"
        append(tx, type="cluster.changed", ref=op.target_ref, operation_id=op.id, user=op.user, text=text)


def _connected(ctx: StepContext) -> list[str]:
    cluster_id = ctx.operation.target_ref.removeprefix("cluster:")
    with ctx.read() as tx:
        here = (HostRow.cluster_id == cluster_id) & (HostRow.connection_state == ConnectionState.UP.value)
        return list(tx.scalars(select(HostRow.name).where(here).order_by(HostRow.name)))
