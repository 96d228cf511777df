"""States of operations and steps, and the moves allowed between them (spec 3.2, ENG-1)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class OperationState(str, Enum):
    """Where an operation stands."""

    QUEUED = "queued"
    """Accepted, not yet looked at."""
    WAITING = "waiting"
    """Trying to get its leases; the record says who holds them."""
    RUNNING = "running"
    """Executing a step."""
    CANCELLING = "cancelling"
    """Cancel was asked; the current step is being finished or undone."""
    SUCCEEDED = "succeeded"
    """Done. Terminal."""
    FAILED = "failed"
    """A step failed for good. Terminal; carries the step, the error and how the undo went."""
    CANCELLED = "cancelled"
    """Stopped on request. Terminal."""

    @property
    def is_final(self) -> bool:
        return self in FINAL


FINAL = frozenset({OperationState.SUCCEEDED, OperationState.FAILED, OperationState.CANCELLED})

MOVES: Mapping[OperationState, frozenset[OperationState]] = {
    OperationState.QUEUED: frozenset({OperationState.WAITING, OperationState.RUNNING, OperationState.CANCELLED}),
    OperationState.WAITING: frozenset({OperationState.RUNNING, OperationState.QUEUED, OperationState.CANCELLED}),
    OperationState.RUNNING: frozenset({OperationState.SUCCEEDED, OperationState.FAILED, OperationState.CANCELLING}),
    OperationState.CANCELLING: frozenset({OperationState.CANCELLED, OperationState.FAILED, OperationState.SUCCEEDED}),
    **{state: frozenset() for state in FINAL},
}


class StepState(str, Enum):
    """Where one step of an operation stands."""

    PENDING = "pending"
    """Not begun."""
    RUNNING = "running"
    """Being executed, or about to be retried."""
    DONE = "done"
    """Its result is stored."""
    FAILED = "failed"
    """Its last attempt failed."""
    UNDONE = "undone"
    """Was done, and undone again after a later step failed or a cancel."""
    SKIPPED = "skipped"
    """Never begun, because the operation ended before it."""
