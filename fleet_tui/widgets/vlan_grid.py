"""The map of a physical network: a letter for each ID, in rows of 50 and groups of ten, under a cursor in brackets.

A group is as wide as its ten letters and a pair of brackets, so that the cursor moves no other group, and a move repaints a few cells.
Lines are painted one by one, as in the table; sixteen million rows cost no more than those on screen.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip

from fleet_tui.widgets.glyphs import UNICODE, Glyphs
from fleet_tui.widgets.paint import Painted, Span, differing_cells
from fleet_tui.widgets.vlan_cells import cell
from fleet_tui.widgets.vlan_space import VlanSpace

GROUP = 10
GROUP_CELLS = GROUP + 2
MOST_GROUPS = 5
Band = tuple[int, int, int]
"""First and last of rows that stand under each other, and the line the first is on."""
MOST_CELLS = 5000
"""Zoomed out as far as it goes, the whole network is at most so many cells."""


class VlanGrid(Painted, can_focus=True):
    """The cells of a `VlanSpace`, a line of headings above them.

    ``cursor`` is an ID; zoomed out it is the first of its cell, unless the person came from a particular one.
    """

    DEFAULT_CSS = "VlanGrid { height: 1fr; }"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "step(-1)", "Left", show=False, id="grid.left"),
        Binding("right", "step(1)", "Right", show=False, id="grid.right"),
        Binding("up", "move(-1)", "Up", show=False, id="grid.up"),
        Binding("down", "move(1)", "Down", show=False, id="grid.down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="grid.page_up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="grid.page_down"),
        Binding("home", "top", "First", show=False, id="grid.top"),
        Binding("end", "bottom", "Last", show=False, id="grid.bottom"),
        Binding("enter", "open", "Open", show=False, id="grid.open"),
    ]

    class Said(Message):
        """What the grid says to its screen."""

        def __init__(self, grid: VlanGrid) -> None:
            super().__init__()
            self.grid = grid

        @property
        def control(self) -> VlanGrid:
            return self.grid

    class Moved(Said):
        """The cursor stands on another cell, or other cells are marked, or others are on screen."""

    class Opened(Said):
        """Enter on a cell."""

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

    # What is shown

    def show(self, space: VlanSpace | None, folded: bool = False) -> None:
        """Show a network as it is now. Of the one that is shown, only cells that differ are repainted.

        Args:
            folded: leave out rows with nothing in them, and keep the cursor on what there is: what is left by a filter.
        """
        before, self.space = self.space, space
        other = before is None or space is None or before.physical.id != space.physical.id
        if other or folded or self._is_folded:
            self._is_folded = folded
            if other:
                self.anchor = None
                self.zoom = 1 if space is None else min(self.zoom, self.zooms[-1])
                self.cursor = space.start() if space is not None else 0
            if folded and space is not None and space.stretches and not any(space.between(*self.cell_of(self.cursor))):
                self.cursor = next((one.first for one in space.stretches if one.last >= self.cursor), space.stretches[0].first)
            self._repaint_all()
            self._centre()
            self.post_message(self.Moved(self))
            return
        lines = {y: self._strips.pop(row) for y in range(1, self.size.height) if (row := self._row_on(y)) in self._strips}
        self._strips.clear()
        for y in range(1, self.size.height):
            if y not in lines:
                self._refresh_line(y)
            else:
                self._refresh_cells(y, lines[y][1])

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

    # Going about

    def go(self, number: int) -> None:
        """Put the cursor on an ID, as far as there is one."""
        if self.space is None:
            return
        number = max(self.space.first, min(number, self.space.last))
        if number == self.cursor:
            return
        was, was_top, self.cursor = self.cursor, self._top, number
        self._follow()
        if self._top == was_top:
            lines = {self._line(was), self._line(number)}
            if self.anchor is not None:
                lines = set(range(max(min(lines), self._top), min(max(lines), self._top + self._lines) + 1))
            for line in lines:
                self._line_changed(line)
        self.post_message(self.Moved(self))

    def step(self, by: int) -> None:
        """By cells."""
        self.go(self.cell_of(self.cursor)[0] // self.zoom * self.zoom + by * self.zoom if self.zoom > 1 else self.cursor + by)

    def move(self, by: int) -> None:
        """By rows."""
        line = self._line(self.cursor)
        to = max(0, min(line + by, self._last_line))
        if self.space is not None and to != line:
            self.go(self.cursor + (self._row_of(to) - self._row(self.cursor)) * self.per_row * self.zoom)

    def page(self, by: int) -> None:
        """By pages, one line short of the height, so that a line of context stays."""
        step = max(1, self._lines - 1) * by
        self._top = max(0, min(self._top + step, self._last_line + 1 - self._lines))
        self.refresh()
        self.move(step)

    def top(self) -> None:
        if self.space is not None:
            self.go(self.space.first)

    def bottom(self) -> None:
        if self.space is not None:
            self.go(self.space.last)

    def open(self) -> None:
        self.post_message(self.Opened(self))

    def set_zoom(self, zoom: int) -> None:
        """Let a cell stand for so many IDs; the cursor stays on its ID."""
        if zoom != self.zoom and zoom in self.zooms:
            self.zoom = zoom
            self._repaint_all()
            self._centre()
            self.post_message(self.Moved(self))

    def zoom_out(self) -> None:
        """The next step out; from the last, all the way in."""
        steps = self.zooms
        self.set_zoom(steps[(steps.index(self.zoom) + 1) % len(steps)])

    def zoom_in(self) -> None:
        self.set_zoom(self.zooms[max(0, self.zooms.index(self.zoom) - 1)])

    def mark(self, number: int | None) -> None:
        """Begin to mark at an ID, or mark nothing."""
        before, self.anchor = self.anchor, number
        for edge in {before, number} - {None}:
            low, high = sorted((self._line(edge or 0), self._line(self.cursor)))
            for line in range(max(low, self._top), min(high, self._top + self._lines) + 1):
                self._line_changed(line)
        self.post_message(self.Moved(self))

    # Lines

    @property
    def _lines(self) -> int:
        return max(1, self.size.height - 1)

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

    def _centre(self) -> None:
        self._top = self._line(self.cursor) - self._lines // 2
        self._follow()

    def _follow(self) -> None:
        """Scroll as little as brings the cursor on screen; after a jump, so that there is as much above it as below."""
        if self._is_folded and self._row_of(self._line(self.cursor)) != self._row(self.cursor):
            self._bands = None
            self.refresh()
        line, was = self._line(self.cursor), self._top
        if self._top - 3 <= line < self._top + self._lines + 3:
            self._top = max(line - self._lines + 1, min(self._top, line))
        else:
            self._top = line - self._lines // 2
        self._top = max(0, min(self._top, self._last_line + 1 - self._lines))
        if self._top != was:
            self.refresh()

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
        for at in range(per_row):
            a = first + at * zoom
            b = a + zoom - 1
            inside = b >= space.first and a <= space.last
            letter, style = cell(space, max(a, space.first), min(b, space.last)) if inside else (" ", "")
            if low <= a <= high:
                style = "match"
            if at == here:
                spans += [("[", "strong"), (letter, cursor_style), ("]", "strong")]
            elif at % GROUP == 0 and here // GROUP != at // GROUP:
                spans += [(" ", ""), (letter, style)]
            else:
                spans.append((letter, style))
            if at % GROUP == GROUP - 1 and here // GROUP != at // GROUP:
                spans.append((" ", ""))
        return spans

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return self._last_line + 2

    # What happens to it

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._strips.clear()

    def on_resize(self) -> None:
        self._repaint_all()
        self._centre()
        self.post_message(self.Moved(self))

    def on_focus(self) -> None:
        self._focus_changed()

    def on_blur(self) -> None:
        self._focus_changed()

    def _focus_changed(self) -> None:
        self._refresh_line(0)
        self._line_changed(self._line(self.cursor))

    def on_click(self, event: events.Click) -> None:
        found = self._number_at(event.x, event.y)
        if found is not None and self.cell_of(found) == self.cell_of(self.cursor):
            self.open()
        elif found is not None:
            self.go(found)

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

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.move(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.move(-3)

    action_step, action_move, action_page, action_top, action_bottom, action_open = step, move, page, top, bottom, open
