"""What a refused move of a host says that can be done instead."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from fleet_tui.backend.hosts.rows import HostRow
from fleet_tui.backend.hosts.states import HostEvent, ResourceState
from fleet_tui.backend.hosts.transitions import refusal


def test_what_is_possible_is_said_by_the_names_of_its_commands_and_changes_something() -> None:
    host = cast(HostRow, SimpleNamespace(name="kvm-1", resource_state=ResourceState.ENABLED.value))
    refused = refusal(host, HostEvent.CANCEL_DEGRADED)
    assert refused is not None
    possible = refused.hint.removeprefix("possible now: ").split(", ")
    assert {"disable", "maintain"} <= set(possible)
    assert "enable" not in possible, "it is"
    assert not [said for said in possible if " " in said and said != "nothing"]
