"""How upper layers declare operations: kinds made of named steps.

A step's body acts on the world **outside** any transaction and must be repeatable: look, then act, or hand
:attr:`StepContext.token` to the far side. What it returns is stored together with the step's state, so a
body may run twice but is recorded once. Steps of a kind are only ever appended or guarded: an operation that
was begun by an older daemon continues with the steps it was stored with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from sqlalchemy.orm import Session

from fleet_tui.backend.errors import FleetError
from fleet_tui.backend.operations import ErrorRecord, OperationRequest, Plan, Refusal

__all__ = [
    "LEFT", "LEVELS", "Lease", "LineSink", "OperationCancelled", "OperationFacts", "OperationKind", "Prepared", "Step",
    "StepContext", "error_record", "planned", "refusal_of",
]

T = TypeVar("T")

LEVELS = (
    "fleet", "zone", "pod", "cluster", "physical-network", "instance", "vm", "host", "bmc", "guest-network",
    "managed-server",
)
"""Lease levels, in the one order in which they are taken (ENG-3)."""


class OperationCancelled(Exception):
    """Raised inside a body by ``check()`` and ``wait()`` when cancel was asked. Let it pass."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A claim an operation holds from its first step to its end. Shared ones do not exclude each other."""

    level: str
    name: str
    shared: bool = False

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ValueError(f"unknown lease level {self.level!r}; one of {', '.join(LEVELS)}")


@dataclass(frozen=True, slots=True)
class OperationFacts:
    """What is fixed about one operation when it is submitted."""

    id: str
    kind: str
    target: str
    target_ref: str
    parameters: Mapping[str, Any]
    user: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request found good: what it works on, what it must hold, what its steps need to know."""

    target: str
    """Label, for people."""
    target_ref: str
    """``instance:i-4f2a``."""
    plan: Plan
    leases: tuple[Lease, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """JSON; stored in clear, so no secrets."""


class StepContext(Protocol):
    """What a body gets. The engine's is real; tests may write their own."""

    @property
    def operation(self) -> OperationFacts: ...
    @property
    def step(self) -> str: ...
    @property
    def attempt(self) -> int:
        """From 1; grows with retries and with each crash the step lived through."""
        ...
    @property
    def results(self) -> Mapping[str, Mapping[str, Any]]:
        """Stored results of the steps before this one, by name."""
        ...
    @property
    def token(self) -> str:
        """``<operation>:<step>``: the same in every attempt, for far sides that take a client token."""
        ...
    def say(self, text: str, level: str = "info") -> None:
        """A line in the log of the operation's target. A body that runs again after a crash does not say it twice."""
        ...
    def progress(self, text: str) -> None:
        """A few words shown live beside the step."""
        ...
    def check(self) -> None:
        """Stop here when somebody wants it.

        Raises:
            OperationCancelled: cancel was asked.
        """
        ...
    def wait(self, predicate: Callable[[], T], timeout_s: float, interval_s: float = 0.1) -> T:
        """Ask ``predicate`` until it gives something true, and return that.

        Raises:
            TimedOut: it never did.
            OperationCancelled: cancel was asked meanwhile.
        """
        ...
    def use(self, wanted: type[T]) -> T:
        """The driver or service of that type, as the daemon composed it."""
        ...
    def read(self) -> AbstractContextManager[Session]:
        """A consistent view, while this executor still owns the operation. A body reads right before it acts: one that was
        frozen, and slept through its own takeover, learns it here.

        Raises:
            Fenced: another executor took the operation over; let it pass.
        """
        ...
    def write(self) -> AbstractContextManager[Session]:
        """A transaction that commits only while this executor still owns the operation.

        Raises:
            Fenced: another executor took the operation over; let it pass.
        """
        ...


Body = Callable[[StepContext], Mapping[str, Any] | None]

LEFT: Mapping[str, Any] = MappingProxyType({"left": True})
"""What an undo returns that looked and left all as it was: kept for inspection, or never its to take. Its step counts as not undone."""


@dataclass(frozen=True, slots=True)
class Step:
    """One repeatable step.

    Args:
        body: acts; returns its JSON result. In an undo, ``results`` also holds the step's own.
        undo: reverses a body that was done, when a later step fails or the operation is cancelled. May decide to leave things: :data:`LEFT`.
        attempts: how often a failing body is tried in all. Refusals (wrong state, invalid input, not found,
            permission, in use) are never tried again.
        retry_s: pause before the second attempt; doubles up to a minute.
        resumable: ``False`` fails the operation with ``interrupted`` when the daemon died inside the body.
        cancellable: ``False`` keeps ``check()`` and ``wait()`` from stopping the body; cancel waits for its end.
        undo_begun: undo also when the body began and did not finish; the undo then looks before it acts.
    """

    name: str
    body: Body
    undo: Body | None = None
    attempts: int = 1
    retry_s: float = 2.0
    resumable: bool = True
    cancellable: bool = True
    undo_begun: bool = False


@dataclass(frozen=True, slots=True)
class OperationKind:
    """One kind of operation. Hooks run in the same transaction as the operation's own change of state.

    Args:
        prepare: ``(tx, request, user)``; validates inside the submit transaction and raises what refuses.
            It may read and write the caller's rows; on a dry run everything is rolled back.
        began: when it got its leases, before the first step.
        succeeded: with the results of all steps by name.
        failed: with the error and the name of the step (``""`` outside any).
        cancelled: also when it never began.
        danger: ``safe``, ``changes``, ``disruptive`` or ``destructive`` (design 7).
    """

    kind: str
    title: str
    steps: tuple[Step, ...]
    prepare: Callable[[Session, Any, str], Prepared]
    began: Callable[[Session, OperationFacts], None] | None = None
    succeeded: Callable[[Session, OperationFacts, Mapping[str, Mapping[str, Any]]], None] | None = None
    failed: Callable[[Session, OperationFacts, ErrorRecord, str], None] | None = None
    cancelled: Callable[[Session, OperationFacts], None] | None = None
    danger: str = "changes"
    undo_text: str = ""
    request: type[OperationRequest] = OperationRequest
    """What a retry of this kind is built as; set it when the kind has request fields of its own."""
    ready: Callable[[Session, OperationFacts], str] | None = None
    """What it still waits for, in a phrase; empty when it may begin. Asked whenever its turn comes, before it holds anything: look briefly."""

    def __post_init__(self) -> None:
        names = [step.name for step in self.steps]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"kind {self.kind!r} needs steps with different names, not {names}")

    def step(self, name: str) -> Step | None:
        return next((step for step in self.steps if step.name == name), None)


class LineSink(Protocol):
    """Where lines said by operations go; telemetry has the real one. A line named ``once`` is kept once however often it comes."""

    def append(self, stream_ref: str, operation_id: str, step: str, level: str, text: str, once: str = "") -> None: ...


def planned(
    target: str, *, changes: Iterable[str] = (), consequences: Iterable[str] = (),
    refusals: Iterable[FleetError] = (),
) -> Plan:
    """A plan for :class:`Prepared`; the engine fills in kind, title, steps and undo.

    With ``refusals`` a submit raises the first one, and a dry run shows all.
    """
    return Plan(
        kind="", title="", target=target, steps=(), changes=tuple(changes), consequences=tuple(consequences),
        refusals=tuple(refusal_of(error) for error in refusals),
    )


def error_record(error: FleetError) -> ErrorRecord:
    return ErrorRecord(error.code, error.message, error.hint)


def refusal_of(error: FleetError) -> Refusal:
    return Refusal(error.code, error.message, error.hint, error.details)
