"""A timer goes off, also when the machine was too busy to look at the clock in time."""

from __future__ import annotations

import itertools

import pytest
from textual import timer
from textual.app import App

from fleet_tui.widgets.timers import once
from tests.waiting import eventually


async def test_one_that_is_late_goes_off_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    gone: list[str] = []
    app: App[None] = App()
    async with app.run_test():
        ticks = itertools.count()
        monkeypatch.setattr(timer._time, "get_time", lambda: float(next(ticks)))  # a second passes between any two looks
        once(app, 0.01, lambda: gone.append("late"))
        await eventually(lambda: gone)
    assert gone == ["late"]


async def test_one_that_is_stopped_does_not() -> None:
    gone: list[str] = []
    app: App[None] = App()
    async with app.run_test():
        once(app, 0.2, lambda: gone.append("stopped")).stop()
        once(app, 0.3, lambda: gone.append("later"))
        await eventually(lambda: gone)
    assert gone == ["later"]
