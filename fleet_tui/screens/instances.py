"""Instances: pages of 500 fetched when first shown; afterwards only what events name."""

from __future__ import annotations

from functools import partial
from typing import Any

from fleet_tui.backend.instances import InstancePage, InstanceRecord, ListInstances
from fleet_tui.screens.frame import bindings
from fleet_tui.screens.link import FleetChanged
from fleet_tui.screens.resource import ResourceScreen

PAGE = 500
"""Rows fetched at once, and the most refs asked for by name in one call."""


class InstancesScreen(ResourceScreen):
    KIND = "instances"
    EMPTY = "no instances yet · n makes one"
    SORT = "label"
    BINDINGS = bindings("instances")

    def __init__(self) -> None:
        super().__init__()
        self._coming: dict[str, InstanceRecord] = {}
        self._is_filling = False
        self._total = 0
        self._loads = 0
        """Counts loads: pages of an earlier one are worth nothing."""

    def crumbs(self) -> list[str]:
        return [f"instances {self._total:,}" if self._total else "instances"]

    def load(self) -> None:
        """The first page is shown at once, the rest as it comes; rows that are gone leave when all have come."""
        self._coming = {}
        self._is_filling = True
        self._loads += 1
        number = self._loads

        def work(session: Any) -> InstancePage:
            """Page after page without waiting for the one before to be painted."""
            page: InstancePage = session.fetch(ListInstances(limit=PAGE))
            while page.next and number == self._loads:
                self.console.bring(partial(self._have_page, number, page))
                page = session.fetch(ListInstances(after=page.next, limit=PAGE))
            return page

        self.ask(work, partial(self._have_last, number), self.failed, "pages")

    def _have_page(self, number: int, page: InstancePage) -> None:
        if number == self._loads:
            self._total = page.total
            self._coming.update((f"instance:{row.id}", row) for row in page.instances)
            for row in page.instances:
                self.list.update_row(f"instance:{row.id}", row)
            self.chrome()

    def _have_last(self, number: int, page: InstancePage) -> None:
        if number == self._loads:
            self._total = page.total
            self._coming.update((f"instance:{row.id}", row) for row in page.instances)
            self._is_filling = False
            self.list.set_rows(list(self._coming.items()))
            self._coming = {}
            self.chrome()

    def changed(self, changed: FleetChanged) -> None:
        refs = sorted(ref for ref in changed.refs if ref.startswith("instance:"))
        if not refs:
            return
        if len(refs) > PAGE:
            self.load()
            return
        self.fetch(ListInstances(refs=tuple(refs), limit=PAGE), lambda page: self._have_changed(refs, page))

    def _have_changed(self, refs: list[str], page: InstancePage) -> None:
        found: dict[str, Any] = {f"instance:{row.id}": row for row in page.instances}
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
