"""The one table of the console: ten thousand keyed rows, of which only those on screen cost anything.

The cursor stays on its row, and the row on its line, whatever is inserted, removed or sorted around it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from textual import events
from textual.binding import Binding, BindingType

from fleet_tui.widgets.column import Cell, Column
from fleet_tui.widgets.glyphs import UNICODE, Glyphs
from fleet_tui.widgets.row_set import Key, parse_filter, same
from fleet_tui.widgets.table_lines import TableLines, TableSaid
from fleet_tui.widgets.timers import once

__all__ = ["Cell", "Column", "ResourceTable"]

PREPARE_AFTER_S = 0.5
PREPARE_EVERY_S = 0.02
PREPARE_ROWS = 250
"""How the texts that a filter searches are made ahead of it: 10,000 rows in about a second after they came."""


class ResourceTable(TableLines, can_focus=True):
    """Keyed rows under a header line, with a cursor, marks, a filter and a sort order.

    Args:
        columns: see `Column`.
        status_of: row to status class; colours status cells and decides what a problem is.
        matches: row and ``field:value`` to whether it holds; without it such words are searched as text.
        search_of: row to the text that plain filter words search; by default all columns' text.
        empty: said where there are no rows at all: what would be here, and what to press.
        empty_shown: said where rows exist but the filter shows none.
    """

    DEFAULT_CSS = "ResourceTable { height: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Up", show=False, id="table.up"),
        Binding("down", "move(1)", "Down", show=False, id="table.down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="table.page_up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="table.page_down"),
        Binding("home", "top", "First", show=False, id="table.top"),
        Binding("end", "bottom", "Last", show=False, id="table.bottom"),
        Binding("enter", "open", "Open", show=False, id="table.open"),
    ]

    class Highlighted(TableSaid):
        """The cursor came to stand on another row, or on none."""

        def __init__(self, table: ResourceTable, key: Key | None) -> None:
            super().__init__(table)
            self.key = key

    class Opened(TableSaid):
        """A row was opened with enter or a second click."""

        def __init__(self, table: ResourceTable, key: Key) -> None:
            super().__init__(table)
            self.key = key

    class MarksChanged(TableSaid):
        """The set of marked rows is another one."""

        def __init__(self, table: ResourceTable, marked: frozenset[Key]) -> None:
            super().__init__(table)
            self.marked = marked

    def __init__(
        self,
        columns: Sequence[Column] = (),
        *,
        status_of: Callable[[Any], str] | None = None,
        matches: Callable[[Any, str], bool] | None = None,
        search_of: Callable[[Any], str] | None = None,
        glyphs: Glyphs = UNICODE,
        empty: str = "nothing here",
        empty_shown: str = "nothing matches · esc clears the filter",
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(glyphs=glyphs, name=name, id=id, classes=classes)
        self.empty, self.empty_shown = empty, empty_shown
        self._set.columns, self._set.status_of = tuple(columns), status_of
        self._set.matches, self._set.search_of = matches, search_of
        self._filter_text = ""
        self._anchor: Key | None = None
        self._is_waiting = False
        self._is_preparing = False

    # Rows

    def set_columns(self, columns: Sequence[Column]) -> None:
        """Use these columns; the sort order stays where its column does."""
        self._set.columns = tuple(columns)
        if (sorted_by := self._set.sort_column) is not None:
            self._set.sort_column = next((c for c in columns if c.key == sorted_by.key), None)
        self._set.disturb(sort=True, texts=True)
        self._settle()
        self._repaint_all()

    def set_rows(self, rows: Iterable[tuple[Key, Any]]) -> None:
        """Take a new list of keyed rows. Only lines on screen that differ are repainted."""
        before = self._set.rows
        changed = self._set.replace(rows)
        if changed is None:
            after = self._set.rows
            changed = {k for k in self._window_lines() if k in after and not same(before.get(k), after[k])}
        for key in changed:
            self._row_changed(key)
        self._drop_marks()
        self._settle()
        self._told()
        if not self._is_preparing and self.is_mounted:
            self._is_preparing = True
            once(self, PREPARE_AFTER_S, self._prepare)

    def _prepare(self) -> None:
        """Make ready what the first letter of a filter needs, a little at a time, so that it need not wait."""
        self._is_preparing = self._set.prepare_search(PREPARE_ROWS)
        if self._is_preparing:
            once(self, PREPARE_EVERY_S, self._prepare)

    def update_row(self, key: Key, row: Any) -> None:
        """Put one row, new or changed."""
        if self._set.update(key, row):
            self._row_changed(key)
            self._settle_soon()

    def remove_row(self, key: Key) -> None:
        """Take one row out."""
        if self._set.remove(key):
            self._drop_marks()
            self._settle_soon()

    @property
    def row_count(self) -> int:
        """All rows, shown or not."""
        return len(self._set.rows)

    @property
    def shown_keys(self) -> Sequence[Key]:
        """The keys shown, in order."""
        self._settle()
        return self._set.shown

    def row(self, key: Key) -> Any:
        """The row of a key, or None."""
        return self._set.rows.get(key)

    # What is shown, and how

    @property
    def filter_text(self) -> str:
        """Words that must all hold: ``web``, ``!web``, ``state:x``, ``!state:x``."""
        return self._filter_text

    @filter_text.setter
    def filter_text(self, text: str) -> None:
        self._filter_text = text
        terms = parse_filter(text)
        if terms != self._set.terms:
            self._set.terms = terms
            self._reorder()

    @property
    def problems_only(self) -> bool:
        """Show only rows whose status class is a problem."""
        return self._set.problems_only

    @problems_only.setter
    def problems_only(self, only: bool) -> None:
        self._set.problems_only = only
        self._reorder()

    @property
    def wide(self) -> bool:
        """Whether wide columns are shown too."""
        return self._wide

    @wide.setter
    def wide(self, wide: bool) -> None:
        self._wide = wide
        self._repaint_all()

    @property
    def sort_key(self) -> str | None:
        """Key of the column the rows are sorted by; None for the order they came in."""
        return self._set.sort_column.key if self._set.sort_column else None

    @property
    def sort_reverse(self) -> bool:
        return self._set.sort_reverse

    def sort(self, key: str | None, reverse: bool = False) -> None:
        """Sort by a column, or by none."""
        column = next((c for c in self._set.columns if c.key == key), None)
        is_other, self._set.sort_column = column is not self._set.sort_column, column
        self._set.sort_reverse = reverse
        self._reorder(sort=is_other)

    def sort_next(self, delta: int = 1) -> None:
        """Sort by the next column shown, or the one before."""
        keys: list[str | None] = [None, *(column.key for column, _ in self._columns())]
        at = keys.index(self.sort_key) if self.sort_key in keys else 0
        self.sort(keys[(at + delta) % len(keys)], self.sort_reverse)

    def reverse_sort(self) -> None:
        self.sort(self.sort_key, not self.sort_reverse)

    def _reorder(self, sort: bool = False) -> None:
        self._set.disturb(sort=sort)
        self._settle(to_first=True)
        self._refresh_header()

    # The cursor

    @property
    def cursor_key(self) -> Key | None:
        self._settle()
        return self._cursor

    @cursor_key.setter
    def cursor_key(self, key: Key | None) -> None:
        self._settle()
        place = self._set.place(key)
        if place is not None:
            self._go(place)

    @property
    def cursor_row(self) -> Any:
        """The row under the cursor, or None."""
        key = self.cursor_key
        return self._set.rows.get(key) if key is not None else None

    def move(self, delta: int) -> None:
        self._settle()
        self._go(self._cursor_at + delta)

    def page(self, delta: int) -> None:
        """Move by pages, one line short of the height, so that a line of context stays."""
        self._settle()
        step = max(1, self._lines - 1) * delta
        self._top = max(0, min(self._top + step, len(self._set.shown) - self._lines))
        self._go(self._cursor_at + step, repaint=True)

    def top(self) -> None:
        self._settle()
        self._go(0)

    def bottom(self) -> None:
        self._settle()
        self._go(len(self._set.shown) - 1)

    def open(self) -> None:
        """Say that the row under the cursor is to be opened."""
        if (key := self.cursor_key) is not None:
            self.post_message(self.Opened(self, key))

    # Marks

    def toggle_mark(self) -> None:
        if (key := self.cursor_key) is not None:
            self._anchor = key
            self._mark(self.marked ^ {key})

    def mark_range(self) -> None:
        """Mark from the row marked last to the cursor."""
        if (key := self.cursor_key) is None:
            return
        start = self._set.place(self._anchor)
        first, last = sorted((self._cursor_at if start is None else start, self._cursor_at))
        self._anchor = key
        self._mark(self.marked | set(self._set.shown[first : last + 1]))

    def mark_filtered(self) -> None:
        """Mark every row shown."""
        self._mark(self.marked | set(self.shown_keys))

    def clear_marks(self) -> None:
        self._anchor = None
        self._mark(set())

    def _mark(self, marked: set[Key]) -> None:
        if marked == self.marked:
            return
        changed = self.marked ^ marked
        self.marked = marked
        self.post_message(self.MarksChanged(self, frozenset(marked)))
        for key, y in self._window_lines().items():
            if key in changed:
                self._refresh_line(y)
        self._refresh_header()

    def _drop_marks(self) -> None:
        """A row that is gone is no longer marked, so that no bulk verb can name it."""
        if self.marked:
            self._mark({key for key in self.marked if key in self._set.rows})

    # Keeping the picture true

    def _settle_soon(self) -> None:
        if self._set.is_stale and not self._is_waiting:
            self._is_waiting = True
            self.call_later(self._settle)

    def _settle(self, to_first: bool = False) -> None:
        """Order the rows if they need it; keep the cursor on its row and that row on its line."""
        self._is_waiting = False
        if not self._set.is_stale:
            return
        before, was, line = dict(self._window_lines()), self._cursor, self._cursor_at - self._top
        self._set.settle()
        shown = self._set.shown
        place = self._set.place(was)
        if place is None:
            place = 0 if to_first or was is None else min(self._cursor_at, len(shown) - 1)
        self._cursor = shown[place] if shown else None
        self._cursor_at = max(0, place)
        if self._top > 0 or self._cursor_at >= self._lines:
            self._top = self._cursor_at - line
        self._show_cursor()
        self._window = None
        after = self._window_lines()
        keys_before, keys_after = list(before), list(after)
        for at in range(max(len(keys_before), len(keys_after))):
            if keys_before[at : at + 1] != keys_after[at : at + 1]:
                self._refresh_line(at + 1)
        if not after or not before:
            self.refresh()
        if self._cursor != was:
            for key in (was, self._cursor):
                if key in after:
                    self._refresh_line(after[key])
            self.post_message(self.Highlighted(self, self._cursor))
        self._refresh_header()

    def _show_cursor(self) -> None:
        """Scroll as little as brings the cursor on screen."""
        self._top = max(self._cursor_at - self._lines + 1, min(self._top, self._cursor_at))
        self._top = max(0, min(self._top, len(self._set.shown) - self._lines))

    def _go(self, place: int, repaint: bool = False) -> None:
        """Put the cursor on a place, as far as there is one."""
        shown = self._set.shown
        if not shown:
            return
        place = max(0, min(place, len(shown) - 1))
        was_at, was_top, was = self._cursor_at, self._top, self._cursor
        self._cursor_at, self._cursor = place, shown[place]
        self._show_cursor()
        if self._top != was_top or repaint:
            self._window = None
            self.refresh()
        elif place != was_at:
            self._refresh_line(was_at - was_top + 1)
            self._refresh_line(place - was_top + 1)
        if self._cursor != was:
            self._refresh_header()
            self.post_message(self.Highlighted(self, self._cursor))

    # What happens to it

    def on_resize(self) -> None:
        self._repaint_all()
        self._show_cursor()

    def on_mount(self) -> None:
        self._settle()

    def on_focus(self) -> None:
        self._focus_changed()

    def on_blur(self) -> None:
        self._focus_changed()

    def on_click(self, event: events.Click) -> None:
        self._settle()
        if event.y == 0:
            if (key := self._column_at(event.x)) is not None:
                self.sort(key, key == self.sort_key and not self.sort_reverse)
        elif self._top + event.y - 1 < len(self._set.shown):
            place = self._top + event.y - 1
            if place == self._cursor_at:
                self.open()
            self._go(place)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.move(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.move(-3)

    action_move, action_page, action_top, action_bottom, action_open = move, page, top, bottom, open
