"""From submit to the start of the first step, on the embedded default: a real daemon, SQLite, a simulated provider."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path

from bench.sheet import Goal, Row
from bench.site import Bench, Site, running, until
from fleet_tui.backend.instances import InstanceRecord, ListInstances, RestartApplication
from fleet_tui.backend.instances.states import InstanceState
from fleet_tui.backend.operations import OperationRecord, ShowOperation

COUNT, INSTANCES = 50, 80
COMMITS = 5
"""Submit, claim, the engine's own record, adoption, and the step's begin."""


def measure(bench: Bench) -> list[Row]:
    """One after another, each on an instance of its own: restarts of an application, told by the stored times of the operation."""
    with running("--simulate", "--instances", str(INSTANCES), "--hosts", "8", patience=30.0) as site:
        times = [_restart(site, row, n) for n, row in enumerate(_idle(site)[:COUNT])]
        commits = _commits(site.home / "yardstick.db")
    return [Row("submit to the first step, SQLite", "ms", times, f"{COMMITS} bare commits", commits, Goal(150, "p95"), f"{len(times)} restarts")]


def _commits(file: Path) -> list[float]:
    """Milliseconds of as many durable transactions, one after another, as lie between the two: a write-ahead log synced at each."""
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as database:
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "CREATE TABLE line (text)"):
            database.execute(statement)
        times = []
        for _ in range(30):
            begun = time.monotonic()
            for _ in range(COMMITS):
                database.execute("INSERT INTO line VALUES (?)", ("x" * 200,))
            times.append((time.monotonic() - begun) * 1000)
    return times


def _idle(site: Site) -> list[InstanceRecord]:
    page = site.client.call(ListInstances(limit=INSTANCES))
    return [row for row in page.instances if row.state is InstanceState.RUNNING and not row.operation]


def _restart(site: Site, row: InstanceRecord, n: int) -> float:
    submitted = site.client.call(RestartApplication(target=row.label, request_id=f"bench-restart-{n}", confirmed=True)).operation

    def begun() -> OperationRecord | None:
        found: OperationRecord = site.client.call(ShowOperation(submitted.id))
        return found if found.steps and found.steps[0].started_at else None

    time.sleep(0.3)  # asking meanwhile would be work for the daemon that is being measured
    found = until(begun, 10.0, f"the first step of {submitted.id} starts")
    assert found.steps[0].started_at is not None
    return (found.steps[0].started_at - found.submitted_at).total_seconds() * 1000
