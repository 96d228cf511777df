"""What the clock submits: discovery, renewals, sweeps.

Several daemons may find the same schedule due; its request id names the schedule and the moment, so it is
submitted once. A daemon that was down submits a missed one once, not once for each missed moment.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fleet_tui.backend.clock import Clock, SystemClock
from fleet_tui.backend.errors import FleetError, InvalidInput, NotFound, Problem
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.operations import OperationRequest, ScheduleRecord, Submitted
from fleet_tui.backend.operations.catalogue import OperationKind
from fleet_tui.backend.operations.rows import ScheduleRow
from fleet_tui.backend.operations.submission import rebuild, storable
from fleet_tui.backend.store import Store, in_turn

USER = "schedule"
"""Under whose name the clock submits."""
_LOOK_S = 30.0
_SKEW = timedelta(minutes=5)
"""Clocks of daemons may differ by so much."""
_TURN = 0x7363686564  # "sched": daemons that start together make each schedule once
_log = logging.getLogger(__name__)


def ensure(
    tx: Session, *, name: str, kind: str, target_ref: str, every_s: int, now: datetime,
    request: OperationRequest | None = None, user: str = USER, enabled: bool = True,
) -> None:
    """Have this schedule. One that is there keeps its next moment, unless its interval changes.

    Args:
        request: what is submitted each time; without one, a bare request for ``target_ref``.
        now: the first submission is one interval after it.
    """
    if every_s < 1:
        raise InvalidInput(
            f"Schedule {name} cannot run every {every_s} s.", problems=[Problem("every_s", "must be at least 1")]
        )
    in_turn(tx, _TURN)
    row = tx.get(ScheduleRow, name)
    if row is None:
        row = ScheduleRow(name=name)
        tx.add(row)
    if row.every_s != every_s:
        row.every_s, row.next_at = every_s, now + timedelta(seconds=every_s)
    row.kind, row.target_ref, row.user, row.enabled = kind, target_ref, user, enabled
    row.request = storable(request or OperationRequest(target=target_ref))


def remove(tx: Session, name: str) -> None:
    """Raises:
        NotFound: there is no such schedule.
    """
    row = tx.get(ScheduleRow, name)
    if row is None:
        raise NotFound(f"There is no schedule {name}.")
    tx.delete(row)


def find(tx: Session, limit: int = 500) -> tuple[ScheduleRecord, ...]:
    """All schedules by name."""
    rows = tx.scalars(select(ScheduleRow).order_by(ScheduleRow.name).limit(limit))
    return tuple(
        ScheduleRecord(row.name, row.kind, row.target_ref, row.every_s, row.next_at, row.last_operation, row.enabled)
        for row in rows
    )


class Schedules:
    """Submits what is due of one store's schedules.

    Args:
        submit: the engine's.
        look_s: how late a schedule that was just added is noticed, at most.
    """

    def __init__(
        self, store: Store, kinds: Mapping[str, OperationKind],
        submit: Callable[[str, OperationRequest, str], Submitted], clock: Clock | None = None,
        look_s: float = _LOOK_S,
    ) -> None:
        self._store, self._kinds, self._submit = store, kinds, submit
        self._clock = clock or SystemClock()
        self._look_s = look_s
        self._look_at: float | None = None

    def tick(self) -> float:
        """Submit what is due. Returns seconds until this should be called again."""
        now = self._clock.monotonic()
        if self._look_at is not None and now < self._look_at:
            return self._look_at - now
        wall = self._clock.now()
        due = select(ScheduleRow).where(ScheduleRow.enabled, ScheduleRow.next_at <= wall).order_by(ScheduleRow.next_at)
        with self._store.read() as tx:
            rows = tx.scalars(due).all()
        for row in rows:
            self._fire(row, wall)
        self._put_back(wall)
        with self._store.read() as tx:
            following = tx.scalar(select(func.min(ScheduleRow.next_at)).where(ScheduleRow.enabled))
        seconds = self._look_s if following is None else (following - self._clock.now()).total_seconds()
        seconds = min(max(seconds, 0.0), self._look_s)
        self._look_at = now + seconds
        return seconds

    def _put_back(self, now: datetime) -> None:
        """One that is further off than its interval was moved on by a clock that was ahead: it would rest until then."""
        query = select(ScheduleRow.name, ScheduleRow.next_at, ScheduleRow.every_s).where(ScheduleRow.enabled, ScheduleRow.next_at > now)
        with self._store.read() as tx:
            later = tx.execute(query)
            astray = [name for name, next_at, every_s in later if next_at > now + timedelta(seconds=every_s) + _SKEW]
        if not astray:
            return
        with self._store.write() as tx:
            for row in tx.scalars(select(ScheduleRow).where(ScheduleRow.name.in_(astray), ScheduleRow.next_at > now + _SKEW)):
                text = f"schedule {row.name} was set to {row.next_at:%Y-%m-%d %H:%M} UTC by a clock that was ahead; it is due in {row.every_s} s now"
                row.next_at = now + timedelta(seconds=row.every_s)
                append(tx, type="schedule.put-back", ref=f"schedule:{row.name}", level="warn", text=text)
                _log.warning("%s", text)

    def _fire(self, due: ScheduleRow, now: datetime) -> None:
        operation_id, refusal = None, ""
        moment = due.next_at.isoformat(timespec="milliseconds")
        try:
            kind = self._kinds.get(due.kind)
            if kind is None:
                raise NotFound(f"Schedule {due.name} is for an unknown kind, {due.kind}.")
            request = rebuild(kind, due.request, f"sched:{due.name}:{moment}")
            submitted = self._submit(due.kind, request, due.user)
            operation_id = submitted.operation.id if submitted.operation is not None else None
        except FleetError as error:
            refusal = error.message
        with self._store.write() as tx:
            row = tx.get(ScheduleRow, due.name)
            if row is None or row.next_at != due.next_at:
                return  # another daemon moved it on
            missed = int((now - row.next_at).total_seconds() // row.every_s)
            row.next_at += timedelta(seconds=row.every_s * (missed + 1))
            if operation_id is not None:
                row.last_operation = operation_id
            if refusal:
                append(
                    tx, type="schedule.refused", ref=f"schedule:{row.name}", level="warn",
                    text=f"schedule {row.name} was refused: {refusal}",
                )
