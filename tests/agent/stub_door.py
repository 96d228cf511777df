"""A door that stores what agents say, for tests: a Unix socket that can be shut, and can lose its answers."""

from __future__ import annotations

import json
import os
import socketserver
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 32


class StubDoor:
    """Speaks the agent protocol like the daemon, and remembers everything.

    Args:
        folder: where the socket lies.
        document: what the welcome carries.
    """

    def __init__(self, folder: Path, document: dict[str, Any], token: str = "secret-token") -> None:
        self.path = folder / "door.sock"
        self.document = document
        self.token = token
        self.heartbeat_s = 0.5
        self.hellos: list[dict[str, Any]] = []
        self.lines: dict[tuple[str, int], dict[str, Any]] = {}
        self.phases: dict[str, dict[str, Any]] = {}
        self.health: list[tuple[str, str]] = []
        self.facts: dict[str, Any] = {}
        self.disk_used: int | None = None
        self.dropped = 0
        self.results: dict[str, dict[str, Any]] = {}
        self.commands: dict[str, dict[str, Any]] = {}
        self.reports = 0
        self.others: dict[str, Callable[[dict[str, Any]], tuple[int, dict[str, Any]]]] = {}
        """What else is answered, by method."""
        self.answers_to_lose = 0
        """Reports stored from now on whose answer never arrives."""
        self._rung = threading.Condition()
        self._server: _Server | None = None

    @property
    def address(self) -> str:
        return f"unix:{self.path}"

    def open(self) -> None:
        door = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def address_string(self) -> str:
                return "agent"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if door._server is None:
                    self.close_connection = True  # shut meanwhile: a kept connection gets no answer either
                    return
                status, reply = door._answer(self.path, body)
                if status == 0:
                    self.close_connection = True
                    return
                data = json.dumps(reply).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments: object) -> None:
                pass

        self.path.unlink(missing_ok=True)
        # A long path is bound from its own folder, as the daemon does.
        handle = os.open(self.path.parent, os.O_RDONLY)
        try:
            self._server = _Server(f"/proc/self/fd/{handle}/{self.path.name}", Handler)
        finally:
            os.close(handle)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def shut(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            self.path.unlink(missing_ok=True)
            with self._rung:
                self._rung.notify_all()

    def command(self, verb: str, **arguments: Any) -> str:
        """Tell the agent something; gives the id to look for in ``results``."""
        with self._rung:
            name = f"c-{len(self.commands) + 1}"
            self.commands[name] = {"id": name, "verb": verb, "arguments": arguments}
            self._rung.notify_all()
        return name

    def texts(self, phase: str = "") -> list[str]:
        """Texts of all lines in the agent's order."""
        rows = [line for _, line in sorted(self.lines.items(), key=lambda item: (item[0][0], item[0][1]))]
        return [line["text"] for line in rows if not phase or line["phase"] == phase]

    def states(self) -> dict[str, str]:
        return {name: phase["state"] for name, phase in self.phases.items()}

    def failed(self) -> dict[str, str]:
        return {name: phase["error"] for name, phase in self.phases.items() if phase["state"] == "failed"}

    def _answer(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if path == "/v1/agent.hello":
            self.hellos.append(body)
            if body["token"] != self.token:
                return 401, {"error": {"code": "auth_failed", "message": "the token is not the one", "hint": "", "details": {}}}
            welcome = {"key": "k", "document": self.document, "heartbeat_s": self.heartbeat_s, "disk_use_s": 0.5}
            return 200, {"result": welcome}
        if (other := self.others.get(path.rpartition("/")[2])) is not None:
            assert body["key"] == "k"
            return other(body)
        return self._report(body)

    def _report(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if body["key"] != "k":
            return 401, {"error": {"code": "auth_failed", "message": "wrong key", "hint": "", "details": {}}}
        with self._rung:
            self._store(body)
            if body.get("lines") and self.answers_to_lose > 0:
                self.answers_to_lose -= 1
                return 0, {}
            deadline = time.monotonic() + body.get("wait_s", 0.0)
            while not self._open() and self._server is not None and time.monotonic() < deadline:
                self._rung.wait(deadline - time.monotonic())
            if self._server is None:
                return 0, {}
            of = body.get("lines_of") or body["boot"]
            seq = max((number for boot, number in self.lines if boot == of), default=0)
            return 200, {"result": {"seq": seq, "commands": self._open()}}

    def _open(self) -> list[dict[str, Any]]:
        return [command for name, command in self.commands.items() if name not in self.results]

    def _store(self, body: dict[str, Any]) -> None:
        self.reports += 1
        self.dropped += body.get("dropped", 0)
        for line in body.get("lines", ()):
            known = self.lines.setdefault((body.get("lines_of") or body["boot"], line["seq"]), line)
            assert known == line, "one number, two lines"
        if body.get("phases"):
            self.phases = {phase["name"]: phase for phase in body["phases"]}
        told = (body.get("health", ""), body.get("health_detail", ""))
        if told[0] and (not self.health or self.health[-1] != told):
            self.health.append(told)
        self.facts = body.get("facts") or self.facts
        if body.get("disk_used_bytes") is not None:
            self.disk_used = body["disk_used_bytes"]
        for result in body.get("results", ()):
            self.results[result["id"]] = result
