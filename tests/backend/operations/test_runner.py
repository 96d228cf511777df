"""One operation, step by step: results, retries, undo, cancel, fencing, and being run again after a kill."""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import (
    FleetError,
    InUse,
    InvalidInput,
    NotFound,
    PermissionDenied,
    TimedOut,
    Unreachable,
    WrongState,
)
from fleet_tui.backend.operations import ErrorRecord, OperationRecord, OperationState
from fleet_tui.backend.operations.catalogue import LEFT, OperationFacts, Step, StepContext
from fleet_tui.backend.operations.ownership import Fenced, ShuttingDown
from fleet_tui.backend.operations.rows import OperationRow
from fleet_tui.backend.store import Store
from tests.backend.operations.bench import Bench, kind, states, writes
from tests.backend.operations.test_leases import private_store


class Killed(BaseException):
    """Stands for ``kill -9``."""


def failing(name: str = "bad", error: Exception | None = None, **rest: Any) -> Step:
    def body(ctx: StepContext) -> None:
        raise error or Unreachable("Nobody there.", hint="Look.")

    return Step(name, body, **rest)


def test_steps_run_in_order_and_see_the_results_before_them(store: Store) -> None:
    seen: list[tuple[str, dict[str, Any], str, int]] = []

    def body(ctx: StepContext) -> dict[str, Any]:
        seen.append((ctx.step, dict(ctx.results), ctx.token, ctx.attempt))
        return {"n": len(seen)}

    bench = Bench(store, kind(Step("a", body), Step("b", body)))
    record = bench.through()
    assert seen == [("a", {}, f"{record.id}:a", 1), ("b", {"a": {"n": 1}}, f"{record.id}:b", 1)]
    assert record.state is OperationState.SUCCEEDED and record.result == {"n": 2}
    assert states(record) == ["done", "done"] and record.ended_at is not None
    assert bench.held() == set()


def test_a_full_disk_is_no_bug(store: Store) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "/state/machines/m-1")
    record = Bench(store, kind(failing(error=full))).through()
    assert record.error is not None and record.error.code == "capacity" and record.error.hint
    assert "No space left" in record.error.message and "/state/machines/m-1" in record.error.message


def test_the_end_and_its_hook_are_one_transaction(store: Store) -> None:
    told: list[Any] = []

    def succeeded(tx: Session, op: OperationFacts, results: Mapping[str, Mapping[str, Any]]) -> None:
        row = tx.get(OperationRow, op.id)
        told.append((row.state if row else None, results))

    bench = Bench(store, kind(*writes([], "a"), succeeded=succeeded))
    bench.through()
    assert told == [("succeeded", {"a": {"of": "a"}})]


def test_a_failure_undoes_what_was_done_latest_first(store: Store) -> None:
    journal: list[str] = []
    told: list[Any] = []

    def failed(tx: Session, op: OperationFacts, error: ErrorRecord, step: str) -> None:
        told.append((error, step))

    bench = Bench(store, kind(*writes(journal, "a", "b"), *writes(journal, "c", undo=False), failing(), *writes(journal, "z"), failed=failed))
    record = bench.through()
    assert journal == ["a", "b", "c", "undo b", "undo a"]
    assert (record.state, record.failed_step, record.rollback) == (OperationState.FAILED, "bad", "done")
    assert record.error == ErrorRecord("unreachable", "Nobody there.", "Look.")
    assert states(record) == ["undone", "undone", "done", "failed", "skipped"]
    assert told == [(record.error, "bad")]
    assert bench.held() == set()


def test_without_anything_to_undo_nothing_was_rolled_back(store: Store) -> None:
    assert Bench(store, kind(failing())).through().rollback == "none"


def test_an_undo_that_fails_never_hides_the_first_error(store: Store) -> None:
    journal: list[str] = []

    def refuse(ctx: StepContext) -> None:
        raise TimedOut("The undo hangs.")

    bench = Bench(store, kind(*writes(journal, "a"), Step("b", lambda ctx: None, undo=refuse), failing()))
    record = bench.through()
    assert record.error is not None and record.error.code == "unreachable"
    assert (record.rollback, record.failed_step) == ("failed", "bad")
    assert journal == ["a", "undo a"]
    assert any("undo of b failed: The undo hangs." in line[4] for line in bench.said.lines)


def test_an_undo_sees_its_own_result(store: Store) -> None:
    seen: list[Any] = []
    make = Step("make", lambda ctx: {"id": "m-1"}, undo=lambda ctx: seen.append(ctx.results["make"]["id"]))
    Bench(store, kind(make, failing())).through()
    assert seen == ["m-1"]


@pytest.mark.parametrize("others", [0, 1])
def test_an_undo_that_leaves_things_as_they_are_is_no_rollback(store: Store, others: int) -> None:
    journal: list[str] = []

    def keep(ctx: StepContext) -> Mapping[str, Any]:
        journal.append("looked")
        return LEFT

    bench = Bench(store, kind(*writes(journal, *["a"] * others), Step("made", lambda ctx: None, undo=keep), failing()))
    record = bench.through()
    assert record.rollback == ("done" if others else "none")
    assert states(record) == [*["undone"] * others, "done", "failed"]
    assert journal == [*["a"] * others, "looked", *["undo a"] * others]


def test_a_step_may_ask_for_undo_also_when_it_only_began(store: Store) -> None:
    journal: list[str] = []
    half = Step("half", failing().body, undo=lambda ctx: journal.append("undo half"), undo_begun=True)
    record = Bench(store, kind(*writes(journal, "a"), half)).through()
    assert journal == ["a", "undo half", "undo a"]
    assert (record.rollback, record.failed_step, record.error and record.error.code) == ("done", "half", "unreachable")


def test_a_failing_body_is_tried_again(store: Store) -> None:
    attempts: list[int] = []

    def body(ctx: StepContext) -> None:
        attempts.append(ctx.attempt)
        if len(attempts) < 3:
            raise Unreachable("Not yet.")

    bench = Bench(store, kind(Step("a", body, attempts=3, retry_s=0.001)))
    record = bench.through()
    assert attempts == [1, 2, 3]
    assert record.state is OperationState.SUCCEEDED and record.steps[0].error is None
    assert [line[3] for line in bench.said.lines] == ["warn", "warn"]


def test_tries_are_bounded(store: Store) -> None:
    bench = Bench(store, kind(failing(attempts=3, retry_s=0.001)))
    record = bench.through()
    assert record.state is OperationState.FAILED and record.steps[0].attempt == 3


@pytest.mark.parametrize("refusal", [InvalidInput, WrongState, NotFound, PermissionDenied, InUse])
def test_refusals_are_never_tried_again(store: Store, refusal: type[FleetError]) -> None:
    record = Bench(store, kind(failing(error=refusal("No."), attempts=5, retry_s=60))).through()
    assert record.steps[0].attempt == 1 and record.error is not None and record.error.code == refusal.code


def test_a_bug_becomes_a_reference_and_its_trace_stays_in_the_log(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        record = Bench(store, kind(failing(error=KeyError("a secret detail")))).through()
    assert record.error is not None and record.error.code == "internal"
    assert "a secret detail" not in record.error.message + record.error.hint
    reference = record.error.message.partition("(")[2].partition(")")[0]
    assert any(reference in line.getMessage() and line.exc_info for line in caplog.records)


def test_a_result_that_is_not_json_is_a_bug_of_the_step(store: Store) -> None:
    record = Bench(store, kind(Step("a", lambda ctx: {"x": object()}))).through()
    assert record.state is OperationState.FAILED and record.failed_step == "a"


def test_a_hook_that_breaks_does_not_keep_the_operation_from_ending(store: Store) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("hook")

    bench = Bench(store, kind(*writes([], "a"), succeeded=broken, failed=broken))
    record = bench.through(leases=("host/a",))
    assert record.state is OperationState.FAILED and record.error is not None and record.error.code == "internal"
    assert bench.held() == set()


def test_progress_and_lines_are_told(store: Store) -> None:
    shown: list[str] = []

    def body(ctx: StepContext) -> None:
        ctx.say("hello", level="debug")
        ctx.progress("phase 1/2")
        shown.append(bench.show(ctx.operation.id).steps[0].progress)
        ctx.progress("phase \x1b[2J 2/2")
        shown.append(bench.show(ctx.operation.id).steps[0].progress)

    bench = Bench(store, kind(Step("a", body)))
    record = bench.through()
    assert shown[0] == "phase 1/2" and "\x1b" not in shown[1]
    assert record.steps[0].progress == ""
    assert bench.said.lines == [("thing:web-1", record.id, "a", "debug", "hello")]


def test_a_body_that_runs_again_names_its_lines_as_before(store: Store) -> None:
    times = [0]

    def body(ctx: StepContext) -> None:
        for text in ("looking", "looking", f"time {times[0]}"):
            ctx.say(text)
        times[0] += 1
        if times[0] == 1:
            raise Killed
        if times[0] == 2:
            raise Unreachable("Nobody there.")

    bench = Bench(store, kind(Step("a", body, attempts=2, retry_s=0)))
    record = bench.submit()
    bench.claims.claim(1)
    with contextlib.suppress(Killed):
        bench.run(record.id)
    bench.run(record.id)
    names = list(zip((line[4] for line in bench.said.lines), bench.said.names, strict=True))
    first, cut, second = names[:3], names[3:7], names[7:]
    assert [text for text, _ in second] == ["looking", "looking", "time 2"]
    assert first[:2] == cut[:2] and len(set(names)) == len(names) - 2, "the same words of the same try, and no others"


def test_resources_come_by_type(store: Store) -> None:
    class Driver:
        pass

    driver, got = Driver(), []

    def body(ctx: StepContext) -> None:
        got.append(ctx.use(Driver))

    assert Bench(store, kind(Step("a", body)), resources={Driver: driver}).through().state is OperationState.SUCCEEDED
    assert got == [driver]
    assert Bench(store, kind(Step("a", body))).through().state is OperationState.FAILED


# Cancelling


def test_cancel_stops_at_the_next_boundary_and_undoes(store: Store) -> None:
    journal: list[str] = []
    gone: list[str] = []

    def ask(ctx: StepContext) -> None:
        bench.cancel(ctx.operation.id)
        journal.append("asked")

    bench = Bench(store, kind(
        *writes(journal, "a"), Step("ask", ask, undo=lambda ctx: journal.append("undo ask")), *writes(journal, "z"),
        cancelled=lambda tx, op: gone.append(op.id),
    ))
    record = bench.through(leases=("host/a",))
    assert journal == ["a", "asked", "undo ask", "undo a"]
    assert (record.state, record.rollback, record.error, record.failed_step) == (OperationState.CANCELLED, "done", None, None)
    assert states(record) == ["undone", "undone", "skipped"]
    assert gone == [record.id] and bench.held() == set()


def test_cancel_stops_inside_a_body_that_checks(store: Store) -> None:
    after: list[str] = []

    def body(ctx: StepContext) -> None:
        bench.cancel(ctx.operation.id)
        ctx.wait(lambda: None, timeout_s=60)
        after.append("went on")

    bench = Bench(store, kind(Step("a", body)))
    record = bench.through()
    assert record.state is OperationState.CANCELLED and after == []


def test_a_step_may_refuse_to_be_interrupted(store: Store) -> None:
    after: list[str] = []

    def body(ctx: StepContext) -> None:
        bench.cancel(ctx.operation.id)
        ctx.check()
        after.append("went on")

    bench = Bench(store, kind(Step("a", body, cancellable=False), Step("b", lambda ctx: None)))
    record = bench.through()
    assert after == ["went on"]
    assert record.state is OperationState.CANCELLED and states(record) == ["done", "skipped"]


def test_a_cancel_during_the_last_step_comes_too_late(store: Store) -> None:
    bench = Bench(store, kind(Step("a", lambda ctx: {"x": bench.cancel(ctx.operation.id).id})))
    assert bench.through().state is OperationState.SUCCEEDED


def test_a_cancelled_operation_is_not_tried_again(store: Store) -> None:
    def body(ctx: StepContext) -> None:
        bench.cancel(ctx.operation.id)
        raise Unreachable("No.")

    bench = Bench(store, kind(Step("a", body, attempts=50, retry_s=60)))
    assert bench.through().state is OperationState.CANCELLED


def test_an_undo_is_not_cancelled(store: Store) -> None:
    undone: list[bool] = []

    def undo(ctx: StepContext) -> None:
        ctx.check()
        undone.append(ctx.wait(lambda: True, timeout_s=1))

    bench = Bench(store, kind(
        Step("a", lambda ctx: None, undo=undo), Step("ask", lambda ctx: {"x": bench.cancel(ctx.operation.id).id}), *writes([], "z"),
    ))
    assert bench.through().rollback == "done" and undone == [True]


def test_waiting_ends_with_the_value_or_in_vain(store: Store) -> None:
    answers = iter([0, None, "", "value"])
    got: list[Any] = []

    def body(ctx: StepContext) -> None:
        got.append(ctx.wait(lambda: next(answers), timeout_s=30, interval_s=0.001))
        ctx.wait(lambda: False, timeout_s=0.01, interval_s=0.001)

    record = Bench(store, kind(Step("a", body))).through()
    assert got == ["value"]
    assert record.error is not None and record.error.code == "timeout"


# Ownership


def taken(store: Store, operation_id: str) -> None:
    with store.write() as tx:
        row = tx.get(OperationRow, operation_id)
        assert row is not None
        row.executor, row.epoch = "e-2", row.epoch + 1


def breaks(ctx: StepContext) -> None:
    raise RuntimeError("the new owner got in the way")


@pytest.mark.parametrize("act", [
    lambda ctx: ctx.progress("x"), lambda ctx: ctx.write().__enter__(), lambda ctx: None, lambda ctx: ctx.say("x"), breaks,
    lambda ctx: ctx.read().__enter__(), lambda ctx: ctx.wait(lambda: ctx.read().__enter__() and False, timeout_s=60),
])  # fmt: skip
def test_who_lost_the_operation_stores_nothing_more_and_learns_it_before_it_acts(
    store: Store, act: Callable[[StepContext], Any], caplog: pytest.LogCaptureFixture
) -> None:
    def body(ctx: StepContext) -> None:
        taken(store, ctx.operation.id)
        act(ctx)

    bench = Bench(store, kind(Step("a", body)))
    operation = bench.submit(leases=("host/a",))
    bench.claim()
    with pytest.raises(Fenced):
        bench.run(operation.id)
    record = bench.show(operation.id)
    assert record.state is OperationState.RUNNING and states(record) == ["running"]
    assert bench.held() == {("host", "a", operation.id)}
    assert bench.said.lines == [] and not caplog.records, "nor does it say a word, or log what is nobody's error"


def test_a_second_run_fences_the_first(store: Store) -> None:
    """The durable engine may bring an operation back while a frozen thread still has it."""
    inner: list[OperationState] = []

    def body(ctx: StepContext) -> None:
        if ctx.attempt == 1:
            inner.append(Bench(store, kind(Step("a", body)), executor="e-1").run(ctx.operation.id).state)

    bench = Bench(store, kind(Step("a", body)))
    operation = bench.submit()
    bench.claim()
    with pytest.raises(Fenced):
        bench.run(operation.id)
    assert inner == [OperationState.SUCCEEDED]


def test_an_ended_operation_is_left_alone(store: Store) -> None:
    journal: list[str] = []
    bench = Bench(store, kind(*writes(journal, "a")))
    record = bench.through()
    bench.remembered.clear()
    assert bench.run(record.id) == record and journal == ["a"]


def test_a_stopped_engine_stores_nothing(store: Store) -> None:
    bench = Bench(store, kind(Step("a", lambda ctx: bench.signals.stopped.set())))
    operation = bench.submit()
    bench.claim()
    with pytest.raises(ShuttingDown):
        bench.run(operation.id)
    assert states(bench.show(operation.id)) == ["running"]


def test_shutting_down_leaves_the_operation_to_go_on_later(store: Store) -> None:
    journal: list[str] = []

    def body(ctx: StepContext) -> None:
        if ctx.attempt == 1:
            first.signals.stop()
        ctx.wait(lambda: ctx.attempt == 2, timeout_s=60)

    steps = (*writes(journal, "a"), Step("long", body), *writes(journal, "z"))
    first = Bench(store, kind(*steps))
    operation = first.submit()
    first.claim()
    with pytest.raises(ShuttingDown):
        first.run(operation.id)
    second = Bench(store, kind(*steps))
    second.remembered = first.remembered
    assert second.run(operation.id).state is OperationState.SUCCEEDED
    assert journal == ["a", "z"]


# Killed and run again


@pytest.mark.parametrize("remembers", [True, False], ids=["engine remembers", "engine forgot"])
def test_killed_at_any_boundary_every_body_is_recorded_once(store: Store, remembers: bool) -> None:
    journal: list[str] = []
    steps = (*writes(journal, "a", "b"), failing())
    points: list[str] = []
    Bench(store, kind(*steps), checkpoint=points.append).through("rehearsal")
    assert {"adopted", "begun:1", "after-body:2", "stored:1", "recorded:3", "after-undo:1", "undone:2", "before-finish", "finished"} <= set(points)
    for number, point in enumerate(points):
        journal.clear()
        bench = Bench(store, kind(*steps), checkpoint=_killer(number))
        operation = bench.submit(f"t{number}")
        bench.claim()
        with pytest.raises(Killed):
            bench.run(operation.id)
        again = Bench(store, kind(*steps))
        if remembers:
            again.remembered = bench.remembered
        record = again.run(operation.id)
        assert (record.state, record.failed_step, record.rollback) == (OperationState.FAILED, "bad", "done"), point
        assert states(record) == ["undone", "undone", "failed"], point
        repeated = [name for name in set(journal) if journal.count(name) > 1]
        # a body runs again only when the kill fell between its act and our store
        assert repeated == (_name(point) if point.startswith("after-") else []), (point, journal)
        assert again.held() == set()


def _killer(number: int) -> Callable[[str], None]:
    reached = iter(range(10_000))

    def checkpoint(point: str) -> None:
        if next(reached) == number:
            raise Killed(point)

    return checkpoint


def _name(point: str) -> list[str]:
    what, _, position = point.partition(":")
    name = {"1": "a", "2": "b", "3": "bad"}[position]
    return [f"undo {name}" if what == "after-undo" else name]


def test_a_step_that_cannot_be_repeated_fails_as_interrupted(store: Store) -> None:
    journal: list[str] = []

    def once(ctx: StepContext) -> None:
        journal.append("once")
        raise Killed

    steps = (*writes(journal, "a"), Step("once", once, resumable=False))
    bench = Bench(store, kind(*steps))
    operation = bench.submit()
    bench.claim()
    with pytest.raises(Killed):
        bench.run(operation.id)
    record = Bench(store, kind(*steps)).run(operation.id)
    assert record.error is not None and record.error.code == "interrupted"
    assert (record.failed_step, record.rollback, journal) == ("once", "done", ["a", "once", "undo a"])


def test_a_crash_is_not_a_failed_attempt(store: Store) -> None:
    def body(ctx: StepContext) -> None:
        if ctx.attempt <= 3:
            raise Killed

    bench = Bench(store, kind(Step("a", body, attempts=1)))
    operation = bench.submit()
    bench.claim()
    for _ in range(3):
        with pytest.raises(Killed):
            bench.run(operation.id)
    record = bench.run(operation.id)
    assert record.state is OperationState.SUCCEEDED and record.steps[0].attempt == 4


def test_a_cancel_asked_while_nobody_ran_it_is_obeyed_when_it_comes_back(store: Store) -> None:
    bench = Bench(store, kind(*writes([], "a", "b")))
    operation = bench.submit()
    bench.claim()
    bench.submission.cancel(operation.id, "bob")
    record = Bench(store, kind(*writes([], "a", "b"))).run(operation.id)
    assert record.state is OperationState.CANCELLED and states(record) == ["skipped", "skipped"]


def test_steps_that_this_program_does_not_know_end_the_operation(store: Store) -> None:
    old = Bench(store, kind(*writes([], "a", "gone")))
    operation = old.submit()
    old.claim()
    record = Bench(store, kind(*writes([], "a"))).run(operation.id)
    assert record.error is not None and record.error.code == "interrupted" and record.failed_step == "gone"
    other = old.submit("web-2")
    old.claim()
    record = Bench(store, kind(*writes([], "a"), name="thing.else")).run(other.id)
    assert record.state is OperationState.FAILED


outcomes = st.lists(st.sampled_from(["ok", "fail", "flaky", "cancel"]), min_size=1, max_size=5)


def test_whatever_happens_it_ends_undone_or_done_and_free() -> None:
    """Any mix of outcomes, killed up to three times: terminal, no lease, and all-or-nothing in effect."""
    with private_store() as store:
        numbers = iter(range(10_000))

        @settings(max_examples=40, deadline=None)
        @given(outcomes, st.lists(st.integers(0, 30), max_size=3))
        def play(script: list[str], kills: list[int]) -> None:
            effects: set[int] = set()
            bench = Bench(store, kind(*(_step(lambda: bench, effects, *one) for one in enumerate(script))))
            operation = bench.submit(f"t{next(numbers)}", leases=("host/a",))
            bench.claim()
            record = _run_through_kills(bench, operation.id, kills)
            assert record.state.is_final
            assert effects == (set(range(len(script))) if record.state is OperationState.SUCCEEDED else set())
            assert bench.held() == set()

        play()


def _step(bench: Callable[[], Bench], effects: set[int], number: int, what: str) -> Step:
    def body(ctx: StepContext) -> None:
        if what == "fail" or (what == "flaky" and ctx.attempt == 1):
            raise Unreachable("No.")
        if what == "cancel":
            bench().submission.cancel(ctx.operation.id, "bob")
        effects.add(number)

    return Step(f"s{number}", body, undo=lambda ctx: effects.discard(number), attempts=2, retry_s=0)


def _run_through_kills(bench: Bench, operation_id: str, kills: list[int]) -> OperationRecord:
    for kill in [*kills, 10_000]:
        bench.runner._checkpoint = _killer(kill)
        with contextlib.suppress(Killed):
            return bench.run(operation_id)
    raise AssertionError("the last run is not killed")
