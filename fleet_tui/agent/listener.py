"""Plain HTTP beside the application: answers the challenges of an ACME directory (RFC 8555 8.3), and sends visitors on to HTTPS."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Dict, Optional

if TYPE_CHECKING:
    from fleet_tui.agent.machine import Machine

_CHALLENGE = "/.well-known/acme-challenge/"
_TARGET = re.compile(r"/[\x21-\x7e]*\Z")
_ANSWER_S = 10.0


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
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 32

    def __init__(self, place: tuple[str, int], listener: Listener) -> None:
        self.listener = listener
        super().__init__(place, _Visit)

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        connection, address = super().get_request()
        connection.settimeout(_ANSWER_S)
        return connection, address

    def handle_error(self, request: object, client_address: object) -> None:
        """A visitor that breaks off is no news."""


class _Visit(BaseHTTPRequestHandler):
    server: _Server
    server_version, sys_version = "fleet", ""

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
