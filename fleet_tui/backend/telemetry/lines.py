"""Lines: appended in batches, numbered without gaps, read from any number by any number of readers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from fleet_tui.backend.clock import Clock, SystemClock
from fleet_tui.backend.events import EventsAfter
from fleet_tui.backend.events.feed import Feed, append
from fleet_tui.backend.store import Store, in_turn
from fleet_tui.backend.telemetry import LineBatch, LogLine, ReadLines
from fleet_tui.backend.telemetry.masking import Masker
from fleet_tui.backend.telemetry.rows import LineRow, StreamRow
from fleet_tui.backend.text import clean

LEVELS = ("debug", "info", "warn", "error")
_ORDER_LOCK = 0x6C696E6573  # "lines": an advisory lock of the database
LIMIT = 5000
"""Most lines in one answer."""
PRUNED_AT_ONCE = 10_000
"""Lines removed in one transaction: a day's worth in one would keep every other writer of SQLite waiting for it."""
_BREATH_S = 0.02


@dataclass(frozen=True, slots=True)
class NewLine:
    """A line on its way in; not cleaned yet."""

    time: datetime
    phase: str
    level: str
    text: str
    once: str | None = None


class Lines:
    """The store's lines. ``find`` turns what a reader calls an object into (stream ref, label)."""

    def __init__(self, store: Store, feed: Feed, masker: Masker | None = None, clock: Clock | None = None) -> None:
        self._store = store
        self._feed = feed
        self._clock = clock or SystemClock()
        self.masker = masker or Masker()
        self.find: Callable[[Session, str], str] = lambda tx, target: target

    # --- writing -----------------------------------------------------------------------------------------------

    def append(self, stream_ref: str, operation_id: str | None, step: str, level: str, text: str, once: str = "") -> None:
        """One line of the worker's own, in a transaction of its own. What is named ``once`` and is there already is left out."""
        line = NewLine(self._clock.now(), step, level, text, once_of(once) if once else None)
        try:
            with self._store.write() as tx:
                if not self.has_said(tx, line.once):
                    self.add(tx, stream_ref, "worker", [line], operation_id)
        except IntegrityError:
            if line.once is None:
                raise  # else another daemon said the same between our look and our commit

    def has_said(self, tx: Session, once: str | None) -> bool:
        """Whether what :func:`once_of` named is there already; what has no name never is."""
        return once is not None and tx.scalar(select(LineRow.id).where(LineRow.once == once)) is not None

    def add(self, tx: Session, stream: str, source: str, lines: Sequence[NewLine], operation_id: str | None = None) -> int:
        """Store a batch inside the caller's transaction; gives the number of the newest line.

        On a server a lock puts the batches of all daemons into commit order, so that a reader of everything, who goes by
        ``id``, never sees a smaller one later.
        """
        append(tx, type="lines.stored", ref=stream, operation_id=operation_id)
        in_turn(tx, _ORDER_LOCK)
        row = tx.get(StreamRow, stream, with_for_update=True)
        if row is None:
            row = StreamRow(ref=stream, label="", last_seq=0, pruned_seq=0)
            tx.add(row)
            tx.flush()
        first = row.last_seq + 1
        values = [
            {
                "stream": stream, "seq": first + n, "time": line.time, "source": source, "phase": clean(line.phase, 60)[:60],
                "level": line.level if line.level in LEVELS else "info", "operation_id": operation_id,
                "text": clean(self.masker.mask(line.text)), "once": line.once,
            }
            for n, line in enumerate(lines)
        ]
        if values:
            tx.execute(insert(LineRow), values)
            row.last_seq = first + len(values) - 1
        return row.last_seq

    def name(self, tx: Session, stream: str, label: str) -> None:
        """What people call the stream's object, for readers of several."""
        row = tx.get(StreamRow, stream)
        if row is None:
            tx.add(StreamRow(ref=stream, label=label, last_seq=0, pruned_seq=0))
        else:
            row.label = label

    # --- reading -----------------------------------------------------------------------------------------------

    def read(self, request: ReadLines) -> LineBatch:
        """Lines after a number, waiting up to ``wait_s`` for the first."""
        deadline = self._clock.monotonic() + min(request.wait_s, 60.0)
        cursor = self._feed.after(EventsAfter(cursor=-1)).cursor if request.wait_s else 0
        while True:
            batch = self._read_once(request)
            left = deadline - self._clock.monotonic()
            if batch.lines or left <= 0 or request.tail:
                return batch
            cursor = self._feed.after(EventsAfter(cursor=cursor, wait_s=left, limit=1000)).cursor

    def _read_once(self, request: ReadLines) -> LineBatch:
        limit = max(1, min(request.tail or request.limit, LIMIT))
        with self._store.read() as tx:
            stream = self.find(tx, request.target) if request.target else ""
            number = LineRow.seq if stream else LineRow.id
            query = self._matching(select(LineRow, StreamRow.label).join(StreamRow), request, stream)
            if request.tail:
                query = query.order_by(number.desc()).limit(limit)
            elif request.before:
                query = query.where(number < request.before).order_by(number.desc()).limit(limit)
            else:
                query = query.where(number > request.after).order_by(number).limit(limit)
            found = [_line(row, label, by_id=not stream) for row, label in tx.execute(query)]
            if request.tail or request.before:
                found.reverse()
            cursor = found[-1].seq if found else request.after
            behind = 0
            if len(found) == limit and not request.tail and not request.before:
                ahead = self._matching(select(func.count()).select_from(LineRow), request, stream)
                behind = tx.scalar(ahead.where(number > cursor)) or 0
            dropped = 0
            if stream and not request.operation and not request.tail and not request.before:
                pruned = tx.scalar(select(StreamRow.pruned_seq).where(StreamRow.ref == stream)) or 0
                dropped = max(0, pruned - request.after)
        return LineBatch(tuple(found), cursor, behind, dropped)

    def _matching(self, query: Any, request: ReadLines, stream: str) -> Any:
        if stream:
            query = query.where(LineRow.stream == stream)
        if request.operation:
            query = query.where(LineRow.operation_id == request.operation)
        if request.since_s:
            query = query.where(LineRow.time >= self._clock.now() - timedelta(seconds=request.since_s))
        if request.level in LEVELS[1:]:
            query = query.where(LineRow.level.in_(LEVELS[LEVELS.index(request.level):]))
        return query

    # --- retention ---------------------------------------------------------------------------------------------

    def prune(self, days: int, check: Callable[[], None] = lambda: None) -> int:
        """Remove lines older than ``days``; readers are told by ``dropped``. Gives how many.

        A stream loses its oldest numbers only, up to its first line that is young enough: what is younger stays, whatever time a line behind it
        claims. ``check`` is called between transactions, each of which is short.
        """
        before = self._clock.now() - timedelta(days=days)
        removed = 0
        with self._store.read() as tx:
            streams = tx.scalars(select(LineRow.stream).where(LineRow.time < before).distinct()).all()
        for stream in streams:
            while gone := self._prune_some(stream, before):
                removed += gone
                check()
                self._clock.sleep(_BREATH_S)
        return removed

    def _prune_some(self, stream: str, before: datetime) -> int:
        with self._store.write() as tx:
            row = tx.get(StreamRow, stream)
            oldest = tx.scalar(select(func.min(LineRow.seq)).where(LineRow.stream == stream))
            if row is None or oldest is None:
                return 0
            last = min(row.last_seq, oldest + PRUNED_AT_ONCE - 1)
            # A time yet to come says nothing about a line's age: one such line would keep all that follow.
            young = LineRow.time.between(before, self._clock.now() + timedelta(days=1))
            query = select(LineRow.seq).where(LineRow.stream == stream, LineRow.seq <= last, young).order_by(LineRow.seq).limit(1)
            if (first_young := tx.scalar(query)) is not None:
                last = first_young - 1
            gone = tx.execute(delete(LineRow).where(LineRow.stream == stream, LineRow.seq <= last))
            row.pruned_seq = max(row.pruned_seq, last)
            return int(getattr(gone, "rowcount", 0))


def once_of(name: str) -> str:
    """For :attr:`NewLine.once`: what names a thing that is said at most once."""
    return hashlib.sha256(name.encode()).hexdigest()


def _line(row: LineRow, label: str, by_id: bool) -> LogLine:
    return LogLine(
        seq=row.id if by_id else row.seq, time=row.time, source=row.source, phase=row.phase, level=row.level,
        text=row.text, stream=row.stream, label=label, id=row.id, operation_id=row.operation_id,
    )
