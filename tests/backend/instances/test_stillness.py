"""A snapshot that is copied over minutes counts only when the application kept still from its beginning to its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from fleet_tui.backend.errors import TimedOut, WrongState
from fleet_tui.backend.instances.stillness import LIMIT_S, Still
from tests.waiting import until

FROZEN = "frozen for at most 600 s"


class Rig:
    """A step's context, and an agent that answers as it is told to. Every freeze takes as long as ``takes_s`` says."""

    def __init__(self) -> None:
        self.now, self.takes_s = 0.0, 0.0
        self.answers: Callable[[], tuple[str, str]] = lambda: ("done", FROZEN)
        self.given: dict[str, SimpleNamespace] = {}
        self.operation, self.token = SimpleNamespace(id="o-1", target="web"), "o-1:copy"
        self._agents = SimpleNamespace(command=self._command, answer=self._answer, ring=lambda: None)

    def use(self, wanted: type) -> Any:
        return SimpleNamespace(agents=self._agents, clock=SimpleNamespace(monotonic=lambda: self.now))

    @contextmanager
    def read(self) -> Iterator[None]:
        yield

    write = read

    def wait(self, predicate: Callable[[], Any], timeout_s: float) -> Any:
        if found := predicate():
            return found
        raise TimedOut("in vain")

    def _command(self, tx: None, machine: str, token: str, verb: str, arguments: dict[str, float]) -> SimpleNamespace:
        assert verb == "freeze"
        return self.given.setdefault(token, SimpleNamespace(state="given", **arguments))

    def _answer(self, tx: None, token: str) -> tuple[str, str]:
        self.now += self.takes_s
        state, detail = self.answers()
        self.given[token].state = state
        return state, detail


def copied(rig: Rig, renewals: int) -> None:
    with Still(rig, "m-1", every_s=0.001):  # type: ignore[arg-type]
        until(lambda: len(rig.given) > renewals, what="it is told again while the copy lasts")


def test_a_copy_longer_than_the_agent_holds_still_by_itself() -> None:
    rig = Rig()
    rig.takes_s = LIMIT_S / 2
    copied(rig, 4)
    assert rig.now > 2 * LIMIT_S and {row.limit_s for row in rig.given.values()} == {LIMIT_S}


def test_told_again_too_late_the_copy_is_worth_nothing() -> None:
    rig = Rig()
    with pytest.raises(WrongState, match="did not stay still"), Still(rig, "m-1"):  # type: ignore[arg-type]
        rig.now += LIMIT_S + 1


def test_an_application_that_began_to_run_meanwhile() -> None:
    rig = Rig()
    rig.answers = lambda: ("done", "it does not run" if len(rig.given) == 1 else FROZEN)
    with pytest.raises(WrongState, match="did not stay still"):
        copied(rig, 1)


def test_an_agent_that_does_not_answer_finds_no_freeze_later_on() -> None:
    rig = Rig()
    rig.answers = lambda: ("given", "")
    with pytest.raises(TimedOut, match="did not freeze"):
        copied(rig, 0)
    assert [row.state for row in rig.given.values()] == ["withdrawn"]


def test_an_agent_that_falls_silent_during_the_copy() -> None:
    rig = Rig()
    rig.answers = lambda: ("done", FROZEN) if len(rig.given) == 1 else ("given", "")
    with pytest.raises(TimedOut, match="did not freeze"):
        copied(rig, 2)
