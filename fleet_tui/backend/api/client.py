"""The caller's side of the door: what the console and the command line use. Standard library only."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleet_tui.backend.api import METHODS, method_of
from fleet_tui.backend.api.connection import Broken, Connection
from fleet_tui.backend.api.method import Method
from fleet_tui.backend.api.wire import decoder, dump
from fleet_tui.backend.errors import AuthFailed, FleetError, InternalError, TimedOut, Unreachable, from_json
from fleet_tui.backend.identity import MakeReadOnly, OpenSession, SessionRecord

if TYPE_CHECKING:
    from fleet_tui.backend.api.relay import Relay

TIMEOUT_S = 30.0
"""Longest silence of the daemon before a call is given up, on top of what the request itself asks to wait."""


class Client:
    """Calls methods of one daemon. May be used from any number of threads; each keeps a connection of its own.

    Args:
        path: the daemon's socket.
        read_only: ask for a session (or calls) that can change nothing.
        with_session: open a session at the first call; without, each call stands alone.
    """

    def __init__(self, path: Path, *, read_only: bool = False, with_session: bool = True, client: str = "fleet") -> None:
        self.path = path
        self._with_session = with_session
        self._read_only = read_only
        self._client = client
        self._session: SessionRecord | None = None
        self._lock = threading.Lock()
        self._local = threading.local()

    @property
    def read_only(self) -> bool:
        return self._read_only

    @property
    def record(self) -> SessionRecord:
        """This client's session, opened now if it is not yet."""
        with self._lock:
            if self._session is None:
                self._session = self._open()
            return self._session

    def call(self, request: Any) -> Any:
        """The reply to ``request``. Raises the daemon's :class:`FleetError`, :class:`Unreachable` or :class:`TimedOut`."""
        method = method_of(request)
        reply: Any = self._in_session(lambda: self._call(method, request, self._session_id()))
        if isinstance(request, MakeReadOnly):
            self._keep(reply)
        return reply

    def stream(self, name: str, request: Any) -> Iterator[Any]:
        """Replies of a stream method as they come, until the daemon ends it or the iterator is closed."""
        method = METHODS[name]
        connection, lines = self._in_session(lambda: self._open_stream(method, request, self._session_id()))
        decode = decoder(method.reply)
        try:
            for line in lines:
                if line:
                    found = json.loads(line)
                    if "error" in found:
                        raise from_json(found["error"])
                    yield decode(found)
        except TimeoutError as problem:
            raise self._timed_out(method) from problem
        except Broken as problem:
            raise self._lost(method) from problem
        finally:
            connection.close()

    def console(self, target: str) -> Relay:
        """A VM's serial console, bytes both ways. Close it when done. Raises like :meth:`call`."""
        from fleet_tui.backend.api.relay import Relay
        from fleet_tui.backend.machines import OpenConsole  # a console that shows no VMs does not load them

        method = METHODS["vms.console"]
        ticket = self.call(OpenConsole(target))
        try:
            relay = Relay(self.path, ticket.path, {**self._headers(self._session_id()), "Fleet-Ticket": ticket.token}, TIMEOUT_S)
        except TimeoutError as problem:
            raise self._timed_out(method) from problem
        except (Broken, OSError) as problem:
            raise self._lost(method) from problem
        if relay.status != 200:
            try:
                raise _refusal(relay.status, relay.refusal())
            finally:
                relay.close()
        return relay

    def close(self) -> None:
        """Close this thread's connection."""
        if (connection := getattr(self._local, "connection", None)) is not None:
            self._local.connection = None
            connection.close()

    def _in_session(self, work: Callable[[], Any]) -> Any:
        """Do ``work``; once more in a new session when the daemon does not know ours."""
        used = self._session
        try:
            return work()
        except AuthFailed as refusal:
            if refusal.details.get("session") != "unknown":
                raise
        with self._lock:
            if self._session is used or self._session is None:
                self._session = self._open()
        return work()

    def _session_id(self) -> str:
        return self.record.id if self._with_session else ""

    def _open(self) -> SessionRecord:
        request = OpenSession(read_only=self._read_only, terminal=_terminal(), client=self._client)
        record: SessionRecord = self._call(METHODS["session.open"], request, "")
        return record

    def _keep(self, record: SessionRecord) -> None:
        """Once read-only, always: a session opened again after the daemon forgot this one is read-only too."""
        with self._lock:
            self._session = record
            self._read_only = record.read_only

    def _call(self, method: Method, request: Any, session: str) -> Any:
        """A call that may be repeated is sent again when an idle connection turns out to have been closed."""
        body = dump(request)
        timeout_s = TIMEOUT_S + float(getattr(request, "wait_s", 0.0) or 0.0)
        repeatable = method.read or bool(getattr(request, "request_id", ""))
        for last in (False, True):
            connection, is_new = self._connection()
            try:
                status, data = connection.post(f"/v1/{method.name}", self._headers(session), body, timeout_s)
                return _read(method, status, data)
            except TimeoutError as problem:
                self.close()
                raise self._timed_out(method) from problem
            except Broken as problem:
                self.close()
                if last or is_new or problem.begun or not repeatable:
                    raise self._lost(method) from problem
        raise self._lost(method)

    def _open_stream(self, method: Method, request: Any, session: str) -> tuple[Connection, Iterator[bytes]]:
        connection = self._connect()
        try:
            status, lines = connection.stream(f"/v1/{method.name}", self._headers(session), dump(request), TIMEOUT_S)
            if status != 200:
                raise _refusal(status, b"".join(lines))
        except TimeoutError as problem:
            connection.close()
            raise self._timed_out(method) from problem
        except Broken as problem:
            connection.close()
            raise self._lost(method) from problem
        except BaseException:
            connection.close()
            raise
        return connection, lines

    def _headers(self, session: str) -> dict[str, str]:
        return {"Fleet-Session": session, "Fleet-Read-Only": "1" if self._read_only else ""}

    def _connection(self) -> tuple[Connection, bool]:
        kept: Connection | None = getattr(self._local, "connection", None)
        if kept is not None and not kept.is_stale():
            return kept, False
        self.close()
        self._local.connection = self._connect()
        return self._local.connection, True

    def _connect(self) -> Connection:
        try:
            return Connection(self.path)
        except PermissionError as problem:
            raise Unreachable(
                f"the socket {self.path} may not be used by this user", hint="ask the site's root-admin for access", path=str(self.path)
            ) from problem
        except OSError as problem:
            raise Unreachable(
                f"no fleetd answers at {self.path}", hint="`fleet daemon start` starts it, `fleet daemon logs` shows its last words",
                path=str(self.path),
            ) from problem

    def _timed_out(self, method: Method) -> TimedOut:
        return TimedOut(f"fleetd did not answer {method.name} in time", hint="`fleet daemon status` shows whether it is well")

    def _lost(self, method: Method) -> Unreachable:
        hint = "try again" if method.read else "whether it was done is unknown: look before trying again"
        return Unreachable(f"fleetd went away while it worked on {method.name}", hint=hint, path=str(self.path))


def _read(method: Method, status: int, data: bytes) -> Any:
    if status != 200:
        raise _refusal(status, data)
    try:
        result = json.loads(data)["result"]
    except (ValueError, KeyError, TypeError) as problem:
        raise InternalError(f"the answer to {method.name} cannot be read") from problem
    return decoder(method.reply)(result)


def _refusal(status: int, data: bytes) -> FleetError:
    try:
        return from_json(json.loads(data)["error"])
    except (ValueError, KeyError, TypeError):
        return InternalError(f"the other end of the socket is no fleetd: it answered {status}")


def _terminal() -> str:
    try:
        return os.ttyname(0)
    except OSError:
        return ""
