"""VMs, of the fleet or of one host: pages of 500 fetched when first shown; afterwards only what events name.

What is on screen is asked for at once; of the rest, changes are gathered for two seconds, for a fleet on the move has many.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from fleet_tui.backend.machines import ListVms, VmPage, VmRecord
from fleet_tui.screens.frame import bindings
from fleet_tui.screens.link import FleetChanged
from fleet_tui.screens.resource import ResourceScreen

PAGE = 500
"""Rows fetched at once, and the most refs asked for by name in one call."""
GATHER_S = 2.0


class VmsScreen(ResourceScreen):
    KIND = "vms"
    EMPTY = "no VM here · N makes one"
    SORT = "name"
    BINDINGS = bindings("vms")

    def __init__(self) -> None:
        super().__init__()
        self._host = ""
        self._coming: dict[str, VmRecord] = {}
        self._is_filling = False
        self._total = 0
        self._loads = 0
        """Counts loads: pages of an earlier one are worth nothing."""
        self._unseen: set[str] = set()
        self._is_gathering = False

    def aim(self, ref: str, *, host: str = "") -> None:
        if ref != self.ref:
            self._host, self.is_loaded = host, False
            if self.is_mounted:
                self.list.set_rows([])
        super().aim(ref)

    def crumbs(self) -> list[str]:
        vms = f"vms {self._total:,}" if self._total else "vms"
        return ["hosts", self._host, vms] if self._host else [vms]

    # Filling

    def load(self) -> None:
        """The first page is shown at once, the rest as it comes; rows that are gone leave when all have come."""
        self._coming, self._unseen, self._is_filling = {}, set(), True
        self._loads += 1
        number, host = self._loads, self._host

        def work(session: Any) -> VmPage:
            """Page after page without waiting for the one before to be painted."""
            page: VmPage = session.fetch(ListVms(host=host, limit=PAGE))
            while page.next and number == self._loads:
                self.console.bring(partial(self._have_page, number, page))
                page = session.fetch(ListVms(host=host, after=page.next, limit=PAGE))
            return page

        self.ask(work, partial(self._have_last, number), self.failed, "pages")

    def _have_page(self, number: int, page: VmPage) -> None:
        if number == self._loads:
            self._total = page.total
            self._coming.update((f"vm:{row.id}", row) for row in page.vms)
            for row in page.vms:
                self.list.update_row(f"vm:{row.id}", row)
            self.chrome()

    def _have_last(self, number: int, page: VmPage) -> None:
        if number == self._loads:
            self._total = page.total
            self._coming.update((f"vm:{row.id}", row) for row in page.vms)
            self._is_filling = False
            self.list.set_rows(list(self._coming.items()))
            self._coming = {}
            self.chrome()

    # Keeping up

    def changed(self, changed: FleetChanged) -> None:
        refs = {ref for ref in changed.refs if ref.startswith("vm:")}
        if not refs:
            return
        seen = refs & set(self.list.keys_on_screen)
        self._unseen |= refs - seen
        self._ask_for(seen)
        if self._unseen and not self._is_gathering:
            self._is_gathering = True
            self.set_timer(GATHER_S, self._gathered)

    def _gathered(self) -> None:
        self._is_gathering = False
        unseen, self._unseen = self._unseen, set()
        if len(unseen) > PAGE:
            self.load()
        else:
            self._ask_for(unseen)

    def _ask_for(self, refs: Iterable[str]) -> None:
        wanted = tuple(sorted(refs))
        if wanted:
            self.fetch(ListVms(refs=wanted, limit=PAGE), lambda page: self._have_changed(wanted, page))

    def _have_changed(self, refs: tuple[str, ...], page: VmPage) -> None:
        found: dict[str, Any] = {f"vm:{row.id}": row for row in page.vms if self._host in ("", row.host)}
        for ref in refs:
            if ref in found:
                if self._is_filling and self.list.row(ref) is None:
                    continue  # its page is still to come, and will bring it in this state or a newer one
                self.list.update_row(ref, found[ref])
                if self._is_filling:
                    self._coming[ref] = found[ref]
            else:
                self.list.remove_row(ref)
                self._coming.pop(ref, None)
        if not self._is_filling and self._total != self.list.row_count:
            self._total = self.list.row_count
            self.chrome()
        self.footer()

    def open_row(self, kind: str, row: Any) -> None:
        self.console.open("vm", f"vm:{row.id}")
