"""What a step's body is given: the engine's :class:`~.catalogue.StepContext`."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from fleet_tui.backend.errors import TimedOut
from fleet_tui.backend.operations import transitions
from fleet_tui.backend.operations.catalogue import Body, LineSink, OperationCancelled, OperationFacts, Step
from fleet_tui.backend.operations.ownership import Claim, ShuttingDown, fenced, still_owned
from fleet_tui.backend.operations.rows import StepRow
from fleet_tui.backend.store import Store
from fleet_tui.backend.text import clean

T = TypeVar("T")

_PROGRESS_LIMIT = 120
_here: ContextVar[RunningStep | None] = ContextVar("step", default=None)


@dataclass(slots=True)
class Signals:
    """What reaches into running bodies from outside: cancels asked for, and the engine's stop."""

    stopping: threading.Event = field(default_factory=threading.Event)
    """Bodies leave at their next check."""
    stopped: threading.Event = field(default_factory=threading.Event)
    """Nothing of this engine writes any more."""
    cancelled: set[str] = field(default_factory=set)
    """Operations of this executor that were asked to stop."""
    woken: threading.Condition = field(default_factory=threading.Condition)

    def cancel(self, operation_id: str) -> None:
        with self.woken:
            self.cancelled.add(operation_id)
            self.woken.notify_all()

    def stop(self) -> None:
        with self.woken:
            self.stopping.set()
            self.woken.notify_all()

    def pause(self, seconds: float, operation_id: str) -> None:
        """Wait so long, or until something here concerns that operation."""
        with self.woken:
            if not self.stopping.is_set() and operation_id not in self.cancelled:
                self.woken.wait(seconds)


class RunningStep:
    """One attempt of one step, or of its undo (which is never cancelled). A body may use it from several threads at once."""

    def __init__(
        self, *, store: Store, claim: Claim, operation: OperationFacts, step: Step, attempt: int,
        results: Mapping[str, Mapping[str, Any]], resources: Mapping[type, object], lines: LineSink,
        signals: Signals, undoing: bool = False, failures: int = 0,
    ) -> None:
        self._store, self._claim, self._declared = store, claim, step
        self._resources, self._lines, self._signals, self._undoing = resources, lines, signals, undoing
        self._said = ""
        self._round = "undo" if undoing else str(failures)
        self._times: Counter[str] = Counter()
        self._counting = threading.Lock()
        self.operation = operation
        self.step = step.name
        self.attempt = attempt
        self.failures = failures
        self.results = results

    def run(self, body: Body) -> Mapping[str, Any] | None:
        """The body's result; :func:`check_here` means this step meanwhile."""
        before = _here.set(self)
        try:
            return body(self)
        finally:
            _here.reset(before)

    @property
    def token(self) -> str:
        return f"{self.operation.id}:{self.step}"

    def say(self, text: str, level: str = "info") -> None:
        with self.read():
            pass
        with self._counting:  # a body may have threads of its own
            self._times[text] += 1  # what a body says several times on purpose is kept as often
            once = f"{self.token}:{self._round}:{self._times[text]}:{text}"
        self._lines.append(self.operation.target_ref, self.operation.id, self.step, level, text, once)

    def progress(self, text: str) -> None:
        text = clean(text)[:_PROGRESS_LIMIT]
        if text == self._said:
            return
        self._said = text
        with fenced(self._store, self._claim, self._signals.stopped.is_set) as (tx, row):
            step = next(step for step in row.steps if step.name == self.step)
            step.progress = text
            transitions.changed(tx, row, "step")

    def check(self) -> None:
        if (self._declared.resumable or self._undoing) and self._signals.stopping.is_set():
            raise ShuttingDown
        if self._declared.cancellable and not self._undoing and self.operation.id in self._signals.cancelled:
            raise OperationCancelled

    def wait(self, predicate: Callable[[], T], timeout_s: float, interval_s: float = 0.1) -> T:
        deadline = time.monotonic() + timeout_s
        while True:
            self.check()
            found = predicate()
            if found:
                return found
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimedOut(f"Step {self.step} of {self.operation.target} waited {timeout_s:g} s in vain.")
            self._pause(min(interval_s, left))

    def use(self, wanted: type[T]) -> T:
        found = self._resources.get(wanted)
        if found is None:
            raise LookupError(f"no {wanted.__name__} was given to the engine")
        return found  # type: ignore[return-value]  # keyed by its type where the daemon composes

    def read(self) -> AbstractContextManager[Session]:
        return self._read()

    @contextmanager
    def _read(self) -> Iterator[Session]:
        with self._store.read() as tx:
            still_owned(tx, self._claim)
            yield tx

    def write(self) -> AbstractContextManager[Session]:
        return self._write()

    @contextmanager
    def _write(self) -> Iterator[Session]:
        with fenced(self._store, self._claim, self._signals.stopped.is_set) as (tx, _row):
            yield tx

    def _pause(self, seconds: float) -> None:
        """Wake early only for what check() would act on; otherwise this would spin."""
        if self._declared.cancellable and self._declared.resumable and not self._undoing:
            self._signals.pause(seconds, self.operation.id)
        else:
            time.sleep(seconds)


def check_here() -> None:
    """:meth:`StepContext.check` of the step whose body this thread is in, for what waits below it without its context. Outside of one: nothing."""
    if (step := _here.get()) is not None:
        step.check()


def step_row(steps: list[StepRow], name: str) -> StepRow | None:
    return next((step for step in steps if step.name == name), None)
