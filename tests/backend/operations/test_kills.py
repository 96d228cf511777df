"""``kill -9`` at every boundary and at any moment: nothing lost, nothing twice, nothing held."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from fleet_tui.backend.operations import ListOperations, OperationState, queries
from fleet_tui.backend.operations.rows import LeaseRow, OperationRow
from fleet_tui.backend.store import Store
from tests.backend.operations import killing
from tests.backend.operations.worker_program import STEPS
from tests.waiting import until

PROGRAM = "tests.backend.operations.worker_program"
ROOT = Path(__file__).parents[3]
OPERATIONS = 8


class Workers:
    """Worker processes on one database; all are gone at the end."""

    def __init__(self, database: str, directory: Path, operations: int) -> None:
        self._database, self._directory, self._operations = database, directory, operations
        self._log = (directory / "log").open("ab")
        self.running: dict[str, subprocess.Popen[str]] = {}

    def start(self, executor: str = "e-1", kill_at: str = "") -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", PROGRAM, self._database, str(self._directory), executor, str(self._operations)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, cwd=ROOT,
            env={**os.environ, "FLEET_KILL_AT": kill_at},
        )
        self.running[executor] = process
        return process

    def stop(self) -> None:
        for process in self.running.values():
            process.kill()
            process.wait(timeout=10)
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
        self._log.close()


@pytest.fixture
def effects(tmp_path: Path) -> Path:
    directory = tmp_path / "effects"
    directory.mkdir()
    return directory


@pytest.fixture
def workers(database: str, effects: Path) -> Iterator[Workers]:
    found = Workers(database, effects, OPERATIONS)
    yield found
    found.stop()


def all_ended(store: Store, count: int) -> bool:
    with store.read() as tx:
        ended = select(func.count()).select_from(OperationRow).where(OperationRow.ended_at.is_not(None))
        return tx.scalar(ended) == count


def check(store: Store, effects: Path, count: int) -> None:
    """Every operation ended as it should; the witness saw each effect once; nothing is held."""
    with store.read() as tx:
        records = queries.list_operations(tx, ListOperations())
        assert tx.scalars(select(LeaseRow)).all() == []
    assert len(records) == count
    made: Counter[str] = Counter()
    undone: Counter[str] = Counter()
    inside: dict[str, tuple[str, str]] = {}
    for line in (effects / "ledger").read_text().splitlines():
        what, name, *rest = line.split()
        if what == "effect":
            made[name] += 1
        elif what == "undone":
            undone[name] += 1
        elif what == "enter":
            host, process = rest
            there = inside.get(host)
            # a body whose process was killed never leaves; a living one must not be overlapped
            assert there is None or there[1] != process or there[0].partition(":")[0] == name.partition(":")[0], line
            inside[host] = (name, process)
        elif what == "leave":
            inside.pop(rest[0], None)
    assert made and max(made.values()) == 1, made
    for record in records:
        tokens = {f"{record.id}:s{number}" for number in range(1, STEPS + 1)}
        if record.target.startswith("good"):
            assert record.state is OperationState.SUCCEEDED, record
            assert {token for token in tokens if (effects / token).exists()} == tokens
        else:
            assert (record.state, record.failed_step, record.rollback) == (OperationState.FAILED, "s3", "done"), record
            assert not any((effects / token).exists() for token in tokens)
            assert all(undone[token] == 1 for token in sorted(tokens)[:2])


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("points", [killing.POINTS[::4], *[pytest.param(killing.POINTS[n::4], marks=pytest.mark.slow) for n in (1, 2, 3)]])
def test_one_process_killed_at_each_boundary_goes_on_where_it_was(
    store: Store, workers: Workers, effects: Path, points: tuple[str, ...]
) -> None:
    for point in points:
        assert workers.start(kill_at=point).wait(timeout=30) == -9, f"the kill at {point} was not reached"
    workers.start()
    until(lambda: all_ended(store, OPERATIONS), timeout=40, what=f"every operation ended after kills at {points}")
    check(store, effects, OPERATIONS)


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_one_process_killed_again_and_again_at_any_moment(store: Store, workers: Workers, effects: Path) -> None:
    chance = random.Random(4)
    for _ in range(8):
        process = workers.start()
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(timeout=chance.uniform(0.0, 0.4))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=10)
    workers.start()
    until(lambda: all_ended(store, OPERATIONS), timeout=60, what="every operation ended")
    check(store, effects, OPERATIONS)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    "point", ["after-body:2", *[pytest.param(point, marks=pytest.mark.slow) for point in ("claimed", "stored:1", "before-finish")]]
)
def test_of_two_daemons_the_one_that_lives_takes_over(
    store: Store, workers: Workers, effects: Path, point: str
) -> None:
    victim = workers.start("e-1", kill_at=point)
    assert victim.wait(timeout=30) == -9
    workers.start("e-2")
    until(lambda: all_ended(store, OPERATIONS), timeout=40, what="the survivor ended every operation")
    check(store, effects, OPERATIONS)


@pytest.mark.slow
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_two_daemons_killed_in_turn_at_any_moment(store: Store, workers: Workers, effects: Path) -> None:
    chance = random.Random(4)
    for turn in range(6):
        for executor in ("e-1", "e-2"):
            if executor not in workers.running or workers.running[executor].poll() is not None:
                workers.start(executor)
        victim = workers.running[f"e-{turn % 2 + 1}"]
        assert victim.stdout is not None
        victim.stdout.readline()
        try:
            victim.wait(timeout=chance.uniform(0.0, 0.5))
        except subprocess.TimeoutExpired:
            victim.kill()
            victim.wait(timeout=10)
    until(lambda: all_ended(store, OPERATIONS), timeout=60, what="every operation ended")
    check(store, effects, OPERATIONS)


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True)
def test_a_clean_stop_leaves_what_is_under_way_to_the_next_start(store: Store, workers: Workers, effects: Path) -> None:
    first = workers.start()
    assert first.stdout is not None and first.stdin is not None
    assert first.stdout.readline() == "ready\n"
    first.stdin.close()
    assert first.stdout.readline() == "drained\n"
    assert first.wait(timeout=20) == 0
    workers.start()
    until(lambda: all_ended(store, OPERATIONS), timeout=40, what="every operation ended")
    check(store, effects, OPERATIONS)
