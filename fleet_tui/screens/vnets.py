"""Virtual networks: where instances run, how they are reached, and their HTTPS."""

from __future__ import annotations

from typing import Any

from fleet_tui.backend.instances.profiles import ListVirtualNetworks
from fleet_tui.screens.frame import bindings
from fleet_tui.screens.register import RegisterScreen


class VnetsScreen(RegisterScreen):
    KIND = "vnets"
    NOUN = "virtual-network"
    EMPTY = "no virtual network yet · n makes one, I imports a blueprint"
    BINDINGS = bindings("vnets")

    def crumbs(self) -> list[str]:
        return ["instances", "virtual networks"]

    def load(self) -> None:
        self.fetch(ListVirtualNetworks(), self.put, "vnets")

    def open_row(self, kind: str, row: Any) -> None:
        self.console.open("vnet", f"virtual-network:{row.id}")
