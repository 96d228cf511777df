"""Pictures of templates and virtual networks, reviewed by eye, at the smallest and at a large size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from fleet_tui.app import FleetApp
from tests.screens.console import StillClock, eventually, press, settings
from tests.screens.registers import RegistersSession, registers
from tests.screens.test_pictures import SIZES, colour, then  # noqa: F401
from tests.screens.test_registers import put, template, vnet, word


@pytest.fixture
def site(tmp_path: Path) -> Iterator[RegistersSession]:
    with registers(tmp_path) as session:
        yield session


async def draft(pilot: Pilot[int]) -> None:
    await template(pilot)
    await press(pilot, "space", "j", "j", "u")


async def wrong_action(pilot: Pilot[int]) -> None:
    await template(pilot)
    await press(pilot, "j", "j", "enter")
    put(pilot, port="70000", host="proxy internal")
    await press(pilot, "ctrl+o")
    await eventually(pilot, lambda: not pilot.app.screen.is_asking)  # type: ignore[attr-defined]


async def tasks(pilot: Pilot[int]) -> None:
    await template(pilot)
    await press(pilot, "G", "enter")
    await eventually(pilot, lambda: not pilot.app.screen.is_asking)  # type: ignore[attr-defined]


async def wrong_network(pilot: Pilot[int]) -> None:
    await vnet(pilot)
    await press(pilot, "e")
    put(pilot, contact_mail="ops", security_groups="sg-1")
    await press(pilot, "ctrl+o")


VIEWS: dict[str, Callable[[Pilot[int]], Any]] = {
    "templates": lambda p: word(p, "templates"), "template": draft, "action-wrong": wrong_action, "action-tasks": tasks,
    "template-settings": lambda p: press_at(p, template, "e"), "template-instances": lambda p: press_at(p, template, "i"),
    "vnets": lambda p: word(p, "vnets"), "vnet": lambda p: press_at(p, vnet, "e"), "vnet-wrong": wrong_network,
}  # fmt: skip


async def press_at(pilot: Pilot[int], place: Callable[[Pilot[int]], Any], *keys: str) -> None:
    await place(pilot)
    await press(pilot, *keys)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("view", VIEWS)
def test_picture(snap_compare: Any, site: RegistersSession, view: str, size: str) -> None:
    app = FleetApp(settings(), lambda: site, StillClock())
    assert snap_compare(app, terminal_size=SIZES[size], run_before=then(VIEWS[view]))
