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
        screen, top = front(pilot), pilot.app.screen
        waits = isinstance(screen, VlansScreen) and screen.is_asking
        if isinstance(top, FormDialog):
            waits = waits or top.is_asking
        if not waits:
            return
        await asyncio.sleep(0.02)
