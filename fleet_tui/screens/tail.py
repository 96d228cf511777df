"""A log panel that keeps up: told by events that a stream has new lines, it reads what came after the last one it has.

It never polls. A panel that fell far behind goes to the tail and states the gap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from fleet_tui.backend.telemetry import LineBatch, LogLine, ReadLines
from fleet_tui.widgets.log_view import Entry, LogView

if TYPE_CHECKING:
    from fleet_tui.screens.frame import FleetScreen

FIRST = 500
"""Lines read when a panel opens."""
READ = 2000
FAR = 20000
"""Lines behind at which reading on is given up for the tail."""


def entry_of(line: LogLine) -> Entry:
    return Entry(line.seq, line.time.timestamp(), line.source, line.phase, line.level, line.text, line.label)


class PhaseLog(LogView):
    """A log panel that can go to where a phase began."""

    def go_to_phase(self, phase: str) -> bool:
        """Show the first line of the newest run of a phase; False when no line kept belongs to it."""
        found = None
        for index in range(self._reader.count - 1, -1, -1):
            number = self._reader.at(index)
            if self._ring.kind(number).phase == phase:
                found = number
            elif found is not None and self._ring.kind(number).phase:
                break
        if found is None:
            return False
        self._reader.show(found, self._lines)
        self._reader.hit = found
        self._repaint_all()
        return True


class TabbedLog(PhaseLog):
    """On a screen with tabs: wrapped lines need no sideways scrolling, so left and right turn the tabs."""

    def action_shift(self, steps: int) -> None:
        turn = getattr(self.screen, "turn", None)
        if self.wrap and turn is not None:
            turn(steps)
        else:
            super().action_shift(steps)


class Tail:
    """Feeds one panel from one stream, one operation, or everything.

    Args:
        screen: asks on its behalf.
        view: gives the panel, which may not be mounted yet when this is made.
    """

    def __init__(self, screen: FleetScreen, view: Callable[[], LogView]) -> None:
        self._screen = screen
        self._view = view
        self._cursor = -1
        self._oldest = 0
        self._is_reading = False
        self._has_more = False
        self.target = ""
        self.operation = ""

    def aim(self, target: str = "", operation: str = "") -> None:
        """Show this stream from now on; the same one again changes nothing."""
        if (target, operation) == (self.target, self.operation) and self._cursor >= 0:
            self.read()
            return
        self.target, self.operation = target, operation
        self.restart()

    def restart(self) -> None:
        """Forget what was read and begin at the tail."""
        self._cursor, self._is_reading, self._has_more = -1, False, False
        self._view().clear()
        self.read()

    def begin_with(self, lines: Iterable[LogLine]) -> None:
        """Take lines that came with something else."""
        lines = list(lines)
        if lines and self._cursor < 0:
            self._have(LineBatch(tuple(lines), max(self._number(line) for line in lines)))

    def hears(self, streams: frozenset[str]) -> bool:
        """Whether new lines of these streams concern it."""
        return bool(streams) and (not self.target or bool(self.operation) or self.target in streams)

    def read(self) -> None:
        """Read what is new. While a read is under way, another one follows it."""
        if self._is_reading:
            self._has_more = True
            return
        self._is_reading = True
        request = self._request(tail=FIRST) if self._cursor < 0 else self._request(after=self._cursor, limit=READ)
        self._screen.fetch(request, self._have, f"tail-{id(self)}", failed=lambda _error: self._stop())

    def read_before(self) -> None:
        """The reader scrolled to the first line: fetch the page before it."""
        if self._oldest > 1 and not self._is_reading:
            self._is_reading = True
            self._screen.fetch(self._request(before=self._oldest, limit=FIRST), self._have_older, f"tail-{id(self)}", failed=lambda _e: self._stop())

    def _request(self, **options: Any) -> ReadLines:
        return ReadLines(operation=self.operation, **options) if self.operation else ReadLines(target=self.target, **options)

    def _number(self, line: LogLine) -> int:
        return line.seq if self.target or self.operation else line.id

    def _stop(self) -> None:
        self._is_reading = False

    def _have(self, batch: LineBatch) -> None:
        self._is_reading = False
        view = self._view()
        first = self._cursor < 0
        self._cursor = max(batch.cursor, 0)
        if first:
            self._oldest = self._number(batch.lines[0]) if batch.lines else 0
        view.tell()
        view.say_gap(0 if first else batch.dropped)
        view.pour([entry_of(line) for line in batch.lines])
        if batch.behind > FAR:
            view.say_gap(batch.behind)
            self._cursor = -1
            self.read()
        elif self._has_more or (batch.behind > 0 and not first):
            self._has_more = False
            self.read()

    def _have_older(self, batch: LineBatch) -> None:
        self._is_reading = False
        if batch.lines:
            self._oldest = self._number(batch.lines[0])
            self._view().prepend([entry_of(line) for line in batch.lines])
        else:
            self._oldest = 0
