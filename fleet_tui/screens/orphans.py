"""Orphans: what the site has at its providers and no instance has. Every provider is asked when the list is opened, or fetched again."""

from __future__ import annotations

from fleet_tui.backend.providers import ListOrphans, OrphanList
from fleet_tui.screens.frame import bindings
from fleet_tui.screens.link import FleetChanged
from fleet_tui.screens.resource import ResourceScreen


class OrphansScreen(ResourceScreen):
    KIND = "orphans"
    EMPTY = "everything belongs to an instance"
    BINDINGS = bindings("orphans")

    def crumbs(self) -> list[str]:
        return ["orphans"]

    def load(self) -> None:
        self.fetch(ListOrphans(), self._have, "orphans")

    def _have(self, found: OrphanList) -> None:
        self.put(found.orphans)
        for why in found.unseen:  # what is there is not in the list
            self.say(f"not asked: {why}", "warning")

    def changed(self, changed: FleetChanged) -> None:
        if not changed.refs.isdisjoint(self.list.shown_keys):  # one was removed
            self.load()
