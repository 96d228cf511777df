"""A host is emptied: every VM by its treatment, tried again when it fails, found again after a crash, and never stopped silently."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fleet_tui.backend.maintenance import MaintainHost
from fleet_tui.backend.operations import OperationState
from tests.backend.maintenance.fleet import Fleet

Make = Callable[..., Fleet]


def ask(host: str = "h0", **values: object) -> MaintainHost:
    return MaintainHost(**{"target": host, "reason": "replace DIMM A3", "confirmed": True, **values})  # type: ignore[arg-type]


def test_a_host_is_emptied_and_ready(make_fleet: Make) -> None:
    fleet = make_fleet()
    for name, gib in (("a", 1), ("b", 4), ("c", 2)):
        fleet.add_vm(name, "h0", gib=gib)
    fleet.add_vm("off", "h0", is_running=False)
    record = fleet.through("host.maintain", ask())
    assert record.state is OperationState.SUCCEEDED, record.error
    assert fleet.host("h0").resource_state == "Maintenance"
    assert all(fleet.where(name) in (("h1",), ("h2",)) for name in "abc")
    assert {name: row.state for name, row in fleet.evacuees("h0").items()} == {"a": "moved", "b": "moved", "c": "moved", "off": "stopped"}


if __name__ == "__main__":
    pytest.main([__file__])
