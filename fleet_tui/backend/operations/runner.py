"""Runs one operation: its steps in order, undo when it must, and its end. Knows nothing of the durable engine.

:meth:`Runner.run` is given ``recorded(name, act)``, which the durable engine implements: it calls ``act`` and
remembers what it returned, so that a later run gets the same answer without acting. Decisions here depend only
on such answers. Our own rows are looked at first inside each act, because a kill may fall between our
transaction and the engine's.

**Checkpoints.** ``checkpoint(point)`` is called at every boundary where a kill is interesting; tests kill the
process there. Points, with the step's position from 1: ``adopted``, ``begun:1`` (the attempt is stored),
``after-body:1`` (acted, not stored), ``stored:1`` (stored by us), ``recorded:1`` (remembered by the engine),
``after-undo:1``, ``undone:1``, ``before-finish``, ``finished``. The dispatcher adds ``claimed`` and ``started``.
"""

from __future__ import annotations

import errno
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy.orm import Session

from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.errors import (
    FleetError,
    InternalError,
    Interrupted,
    InUse,
    InvalidInput,
    NoCapacity,
    NotFound,
    PermissionDenied,
    WrongState,
)
from fleet_tui.backend.operations import ErrorRecord, OperationState, StepState, transitions
from fleet_tui.backend.operations.catalogue import (
    LEFT,
    LineSink,
    OperationCancelled,
    OperationFacts,
    OperationKind,
    Step,
    error_record,
)
from fleet_tui.backend.operations.context import RunningStep, Signals, step_row
from fleet_tui.backend.operations.ownership import Claim, Fenced, ShuttingDown, adopt, fenced, still_owned
from fleet_tui.backend.operations.queries import error_of, get
from fleet_tui.backend.operations.rows import OperationRow, StepRow
from fleet_tui.backend.store import Store, database_lost, new_id
from fleet_tui.backend.text import clean

_FINAL_REFUSALS = (InvalidInput, WrongState, NotFound, PermissionDenied, InUse)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_RETRY_LIMIT_S = 60.0
_STOPPED = ErrorRecord("cancelled", "Stopped on request.")
_log = logging.getLogger(__name__)
_clock = SystemClock()


class Recorded(Protocol):
    """The durable engine, as one run of one operation sees it."""

    def __call__(self, name: str, act: Callable[[], str]) -> str:
        """What ``act`` returned, now or in an earlier run."""
        ...

    def in_hand(self) -> bool:
        """Whether the engine still means this run, and has not given the operation to another one."""
        ...


class Checkpoint(Protocol):
    def __call__(self, point: str) -> None: ...


def nothing(point: str) -> None:
    """The checkpoint of every day."""


@dataclass(slots=True)
class Run:
    """One operation being run by this thread."""

    claim: Claim
    facts: OperationFacts
    kind: OperationKind | None
    steps: tuple[str, ...]
    """As stored at submit."""


class Runner:
    """Everything needed to run operations of one catalogue on one store."""

    def __init__(
        self, store: Store, kinds: Mapping[str, OperationKind], resources: Mapping[type, object], lines: LineSink,
        executor_id: str, signals: Signals, checkpoint: Checkpoint = nothing,
    ) -> None:
        self._store, self._kinds, self._resources, self._lines = store, kinds, resources, lines
        self._executor, self._signals, self._checkpoint = executor_id, signals, checkpoint

    def run(self, operation_id: str, recorded: Recorded) -> None:
        """From wherever it stands to its end. An operation that has ended is left alone.

        Raises:
            Fenced: another executor took it over.
            ShuttingDown: this one is stopping.
        """
        run = self._adopt(operation_id, recorded.in_hand)
        if run is None:
            return
        self._checkpoint("adopted")
        outcome, failed = self._forward(run, recorded)
        rollback = "none" if outcome == "done" else self._back(run, recorded)
        self._checkpoint("before-finish")
        recorded("finish", lambda: self._finish(run, outcome, failed, rollback))
        self._checkpoint("finished")

    def _adopt(self, operation_id: str, in_hand: Callable[[], bool]) -> Run | None:
        with self._store.write() as tx:
            claim = adopt(tx, operation_id, self._executor)
            if claim is None:
                return None
            # Asked with the row locked: a thread that was frozen before it came here must not take it from the living.
            if not in_hand():
                raise Fenced
            row = get(tx, operation_id)
            if row.state == OperationState.CANCELLING.value:
                self._signals.cancel(row.id)
            return Run(claim, transitions.facts(row), self._kinds.get(row.kind), tuple(step.name for step in row.steps))

    def _forward(self, run: Run, recorded: Recorded) -> tuple[str, str]:
        """``done``, ``failed`` or ``cancelled``, and the step where that was."""
        for position, name in enumerate(run.steps, start=1):
            outcome = recorded(name, lambda name=name, position=position: self._step(run, name, position))  # type: ignore[misc]
            self._checkpoint(f"recorded:{position}")
            if outcome != "done":
                return outcome, name
        return "done", ""

    def _back(self, run: Run, recorded: Recorded) -> str:
        """Undo what was done, latest first. ``none``, ``done`` or ``failed``."""
        outcomes = set()
        for position, name in reversed(list(enumerate(run.steps, start=1))):
            step = run.kind.step(name) if run.kind is not None else None
            if step is None or step.undo is None:
                continue
            outcome = recorded(
                f"undo:{name}",
                lambda step=step, position=position: self._undo(run, step, position),  # type: ignore[misc]
            )
            outcomes.add(outcome)
        if "failed" in outcomes:
            return "failed"
        return "done" if "undone" in outcomes else "none"

    # One step

    def _step(self, run: Run, name: str, position: int) -> str:
        step = run.kind.step(name) if run.kind is not None else None
        while True:
            if self._signals.stopping.is_set():
                raise ShuttingDown
            entered = self._enter(run, name, step)
            if isinstance(entered, str):
                return entered
            assert step is not None  # _enter failed the step otherwise
            self._checkpoint(f"begun:{position}")
            outcome = self._attempt(run, step, position, entered)
            if outcome is not None:
                return outcome
            self._wait_before_retry(run, step, entered)

    def _enter(self, run: Run, name: str, step: Step | None) -> str | RunningStep:
        """The stored outcome if there is one; else store that an attempt begins."""
        with self._fenced(run) as (tx, row):
            mine = _row_of(row, name)
            if mine.state in (StepState.DONE.value, StepState.UNDONE.value):
                return "done"
            if mine.state == StepState.FAILED.value:
                return "cancelled" if mine.error_code == _STOPPED.code else "failed"
            # A body that a crash cut short may have acted: it runs to its end, so that its undo has all to undo.
            if row.state == OperationState.CANCELLING.value and not _cut_short(mine):
                if mine.state == StepState.RUNNING.value:
                    transitions.end_step(mine, StepState.FAILED, _STOPPED)
                return "cancelled"
            refusal = _cannot_go_on(run, mine, step)
            if refusal is not None or step is None:
                transitions.end_step(mine, StepState.FAILED, refusal)
                return "failed"
            mine.state = StepState.RUNNING.value
            mine.attempt += 1
            mine.started_at = mine.started_at or _clock.now()
            transitions.changed(tx, row, "step")
            return self._context(run, row, step, mine)

    def _attempt(self, run: Run, step: Step, position: int, context: RunningStep) -> str | None:
        """``None`` when it failed and is to be tried again."""
        try:
            result = dict(context.run(step.body) or {})
            json.dumps(result)
        except OperationCancelled:
            return self._stopped(run, step)
        except Exception as error:
            if database_lost(error):
                raise
            self._look_whose(run)
            return self._failed(run, step, context, error)
        self._checkpoint(f"after-body:{position}")
        with self._fenced(run) as (tx, row):
            mine = _row_of(row, step.name)
            mine.result = result
            mine.error_code = mine.error_message = mine.error_hint = None
            transitions.end_step(mine, StepState.DONE)
            transitions.changed(tx, row, "step")
        self._checkpoint(f"stored:{position}")
        return "done"

    def _failed(self, run: Run, step: Step, context: RunningStep, error: Exception) -> str | None:
        told = known(error, f"step {step.name} of {run.facts.id}")
        again = context.failures + 1 < step.attempts and not isinstance(error, _FINAL_REFUSALS)
        # Said before it is stored: after a kill in between the body fails again and says nothing new.
        context.say(
            f"{step.name} failed: {told.message}" + (" It will be tried again." if again else ""),
            "warn" if again else "error",
        )
        with self._fenced(run) as (tx, row):
            mine = _row_of(row, step.name)
            mine.failures = context.failures + 1
            mine.error_code, mine.error_message, mine.error_hint = told.code, told.message, told.hint
            if not again:
                transitions.end_step(mine, StepState.FAILED, told)
            transitions.changed(tx, row, "step")
        return None if again else "failed"

    def _wait_before_retry(self, run: Run, step: Step, context: RunningStep) -> None:
        pause = min(step.retry_s * 2 ** min(context.attempt - 1, 10), _RETRY_LIMIT_S)
        deadline = _clock.monotonic() + pause
        while (left := deadline - _clock.monotonic()) > 0:
            if self._signals.stopping.is_set() or run.facts.id in self._signals.cancelled:
                return
            self._signals.pause(left, run.facts.id)

    def _stopped(self, run: Run, step: Step) -> str:
        with self._fenced(run) as (tx, row):
            transitions.end_step(_row_of(row, step.name), StepState.FAILED, _STOPPED)
            transitions.changed(tx, row, "step")
        return "cancelled"

    # Undo

    def _undo(self, run: Run, step: Step, position: int) -> str:
        """``undone``, ``failed``, or ``nothing`` when there was nothing to undo or the undo left things as they were."""
        assert step.undo is not None
        while True:
            if self._signals.stopping.is_set():
                raise ShuttingDown
            with self._fenced(run) as (_tx, row):
                mine = _row_of(row, step.name)
                if mine.state == StepState.UNDONE.value:
                    return "undone"
                if mine.undo_failed:
                    return "failed"
                begun = step.undo_begun and mine.state == StepState.FAILED.value
                if mine.state != StepState.DONE.value and not begun:
                    return "nothing"
                context = self._context(run, row, step, mine, undoing=True)
            outcome = self._attempt_undo(run, step, position, context)
            if outcome is not None:
                return outcome

    def _attempt_undo(self, run: Run, step: Step, position: int, context: RunningStep) -> str | None:
        assert step.undo is not None
        try:
            left = context.run(step.undo) is LEFT
        except Exception as error:
            if database_lost(error):
                raise
            self._look_whose(run)
            # The first error stays the operation's; this one is only said.
            told = known(error, f"undo of {step.name} of {run.facts.id}")
            context.say(f"undo of {step.name} failed: {told.message}", "error")
            with self._fenced(run) as (tx, row):
                _row_of(row, step.name).undo_failed = True
                transitions.changed(tx, row, "step")
            return "failed"
        self._checkpoint(f"after-undo:{position}")
        if left:
            return "nothing"
        with self._fenced(run) as (tx, row):
            mine = _row_of(row, step.name)
            mine.state = StepState.UNDONE.value
            transitions.changed(tx, row, "step")
        self._checkpoint(f"undone:{position}")
        return "undone"

    # The end

    def _finish(self, run: Run, outcome: str, failed_step: str, rollback: str) -> str:
        try:
            with self._fenced(run) as (tx, row):
                self._end(tx, run, row, outcome, failed_step, rollback)
        except Exception as error:
            if database_lost(error):
                raise
            # A hook refused or broke: the operation still ends, and its leases go.
            told = known(error, f"end of {run.facts.id}")
            self._end_anyway(run, told, failed_step, rollback)
        self._signals.cancelled.discard(run.facts.id)
        return outcome

    def _end(self, tx: Session, run: Run, row: OperationRow, outcome: str, failed_step: str, rollback: str) -> None:
        if outcome == "done" and run.kind is not None:
            transitions.succeed(tx, row, run.kind, _results(row))
        elif outcome == "cancelled":
            if row.state == OperationState.RUNNING.value:
                transitions.move(row, OperationState.CANCELLING)
            transitions.cancel(tx, row, run.kind, rollback)
        else:
            mine = step_row(row.steps, failed_step)
            error = (error_of(mine) if mine is not None else None) or error_record(InternalError("No step failed."))
            transitions.fail(tx, row, run.kind, error, failed_step, rollback)

    def _end_anyway(self, run: Run, error: ErrorRecord, failed_step: str, rollback: str) -> None:
        try:
            with self._fenced(run) as (tx, row):
                transitions.fail(tx, row, run.kind, error, failed_step, rollback)
        except Exception as second:
            known(second, f"failed hook of {run.facts.id}")
            with self._fenced(run) as (tx, row):
                transitions.fail(tx, row, None, error, failed_step, rollback)

    def _look_whose(self, run: Run) -> None:
        """An error in a body that was taken over meanwhile is nobody's: the new owner's doings may have been its cause."""
        with self._store.read() as tx:
            still_owned(tx, run.claim)

    def _fenced(self, run: Run) -> Any:
        return fenced(self._store, run.claim, self._signals.stopped.is_set)

    def _context(
        self, run: Run, row: OperationRow, step: Step, mine: StepRow, *, undoing: bool = False
    ) -> RunningStep:
        return RunningStep(
            store=self._store, claim=run.claim, operation=run.facts, step=step, attempt=mine.attempt, failures=mine.failures,
            results=_results(row), resources=self._resources, lines=self._lines, signals=self._signals,
            undoing=undoing,
        )


def known(error: Exception, place: str) -> ErrorRecord:
    """The error as it is kept. A bug becomes a reference; its trace goes to the log alone."""
    if isinstance(error, FleetError):
        return error_record(error)
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        where = f" ({clean(str(error.filename))})" if error.filename else ""
        return error_record(NoCapacity(f"Nothing more can be written there: {error.strerror}{where}.", hint="Free space for the daemon, then retry."))
    reference = new_id("e")
    _log.error("%s: %s", reference, place, exc_info=error)
    return ErrorRecord(
        InternalError.code, f"Something went wrong inside the daemon ({reference}).",
        f"Its log has the details under {reference}.",
    )


def _row_of(row: OperationRow, name: str) -> StepRow:
    found = step_row(row.steps, name)
    if found is None:
        raise Fenced
    return found


def _results(row: OperationRow) -> dict[str, Mapping[str, Any]]:
    done = (StepState.DONE.value, StepState.UNDONE.value)
    return {step.name: dict(step.result or {}) for step in row.steps if step.state in done}


def _cut_short(mine: StepRow) -> bool:
    """Whether its last attempt began and neither succeeded nor failed."""
    return mine.state == StepState.RUNNING.value and mine.attempt > mine.failures


def _cannot_go_on(run: Run, mine: StepRow, step: Step | None) -> ErrorRecord | None:
    if run.kind is None or step is None:
        return error_record(Interrupted(
            f"This daemon does not know step {mine.name} of {run.facts.kind}.",
            hint="It was submitted by another version; submit it again.",
        ))
    if _cut_short(mine) and not step.resumable:
        return error_record(Interrupted(
            f"The daemon ended inside step {mine.name}, which cannot be repeated.",
            hint=f"Look at {run.facts.target} before trying again.",
        ))
    return None
