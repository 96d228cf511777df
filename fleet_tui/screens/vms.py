"""VMs, of the fleet or of one host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fleet_tui.backend.machines import ListVms, VmRecord
from fleet_tui.screens.frame import bindings
from fleet_tui.screens.paged import PagedScreen


class VmsScreen(PagedScreen):
    KIND = "vms"
    NOUN, ROWS = "vm", "vms"
    EMPTY = "no VM here · N makes one"
    SORT = "name"
    GATHER_S = 2.0
    """A fleet on the move has many changes."""
    BINDINGS = bindings("vms")

    def __init__(self) -> None:
        super().__init__()
        self._host = ""

    def aim(self, ref: str, *, host: str = "") -> None:
        if ref != self.ref:
            self._host, self.is_loaded = host, False
            if self.is_mounted:
                self.list.set_rows([])
        super().aim(ref)

    def crumbs(self) -> list[str]:
        return ["hosts", self._host, self.counted("vms")] if self._host else [self.counted("vms")]

    def asking(self) -> Callable[..., ListVms]:
        """Those asked for by name are, wherever they are: one may have left this host."""
        host = self._host
        return lambda refs=(), **fields: ListVms(host="" if refs else host, refs=refs, **fields)

    def belongs(self, row: VmRecord) -> bool:
        return self._host in ("", row.host)

    def open_row(self, kind: str, row: Any) -> None:
        self.console.open("vm", f"vm:{row.id}")
