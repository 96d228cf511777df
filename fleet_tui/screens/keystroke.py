"""What a key brings is painted at once; everything else waits for the next frame.

The framework paints in frames, sixty in a second. Somebody whose key comes just after something else was painted, as on a map whose details arrive
a moment after each move, would wait for the next frame too: four times as long as the work takes.
"""

from __future__ import annotations

import time

from textual import events
from textual.screen import Screen

FRAME_S = 1 / 60
"""Keys that come faster than this are painted with the frames, so that a pasted text costs no picture for each letter."""


class Keystroke(Screen[None]):
    """A screen that answers keys at once; the console tells it of each."""

    def __init__(self) -> None:
        super().__init__()
        self._is_pressed = False
        self._answered_at = 0.0

    def pressed(self) -> None:
        """A key is on its way to what has the focus: the next thing to paint is most likely its doing."""
        self._is_pressed = True

    async def _on_idle(self, event: events.Idle) -> None:
        """Besides the framework's own, which only has the next frame paint."""
        if not self._is_pressed or not self.is_current or self.app._batch_count or not (self._dirty_widgets or self._repaint_required):
            return
        now = time.monotonic()
        self._is_pressed = False
        if now - self._answered_at >= FRAME_S:
            self._answered_at = now
            event.prevent_default()
            self._on_timer_update()
