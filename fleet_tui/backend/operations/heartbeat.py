"""Who is alive, and whose work must be taken over.

Each daemon writes ``seen`` by the database's clock. One that was not seen for long enough is deleted by whoever
notices first; every operation that is owned by nobody in the table is then owned by the one who looked, and
brought back through the durable engine. All of it may be repeated and interrupted anywhere.
"""

from __future__ import annotations

import os
import socket
from datetime import timedelta

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session

from fleet_tui import __version__
from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.operations.queries import OWNED
from fleet_tui.backend.operations.rows import OperationRow, WorkerRow
from fleet_tui.backend.store import Store, database_now, end_transactions_of

_clock = SystemClock()


def life_of(executor_id: str, pid: int) -> str:
    """One life of an executor, as it is known to others of its database: the next one has the same name, and must not suffer for the last."""
    return f"{pid} {executor_id}"


class Heartbeat:
    """This executor's row among the workers, and the dead ones around it.

    Args:
        dead_s: seconds without a sign of life.
    """

    def __init__(self, store: Store, executor_id: str, dead_s: float = 60.0) -> None:
        self._store, self._executor, self._dead = store, executor_id, timedelta(seconds=dead_s)
        self._started = _clock.now()

    def beat(self) -> None:
        """Say that this one lives, also when somebody thought otherwise."""
        with self._store.write() as tx:
            now = database_now(tx)
            row = tx.get(WorkerRow, self._executor, with_for_update=True)  # another daemon may be about to declare us dead
            if row is None:
                tx.add(WorkerRow(
                    executor_id=self._executor, seen=now, pid=os.getpid(), host=socket.gethostname(),
                    version=__version__, started=self._started,
                ))
                return
            row.seen, row.pid, row.started, row.version = now, os.getpid(), self._started, __version__

    def leave(self) -> None:
        """A clean end: others need not wait to take over."""
        with self._store.write() as tx:
            tx.execute(delete(WorkerRow).where(WorkerRow.executor_id == self._executor))

    def reap(self) -> tuple[str, ...]:
        """Forget the dead and own what nobody alive owns. Returns those operations.

        Transactions of the dead are ended first: one that only hangs would keep its locks, and we would wait for them for ever.
        """
        with self._store.read() as tx:
            if not self._needed(tx):
                return ()
        with self._store.write() as tx:
            dead = tx.execute(delete(WorkerRow).where(self._is_dead(tx)).returning(WorkerRow.executor_id, WorkerRow.pid)).all()
            end_transactions_of(tx, [life_of(executor, pid) for executor, pid in dead])
            alive = select(WorkerRow.executor_id)
            orphans = tx.scalars(
                update(OperationRow)
                .where(OperationRow.state.in_(OWNED), OperationRow.executor.not_in(alive))
                .values(executor=self._executor, epoch=OperationRow.epoch + 1)
                .returning(OperationRow.id)
                .execution_options(synchronize_session=False)
            )
            return tuple(orphans)

    def alive(self) -> frozenset[str]:
        with self._store.read() as tx:
            return frozenset(tx.scalars(select(WorkerRow.executor_id)))

    def _needed(self, tx: Session) -> bool:
        if tx.scalar(select(WorkerRow.executor_id).where(self._is_dead(tx)).limit(1)) is not None:
            return True
        owned = select(OperationRow.executor).where(OperationRow.state.in_(OWNED)).distinct()
        known = set(tx.scalars(select(WorkerRow.executor_id)))
        return any(executor not in known for executor in tx.scalars(owned))

    def _is_dead(self, tx: Session) -> ColumnElement[bool]:
        return (WorkerRow.seen < database_now(tx) - self._dead) & (WorkerRow.executor_id != self._executor)


