"""How an operation's row moves from state to state: the only place that writes ``state``.

Every function runs in the caller's transaction and appends the events that tell of the move.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.errors import WrongState
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.operations import ErrorRecord, OperationState, StepState
from fleet_tui.backend.operations.catalogue import OperationFacts, OperationKind
from fleet_tui.backend.operations.leases import release
from fleet_tui.backend.operations.rows import OperationRow, StepRow
from fleet_tui.backend.operations.states import MOVES

_clock = SystemClock()


def facts(row: OperationRow) -> OperationFacts:
    return OperationFacts(row.id, row.kind, row.target, row.target_ref, dict(row.parameters), row.user)


def move(row: OperationRow, to: OperationState) -> None:
    """Change the state, if the table of moves has it.

    Raises:
        WrongState: it does not; names the state and what it could become.
    """
    here = OperationState(row.state)
    if to not in MOVES[here]:
        allowed = sorted(state.value for state in MOVES[here])
        raise WrongState(
            f"Operation {row.id} ({row.title} {row.target}) is {here.value} and cannot become {to.value}.",
            state=here.value, allowed=allowed,
        )
    row.state = to.value


def changed(tx: Session, row: OperationRow, what: str, text: str = "", level: str = "info") -> None:
    append(
        tx, type=f"operation.{what}", ref=f"operation:{row.id}", text=text, level=level,
        operation_id=row.id, user=row.user,
    )


def begin(tx: Session, row: OperationRow, executor: str) -> None:
    """To running, owned by that executor under a new epoch."""
    move(row, OperationState.RUNNING)
    row.executor = executor
    row.epoch += 1
    row.started_at = _clock.now()
    row.waiting_for, row.waiting_since = [], None
    changed(tx, row, "started")


def wait(tx: Session, row: OperationRow, holders: list[str], now: datetime) -> None:
    """To waiting, or still waiting for others than before."""
    if row.state != OperationState.WAITING.value:
        move(row, OperationState.WAITING)
        row.waiting_since = now
    elif row.waiting_for == holders:
        return
    row.waiting_for = holders
    changed(tx, row, "waiting")


def requeue(tx: Session, row: OperationRow) -> None:
    """Back to queued, after it waited long enough."""
    move(row, OperationState.QUEUED)
    row.waiting_since = None
    changed(tx, row, "queued")


def succeed(
    tx: Session, row: OperationRow, kind: OperationKind, results: Mapping[str, Mapping[str, Any]]
) -> None:
    """Done: hook, leases and event in this one transaction."""
    move(row, OperationState.SUCCEEDED)
    row.result = next((dict(step.result) for step in reversed(row.steps) if step.result), None)
    _end(tx, row)
    if kind.succeeded is not None:
        kind.succeeded(tx, facts(row), results)
    changed(tx, row, "finished", f"{row.title} {row.target} succeeded")


def fail(
    tx: Session, row: OperationRow, kind: OperationKind | None, error: ErrorRecord, step: str, rollback: str
) -> None:
    """Failed for good: hook, leases and event in this one transaction."""
    move(row, OperationState.FAILED)
    row.error_code, row.error_message, row.error_hint = error.code, error.message, error.hint
    row.failed_step = step or None
    row.rollback = rollback
    _end(tx, row)
    if kind is not None and kind.failed is not None:
        kind.failed(tx, facts(row), error, step)
    place = f" in step {step}" if step else ""
    changed(tx, row, "finished", f"{row.title} {row.target} failed{place}: {error.message}", "error")


def cancel(tx: Session, row: OperationRow, kind: OperationKind | None, rollback: str = "none") -> None:
    """Stopped on request: hook, leases and event in this one transaction."""
    move(row, OperationState.CANCELLED)
    row.rollback = rollback
    _end(tx, row)
    if kind is not None and kind.cancelled is not None:
        kind.cancelled(tx, facts(row))
    by = f" by {row.cancel_requested_by}" if row.cancel_requested_by else ""
    changed(tx, row, "finished", f"{row.title} {row.target} was cancelled{by}", "warn")


def _end(tx: Session, row: OperationRow) -> None:
    row.ended_at = _clock.now()
    row.waiting_for, row.waiting_since = [], None
    for step in row.steps:
        if step.state == StepState.PENDING.value:
            step.state = StepState.SKIPPED.value
        elif step.state == StepState.RUNNING.value:
            end_step(step, StepState.FAILED)
    release(tx, row.id)


def end_step(step: StepRow, state: StepState, error: ErrorRecord | None = None) -> None:
    step.state = state.value
    step.ended_at = _clock.now()
    step.progress = ""
    if error is not None:
        step.error_code, step.error_message, step.error_hint = error.code, error.message, error.hint
