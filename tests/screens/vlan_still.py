"""Waiting until the map is still: what was asked about the cursor has come, what a form would do has been told."""

from __future__ import annotations

from textual.pilot import Pilot

from fleet_tui.screens.ask import FormDialog
from fleet_tui.screens.vlans import VlansScreen
from tests.screens.console import eventually, front, settled


async def still(pilot: Pilot[int]) -> None:
    """No timer of the map or of a form over it is under way, and nothing is asked."""

    def is_still() -> bool:
        screen = front(pilot)
        waits = isinstance(screen, VlansScreen) and screen.is_asking
        return not waits and not any(one.is_asking for one in pilot.app.screen_stack if isinstance(one, FormDialog))

    await settled(pilot)
    await eventually(pilot, is_still, "the map's timers ran out")
    await settled(pilot)
