"""The map of a physical network: a letter for each ID, in rows of 50 and groups of ten, under a cursor in brackets."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from fleet_tui.widgets.vlan_lines import GROUP, GROUP_CELLS, VlanLines
from fleet_tui.widgets.vlan_space import VlanSpace

__all__ = ["GROUP", "GROUP_CELLS", "VlanGrid"]


class VlanGrid(VlanLines, can_focus=True):
    """The cells of a `VlanSpace`, a line of headings above them, and a cursor."""

    DEFAULT_CSS: ClassVar[str] = "VlanGrid { height: 1fr; }"

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

    # What happens to it

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

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.move(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.move(-3)

    action_step, action_move, action_page, action_top, action_bottom, action_open = step, move, page, top, bottom, open
