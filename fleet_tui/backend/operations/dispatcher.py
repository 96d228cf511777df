"""Decides what runs next: order of rank, all-or-nothing leases, a limit for the whole fleet."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.errors import FleetError
from fleet_tui.backend.operations import AWAITED, OperationState, leases, queries, transitions
from fleet_tui.backend.operations.catalogue import Lease, OperationKind
from fleet_tui.backend.operations.rows import OperationRow
from fleet_tui.backend.operations.runner import Checkpoint, known
from fleet_tui.backend.store import Store, database_lost

_WAITS = timedelta(seconds=15)
_LOOKED_AT = 500
"""Operations looked at in one pass."""
_BLOCKS = -20
"""From this priority on, aged, an operation keeps later ones off its leases instead of only trying again."""
_log = logging.getLogger(__name__)
_clock = SystemClock()


@dataclass(frozen=True, slots=True)
class Pass:
    """What one look at the queue did."""

    started: tuple[str, ...]
    left: int
    """Still queued or waiting."""


class Claims:
    """Chooses and claims, in one transaction each time."""

    def __init__(
        self, store: Store, kinds: Mapping[str, OperationKind], executor_id: str, limit: int = 64
    ) -> None:
        self._store, self._kinds, self._executor, self._limit = store, kinds, executor_id, limit

    def claim(self, room: int) -> Pass:
        """Claim every operation that can run now, at most ``room``; mark the others as waiting.

        Those that others wait for are claimed beyond the fleet's limit too.
        """
        if not self._any():
            return Pass((), 0)
        with self._store.write() as tx:
            leases.one_claimer(tx)
            return self._look(tx, room, _clock.now())

    def _any(self) -> bool:
        """Cheap look first: an idle daemon takes no lock."""
        with self._store.read() as tx:
            pending = select(OperationRow.id).where(OperationRow.state.in_(_PENDING)).limit(1)
            return tx.scalar(pending) is not None

    def _look(self, tx: Session, room: int, now: datetime) -> Pass:
        running = tx.scalar(
            select(func.count()).select_from(OperationRow).where(OperationRow.state.in_(queries.OWNED), ~_IS_AWAITED)
        ) or 0
        places = self._limit - running
        query = select(OperationRow).where(OperationRow.state.in_(_PENDING)).order_by(OperationRow.rank, OperationRow.id)
        query = query.limit(_LOOKED_AT).with_for_update(skip_locked=True)
        # Each by itself: behind however many of the others are queued, those that are waited for are seen.
        rows = [row for part in (~_IS_AWAITED, _IS_AWAITED) for row in tx.scalars(query.where(part))]
        started: list[str] = []
        kept: list[Lease] = []
        left = 0
        for row in sorted(rows, key=lambda row: (row.rank, row.id)):
            is_awaited = (row.request_id or "").startswith(AWAITED)
            if len(started) >= room or not (is_awaited or places > 0):
                left += 1
                continue
            if not self._is_ready(tx, row, now):
                left += 1
                continue  # it has no claim yet on what others want
            wanted = leases.from_json(row.leases)
            blocked = any(leases.conflict(one, other) for one in wanted for other in kept)
            if blocked or not self._take(tx, row, wanted, now):
                left += 1
                if _blocks(row, now):
                    kept.extend(wanted)
            elif row.state == OperationState.RUNNING.value:
                started.append(row.id)
                places -= not is_awaited
        return Pass(tuple(started), left)

    def _is_ready(self, tx: Session, row: OperationRow, now: datetime) -> bool:
        kind = self._kinds.get(row.kind)
        if kind is None or kind.ready is None:
            return True
        try:
            why = kind.ready(tx, transitions.facts(row))
        except Exception as error:
            if database_lost(error):
                raise
            _log.exception("whether %s may begin could not be asked; it begins", row.id)
            return True
        if why:
            transitions.wait(tx, row, [why], now)
        return not why

    def _take(self, tx: Session, row: OperationRow, wanted: tuple[Lease, ...], now: datetime) -> bool:
        """Whether it left the queue: to running, or to failed when its own beginning refused."""
        against = leases.acquire(tx, row.id, wanted)
        if against:
            waited = row.waiting_since is not None and now - row.waiting_since >= _WAITS
            if waited:
                transitions.requeue(tx, row)
            else:
                transitions.wait(tx, row, [f"{other.title} {other.target} ({other.id})" for other in against], now)
            return False
        transitions.begin(tx, row, self._executor)
        kind = self._kinds.get(row.kind)
        if kind is not None and kind.began is not None:
            try:
                with tx.begin_nested():
                    kind.began(tx, transitions.facts(row))
            except Exception as error:
                if database_lost(error):
                    raise
                refused = known(error, f"beginning of {row.id}")
                _log.info("operation %s ended at its beginning: %s", row.id, refused.message)
                transitions.fail(tx, row, kind, refused, "", "none")
        return True


_PENDING = (OperationState.QUEUED.value, OperationState.WAITING.value)
_IS_AWAITED = func.coalesce(OperationRow.request_id, "").startswith(AWAITED)


def _blocks(row: OperationRow, now: datetime) -> bool:
    aged = row.priority - (now - row.submitted_at).total_seconds() / 60
    return aged <= _BLOCKS


class Dispatcher:
    """A thread that claims and starts. Sleeps until woken while nothing is pending.

    Args:
        start: hands a claimed operation to the durable engine.
        busy: operations running in this process now.
        ticks: further work of the clock, called each round; returns seconds until it wants the next.
        idle_s: how long to sleep with nothing pending (other daemons' requests are noticed this late).
    """

    def __init__(
        self, claims: Claims, start: Callable[[str], None], busy: Callable[[], int], *, threads: int,
        ticks: Callable[[], float], idle_s: float, checkpoint: Checkpoint,
    ) -> None:
        self._claims, self._start, self._busy, self._threads = claims, start, busy, threads
        self._ticks, self._idle_s, self._checkpoint = ticks, idle_s, checkpoint
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="operations-dispatch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Something was submitted, or leases came free."""
        self._wake.set()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    def _loop(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            pause = 1.0
            try:
                pause = self._round()
            except FleetError as error:
                _log.error("dispatching failed: %s", error.message)
            except Exception as error:
                if database_lost(error):
                    _log.warning("dispatching pauses: the database cannot work (%s)", getattr(error, "orig", error))
                else:
                    _log.exception("dispatching failed; it is tried again in a second")
            self._wake.wait(pause)

    def _round(self) -> float:
        next_tick = self._ticks()
        looked = self._claims.claim(self._threads - self._busy())
        for operation_id in looked.started:
            self._checkpoint("claimed")
            self._start(operation_id)
            self._checkpoint("started")
        return min(next_tick, 1.0 if looked.left else self._idle_s)
