"""Durable work: operations made of named steps that can be repeated safely.

The face only. Kinds are declared with :mod:`catalogue`, run by :mod:`engine`; nothing else imports dbos.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Any

from fleet_tui.backend.operations.states import OperationState, StepState
from fleet_tui.backend.records import dataclass

__all__ = [
    "AWAITED", "CancelOperation", "ErrorRecord", "ListOperations", "OperationRecord", "OperationRequest", "OperationState",
    "Plan", "Refusal", "RetryOperation", "ScheduleRecord", "ListSchedules", "ShowOperation", "StepRecord", "StepState", "Submitted",
]

AWAITED = "awaited:"
"""How the request id begins of an operation that a step of another one waits for. It takes no part in the fleet's limit, in which the
other has its place already: else as many as the limit has places could hold them all and wait for ever."""


@dataclass(frozen=True, slots=True)
class ErrorRecord:
    """An error as it is kept and shown: code of spec 3.5, sentence, what to do next."""

    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Refusal(ErrorRecord):
    """Why an operation would not be accepted."""

    details: Mapping[str, Any] = field(default_factory=dict)
    """Facts for programs, as spec 3.5 has them: states, holders, users, whether it could ever fit."""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step of one operation, as last stored."""

    name: str
    state: StepState
    attempt: int
    """Attempts begun; 0 while pending."""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error: ErrorRecord | None = None
    progress: str = ""
    """A few words from inside a long step: ``phase 6/10 install-or-upgrade``."""


@dataclass(frozen=True, slots=True)
class OperationRecord:
    """One operation, as the screens and the command line show it."""

    id: str
    kind: str
    """Name in the catalogue: ``instance.provision``."""
    title: str
    """What a person calls it: ``provision``."""
    target: str
    """Label of what it works on, as it was when submitted."""
    target_ref: str
    """``instance:i-4f2a``."""
    state: OperationState
    user: str
    submitted_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    steps: tuple[StepRecord, ...]
    error: ErrorRecord | None = None
    failed_step: str | None = None
    rollback: str = "none"
    """How the undo went after a failure: ``none`` when nothing was undone (what a failed start-up leaves is kept for inspection),
    ``done`` or ``failed``."""
    waiting_for: tuple[str, ...] = ()
    """While waiting: ``provision web-20 (o-91bc)`` for each holder of a lease it needs."""
    cancel_requested_by: str | None = None
    retry_of: str | None = None
    priority: int = 0
    result: Mapping[str, Any] | None = None
    """What a succeeded operation leaves for programs; no secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRequest:
    """What every request that becomes an operation carries; kinds add their own fields.

    ``request_id`` is made by the caller before it sends; sending the same one again finds the same operation.
    """

    target: str
    """Label or id of the object."""
    request_id: str = ""
    dry_run: bool = False
    priority: int = 0
    """-20..19, lower runs first."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What would happen (dry run, and what a confirmation dialog shows)."""

    kind: str
    title: str
    target: str
    steps: tuple[str, ...]
    changes: tuple[str, ...]
    """Objects that would change, one phrase each."""
    consequences: tuple[str, ...]
    """Who and what is affected, in the fleet's words; the text of the confirmation."""
    refusals: tuple[Refusal, ...] = ()
    """Why it would be refused now; empty when it would be accepted."""
    undo: str = ""
    """What reverses it, for the toast."""
    against: tuple[str, ...] = ()
    """When no host was found: each that was looked at, and why not it."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """The answer to a request that becomes an operation. Exactly one of the two is set."""

    operation: OperationRecord | None = None
    deduplicated: bool = False
    """The same kind on the same target was already active; that one is returned (ENG-4)."""
    plan: Plan | None = None
    """Set for a dry run."""


@dataclass(frozen=True, slots=True)
class ListOperations:
    """Operations, newest first; active ones always before finished ones."""

    active: bool | None = None
    target_ref: str | None = None
    kind: str | None = None
    states: tuple[str, ...] = ()
    limit: int = 200
    steps: bool = True
    """Whether steps are wanted; a long list is lighter without."""


@dataclass(frozen=True, slots=True)
class ShowOperation:
    id: str


@dataclass(frozen=True, slots=True)
class CancelOperation:
    id: str


@dataclass(frozen=True, slots=True)
class RetryOperation:
    """Submit a failed or cancelled operation again, as a new one."""

    id: str
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class ScheduleRecord:
    """Something submitted by the clock."""

    name: str
    kind: str
    target_ref: str
    every_s: int
    next_at: datetime
    last_operation: str | None
    enabled: bool


@dataclass(frozen=True, slots=True)
class ListSchedules:
    limit: int = 500
