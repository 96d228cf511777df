"""Serial consoles through the door: a ticket from a call like any other, then one request whose body and reply both stay open.

``vms.console`` is admitted and recorded like every change, so a read-only session gets no ticket. The ticket is good once, for a minute, for the
same user and session. ``POST /v1/console`` with it in ``Fleet-Ticket`` then carries bytes both ways as chunks until either side ends.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from aiohttp import web

from fleet_tui.backend.api import METHODS
from fleet_tui.backend.api.dispatch import Dispatcher
from fleet_tui.backend.errors import AuthFailed, Busy, FleetError
from fleet_tui.backend.hypervisors import Console
from fleet_tui.backend.identity.audit import Audit
from fleet_tui.backend.identity.caller import Caller, Peer
from fleet_tui.backend.machines import ConsoleTicket, OpenConsole

PATH = "/v1/console"
TICKET = "Fleet-Ticket"
VALID_S = 60.0
MOST = 32
"""Consoles open at once; each has a thread of its own."""
_READ_S = 0.5
_RECHECK_S = 5.0
_METHOD = METHODS["vms.console"]
_log = logging.getLogger("fleetd.consoles")


@dataclass(frozen=True, slots=True)
class _Issued:
    caller: Caller
    name: str
    open: Callable[[], Console]
    expires: float


class Consoles:
    """Tickets given and not yet used, and how many consoles are open."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self._lock = threading.Lock()
        self._issued: dict[str, _Issued] = {}
        self._open = 0
        self._pool = ThreadPoolExecutor(MOST * 2, thread_name_prefix="console")

    def issue(self, caller: Caller, name: str, opens: Callable[[], Console]) -> ConsoleTicket:
        """A ticket for that VM's console; ``opens`` is called when it is used."""
        token, now = secrets.token_urlsafe(32), time.monotonic()
        with self._lock:
            self._issued = {key: kept for key, kept in self._issued.items() if kept.expires > now}
            self._issued[token] = _Issued(caller, name, opens, now + VALID_S)
        return ConsoleTicket(PATH, token, time.time() + VALID_S)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def relay(self, dispatcher: Dispatcher, peer: Peer, request: web.Request) -> web.StreamResponse:
        """Serve one console until it ends. Who may still have it is asked again every few seconds."""
        token, loop = request.headers.get(TICKET, ""), asyncio.get_running_loop()
        issued, console = await loop.run_in_executor(self._pool, lambda: dispatcher.guarded(lambda: self._redeem(dispatcher, peer, token), "console"))
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        response.enable_chunked_encoding()
        response.force_close()
        tally = _Tally()
        ways: tuple[asyncio.Task[None], ...] = ()
        try:
            await response.prepare(request)
            showing = self._show(dispatcher, peer, issued.name, console, response, tally)
            ways = (loop.create_task(showing), loop.create_task(self._type(console, request, tally)))
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if (problem := task.exception()) is not None and not isinstance(problem, FleetError | ConnectionError):
                    _log.error("the console of %s broke", issued.name, exc_info=problem)
            with suppress(ConnectionError):
                await response.write_eof()
            return response
        finally:
            # A caller that left has cancelled us: nothing is awaited here, and the console is given back all the same.
            for way in ways:
                way.cancel()
            self._pool.submit(self._give_back, issued, console, tally)

    def _redeem(self, dispatcher: Dispatcher, peer: Peer, token: str) -> tuple[_Issued, Console]:
        with self._lock:
            issued = self._issued.get(token)
        caller = dispatcher.recheck(peer, _METHOD, issued and OpenConsole(issued.name))
        with self._lock:
            issued = self._issued.get(token)
            if issued is None or issued.expires < time.monotonic() or (issued.caller.uid, issued.caller.session) != (caller.uid, caller.session):
                raise AuthFailed("this ticket is not, or no longer, good for a console", hint="ask for another one")
            del self._issued[token]
            if self._open >= MOST:
                raise Busy(f"{MOST} consoles are open, and no more can be", hint="close one")
            self._open += 1
        try:
            return issued, issued.open()
        except BaseException:
            with self._lock:
                self._open -= 1
            raise

    async def _show(self, dispatcher: Dispatcher, peer: Peer, name: str, console: Console, response: web.StreamResponse, tally: _Tally) -> None:
        loop, due = asyncio.get_running_loop(), time.monotonic() + _RECHECK_S
        while True:
            data = await loop.run_in_executor(self._pool, console.read, _READ_S)
            if data:
                tally.shown += len(data)
                await response.write(data)
            if time.monotonic() > due:
                due = time.monotonic() + _RECHECK_S
                await loop.run_in_executor(self._pool, dispatcher.recheck, peer, _METHOD, OpenConsole(name))

    async def _type(self, console: Console, request: web.Request, tally: _Tally) -> None:
        loop = asyncio.get_running_loop()
        async for data in request.content.iter_any():
            tally.typed += len(data)
            await loop.run_in_executor(self._pool, console.write, data)

    def _give_back(self, issued: _Issued, console: Console, tally: _Tally) -> None:
        with self._lock:
            self._open -= 1
        with suppress(FleetError):
            console.close()
        try:
            told = f"closed after {time.monotonic() - tally.begun:.0f} s: {tally.typed} bytes typed, {tally.shown} shown"
            self._audit.record(issued.caller, _METHOD.name, issued.name, {}, "outcome", result=told)
        except Exception:
            _log.exception("the end of the console of %s could not be recorded", issued.name)


class _Tally:
    """What went through."""

    def __init__(self) -> None:
        self.begun, self.typed, self.shown = time.monotonic(), 0, 0

