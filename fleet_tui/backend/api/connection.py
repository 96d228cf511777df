"""One HTTP/1.1 connection over a Unix socket: just what the door needs, in a fraction of ``http.client``'s import time."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn

from fleet_tui.backend.api.sockets import connect

_CONNECT_S = 5.0
_LONGEST_LINE = 65_536


class Broken(Exception):
    """The connection ended in the middle. ``begun`` tells whether any byte of the reply had come."""

    def __init__(self, reason: str, begun: bool) -> None:
        super().__init__(reason)
        self.begun = begun


class Connection:
    """Kept alive between calls; used by one thread at a time. ``TimeoutError`` and :class:`Broken` end it for good."""

    def __init__(self, path: Path) -> None:
        """Raises ``OSError`` when nobody answers at ``path``."""
        self._socket: socket.socket = connect(path, _CONNECT_S)
        self._file = self._socket.makefile("rb", buffering=65_536)

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def is_stale(self) -> bool:
        """Whether the other side has closed it since the last call; an idle connection has nothing to read."""
        readable, _, _ = select.select([self._socket], [], [], 0)
        return bool(readable)

    def post(self, target: str, headers: Mapping[str, str], body: bytes, timeout_s: float) -> tuple[int, bytes]:
        """Send a request and read the whole reply: status and body."""
        status, fields = self._begin(target, headers, body, timeout_s)
        try:
            if fields.get("transfer-encoding") == "chunked":
                return status, b"".join(self._chunks())
            length = int(fields.get("content-length", "0"))
            data = self._file.read(length)
        except (OSError, ValueError) as problem:
            self._raise(problem, begun=True)
        if len(data) != length:
            raise Broken("the reply was cut short", begun=True)
        return status, data

    def stream(self, target: str, headers: Mapping[str, str], body: bytes, timeout_s: float) -> tuple[int, Iterator[bytes]]:
        """Send a request and read the reply line by line. ``timeout_s`` is the longest silence."""
        status, fields = self._begin(target, headers, body, timeout_s)
        if fields.get("transfer-encoding") == "chunked":
            return status, self._lines()
        return status, iter([self._file.read(int(fields.get("content-length", "0")))])

    def _begin(self, target: str, headers: Mapping[str, str], body: bytes, timeout_s: float) -> tuple[int, dict[str, str]]:
        lines = [f"POST {target} HTTP/1.1", "Host: fleetd", f"Content-Length: {len(body)}", "Content-Type: application/json"]
        lines += [f"{name}: {value}" for name, value in headers.items() if value]
        try:
            self._socket.settimeout(timeout_s)
            self._send("\r\n".join([*lines, "", ""]).encode("ascii") + body)
            first = self._file.readline(_LONGEST_LINE)
        except OSError as problem:
            self._raise(problem, begun=False)
        if not first:
            raise Broken("the connection was closed", begun=False)
        try:
            return int(first.split()[1]), self._headers()
        except (OSError, ValueError, IndexError) as problem:
            self._raise(problem, begun=True)

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except BrokenPipeError:
            return  # refused early, with the reason in the reply that stands ready to be read

    def _headers(self) -> dict[str, str]:
        fields: dict[str, str] = {}
        while line := self._file.readline(_LONGEST_LINE).strip():
            name, _, value = line.decode("latin-1").partition(":")
            fields[name.lower()] = value.strip().lower()
        return fields

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self._file.readline(_LONGEST_LINE), 16):
            data = self._file.read(size)
            self._file.readline(_LONGEST_LINE)
            yield data
        self._file.readline(_LONGEST_LINE)

    def _lines(self) -> Iterator[bytes]:
        """Lines of a chunked reply, whatever chunks they came in."""
        rest = b""
        try:
            for chunk in self._chunks():
                *whole, rest = (rest + chunk).split(b"\n")
                yield from whole
        except (OSError, ValueError) as problem:
            self._raise(problem, begun=True)
        if rest:
            yield rest

    def _raise(self, problem: Exception, begun: bool) -> NoReturn:
        if isinstance(problem, TimeoutError):
            raise problem
        raise Broken(str(problem) or "the connection broke", begun) from problem
