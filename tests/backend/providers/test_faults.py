"""Faults come where, to whom and as often as they were ordered; an order that is not understood says so."""

from __future__ import annotations

import pytest

from fleet_tui.backend.errors import AuthFailed, FleetError, NoCapacity, TimedOut, UsageError
from fleet_tui.backend.faults import Faults
from fleet_tui.backend.hypervisors import faults as hypervisors
from fleet_tui.backend.providers import faults as providers
from fleet_tui.backend.providers.faults import PHASES

WORDS = providers.VOCABULARY | hypervisors.VOCABULARY


def pause(seconds: float) -> None:
    raise AssertionError(f"nothing is to take {seconds} s here")


def test_a_fault_meets_its_object_and_no_other_and_is_used_up() -> None:
    faults = Faults.parse(WORDS, "create_machine:web-3:2")
    with faults.at("create_machine", "vm-1", "web-4", pause=pause):
        pass
    for _ in range(2):
        with pytest.raises(NoCapacity), faults.at("create_machine", "vm-2", "web-3", pause=pause):
            raise AssertionError("the effect must not happen")
    with faults.at("create_machine", "vm-2", "web-3", pause=pause):
        pass


def test_after_lets_the_effect_happen_and_then_fails() -> None:
    faults, effects = Faults.parse(WORDS, "after:attach_disk:*:1:auth_failed"), []
    with pytest.raises(AuthFailed), faults.at("attach_disk", "vm-1", pause=pause):
        effects.append("attached")
    assert effects == ["attached"]


def test_a_hanging_verb_ends_with_a_timeout_or_when_it_is_let_go() -> None:
    faults = Faults(WORDS, hang_s=0.01)
    faults.hang("boot", times=2)
    with pytest.raises(TimedOut), faults.at("boot", pause=pause):
        pass
    faults.release()
    with faults.at("boot", pause=pause):
        pass


def test_a_delay_is_asked_for_in_seconds() -> None:
    asked: list[float] = []
    with Faults.parse(WORDS, "delay:2.5:terminate").at("terminate", pause=asked.append):
        pass
    assert asked == [2.5]


@pytest.mark.parametrize("phase", PHASES)
def test_phases_are_named_although_they_carry_colons(phase: str) -> None:
    (fault,) = Faults.parse(WORDS, f"phase:{phase}:ci-*:3").pending()
    assert (fault.point, fault.label, fault.times, fault.effect) == (f"phase:{phase}", "ci-*", 3, "fail")
    (killed,) = Faults.parse(WORDS, f"agent-killed:phase:{phase}:db-1").pending()
    assert (killed.point, killed.label, killed.effect) == (f"phase:{phase}", "db-1", "kill")


def test_the_whole_text_form() -> None:
    found = Faults.parse(WORDS, "create_machine:web-3:2, phase:certificate:*:1,agent-killed:db-1,hang:command:restart-app,health:web 4").pending()
    assert [(f.effect, f.point, f.label, f.times) for f in found] == [
        ("fail", "create_machine", "web-3", 2), ("fail", "phase:certificate", "*", 1), ("kill", "agent", "db-1", 1),
        ("hang", "command:restart-app", "*", 1), ("fail", "health", "web 4", 1),
    ]
    assert Faults.parse(WORDS, "").pending() == ()


@pytest.mark.parametrize("text", [
    "nonsense", "phase:lunch", "boot:web:many", "delay:soon:boot", "boot:web:1:no-such-code", "boot:a:1:timeout:b", "killed:x",
])
def test_what_is_not_understood_is_named(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        Faults.parse(WORDS, f"create_machine:web-3,{text}")
    assert refused.value.hint


@pytest.mark.parametrize("point", WORDS.points)
def test_every_point_has_an_error_in_words(point: str) -> None:
    (fault,) = Faults.parse(WORDS, point).pending()
    assert isinstance(fault.reason(), FleetError) and fault.reason().message
