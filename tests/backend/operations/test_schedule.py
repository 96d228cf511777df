"""What the clock submits, once each time, however many daemons look."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import select

from fleet_tui.backend.errors import Busy, InvalidInput, NotFound
from fleet_tui.backend.operations import schedule
from fleet_tui.backend.operations.rows import OperationRow, ScheduleRow
from fleet_tui.backend.operations.schedule import Schedules
from fleet_tui.backend.store import Store
from tests.backend.operations.bench import Bench, Work, kind

START = datetime(2026, 5, 1, tzinfo=timezone.utc)


class Clock:
    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed

    def sleep(self, seconds: float) -> None:
        self.passed += seconds


def ensure(store: Store, every_s: int = 60, **rest: Any) -> None:
    with store.write() as tx:
        schedule.ensure(tx, name="sweep", kind=rest.pop("kind", "thing.work"), target_ref="thing:all", every_s=every_s, now=START, **rest)


def schedules(store: Store, clock: Clock, bench: Bench) -> Schedules:
    return Schedules(store, {bench.default: kind()}, bench.submission.submit, clock)


def operations(store: Store) -> list[OperationRow]:
    with store.read() as tx:
        return list(tx.scalars(select(OperationRow).order_by(OperationRow.submitted_at)))


def test_it_is_submitted_when_due_and_then_again(store: Store) -> None:
    clock, bench = Clock(), Bench(store, kind())
    ensure(store, request=Work(target="all", word="hello"))
    ticking = schedules(store, clock, bench)
    for _ in range(200):
        clock.passed += min(ticking.tick(), 1.0)
        for operation in bench.claim().started:
            bench.run(operation)
    found = operations(store)
    assert len(found) == 3
    assert {(row.target, row.user, row.parameters["word"]) for row in found} == {("all", "schedule", "hello")}
    assert found[0].request_id == "sched:sweep:2026-05-01T00:01:00.000+00:00"
    with store.read() as tx:
        (record,) = schedule.find(tx)
    assert record.last_operation == found[-1].id and record.next_at == START + timedelta(seconds=240)


def test_a_clock_that_was_ahead_for_one_look_stops_no_schedule(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    clock, bench = Clock(), Bench(store, kind())
    ensure(store, every_s=3600)
    clock.passed = 10 * 365 * 86400.0
    schedules(store, clock, bench).tick()
    bench.run(bench.claim().started[0])
    clock.passed = 100.0
    ticking = schedules(store, clock, bench)
    ticking.tick()
    ticking.tick()
    with store.read() as tx:
        (record,) = schedule.find(tx)
    assert record.next_at == START + timedelta(seconds=3700)
    (said,) = [event for event in bench.events() if event.type == "schedule.put-back"]
    assert said.level == "warn" and "2036" in said.text and "ahead" in caplog.text
    clock.passed = 3700.0
    schedules(store, clock, bench).tick()
    assert len(operations(store)) == 2


def test_several_daemons_submit_it_once(store: Store) -> None:
    clock, bench = Clock(), Bench(store, kind())
    ensure(store)
    daemons = [schedules(store, clock, bench) for _ in range(3)]
    clock.passed = 61
    for daemon in daemons:
        daemon.tick()
    assert len(operations(store)) == 1


def test_daemons_that_start_together_make_it_once(store: Store) -> None:
    together = threading.Barrier(6)

    def start() -> None:
        together.wait(timeout=20)
        with store.write() as tx:
            schedule.ensure(tx, name="retention", kind="site.retention", target_ref="site:local", every_s=60, now=START)

    with ThreadPoolExecutor(6) as pool:
        for started in [pool.submit(start) for _ in range(6)]:
            started.result(timeout=60)
    with store.read() as tx:
        assert tx.scalars(select(ScheduleRow.name)).all() == ["retention"]


def test_what_was_missed_is_submitted_once(store: Store) -> None:
    clock, bench = Clock(), Bench(store, kind())
    ensure(store)
    clock.passed = 3630
    schedules(store, clock, bench).tick()
    assert len(operations(store)) == 1
    with store.read() as tx:
        assert schedule.find(tx)[0].next_at == START + timedelta(seconds=3660)


def test_a_refusal_is_told_and_the_next_time_comes(store: Store) -> None:
    def refuse(*_: Any) -> Any:
        raise Busy("Not now.")

    clock, bench = Clock(), Bench(store, kind(prepare=refuse))
    ensure(store)
    clock.passed = 61
    schedules(store, clock, bench).tick()
    (event,) = bench.events()
    assert (event.type, event.ref, event.level, event.text) == (
        "schedule.refused", "schedule:sweep", "warn", "schedule sweep was refused: Not now."
    )
    with store.read() as tx:
        assert schedule.find(tx)[0].next_at == START + timedelta(seconds=120)


def test_a_kind_that_is_gone_is_a_refusal(store: Store) -> None:
    clock, bench = Clock(), Bench(store, kind())
    ensure(store, kind="thing.gone")
    clock.passed = 61
    schedules(store, clock, bench).tick()
    assert operations(store) == [] and len(bench.events()) == 1


def test_ensuring_again_keeps_the_next_moment_unless_the_interval_changes(store: Store) -> None:
    ensure(store)
    with store.write() as tx:
        schedule.ensure(tx, name="sweep", kind="thing.work", target_ref="thing:all", every_s=60, now=START + timedelta(seconds=30))
    with store.read() as tx:
        assert schedule.find(tx)[0].next_at == START + timedelta(seconds=60)
    ensure(store, every_s=10)
    with store.read() as tx:
        assert schedule.find(tx)[0].next_at == START + timedelta(seconds=10)


def test_disabled_and_removed_ones_are_not_submitted(store: Store) -> None:
    clock, bench = Clock(), Bench(store, kind())
    ensure(store, enabled=False)
    clock.passed = 61
    assert schedules(store, clock, bench).tick() == 30.0
    with store.write() as tx:
        schedule.remove(tx, "sweep")
    with pytest.raises(NotFound), store.write() as tx:
        schedule.remove(tx, "sweep")
    with store.read() as tx:
        assert schedule.find(tx) == ()
    assert operations(store) == []


def test_an_interval_below_a_second_is_refused(store: Store) -> None:
    with pytest.raises(InvalidInput):
        ensure(store, every_s=0)
