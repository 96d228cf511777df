"""Transactions and column types behave alike on both back ends."""

from __future__ import annotations

import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from fleet_tui.backend.events.rows import EventRow
from fleet_tui.backend.operations.rows import ScheduleRow, WorkerRow
from fleet_tui.backend.store import Store, database_lost, database_now, new_id, sqlite_url

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=5)))


def worker(name: str, seen: datetime = NOON) -> WorkerRow:
    return WorkerRow(executor_id=name, seen=seen, pid=1, host="h", version="1", started=NOON)


def count(store: Store) -> int:
    with store.read() as tx:
        return tx.scalar(select(func.count()).select_from(WorkerRow)) or 0


FULL = ["PRAGMA max_page_count=1", "CREATE TABLE more (word text)"]
READ_ONLY = ["PRAGMA query_only=ON", "DELETE FROM worker"]


@pytest.mark.parametrize(
    ("database", "statements", "lost"),
    [
        ("sqlite", FULL, True), ("sqlite", READ_ONLY, True), ("sqlite", ["DELETE FROM nothing"], False), ("sqlite", ["nonsense"], False),
        ("postgresql", ["SET TRANSACTION READ ONLY", "DELETE FROM worker"], True),
        ("postgresql", ["SELECT pg_terminate_backend(pg_backend_pid())"], True),
        ("postgresql", ["DELETE FROM nothing"], False), ("postgresql", ["SELECT 1/0"], False),
    ],
    indirect=["database"],
)  # fmt: skip
def test_a_database_that_cannot_work_is_told_from_a_mistake_of_ours(store: Store, statements: list[str], lost: bool) -> None:
    with pytest.raises(DBAPIError) as caught, store.write() as tx:
        for statement in statements:
            tx.execute(text(statement))
    assert database_lost(caught.value) is lost
    store.close()


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_who_is_frozen_inside_a_transaction_holds_the_others_up_for_a_while_only(store: Store, database: str) -> None:
    with store.write() as tx:
        tx.add(worker("contested"))
    frozen = Store(database, stuck_s=0.3)
    try:
        with pytest.raises(DBAPIError), frozen.write() as tx:
            tx.scalars(select(WorkerRow).with_for_update()).one()
            with ThreadPoolExecutor(1) as other:  # waits for the lock, in which nothing moves
                other.submit(rename, store, "free").result(timeout=20)
            tx.add(worker("late"))
        with frozen.write() as tx:
            tx.add(worker("again"))
    finally:
        frozen.close()
    with store.read() as tx:
        assert {(row.executor_id, row.host) for row in tx.scalars(select(WorkerRow))} == {("contested", "free"), ("again", "h")}


def rename(store: Store, host: str) -> None:
    with store.write() as tx:
        tx.scalars(select(WorkerRow).with_for_update()).one().host = host


def test_times_come_back_aware_in_utc_to_the_millisecond(store: Store) -> None:
    with store.write() as tx:
        tx.add(worker("a"))
    with store.read() as tx:
        seen = tx.scalars(select(WorkerRow.seen)).one()
    assert seen == datetime(2026, 3, 1, 7, 0, 0, 123000, tzinfo=timezone.utc)
    assert seen.utcoffset() == timedelta(0)


def test_times_compare_in_the_database(store: Store) -> None:
    with store.write() as tx:
        tx.add_all([worker("old", NOON - timedelta(milliseconds=1)), worker("new")])
    with store.read() as tx:
        assert tx.scalars(select(WorkerRow.executor_id).where(WorkerRow.seen < NOON)).all() == ["old"]


def test_a_time_without_a_zone_is_refused(store: Store) -> None:
    with pytest.raises(Exception, match="without a zone"), store.write() as tx:
        tx.add(worker("a", datetime(2026, 1, 1)))


def test_json_comes_back_as_it_was(store: Store) -> None:
    value = {"a": [1, None, "ü"], "b": {"c": True}}
    with store.write() as tx:
        tx.add(ScheduleRow(name="s", kind="k", target_ref="r", user="u", every_s=1, next_at=NOON, request=value))
    with store.read() as tx:
        assert tx.scalars(select(ScheduleRow.request)).one() == value


def test_a_write_that_raises_leaves_nothing(store: Store) -> None:
    with pytest.raises(KeyError), store.write() as tx:
        tx.add(worker("a"))
        tx.flush()
        raise KeyError("x")
    assert count(store) == 0


def test_a_write_inside_a_write_is_refused_instead_of_waiting_for_itself(store: Store) -> None:
    with pytest.raises(RuntimeError, match="inside another"), store.write(), store.write():
        pass
    with store.write() as tx:
        tx.add(worker("a"))
    assert count(store) == 1


def test_nothing_done_in_a_read_is_kept(store: Store) -> None:
    with store.write() as tx:
        tx.add(worker("a"))
    with store.read() as tx:
        assert tx.scalars(select(WorkerRow)).one().host == "h"
    assert count(store) == 1


def test_a_reader_sees_one_moment(store: Store) -> None:
    with store.read() as tx:
        assert tx.scalar(select(func.count()).select_from(WorkerRow)) == 0
        with store.write() as other:
            other.add(worker("a"))
        assert tx.scalar(select(func.count()).select_from(WorkerRow)) == 0
    assert count(store) == 1


def test_many_threads_write_without_losing_any(store: Store) -> None:
    def write(name: str) -> None:
        for n in range(10):
            with store.write() as tx:
                tx.add(worker(f"{name}{n}"))

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert count(store) == 80


def test_commit_hooks_run_after_commits_only(store: Store) -> None:
    seen: list[int] = []
    store.on_commit.append(lambda tx: seen.append(count(store)))
    with store.write() as tx:
        tx.add(worker("a"))
        assert seen == []
    with pytest.raises(KeyError), store.write():
        raise KeyError
    assert seen == [1]


def test_the_databases_clock_is_near_ours(store: Store) -> None:
    with store.read() as tx:
        assert abs(database_now(tx) - datetime.now(timezone.utc)) < timedelta(minutes=5)


def test_sqlite_is_durable_private_and_checks_foreign_keys(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    store = Store(sqlite_url(path))
    with store.read() as tx:
        found = {name: tx.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "foreign_keys", "synchronous")}
    store.close()
    assert found == {"journal_mode": "wal", "foreign_keys": 1, "synchronous": 2}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_database_in_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="must be a file"):
        Store("sqlite://")


def test_ids_are_short_distinct_and_spell_no_words() -> None:
    ids = {new_id("o") for _ in range(2000)}
    assert len(ids) == 2000
    assert all(len(one) == 10 and not set(one[2:]) & set("aeiou") for one in ids)


def test_event_numbers_are_never_used_twice(store: Store) -> None:
    for expected in (1, 2):
        with store.write() as tx:
            row = EventRow(time=NOON, level="info", type="a.b", ref="x:1", text="")
            tx.add(row)
            tx.flush()
            assert row.seq == expected
            tx.delete(row)
