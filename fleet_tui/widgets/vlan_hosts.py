"""Hosts x IDs under the map: for the row that the cursor is in, what each host has and should have, in the columns of the map above."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from textual.geometry import Size
from textual.strip import Strip

from fleet_tui.backend.networks import PresenceRecord
from fleet_tui.backend.networks.states import DriftKind
from fleet_tui.widgets.glyphs import UNICODE, Glyphs
from fleet_tui.widgets.paint import Painted, Span, width_of
from fleet_tui.widgets.safety import plain
from fleet_tui.widgets.vlan_cells import ON_HOST, host_cell
from fleet_tui.widgets.vlan_grid import GROUP, GROUP_CELLS, VlanGrid

LEGEND = (
    ("+", "there"), ("-", "missing"), ("~", "wrong bridge"), ("!", "not expected"), ("?", "not asked"),
)  # fmt: skip
ROOMY = 36
"""Cells beside the columns in which what is wrong is said in words; in fewer, by letters."""
_WORST = ("-", "~", "!", "?", "+")


class HostRows(Painted, can_focus=True):
    """A line a host. Hosts with something wrong come first; those with nothing in the row are only counted."""

    DEFAULT_CSS = "HostRows { height: 8; }"

    def __init__(self, grid: VlanGrid, *, glyphs: Glyphs = UNICODE, id: str | None = None) -> None:
        super().__init__(glyphs=glyphs, id=id)
        self._grid = grid
        self._rows: Sequence[tuple[str, dict[int, PresenceRecord]]] = ()
        self._window = (0, -1)
        self._is_told = False
        self._top = 0

    def show(self, window: tuple[int, int], found: Iterable[PresenceRecord]) -> None:
        """What hosts have of the IDs of a row."""
        hosts: dict[str, dict[int, PresenceRecord]] = {}
        for row in found:
            if row.expected or row.actual or row.problem is not None:
                hosts.setdefault(row.host, {})[row.number] = row
        rows = sorted(hosts.items(), key=lambda item: (not any(one.problem for one in item[1].values()), item[0]))
        if (window, rows) != (self._window, self._rows) or not self._is_told:
            self._window, self._rows, self._is_told = window, rows, True
            self._top = max(0, min(self._top, len(rows) - self._lines))
            self.refresh()

    def follow(self) -> None:
        """The cursor moved within its row."""
        self.refresh()

    # Walking

    @property
    def _lines(self) -> int:
        return max(1, self.size.height - 1)

    def move(self, by: int) -> None:
        top = max(0, min(self._top + by, len(self._rows) - self._lines))
        if top != self._top:
            self._top = top
            self.refresh()

    def page(self, by: int) -> None:
        self.move(by * max(1, self._lines - 1))

    def top(self) -> None:
        self.move(-len(self._rows))

    def bottom(self) -> None:
        self.move(len(self._rows))

    # Painting

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if y == 0:
            return self.strip(self._heading(width), width, "")
        at = self._top + y - 1
        if at < len(self._rows):
            return self.strip(self._spans(*self._rows[at]), width)
        said = "no host has or should have an interface here" if y == 1 and self._is_told and not self._rows else ""
        return self.strip([(" " * self._grid.label_cells, ""), (said, "muted")], width)

    def _heading(self, width: int) -> list[Span]:
        first, last = self._window
        title = f" HOSTS {first}-{last}" if last >= first else " HOSTS"
        if len(self._rows) > self._lines:
            title += f"  {self._top + 1}-{min(len(self._rows), self._top + self._lines)} of {len(self._rows)}"
        spans: list[Span] = [(title, "heading" if self.has_focus else "title")]
        used = width_of(title)
        for letter, said in LEGEND:
            if (used := used + 5 + len(said)) < width:
                spans += [("   ", ""), (letter, "key"), (f" {said}", "muted")]
        return spans

    def _spans(self, host: str, cells: dict[int, PresenceRecord]) -> list[Span]:
        grid = self._grid
        zoom, first = grid.zoom, self._window[0]
        here = (grid.cursor - first) // zoom
        spans: list[Span] = [(" " * grid.label_cells, "")]
        found: dict[int, tuple[str, str]] = {}
        for number, row in cells.items():
            at, drawn = (number - first) // zoom, host_cell(row)
            if drawn[0] in ON_HOST and (at not in found or _WORST.index(drawn[0]) < _WORST.index(found[at][0])):
                found[at] = drawn
        for at in range(grid.per_row):
            letter, style = found.get(at, (" ", ""))
            if at == here:
                spans += [("[", "muted"), (letter, style or "strong"), ("]", "muted")]
            elif at % GROUP == 0 and here // GROUP != at // GROUP:
                spans += [(" ", ""), (letter, style)]
            else:
                spans.append((letter, style))
            if at % GROUP == GROUP - 1 and here // GROUP != at // GROUP:
                spans.append((" ", ""))
        wrong = [row.problem for row in cells.values() if row.problem is not None]
        is_narrow = self.size.width - grid.label_cells - grid.per_row // GROUP * GROUP_CELLS < ROOMY
        said = " ".join(f"{letter}{wrong.count(kind)}" for kind, (letter, _) in _WORDS.items() if kind in wrong)
        if not is_narrow:
            said = ", ".join(f"{wrong.count(kind)} {words}" for kind, (_, words) in _WORDS.items() if kind in wrong)
        return [*spans, (f" {plain(host, 40)}", "strong" if wrong else ""), (f"  {said}", "failed")]

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self._rows) + 1

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()


_WORDS = {DriftKind.MISSING: ("-", "missing"), DriftKind.WRONG_BRIDGE: ("~", "in a wrong bridge"), DriftKind.EXTRA: ("!", "not expected")}
