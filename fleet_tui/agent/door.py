"""The door to the control plane: HTTP/1.1 with JSON over a Unix socket."""

from __future__ import annotations

import glob
import http.client
import json
import os
import socket
from typing import Any, Mapping

from fleet_tui.agent.failures import DoorRefused, DoorUnreachable, Fatal

_SUN_PATH = 107
"""Bytes a Unix socket's path may have on Linux."""

ANSWER_S = 15.0
"""Longest silence of the door before a call is given up, on top of what it was asked to wait."""

_WORTH_A_RETRY = frozenset({"internal", "busy", "timeout", "unreachable", "interrupted", "read_only", "capacity"})
"""Refusals that say nothing about who we are."""


def connect(path: str, timeout: float, last: str = "") -> tuple[socket.socket, str]:
    """A connected Unix socket, however long its path is, and where it is. A pattern (``fleetd*.sock``) stands for whichever daemon answers.

    Args:
        last: the one to try after all others: a daemon that is frozen takes connections and answers none.
    """
    failure: OSError = FileNotFoundError(f"no socket {path}")
    for candidate in sorted(glob.glob(path), key=lambda found: (found == last, found)) if "*" in path else [path]:
        try:
            return _connect(candidate, timeout), candidate
        except OSError as error:
            failure = error
    raise failure


def _connect(path: str, timeout: float) -> socket.socket:
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        link.settimeout(timeout)
        if len(os.fsencode(path)) <= _SUN_PATH:
            link.connect(path)
            return link
        folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY)
        try:
            link.connect(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
        finally:
            os.close(folder)
    except BaseException:
        link.close()
        raise
    return link


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float, last: str) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path, self._last = path, last
        self.reached = ""
        """The socket that took the connection."""

    def connect(self) -> None:
        self.sock, self.reached = connect(self._path, float(self.timeout or 10.0), self._last)


class Door:
    """One thread's way to the door; the connection is kept and made anew when it breaks.

    Args:
        address: ``unix:/path/of/socket``; a ``*`` in its name stands for any of several daemons.
        machine: sent along, so that the daemon's own log can name the caller.
    """

    def __init__(self, address: str, machine: str) -> None:
        if not address.startswith("unix:/"):
            raise Fatal(f"this agent cannot call at {address!r}: it knows unix:/path only")
        self._path = address[len("unix:") :]
        self._machine = machine
        self._connection: _UnixConnection | None = None
        self._silent = ""
        """The daemon that answered nothing when it was asked last."""

    def call(self, method: str, request: Mapping[str, Any], wait_s: float = 0.0) -> dict[str, Any]:
        """Ask and wait for the reply.

        Args:
            wait_s: seconds the door may hold the reply.

        Raises:
            DoorUnreachable: no answer, or one that is worth asking again.
            DoorRefused: a refusal that will not go away by itself.
        """
        body = json.dumps(request, ensure_ascii=False).encode("utf-8", "backslashreplace")
        try:
            status, answer = self._exchange(method, body, ANSWER_S + wait_s)
        except (OSError, http.client.HTTPException) as error:
            self._silent = self._connection.reached if self._connection is not None else ""
            self.close()
            raise DoorUnreachable(f"{self._path}: {error or type(error).__name__}") from error
        try:
            reply = json.loads(answer.decode("utf-8"))
        except ValueError:
            reply = None
        if status == 200 and isinstance(reply, dict):
            result = reply.get("result", reply)
            return result if isinstance(result, dict) else {}
        raise self._refusal(status, reply)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _exchange(self, method: str, body: bytes, timeout: float) -> tuple[int, bytes]:
        fresh = self._connection is None
        try:
            return self._once(method, body, timeout)
        except (ConnectionError, http.client.BadStatusLine):
            # A kept connection the daemon closed meanwhile; every call may be repeated, so ask once more.
            self.close()
            if fresh:
                raise
            return self._once(method, body, timeout)

    def _once(self, method: str, body: bytes, timeout: float) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = _UnixConnection(self._path, timeout, self._silent)
        self._connection.timeout = timeout
        if self._connection.sock is not None:
            self._connection.sock.settimeout(timeout)
        headers = {"Content-Type": "application/json", "Fleet-Agent": self._machine}
        self._connection.request("POST", f"/v1/{method}", body, headers)
        response = self._connection.getresponse()
        return response.status, response.read()

    @staticmethod
    def _refusal(status: int, reply: Any) -> Exception:
        error = reply.get("error") if isinstance(reply, dict) else None
        error = error if isinstance(error, dict) else {}
        code, message = str(error.get("code", "")), str(error.get("message", ""))
        words = message or f"HTTP status {status}"
        if status >= 500 or not 400 <= status < 500 or code in _WORTH_A_RETRY:
            return DoorUnreachable(words)
        hint = str(error.get("hint", ""))
        return DoorRefused(code or f"http_{status}", f"{words} {hint}".strip())
