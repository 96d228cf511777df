"""Who may write about an operation: the executor that owns it, under the epoch it got it with.

Being taken over and being shut down are ``BaseException``: no body swallows them by accident, and the durable
engine records nothing for them, so the run stays recoverable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.operations import OperationState
from fleet_tui.backend.operations.queries import OWNED
from fleet_tui.backend.operations.rows import OperationRow
from fleet_tui.backend.store import Store

__all__ = ["Claim", "Fenced", "ShuttingDown", "adopt", "fenced", "still_owned"]


class Fenced(BaseException):
    """Another executor owns the operation now; stop without a word."""


class ShuttingDown(BaseException):
    """This daemon is stopping; the operation goes on from here when one starts again."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to write about one operation."""

    operation_id: str
    executor: str
    epoch: int


def adopt(tx: Session, operation_id: str, executor: str) -> Claim | None:
    """Own an active operation under a new epoch, which fences whoever had it. ``None`` when it has ended."""
    row = tx.scalar(select(OperationRow).where(OperationRow.id == operation_id).with_for_update())
    if row is None or row.state not in OWNED:
        return None
    row.executor = executor
    row.epoch += 1
    return Claim(row.id, executor, row.epoch)


def still_owned(tx: Session, claim: Claim) -> None:
    """Look, without a lock, whether the claim holds: for who is about to act, and may have slept through its own takeover.

    Raises:
        Fenced: it holds no longer, or the operation has ended.
    """
    row = tx.execute(select(OperationRow.executor, OperationRow.epoch, OperationRow.state).where(OperationRow.id == claim.operation_id)).one_or_none()
    if row is None or (row.executor, row.epoch) != (claim.executor, claim.epoch) or OperationState(row.state).is_final:
        raise Fenced


@contextmanager
def fenced(
    store: Store, claim: Claim, stopped: Callable[[], bool] = lambda: False
) -> Iterator[tuple[Session, OperationRow]]:
    """A write transaction with the operation's row, locked, while the claim holds.

    Raises:
        Fenced: it holds no longer, or the operation has ended.
        ShuttingDown: the engine has stopped; this thread is a leftover.
    """
    with store.write() as tx:
        if stopped():
            raise ShuttingDown
        row = tx.scalar(select(OperationRow).where(OperationRow.id == claim.operation_id).with_for_update())
        if row is None or (row.executor, row.epoch) != (claim.executor, claim.epoch):
            raise Fenced
        if OperationState(row.state).is_final:
            raise Fenced
        yield tx, row
