"""Threads that take turns: one runs at a time, from one of its points to the next, in an order that the test chooses.

So several operations, and the moves that each has in flight, interleave as they would in a daemon, and yet the same choices give the same
run. Time passes only when somebody sleeps, by as much as was slept.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from fleet_tui.backend.hypervisors.fake import FakeWorld
from fleet_tui.backend.store import Store

_TURNS = 5
"""Turns that others have while somebody waits for the end of a move."""


class Killed(BaseException):
    """Stands for ``kill -9``."""


class Actor:
    """One thread of the play."""

    def __init__(self, stage: Stage, name: str, work: Callable[[], None]) -> None:
        self.name, self.ended, self.doomed, self.at = name, False, False, "start"
        self.error: BaseException | None = None
        self._stage, self._work = stage, work
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def step(self) -> None:
        """Let it run to its next point, or its end."""
        if self.ended:
            return
        self._go.release()
        assert self._back.acquire(timeout=60), f"{self.name} hangs after {self.at}"
        if self.ended:
            self._thread.join(timeout=60)
        if self.error is not None:
            raise self.error

    def pause(self, label: str) -> None:
        self.at = label
        self._back.release()
        self._go.acquire()
        if self.doomed:
            raise Killed(label)

    def _run(self) -> None:
        self._stage.mine.actor = self
        self._go.acquire()
        try:
            if not self.doomed:
                self._work()
        except Killed:
            pass
        except BaseException as error:
            self.error = error
        self.ended = True
        self._back.release()


class Stage:
    """The actors, and the clock they share."""

    def __init__(self) -> None:
        self.actors: list[Actor] = []
        self.mine = threading.local()
        self.clock = StageClock(self)

    def enter(self, name: str, work: Callable[[], None]) -> Actor:
        actor = Actor(self, name, work)
        self.actors.append(actor)
        return actor

    def point(self, label: str) -> None:
        """Called by whatever an actor does: here others may have their turn. A wall for one that is to be killed."""
        actor: Actor | None = getattr(self.mine, "actor", None)
        if actor is not None:
            actor.pause(label)

    def alive(self) -> list[Actor]:
        self.actors = [actor for actor in self.actors if not actor.ended]
        return self.actors

    def kill(self) -> None:
        """Everybody at once, wherever they stand."""
        for actor in self.actors:
            actor.doomed = True
        for actor in self.alive():
            for _ in range(100):  # a thread that is unwound may come by further points
                actor.step()
                if actor.ended:
                    break
            assert actor.ended, f"{actor.name} does not die at {actor.at}"
        self.actors.clear()


class StageClock:
    """Implements :class:`Clock`."""

    def __init__(self, stage: Stage) -> None:
        self._stage, self._offset = stage, 0.0
        self._begin = datetime(2031, 5, 17, 3, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self._begin + timedelta(milliseconds=round(self._offset * 1000))

    def monotonic(self) -> float:
        return self._offset

    def sleep(self, seconds: float) -> None:
        self._offset += seconds
        self._stage.point("sleep")


class StageHands:
    """Implements :class:`Hands`: each move is an actor."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._actors: dict[str, Actor] = {}

    def start(self, key: str, work: Callable[[], None]) -> None:
        assert key not in self.busy(), f"{key} is moved twice at once"
        self._actors[key] = self._stage.enter(f"move {key}", work)

    def busy(self) -> frozenset[str]:
        return frozenset(key for key, actor in self._actors.items() if not actor.ended)

    def rest(self, seconds: float, check: Callable[[], None]) -> None:
        check()
        before = self.busy()
        for _ in range(_TURNS):
            self._stage.clock.sleep(seconds / _TURNS)
            if self.busy() != before:
                break
        check()


class StagedStore(Store):
    """A store where others have their turn, and a kill may fall, before every transaction that changes something."""

    stage: Stage | None = None

    @contextmanager
    def write(self) -> Iterator[Session]:
        if self.stage is not None:
            self.stage.point("write")
        with super().write() as tx:
            yield tx


class StagedWorld(FakeWorld):
    """A world in which nothing takes time, but every look at a migration is a point."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(pace=0.0, clock=stage.clock)
        self._stage = stage

    def pause(self, seconds: float) -> None:
        self._stage.point("flight" if self.ledger.moves else "call")
