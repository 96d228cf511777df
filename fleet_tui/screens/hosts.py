"""Hosts: a small list, fetched whole; figures are refreshed when the daemon says a host changed."""

from __future__ import annotations

from fleet_tui.backend.hosts import ListHosts
from fleet_tui.screens.frame import bindings
from fleet_tui.screens.link import FleetChanged
from fleet_tui.screens.resource import ResourceScreen


class HostsScreen(ResourceScreen):
    KIND = "hosts"
    EMPTY = "no hosts"
    BINDINGS = bindings("hosts")

    def load(self) -> None:
        self.fetch(ListHosts(), self.put, "hosts")

    def changed(self, changed: FleetChanged) -> None:
        if any(ref.startswith("host:") for ref in changed.refs):
            self.load()
