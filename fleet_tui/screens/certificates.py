"""The expiry board: every certificate of the fleet, the first to end at the top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fleet_tui import columns
from fleet_tui.backend.certificates import BoardEntry, ListBoard
from fleet_tui.screens.frame import bindings
from fleet_tui.screens.link import FleetChanged
from fleet_tui.screens.resource import ResourceScreen
from fleet_tui.widgets.timers import once

MOST = 10_000
"""Rows fetched; the daemon gives no more either."""
GATHER_S = 2.0
"""Changes of instances are many, and few of them are about certificates."""


class CertificatesScreen(ResourceScreen):
    KIND = "certificates"
    EMPTY = "no certificate yet: no instance serves HTTPS"
    BINDINGS = bindings("certificates")

    def __init__(self) -> None:
        super().__init__()
        self._is_gathering = False
        self._wrong = self._total = 0

    def crumbs(self) -> list[str]:
        if not self._total:
            return ["certificates"]
        wrong = f"{self._wrong:,} to look at" if self._wrong else "all well"
        return [f"certificates {self._total:,}", wrong]

    def load(self) -> None:
        self.fetch(ListBoard(limit=MOST), self._have, "board")

    def _have(self, rows: Sequence[BoardEntry]) -> None:
        self._total = len(rows)
        self._wrong = sum(columns.certificate_status(row) in ("failed", "attention") for row in rows)
        self.put(rows)

    def changed(self, changed: FleetChanged) -> None:
        if not self._is_gathering and any(ref.startswith(("instance:", "certificate:")) for ref in changed.refs):
            self._is_gathering = True
            once(self, GATHER_S, self._gathered)

    def _gathered(self) -> None:
        self._is_gathering = False
        self.load()

    def open_row(self, kind: str, row: Any) -> None:
        """Its instance, at the tab about certificates where there is one; the fleet's own are described."""
        if not row.ref.startswith("instance:"):
            self._detail(raw=False)
            return
        from fleet_tui.screens.instance import TABS

        self.console.open("instance", row.ref, tab="ssl" if "ssl" in TABS else "")

    def act_certificate_operations(self, row: Any) -> None:
        self.console.go("operations", filter_text=row.owner)
