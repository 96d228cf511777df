"""Plain HTTP beside the application: answers the challenges of an ACME directory (RFC 8555 8.3), and sends visitors on to HTTPS."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, BinaryIO, Dict, Optional, Tuple

if TYPE_CHECKING:
    from fleet_tui.agent.machine import Machine

_CHALLENGE = "/.well-known/acme-challenge/"
_TARGET = re.compile(r"/[\x21-\x7e]*\Z")
_ANSWER_S = 10.0
"""What a visitor gets for all of its request, however it comes in pieces."""
MOST_VISITORS = 64
"""At once. Whoever asks is answered within moments, so a longer list is of those who only hold a place."""
_LONGEST_REQUEST = 16 * 1024
"""Bytes of it that are read; what we look at stands at its beginning."""


class Listener:
    """One port. It is open while there is a challenge to answer or visitors are to be sent on."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._lock = threading.Lock()
        self._server: Optional[_Server] = None
        self.challenges: Dict[str, str] = {}
        """Token -> what proves that we hold the account's key."""
        self.redirects = False

    @property
    def port(self) -> int:
        return int(self._machine.section("http").get("port") or 80)

    def open(self) -> None:
        """Raises OSError: the port cannot be had."""
        with self._lock:
            if self._server is None:
                private = str(self._machine.section("addresses").get("private_ip") or "127.0.0.1")
                self._server = _Server(("127.0.0.1" if private.startswith("127.") else "", self.port), self)
                threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, name="http", daemon=True).start()

    def close_if_idle(self) -> None:
        if not self.redirects and not self.challenges:
            self.close()

    def close(self) -> None:
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def target(self, host: str, path: str) -> str:
        """Where a visitor is sent: the same name if it is one of ours, for a redirect to anywhere else would serve whoever wrote the link."""
        name = host.rpartition(":")[0] if re.search(r":\d+\Z", host) else host
        machine = self._machine
        known = {str(word).lower() for word in (*(machine.section("certificate").get("names") or ()), *machine.section("addresses").values()) if word}
        port = "" if machine.port == 443 else f":{machine.port}"
        begin = f"https://{name}{port}" if name.lower() in known else machine.url.rstrip("/")
        return begin + (path if _TARGET.match(path) else "/")


class _Server(ThreadingHTTPServer):
    """Anybody may come, and the agent has more to do than to listen to them: they are few at a time, and none stays long."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 256

    def __init__(self, place: tuple[str, int], listener: Listener) -> None:
        self.listener = listener
        self._room = threading.Condition()
        self._visitors: Dict[socket.socket, Tuple[str, float]] = {}
        """Who is here, the longest first, from where and until when."""
        super().__init__(place, _Visit)

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        try:
            connection, address = super().get_request()
        except OSError:
            time.sleep(0.2)  # no descriptors left: asking in a circle would take what time the others have
            raise
        connection.settimeout(_ANSWER_S)
        return connection, address

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._room:
            if not self._has_room():
                self._hang_up_on_one()
            if has_room := self._room.wait_for(self._has_room, 1.0):
                self._visitors[request] = (str(client_address[0]), time.monotonic() + _ANSWER_S)
        if has_room:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        with self._room:
            self._visitors.pop(request, None)
            super().shutdown_request(request)
            self._room.notify()

    def service_actions(self) -> None:
        """Called between visitors, and five times a second when there are none."""
        now = time.monotonic()
        with self._room:
            for visitor, (_, until) in self._visitors.items():
                if until <= now:
                    _hang_up(visitor)

    def server_close(self) -> None:
        super().server_close()
        with self._room:
            for visitor in self._visitors:
                _hang_up(visitor)

    def handle_error(self, request: object, client_address: object) -> None:
        """A visitor that breaks off is no news."""

    def _has_room(self) -> bool:
        return len(self._visitors) < MOST_VISITORS

    def _hang_up_on_one(self) -> None:
        """On the longest of the address with most: one that takes all places loses its own, and others are answered."""
        fullest = Counter(address for address, _ in self._visitors.values()).most_common(1)[0][0]
        _hang_up(next(visitor for visitor, (address, _) in self._visitors.items() if address == fullest))


def _hang_up(visitor: socket.socket) -> None:
    """Its thread reads an end, and clears away."""
    with contextlib.suppress(OSError):
        visitor.shutdown(socket.SHUT_RDWR)


class _Beginning:
    """The first bytes of a request; behind them it ends."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._left = file, _LONGEST_REQUEST

    def readline(self, size: int) -> bytes:
        line = self._file.readline(min(size, self._left))
        self._left -= len(line)
        return line

    def close(self) -> None:
        self._file.close()


class _Visit(BaseHTTPRequestHandler):
    server: _Server
    server_version, sys_version = "fleet", ""

    def setup(self) -> None:
        super().setup()
        self.rfile: Any = _Beginning(self.rfile)

    def do_GET(self) -> None:
        listener = self.server.listener
        if self.path.startswith(_CHALLENGE):
            proof = listener.challenges.get(self.path[len(_CHALLENGE) :])
            self._answer(404 if proof is None else 200, proof or "there is no such challenge\n")
        elif listener.redirects:
            self._answer(301 if self.command in ("GET", "HEAD") else 308, "", listener.target(self.headers.get("Host") or "", self.path))
        else:
            self._answer(404, "this address answers HTTPS only\n")

    do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_GET

    def _answer(self, status: int, text: str, location: str = "") -> None:
        body = text.encode("ascii", "replace")
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Type", "application/octet-stream" if status == 200 else "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """The application keeps its own log."""
