"""What goes on by itself: figures of this machine, silent agents, and the daily sweep of what is too old to keep."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, ClassVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fleet_tui.backend.events.feed import Feed, append
from fleet_tui.backend.identity.audit import Audit
from fleet_tui.backend.operations import OperationRequest, retention, schedule
from fleet_tui.backend.operations.catalogue import Lease, OperationFacts, OperationKind, Prepared, Step, StepContext, planned
from fleet_tui.backend.operations.rows import OperationRow
from fleet_tui.backend.site import Site
from fleet_tui.backend.telemetry.lines import Lines

log = logging.getLogger("fleetd.upkeep")

OPERATION_DAYS, LINE_DAYS, EVENT_DAYS, AUDIT_DAYS = 90, 30, 30, 400
"""Spec ENG-10, 16.5 and 18; events live as long as the lines they announce."""
SWEEP_S, FIGURES_S = 5.0, 15.0


KIND = "site.retention"
_LONGEST_REST = timedelta(days=7)


def _is_sure(ctx: StepContext) -> bool:
    """Whether what is too old can be told by the clock.

    After a long rest nobody knows whether the site was off or the clock is ahead, which would make all there is too old. Then the next run
    goes by it: by that time a person can have put it right.
    """
    with ctx.read() as tx:
        last = tx.scalar(select(func.max(OperationRow.started_at)).where(OperationRow.kind == KIND, OperationRow.id != ctx.operation.id))
    return last is None or ctx.use(Site).clock.now() - last < _LONGEST_REST


def _when_sure(prune: Callable[[StepContext], dict[str, Any]]) -> Callable[[StepContext], dict[str, Any]]:
    return lambda ctx: prune(ctx) if _is_sure(ctx) else {"is_skipped": True}


def _skipped(tx: Session, op: OperationFacts, results: Mapping[str, Mapping[str, Any]]) -> None:
    if any(result.get("is_skipped") for result in results.values()):
        text = f"nothing old was removed: by the clock the last was over {_LONGEST_REST.days} days ago. If it is ahead, put it right within a day"
        append(tx, type="retention.skipped", ref=op.target_ref, operation_id=op.id, level="warn", text=text)


def _prune_operations(ctx: StepContext) -> dict[str, Any]:
    site = ctx.use(Site)
    return {"operations": retention.prune(site.store, site.clock.now(), OPERATION_DAYS)}


def _prune_lines(ctx: StepContext) -> dict[str, Any]:
    return {"lines": ctx.use(Lines).prune(LINE_DAYS, ctx.check)}


def _prune_events(ctx: StepContext) -> dict[str, Any]:
    return {"events": ctx.use(Feed).prune(ctx.use(Site).clock.now() - timedelta(days=EVENT_DAYS), ctx.check)}


def _prune_audit(ctx: StepContext) -> dict[str, Any]:
    return {"audit": ctx.use(Audit).forget(ctx.use(Site).clock.now() - timedelta(days=AUDIT_DAYS))}


def _prepare(tx: Session, request: OperationRequest, user: str) -> Prepared:
    plan = planned("site", changes=("operations, lines and events past their time are removed",))
    return Prepared(target="site", target_ref="site:local", plan=plan, leases=(Lease("fleet", "retention"),))


class Upkeep:
    """Two small clocks in one thread, and the scheduled sweep."""

    OPERATIONS: ClassVar[tuple[OperationKind, ...]] = (
        OperationKind(
            kind=KIND, title="retention", prepare=_prepare, succeeded=_skipped,
            steps=tuple(Step(name, _when_sure(prune)) for name, prune in (
                ("operations", _prune_operations), ("lines", _prune_lines), ("events", _prune_events), ("audit", _prune_audit),
            )),
        ),
    )

    def __init__(self, site: Site, *sweeps: Callable[[], None]) -> None:
        self._site = site
        self._sweeps = sweeps
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        with self._site.store.write() as tx:
            schedule.ensure(tx, name="retention", kind=KIND, target_ref="site:local", every_s=24 * 3600, now=self._site.clock.now())
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(timeout=10)

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        due = self._site.clock.monotonic() + FIGURES_S
        while not self._stopped.wait(SWEEP_S):
            try:
                for sweep in self._sweeps:
                    sweep()
                if self._site.clock.monotonic() >= due:
                    due = self._site.clock.monotonic() + FIGURES_S
                    self._site.measure()
            except Exception:
                log.exception("upkeep failed; it is tried again in %.0f s", SWEEP_S)
