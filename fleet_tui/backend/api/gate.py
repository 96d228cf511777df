"""Who gets in from the network, and how long they may take: connections are counted before anything is done for them.

The Unix socket needs none of this: whoever can open it is of this machine. Over TCP strangers knock. Each connection has a place, and a bound
on every step of it: the TLS handshake, the first request, its body, the answer, the pause until the next. An address whose calls fail to
prove who they are is not listened to for a while.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from fleet_tui.backend.errors import Busy

log = logging.getLogger("fleetd.gate")

_KNOWN_CALLERS = 10_000
"""Machines at addresses whose failures are remembered at most; and whose proofs."""
_PROVEN_S = 600.0
"""Who has proven to be a machine is known for so long as one of its address; agents report every 30 s."""
_LONGEST_NAME = 100
_QUIET_S = 60.0
"""That connections are turned away is logged once in so many seconds."""
_Caller = tuple[str, str]
"""Address, and the machine that is said to call; empty for any."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a listener on the network allows."""

    bodies: Mapping[str, int] = field(default_factory=dict)
    """Methods that can be called there, and how many bytes a request of each may have."""
    most: int = 4096
    """Connections at once, those in their handshake included; half as many of strangers, on which no call was believed yet."""
    most_each: int = 2048
    """Of one address: a whole site may be behind one, and an agent has two."""
    strangers_each: int = 256
    """Of one address, of strangers."""
    handshake_s: float = 10.0
    request_s: float = 15.0
    """From the handshake to the end of the first request's headers; and for the body of each; and for taking each answer."""
    idle_s: float = 90.0
    """Between requests; longer than agents' heartbeats."""
    failures: int = 30
    """Calls of one address for one machine with a wrong token or key, and ten times as many for any; after that it is not listened to ..."""
    silence_s: float = 60.0
    """... for so long. One agent that was forgotten does not silence the others behind its address: it counts there for a few calls only, and
    whoever has proven itself from there lately is listened to all the same."""


class Gate:
    """Accepts on one listening socket, in the event loop that calls :meth:`run`.

    Args:
        tls: the context to shake hands with, asked for each connection: certificates are renewed while we listen.
    """

    def __init__(self, limits: Limits, tls: Callable[[], ssl.SSLContext]) -> None:
        self.limits = limits
        self._tls = tls
        self._places: Counter[str] = Counter()
        self._strangers: Counter[str] = Counter()
        """Those of them whose connections have proven nothing yet."""
        self._believed: set[asyncio.BaseTransport] = set()
        self._waiting: dict[asyncio.BaseTransport, asyncio.TimerHandle] = {}
        """Connections that have not asked anything yet, with what ends their patience."""
        self._failed: dict[_Caller, list[float]] = {}
        self._proven: dict[_Caller, float] = {}
        """When they last were believed, the longest ago first."""
        self._shaking: set[asyncio.Task[None]] = set()
        self._told = -_QUIET_S

    @property
    def taken(self) -> int:
        """Places taken now."""
        return self._places.total()

    async def run(self, listening: socket.socket, protocol: Callable[[], asyncio.Protocol]) -> None:
        """Until it is cancelled. ``protocol`` makes what speaks HTTP on a connection."""
        listening.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    link, address = await loop.sock_accept(listening)
                except OSError as problem:  # no descriptors left, or the caller has gone again
                    log.warning("a connection could not be taken: %s", problem)
                    await asyncio.sleep(0.5)
                    continue
                self._let_in(link, str(address[0]), protocol)
        finally:
            for task in tuple(self._shaking):
                task.cancel()

    def _let_in(self, link: socket.socket, address: str, protocol: Callable[[], asyncio.Protocol]) -> None:
        if not self._has_place(address):
            link.close()
            self._say(
                f"{self.taken} connections, {self._places[address]} of them from {address}; of strangers {self._strangers.total()}, "
                f"{self._strangers[address]} from there: it gets no more (--agent-limits)"
            )
            return
        self._places[address] += 1
        self._strangers[address] += 1
        task = asyncio.get_running_loop().create_task(self._shake(link, address, protocol))
        self._shaking.add(task)
        task.add_done_callback(self._shaking.discard)

    def _has_place(self, address: str) -> bool:
        limits = self.limits
        return (
            self.taken < limits.most and self._places[address] < limits.most_each
            and self._strangers.total() < max(1, limits.most // 2) and self._strangers[address] < limits.strangers_each
        )

    async def _shake(self, link: socket.socket, address: str, protocol: Callable[[], asyncio.Protocol]) -> None:
        loop = asyncio.get_running_loop()
        watched = _Watched(protocol(), lambda transport: self._left(transport, address))
        try:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            transport, _ = await loop.connect_accepted_socket(
                lambda: watched, link, ssl=self._tls(), ssl_handshake_timeout=self.limits.handshake_s, ssl_shutdown_timeout=self.limits.handshake_s,
            )
        except (OSError, asyncio.CancelledError) as problem:  # ssl.SSLError is one: no TLS, or none that we speak
            if not watched.is_made:
                self._give_back(address, is_stranger=True)
            if isinstance(problem, asyncio.CancelledError):
                raise
            log.debug("no handshake with %s: %s", address, problem)
            return
        if not transport.is_closing():
            self._waiting[transport] = loop.call_later(self.limits.request_s, self._lose_patience, transport)

    def asked(self, transport: asyncio.BaseTransport) -> None:
        """A request's headers have come on that connection."""
        if (timer := self._waiting.pop(transport, None)) is not None:
            timer.cancel()

    def admit(self, address: str, machine: str) -> None:
        """Raises Busy for an address whose calls, for that machine or for any, failed too often."""
        for caller, most in self._callers(address, machine):
            failed = self._failed.get(caller)
            if failed is None or len(failed) < most:
                continue
            if (left := failed[-1] + self.limits.silence_s - time.monotonic()) > 0:
                raise Busy("too many calls from this address failed to prove who they are", hint=f"try again in {left:.0f} s")
            del self._failed[caller]

    def note_failure(self, address: str, machine: str) -> None:
        """A call from there, said to be of that machine, came with a wrong token or key."""
        now = time.monotonic()
        for caller, most in self._callers(address, machine):
            if caller not in self._failed and len(self._failed) >= _KNOWN_CALLERS:
                del self._failed[min(self._failed, key=lambda known: self._failed[known][-1])]
            failed = self._failed.setdefault(caller, [])
            failed[:] = [*[at for at in failed if now - at < self.limits.silence_s][-most:], now]
            if caller[1] and len(failed) > max(1, self.limits.failures // 10):
                return  # its address has heard of it

    def note_proof(self, transport: asyncio.BaseTransport | None, address: str, machine: str) -> None:
        """A call on that connection, said to be of that machine, came with the right token or key."""
        if transport is not None and not transport.is_closing() and transport not in self._believed:
            self._believed.add(transport)
            _less(self._strangers, address)
        caller = (address, machine[:_LONGEST_NAME])
        if self._proven.pop(caller, None) is None and len(self._proven) >= _KNOWN_CALLERS:
            del self._proven[next(iter(self._proven))]
        self._proven[caller] = time.monotonic()

    def _callers(self, address: str, machine: str) -> Iterator[tuple[_Caller, int]]:
        """Whose failures count, and how many may: of the machine, and of the address for one that has not proven itself there lately."""
        caller = (address, machine[:_LONGEST_NAME])
        if machine:
            yield caller, self.limits.failures
        if not machine or time.monotonic() - self._proven.get(caller, -_PROVEN_S) >= _PROVEN_S:
            yield (address, ""), 10 * self.limits.failures

    def _lose_patience(self, transport: asyncio.Transport) -> None:
        self._waiting.pop(transport, None)
        transport.abort()

    def _left(self, transport: asyncio.BaseTransport, address: str) -> None:
        self.asked(transport)
        self._give_back(address, is_stranger=transport not in self._believed)
        self._believed.discard(transport)

    def _give_back(self, address: str, is_stranger: bool) -> None:
        _less(self._places, address)
        if is_stranger:
            _less(self._strangers, address)

    def _say(self, text: str) -> None:
        if (now := time.monotonic()) - self._told >= _QUIET_S:
            self._told = now
            log.warning("%s", text)


def _less(places: Counter[str], address: str) -> None:
    places[address] -= 1
    if places[address] <= 0:
        del places[address]


class _Watched(asyncio.Protocol):
    """Hands everything on, and tells when the connection ends."""

    def __init__(self, inner: asyncio.Protocol, left: Callable[[asyncio.BaseTransport], None]) -> None:
        self._inner, self._left = inner, left
        self._transport: asyncio.BaseTransport | None = None

    @property
    def is_made(self) -> bool:
        """Whether :meth:`connection_lost` will be called, or was."""
        return self._transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._left(self._transport)
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()
