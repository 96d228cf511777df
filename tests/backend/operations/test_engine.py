"""The whole engine, on the real durable engine: started, stopped, started again, all in one process."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from dbos import DBOS
from sqlalchemy.exc import OperationalError

from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.events.feed import Feed
from fleet_tui.backend.operations import AWAITED, ListOperations, OperationRecord, OperationState, schedule
from fleet_tui.backend.operations.catalogue import OperationKind, Step, StepContext
from fleet_tui.backend.operations.engine import Engine
from fleet_tui.backend.operations.heartbeat import Heartbeat
from fleet_tui.backend.operations.ownership import Fenced
from fleet_tui.backend.operations.retention import prune
from fleet_tui.backend.operations.rows import WorkerRow
from fleet_tui.backend.operations.runner import Runner
from fleet_tui.backend.store import Store
from tests.backend.operations.bench import Bench, Said, Work, kind, states, writes
from tests.waiting import until

Start = Callable[..., Engine]


@pytest.fixture
def feed(store: Store) -> Iterator[Feed]:
    found = Feed(store)
    yield found
    found.close()


@pytest.fixture
def start(store: Store, feed: Feed, tmp_path: Path) -> Iterator[Start]:
    """Starts an engine; stops it at the end, or when the next one is started."""
    stopping: list[Engine] = []

    def started(*kinds: OperationKind, executor: str = "e-1", limit: int = 64) -> Engine:
        while stopping:
            stopping.pop().stop(grace_s=5)
        engine = Engine(
            store, feed, kinds, {}, Said(), executor, directory=tmp_path, limit=limit,
            heartbeat_s=0.5, dead_s=5, look_s=0.05, patience_s=0.5,
        )
        engine.start()
        stopping.append(engine)
        return engine

    yield started
    while stopping:
        stopping.pop().stop(grace_s=5)


def submit(engine: Engine, target: str = "web-1", name: str = "thing.work", **fields: Any) -> OperationRecord:
    operation = engine.submit(name, Work(target=target, **fields), "ada").operation
    assert operation is not None
    return operation


def ended(engine: Engine, operation: OperationRecord) -> OperationRecord:
    until(lambda: engine.show(operation.id).state.is_final, timeout=20, what="the operation ended")
    return engine.show(operation.id)


def test_operations_run_and_leases_pass_from_one_to_the_next(start: Start) -> None:
    inside = threading.Lock()
    journal: list[str] = []

    def body(ctx: StepContext) -> dict[str, str]:
        assert inside.acquire(blocking=False), "two at once on one host"
        journal.append(ctx.operation.target)
        inside.release()
        return {"of": ctx.step}

    engine = start(kind(Step("a", body), Step("b", body)))
    operations = [submit(engine, f"t{n}", leases=("host/a",)) for n in range(4)]
    records = [ended(engine, operation) for operation in operations]
    assert {record.state for record in records} == {OperationState.SUCCEEDED}
    assert len(journal) == 8 and journal[::2] == journal[1::2]
    assert engine.active() == 0 and engine.is_alive()
    assert [record.id for record in engine.list(ListOperations(active=False))] == [record.id for record in reversed(records)]


def test_as_many_as_there_are_places_may_all_wait_for_others(start: Start) -> None:
    def body(ctx: StepContext) -> None:
        other = submit(engine, f"vm of {ctx.operation.target}", "thing.child", request_id=f"{AWAITED}{ctx.operation.id}")
        ctx.wait(lambda: engine.show(other.id).state.is_final, timeout_s=60)

    engine = start(kind(Step("nested", body)), kind(name="thing.child"), limit=2)
    operations = [submit(engine, f"t{n}") for n in range(5)]
    assert {ended(engine, operation).state for operation in operations} == {OperationState.SUCCEEDED}


def test_a_cancel_reaches_a_waiting_body(start: Start) -> None:
    entered = threading.Event()

    def body(ctx: StepContext) -> None:
        entered.set()
        ctx.wait(lambda: None, timeout_s=60, interval_s=30)

    journal: list[str] = []
    engine = start(kind(*writes(journal, "a"), Step("long", body)))
    operation = submit(engine)
    assert entered.wait(timeout=20)
    assert engine.cancel(operation.id, "bob").state is OperationState.CANCELLING
    record = ended(engine, operation)
    assert (record.state, record.rollback, journal) == (OperationState.CANCELLED, "done", ["a", "undo a"])


def test_a_cancel_asked_of_another_daemon_reaches_the_body_too(start: Start, store: Store) -> None:
    entered = threading.Event()

    def body(ctx: StepContext) -> None:
        entered.set()
        ctx.wait(lambda: None, timeout_s=60, interval_s=0.05)

    engine = start(kind(Step("long", body)))
    operation = submit(engine)
    assert entered.wait(timeout=20)
    Bench(store, kind()).submission.cancel(operation.id, "bob")
    assert ended(engine, operation).state is OperationState.CANCELLED


def test_stopping_leaves_work_that_the_next_start_finishes(start: Start) -> None:
    entered, finish = threading.Event(), threading.Event()
    journal: list[str] = []

    def body(ctx: StepContext) -> None:
        entered.set()
        ctx.wait(finish.is_set, timeout_s=60, interval_s=0.02)
        journal.append("long")

    steps = (*writes(journal, "a"), Step("long", body), *writes(journal, "z"))
    first = start(kind(*steps))
    operation = submit(first, leases=("host/a",))
    waiting = submit(first, "web-2", leases=("host/a",))
    assert entered.wait(timeout=20)
    second = start(kind(*steps))
    assert journal == ["a"]
    finish.set()
    assert ended(second, operation).state is OperationState.SUCCEEDED
    assert ended(second, waiting).state is OperationState.SUCCEEDED
    assert journal == ["a", "long", "z", "a", "long", "z"]
    assert second.show(operation.id).steps[1].attempt == 2


def test_a_body_that_does_not_stop_is_reported_and_stores_nothing(start: Start, store: Store, feed: Feed, tmp_path: Path) -> None:
    entered, finish, left = threading.Event(), threading.Event(), threading.Event()

    def body(ctx: StepContext) -> None:
        entered.set()
        finish.wait(timeout=60)
        left.set()

    engine = Engine(store, feed, [kind(Step("deaf", body))], {}, Said(), "e-9", directory=tmp_path, look_s=0.05)
    engine.start()
    operation = submit(engine)
    assert entered.wait(timeout=20)
    assert engine.stop(grace_s=0.1) is False
    finish.set()
    assert left.wait(timeout=20)
    assert states(Bench(store, kind()).show(operation.id)) == ["running"]


def test_an_operation_that_was_claimed_but_never_started_is_started(start: Start, store: Store) -> None:
    bench = Bench(store, kind())
    operation = bench.submit()
    assert bench.claim().started == (operation.id,)
    assert ended(start(kind()), operation).state is OperationState.SUCCEEDED


def test_work_of_an_executor_that_is_gone_is_taken_over(start: Start, store: Store) -> None:
    bench = Bench(store, kind(), executor="e-gone")
    operation = bench.submit()
    bench.claim()
    assert ended(start(kind()), operation).state is OperationState.SUCCEEDED


def test_a_takeover_that_was_cut_short_is_completed(start: Start, store: Store) -> None:
    """The survivor owned it in our table and died before the durable engine heard of it."""
    entered, finish = threading.Event(), threading.Event()

    def body(ctx: StepContext) -> None:
        entered.set()
        ctx.wait(finish.is_set, timeout_s=60, interval_s=0.02)

    first = start(kind(Step("long", body)), executor="e-1")
    operation = submit(first)
    assert entered.wait(timeout=20)
    first.stop(grace_s=5)
    Bench(store, kind()).alter(operation.id, executor="e-2")
    finish.set()
    assert ended(start(kind(Step("long", body)), executor="e-2"), operation).state is OperationState.SUCCEEDED


def test_an_operation_that_a_living_daemon_was_given_and_does_not_run_is_run_here(
    start: Start, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon was frozen, began anew what it had been given before, and was fenced by the durable engine."""
    entered, finish = threading.Event(), threading.Event()

    def body(ctx: StepContext) -> None:
        entered.set()
        ctx.wait(finish.is_set, timeout_s=60, interval_s=0.02)

    first = start(kind(Step("long", body)), executor="e-1")
    operation = submit(first)
    assert entered.wait(timeout=20)
    first.stop(grace_s=5)
    Bench(store, kind()).alter(operation.id, executor="e-2")
    Heartbeat(store, "e-1").beat()
    monkeypatch.setattr(Heartbeat, "leave", lambda self: None)
    with store.write() as tx:
        row = tx.get(WorkerRow, "e-1")
        assert row is not None
        row.seen += timedelta(hours=1)
    finish.set()
    assert ended(start(kind(Step("long", body)), executor="e-2"), operation).state is OperationState.SUCCEEDED


def test_a_thread_that_slept_before_it_began_takes_nothing_from_the_one_that_was_given_the_operation_meanwhile(
    start: Start, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asleep, awake, entered, finish, refused = (threading.Event() for _ in range(5))
    adopt = Runner._adopt

    def sleeps_once(self: Runner, *arguments: Any) -> Any:
        if asleep.is_set():
            return adopt(self, *arguments)
        asleep.set()
        awake.wait(timeout=60)
        try:
            return adopt(self, *arguments)
        except Fenced:
            refused.set()
            raise

    def body(ctx: StepContext) -> None:
        entered.set()
        ctx.wait(finish.is_set, timeout_s=60, interval_s=0.02)

    monkeypatch.setattr(Runner, "_adopt", sleeps_once)
    engine = start(kind(Step("long", body)))
    operation = submit(engine)
    assert asleep.wait(timeout=20)
    DBOS.resume_workflow(operation.id)
    assert entered.wait(timeout=20)
    awake.set()
    assert refused.wait(timeout=20)
    finish.set()
    record = ended(engine, operation)
    assert (record.state, record.steps[0].attempt) == (OperationState.SUCCEEDED, 1)


def test_an_operation_pauses_while_the_database_is_full_and_then_goes_on(start: Start) -> None:
    journal: list[str] = []

    def body(ctx: StepContext) -> None:
        if ctx.attempt < 3:
            full = sqlite3.OperationalError("database or disk is full")
            full.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise OperationalError("INSERT", {}, full)
        journal.append(ctx.step)

    engine = start(kind(*writes(journal, "a"), Step("full", body), *writes(journal, "z")))
    first, second = submit(engine), submit(engine, "web-2")  # two that come back in one look
    for operation in (first, second):
        record = ended(engine, operation)
        assert (record.state, record.steps[1].attempt) == (OperationState.SUCCEEDED, 3), record
    assert sorted(journal) == ["a", "a", "full", "full", "z", "z"]


def test_a_run_that_ended_without_ending_its_operation_fails_it(
    start: Start, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a bug in the runner")

    monkeypatch.setattr("fleet_tui.backend.operations.runner.Runner.run", broken)
    engine = start(kind())
    record = ended(engine, submit(engine, leases=("host/a",)))
    assert record.state is OperationState.FAILED and record.error is not None and record.error.code == "interrupted"
    assert Bench(store, kind()).held() == set()


def test_schedules_fire(start: Start, store: Store) -> None:
    with store.write() as tx:
        now = SystemClock().now() - timedelta(seconds=3600)
        schedule.ensure(tx, name="sweep", kind="thing.work", target_ref="thing:all", every_s=3600, now=now)
    engine = start(kind())
    until(lambda: engine.list(ListOperations(active=False)), timeout=20, what="the scheduled operation ended")


def test_forgetting_reaches_into_the_durable_engine(start: Start, store: Store) -> None:
    def sweep(ctx: StepContext) -> dict[str, int]:
        return {"operations": prune(store, SystemClock().now() + timedelta(days=91))}

    engine = start(kind(), kind(Step("sweep", sweep), name="site.retention"))
    operation = ended(engine, submit(engine))
    assert DBOS.get_workflow_status(operation.id) is not None
    sweeping = ended(engine, submit(engine, name="site.retention"))
    assert sweeping.result == {"operations": 1}
    until(lambda: DBOS.get_workflow_status(operation.id) is None, what="the run was forgotten")


def test_an_engine_is_alone_in_its_process(start: Start, store: Store, feed: Feed, tmp_path: Path) -> None:
    engine = start(kind())
    other = Engine(store, feed, [kind()], {}, Said(), "e-2", directory=tmp_path)
    with pytest.raises(RuntimeError, match="another operations engine"):
        other.start()
    assert ended(engine, submit(engine)).state is OperationState.SUCCEEDED


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_it_writes_no_line_of_its_own_and_keeps_its_file_private(
    start: Start, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    engine = start(kind())
    ended(engine, submit(engine))
    start(kind())
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert (tmp_path / "engine.db").stat().st_mode & 0o777 == 0o600


def test_a_kind_may_not_be_declared_twice(store: Store, feed: Feed) -> None:
    with pytest.raises(ValueError, match="same name"):
        Engine(store, feed, [kind(), kind()], {}, Said(), "e-1")
