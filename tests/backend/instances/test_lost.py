"""When a machine that starts up is given up because its agent is gone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fleet_tui.backend.errors import Unreachable
from fleet_tui.backend.instances.steps import LOST_S, Lost
from fleet_tui.backend.providers import MachineInfo, MachineState
from fleet_tui.backend.providers.aws import AwsProvider
from fleet_tui.backend.providers.local import LocalProvider

ON, OFF = MachineState.ON, MachineState.OFF


class Far:
    """A provider that sees what it is told to; ``None``: it does not answer. The last one stays."""

    def __init__(self, look_s: float, *seen: MachineState | None) -> None:
        self.look_s, self.seen, self.looks = look_s, list(seen), 0

    def find_machine(self, machine_id: str) -> MachineInfo:
        state = self.seen[min(self.looks, len(self.seen) - 1)]
        self.looks += 1
        if state is None:
            raise Unreachable("AWS (ec2) cannot be reached")
        return MachineInfo(machine_id, state)


def given_up(provider: Any, seconds: float = 120.0) -> float | None:
    """After how many seconds of asking ten times a second; ``None`` when it is not."""
    time = SimpleNamespace(now=0.0)
    lost = Lost(SimpleNamespace(clock=SimpleNamespace(monotonic=lambda: time.now)), provider, "vm-1")  # type: ignore[arg-type]
    while time.now < seconds:
        if lost():
            return float(time.now)
        time.now = round(time.now + 0.1, 1)
    return None


@pytest.mark.parametrize("look_s", [LocalProvider.look_s, AwsProvider.look_s, 60.0])
def test_one_look_that_was_wrong_gives_nothing_up(look_s: float) -> None:
    provider = Far(look_s, ON, OFF, ON)
    assert given_up(provider, 10 * look_s) is None and provider.looks >= 3


@pytest.mark.parametrize("look_s", [LocalProvider.look_s, AwsProvider.look_s])
def test_a_machine_without_its_agent_is_given_up_by_a_later_look(look_s: float) -> None:
    provider = Far(look_s, OFF)
    after = given_up(provider)
    assert after is not None and provider.looks >= 2 and after - look_s >= LOST_S


def test_a_provider_that_does_not_answer_fails_no_start_up() -> None:
    assert given_up(Far(AwsProvider.look_s, None)) is None
    assert given_up(Far(AwsProvider.look_s, OFF, None, None, ON)) is None
    assert given_up(Far(AwsProvider.look_s, None, OFF, None, OFF)) is not None, "what it says once it answers counts"
