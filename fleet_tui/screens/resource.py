"""The one list. A kind says how its rows are fetched; everything a list can do is here and in `list_keys`."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.widget import Widget

from fleet_tui.screens import tables
from fleet_tui.screens.list_keys import ListScreen
from fleet_tui.widgets.resource_table import ResourceTable

_REMEMBERED: dict[str, tuple[str | None, bool, bool]] = {}
"""Sort column, reverse and wide of each kind, for as long as the console runs."""


class ResourceScreen(ListScreen):
    """A full-screen list of one kind of record."""

    TITLE_WORD: ClassVar[str] = ""
    EMPTY: ClassVar[str] = "nothing here"
    SORT: ClassVar[str] = ""
    """Column the list begins sorted by; empty for the order it was fetched in."""

    def body(self) -> ComposeResult:
        yield tables.table_of(self.KIND, self.console.glyphs, self.console.clock, id="table", empty=self.EMPTY)

    def home(self) -> Widget | None:
        return self.list

    @property
    def list(self) -> ResourceTable:
        return self.query_one("#table", ResourceTable)

    def on_mount(self) -> None:
        sort, reverse, wide = _REMEMBERED.get(self.KIND, (self.SORT or None, False, False))
        if sort:
            self.list.sort(sort, reverse)
        self.list.wide = wide
        self.list.focus()

    def on_screen_suspend(self) -> None:
        _REMEMBERED[self.KIND] = (self.list.sort_key, self.list.sort_reverse, self.list.wide)

    def put(self, rows: Any) -> None:
        """Show exactly these rows."""
        key = tables.KEY_OF[self.KIND]
        self.list.set_rows([(key(row), row) for row in rows])
        self.chrome()

    def minute(self) -> None:
        self.list.touch()
