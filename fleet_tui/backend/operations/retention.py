"""Forgetting finished operations."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, select

from fleet_tui.backend.operations import durable
from fleet_tui.backend.operations.rows import OperationRow, StepRow
from fleet_tui.backend.operations.states import FINAL
from fleet_tui.backend.store import Store

_BATCH = 500


def prune(
    store: Store, now: datetime, operations_days: int = 90, *, keep: Collection[str] = (),
    forget: Callable[[Sequence[str]], None] = durable.forget,
) -> int:
    """Delete operations that ended before that many days, a batch in each transaction; returns how many.

    Args:
        keep: ids that something else still links to (open alerts).
        forget: deletes what the durable engine has of them; called first, so that a kill in
            between leaves only rows that the next run deletes.
    """
    before = now - timedelta(days=operations_days)
    final = tuple(state.value for state in FINAL)
    old = select(OperationRow.id).where(OperationRow.state.in_(final), OperationRow.ended_at < before)
    if keep:
        old = old.where(OperationRow.id.not_in(tuple(keep)))
    done = 0
    while True:
        with store.read() as tx:
            ids = list(tx.scalars(old.order_by(OperationRow.ended_at).limit(_BATCH)))
        if not ids:
            return done
        forget(ids)
        with store.write() as tx:
            tx.execute(delete(StepRow).where(StepRow.operation_id.in_(ids)))
            tx.execute(delete(OperationRow).where(OperationRow.id.in_(ids)))
        done += len(ids)
