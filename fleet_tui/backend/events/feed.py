"""Append to the feed, read after a cursor, wake waiting readers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime

from sqlalchemy import delete, event, func, select
from sqlalchemy.orm import Session

from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.events import Event, EventBatch, EventsAfter, ListEvents
from fleet_tui.backend.events.rows import EventRow
from fleet_tui.backend.store import Store, database_lost, in_turn
from fleet_tui.backend.text import clean

__all__ = ["Feed", "append"]

_PENDING = "events.pending"
_ORDER_LOCK = 0x666C656574  # "fleet": one advisory lock of the database, so that seq grows in commit order
_LOOK_S = 0.25
PRUNED_AT_ONCE = 10_000
"""Events removed in one transaction: on SQLite every other writer waits for it."""
_BREATH_S = 0.02
_clock = SystemClock()

log = logging.getLogger(__name__)


def append(
    tx: Session, *, type: str, ref: str, text: str = "", level: str = "info",
    operation_id: str | None = None, user: str | None = None,
) -> None:
    """Say in the caller's transaction that something changed; stored and seen only if it commits.

    Args:
        type: dotted, past tense: ``instance.changed``.
        ref: what changed, ``kind:id``.
        text: a sentence for the events screen; empty for an event that only wakes readers. Cleaned here.
        level: ``info``, ``warn`` or ``error``.
    """
    row = EventRow(
        time=_clock.now(), level=level, type=type, ref=ref, text=clean(text), operation_id=operation_id, user=user
    )
    pending: list[EventRow] | None = tx.info.get(_PENDING)
    if pending is None:
        tx.info[_PENDING] = [row]
        event.listen(tx, "before_commit", _store_pending)
    else:
        pending.append(row)


def _store_pending(tx: Session) -> None:
    """Insert the events at the very end: the order lock is then the last one taken, and held shortest."""
    rows: list[EventRow] = tx.info[_PENDING]
    fresh = [row for row in rows if row.seq is None]
    if not fresh:
        return
    tx.flush()
    in_turn(tx, _ORDER_LOCK)
    tx.add_all(fresh)
    tx.flush()


class Feed:
    """Events of one store, for readers that wait.

    Wakes at once for what this process commits. On a server several daemons write, so while somebody waits
    one thread looks for new rows every quarter of a second.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._changed = threading.Condition()
        self._head = -1
        self._listeners: list[Callable[[int], None]] = []
        self._watcher: threading.Thread | None = None
        self._closed = threading.Event()
        store.on_commit.append(self._committed)

    def after(self, request: EventsAfter) -> EventBatch:
        """Events after a cursor, waiting for the first one up to ``wait_s``. See :class:`EventsAfter`."""
        if request.cursor < 0:
            return EventBatch((), self.head())
        deadline = time.monotonic() + request.wait_s
        cursor = request.cursor
        while True:
            batch = self._read(request, cursor)
            remaining = deadline - time.monotonic()
            if batch.events or remaining <= 0 or self._closed.is_set():
                return batch
            cursor = batch.cursor
            self._wait(cursor, remaining)

    def list(self, request: ListEvents) -> tuple[Event, ...]:
        """The newest events that have a sentence, newest first."""
        query = select(EventRow).where(EventRow.text != "").order_by(EventRow.seq.desc()).limit(request.limit)
        if request.before is not None:
            query = query.where(EventRow.seq < request.before)
        if request.ref is not None:
            query = query.where(EventRow.ref == request.ref)
        with self._store.read() as tx:
            return tuple(_event(row) for row in tx.scalars(query))

    def head(self) -> int:
        """The present cursor: where a reader starts who wants only what comes from now on."""
        with self._store.read() as tx:
            return tx.scalar(select(func.max(EventRow.seq))) or 0

    def listen(self, listener: Callable[[int], None]) -> Callable[[], None]:
        """Call ``listener(seq)`` after commits, from whatever thread noticed. Returns how to stop that."""
        with self._changed:
            self._listeners.append(listener)
        self._watch()

        def stop() -> None:
            with self._changed:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return stop

    def prune(self, before: datetime, check: Callable[[], None] = lambda: None) -> int:
        """Forget events older than that; returns how many. The newest one stays, so that cursors stay valid.

        ``check`` is called between transactions, each of which is short.
        """
        removed = 0
        while True:
            with self._store.read() as tx:
                newest = select(func.max(EventRow.seq)).scalar_subquery()
                query = select(EventRow.seq).where(EventRow.time < before, EventRow.seq < newest).order_by(EventRow.seq)
                old = tx.scalars(query.limit(PRUNED_AT_ONCE)).all()
            if old:
                with self._store.write() as tx:
                    done = tx.execute(
                        delete(EventRow).where(EventRow.time < before, EventRow.seq.between(old[0], old[-1])),
                        execution_options={"synchronize_session": False},
                    )
                    removed += int(getattr(done, "rowcount", 0))
            if len(old) < PRUNED_AT_ONCE:
                return removed
            check()
            time.sleep(_BREATH_S)

    def close(self) -> None:
        """Wake every waiter for the last time."""
        self._closed.set()
        if self._committed in self._store.on_commit:
            self._store.on_commit.remove(self._committed)
        with self._changed:
            self._changed.notify_all()
        if self._watcher is not None:
            self._watcher.join(timeout=5)

    def _read(self, request: EventsAfter, cursor: int) -> EventBatch:
        query = select(EventRow).where(EventRow.seq > cursor).order_by(EventRow.seq).limit(request.limit)
        if request.audible:
            query = query.where(EventRow.text != "")
        with self._store.read() as tx:
            events = tuple(_event(row) for row in tx.scalars(query))
            if len(events) < request.limit and request.audible:
                head = tx.scalar(select(func.max(EventRow.seq))) or 0
                return EventBatch(events, max(cursor, head))
        return EventBatch(events, events[-1].seq if events else cursor)

    def _wait(self, cursor: int, seconds: float) -> None:
        self._watch()
        with self._changed:
            self._changed.wait_for(lambda: self._head > cursor or self._closed.is_set(), timeout=seconds)

    def _committed(self, tx: Session) -> None:
        rows: list[EventRow] | None = tx.info.get(_PENDING)
        if rows:
            self._advance(max(row.seq for row in rows))

    def _advance(self, seq: int) -> None:
        with self._changed:
            if seq <= self._head:
                return
            self._head = seq
            self._changed.notify_all()
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener(seq)

    def _watch(self) -> None:
        """Start looking for other daemons' events, once; SQLite has only this daemon."""
        if self._store.is_sqlite:
            return
        with self._changed:
            if self._watcher is not None:
                return
            self._watcher = threading.Thread(target=self._look, name="events-watch", daemon=True)
        self._watcher.start()

    def _look(self) -> None:
        while not self._closed.wait(_LOOK_S):
            try:
                self._advance(self.head())
            except Exception as error:  # a watch that ended here would leave the readers deaf for the rest of the daemon's life
                if not database_lost(error):
                    log.exception("the watch over events failed; it is tried again")


def _event(row: EventRow) -> Event:
    return Event(row.seq, row.time, row.level, row.type, row.ref, row.operation_id, row.user, row.text)
