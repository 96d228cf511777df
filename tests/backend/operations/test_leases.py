"""Leases against a model: whatever the order of takes and releases, nobody holds what excludes another."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from fleet_tui.backend.operations import leases
from fleet_tui.backend.operations.catalogue import LEVELS, Lease
from fleet_tui.backend.operations.rows import LeaseRow, OperationRow
from fleet_tui.backend.store import Store, sqlite_url
from tests.backend.operations.bench import Bench, kind

A, B = Lease("host", "a"), Lease("host", "b")
A_SHARED = Lease("host", "a", shared=True)

one_lease = st.builds(Lease, st.sampled_from(["zone", "host"]), st.sampled_from("ab"), st.booleans())
moves = st.lists(
    st.tuples(st.integers(0, 3), st.one_of(st.none(), st.lists(one_lease, min_size=1, max_size=3))), max_size=25
)


@contextmanager
def private_store() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as directory:
        store = Store(sqlite_url(Path(directory) / "a.db"))
        store.create_all()
        yield store
        store.close()


@given(st.lists(one_lease, max_size=6))
def test_leases_are_taken_in_one_order_and_the_stronger_claim_counts(wanted: list[Lease]) -> None:
    ordered = leases.in_order(wanted)
    keys = [(LEVELS.index(lease.level), lease.name) for lease in ordered]
    assert keys == sorted(set(keys))
    for lease in ordered:
        same = [one for one in wanted if (one.level, one.name) == (lease.level, lease.name)]
        assert lease.shared == all(one.shared for one in same)
    assert leases.from_json(leases.as_json(wanted)) == ordered


def test_whatever_is_taken_and_released_the_model_agrees() -> None:
    with private_store() as store:
        bench = Bench(store, kind())
        names = [bench.submit(f"t{n}").id for n in range(4)]

        @settings(max_examples=60, deadline=None)
        @given(moves)
        def follow(script: list[tuple[int, list[Lease] | None]]) -> None:
            held: dict[str, tuple[Lease, ...]] = {}
            for who, wanted in script:
                name = names[who]
                with store.write() as tx:
                    if wanted is None:
                        leases.release(tx, name)
                        held.pop(name, None)
                    elif name not in held:
                        against = {row.id for row in leases.acquire(tx, name, leases.in_order(wanted))}
                        expected = {
                            other for other, theirs in held.items()
                            if any(leases.conflict(mine, one) for mine in leases.in_order(wanted) for one in theirs)
                        }
                        assert against == expected
                        if not expected:
                            held[name] = leases.in_order(wanted)
                assert bench.held() == {
                    (lease.level, lease.name, owner) for owner, theirs in held.items() for lease in theirs
                }
            with store.write() as tx:
                for name in names:
                    leases.release(tx, name)

        follow()


def test_all_or_nothing(store: Store) -> None:
    bench = Bench(store, kind())
    first, second = bench.submit("one").id, bench.submit("two").id
    with store.write() as tx:
        assert leases.acquire(tx, first, [B]) == ()
        assert [row.id for row in leases.acquire(tx, second, [A, B])] == [first]
    assert bench.held() == {("host", "b", first)}


def test_shared_leases_exclude_only_exclusive_ones(store: Store) -> None:
    bench = Bench(store, kind())
    ids = [bench.submit(name).id for name in ("one", "two", "three")]
    with store.write() as tx:
        assert leases.acquire(tx, ids[0], [A_SHARED]) == ()
        assert leases.acquire(tx, ids[1], [A_SHARED]) == ()
        assert {row.id for row in leases.acquire(tx, ids[2], [A])} == set(ids[:2])


def test_the_database_itself_refuses_two_exclusive_holders(store: Store) -> None:
    bench = Bench(store, kind())
    first, second = bench.submit("one").id, bench.submit("two").id
    with pytest.raises(IntegrityError), store.write() as tx:
        tx.add_all(LeaseRow(level="host", name="a", operation_id=one, shared=False) for one in (first, second))


def test_an_unknown_level_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="unknown lease level"):
        Lease("planet", "a")


def test_an_exclusive_and_a_shared_claim_at_once_never_both_succeed(store: Store) -> None:
    bench = Bench(store, kind())
    ids = {one: bench.submit(one.name + str(one.shared)).id for one in (A, A_SHARED)}
    gate = threading.Barrier(2)
    got: list[Lease] = []

    def claim(wanted: Lease) -> None:
        for _ in range(15):
            gate.wait(timeout=30)
            with store.write() as tx:
                leases.one_claimer(tx)
                if not leases.acquire(tx, ids[wanted], [wanted]):
                    got.append(wanted)
            gate.wait(timeout=30)
            with store.write() as tx:
                leases.release(tx, ids[wanted])

    threads = [threading.Thread(target=claim, args=(one,)) for one in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(got) == 15


def test_claimers_at_once_never_give_one_host_twice(store: Store) -> None:
    """Four executors claim from one queue; each host's lease goes to one of them at a time."""
    bench = Bench(store, kind())
    for n in range(24):
        bench.submit(f"t{n}", leases=(f"host/{n % 4}", "zone/z/shared"))
    started: list[str] = []

    def claim(name: str) -> None:
        started.extend(Bench(store, kind(), executor=name).claim().started)

    threads = [threading.Thread(target=claim, args=(f"e-{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(started) == len(set(started)) == 4
    with store.read() as tx:
        exclusive = tx.scalars(select(LeaseRow.name).where(LeaseRow.level == "host")).all()
        running = tx.scalars(select(OperationRow.id).where(OperationRow.state == "running")).all()
    assert sorted(exclusive) == ["0", "1", "2", "3"]
    assert set(running) == set(started)
