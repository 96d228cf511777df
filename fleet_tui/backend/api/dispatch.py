"""From a call to its reply: who calls, may they, is it recorded, then do it.

The order matters and is the same for every method: known method, known caller, valid body, role, read-only session, audit
record, handler, completing record. Nothing here knows about HTTP; everything here blocks and runs in a thread.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields, replace
from types import SimpleNamespace
from typing import Any

from fleet_tui.backend.api import METHODS, method_of_kind
from fleet_tui.backend.api.method import Method
from fleet_tui.backend.api.requests import object_of, parameters_of, parse
from fleet_tui.backend.api.wire import dump
from fleet_tui.backend.errors import FleetError, InternalError, InvalidInput, NotFound, PermissionDenied, Problem, ReadOnly, Unreachable
from fleet_tui.backend.identity import OWNING, Permission, Role
from fleet_tui.backend.identity.audit import Audit
from fleet_tui.backend.identity.caller import AGENT, Caller, Peer
from fleet_tui.backend.identity.permissions import CHANGES, ROLES, allows
from fleet_tui.backend.identity.users import Users
from fleet_tui.backend.operations import AWAITED, RetryOperation
from fleet_tui.backend.store import database_lost

Handler = Callable[[Caller, Any], Any]
"""Does what a method says. Blocks; raises :class:`FleetError` kinds."""

LONGEST_WAIT_S = 60.0
"""Most seconds a reader may ask to be held."""
_LOG_INS = frozenset({"session.open", "session.make_read_only"})
"""Reads that are recorded all the same."""
_QUIET_S = 60.0
"""An unknown uid that keeps knocking is recorded once in so many seconds."""

log = logging.getLogger("fleetd.door")


class Dispatcher:
    """The door itself.

    Args:
        handlers: one for each method of the table that is no stream.
        users: tells who is calling.
        audit: records before and after; a call that cannot be recorded is refused.
        owners: users that own a VM, by its name or id; nobody where there is none.
        asked: kind and stored request of an operation, by its id; ``None`` where there is none.
    """

    def __init__(
        self, handlers: Mapping[str, Handler], users: Users, audit: Audit, owners: Callable[[str], Collection[str]] = lambda target: (),
        asked: Callable[[str], tuple[str, Mapping[str, Any]] | None] = lambda operation: None,
    ) -> None:
        unknown = sorted(set(handlers) - set(METHODS))
        if unknown:
            raise ValueError(f"no such methods: {', '.join(unknown)}")
        self._handlers = dict(handlers)
        self._users = users
        self._audit = audit
        self._owners = owners
        self._asked = asked
        self._knocked: dict[int, float] = {}
        self._lock = threading.Lock()

    def call(self, peer: Peer, name: str, body: bytes) -> Any:
        """Run one method and return its reply record. Raises :class:`FleetError` kinds only."""
        return self.guarded(lambda: self.run(*self.admit(peer, name, body)), name)

    def admit(self, peer: Peer, name: str, body: bytes) -> tuple[Method, Caller, Any]:
        """Everything that can be refused before anything is done. A refused change is on record when this raises."""
        method = METHODS.get(name)
        if method is None:
            raise NotFound(f"there is no method {name[:100]!r}", hint="fleet and fleetd may be of different versions")
        if method.permission is Permission.AGENT:
            return method, AGENT, _bounded(parse(method, body))
        caller = self._identify(peer, method)
        request: Any = None
        try:
            request = _bounded(parse(method, body))
        except FleetError as refusal:
            if (denial := self._denial(method, caller)) is None:
                raise
            self._deny(caller, method, None, denial[0])
            raise denial[1] from refusal
        if (denial := self._denial(method, caller, request)) is not None:
            self._deny(caller, method, request, denial[0])
            raise denial[1]
        return method, caller, request

    def recheck(self, peer: Peer, method: Method, request: Any = None) -> Caller:
        """Whether a reader that has been here for long may still read, as of now."""
        caller = self._identify(peer, method)
        if (denial := self._denial(method, caller, request)) is not None:
            raise denial[1]
        return caller

    def run(self, method: Method, caller: Caller, request: Any) -> Any:
        """Call the handler of an admitted request, between its two audit records."""
        handler = self._handlers.get(method.name)
        if handler is None:
            raise NotFound(f"this daemon does not do {method.name}", hint="fleet and fleetd may be of different versions")
        if not _is_recorded(method, request):
            return handler(caller, request)
        seq = self._begin(caller, method, request)
        try:
            if isinstance(request, RetryOperation):
                self._rehearse(caller, request)
            reply = handler(caller, request)
        except FleetError as refusal:
            self._complete(caller, method, request, seq, f"{refusal.code}: {refusal.message}", None)
            raise
        except BaseException:
            self._complete(caller, method, request, seq, "internal", None)
            raise
        self._complete(caller, method, request, seq, "ok", _operation_id(reply))
        return reply

    def _rehearse(self, caller: Caller, request: RetryOperation) -> None:
        """What looks at a request more closely than the table can looks at its retry too: as at a dry run, of which a denial alone counts here."""
        kind, stored = self._asked(request.id) or ("", {})
        method, handler = METHODS.get(kind), self._handlers.get(kind)
        if method is None or handler is None:
            return
        known = {field.name for field in fields(method.request)}
        try:
            handler(caller, parse(method, dump({**{name: value for name, value in stored.items() if name in known}, "dry_run": True})))
        except PermissionDenied:
            raise
        except FleetError:
            return  # the retry says what is the matter, in its own order

    def guarded(self, work: Callable[[], Any], name: str) -> Any:
        """Run ``work``; a bug in it becomes a reference for the caller and a trace in the log. A database that is away is no bug."""
        try:
            return work()
        except FleetError:
            raise
        except Exception as problem:
            if database_lost(problem):
                log.warning("%s: the database cannot work (%s)", name[:100], getattr(problem, "orig", problem))
                raise Unreachable(
                    f"the database gave no answer to {name[:100]}", hint="try again; `fleet daemon logs` says what is the matter with it"
                ) from None
            reference = f"e-{secrets.token_hex(4)}"
            log.exception("%s failed, reference %s", name[:100], reference)
            raise InternalError(
                f"something went wrong inside fleetd (reference {reference})",
                hint="`fleet daemon logs` shows the details under that reference",
                reference=reference,
            ) from None

    def _identify(self, peer: Peer, method: Method) -> Caller:
        try:
            return self._users.identify(peer)
        except PermissionDenied as refusal:
            if self._is_new_knock(peer.uid):
                stranger = Caller(user=f"uid:{peer.uid}", role=Role.MONITOR, uid=peer.uid, source=peer.source)
                self._deny(stranger, method, None, refusal.message)
            raise

    def _denial(self, method: Method, caller: Caller, request: Any = None) -> tuple[str, FleetError] | None:
        """The rule that refuses this caller this method, and how it is said; ``None`` when nothing does."""
        needed = self._needed(method, request)
        for permission, deed in needed.items():
            if not allows(caller.role, permission) and not (permission is method.permission and self._owns(method, caller, request)):
                able = ", ".join(sorted(role.value for role in ROLES if allows(role, permission)))
                return f"role {caller.role.value} has no {permission.value}", PermissionDenied(
                    f"{caller.user} is {caller.role.value} here and may not call {deed}",
                    hint=f"it takes one of the roles {able}{', or to own it' if method.own else ''}", role=caller.role.value, needed=permission.value,
                )
        if caller.read_only and _changes(method, request):
            return "read-only session", ReadOnly(
                f"this session is read-only, {method.name} was refused", hint="to leave read-only mode, start a new session without it"
            )
        return None

    def _needed(self, method: Method, request: Any) -> dict[Permission, str]:
        """Every permission that a call takes, and what it is for: its method's, those of fields that are set, and all that is retried takes."""
        needed = {method.permission: method.name}
        needed.update({permission: f"{method.name} with {name}" for name, permission in method.also.items() if _is_set(request, name)})
        if isinstance(request, RetryOperation) and (asked := self._asked(request.id)) is not None:
            kind, stored = asked
            again = self._needed(method_of_kind(kind), SimpleNamespace(**stored))
            needed.update({permission: f"{method.name} of {deed}" for permission, deed in again.items() if permission not in needed})
        return needed

    def _owns(self, method: Method, caller: Caller, request: Any) -> bool:
        """USR-4: rights on that object only."""
        target = str(getattr(request, method.own, "")) if method.own else ""
        return bool(target) and caller.role in OWNING and caller.user in self._owners(target)

    def _is_new_knock(self, uid: int) -> bool:
        now = time.monotonic()
        with self._lock:
            if now - self._knocked.get(uid, -_QUIET_S) < _QUIET_S:
                return False
            self._knocked[uid] = now
            return True

    def _deny(self, caller: Caller, method: Method, request: Any, rule: str) -> None:
        parameters = {} if request is None else parameters_of(request)
        self._audit.record(caller, method.name, object_of(request), parameters, f"denied: {rule}", result="denied")

    def _begin(self, caller: Caller, method: Method, request: Any) -> int:
        try:
            return self._audit.record(caller, method.name, object_of(request), parameters_of(request), "allowed")
        except Exception as problem:
            if database_lost(problem):
                log.warning("the audit record of %s could not be written (%s)", method.name, getattr(problem, "orig", problem))
            else:
                log.exception("the audit record of %s could not be written", method.name)
            raise (ReadOnly if database_lost(problem) else InternalError)(
                f"{method.name} was refused: its audit record could not be written, and nothing is changed without one",
                hint="see `fleet daemon logs`; usually the disk of the database is full",
            ) from problem

    def _complete(self, caller: Caller, method: Method, request: Any, seq: int, result: str, operation_id: str | None) -> None:
        """The deed is done: a record that cannot be completed is a matter for the log, not for the caller.

        A second try on another connection, since the first may have been cut under a daemon that stood still for a while.
        """
        for last in (False, True):
            try:
                self._audit.record(
                    caller, method.name, object_of(request), {}, "outcome", result=result, operation_id=operation_id, completes=seq
                )
                return
            except Exception as problem:
                if last or not database_lost(problem):
                    log.exception("audit record %s of %s could not be completed: %s", seq, method.name, result)
                    return


def _is_set(request: Any, name: str) -> bool:
    """Whether a field that asks for more rights was given: a number is, even 0."""
    value = getattr(request, name, None)
    return value is not None and value is not False and value != ""


def _changes(method: Method, request: Any) -> bool:
    """Whether a call acts: what reads does where a field asks for the right to, such as a certificate that is to be tested."""
    return not method.read or any(permission in CHANGES and _is_set(request, name) for name, permission in method.also.items())


def _is_recorded(method: Method, request: Any) -> bool:
    """Changes are, except dry runs, which change nothing; so are log-ins. What agents say has its own log."""
    if method.permission is Permission.AGENT:
        return False
    if not _changes(method, request):
        return method.name in _LOG_INS
    return not getattr(request, "dry_run", False)


def _operation_id(reply: Any) -> str | None:
    operation = getattr(reply, "operation", None)
    found = getattr(operation, "id", None)
    return found if isinstance(found, str) else None


def _bounded(request: Any) -> Any:
    """No reader is held longer than the door allows; a wait that is no number is no wait. No caller's request passes the fleet's limit by its name.

    Raises:
        InvalidInput: a request id that only the daemon itself gives.
    """
    if str(getattr(request, "request_id", "")).startswith(AWAITED):
        raise InvalidInput("the request was refused", problems=[Problem("request_id", f"must not begin with {AWAITED!r}")])
    wait_s = getattr(request, "wait_s", 0.0)
    if not wait_s:
        return request
    return replace(request, wait_s=min(wait_s, LONGEST_WAIT_S) if wait_s > 0 else 0.0)
