"""The dashboard in one call."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Text, cast, func, select
from sqlalchemy.orm import Session

from fleet_tui.backend.api import Attention, Summarize, Summary
from fleet_tui.backend.api.ground import URGENT, Ground
from fleet_tui.backend.clock import Clock
from fleet_tui.backend.events.feed import Feed
from fleet_tui.backend.hosts import queries as hosts
from fleet_tui.backend.instances import ListInstances, certified
from fleet_tui.backend.instances import queries as instances
from fleet_tui.backend.instances.rows import InstanceRow
from fleet_tui.backend.instances.states import TRANSITIONAL, Health, InstanceState
from fleet_tui.backend.operations import overview as operations
from fleet_tui.backend.operations.rows import OperationRow
from fleet_tui.backend.operations.states import OperationState
from fleet_tui.backend.store import Store
from fleet_tui.backend.telemetry import ReadLines
from fleet_tui.backend.telemetry.lines import Lines

_SHOWN = 50
"""Most things in the attention list; the total is told beside it."""


class Dashboard:
    """Answers :class:`Summarize`."""

    def __init__(self, store: Store, feed: Feed, lines: Lines, clock: Clock, alert_days: int = 14) -> None:
        self._store = store
        self._feed = feed
        self._lines = lines
        self._clock = clock
        self._ground = Ground(clock)
        self._alert_days = alert_days

    def summarize(self, request: Summarize) -> Summary:
        cursor = self._feed.head()
        lines = self._lines.read(ReadLines(tail=request.lines)).lines if request.lines else ()
        with self._store.read() as tx:
            totals = instances.totals(tx, _needs_attention() | _has_pending())
            beneath = [*self._ground.attention(tx), *self._certificates(tx)]
            attention = sorted([*self._attention(tx), *beneath], key=lambda a: (a.severity != "failed", a.severity != "attention", -a.since))
            recent = operations.recent(tx, active=50, finished=10)
            return Summary(
                hosts=hosts.count(tx), instances={**totals.states, "total": sum(totals.states.values())}, kinds=totals.kinds,
                operations=self._count_operations(tx), disk_used_bytes=totals.disk_used_bytes, disk_size_bytes=totals.disk_size_bytes,
                attention=tuple(attention[:_SHOWN]), attention_total=totals.flagged + sum(a.severity in URGENT for a in beneath), running=recent,
                rows=instances.list_instances(tx, ListInstances(limit=request.rows, urgent_first=True)).instances if request.rows else (),
                host_rows=hosts.find(tx, limit=8), lines=lines, cursor=cursor, rooms=self._ground.rooms(tx) if request.rows else (),
                vms=self._ground.count_vms(tx), in_maintenance=self._ground.count_maintenance(tx),
            )

    def _attention(self, tx: Session) -> Iterator[Attention]:
        """In one pass, for all rows have to be looked at. A row may be unwell and have changes that wait."""
        unwell, waits = _needs_attention(), (InstanceRow.state == InstanceState.RUNNING.value) & _has_pending()
        order = (unwell.desc(), InstanceRow.state != InstanceState.FAILED.value, InstanceRow.updated_at.desc())
        r = InstanceRow
        said = (r.id, r.label, r.state, r.failed_stage, r.failure, r.health, r.health_detail, r.pending, r.updated_at)
        found = select(*said, unwell.label("unwell"), waits.label("waits")).where(unwell | waits).order_by(*order)
        for row in tx.execute(found.limit(2 * _SHOWN)):
            if row.unwell:
                yield _look_at(row)
            if row.waits:
                count = len(row.pending)
                yield Attention(
                    "attention", row.label, f"instance:{row.id}",
                    f"{count} changes wait for a reprovision" if count != 1 else "1 change waits for a reprovision",
                    f"{', '.join(row.pending)} · R reprovisions", row.updated_at.timestamp(),
                )

    def _certificates(self, tx: Session) -> Iterator[Attention]:
        for ref, label, words, hint, is_urgent, since in certified.wanting_attention(tx, self._clock, self._alert_days):
            yield Attention("failed" if is_urgent else "attention", label, ref, words, hint, since.timestamp())

    def _count_operations(self, tx: Session) -> dict[str, int]:
        day = self._clock.now() - timedelta(days=1)
        counted = tx.execute(
            select(OperationRow.state, func.count())
            .where((OperationRow.ended_at.is_(None)) | (OperationRow.ended_at > day))
            .group_by(OperationRow.state)
        ).all()
        by_state: dict[str, int] = dict(counted)
        running = by_state.get(OperationState.RUNNING.value, 0) + by_state.get(OperationState.CANCELLING.value, 0)
        waiting = by_state.get(OperationState.WAITING.value, 0) + by_state.get(OperationState.QUEUED.value, 0)
        return {"running": running, "waiting": waiting, "failed": by_state.get(OperationState.FAILED.value, 0)}


def _has_pending() -> ColumnElement[bool]:
    """JSON text longer than ``[]``."""
    return func.length(cast(InstanceRow.pending, Text)) > 2


def _needs_attention() -> ColumnElement[bool]:
    unwell = InstanceRow.health.is_not(None) & (InstanceRow.health != Health.OK.value)
    failed = (InstanceRow.state == InstanceState.FAILED.value) | (InstanceRow.failure != "")
    return (failed & InstanceRow.state.not_in([s.value for s in TRANSITIONAL])) | unwell


def _look_at(row: Any) -> Attention:
    ref, since = f"instance:{row.id}", row.updated_at.timestamp()
    if row.failure:
        stage = row.failed_stage or "unknown"
        hint = "T retries the start-up" if row.state == InstanceState.FAILED.value and stage.startswith("startup") else "enter opens it"
        words = f"failed at {stage}" if row.state == InstanceState.FAILED.value else f"{row.state}; failed at {stage}"
        return Attention("failed", row.label, ref, words, f"{row.failure} · {hint}", since)
    severity = "failed" if row.health in (Health.APP_DOWN.value, Health.DISK_CRITICAL.value) else "attention"
    words = f"{row.health}: {row.health_detail}" if row.health_detail else str(row.health)
    return Attention(severity, row.label, ref, words, "enter opens it", since)
