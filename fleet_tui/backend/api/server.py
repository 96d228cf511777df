"""The HTTP side of the door: ``POST /v1/<method>``, streams as newline-delimited JSON, ``GET /healthz``.

One thread runs the event loop; it only moves bytes. Everything that thinks or touches the database runs in other threads.
A further listener is one more entry in the list given to :meth:`Server.start`; one with limits is for strangers (:mod:`gate`).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from aiohttp import web

from fleet_tui.backend.api import METHODS
from fleet_tui.backend.api.consoles import Consoles
from fleet_tui.backend.api.dispatch import Dispatcher
from fleet_tui.backend.api.gate import Gate
from fleet_tui.backend.api.listeners import BACKLOG, Listener, UnixListener, address_of
from fleet_tui.backend.api.waiting import Waiters
from fleet_tui.backend.api.wire import dump
from fleet_tui.backend.errors import AuthFailed, FleetError, InternalError, InvalidInput, NotFound, TimedOut, UsageError
from fleet_tui.backend.events import EventBatch, EventsAfter
from fleet_tui.backend.identity.caller import Caller, Peer
from fleet_tui.backend.telemetry import LineBatch, ReadLines

MOST_BYTES = 8 * 1024 * 1024
"""Largest request body."""
CALLS = 16
"""Calls worked on at once; more wait their turn."""
LOOK_S = 2.0
"""How often it is looked whether the places where we listen can still be found."""
SLICE_S = 5.0
"""A held reader is looked after so often: does it still listen, are we still running."""

_STATUS = {
    "invalid_input": 400, "usage": 405, "not_found": 404, "permission_denied": 403, "read_only": 403, "auth_failed": 401,
    "confirmation_required": 428, "unreachable": 503, "timeout": 504, "internal": 500,
}
_REFUSED = 409
_FOLLOWS = {"events.follow": "events.after", "lines.follow": "lines.read"}
"""Streams are made of their reads, repeated."""
_WAITING = frozenset({"events.after", "lines.read", "agent.report"})

__all__ = ["Server", "UnixListener"]

Admitted = tuple[Any, Caller, Any]
_log = logging.getLogger(__name__)


class Server:
    """Serves one dispatcher on any number of listeners.

    Args:
        dispatcher: what is done with a call.
        health: names of the parts that do not work; empty when all is well. Called in a thread.
        grace_s: what calls that are being worked on get at :meth:`stop`.
        consoles: relays serial consoles; without them there are none.
    """

    def __init__(
        self, dispatcher: Dispatcher, health: Callable[[], Sequence[str]] = tuple, grace_s: float = 5.0, consoles: Consoles | None = None
    ) -> None:
        self._dispatcher = dispatcher
        self._consoles = consoles
        self._health = health
        self._grace_s = grace_s
        self._pool = ThreadPoolExecutor(CALLS, thread_name_prefix="door")
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event | None = None
        self._waiters: Waiters | None = None

    @asynccontextmanager
    async def serve(self, listeners: Sequence[Listener]) -> AsyncIterator[None]:
        """Listen while the block runs, in the caller's event loop.

        At its end: accept no more, end the waits, give running calls their grace, clear the sockets away.
        Raises ``OSError`` when a place cannot be listened on.
        """
        bound: list[tuple[Listener, socket.socket]] = []
        runners: list[web.AppRunner] = []
        looking: list[asyncio.Task[None]] = []
        self._waiters = Waiters()
        try:
            for listener in listeners:
                bound.append((listener, listener.bind()))
            for listener, listening in tuple(bound):
                gate = _gate(listener)
                runner = web.AppRunner(
                    self._application(listener, gate), access_log=None, handler_cancellation=True, shutdown_timeout=self._grace_s,
                    keepalive_timeout=gate.limits.idle_s if gate else 3600.0,
                )
                runners.append(runner)
                await runner.setup()
                if gate is not None:
                    looking.append(asyncio.create_task(gate.run(listening, partial(_protocol, runner))))
                    continue
                await web.SockSite(runner, listening, ssl_context=listener.tls, backlog=BACKLOG).start()
                looking.append(asyncio.create_task(_keep_findable(listener, runner, bound)))
            yield
        finally:
            for task in looking:
                task.cancel()
            for listener in listeners:
                listener.close()
            self._waiters.stop()
            for runner in runners:
                await runner.cleanup()
            for _, listening in bound:
                listening.close()
            self._pool.shutdown(wait=False, cancel_futures=True)

    def start(self, listeners: Sequence[Listener]) -> None:
        """Serve from a thread of our own, and return when calls are answered. Raises what :meth:`serve` raises."""
        ready: Future[None] = Future()

        async def run() -> None:
            self._ended = asyncio.Event()
            self._loop = asyncio.get_running_loop()
            try:
                async with self.serve(listeners):
                    ready.set_result(None)
                    await self._ended.wait()
            except BaseException as problem:
                if ready.done():
                    raise
                ready.set_exception(problem)

        self._thread = threading.Thread(target=lambda: asyncio.run(run()), name="door", daemon=True)
        self._thread.start()
        ready.result()

    def stop(self) -> None:
        """End what :meth:`start` began, and wait for its end."""
        if self._thread is None or self._loop is None or self._ended is None:
            return
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(self._grace_s + 10.0)
        self._thread = None

    def _application(self, listener: Listener, gate: Gate | None) -> web.Application:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await (self._handle(listener, request) if gate is None else self._from_afar(listener, gate, request))

        application = web.Application(client_max_size=MOST_BYTES)
        application.router.add_route("*", "/{path:.*}", handle)
        return application

    async def _handle(self, listener: Listener, request: web.Request) -> web.StreamResponse:
        try:
            if request.path == "/healthz":
                return await self._healthz(request)
            name = self._method(request)
            if request.transport is None:
                raise ConnectionResetError
            uid, source = listener.identify(request.transport)
            headers = request.headers
            peer = Peer(uid, source, headers.get("Fleet-Session", ""), headers.get("Fleet-Read-Only", "") == "1")
            if name == "console" and self._consoles is not None:
                return await self._consoles.relay(self._dispatcher, peer, request)
            body = await self._body(request)
            if name in _FOLLOWS:
                return await self._follow(request, peer, name, body)
            if name in _WAITING:
                return _reply(await self._held(peer, name, body))
            return _reply(await self._told(peer, name, body))
        except FleetError as refusal:
            return _refusal(refusal)

    async def _from_afar(self, listener: Listener, gate: Gate, request: web.Request) -> web.StreamResponse:
        """A call of a stranger: the few methods that the listener names, small, and no longer than it allows."""
        if request.transport is None:
            raise ConnectionResetError
        gate.asked(request.transport)
        address, machine = address_of(request.transport), request.headers.get("Fleet-Agent", "")
        try:
            gate.admit(address, machine)
            name = self._method(request)
            most = gate.limits.bodies.get(name)
            if most is None:
                raise NotFound("there is nothing here", hint="only agents call here")
            uid, source = listener.identify(request.transport)
            async with asyncio.timeout(gate.limits.request_s):
                body = await _bounded(request, most)
            reply = _reply(await self._held(Peer(uid, source), name, body) if name in _WAITING else await self._told(Peer(uid, source), name, body))
            gate.note_proof(request.transport, address, machine)  # nothing that can be called here is answered without token or key
        except TimeoutError:
            reply = _refusal(TimedOut("the request did not come in time"))
            reply.force_close()
        except FleetError as refusal:
            if isinstance(refusal, AuthFailed):
                gate.note_failure(address, machine)
            reply = _refusal(refusal)
            if not request.content.is_eof():
                reply.force_close()  # what is left of it is not listened to
        async with asyncio.timeout(gate.limits.request_s):
            await reply.prepare(request)
            await reply.write_eof()
        return reply

    async def _told(self, peer: Peer, name: str, body: bytes) -> bytes:
        encoded: bytes = await self._in_pool(lambda: _result(self._dispatcher.call(peer, name, body)), name)
        return encoded

    def _method(self, request: web.Request) -> str:
        if not request.path.startswith("/v1/"):
            raise NotFound("there is nothing here", hint="calls go to /v1/<method>")
        if request.method != "POST":
            raise UsageError(f"calls are made with POST, not {request.method}")
        return request.path[len("/v1/") :]

    async def _body(self, request: web.Request) -> bytes:
        try:
            return await request.read()
        except web.HTTPRequestEntityTooLarge:
            raise InvalidInput(
                f"the request is larger than {MOST_BYTES // 1024**2} MiB", hint="send less at once", most_bytes=MOST_BYTES
            ) from None

    async def _healthz(self, request: web.Request) -> web.Response:
        if request.method not in ("GET", "HEAD"):
            raise UsageError("health is read with GET")
        failing = await self._in_pool(lambda: tuple(self._health()), "healthz")
        text = "ok\n" if not failing else "".join(f"failing: {part}\n" for part in failing)
        return web.Response(text=text, status=503 if failing else 200)

    async def _in_pool(self, work: Callable[[], Any], name: str) -> Any:
        """Do ``work`` in a thread of the pool. A caller that leaves does not stop what was begun."""
        done = asyncio.get_running_loop().run_in_executor(self._pool, self._dispatcher.guarded, work, name)
        done.add_done_callback(_heard)
        return await asyncio.shield(done)

    async def _held(self, peer: Peer, name: str, body: bytes) -> bytes:
        """A read that may wait. What the wait is about is admitted like any call; only the waiting is elsewhere."""
        method, caller, request = await self._in_pool(lambda: self._dispatcher.admit(peer, name, body), name)
        if not request.wait_s:
            answer: bytes = await self._in_pool(lambda: _result(self._dispatcher.run(method, caller, request)), name)
            return answer
        if not isinstance(request, EventsAfter | ReadLines):
            reply = await self._patiently((method, caller, request))
        else:
            reply = await self._until_something((method, caller, request))
        encoded: bytes = await self._in_pool(lambda: _result(reply), name)
        return encoded

    async def _until_something(self, admitted: Admitted) -> Any:
        method, caller, request = admitted
        loop = asyncio.get_running_loop()
        deadline = loop.time() + request.wait_s
        while True:
            began = loop.time()
            left = deadline - began
            reply = await self._patiently((method, caller, replace(request, wait_s=max(0.0, min(left, SLICE_S)))))
            if left <= SLICE_S or not _is_silent(request, reply):
                return reply
            if loop.time() - began < 0.05:
                await self._pause(0.2)

    async def _patiently(self, admitted: Admitted) -> Any:
        """Run one wait in a thread of its own; when there are too many of them, wait here and look once."""
        method, caller, request = admitted
        waiters = self._waiters
        if waiters is None:
            raise InternalError("the server does not run")
        if waiters.take():
            return await waiters.run(lambda: self._dispatcher.guarded(lambda: self._dispatcher.run(method, caller, request), method.name))
        await waiters.pause(min(request.wait_s, 1.0))
        look = replace(request, wait_s=0.0)
        return await self._in_pool(lambda: self._dispatcher.run(method, caller, look), method.name)

    async def _pause(self, seconds: float) -> None:
        if self._waiters is not None:
            await self._waiters.pause(seconds)

    async def _follow(self, request: web.Request, peer: Peer, name: str, body: bytes) -> web.StreamResponse:
        """Batches until the caller leaves. Who may still read is asked again before each one."""
        _, _, wanted = await self._in_pool(lambda: self._dispatcher.admit(peer, name, body), name)
        method = METHODS[_FOLLOWS[name]]
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        try:
            while True:
                caller = await self._in_pool(lambda: self._dispatcher.recheck(peer, method), name)
                reply = await self._until_something((method, caller, replace(wanted, wait_s=SLICE_S)))
                line = b"\n" if _is_silent(wanted, reply) else await self._in_pool(lambda: dump(reply) + b"\n", name)  # noqa: B023
                await response.write(line)
                wanted = _onward(wanted, reply)
        except FleetError as refusal:
            await response.write(dump({"error": refusal.as_json()}) + b"\n")
            await response.write_eof()
        return response


def _is_silent(request: Any, reply: Any) -> bool:
    """Whether there was nothing to tell, so that waiting on makes sense."""
    if isinstance(reply, EventBatch):
        return not reply.events and reply.cursor == request.cursor
    if isinstance(reply, LineBatch):
        return not reply.lines and not reply.dropped and not request.before
    return False


def _onward(request: Any, reply: Any) -> Any:
    if isinstance(reply, EventBatch):
        return replace(request, cursor=reply.cursor)
    tail = request.tail if not reply.lines and request.tail else 0
    return replace(request, after=reply.cursor, tail=tail, before=0, since_s=0.0)


def _result(reply: Any) -> bytes:
    return b'{"result":' + dump(reply) + b"}"


def _reply(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


def _heard(done: asyncio.Future[Any]) -> None:
    """An error whose caller has left is in the log already."""
    if not done.cancelled():
        done.exception()


def _refusal(refusal: FleetError) -> web.Response:
    body = dump({"error": refusal.as_json()})
    return web.Response(body=body, status=_STATUS.get(refusal.code, _REFUSED), content_type="application/json")


def _gate(listener: Listener) -> Gate | None:
    """In front of a listener for strangers."""

    def tls() -> ssl.SSLContext:
        if listener.tls is None:
            raise InternalError("a listener for strangers has no certificate")
        return listener.tls

    return None if listener.limits is None else Gate(listener.limits, tls)


def _protocol(runner: web.AppRunner) -> asyncio.Protocol:
    if runner.server is None:
        raise ConnectionResetError("the door is being closed")
    return runner.server()


async def _bounded(request: web.Request, most: int) -> bytes:
    """A body of at most so many bytes; no more of a longer one is taken."""
    parts, size = [], 0
    if (request.content_length or 0) <= most:
        async for part in request.content.iter_any():
            parts.append(part)
            if (size := size + len(part)) > most:
                break
        else:
            return b"".join(parts)
    raise InvalidInput(f"the request is larger than {most // 1024} KiB", hint="send less at once", most_bytes=most)


async def _keep_findable(listener: Listener, runner: web.AppRunner, bound: list[tuple[Listener, socket.socket]]) -> None:
    """Bind anew what somebody removed; calls over the old socket go on."""
    while True:
        await asyncio.sleep(LOOK_S)
        try:
            if not listener.is_gone():
                continue
            listening = listener.bind()
            bound.append((listener, listening))
            await web.SockSite(runner, listening, ssl_context=listener.tls, backlog=BACKLOG).start()
            _log.warning("the place where fleetd listens was gone; it listens there again")
        except OSError as problem:
            _log.error("the place where fleetd listens is gone and cannot be had again: %s", problem)
