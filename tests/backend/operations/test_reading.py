"""Lists and records, and forgetting what is old."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy import event, func, select

from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.errors import NotFound
from fleet_tui.backend.operations import ListOperations, OperationRecord, queries
from fleet_tui.backend.operations.retention import prune
from fleet_tui.backend.operations.rows import StepRow
from fleet_tui.backend.store import Store
from tests.backend.operations.bench import Bench, kind, writes

NOW = SystemClock().now()


def listed(store: Store, request: ListOperations) -> tuple[OperationRecord, ...]:
    with store.read() as tx:
        return queries.list_operations(tx, request)


def targets(store: Store, request: ListOperations) -> list[str]:
    return [record.target for record in listed(store, request)]


@pytest.fixture
def bench(store: Store) -> Bench:
    """Two finished (``done-1`` before ``done-2``), one running, one queued, one of another kind."""
    bench = Bench(store, kind(*writes([], "a", "b")), kind(name="thing.other"))
    for number, target in enumerate(("done-1", "done-2", "runs", "queued")):
        operation = bench.submit(target)
        bench.alter(operation.id, submitted_at=NOW + timedelta(seconds=number))
        if target != "queued":
            bench.claim()
        if target.startswith("done"):
            bench.run(operation.id)
    other = bench.submit("other", kind="thing.other")
    bench.alter(other.id, submitted_at=NOW - timedelta(days=1))
    return bench


def test_active_ones_come_first_and_each_part_newest_first(bench: Bench, store: Store) -> None:
    assert targets(store, ListOperations()) == ["queued", "runs", "other", "done-2", "done-1"]


def test_filters(bench: Bench, store: Store) -> None:
    assert targets(store, ListOperations(active=False)) == ["done-2", "done-1"]
    assert targets(store, ListOperations(active=True, kind="thing.work")) == ["queued", "runs"]
    assert targets(store, ListOperations(kind="thing.other")) == ["other"]
    assert targets(store, ListOperations(states=("running",))) == ["runs"]
    assert targets(store, ListOperations(target_ref="thing:done-1")) == ["done-1"]
    assert targets(store, ListOperations(limit=2)) == ["queued", "runs"]


def test_a_list_takes_two_queries_however_long(bench: Bench, store: Store) -> None:
    seen: list[str] = []

    def note(*args: object) -> None:
        if str(args[2]).lstrip().upper().startswith("SELECT"):
            seen.append(str(args[2]))

    event.listen(store.engine, "before_cursor_execute", note)
    records = listed(store, ListOperations())
    assert len(seen) == 2 and all(record.steps for record in records)
    seen.clear()
    assert all(record.steps == () for record in listed(store, ListOperations(steps=False)))
    assert len(seen) == 1


def test_an_unknown_operation_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="o-unknown"), store.read() as tx:
        queries.show(tx, "o-unknown")


def test_old_finished_operations_are_forgotten_with_their_steps(bench: Bench, store: Store) -> None:
    records = {record.target: record.id for record in listed(store, ListOperations())}
    old = datetime(2020, 1, 1, tzinfo=timezone.utc)
    for target in ("done-1", "done-2"):
        bench.alter(records[target], ended_at=old)
    bench.alter(records["runs"], submitted_at=old, started_at=old)
    forgotten: list[str] = []

    def forget(ids: Sequence[str]) -> None:
        forgotten.extend(ids)

    assert prune(store, NOW, keep=[records["done-2"]], forget=forget) == 1
    assert forgotten == [records["done-1"]]
    assert targets(store, ListOperations(active=False)) == ["done-2"]
    assert prune(store, NOW, operations_days=36500) == 0
    assert prune(store, NOW) == 1
    with store.read() as tx:
        left = tx.scalar(select(func.count()).select_from(StepRow))
    assert left == 2 + 2 + 1
