"""Where the door listens, and how each place knows who comes in."""

from __future__ import annotations

import asyncio
import grp
import os
import socket
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fleet_tui.backend.api.gate import Limits
from fleet_tui.backend.api.sockets import short_name
from fleet_tui.backend.authority import Issued

_UCRED = struct.Struct("3i")
BACKLOG = 512
"""Connections that may wait to be let in: a fleet's agents come all at once when a daemon is back."""


class Listener(Protocol):
    """A place to listen. The server accepts on ``bind()``'s socket and asks ``identify`` about each connection."""

    tls: ssl.SSLContext | None
    limits: Limits | None
    """What strangers may do who come in here; ``None`` where only this machine's own users can."""

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
    limits: Limits | None = field(default=None, init=False)
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


STRANGER = -1
"""Stands for the user id of one who comes over the network: nobody has it."""
AGENT_BODIES = {
    "agent.hello": 64 * 1024, "agent.fetch": 4096, "agent.report": 2 * 1024 * 1024, "agent.material": 4096, "agent.order": 64 * 1024,
}
"""All that can be called from the network, and bytes a request may have: an agent sends 256 KiB of lines at once, and what it has to answer."""


class AgentListener:
    """TCP with TLS, for agents on other machines. They know us by a certificate of the fleet's authority, we know them by token and key.

    Args:
        host: address to listen on.
        issue: a server certificate with its key; asked for at :meth:`bind` and whenever it is to be renewed.
        is_due: whether that one is to be renewed.
    """

    def __init__(
        self, host: str, port: int, issue: Callable[[], Issued], is_due: Callable[[Issued], bool], limits: Limits | None = None,
    ) -> None:
        self.host, self.port = host, port
        self.limits: Limits | None = limits or Limits(AGENT_BODIES)
        self.tls: ssl.SSLContext | None = None
        self._issue, self._is_due = issue, is_due
        self._issued: Issued | None = None
        self._listening: socket.socket | None = None

    def bind(self) -> socket.socket:
        if self._listening is None:
            self.renew()
            listening = socket.create_server(
                (self.host, self.port), family=socket.AF_INET6 if ":" in self.host else socket.AF_INET, backlog=BACKLOG,
                dualstack_ipv6=self.host == "::",
            )
            self.port = listening.getsockname()[1]
            self._listening = listening
        return self._listening

    @property
    def issued(self) -> Issued | None:
        """What it serves with."""
        return self._issued

    def renew(self) -> None:
        """Serve with a new certificate from the next connection on, if the present one ends soon. May be called from any thread."""
        if self._issued is None or self._is_due(self._issued):
            issued = self._issue()
            self.tls = _serving(issued)
            self._issued = issued

    def identify(self, transport: asyncio.BaseTransport) -> tuple[int, str]:
        return STRANGER, f"tls {address_of(transport)}"

    def is_gone(self) -> bool:
        return False

    def close(self) -> None:
        if self._listening is not None:
            self._listening.close()


def address_of(transport: asyncio.BaseTransport) -> str:
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if peer else "somewhere"


def _serving(issued: Issued) -> ssl.SSLContext:
    """The key goes to OpenSSL through memory: no file ever holds it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    with os.fdopen(os.memfd_create("door", os.MFD_CLOEXEC), "wb") as file:
        file.write((issued.key_pem + issued.certificate_pem).encode())
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
    return context
