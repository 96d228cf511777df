"""A reader's place in a log: which lines the filters show, what fits on screen, follow or not, search.

Knows lines by their number in the ring and rows of wrapped lines by their offset, and nothing of colours
or of the terminal, so that it is tested without one.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable

from fleet_tui.widgets.log_ring import LEVELS, LogRing

SINCE_S = (0, 60, 300, 900, 1800, 3600, 86400)
"""What the keys 0 to 6 mean, in seconds; 0 is everything."""

Row = tuple[int, int]
"""A row on screen: number of the line, and which row of it."""


class LogReader:
    """The rows of a ring that are on screen, and how they move.

    Args:
        ring: the lines.
        rows_of: number of a line to how many rows it takes on screen; at least 1.
    """

    def __init__(self, ring: LogRing, rows_of: Callable[[int], int]) -> None:
        self.ring = ring
        self.rows_of = rows_of
        self.is_following = True
        self.unseen = 0
        """Lines shown below that arrived since following ended."""
        self.rank = 0
        self.since = 0.0
        self.words: tuple[tuple[str, bool], ...] = ()
        self.needle = ""
        self.hit: int | None = None
        """The line that search stands on."""
        self._place: Row = (0, 0)
        self._shown: array[int] | None = None

    # Which lines

    @property
    def is_filtered(self) -> bool:
        return self._shown is not None

    @property
    def count(self) -> int:
        return len(self.ring) if self._shown is None else len(self._shown)

    def at(self, index: int) -> int:
        return self.ring.first + index if self._shown is None else self._shown[index]

    def index(self, number: int) -> int:
        """Where a line is, or where the next one shown is."""
        if self._shown is None:
            return max(0, min(number - self.ring.first, len(self.ring)))
        return bisect_left(self._shown, number)

    def set_filter(self, *, rank: int, since: float, words: tuple[tuple[str, bool], ...]) -> None:
        """Show only lines at or above a rank, since a time, with all words."""
        self.rank, self.since, self.words = rank, since, words
        self._shown = None
        if rank > 0 or since > 0 or words:
            self._shown = array("q")
            self._extend(self.ring.first)
        if self.hit is not None and (self.index(self.hit) >= self.count or self.at(self.index(self.hit)) != self.hit):
            self.hit = None

    def _extend(self, start: int) -> int:
        assert self._shown is not None
        before = len(self._shown)
        numbers = range(max(start, self.ring.first), self.ring.end)
        self._shown.extend(self.ring.select(numbers, rank=self.rank, since=self.since, words=self.words))
        return len(self._shown) - before

    def grew(self, end_before: int) -> None:
        """Lines were appended to the ring, whose end was this."""
        if self._shown is None:
            added = self.ring.end - end_before
        else:
            del self._shown[: bisect_left(self._shown, self.ring.first)]
            added = self._extend(end_before)
        if not self.is_following:
            self.unseen += added
        if self.hit is not None and self.hit < self.ring.first:
            self.hit = None

    def grew_before(self) -> None:
        """Older lines were put before the first."""
        if self._shown is not None:
            self.set_filter(rank=self.rank, since=self.since, words=self.words)

    # What is on screen

    def view(self, height: int) -> list[Row]:
        """The rows on a screen of this height, top first."""
        rows = [] if self.is_following else self._rows_from(self._place, height)
        # A screen that grew, or a filter, may leave a place too near the end to fill it from.
        return rows if len(rows) >= height else self._last_rows(height)

    def _last_rows(self, height: int) -> list[Row]:
        rows: list[Row] = []
        for index in range(self.count - 1, -1, -1):
            number = self.at(index)
            rows.extend((number, row) for row in range(self.rows_of(number) - 1, -1, -1))
            if len(rows) >= height:
                break
        return rows[:height][::-1]

    def _rows_from(self, place: Row, height: int) -> list[Row]:
        rows: list[Row] = []
        number, skip = place
        for index in range(self.index(number), self.count):
            found = self.at(index)
            rows.extend((found, row) for row in range(skip if found == number else 0, self.rows_of(found)))
            if len(rows) >= height:
                break
        return rows[:height]

    @property
    def room(self) -> int:
        """Lines the ring may take without dropping one that is on screen: all of them, while following."""
        if self.is_following:
            return self.ring.capacity
        return max(0, self.ring.capacity - (self.ring.end - max(self.ring.first, self._place[0])))

    # Moving

    def follow(self, on: bool, height: int) -> None:
        """Stay at the end, or stay where the screen is now."""
        if on:
            self.is_following, self.unseen = True, 0
        elif self.is_following:
            rows = self.view(height)
            self.is_following, self._place = False, rows[0] if rows else (self.ring.end, 0)

    def move(self, rows: int, height: int) -> bool:
        """Scroll; up ends following, reaching the end begins it. False when there was nothing further up."""
        if rows > 0 and self.is_following:
            return True
        self.follow(False, height)
        if seen := self.view(height):
            self._place = seen[0]
        before = self._place
        if rows < 0:
            self._place = self._up(self._place, -rows)
            if self._place == before and self._all_fit(height):
                self.follow(True, height)
            return self._place != before
        following = self._rows_from(self._place, height + rows)
        if len(following) < height + rows:
            self.follow(True, height)
        else:
            self._place = following[rows]
            if following[-1] == self._last_row():
                self.follow(True, height)
        return True

    def _all_fit(self, height: int) -> bool:
        return len(self._last_rows(height + 1)) <= height

    def _last_row(self) -> Row:
        number = self.at(self.count - 1)
        return number, self.rows_of(number) - 1

    def _up(self, place: Row, rows: int) -> Row:
        number, row = place
        index = self.index(number)
        if index < self.count and self.at(index) != number:
            number, row = self.at(index), 0
        while rows > 0:
            if row >= rows:
                return number, row - rows
            if index == 0:
                return number, 0
            rows -= row + 1
            index -= 1
            number = self.at(index)
            row = self.rows_of(number) - 1
        return number, row

    def to_first(self, height: int) -> None:
        self.follow(False, height)
        self._place = (self.at(0), 0) if self.count else (self.ring.end, 0)

    def show(self, number: int, height: int) -> None:
        """Scroll so that a line stands in the upper third."""
        self.follow(False, height)
        self._place = self._up((number, 0), height // 3)

    # Search

    def find(self, step: int, height: int) -> bool:
        """Go to the next line with the needle, or the previous one; around the end if need be."""
        if not self.needle or not self.count:
            return False
        if self.hit is not None:
            start = self.index(self.hit)
        else:
            rows = self.view(height)
            start = self.index(rows[-1 if step < 0 else 0][0]) - step if rows else 0
        for away in range(1, self.count + 1):
            number = self.at((start + step * away) % self.count)
            if self.holds(number):
                self.hit = number
                if number not in [row[0] for row in self.view(height)]:
                    self.show(number, height)
                else:
                    self.follow(False, height)
                return True
        self.hit = None
        return False

    def holds(self, number: int) -> bool:
        kind = self.ring.kind(number)
        return self.needle in f"{kind.label} {kind.phase} {self.ring.text(number)}".lower()


def parse_words(text: str) -> tuple[tuple[str, bool], ...]:
    """Filter words and whether each must be absent: ``disk !debug``."""
    words = ((word.removeprefix("!").lower(), word.startswith("!")) for word in text.split())
    return tuple((word, absent) for word, absent in words if word)


def rank_of(level: str) -> int:
    """Rank of the lowest level wanted; unknown or empty is everything."""
    return LEVELS.get(level, 0)
