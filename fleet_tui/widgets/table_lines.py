"""How a table looks: its header, the lines of the rows on screen, and which of them to paint again.

Lines are painted one by one (Textual's Line API). The table keeps its own scroll position instead of a
`ScrollView`'s, because there each change of the row count lays out the whole screen again.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip

from fleet_tui.widgets.column import GAP, Column, fit_columns
from fleet_tui.widgets.glyphs import STATUS_STYLE, UNICODE, Glyphs
from fleet_tui.widgets.paint import Painted, Span, differing_cells, fit, width_of
from fleet_tui.widgets.row_set import Key, RowSet

if TYPE_CHECKING:
    from fleet_tui.widgets.resource_table import ResourceTable

GUTTER = 2
"""Cells left of the first column, for the mark and the pointer."""

KEPT_STRIPS = 400
"""Painted lines kept; a page or two of any terminal."""


class TableSaid(Message):
    """What a table says to its screen."""

    def __init__(self, table: ResourceTable) -> None:
        super().__init__()
        self.table = table

    @property
    def control(self) -> ResourceTable:
        return self.table


class TableLines(Painted):
    """The painted side of a table over a `RowSet`; what moves the cursor is in `ResourceTable`."""

    DEFAULT_CSS: ClassVar[str] = "TableLines { height: 1fr; }"

    def __init__(
        self, *, glyphs: Glyphs = UNICODE, name: str | None = None, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(glyphs=glyphs, name=name, id=id, classes=classes)
        self.empty = self.empty_shown = ""
        self._is_told = False
        """Whether rows were ever given: before that nobody knows that there are none."""
        self.marked: set[Key] = set()
        self._set = RowSet()
        self._wide = False
        self._cursor: Key | None = None
        self._cursor_at = 0
        self._top = 0
        self._strips: dict[tuple[Key, bool, bool], Strip] = {}
        self._window: dict[Key, int] | None = None
        self._fitted: list[tuple[Column, int]] | None = None
        self._header_painted = ""

    def _told(self) -> None:
        """Rows were given, perhaps none; from now on an empty table says so."""
        if not self._is_told:
            self._is_told = True
            self.refresh()

    def touch(self) -> None:
        """Render the rows on screen again, for cells that depend on the time; repaints cells that differ."""
        for key in list(self._window_lines()):
            self._row_changed(key)

    # What is on screen

    @property
    def _lines(self) -> int:
        """Rows that fit under the header."""
        return max(1, self.size.height - 1)

    def _columns(self) -> list[tuple[Column, int]]:
        if self._fitted is None:
            self._fitted = fit_columns(self._set.columns, max(1, self.size.width - GUTTER), self._wide)
        return self._fitted

    def _column_at(self, x: int) -> str | None:
        """Key of the column that a cell of the header belongs to."""
        x -= GUTTER
        for column, width in self._columns():
            if x < width + GAP:
                return column.key
            x -= width + GAP
        return None

    @property
    def keys_on_screen(self) -> list[Key]:
        """Keys of the rows that can be seen now."""
        return list(self._window_lines())

    def _window_lines(self) -> dict[Key, int]:
        """The keys on screen and the line each is on."""
        if self._window is None:
            keys = self._set.shown[self._top : self._top + self._lines]
            self._window = {key: y for y, key in enumerate(keys, 1)}
        return self._window

    # What to paint again

    def _row_changed(self, key: Key) -> None:
        """Paint a row anew where it is on screen, and send only the cells that came out otherwise."""
        painted = self._strips.pop(self._look(key), None)
        for at in ((False, False), (False, True), (True, False), (True, True)):
            self._strips.pop((key, *at), None)
        y = self._window_lines().get(key)
        if y is None or key not in self._set.rows:
            return
        if painted is None:
            self._refresh_line(y)
            return
        start, end = differing_cells(painted, self._strip(key))
        if start < end:
            self.refresh(Region(start, y, end - start, 1))

    def _refresh_line(self, y: int) -> None:
        self.refresh(Region(0, y, self.size.width, 1))

    def _refresh_header(self) -> None:
        if self._header_text() != self._header_painted:
            self._refresh_line(0)

    def _repaint_all(self) -> None:
        self._fitted = self._window = None
        self._strips.clear()
        self.refresh()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._strips.clear()

    def _focus_changed(self) -> None:
        """Only the header and the cursor's line look otherwise with the focus and without it."""
        for key in [look for look in self._strips if look[1]]:
            del self._strips[key]
        self._refresh_line(0)
        if self._cursor is not None and (y := self._window_lines().get(self._cursor)) is not None:
            self._refresh_line(y)

    # Painting

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if y == 0:
            self._header_painted = self._header_text()
            return self.strip([(self._header_painted, "heading" if self.has_focus else "title")], width)
        at = self._top + y - 1
        shown = self._set.shown
        if at < len(shown) and shown[at] in self._set.rows:
            return self._strip(shown[at])
        say = "" if shown or y != 2 or not self._is_told else (self.empty_shown if self._set.rows else self.empty)
        return self.strip([(" " * GUTTER, ""), (say, "muted")], width)

    def _look(self, key: Key) -> tuple[Key, bool, bool]:
        """What a row's line depends on besides the row."""
        return key, key == self._cursor, key in self.marked

    def _strip(self, key: Key) -> Strip:
        look = self._look(key)
        strip = self._strips.get(look)
        if strip is None:
            _, is_cursor, is_marked = look
            over = ("cursor" if self.has_focus else "cursor-idle") if is_cursor else ""
            strip = self.strip(self._spans(key, is_cursor, is_marked), self.size.width, over)
            if len(self._strips) >= KEPT_STRIPS:
                self._strips.clear()
            self._strips[look] = strip
        return strip

    def _spans(self, key: Key, is_cursor: bool, is_marked: bool) -> list[Span]:
        """One row as styled text: gutter, then each column in its width."""
        row = self._set.rows[key]
        status = self._set.status_of(row) if self._set.status_of is not None else ""
        lead = self.glyphs.mark if is_marked else self.glyphs.pointer if is_cursor else " "
        spans: list[Span] = [(lead.ljust(GUTTER), "strong" if is_marked else "")]
        for index, (column, width) in enumerate(self._columns()):
            text, style = column.cell(row)
            text = fit(text, width, column.align, self.glyphs.ellipsis)
            if index:
                spans.append((" " * GAP, ""))
            if not style and status in STATUS_STYLE:
                if column.shows_status:
                    style = status
                elif index == 0 and text[:1] == self.glyphs.status(status):
                    spans.append((text[:1], status))
                    text = text[1:]
            spans.append((text, style))
        return spans

    def _header_text(self) -> str:
        titles = []
        for column, width in self._columns():
            title = column.title
            if self._set.sort_column is not None and column.key == self._set.sort_column.key:
                arrow = self.glyphs.descending if self._set.sort_reverse else self.glyphs.ascending
                title = fit(title, min(width_of(title), width - 1), ellipsis="") + arrow
            titles.append(fit(title, width, column.align, self.glyphs.ellipsis))
        line = " " * GUTTER + (" " * GAP).join(titles)
        counts = self._counts()
        laid = _laid_into(line, f" {self.glyphs.dot} ".join(counts))
        return laid if laid != line or not counts else _laid_into(line, counts[0])

    def _counts(self) -> list[str]:
        """Most important first: how many are marked; where the cursor is among how many, once not everything fits or something is hidden."""
        shown, total = len(self._set.shown), len(self._set.rows)
        parts = [f"{len(self.marked)} marked"] if self.marked else []
        if shown < total:
            parts.append(f"{self._cursor_at + 1 if shown else 0:,}/{shown:,} of {total:,}")
        elif shown > self._lines:
            parts.append(f"{self._cursor_at + 1:,}/{shown:,}")
        return parts

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self._set.shown) + 1


def _laid_into(line: str, words: str) -> str:
    """The words put at the end of the longest stretch of blanks, where they look like no title; left out if there is no room."""
    blanks = max(re.finditer(r" +$| {4,}", line), key=lambda run: run.end() - run.start(), default=None)
    if not words or blanks is None or blanks.end() - blanks.start() < len(words) + 2 * GAP:
        return line
    end = blanks.end() - (0 if blanks.end() == len(line) else GAP)
    return line[: end - len(words)] + words + line[end:]
