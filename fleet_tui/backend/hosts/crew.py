"""A bounded number of threads that wait for far sides, the urgent first. They never keep the process from ending."""

from __future__ import annotations

import itertools
import logging
import queue
import threading
from collections.abc import Callable

log = logging.getLogger("fleetd.links")

Job = Callable[[], None]


class Crew:
    """At most ``size`` threads, made when there is work for them."""

    def __init__(self, name: str, size: int) -> None:
        self._name, self._size = name, size
        self._jobs: queue.PriorityQueue[tuple[int, int, Job | None]] = queue.PriorityQueue()
        self._order = itertools.count()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._idle = 0

    def give(self, job: Job, *, urgent: bool = False) -> None:
        self._jobs.put((0 if urgent else 1, next(self._order), job))
        with self._lock:
            if self._idle >= self._jobs.qsize() or len(self._threads) >= self._size:
                return
            thread = threading.Thread(target=self._work, name=f"{self._name}-{len(self._threads) + 1}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self, timeout_s: float) -> None:
        """Let what runs, and what is urgent, end, for so long; what else waits in line is left."""
        with self._lock:
            threads = tuple(self._threads)
        for _ in threads:
            self._jobs.put((0, next(self._order), None))
        for thread in threads:
            thread.join(timeout=max(0.0, timeout_s / len(threads)))

    def _work(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            _, _, job = self._jobs.get()
            with self._lock:
                self._idle -= 1
            if job is None:
                return
            try:
                job()
            except Exception:
                log.exception("a job of the %s crew failed", self._name)
