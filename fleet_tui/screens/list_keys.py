"""Keys of a list and of moving about, carried out on whichever panel has the focus."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from textual.containers import ScrollableContainer
from textual.widget import Widget

from fleet_tui.screens import tables
from fleet_tui.screens.host_keys import VmKeys
from fleet_tui.screens.instance_keys import InstanceKeys
from fleet_tui.widgets.prompt import Prompt
from fleet_tui.widgets.resource_table import ResourceTable

NEEDS_ROWS = frozenset({"list.open", "list.filter", "list.problems", "list.mark", "list.describe", "list.wide"})
"""Keys of a list that do nothing in an empty one."""


@runtime_checkable
class Walked(Protocol):
    """A panel that has lines of its own to walk: a table or a log. Said without loading either."""

    def move(self, by: int, /) -> None: ...
    def page(self, by: int, /) -> None: ...
    def top(self) -> None: ...
    def bottom(self) -> None: ...


class MovingScreen(VmKeys):
    """``j k g G`` and the page keys, for a table, a log or anything that scrolls."""

    def _moved(self) -> Widget | None:
        focused = self.focused
        return focused if isinstance(focused, ScrollableContainer | Walked) else self.home()

    def _step(self, by: int) -> None:
        panel = self._moved()
        if isinstance(panel, Walked):
            panel.move(by)
        elif panel is not None:
            panel.scroll_relative(y=by, animate=False)

    def _page(self, by: int) -> None:
        panel = self._moved()
        if isinstance(panel, Walked):
            panel.page(by)
        elif panel is not None:
            panel.scroll_relative(y=by * max(1, panel.size.height - 1), animate=False)

    def act_move_down(self) -> None:
        self._step(1)

    def act_move_up(self) -> None:
        self._step(-1)

    def act_move_page_down(self) -> None:
        self._page(1)

    def act_move_page_up(self) -> None:
        self._page(-1)

    def act_move_top(self) -> None:
        panel = self._moved()
        if isinstance(panel, Walked):
            panel.top()
        elif panel is not None:
            panel.scroll_home(animate=False)

    def act_move_bottom(self) -> None:
        panel = self._moved()
        if isinstance(panel, Walked):
            panel.bottom()
        elif panel is not None:
            panel.scroll_end(animate=False)


class ListScreen(InstanceKeys, MovingScreen):
    """A screen with one or more tables. ``kind_of`` says what kind of records a table holds."""

    def kind_of(self, table: ResourceTable) -> str:
        return self.KIND

    @property
    def table(self) -> ResourceTable | None:
        """The table that list keys work on: the focused one, else the home one."""
        focused = self.focused
        if isinstance(focused, ResourceTable):
            return focused
        home = self.home()
        return home if isinstance(home, ResourceTable) else None

    def subject(self, aims: str) -> Any:
        table = self.table
        if table is None or not aims or self.kind_of(table) != f"{aims}s":
            return None
        return table.cursor_row

    def subjects(self, aims: str) -> list[Any]:
        table = self.table
        if table is None or not aims or self.kind_of(table) != f"{aims}s":
            return super().subjects(aims)
        marked = [row for key in table.shown_keys if key in table.marked and (row := table.row(key)) is not None]
        return marked or super().subjects(aims)

    def current(self) -> tuple[str, Any] | None:
        """(kind, row) under the cursor."""
        table = self.table
        row = table.cursor_row if table is not None else None
        return None if table is None or row is None else (self.kind_of(table), row)

    def leave(self) -> bool:
        table = self.table
        if table is None:
            return False
        if table.marked:
            table.clear_marks()
        elif table.filter_text:
            self.filtered("", True)
        elif table.problems_only:
            self.act_list_problems()
        else:
            return False
        return True

    def idle(self) -> frozenset[str]:
        table = self.table
        return NEEDS_ROWS if table is None or not table.row_count else frozenset()

    def chip(self) -> str:
        table = self.table
        if table is None:
            return ""
        parts = [f"/{table.filter_text}"] if table.filter_text else []
        return " ".join([*parts, "problems only"] if table.problems_only else parts)

    def filtered(self, text: str, done: bool) -> None:
        table = self.table
        if table is not None:
            table.filter_text = text
            self.chrome()

    # list.*

    def act_list_open(self) -> None:
        if self.table is not None:
            self.table.open()

    def act_list_filter(self) -> None:
        table = self.table
        if table is not None:
            self.query_one(Prompt).open("/", table.filter_text)

    def act_list_mark(self) -> None:
        if self.table is not None:
            self.table.toggle_mark()
            self.table.move(1)

    def act_list_range(self) -> None:
        if self.table is not None:
            self.table.mark_range()

    def act_list_mark_all(self) -> None:
        if self.table is not None:
            self.table.mark_filtered()

    def act_list_sort_left(self) -> None:
        if self.table is not None:
            self.table.sort_next(-1)

    def act_list_sort_right(self) -> None:
        if self.table is not None:
            self.table.sort_next(1)

    def act_list_reverse(self) -> None:
        if self.table is not None:
            self.table.reverse_sort()

    def act_list_wide(self) -> None:
        if self.table is not None:
            self.table.wide = not self.table.wide

    def act_list_problems(self) -> None:
        if self.table is not None:
            self.table.problems_only = not self.table.problems_only
            self.chrome()

    def act_list_describe(self) -> None:
        self._detail(raw=False)

    def act_list_raw(self) -> None:
        self._detail(raw=True)

    def _detail(self, raw: bool) -> None:
        current = self.current()
        if current is not None:
            kind, row = current
            self.console.open("detail", tables.KEY_OF[kind](row), record=row, title=tables.NAME_OF[kind](row), raw=raw)

    def act_list_copy(self) -> None:
        current = self.current()
        if current is not None:
            self.copy(tables.NAME_OF[current[0]](current[1]), "name")

    def act_list_copy_row(self) -> None:
        current = self.current()
        if current is not None:
            now = self.console.clock.now()
            self.copy("\t".join(spec.text(current[1], now) for spec in tables.SPECS[current[0]]), "row")

    def on_resource_table_highlighted(self, event: ResourceTable.Highlighted) -> None:
        event.stop()
        self.footer()

    def on_resource_table_marks_changed(self, event: ResourceTable.MarksChanged) -> None:
        event.stop()
        self.footer()

    def on_resource_table_opened(self, event: ResourceTable.Opened) -> None:
        event.stop()
        row = event.table.row(event.key)
        if row is not None and self.console.allows("list.open"):
            self.open_row(self.kind_of(event.table), row)

    def open_row(self, kind: str, row: Any) -> None:
        """Go in."""
        if kind in ("instances", "operations"):
            self.console.open(kind[:-1], tables.KEY_OF[kind](row))
        else:
            self._detail(raw=False)

