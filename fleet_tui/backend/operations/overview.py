"""Short answers about operations for the slices above: what is active on an object, what went on lately, how one ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from fleet_tui.backend.operations import OperationRecord, OperationState, StepState
from fleet_tui.backend.operations.queries import ACTIVE, get, record
from fleet_tui.backend.operations.rows import OperationRow


@dataclass(frozen=True, slots=True)
class Outcome:
    """Why an operation is being undone."""

    cancelled: bool
    failed_step: str


def outcome(tx: Session, operation_id: str) -> Outcome:
    """How an operation stands whose undo has begun."""
    row = get(tx, operation_id)
    failed = next((step.name for step in row.steps if step.state == StepState.FAILED.value), "")
    return Outcome(row.state == OperationState.CANCELLING.value, failed)


def active_by_target(tx: Session, refs: Sequence[str]) -> Mapping[str, tuple[str, str]]:
    """For each object with an active operation: (operation id, what it is doing in a few words)."""
    query = select(OperationRow).where(OperationRow.state.in_(ACTIVE)).options(selectinload(OperationRow.steps))
    wanted = set(refs)
    return {row.target_ref: (row.id, words(row)) for row in tx.scalars(query) if row.target_ref in wanted}


def words(row: OperationRow) -> str:
    """``provision 6/8 phase 6/10 install-or-upgrade``, ``stop waiting``."""
    for number, step in enumerate(row.steps, 1):
        if step.state == StepState.RUNNING.value:
            return f"{row.title} {number}/{len(row.steps)} {step.progress or step.name}"
    return f"{row.title} {row.state}"


def was_asked_for(tx: Session, kind: str, since: datetime) -> bool:
    """Whether an operation of that kind was submitted from then on, whatever became of it."""
    return tx.scalar(select(OperationRow.id).where(OperationRow.kind == kind, OperationRow.submitted_at >= since).limit(1)) is not None


def recent(tx: Session, active: int, finished: int) -> tuple[OperationRecord, ...]:
    """Active operations, newest first, then those that ended last."""
    loading = selectinload(OperationRow.steps)
    now = select(OperationRow).where(OperationRow.state.in_(ACTIVE)).order_by(OperationRow.submitted_at.desc()).limit(active)
    done = select(OperationRow).where(OperationRow.state.not_in(ACTIVE)).order_by(OperationRow.ended_at.desc()).limit(finished)
    return tuple(record(row) for query in (now, done) for row in tx.scalars(query.options(loading)))
