"""What is due when, for any number of simulated things, in one thread."""

from __future__ import annotations

import heapq
import logging
import threading
from collections.abc import Callable
from itertools import count

from fleet_tui.backend.clock import Clock

log = logging.getLogger("fleetd.simulation")

Act = Callable[[], None]


class Timetable:
    """Acts run one after the other in the order they are due. An act that fails is logged; the others go on."""

    def __init__(self, clock: Clock, name: str) -> None:
        self._clock = clock
        self._due: list[tuple[float, int, Act]] = []
        self._number = count()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def after(self, seconds: float, act: Act) -> None:
        with self._changed:
            heapq.heappush(self._due, (self._clock.monotonic() + seconds, next(self._number), act))
            self._changed.notify_all()

    def every(self, seconds: Callable[[], float], act: Act) -> None:
        """Repeat, whatever becomes of one round; ``seconds`` is asked before each."""

        def again() -> None:
            try:
                act()
            finally:
                self.after(seconds(), again)

        self.after(seconds(), again)

    def close(self) -> None:
        """Nothing more runs when this returns."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout=10)

    def _next(self) -> Act | None:
        """The act that is due, when it is; ``None`` at the end."""
        with self._changed:
            while not self._closed:
                pause = self._due[0][0] - self._clock.monotonic() if self._due else None
                if pause is not None and pause <= 0:
                    return heapq.heappop(self._due)[2]
                self._changed.wait(pause)
            return None

    def _run(self) -> None:
        while (act := self._next()) is not None:
            try:
                act()
            except Exception:
                log.exception("the simulated fleet stumbled; it goes on")
