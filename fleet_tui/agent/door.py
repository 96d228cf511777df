"""The door to the control plane: HTTP/1.1 with JSON, over a Unix socket on the daemon's own machine, over TCP with TLS from elsewhere."""

from __future__ import annotations

import glob
import http.client
import json
import os
import socket
import ssl
from typing import Any, List, Mapping, Tuple, Union
from urllib.parse import urlsplit

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


class _TlsConnection(http.client.HTTPConnection):
    """To the first of several daemons that takes it and shows a certificate of our fleet."""

    def __init__(self, places: List[Tuple[str, int]], timeout: float, last: str, context: ssl.SSLContext) -> None:
        super().__init__(places[0][0], places[0][1], timeout=timeout)
        self._places = sorted(places, key=lambda place: _told(place) == last)
        self._context = context
        self.reached = ""

    def connect(self) -> None:
        failure: OSError = ConnectionError("there is nowhere to call")
        for place in self._places:
            try:
                self.sock = self._shake(place)
            except ssl.SSLCertVerificationError as error:
                failure = ConnectionError(f"{_told(place)} shows no certificate of this fleet ({error.verify_message or error}); nothing was sent")
            except OSError as error:
                failure = error
            else:
                self.host, self.port, self.reached = place[0], place[1], _told(place)
                return
        raise failure

    def _shake(self, place: Tuple[str, int]) -> ssl.SSLSocket:
        link = socket.create_connection(place, float(self.timeout or 10.0))
        try:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return self._context.wrap_socket(link, server_hostname=place[0])
        except BaseException:
            link.close()
            raise


class Door:
    """One thread's way to the door; the connection is kept and made anew when it breaks.

    Args:
        address: ``unix:/path/of/socket``, where a ``*`` in its name stands for any of several daemons; or ``https://host:port``, where
            several, with spaces between them, are tried in turn.
        machine: sent along, so that the daemon's own log can name the caller.
        ca_pem: the fleet's authority; over TCP nobody else's certificate is believed.
    """

    def __init__(self, address: str, machine: str, ca_pem: str = "") -> None:
        self._machine = machine
        self._connection: Union[_UnixConnection, _TlsConnection, None] = None
        self._silent = ""
        """The daemon that answered nothing when it was asked last."""
        self._path = address[len("unix:") :] if address.startswith("unix:/") else ""
        self._places = [] if self._path else _places(address)
        self._context = None if self._path else _pinned(ca_pem)

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
            raise DoorUnreachable(f"{self._path or ' '.join(map(_told, self._places))}: {error or type(error).__name__}") from error
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
            self._connection = self._way(timeout)
        self._connection.timeout = timeout
        if self._connection.sock is not None:
            self._connection.sock.settimeout(timeout)
        headers = {"Content-Type": "application/json", "Fleet-Agent": self._machine}
        self._connection.request("POST", f"/v1/{method}", body, headers)
        response = self._connection.getresponse()
        return response.status, response.read()

    def _way(self, timeout: float) -> Union[_UnixConnection, _TlsConnection]:
        if self._context is None:
            return _UnixConnection(self._path, timeout, self._silent)
        return _TlsConnection(self._places, timeout, self._silent, self._context)

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


def _places(address: str) -> List[Tuple[str, int]]:
    """Host and port of each place named.

    Raises:
        Fatal: it names none, or one that is no ``https://host:port``.
    """
    found = []
    for one in address.split():
        try:
            parts = urlsplit(one)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme != "https" or not parts.hostname or not port or parts.path.strip("/") or parts.query or parts.username is not None:
            raise Fatal(f"this agent cannot call at {one!r}: it knows unix:/path and https://host:port")
        found.append((parts.hostname, port))
    if not found:
        raise Fatal(f"this agent cannot call at {address!r}: it knows unix:/path and https://host:port")
    return found


def _pinned(ca_pem: str) -> ssl.SSLContext:
    """Believes certificates of one authority only; that the name fits is checked too.

    Raises:
        Fatal: there is no authority to believe, or it is none.
    """
    if not ca_pem:
        raise Fatal("this agent was given no certificate of the fleet's authority, and calls nobody over the network without it")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cadata=ca_pem)
    except (ssl.SSLError, ValueError) as error:
        raise Fatal(f"the certificate of the fleet's authority cannot be read: {error}") from error
    return context


def _told(place: Tuple[str, int]) -> str:
    host, port = place
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
