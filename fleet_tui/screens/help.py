"""``?``: the keys of this screen, from the one table; searched as typed, and run with enter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleet_tui import commands
from fleet_tui.actions import ACTIONS
from fleet_tui.screens import dialogs

if TYPE_CHECKING:
    from fleet_tui.screens.frame import FleetScreen


def show_help(screen: FleetScreen) -> None:
    """Offer every key there is here; the chosen one is done."""
    offers = commands.sheet(screen.KIND, screen.rows_aimed_at(), screen.console.record, screen.console.keymap)
    items = [dialogs.Item(o.id, o.title, o.keys, o.note, o.why_not, o.heading) for o in offers]
    dialogs.choose(screen.app, f"Keys of {screen.KIND}", items, lambda id_: screen.perform(ACTIONS[id_]))
