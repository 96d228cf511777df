"""Limits for calls that cannot be given one: when the time is up, what they wait for is taken away, and they return."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(order=True, slots=True)
class _Limit:
    due: float
    number: int
    abandon: Callable[[], None] = field(compare=False)
    is_over: bool = field(default=False, compare=False)
    was_abandoned: bool = field(default=False, compare=False)


class Deadlines:
    """One thread for any number of limits. ``abandon`` runs in it, so it must not block."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._limits: list[_Limit] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    @contextmanager
    def within(self, seconds: float, abandon: Callable[[], None]) -> Iterator[Callable[[], bool]]:
        """Have ``abandon`` called unless the block ends in time. Gives a function that says whether it was."""
        limit = _Limit(time.monotonic() + seconds, next(self._numbers), abandon)
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="deadlines", daemon=True)
                self._thread.start()
            heapq.heappush(self._limits, limit)
            if self._limits[0] is limit:
                self._changed.notify()
        try:
            yield lambda: limit.was_abandoned
        finally:
            with self._changed:
                limit.is_over = True
                while self._limits and self._limits[0].is_over:
                    heapq.heappop(self._limits)

    def _watch(self) -> None:
        while True:
            with self._changed:
                while not self._limits or self._limits[0].due > time.monotonic():
                    self._changed.wait(max(self._limits[0].due - time.monotonic(), 0.0) if self._limits else None)
                limit = heapq.heappop(self._limits)
                limit.was_abandoned = not limit.is_over
            if limit.was_abandoned:
                limit.abandon()


within = Deadlines().within
