"""The one tree of errors (spec 3.5): what was refused, to what, why, and what to do next.

    FleetError
      InvalidInput      3   NotFound       4   PermissionDenied  5   WrongState   6
      Busy              7   NoCapacity     8   Unreachable       9   AuthFailed  10
      TimedOut         11   Partial       12   ReadOnly         13   ConfirmationRequired 14
      Interrupted      15   InUse         16   UsageError        2   InternalError 1

``code`` travels on the wire, ``exit_code`` is what a command ends with; both are fixed by the spec.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from fleet_tui.backend.records import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with one field of a request."""

    field: str
    message: str


class FleetError(Exception):
    """Anything the product refuses or fails to do, in words a person can act on.

    Args:
        message: what was refused and why, one or two sentences, no stack trace.
        hint: what to do next; may be empty.
        details: JSON-able facts for programs (states, holders, per-target tables).
    """

    code: ClassVar[str] = "internal"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "", **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: dict[str, Any] = details

    def as_json(self) -> dict[str, Any]:
        return {"code": self.code, "message": self.message, "hint": self.hint, "details": self.details}


class InternalError(FleetError):
    """A bug. Carries a reference; the trace is only in the daemon's log."""


class UsageError(FleetError):
    """The command line was wrong."""

    code, exit_code = "usage", 2


class InvalidInput(FleetError):
    """One or more fields fail validation; every problem is reported at once."""

    code, exit_code = "invalid_input", 3

    def __init__(self, message: str, *, problems: Sequence[Problem] = (), hint: str = "", **details: Any) -> None:
        super().__init__(message, hint=hint, **details)
        self.problems = tuple(problems)
        if self.problems:
            self.details["problems"] = [{"field": p.field, "message": p.message} for p in self.problems]


class NotFound(FleetError):
    """The object does not exist, or the caller may not know that it does."""

    code, exit_code = "not_found", 4


class PermissionDenied(FleetError):
    """Role, method or ownership refuses."""

    code, exit_code = "permission_denied", 5


class WrongState(FleetError):
    """The state machine refuses; details carry ``state`` and ``allowed``."""

    code, exit_code = "wrong_state", 6


class Busy(FleetError):
    """Something else holds it; details carry ``holders``."""

    code, exit_code = "busy", 7


class NoCapacity(FleetError):
    """Does not fit now, or never can."""

    code, exit_code = "capacity", 8


class Unreachable(FleetError):
    """No route, refused, or not listening."""

    code, exit_code = "unreachable", 9


class AuthFailed(FleetError):
    """The far end refused our credentials."""

    code, exit_code = "auth_failed", 10


class TimedOut(FleetError):
    """The far end did not answer in time."""

    code, exit_code = "timeout", 11


class Partial(FleetError):
    """Several targets, some failed; details carry the per-target table."""

    code, exit_code = "partial", 12


class ReadOnly(FleetError):
    """This session, or the whole control plane, is read-only."""

    code, exit_code = "read_only", 13


class ConfirmationRequired(FleetError):
    """A disruptive or destructive request came without its confirmation."""

    code, exit_code = "confirmation_required", 14


class Interrupted(FleetError):
    """The control plane died in a step that cannot be repeated."""

    code, exit_code = "interrupted", 15


class InUse(FleetError):
    """Something still uses the object; details carry ``users``."""

    code, exit_code = "in_use", 16


def _tree(root: type[FleetError]) -> list[type[FleetError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in _tree(child))]


BY_CODE: Mapping[str, type[FleetError]] = {kind.code: kind for kind in reversed(_tree(FleetError)[1:])}
"""Error class for each code on the wire."""


def from_json(data: Mapping[str, Any]) -> FleetError:
    """The error a reply carries, as the exception it was on the other side."""
    kind = BY_CODE.get(str(data.get("code")), InternalError)
    details = dict(data.get("details") or {})
    message, hint = str(data.get("message", "")), str(data.get("hint", ""))
    if kind is InvalidInput:
        problems = [Problem(str(p["field"]), str(p["message"])) for p in details.pop("problems", [])]
        return InvalidInput(message, problems=problems, hint=hint, **details)
    return kind(message, hint=hint, **details)
