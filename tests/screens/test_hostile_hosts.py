"""Hosts, VMs and maintenance whose every word attacks the terminal or the framework: nothing of it is obeyed, and nothing breaks.

The daemon cleans what it stores; here it is as if it had not. The bytes of a real terminal are looked at in ``tests/terminal``.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from fleet_tui.backend import maintenance as mt
from fleet_tui.backend.errors import InvalidInput, Problem
from fleet_tui.backend.machines import PreviewRatio
from tests.fleet_stub import NOW, StubSession
from tests.infrastructure_stub import session
from tests.screens.console import console, eventually, front, picture_as_painted, press, settled, type_in
from tests.screens.infrastructure import hosts_fleet
from tests.terminal.hostile import MARK
from tests.terminal.sequences import is_foreign

SHORT = f"{MARK}\x1b]52;c;ZXZpbA==\x07\x9b31m\u202e[/nope][@click=app.quit][link=x]\x1b[2J\u200b\n\r"
KEPT = frozenset({"id", "vm_ref", "host_ref", "vm_id", "location", "zone", "pod", "resource_state", "connection_state", "operation_id", "host_key"})
"""Fields by which things are found, and those that the table must know."""


def spoiled(record: Any) -> Any:
    """The record with every free word in it replaced by an attack."""
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if field.name in KEPT:
            continue
        if type(value) is str:
            changes[field.name] = f"{value} {SHORT}"
        elif isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
            changes[field.name] = tuple(spoiled(item) for item in value)
        elif isinstance(value, tuple) and value and isinstance(value[0], str):
            changes[field.name] = tuple(f"{item} {SHORT}" for item in value)
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            changes[field.name] = spoiled(value)
    return dataclasses.replace(record, **changes)


def besieged() -> StubSession:
    stub = hosts_fleet()
    stub.hosts = [spoiled(dataclasses.replace(row, operation=SHORT, error=SHORT, nics=("eth0",), tags=("t",))) for row in stub.hosts]
    stub.patches = [spoiled(row) for row in stub.patches]
    stub.offerings = [spoiled(row) for row in stub.offerings]
    stub.vms = {key: dataclasses.replace(spoiled(row), name=f"{row.name} {SHORT}", host=row.host) for key, row in stub.vms.items()}
    stub.sessions = {key: dataclasses.replace(spoiled(row), host=key) for key, row in stub.sessions.items()}
    stub.clusters = [dataclasses.replace(row, mismatch={SHORT: SHORT}, dedicated_account=SHORT) for row in stub.clusters]
    blocker = mt.Blocker("in_use", SHORT, SHORT, SHORT)
    moves = tuple(mt.ForecastMove(f"{n} {SHORT}", f"vm:{n}", 1024, "" if n == 1 else SHORT, SHORT) for n in range(3))
    stub.forecast = mt.ForecastRecord("", (blocker,), (blocker,), moves, False, 2, 9.0)
    groups, preview = (mt.RollingGroup((SHORT, SHORT), 3),), spoiled(stub._PreviewRatio(PreviewRatio("kvm-a", 2.0)))
    stub._PlanRolling = lambda _request: mt.RollingPlan(SHORT, groups, (blocker,))  # type: ignore[method-assign]
    stub._PreviewRatio = lambda _request: preview  # type: ignore[method-assign]
    stub.lines = [dataclasses.replace(line, text=f"{SHORT} {n}", phase=SHORT, label=SHORT) for n, line in enumerate(stub.lines)]
    stub.rooms = tuple(dataclasses.replace(room, zone=SHORT) for room in stub.rooms)
    return stub


KVM_17 = ("3", "slash", "=prepare", "enter")
PLACES: dict[str, tuple[str, ...]] = {
    "dashboard": ("1",), "hosts": ("3", "w"), "tree": ("3", "t", "j", "j", "j", "right", "d"), "menu": ("3", "x"), 
    "host": ("3", "enter", "right", "right", "right", "right", "right"), "host-raw": ("3", "enter", "y"),
    "vms": ("colon", "=vms", "enter", "w"), "vm": ("colon", "=vms", "enter", "enter"), "vm-menu": ("colon", "=vms", "enter", "x"),
    "vm-move": ("colon", "=vms", "enter", "m"), "vm-stop": ("colon", "=vms", "enter", "S"), "vm-edit": ("colon", "=vms", "enter", "e"),
    "serial": ("colon", "=vms", "enter", "s"), "patches": ("colon", "=patches", "enter", "d"), "offerings": ("colon", "=offerings", "enter"),
    "maintenance": (*KVM_17, "m", "j", "j"), "maintenance-describe": (*KVM_17, "m", "d"), "maintenance-menu": (*KVM_17, "m", "x"),
    "checklist": (*KVM_17, "m", "K"), "cancel": (*KVM_17, "m", "C"), "edit": (*KVM_17, "m", "e"), "announce": (*KVM_17, "m", "A"),
    "forecast": ("3", "m", "j"), "start": ("3", "m", "M", f"={MARK}", "ctrl+o"), "rolling": ("3", "t", "j", "j", "j", "M"),
    "add": ("3", "n", "=x", "tab", "tab", "tab", "tab", "tab", "=y", "ctrl+o"), "new-vm": ("colon", "=new-vm", "enter"),
    "ratio": ("3", "t", "j", "j", "j", "O"), "edit-host": ("3", "e"),
    "refused": ("colon", "=new-zone", "enter", f"={MARK}", "ctrl+o"),
}


@pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=["80x24", "160x48"])
@pytest.mark.parametrize("place", PLACES)
async def test_hostile_words_do_nothing(place: str, size: tuple[int, int]) -> None:
    stub = besieged()

    def refuse(_request: object) -> Any:
        raise InvalidInput(SHORT, problems=[Problem("name", SHORT), Problem("elsewhere", SHORT)], hint=SHORT)

    stub._CreateZone = refuse  # type: ignore[method-assign]
    stub._ReadGuestLog = lambda request: type(hosts_fleet()._ReadGuestLog(request))(9, f"{SHORT}\n{SHORT}")  # type: ignore[method-assign]
    async with console(stub, size) as pilot:
        for key in PLACES[place]:
            if key.startswith("="):
                await type_in(pilot, key[1:])
            else:
                await press(pilot, key)
        await eventually(pilot, lambda: "asking what it would do" not in picture_as_painted(pilot))
        await settled(pilot)
        seen = picture_as_painted(pilot)
        assert MARK in seen
        assert sorted({ascii(c) for c in seen.replace("\n", "") if is_foreign(c)}) == []
        assert pilot.app.is_running and front(pilot)
        assert all(len(line) <= size[0] for line in seen.splitlines())


async def test_a_session_of_the_far_past_or_future_is_shown() -> None:
    stub = hosts_fleet()
    stub.put_session(session("kvm-17", state_since=NOW.replace(year=1), planned_end=NOW.replace(year=9999), started_at=NOW.replace(year=1)))
    async with console(stub) as pilot:
        await press(pilot, "3", "slash")
        await type_in(pilot, "kvm-17")
        await press(pilot, "enter", "m")
        assert "replace DIMM A3" in picture_as_painted(pilot)
