"""Reading operations as records."""

from __future__ import annotations

from sqlalchemy import case, select
from sqlalchemy.orm import Session, selectinload

from fleet_tui.backend.errors import NotFound
from fleet_tui.backend.operations import (
    ErrorRecord,
    ListOperations,
    OperationRecord,
    OperationState,
    StepRecord,
    StepState,
)
from fleet_tui.backend.operations.rows import OperationRow, StepRow
from fleet_tui.backend.operations.states import FINAL

ACTIVE = tuple(state.value for state in OperationState if state not in FINAL)
OWNED = (OperationState.RUNNING.value, OperationState.CANCELLING.value)
"""States in which an executor owns the operation."""


def get(tx: Session, operation_id: str, *, lock: bool = False) -> OperationRow:
    """The row; with ``lock`` nobody else changes it until this transaction ends.

    Raises:
        NotFound: there is no such operation.
    """
    query = select(OperationRow).where(OperationRow.id == operation_id)
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    row = tx.scalar(query)
    if row is None:
        raise NotFound(f"There is no operation {operation_id}.", hint="`fleet op list` shows them.")
    return row


def show(tx: Session, operation_id: str) -> OperationRecord:
    return record(get(tx, operation_id))


def list_operations(tx: Session, request: ListOperations) -> tuple[OperationRecord, ...]:
    """Active ones first, each part newest first; steps in one more query, when wanted."""
    finished = case((OperationRow.state.in_(ACTIVE), 0), else_=1)
    query = select(OperationRow).order_by(finished, OperationRow.submitted_at.desc(), OperationRow.id.desc())
    if request.active is not None:
        query = query.where(OperationRow.state.in_(ACTIVE) == request.active)
    if request.target_ref is not None:
        query = query.where(OperationRow.target_ref == request.target_ref)
    if request.kind is not None:
        query = query.where(OperationRow.kind == request.kind)
    if request.states:
        query = query.where(OperationRow.state.in_(request.states))
    if request.steps:
        query = query.options(selectinload(OperationRow.steps))
    return tuple(record(row, steps=request.steps) for row in tx.scalars(query.limit(request.limit)))


def record(row: OperationRow, *, steps: bool = True) -> OperationRecord:
    return OperationRecord(
        id=row.id, kind=row.kind, title=row.title, target=row.target, target_ref=row.target_ref,
        state=OperationState(row.state), user=row.user, submitted_at=row.submitted_at, started_at=row.started_at,
        ended_at=row.ended_at, steps=tuple(_step(step) for step in row.steps) if steps else (), error=error_of(row),
        failed_step=row.failed_step, rollback=row.rollback, waiting_for=tuple(row.waiting_for),
        cancel_requested_by=row.cancel_requested_by, retry_of=row.retry_of, priority=row.priority, result=row.result,
    )


def error_of(row: OperationRow | StepRow) -> ErrorRecord | None:
    if row.error_code is None:
        return None
    return ErrorRecord(row.error_code, row.error_message or "", row.error_hint or "")


def _step(row: StepRow) -> StepRecord:
    return StepRecord(
        name=row.name, state=StepState(row.state), attempt=row.attempt, started_at=row.started_at,
        ended_at=row.ended_at, error=error_of(row), progress=row.progress,
    )
