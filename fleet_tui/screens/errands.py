"""Waiting without making the console wait: a few threads call the daemon, one drain paints what they brought.

Calls of a session block, so none is ever made from the event loop. A thread never touches a widget: it puts its result on a
queue and wakes the app once, whatever number of results follows before the app gets there.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any

from fleet_tui.backend.errors import FleetError

THREADS = 4


@dataclass(slots=True)
class Errand:
    """One call: what to do there, what to do with the answer here, and what it makes obsolete."""

    group: str
    number: int
    work: Callable[[], Any]
    then: Callable[[Any], None]
    failed: Callable[[FleetError], None]
    result: Any = None
    error: FleetError | None = None


class Errands:
    """Runs calls on daemon threads (so a hung one never keeps the program from ending).

    ``woken`` is called from a thread when the first result of a batch is there; it must be thread-safe.
    """

    def __init__(self, woken: Callable[[], None]) -> None:
        self._woken = woken
        self._queue: SimpleQueue[Errand] = SimpleQueue()
        self._back: deque[Callable[[], None]] = deque()
        self._latest: dict[str, int] = {}
        self._numbers = itertools.count(1)
        self._under_way = 0
        self._lock = threading.Lock()
        self._threads = 0

    @property
    def idle(self) -> bool:
        """Nothing asked, nothing to paint; what tests wait for."""
        with self._lock:
            return self._under_way == 0 and not self._back

    def run(
        self, work: Callable[[], Any], then: Callable[[Any], None], failed: Callable[[FleetError], None], group: str = ""
    ) -> None:
        """Do ``work`` on a thread. A later errand of the same (non-empty) group makes this one's answer worthless."""
        number = next(self._numbers)
        if group:
            self._latest[group] = number
        with self._lock:
            self._under_way += 1
            if self._threads < min(THREADS, self._under_way):
                self._threads += 1
                threading.Thread(target=self._serve, name=f"errands-{self._threads}", daemon=True).start()
        self._queue.put(Errand(group, number, work, then, failed))

    def aside(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Do ``work`` on a thread of its own, for it may hang, as a folder far away does, and then nothing asked of the daemon waits for it."""
        errand = Errand("", 0, work, then, _raise)
        with self._lock:
            self._under_way += 1
        threading.Thread(target=self._do, args=(errand,), name="aside", daemon=True).start()

    def bring(self, paint: Callable[[], None]) -> None:
        """From any thread: have ``paint`` called by the next drain."""
        with self._lock:
            first = not self._back
            self._back.append(paint)
        if first:
            self._woken()

    def drain(self) -> int:
        """On the event loop: paint everything that was brought. Gives how much it was."""
        painted = 0
        while True:
            with self._lock:
                if not self._back:
                    return painted
                paint = self._back.popleft()
            paint()
            painted += 1

    def _serve(self) -> None:
        while True:
            errand = self._queue.get()
            if self._is_stale(errand):
                self._done(lambda: None)
            else:
                self._do(errand)

    def _do(self, errand: Errand) -> None:
        try:
            errand.result = errand.work()
        except FleetError as error:
            errand.error = error
        except BaseException as bug:
            self._done(partial(_raise, bug))
            return
        self._done(partial(self._deliver, errand))

    def _is_stale(self, errand: Errand) -> bool:
        return bool(errand.group) and self._latest.get(errand.group) != errand.number

    def _deliver(self, errand: Errand) -> None:
        if self._is_stale(errand):
            return
        if errand.error is not None:
            errand.failed(errand.error)
        else:
            errand.then(errand.result)

    def _done(self, paint: Callable[[], None]) -> None:
        with self._lock:
            self._under_way -= 1
        self.bring(paint)


def _raise(bug: BaseException) -> None:
    """A bug on a thread is a bug of the console: it ends where every other one ends."""
    raise bug
