"""A list too long for one answer: pages of 500 fetched when first shown; afterwards only what events name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar

from fleet_tui.screens.link import FleetChanged
from fleet_tui.screens.resource import ResourceScreen
from fleet_tui.widgets.timers import once

PAGE = 500
"""Rows fetched at once, and the most refs asked for by name in one call."""


class PagedScreen(ResourceScreen):
    """What is on screen is asked for at once; of the rest, changes are gathered for a while where a fleet has very many of them."""

    NOUN: ClassVar[str]
    """What its refs begin with: ``vm``."""
    ROWS: ClassVar[str]
    """Field of a page that holds its rows."""
    asking: Callable[[], Callable[..., Any]]
    """Gives what makes the request for a page, as the list is aimed now."""
    GATHER_S: ClassVar[float] = 0.0

    def __init__(self) -> None:
        super().__init__()
        self._coming: dict[str, Any] = {}
        self._is_filling = False
        self._total = 0
        self._loads = 0
        """Counts loads: pages of an earlier one are worth nothing."""
        self._unseen: set[str] = set()
        self._is_gathering = False

    def belongs(self, row: Any) -> bool:
        """Whether a row that was asked for by name is of this list."""
        return True

    def counted(self, noun: str) -> str:
        return f"{noun} {self._total:,}" if self._total else noun

    # Filling

    def load(self) -> None:
        """The first page is shown at once, the rest as it comes; rows that are gone leave when all have come."""
        self._coming, self._unseen, self._is_filling = {}, set(), True
        self._loads += 1
        number, asking = self._loads, self.asking()

        def work(session: Any) -> Any:
            """Page after page without waiting for the one before to be painted."""
            page = session.fetch(asking(limit=PAGE))
            while page.next and number == self._loads:
                self.console.bring(partial(self._have_page, number, page))
                page = session.fetch(asking(after=page.next, limit=PAGE))
            return page

        self.ask(work, partial(self._have_last, number), self.failed, "pages")

    def _take(self, page: Any) -> dict[str, Any]:
        self._total = page.total
        rows = {self._ref(row): row for row in getattr(page, self.ROWS)}
        self._coming.update(rows)
        return rows

    def _ref(self, row: Any) -> str:
        return f"{self.NOUN}:{row.id}"

    def _have_page(self, number: int, page: Any) -> None:
        if number == self._loads:
            for ref, row in self._take(page).items():
                self.list.update_row(ref, row)
            self.chrome()

    def _have_last(self, number: int, page: Any) -> None:
        if number == self._loads:
            self._take(page)
            self._is_filling = False
            self.list.set_rows(list(self._coming.items()))
            self._coming = {}
            self.chrome()

    # Keeping up

    def changed(self, changed: FleetChanged) -> None:
        refs = {ref for ref in changed.refs if ref.startswith(f"{self.NOUN}:")}
        if not refs:
            return
        if not self.GATHER_S:
            self._ask_for(refs)
            return
        seen = refs & set(self.list.keys_on_screen)
        self._unseen |= refs - seen
        self._ask_for(seen)
        if self._unseen and not self._is_gathering:
            self._is_gathering = True
            once(self, self.GATHER_S, self._gathered)

    def _gathered(self) -> None:
        self._is_gathering = False
        unseen, self._unseen = self._unseen, set()
        self._ask_for(unseen)

    def _ask_for(self, refs: Iterable[str]) -> None:
        """The rows of these refs; everything anew when they are more than a page."""
        wanted = tuple(sorted(refs))
        if len(wanted) > PAGE:
            self.load()
        elif wanted:
            self.fetch(self.asking()(refs=wanted, limit=PAGE), lambda page: self._have_changed(wanted, page))

    def _have_changed(self, refs: tuple[str, ...], page: Any) -> None:
        found: dict[str, Any] = {self._ref(row): row for row in getattr(page, self.ROWS) if self.belongs(row)}
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
