"""The one log panel: bounded, batched, plain text, painted line by line.

Lines may be poured in from any thread. They wait in a queue, are taken out at most eight times a second
and four times when they come faster than the panel is high, and nothing runs while none wait. What would
not fit in the ring is skipped before anything is done with it, and the gap is stated in its place.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message
from textual.timer import Timer

from fleet_tui.widgets.log_lines import clock
from fleet_tui.widgets.log_panel import LogPanel
from fleet_tui.widgets.log_queue import LogQueue
from fleet_tui.widgets.log_ring import Entry
from fleet_tui.widgets.timers import once

__all__ = ["Entry", "LogView"]

DRAIN_S = 0.125
"""Between two drains of waiting lines."""

BUSY_DRAIN_S = 0.25
"""The same when each drain replaces the whole panel: a repaint is what costs, not a line."""

CHUNK = 4096
"""Lines taken in one go; some 5 ms, so that a key never waits long."""

CHUNK_PAUSE_S = 0.03


class LogView(LogPanel, can_focus=True):
    """Lines of one log or several, with a title line that says what is shown and whether it follows.

    Args:
        title: what log it is; without one there is no title line.
        max_lines: lines kept.
        now: the time in seconds, for ``since``.
    """

    DEFAULT_CSS = "LogView { height: 1fr; }"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Up", show=False, id="log.up"),
        Binding("down", "move(1)", "Down", show=False, id="log.down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="log.page_up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="log.page_down"),
        Binding("left", "shift(-1)", "Left", show=False, id="log.left"),
        Binding("right", "shift(1)", "Right", show=False, id="log.right"),
        Binding("home", "top", "First", show=False, id="log.top"),
        Binding("end", "bottom", "Last", show=False, id="log.bottom"),
    ]

    class TopReached(Message):
        """The reader wants to see what was before the first line kept."""

        def __init__(self, log: LogView) -> None:
            super().__init__()
            self.log_view = log

        @property
        def control(self) -> LogView:
            return self.log_view

    class _Poured(Message, bubble=False):
        """Lines wait."""

    def __init__(self, title: str = "", *, max_lines: int = 5000, **options: Any) -> None:
        super().__init__(title, max_lines=max_lines, **options)
        self._queue = LogQueue(max_lines - 1)
        self._timer: Timer | None = None
        self._skipped = 0
        self._drained_at = 0.0

    # Lines in

    def pour(self, lines: Iterable[Entry]) -> None:
        """Take lines, from any thread. They are painted within an eighth of a second or so."""
        if self._queue.put(lines) and self.is_mounted:
            self.post_message(self._Poured())

    def feed(self, lines: Iterable[Entry]) -> None:
        """Append lines at once. From the event loop only."""
        if self.following and not self._queue.behind:
            self._append(lines)
            self._repaint()
        else:
            self._queue.put(lines)
            self._drain()

    def prepend(self, lines: Iterable[Entry]) -> int:
        """Put older lines before the first; returns how many of them the ring had room for."""
        count = self._ring.prepend(lines)
        if count:
            self._reader.grew_before()
            self._drawn.measure()
            self._repaint()
        return count

    def say_gap(self, count: int) -> None:
        """State that lines are missing here."""
        if count > 0:
            self.feed([self._gap(count)])

    def mark(self) -> None:
        """Draw a line under what has been read, with the time."""
        now = self._now()
        self.feed([Entry(0, now, "", "", "mark", f"mark {clock(now)}")])

    def clear(self) -> None:
        self._ring.clear()
        self._queue.clear()
        self._skipped = 0
        self._drawn.forget()
        self._reader.follow(True, self._lines)
        self._reader.hit = None
        self._refilter()

    def _gap(self, count: int) -> Entry:
        dots = self.glyphs.ellipsis
        return Entry(0, self._now(), "", "", "gap", f"{dots} {count:,} line{'s'[: count > 1]} skipped {dots}")

    def _append(self, lines: Iterable[Entry]) -> None:
        end = self._ring.end
        self._ring.append(lines)
        self._reader.grew(end)
        if self._drawn.measure():
            self._view = None
            self.refresh()

    def on_log_view__poured(self) -> None:
        """Lines wait: take them now, but not more often than the panel is worth repainting."""
        wait = self._drained_at + BUSY_DRAIN_S - time.monotonic()
        if self.following or wait <= 0:
            self._drain()
        elif self._timer is None:
            self._timer = once(self, wait, self._drain)

    def _drain(self) -> None:
        """Take what waits; come back as long as there is something, then stop altogether.

        While the reader looks at older lines, only as many are taken as push none of those out; the rest
        waits, and what the queue has to drop meanwhile is stated as a gap when following resumes.
        """
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        taken = self._queue.take(min(CHUNK, self._reader.room - 1))
        now = time.monotonic()
        if taken is None:
            self._drained_at = now
            self._repaint()
            return
        lines, skipped, left = taken
        if skipped:
            self._skipped += skipped
            self._append([self._gap(skipped)])
            if not self.following:
                self._reader.unseen += skipped - 1
        self._append(lines)
        busy = len(lines) >= self._lines or not self.following
        since = now - self._drained_at
        if since >= BUSY_DRAIN_S or not (left or busy):
            self._drained_at, since = now, 0.0
            self._repaint()
        wait = CHUNK_PAUSE_S if left else BUSY_DRAIN_S - since if busy else DRAIN_S
        self._timer = once(self, wait, self._drain)

    @property
    def unseen(self) -> int:
        """Lines that arrived below since following ended."""
        return 0 if self.following else self._reader.unseen + self._queue.behind

    @property
    def skipped(self) -> int:
        """Lines that came too fast to be kept."""
        return self._skipped

    def states(self) -> list[str]:
        """What the title line says at its end."""
        states = [f"{self._skipped:,} skipped"] if self._skipped else []
        if self.unseen:
            states.append(f"{self.unseen:,} new")
        return [*states, "following" if self.following else "paused"]

    # Moving

    def toggle_follow(self) -> None:
        self._reader.follow(not self.following, self._lines)
        self._moved()

    def move(self, rows: int) -> None:
        if not self._reader.move(rows, self._lines):
            self.post_message(self.TopReached(self))
        self._moved()

    def page(self, pages: int) -> None:
        self.move(pages * max(1, self._lines - 1))

    def top(self) -> None:
        self._reader.to_first(self._lines)
        self.post_message(self.TopReached(self))
        self._repaint()

    def bottom(self) -> None:
        """Go to the end, and follow."""
        self._reader.follow(True, self._lines)
        self._moved()

    def _moved(self) -> None:
        """Repaint, and once at the end again take what was held back."""
        if self.following and self._queue.behind:
            self._drain()
        self._repaint()

    def shift(self, steps: int) -> None:
        """Look further right in lines that are longer than the panel."""
        if not self.wrap:
            self._drawn.offset = max(0, self._drawn.offset + 16 * steps)
            self._repaint_all()

    # What happens to it

    def on_mount(self) -> None:
        self._drain()

    def on_resize(self) -> None:
        self._repaint_all()

    def on_focus(self) -> None:
        self.refresh(Region(0, 0, self.size.width, 1))

    def on_blur(self) -> None:
        self.refresh(Region(0, 0, self.size.width, 1))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.move(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.move(-3)

    action_move, action_page, action_shift, action_top, action_bottom = move, page, shift, top, bottom
