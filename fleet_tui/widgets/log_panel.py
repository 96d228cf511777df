"""How a log panel looks: which lines its filters show, where the reader is, and what to paint again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from textual.geometry import Region, Size
from textual.strip import Strip

from fleet_tui.widgets.glyphs import UNICODE, Glyphs, age
from fleet_tui.widgets.log_lines import LogLines
from fleet_tui.widgets.log_reader import SINCE_S, LogReader, Row, parse_words, rank_of
from fleet_tui.widgets.log_ring import LEVELS, LogRing
from fleet_tui.widgets.paint import Painted, titled_rule
from fleet_tui.widgets.safety import plain


class LogPanel(Painted):
    """The painted side of a log, with its filters and its search; what brings lines in is in `LogView`.

    Args:
        title: what log it is; without one there is no title line.
        max_lines: lines kept.
        empty: said where there are no lines at all.
        now: the time in seconds, for ``since``.
    """

    def __init__(
        self,
        title: str = "",
        *,
        max_lines: int = 5000,
        empty: str = "",
        glyphs: Glyphs = UNICODE,
        now: Callable[[], float] = time.time,
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(glyphs=glyphs, name=name, id=id, classes=classes)
        self._ring = LogRing(max_lines)
        self._drawn = LogLines(self, self._ring)
        self._reader = LogReader(self._ring, self._drawn.rows_of)
        self._title = title
        self._empty = empty
        self._is_told = False
        self._now = now
        self._level = ""
        self._since_key = 0
        self._filter = ""
        self._view: list[Row] | None = None
        self._title_painted = ""

    def states(self) -> list[str]:
        """What the title line says at its end."""
        return ["following" if self.following else "paused"]

    # What is shown, and how

    @property
    def following(self) -> bool:
        return self._reader.is_following

    @property
    def line_count(self) -> int:
        """Lines kept, shown or not."""
        return len(self._ring)

    @property
    def shown_count(self) -> int:
        """Lines that the filters show."""
        return self._reader.count

    @property
    def title(self) -> str:
        return self._title

    @title.setter
    def title(self, title: str) -> None:
        self._title = title
        self._repaint()

    def tell(self) -> None:
        """From now on it is known whether there are lines, so that an empty panel may say that there are none."""
        if not self._is_told:
            self._is_told = True
            self.refresh()

    def toggle_wrap(self) -> None:
        self.wrap = not self.wrap

    @property
    def wrap(self) -> bool:
        return self._drawn.wrap

    @wrap.setter
    def wrap(self, wrap: bool) -> None:
        self._drawn.wrap, self._drawn.offset = wrap, 0
        self._repaint_all()

    def toggle_timestamps(self) -> None:
        self.timestamps = not self.timestamps

    @property
    def timestamps(self) -> bool:
        return self._drawn.timestamps

    @timestamps.setter
    def timestamps(self, on: bool) -> None:
        self._drawn.timestamps = on
        self._repaint_all()

    @property
    def labels(self) -> bool:
        """Whether each line says what object it is about; of no use in the log of one object."""
        return self._drawn.labels

    @labels.setter
    def labels(self, on: bool) -> None:
        self._drawn.labels = on
        self._repaint_all()

    @property
    def level(self) -> str:
        """Lowest level shown; empty for all."""
        return self._level

    @level.setter
    def level(self, level: str) -> None:
        self._level = level if level in LEVELS else ""
        self._refilter()

    def cycle_level(self) -> None:
        """All, info and worse, warnings and worse, errors."""
        steps = ["", "info", "warn", "error"]
        self.level = steps[(steps.index(self._level) + 1) % len(steps)] if self._level in steps else ""

    @property
    def filter_text(self) -> str:
        """Words that all lines shown hold, or with ``!`` do not."""
        return self._filter

    @filter_text.setter
    def filter_text(self, text: str) -> None:
        self._filter = text
        self._refilter()

    def since(self, key: int) -> None:
        """Only lines of the last so long: 0 all, 1 1m, 2 5m, 3 15m, 4 30m, 5 1h, 6 24h."""
        self._since_key = key if 0 <= key < len(SINCE_S) else 0
        self._refilter()

    def _refilter(self) -> None:
        since = self._now() - SINCE_S[self._since_key] if self._since_key else 0.0
        self._reader.set_filter(rank=rank_of(self._level), since=since, words=parse_words(self._filter))
        self._repaint_all()

    # Search

    def search(self, text: str) -> bool:
        """Look for text and go to the first line from here on that has it. Empty text ends the search."""
        self._reader.needle, self._reader.hit = text.strip().lower(), None
        found = self._reader.find(1, self._lines)
        self._repaint_all()
        return found

    @property
    def is_searching(self) -> bool:
        return bool(self._reader.needle)

    def next_match(self) -> bool:
        return self._go_to_match(1)

    def previous_match(self) -> bool:
        return self._go_to_match(-1)

    def _go_to_match(self, step: int) -> bool:
        found = self._reader.find(step, self._lines)
        self._repaint_all()
        return found

    def export(self) -> Iterator[str]:
        """The lines shown, as plain text with full times, for a file."""
        return (self._drawn.plain_line(self._reader.at(index)) for index in range(self._reader.count))

    # Painting

    @property
    def _lines(self) -> int:
        """Rows that fit under the title line."""
        return max(1, self.size.height - (1 if self._title else 0))

    def _rows(self) -> list[Row]:
        if self._view is None:
            self._view = self._reader.view(self._lines)
        return self._view

    def _repaint(self) -> None:
        """Find out what is on screen now; send the lines that differ, and the title line if it does."""
        before, self._view = self._view, None
        if before is None:
            self.refresh()
            return
        after, first = self._rows(), 1 if self._title else 0
        if bool(before) != bool(after):
            self.refresh()
        elif before and after and before[0] != after[0] and len(before) == len(after) == self._lines:
            self.refresh(Region(0, first, self.size.width, self._lines))
        else:
            for y in range(max(len(before), len(after))):
                if before[y : y + 1] != after[y : y + 1]:
                    self.refresh(Region(0, first + y, self.size.width, 1))
        if self._title and self._title_text() != self._title_painted:
            self.refresh(Region(0, 0, self.size.width, 1))

    def _repaint_all(self) -> None:
        self._drawn.needle, self._drawn.hit = self._reader.needle, self._reader.hit
        self._drawn.repaint()
        self._view = None
        self.refresh()

    def render_line(self, y: int) -> Strip:
        if self._title:
            if y == 0:
                self._title_painted = self._title_text()
                return self.strip([(self._title_painted, "focused" if self.has_focus else "title")], self.size.width)
            y -= 1
        rows = self._rows()
        if y < len(rows):
            return self._drawn.strip(rows[y])
        if not rows and y == 1 and self._is_told:
            return self.strip([("  ", ""), ("nothing matches" if self.line_count else self._empty, "muted")], self.size.width)
        return Strip.blank(self.size.width, self.style_of(""))

    def _title_text(self) -> str:
        """``─ agent log · warn+ · "disk" ───── 12 new · paused ─``"""
        chips = [plain(self._title, 120)]
        if self._level:
            chips.append(f"{self._level}+")
        if self._since_key:
            chips.append(f"last {age(SINCE_S[self._since_key])}")
        if self._filter:
            chips.append(f"/{plain(self._filter, 60)}")
        if self._reader.needle:
            chips.append(f'"{plain(self._reader.needle, 60)}"' + ("" if self._reader.hit is not None else " not found"))
        return titled_rule(chips, self.states(), self.size.width, self.glyphs)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return self._reader.count + (1 if self._title else 0)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._drawn.repaint()
