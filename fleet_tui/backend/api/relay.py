"""The caller's end of a serial console: bytes both ways over one request. Standard library only."""

from __future__ import annotations

import select
import socket
from collections.abc import Mapping
from pathlib import Path

from fleet_tui.backend.api.connection import Broken
from fleet_tui.backend.api.sockets import connect

_AT_ONCE = 65_536


class Relay:
    """An open console. ``send`` and ``receive`` may be used from two threads, ``fileno`` is for ``select``."""

    def __init__(self, path: Path, target: str, headers: Mapping[str, str], timeout_s: float) -> None:
        """Ask, and wait for the reply's head. Raises ``OSError``, ``TimeoutError`` or :class:`Broken`; see ``status`` for a refusal."""
        self._socket: socket.socket = connect(path, timeout_s)
        self._rest, self._left, self._ended = b"", 0, False
        try:
            lines = [f"POST {target} HTTP/1.1", "Host: fleetd", "Transfer-Encoding: chunked", "Content-Type: application/octet-stream"]
            lines += [f"{name}: {value}" for name, value in headers.items() if value]
            self._socket.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
            head = self._head()
            self.status = int(head.split(b" ", 2)[1])
            self._is_chunked = b"transfer-encoding: chunked" in head.lower()
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def refusal(self) -> bytes:
        """The body of a reply that is no console."""
        data = self._rest
        while not data.endswith(b"}") and (more := self._socket.recv(_AT_ONCE)):
            data += more
        return data

    def send(self, data: bytes) -> None:
        """Type. Raises :class:`Broken` when it has ended."""
        if data:
            try:
                self._socket.sendall(b"%x\r\n%s\r\n" % (len(data), data))
            except OSError as problem:
                raise Broken(str(problem), begun=True) from problem

    def receive(self, timeout_s: float) -> bytes | None:
        """What the guest said; empty when nothing came in time, ``None`` once the console has ended."""
        if (found := self._decoded()) or self._ended:
            return found or None
        readable, _, _ = select.select([self._socket], [], [], timeout_s)
        if not readable:
            return b""
        try:
            more = self._socket.recv(_AT_ONCE)
        except OSError:
            more = b""
        if not more:
            self._ended = True
        self._rest += more
        return self._decoded() or (None if self._ended else b"")

    def close(self) -> None:
        """Say that nothing more comes, and leave."""
        try:
            self._socket.sendall(b"0\r\n\r\n")
        except OSError:
            pass
        finally:
            self._socket.close()

    def _head(self) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            more = self._socket.recv(_AT_ONCE)
            if not more or len(data) > _AT_ONCE:
                raise Broken("the connection was closed", begun=bool(data))
            data += more
        head, _, self._rest = data.partition(b"\r\n\r\n")
        return head

    def _decoded(self) -> bytes:
        """What of the chunks so far is content. ``_left`` counts a chunk's bytes and the line end behind them."""
        out = b""
        while self._rest and not self._ended:
            if self._left:
                part = self._rest[:self._left]
                self._rest = self._rest[len(part):]
                content = max(0, min(len(part), self._left - 2))
                self._left -= len(part)
                out += part[:content]
                continue
            size, line_end, rest = self._rest.partition(b"\r\n")
            if not line_end:
                break
            if int(size, 16) == 0:
                self._ended = True
                break
            self._rest, self._left = rest, int(size, 16) + 2
        return out
