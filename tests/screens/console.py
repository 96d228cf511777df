"""The console over a stub session, in a headless terminal, with a clock that stands still."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from textual import events
from textual.color import Color
from textual.keys import _character_to_key
from textual.pilot import Pilot

from fleet_tui.app import FleetApp
from fleet_tui.backend.directories import Directories
from fleet_tui.screens.frame import FleetScreen
from fleet_tui.settings import Settings
from tests import waiting
from tests.fleet_stub import NOW, StubSession


class StillClock:
    """Wall time does not move; durations do."""

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def settings(home: Path = Path("/nonexistent"), **fields: Any) -> Settings:
    return Settings(directories=Directories(home, home, home), theme="fleet-dark", **fields)


@asynccontextmanager
async def console(
    session: StubSession, size: tuple[int, int] = (100, 30), app: FleetApp | None = None, **fields: Any
) -> AsyncIterator[Pilot[int]]:
    app = app or FleetApp(settings(**fields), lambda: session, StillClock())
    async with app.run_test(size=size, notifications=True) as pilot:
        await settled(pilot)
        yield pilot


async def settled(pilot: Pilot[int]) -> None:
    """Until every question is answered and painted and no message waits anywhere."""
    app = pilot.app
    assert isinstance(app, FleetApp)

    def quiet() -> bool:
        pumps = [app, *app.screen_stack, *app.screen.walk_children()]
        return (
            (app.session is not None or app.link_error is not None)
            and app.errands.idle
            and not app.drain_waits
            and app.turns.idle
            and all(pump.message_queue_size == 0 for pump in pumps)
            and not (app.screen._layout_required or app.screen._repaint_required or app.screen._dirty_widgets)  # such as a toast that has just come
        )

    await waiting.calm(quiet, 4, what="the console did not settle")


async def eventually(pilot: Pilot[int], true: Callable[[], Any], what: str = "") -> Any:
    """Wait for the thing itself."""
    return await waiting.eventually(true, what=what)


async def press(pilot: Pilot[int], *keys: str) -> None:
    """Press keys one by one, each after the one before has had its effect."""
    for key in keys:
        _send(pilot, key)
        await settled(pilot)


async def type_in(pilot: Pilot[int], text: str) -> None:
    """Type as fast as a person pastes."""
    for character in text:
        _send(pilot, character)
    await settled(pilot)


def _send(pilot: Pilot[int], key: str) -> None:
    """The event a terminal's key becomes; `Pilot.press` waits for an idle processor after each, which other tests never grant."""
    character = key if len(key) == 1 else _CHARACTERS.get(key)
    event = events.Key(_character_to_key(key) if len(key) == 1 else key, character)
    event.set_sender(pilot.app)
    assert pilot.app._driver is not None
    pilot.app._driver.send_message(event)


_CHARACTERS = {"space": " ", "enter": "\r", "tab": "\t", "colon": ":", "slash": "/", "asterisk": "*", "question_mark": "?"}


def front(pilot: Pilot[int]) -> FleetScreen:
    """The screen under any dialog."""
    screen = next(s for s in reversed(pilot.app.screen_stack) if isinstance(s, FleetScreen))
    return screen


def picture(pilot: Pilot[int]) -> str:
    """What is on the screen, as text."""
    return "\n".join(strip.text for strip in pilot.app.screen._compositor.render_strips())


def picture_as_painted(pilot: Pilot[int]) -> str:
    """What is on the screen after the filters that stand before the terminal."""
    app, background = pilot.app, Color(0, 0, 0)
    painted = []
    for strip in app.screen._compositor.render_strips():
        segments = list(strip)
        for each in app._filters:
            segments = each.apply(segments, background)
        painted.append("".join(segment.text for segment in segments))
    return "\n".join(painted)


def toasts(pilot: Pilot[int]) -> str:
    return "\n".join(note.message for note in pilot.app._notifications)
