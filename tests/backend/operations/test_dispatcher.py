"""What runs next: rank, ageing, leases, limits."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session

from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.errors import Busy
from fleet_tui.backend.operations import AWAITED, ErrorRecord, OperationState, dispatcher
from fleet_tui.backend.operations.catalogue import OperationFacts
from fleet_tui.backend.store import Store
from tests.backend.operations.bench import Bench, kind


def older(bench: Bench, operation_id: str, minutes: float) -> None:
    """As if it had been submitted that much earlier."""
    operation = bench.show(operation_id)
    moment = SystemClock().now() - timedelta(minutes=minutes)
    bench.alter(operation_id, submitted_at=moment, rank=moment.timestamp() + 60 * operation.priority)


def order(bench: Bench) -> list[str]:
    """Targets in the order in which they would start, one at a time."""
    started = []
    while one := bench.claim(room=1).started:
        started.append(bench.show(one[0]).target)
        bench.run(one[0])
    return started


def test_lower_priorities_run_first_and_equals_in_order_of_arrival(store: Store) -> None:
    bench = Bench(store, kind())
    for name, priority in (("a", 0), ("low", 10), ("b", 0), ("high", -10), ("c", 0)):
        bench.submit(name, priority=priority)
    assert order(bench) == ["high", "a", "b", "c", "low"]


def test_waiting_gains_a_point_a_minute(store: Store) -> None:
    bench = Bench(store, kind())
    older(bench, bench.submit("patient", priority=10).id, minutes=11)
    older(bench, bench.submit("hardly", priority=10).id, minutes=9)
    bench.submit("fresh")
    assert order(bench) == ["patient", "fresh", "hardly"]


def test_claiming_takes_leases_and_runs_the_beginning_in_one_go(store: Store) -> None:
    began: list[OperationFacts] = []
    bench = Bench(store, kind(began=lambda tx, op: began.append(op)))
    operation = bench.submit(leases=("host/a", "zone/z/shared"), word="w")
    assert bench.claim().started == (operation.id,)
    record = bench.show(operation.id)
    assert record.state is OperationState.RUNNING and record.started_at is not None
    assert bench.held() == {("host", "a", operation.id), ("zone", "z", operation.id)}
    assert [(op.id, op.parameters["word"]) for op in began] == [(operation.id, "w")]
    assert bench.claim().started == ()


def test_who_cannot_have_its_leases_waits_and_says_for_whom(store: Store) -> None:
    bench = Bench(store, kind(title="drain"))
    first, second = bench.submit("one", leases=("host/a",)), bench.submit("two", leases=("host/a",))
    looked = bench.claim()
    assert (looked.started, looked.left) == ((first.id,), 1)
    waiting = bench.show(second.id)
    assert (waiting.state, waiting.waiting_for) == (OperationState.WAITING, (f"drain one ({first.id})",))
    bench.claim()
    assert bench.show(second.id) == waiting
    bench.run(first.id)
    assert bench.claim().started == (second.id,)
    assert bench.show(second.id).waiting_for == ()


def test_after_fifteen_seconds_it_queues_again(store: Store) -> None:
    bench = Bench(store, kind())
    bench.submit("one", leases=("host/a",))
    second = bench.submit("two", leases=("host/a",))
    bench.claim()
    bench.alter(second.id, waiting_since=SystemClock().now() - timedelta(seconds=16))
    bench.claim()
    assert bench.show(second.id).state is OperationState.QUEUED
    bench.claim()
    assert bench.show(second.id).state is OperationState.WAITING


def test_nobody_starves_behind_sharers(store: Store) -> None:
    """Who aged to -20 keeps later ones off what it waits for."""
    bench = Bench(store, kind())
    bench.submit("sharer", leases=("zone/z/shared",))
    bench.claim()
    owner = bench.submit("owner", leases=("zone/z",))
    second = bench.submit("second sharer", leases=("zone/z/shared",))
    assert bench.claim().started == (second.id,)
    older(bench, owner.id, minutes=21)
    bench.submit("third sharer", leases=("zone/z/shared",))
    other = bench.submit("other", leases=("zone/y",))
    assert bench.claim().started == (other.id,)


def test_the_limit_counts_the_whole_fleet(store: Store) -> None:
    here, there = Bench(store, kind(), executor="e-1", limit=3), Bench(store, kind(), executor="e-2", limit=3)
    for n in range(5):
        here.submit(f"t{n}")
    assert len(here.claim(room=2).started) == 2
    assert len(there.claim().started) == 1
    assert there.claim().started == ()
    assert there.claim().left == 2


def test_what_a_running_one_waits_for_needs_no_place_and_is_seen_behind_any_queue(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "_LOOKED_AT", 3)
    bench = Bench(store, kind(), limit=2)
    for n in range(6):
        bench.submit(f"t{n}")
    assert len(bench.claim().started) == 2
    awaited = [bench.submit(f"vm{n}", request_id=f"{AWAITED}{n}") for n in range(2)]
    assert bench.claim(room=1).started == (awaited[0].id,), "there are threads only for one more"
    assert bench.claim().started == (awaited[1].id,)
    assert bench.claim().started == (), "nor do they make room for others"
    bench.run(awaited[0].id)
    assert bench.claim().started == ()


@pytest.mark.parametrize("error", [Busy("No room.", hint="Later."), ZeroDivisionError()])
def test_a_beginning_that_refuses_fails_the_operation_and_frees_it(store: Store, error: Exception) -> None:
    failed: list[Any] = []

    def began(tx: Session, op: OperationFacts) -> None:
        raise error

    def note(tx: Session, op: OperationFacts, error: ErrorRecord, step: str) -> None:
        failed.append((op.id, error.code, step))

    bench = Bench(store, kind(began=began, failed=note))
    operation = bench.submit(leases=("host/a",))
    other = bench.submit("web-2")
    looked = bench.claim()
    assert looked.started == ()
    assert looked.left == 0
    record = bench.show(operation.id)
    assert record.state is OperationState.FAILED and record.error is not None
    assert failed[0] == (operation.id, record.error.code, "")
    assert bench.held() == set()
    assert bench.show(other.id).state is OperationState.FAILED


def test_each_move_is_an_event_and_only_the_telling_ones_have_a_sentence(store: Store) -> None:
    bench = Bench(store, kind())
    operation = bench.through()
    assert [(event.type, bool(event.text)) for event in bench.events()] == [
        ("operation.submitted", True), ("operation.started", False), ("operation.step", False),
        ("operation.step", False), ("operation.finished", True),
    ]
    assert {event.ref for event in bench.events()} == {f"operation:{operation.id}"}


def test_what_is_not_ready_says_why_and_keeps_nobody_from_what_it_will_want(store: Store) -> None:
    lacks = {"patient": "room"}
    bench = Bench(store, kind(ready=lambda tx, op: lacks.get(op.target, "")))
    patient = bench.submit("patient", leases=("host/a",))
    older(bench, patient.id, minutes=60)  # others that wait for so long keep later ones off
    other = bench.submit("other", leases=("host/a",))
    looked = bench.claim()
    assert (looked.started, looked.left) == ((other.id,), 1)
    waiting = bench.show(patient.id)
    assert (waiting.state, waiting.waiting_for) == (OperationState.WAITING, ("room",)) and ("host", "a", patient.id) not in bench.held()
    bench.claim()
    assert bench.show(patient.id) == waiting, "the same word is said once"
    bench.run(other.id)
    lacks.clear()
    assert bench.claim().started == (patient.id,) and bench.show(patient.id).waiting_for == ()


def test_a_question_that_breaks_keeps_nobody_waiting(store: Store) -> None:
    def broken(tx: Session, op: OperationFacts) -> str:
        raise RuntimeError("bug")

    bench = Bench(store, kind(ready=broken))
    operation = bench.submit("one")
    assert bench.claim().started == (operation.id,)
