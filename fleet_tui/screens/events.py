"""Events: what happened in the fleet, newest first, in sentences."""

from __future__ import annotations

from typing import Any

from fleet_tui.backend.events import ListEvents
from fleet_tui.screens.frame import bindings
from fleet_tui.screens.link import FleetChanged
from fleet_tui.screens.resource import ResourceScreen

KEPT = 500


class EventsScreen(ResourceScreen):
    KIND = "events"
    EMPTY = "nothing has happened yet"
    BINDINGS = bindings("events")

    def load(self) -> None:
        self.fetch(ListEvents(limit=KEPT), self.put, "events")

    def changed(self, changed: FleetChanged) -> None:
        if changed.audible:
            self.load()

    def open_row(self, kind: str, row: Any) -> None:
        """Go to what the event is about."""
        what, _, _ = row.ref.partition(":")
        if what in ("instance", "operation"):
            self.console.open(what, row.ref)
        else:
            super().open_row(kind, row)
