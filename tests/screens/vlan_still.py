"""Waiting until the map is still: what was asked about the cursor has come, what a form would do has been told."""

from __future__ import annotations

import asyncio

from textual.pilot import Pilot

from fleet_tui.screens.ask import FormDialog
from fleet_tui.screens.vlans import VlansScreen
from tests.screens.console import front, settled


async def still(pilot: Pilot[int]) -> None:
    """No timer of the map or of a form over it is under way, and nothing is asked."""
    while True:
        await settled(pilot)
        screen = front(pilot)
        waits = isinstance(screen, VlansScreen) and screen.is_asking
        if not waits and not any(one.is_asking for one in pilot.app.screen_stack if isinstance(one, FormDialog)):
            return
        await asyncio.sleep(0.02)
