"""How the map looks: which rows there are, the cells of each, and which of them to paint again.

A group is as wide as its ten letters and a pair of brackets, so that the cursor moves no other group, and a move repaints a few cells.
Lines are painted one by one, as in the table; sixteen million rows cost no more than those on screen.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import ClassVar

from textual.geometry import Region, Size
from textual.strip import Strip

from fleet_tui.widgets.glyphs import UNICODE, Glyphs
from fleet_tui.widgets.paint import Painted, Span, differing_cells
from fleet_tui.widgets.vlan_cells import row as row_of
from fleet_tui.widgets.vlan_space import VlanSpace

GROUP = 10
GROUP_CELLS = GROUP + 2
MOST_GROUPS = 5
Band = tuple[int, int, int]
"""First and last of rows that stand under each other, and the line the first is on."""
MOST_CELLS = 5000
"""Zoomed out as far as it goes, the whole network is at most so many cells."""


class VlanLines(Painted):
    """The painted side of the map of a `VlanSpace`; what moves the cursor is in `VlanGrid`.

    ``cursor`` is an ID; zoomed out it is the first of its cell, unless the person came from a particular one.
    """

    DEFAULT_CSS: ClassVar[str] = "VlanLines { height: 1fr; }"

    def __init__(
        self, *, glyphs: Glyphs = UNICODE, name: str | None = None, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(glyphs=glyphs, name=name, id=id, classes=classes)
        self.space: VlanSpace | None = None
        self.cursor = 0
        self.zoom = 1
        """IDs a cell stands for."""
        self.anchor: int | None = None
        """Where marking began; IDs from there to the cursor are marked."""
        self.empty = ""
        """Said instead of a map when there is none."""
        self._is_folded = False
        self._bands: list[Band] | None = None
        self._top = 0
        self._strips: dict[int, tuple[object, Strip]] = {}

    # Which IDs stand where

    @property
    def zooms(self) -> list[int]:
        """IDs a cell can stand for: 1, 10, 100, and on until the whole network is some thousand cells."""
        whole = self.space.last - self.space.first + 1 if self.space is not None else 1
        found = [1, 10, 100]
        while whole / found[-1] > MOST_CELLS:
            found.append(found[-1] * 10)
        return found

    @property
    def per_row(self) -> int:
        """Cells in a row: 50 where there is room, and always whole groups."""
        groups = (self.size.width - self.label_cells) // GROUP_CELLS
        return GROUP * max(1, min(MOST_GROUPS, groups))

    @property
    def label_cells(self) -> int:
        """Cells before the first group: the first ID of each row."""
        return len(str(self.space.last)) + 1 if self.space is not None else 5

    @property
    def marked(self) -> tuple[int, int]:
        """First and last ID that are marked; of the cursor's cell when none are."""
        first, last = self.cell_of(self.cursor)
        if self.anchor is not None:
            a, b = self.cell_of(self.anchor)
            first, last = min(first, a), max(last, b)
        return first, last

    def cell_of(self, number: int) -> tuple[int, int]:
        """First and last ID of the cell that an ID is in."""
        if self.space is None:
            return number, number
        first = number // self.zoom * self.zoom
        return max(first, self.space.first), min(first + self.zoom - 1, self.space.last)

    @property
    def window(self) -> tuple[int, int]:
        """First and last ID of the row the cursor is in."""
        span = self.per_row * self.zoom
        first = self.cursor // span * span
        return first, first + span - 1

    def _row(self, number: int) -> int:
        return number // (self.per_row * self.zoom)

    @property
    def _shown(self) -> list[Band]:
        """The rows there are, as bands: all of them in one, or those with something in them, and the cursor's."""
        if self._bands is None:
            space, bands = self.space, []
            if space is None or not self._is_folded:
                bands = [(0, self._row(space.last) if space is not None else 0, 0)]
            else:
                here = (self.cursor, self.cursor)
                for first, last in sorted([*((one.first, one.last) for one in space.stretches), here]):
                    low, high = self._row(first), self._row(last)
                    if bands and low <= bands[-1][1] + 1:
                        bands[-1] = (bands[-1][0], max(bands[-1][1], high), bands[-1][2])
                    else:
                        bands.append((low, high, bands[-1][2] + bands[-1][1] - bands[-1][0] + 1 if bands else 0))
            self._bands = bands
        return self._bands

    @property
    def _last_line(self) -> int:
        first, last, line = self._shown[-1]
        return line + last - first

    def _line(self, number: int) -> int:
        """The line of the row an ID is in, counted from the first row there is; of a row that is left out, of the one before it."""
        row = self._row(number)
        first, last, line = self._shown[max(0, bisect_right(self._shown, row, key=lambda band: band[0]) - 1)]
        return line + max(0, min(row, last) - first)

    def _row_of(self, line: int) -> int:
        first, _, begins = self._shown[max(0, bisect_right(self._shown, line, key=lambda band: band[2]) - 1)]
        return first + line - begins

    def _row_on(self, y: int) -> int:
        """The row on a line of the screen; one past the last where there is none."""
        return self._row_of(self._top + y - 1)

    def _number_at(self, x: int, y: int) -> int | None:
        """The first ID of the cell at a place on the widget."""
        group, within = divmod(x - self.label_cells, GROUP_CELLS)
        if self.space is None or y < 1 or not 0 <= group < self.per_row // GROUP:
            return None
        row = self._row_on(y)
        here = (self.cursor - row * self.per_row * self.zoom) // self.zoom
        if here // GROUP == group and 0 <= here < self.per_row:
            within += 1 if within <= here % GROUP else 0 if within == here % GROUP + 1 else -1
        return (row * self.per_row + group * GROUP + max(0, min(GROUP - 1, within - 1))) * self.zoom

    @property
    def _lines(self) -> int:
        return max(1, self.size.height - 1)

    # What to paint again

    def _line_changed(self, line: int) -> None:
        y = line - self._top + 1
        if not 1 <= y < self.size.height:
            return
        painted = self._strips.get(self._row_of(line))
        if painted is None:
            self._refresh_line(y)
        else:
            self._refresh_cells(y, painted[1])

    def _refresh_cells(self, y: int, painted: Strip) -> None:
        """Send the cells of a line that come out otherwise than they are on screen."""
        start, end = differing_cells(painted, self._strip(self._row_on(y)))
        if start < end:
            self.refresh(Region(start, y, end - start, 1))

    def _refresh_line(self, y: int) -> None:
        self.refresh(Region(0, y, self.size.width, 1))

    def _repaint_all(self) -> None:
        self._bands = None
        self._strips.clear()
        self.refresh()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._strips.clear()

    # Painting

    def render_line(self, y: int) -> Strip:
        if self.space is None:
            return self.strip([("  ", ""), (self.empty if y == 2 else "", "muted")], self.size.width)
        if y == 0:
            return self.strip([(self._heading(), "heading" if self.has_focus else "title")], self.size.width)
        if self._top + y - 1 > self._last_line:
            return self.strip([], self.size.width)
        return self._strip(self._row_on(y))

    def _heading(self) -> str:
        """What each group adds to the number before its row."""
        groups = self.per_row // GROUP
        return " " * self.label_cells + "".join(f" {group * GROUP * self.zoom:<{GROUP_CELLS - 1}}" for group in range(groups))

    def _strip(self, row: int) -> Strip:
        look = self._look(row)
        kept = self._strips.get(row)
        if kept is None or kept[0] != look:
            if len(self._strips) > 4 * self.size.height + 64:
                self._strips.clear()
            kept = self._strips[row] = (look, self.strip(self._spans(row), self.size.width))
        return kept[1]

    def _look(self, row: int) -> object:
        """What a line depends on besides its network."""
        span = self.per_row * self.zoom
        first = row * span
        here = self.cursor - first if 0 <= self.cursor - first < span else None
        low, high = self.marked if self.anchor is not None else (0, -1)
        return here and here // self.zoom, here is not None, max(low, first), min(high, first + span - 1), self.has_focus

    def _spans(self, row: int) -> list[Span]:
        """A row: its first ID, then its groups."""
        space = self.space
        assert space is not None
        zoom, per_row = self.zoom, self.per_row
        first = row * per_row * zoom
        label = self.label_cells - 1
        here = (self.cursor - first) // zoom
        low, high = self.marked if self.anchor is not None else (0, -1)
        spans: list[Span] = [(f"{first:>{label}} ", "strong" if 0 <= here < per_row else "muted")]
        cursor_style = "focused" if self.has_focus else "strong"
        for at, (letter, style) in enumerate(row_of(space, first, per_row, zoom)):
            blank = style  # a blank of the same style makes no piece of its own
            if low <= first + at * zoom <= high:
                style, blank = "match", ""
            if at == here:
                spans += [("[", "strong"), (letter, cursor_style), ("]", "strong")]
            elif at % GROUP == 0 and here // GROUP != at // GROUP:
                spans += [(" ", blank), (letter, style)]
            else:
                spans.append((letter, style))
            if at % GROUP == GROUP - 1 and here // GROUP != at // GROUP:
                spans.append((" ", blank))
        return spans

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return self._last_line + 2
