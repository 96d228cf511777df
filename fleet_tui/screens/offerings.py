"""Offerings: the sizes that VMs come in."""

from __future__ import annotations

from fleet_tui.backend.machines import ListOfferings
from fleet_tui.screens.frame import bindings
from fleet_tui.screens.link import FleetChanged
from fleet_tui.screens.resource import ResourceScreen


class OfferingsScreen(ResourceScreen):
    KIND = "offerings"
    EMPTY = "no offering yet · :new-offering makes one"
    SORT = "name"
    BINDINGS = bindings("offerings")

    def crumbs(self) -> list[str]:
        return ["vms", "offerings"]

    def load(self) -> None:
        self.fetch(ListOfferings(), self.put, "offerings")

    def changed(self, changed: FleetChanged) -> None:
        if any(ref.startswith(("offering:", "vm:")) for ref in changed.refs):
            self.load()
