"""Readers that wait: each has a thread of its own, so that a hundred of them never hold up a call."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from fleet_tui.backend.errors import Unreachable

MOST = 512
"""Threads at once; beyond that a reader looks once a second instead of being woken."""


class Waiters:
    """Threads for blocking waits. They are daemon threads: a stopping daemon does not wait for its readers.

    Used from one event loop.
    """

    def __init__(self, most: int = MOST) -> None:
        self._free = most
        self._lock = threading.Lock()
        self._stopping = asyncio.Event()

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    def stop(self) -> None:
        """Every wait, present and future, ends with :class:`Unreachable`."""
        self._stopping.set()

    def take(self) -> bool:
        """Reserve a thread; ``False`` when all are taken. Each one taken must be used for one :meth:`run`."""
        with self._lock:
            if self._free <= 0:
                return False
            self._free -= 1
            return True

    async def run(self, work: Callable[[], Any]) -> Any:
        """The result of ``work``, done in a reserved thread. A caller who leaves does not wait for the thread to end."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def deliver(problem: BaseException | None, result: Any) -> None:
            if future.done():
                return
            if problem is not None:
                future.set_exception(problem)
            else:
                future.set_result(result)

        def body() -> None:
            problem: BaseException | None = None
            result: Any = None
            try:
                result = work()
            except BaseException as raised:  # carried over to the waiting task, whatever it is
                problem = raised
            with self._lock:
                self._free += 1
            if not loop.is_closed():
                loop.call_soon_threadsafe(deliver, problem, result)

        threading.Thread(target=body, name="door-wait", daemon=True).start()
        return await self._unless_stopping(future)

    async def pause(self, seconds: float) -> None:
        """Sleep, unless the server stops meanwhile."""
        await self._unless_stopping(asyncio.ensure_future(asyncio.sleep(seconds)))

    async def _unless_stopping(self, future: asyncio.Future[Any]) -> Any:
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({future, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if future.done():
                return future.result()
            raise Unreachable("fleetd is stopping", hint="try again when it is up")
        finally:
            stopping.cancel()
            future.cancel()
