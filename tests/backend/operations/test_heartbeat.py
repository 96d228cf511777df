"""The dead are noticed once, and whatever nobody alive owns is taken over."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import DBAPIError

from fleet_tui.backend.operations.heartbeat import Heartbeat, life_of
from fleet_tui.backend.operations.leases import one_claimer
from fleet_tui.backend.operations.rows import OperationRow, WorkerRow
from fleet_tui.backend.store import Store
from tests.backend.operations.bench import Bench, kind
from tests.waiting import until


def silent_for(store: Store, executor: str, seconds: float) -> None:
    with store.write() as tx:
        row = tx.get(WorkerRow, executor)
        assert row is not None
        row.seen -= timedelta(seconds=seconds)


def owner(store: Store, operation_id: str) -> tuple[str | None, int]:
    with store.read() as tx:
        row = tx.get(OperationRow, operation_id)
        assert row is not None
        return row.executor, row.epoch


def running(store: Store, executor: str, target: str = "web-1") -> str:
    bench = Bench(store, kind(), executor=executor)
    operation = bench.submit(target, leases=(f"host/{target}",))
    bench.claim()
    return operation.id


def test_a_beat_is_seen_and_renewed(store: Store) -> None:
    one = Heartbeat(store, "e-1")
    one.beat()
    silent_for(store, "e-1", 100)
    one.beat()
    assert Heartbeat(store, "e-2").reap() == ()
    assert one.alive() == {"e-1"}


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_who_is_declared_dead_at_this_moment_says_that_it_lives(store: Store) -> None:
    one = Heartbeat(store, "e-1")
    one.beat()
    with ThreadPoolExecutor(1) as other:
        with store.write() as tx:
            tx.execute(delete(WorkerRow))
            beating = other.submit(one.beat)
            until(lambda: waits_for_a_lock(store), what="it comes while the other one has not finished")
        beating.result(timeout=20)
    assert one.alive() == {"e-1"}


def waits_for_a_lock(store: Store) -> bool:
    with store.read() as tx:
        return bool(tx.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))


def test_the_work_of_the_dead_is_owned_under_a_new_epoch_and_keeps_its_leases(store: Store) -> None:
    one, two = Heartbeat(store, "e-1"), Heartbeat(store, "e-2")
    one.beat()
    two.beat()
    operation = running(store, "e-1")
    silent_for(store, "e-1", 59)
    assert two.reap() == ()
    silent_for(store, "e-1", 2)
    assert two.reap() == (operation,)
    assert owner(store, operation) == ("e-2", 2)
    assert two.alive() == {"e-2"}
    assert Bench(store, kind()).held() == {("host", "web-1", operation)}
    assert two.reap() == ()


def test_work_of_one_who_is_in_no_table_is_taken_over_too(store: Store) -> None:
    """The one who took it over died before bringing it back."""
    two = Heartbeat(store, "e-2")
    two.beat()
    operation = running(store, "e-gone")
    assert two.reap() == (operation,)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_transactions_of_the_dead_hold_nobody_up(store: Store, database: str) -> None:
    """As of one that was frozen in the middle of taking leases."""
    Heartbeat(store, "e-1").beat()
    two = Heartbeat(store, "e-2")
    two.beat()
    operation = running(store, "e-1")
    hanging = Store(database, name=life_of("e-1", os.getpid()))
    try:
        with pytest.raises(DBAPIError), hanging.write() as tx:
            one_claimer(tx)
            tx.execute(update(OperationRow).values(priority=7))
            silent_for(store, "e-1", 100)
            assert two.reap() == (operation,)
            with store.write() as free:
                one_claimer(free)
            tx.execute(text("SELECT 1"))
        with hanging.write() as tx:
            assert tx.scalar(select(OperationRow.priority)) == 0, "and it goes on"
    finally:
        hanging.close()


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_the_next_life_of_the_dead_is_left_alone(store: Store, database: str) -> None:
    """It is being started, and has not said yet that it lives."""
    Heartbeat(store, "e-1").beat()
    two = Heartbeat(store, "e-2")
    two.beat()
    risen = Store(database, name=life_of("e-1", os.getpid() + 1))
    try:
        with risen.write() as tx:
            tx.execute(text("SELECT 1"))
            silent_for(store, "e-1", 100)
            two.reap()
            tx.execute(text("SELECT 1"))
    finally:
        risen.close()


def test_only_one_survivor_takes_over(store: Store) -> None:
    Heartbeat(store, "e-1").beat()
    operations = {running(store, "e-1", f"t{n}") for n in range(6)}
    survivors = [Heartbeat(store, f"e-{n}") for n in range(2, 6)]
    for survivor in survivors:
        survivor.beat()
    silent_for(store, "e-1", 100)
    taken: list[str] = []
    threads = [threading.Thread(target=lambda one=one: taken.extend(one.reap())) for one in survivors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(taken) == sorted(operations)


def test_one_does_not_reap_itself(store: Store) -> None:
    one = Heartbeat(store, "e-1")
    one.beat()
    operation = running(store, "e-1")
    silent_for(store, "e-1", 1000)
    assert one.reap() == ()
    assert owner(store, operation)[0] == "e-1"


def test_who_leaves_in_order_need_not_be_waited_for(store: Store) -> None:
    one, two = Heartbeat(store, "e-1"), Heartbeat(store, "e-2")
    one.beat()
    two.beat()
    operation = running(store, "e-1")
    one.leave()
    with store.read() as tx:
        assert tx.scalars(select(WorkerRow.executor_id)).all() == ["e-2"]
    assert two.reap() == (operation,)
