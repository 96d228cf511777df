"""Keys that come together, typed ahead or over a slow link: each works on what the one before it has left."""

from __future__ import annotations

from typing import Any

from textual import events
from textual.pilot import Pilot
from textual.screen import ModalScreen
from textual.widgets import Input

from fleet_tui.screens import turns
from tests.screens.console import _send, console, eventually, front, picture, press, settled, toasts
from tests.screens.test_console import fleet


async def together(pilot: Pilot[int], *keys: str) -> None:
    """All of them at once, before the first is looked at."""
    for key in keys:
        _send(pilot, key)
    await settled(pilot)


async def test_a_key_after_the_one_that_leaves_a_dialog() -> None:
    async with console(fleet()) as pilot:
        await press(pilot, "2", "x")
        assert isinstance(pilot.app.screen, ModalScreen)
        await together(pilot, "escape", "d")
        assert front(pilot).KIND == "detail"


async def test_letters_after_the_key_that_opens_what_they_are_for() -> None:
    async with console(fleet()) as pilot:
        await press(pilot, "2")
        await together(pilot, "x", "l", "o", "g", "s", "enter")
        assert front(pilot).KIND == "logs"
        await together(pilot, "escape", *":events", "enter", "slash", *"web", "enter")
        assert front(pilot).KIND == "events" and "/web" in picture(pilot)


async def test_a_paste_waits_for_its_turn_too() -> None:
    async with console(fleet()) as pilot:
        await press(pilot, "2")
        _send(pilot, "x")
        pilot.app._driver.send_message(events.Paste("describe"))  # type: ignore[union-attr]
        await settled(pilot)
        assert pilot.app.screen.query_one("#search", Input).value == "describe"


async def test_what_goes_away_under_a_key_costs_a_moment_and_no_key(monkeypatch: Any) -> None:
    """The widget that has the key never says that it is done with it."""
    monkeypatch.setattr(turns, "PATIENCE_S", 0.05)
    async with console(fleet()) as pilot:
        await press(pilot, "2")
        lost = pilot.app.focused
        assert lost is not None
        monkeypatch.setattr(lost, "call_later", lambda *_: True)
        await together(pilot, "j", "3")
        await eventually(pilot, lambda: "› hosts" in picture(pilot))
        assert toasts(pilot) == ""
