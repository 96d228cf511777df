"""Lines on their way from any thread to the panel, no more of them than the panel could keep."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from threading import Lock

from fleet_tui.widgets.log_ring import Entry


class LogQueue:
    """A bounded queue of batches that knows when its reader has to be woken.

    When more lines wait than fit in the ring, the oldest are dropped and counted.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = max(1, capacity)
        self._batches: deque[Sequence[Entry]] = deque()
        self._waiting = 0
        self._skipped = 0
        self._is_awake = False
        self._lock = Lock()

    @property
    def behind(self) -> int:
        """Lines that wait or were dropped since lines were last taken."""
        return self._waiting + self._skipped

    def clear(self) -> None:
        """Forget what waits."""
        with self._lock:
            self._batches.clear()
            self._waiting = self._skipped = 0

    def put(self, lines: Iterable[Entry]) -> bool:
        """Add lines. True when the reader sleeps and is to be woken; the next ones will not say so again."""
        batch = lines if isinstance(lines, (list, tuple)) else list(lines)
        if not batch:
            return False
        with self._lock:
            self._batches.append(batch)
            self._waiting += len(batch)
            while self._waiting > self._capacity:
                self._drop(self._waiting - self._capacity)
            wake, self._is_awake = not self._is_awake, True
        return wake

    def _drop(self, count: int) -> None:
        oldest = self._batches.popleft()
        if len(oldest) > count:
            self._batches.appendleft(oldest[count:])
        dropped = min(count, len(oldest))
        self._waiting -= dropped
        self._skipped += dropped

    def take(self, limit: int) -> tuple[list[Entry], int, int] | None:
        """Up to so many lines, how many were dropped before them, and how many still wait.

        None when nothing waits: the reader may sleep, and will be woken. It may also sleep on what it cannot
        take yet, a limit of 0, until more comes.
        """
        with self._lock:
            if not self._waiting or limit <= 0:
                self._is_awake = False
                return None
            lines: list[Entry] = []
            while self._batches and len(lines) < limit:
                batch = self._batches.popleft()
                room = limit - len(lines)
                if len(batch) > room:
                    self._batches.appendleft(batch[room:])
                    batch = batch[:room]
                lines.extend(batch)
            self._waiting -= len(lines)
            skipped, self._skipped = self._skipped, 0
            return lines, skipped, self._waiting
