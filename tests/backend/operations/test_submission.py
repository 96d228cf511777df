"""Submitting, finding again, planning, cancelling and retrying."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import Busy, InvalidInput, NotFound, WrongState
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.operations import OperationState, Submitted
from fleet_tui.backend.operations.catalogue import OperationFacts, Prepared, planned
from fleet_tui.backend.operations.rows import OperationRow
from fleet_tui.backend.store import Store
from tests.backend.operations.bench import Bench, Work, kind, prepare, writes


def count(store: Store) -> int:
    with store.read() as tx:
        return tx.scalar(select(func.count()).select_from(OperationRow)) or 0


def ask(bench: Bench, target: str = "web-1", **fields: Any) -> Submitted:
    return bench.submission.submit(bench.default, Work(target=target, **fields), "ada")


def busy(tx: Session, request: Work, user: str) -> Prepared:
    """Refuses what has an active operation, as instances do; writes first, to see that this is not kept."""
    append(tx, type="thing.changed", ref="thing:x")
    if tx.scalar(select(OperationRow.id).where(OperationRow.target == request.target, OperationRow.ended_at.is_(None))):
        raise WrongState(f"{request.target} is being worked on.", state="busy")
    return prepare(tx, request, user)


def test_what_is_submitted_is_stored_with_its_steps(store: Store) -> None:
    bench = Bench(store, kind(*writes([], "a", "b")))
    operation = bench.submit("web-1", word="hello", priority=3)
    assert operation == bench.show(operation.id)
    assert (operation.state, operation.user, operation.target_ref) == (OperationState.QUEUED, "ada", "thing:web-1")
    assert [(step.name, step.state.value, step.attempt) for step in operation.steps] == [("a", "pending", 0), ("b", "pending", 0)]
    (event,) = bench.events()
    assert (event.type, event.ref, event.text) == (
        "operation.submitted", f"operation:{operation.id}", "work web-1 was submitted by ada"
    )


def test_the_same_request_id_finds_the_same_operation_also_after_its_end(store: Store) -> None:
    bench = Bench(store, kind())
    first = bench.through(request_id="r-1")
    again = ask(bench, request_id="r-1")
    assert again.operation == first and not again.deduplicated
    assert count(store) == 1


def test_a_request_id_of_another_kind_is_refused(store: Store) -> None:
    bench = Bench(store, kind(), kind(name="thing.other"))
    bench.submit(request_id="r-1")
    with pytest.raises(InvalidInput, match="used already"):
        bench.submit(kind="thing.other", request_id="r-1")


def test_an_active_duplicate_is_joined_not_started(store: Store) -> None:
    bench = Bench(store, kind())
    first = bench.submit(request_id="r-1")
    second = ask(bench, request_id="r-2")
    assert second.operation == first and second.deduplicated
    assert not ask(bench, "web-2").deduplicated
    bench.claim()
    bench.run(first.id)
    assert not ask(bench, request_id="r-2").deduplicated


def test_a_refusal_because_of_the_very_same_operation_is_answered_with_it(store: Store) -> None:
    bench = Bench(store, kind(prepare=busy))
    first = bench.submit()
    events = len(bench.events())
    again = ask(bench)
    assert again.operation is not None and again.operation.id == first.id and again.deduplicated
    assert len(bench.events()) == events
    other = Bench(store, kind(prepare=busy, name="thing.other"))
    with pytest.raises(WrongState):
        other.submit()


def test_many_at_once_make_one_operation(store: Store) -> None:
    bench = Bench(store, kind())
    answers: list[Submitted | Exception] = []
    gate = threading.Barrier(8)

    def press(request_id: str) -> None:
        gate.wait(timeout=30)
        try:
            answers.append(ask(bench, request_id=request_id))
        except Exception as error:
            answers.append(error)

    threads = [threading.Thread(target=press, args=(f"r-{n // 2}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert count(store) == 1
    assert len({answer.operation.id for answer in answers if isinstance(answer, Submitted) and answer.operation}) == 1
    assert len(answers) == 8 and all(isinstance(answer, Submitted) for answer in answers), answers


def test_a_dry_run_stores_nothing_and_tells_all(store: Store) -> None:
    bench = Bench(store, kind(*writes([], "a", "b"), undo_text="work backwards"))
    plan = ask(bench, dry_run=True, request_id="r-1").plan
    assert plan is not None
    assert (plan.kind, plan.title, plan.steps, plan.changes) == ("thing.work", "work", ("a", "b"), ("a thing",))
    assert (plan.undo, plan.refusals) == ("work backwards", ())
    assert count(store) == 0 and bench.events() == []


def test_a_dry_run_shows_what_would_refuse_it(store: Store) -> None:
    bench = Bench(store, kind(prepare=busy))
    bench.submit()
    plan = ask(bench, dry_run=True).plan
    assert plan is not None and [refusal.code for refusal in plan.refusals] == ["wrong_state"]


def test_a_dry_run_says_which_operation_would_be_joined(store: Store) -> None:
    bench = Bench(store, kind())
    active = bench.submit()
    plan = ask(bench, dry_run=True).plan
    assert plan is not None and any(active.id in sentence for sentence in plan.consequences)


def test_refusals_of_a_plan_refuse_the_submit(store: Store) -> None:
    def prepare_refusing(tx: Session, request: Work, user: str) -> Prepared:
        refusals = [Busy("Somebody has it.", hint="Wait.", holders=["o-1"]), NotFound("Nothing.")]
        return Prepared("x", "thing:x", planned("x", refusals=refusals))

    bench = Bench(store, kind(prepare=prepare_refusing))
    with pytest.raises(Busy, match="Somebody has it") as refused:
        bench.submit()
    assert refused.value.hint == "Wait." and refused.value.details == {"holders": ["o-1"]}
    plan = ask(bench, dry_run=True).plan
    assert plan is not None and [refusal.code for refusal in plan.refusals] == ["busy", "not_found"]
    assert [refusal.details for refusal in plan.refusals] == [{"holders": ["o-1"]}, {}]


@pytest.mark.parametrize("priority", [-21, 20])
def test_a_priority_out_of_range_is_refused(store: Store, priority: int) -> None:
    with pytest.raises(InvalidInput) as refused:
        Bench(store, kind()).submit(priority=priority)
    assert [problem.field for problem in refused.value.problems] == ["priority"]


def test_an_unknown_kind_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound):
        Bench(store, kind()).submit(kind="thing.unheard")


def test_what_has_not_begun_is_cancelled_at_once(store: Store) -> None:
    gone: list[str] = []

    def cancelled(tx: Session, op: OperationFacts) -> None:
        gone.append(op.id)

    bench = Bench(store, kind(cancelled=cancelled))
    operation = bench.submit()
    record = bench.cancel(operation.id)
    assert (record.state, record.cancel_requested_by) == (OperationState.CANCELLED, "bob")
    assert [step.state.value for step in record.steps] == ["skipped"]
    assert gone == [operation.id] and bench.claim().started == ()


def test_what_waits_is_cancelled_at_once(store: Store) -> None:
    bench = Bench(store, kind())
    bench.submit("one", leases=("host/a",))
    second = bench.submit("two", leases=("host/a",))
    bench.claim()
    assert bench.show(second.id).state is OperationState.WAITING
    assert bench.cancel(second.id).state is OperationState.CANCELLED


def test_a_running_one_is_asked_once_and_keeps_its_leases(store: Store) -> None:
    bench = Bench(store, kind())
    operation = bench.submit(leases=("host/a",))
    bench.claim()
    first = bench.cancel(operation.id, "bob")
    again = bench.cancel(operation.id, "eve")
    assert first.state is again.state is OperationState.CANCELLING
    assert again.cancel_requested_by == "bob"
    assert bench.held() == {("host", "a", operation.id)}


def test_an_ended_one_cannot_be_cancelled(store: Store) -> None:
    bench = Bench(store, kind())
    operation = bench.through()
    with pytest.raises(WrongState, match="succeeded"):
        bench.cancel(operation.id)
    with pytest.raises(NotFound):
        bench.cancel("o-unknown")


def test_a_retry_is_a_new_operation_with_the_same_request(store: Store) -> None:
    bench = Bench(store, kind())
    first = bench.submit(word="hello", leases=("host/a",), password="hunter2", priority=5)
    bench.cancel(first.id)
    again = bench.submission.retry(first.id, "r-9", "eve").operation
    assert again is not None
    assert (again.retry_of, again.user, again.priority, again.state) == (first.id, "eve", 5, OperationState.QUEUED)
    with store.read() as tx:
        rows = {row.id: row for row in tx.scalars(select(OperationRow))}
    assert rows[again.id].parameters == {"word": "hello"} and rows[again.id].leases == [["host", "a", False]]
    assert "hunter2" not in str(rows[first.id].request)
    assert bench.submission.retry(first.id, "r-9", "eve").operation == again


def test_only_what_failed_or_was_cancelled_can_be_retried(store: Store) -> None:
    bench = Bench(store, kind())
    operation = bench.submit()
    with pytest.raises(WrongState, match="only a failed or cancelled"):
        bench.submission.retry(operation.id, "", "ada")
    bench.claim()
    bench.run(operation.id)
    with pytest.raises(WrongState):
        bench.submission.retry(operation.id, "", "ada")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Locked(Work):
    key: str = dataclasses.field(repr=False)


def test_what_cannot_be_without_its_secret_is_asked_for_anew(store: Store) -> None:
    bench = Bench(store, dataclasses.replace(kind(), request=Locked))
    first = bench.submission.submit(bench.default, Locked(target="web-1", key="hunter2"), "ada").operation
    assert first is not None
    bench.cancel(first.id)
    with pytest.raises(InvalidInput, match="its key is a secret and was not kept") as refused:
        bench.submission.retry(first.id, "", "ada")
    assert refused.value.hint == "Ask for it anew."
