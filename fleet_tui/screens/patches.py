"""The ledger of hypervisor patches, whole or for one host's version. The product fetches no vendor's announcements by itself."""

from __future__ import annotations

from collections.abc import Sequence

from fleet_tui.backend.hosts import ListPatches, PatchRecord
from fleet_tui.screens.frame import bindings
from fleet_tui.screens.link import FleetChanged
from fleet_tui.screens.resource import ResourceScreen


class PatchesScreen(ResourceScreen):
    KIND = "patches"
    EMPTY = "the ledger is empty · :import-patches takes a list in; nothing is fetched from vendors"
    BINDINGS = bindings("patches")

    def __init__(self) -> None:
        super().__init__()
        self._hypervisor = self._version = ""

    def aim(self, ref: str, *, hypervisor: str = "", version: str = "") -> None:
        self._hypervisor, self._version, self.is_loaded = hypervisor, version, False
        super().aim(ref)

    def crumbs(self) -> list[str]:
        return ["hosts", "patches", *([f"{self._hypervisor} {self._version}"] if self._hypervisor else [])]

    def load(self) -> None:
        self.fetch(ListPatches(self._hypervisor), self._have, "patches")

    def _have(self, rows: Sequence[PatchRecord]) -> None:
        self.put([row for row in rows if self._version in ("", row.version)])

    def changed(self, changed: FleetChanged) -> None:
        if any(ref.startswith(("patch", "host:")) for ref in changed.refs):
            self.load()
