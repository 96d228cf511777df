"""Pictures of the map, reviewed by eye: at both sizes, in colour, in sixteen colours, without colour and in ASCII."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest
from textual.pilot import Pilot

from fleet_tui.app import FleetApp, pane_app
from fleet_tui.backend.identity import Role
from fleet_tui.screens.ask import FormDialog
from tests.fleet_stub import StubSession
from tests.screens.console import StillClock, eventually, front, picture, settings, settled
from tests.screens.fabrics import vlans_fleet
from tests.screens.test_pictures import SIZES, at
from tests.screens.vlan_still import still


@pytest.fixture(autouse=True)
def colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("FLEET_GLYPHS", "unicode")


VIEWS: dict[str, tuple[str, ...]] = {
    "map": ("4",),
    "free": ("4", "g", "=739", "enter"),
    "conflict": ("4", "n", "n"),
    "outside": ("4", "P", "k", "k", "enter"),
    "hosts": ("4", "H"),
    "networks": ("4", "P"),
    "zoomed": ("4", "Z"),
    "overlay": ("4", "P", "G", "enter", "Z", "Z", "Z", "Z"),
    "marked": ("4", "g", "=610", "enter", "v", "down", "right"),
    "problems": ("4", "z"),
    "filter": ("4", "F", "=project:mail", "enter"),
    "no-match": ("4", "F", "=nobody", "enter"),
    "goto": ("4", "g", "=80"),
    "ranges": ("4", "e", "end", *["backspace"] * 4, "=3999,4010-4020"),
    "ranges-in-use": ("4", "_"),
    "ranges-wrong": ("4", "e", "=x,", "ctrl+o"),
    "ranges-remove": ("4", "e", "end", *["backspace"] * 4, "=3999", "ctrl+o"),
    "dedicate": ("4", "g", "=900", "enter", "a"),
    "scope": ("4", "g", "=900", "enter", "S"),
    "scheme": ("4", "P", "G", "enter", "t"),
    "save": ("4", "s"),
    "menu": ("4", "x"),
    "keys": ("4", "question_mark"),
    "describe": ("4", "g", "=640", "enter", "d"),
    "repair": ("4", "R"),
    "new": ("4", "colon", "=new-physnet", "enter"),
}


def before(*keys: str) -> Any:
    async def go(pilot: Pilot[int]) -> None:
        await settled(pilot)
        await at(pilot, *keys)
        app = pilot.app
        if isinstance(app.screen, FormDialog) and app.screen.spec is not None and app.screen.spec.preview is not None:
            await eventually(pilot, lambda: "asking what it would do" not in picture(pilot))
        await still(pilot)
        app.clear_notifications()
        await settled(pilot)

    return go


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("view", VIEWS)
def test_picture(snap_compare: Any, view: str, size: str) -> None:
    session = vlans_fleet()
    assert "NO_COLOR" not in os.environ
    assert snap_compare(FleetApp(settings(), lambda: session, StillClock()), terminal_size=SIZES[size], run_before=before(*VIEWS[view]))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("look", ["ansi", "no-colour", "ascii", "light", "contrast"])
def test_other_looks(snap_compare: Any, monkeypatch: pytest.MonkeyPatch, look: str, size: str) -> None:
    if look in ("no-colour", "ascii"):
        monkeypatch.setenv("NO_COLOR", "1")
    if look == "ascii":
        monkeypatch.setenv("FLEET_GLYPHS", "ascii")
    theme = {"light": "fleet-light", "contrast": "fleet-contrast"}.get(look, "ansi-dark")
    session = vlans_fleet()
    app = FleetApp(replace(settings(), theme=theme, ascii=look == "ascii"), lambda: session, StillClock())
    assert snap_compare(app, terminal_size=SIZES[size], run_before=before("4", "H"))


STATES = {
    "well": lambda: vlans_fleet(problems=False, overlay=False), "auditor": lambda: vlans_fleet(Role.AUDITOR),
    "none": lambda: StubSession(Role.ROOT_ADMIN),
}  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("state", STATES)
def test_another_fleet(snap_compare: Any, state: str, size: str) -> None:
    session = STATES[state]()
    assert snap_compare(FleetApp(settings(), lambda: session, StillClock()), terminal_size=SIZES[size], run_before=before("4"))


@pytest.mark.parametrize("view", ["map", "hosts", "overlay", "ranges"])
def test_half_a_screen(snap_compare: Any, view: str) -> None:
    session = vlans_fleet()
    assert snap_compare(FleetApp(settings(), lambda: session, StillClock()), terminal_size=(120, 36), run_before=before(*VIEWS[view]))


@pytest.mark.parametrize("size", [(60, 12), (80, 24), (100, 30)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_pane(snap_compare: Any, size: tuple[int, int]) -> None:
    session = vlans_fleet()
    app = pane_app(settings(), lambda: session, ("vlans", "guest-net-1"), StillClock())

    async def go(pilot: Pilot[int]) -> None:
        await eventually(pilot, lambda: front(pilot) is not None and "[~]" in picture(pilot))
        await still(pilot)

    assert snap_compare(app, terminal_size=size, run_before=go)
