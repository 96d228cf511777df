"""Where the door listens, and how each place knows who comes in. TLS on TCP will be one more class here."""

from __future__ import annotations

import asyncio
import grp
import os
import socket
import ssl
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fleet_tui.backend.api.sockets import short_name

_UCRED = struct.Struct("3i")
BACKLOG = 512
"""Connections that may wait to be let in: a fleet's agents come all at once when a daemon is back."""


class Listener(Protocol):
    """A place to listen. The server accepts on ``bind()``'s socket and asks ``identify`` about each connection."""

    tls: ssl.SSLContext | None

    def bind(self) -> socket.socket:
        """A listening socket. Raises ``OSError`` naming what is in the way."""
        ...

    def identify(self, transport: asyncio.BaseTransport) -> tuple[int, str]:
        """User id and source of a connection, proven by the transport, not by what was said over it."""
        ...

    def is_gone(self) -> bool:
        """Whether nobody can find the place any more, and it must be bound again."""
        ...

    def close(self) -> None:
        """Clear away what ``bind`` left behind."""
        ...


@dataclass(slots=True)
class UnixListener:
    """A Unix socket: the kernel says who is at the other end.

    Args:
        path: where; its directory is made with mode 0700 when absent.
        mode: permissions of the socket; 0600 for a user's own daemon.
        group: group that owns it, for a site's daemon with mode 0660; empty for the caller's own.
    """

    path: Path
    mode: int = 0o600
    group: str = ""
    tls: ssl.SSLContext | None = field(default=None, init=False)
    _inode: tuple[int, int] | None = field(default=None, init=False)

    def bind(self) -> socket.socket:
        """Bound beside and renamed into place: the name never stands without its permissions, and a stale one is replaced."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        temporary.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            os.fchmod(listening.fileno(), 0o600)  # on Linux the name takes over these bits, so it never stands open
            with short_name(temporary) as name:
                listening.bind(name)
            if self.group:
                os.chown(temporary, -1, grp.getgrnam(self.group).gr_gid)
            temporary.chmod(self.mode)
            listening.listen(BACKLOG)
            temporary.rename(self.path)
        except BaseException:
            listening.close()
            temporary.unlink(missing_ok=True)
            raise
        found = self.path.stat()
        self._inode = (found.st_dev, found.st_ino)
        return listening

    def identify(self, transport: asyncio.BaseTransport) -> tuple[int, str]:
        end: socket.socket = transport.get_extra_info("socket")
        pid, uid, _gid = _UCRED.unpack(end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        return uid, f"uid {uid} pid {pid}"

    def is_gone(self) -> bool:
        """Somebody tidied up: the socket lives on, but its name is what callers know."""
        return not self.path.exists()

    def close(self) -> None:
        """Remove the name, unless another daemon has put its own there since."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return
        if (found.st_dev, found.st_ino) == self._inode:
            self.path.unlink(missing_ok=True)
