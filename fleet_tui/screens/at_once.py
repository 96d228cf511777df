"""What a key or an answer brings is painted at once; everything else waits for the next frame.

The framework paints in frames, sixty in a second. Somebody whose key comes just after something else was painted, as on a map whose details arrive
a moment after each move, would wait for the next frame too: four times as long as the work takes.
"""

from __future__ import annotations

import time

from textual import events
from textual.screen import Screen

FRAME_S = 1 / 60
"""Keys that come faster than this are painted with the frames, so that a pasted text costs no picture for each letter."""


class AtOnce(Screen[None]):
    """A screen that need not wait for the next frame; the console tells it when."""

    def __init__(self) -> None:
        super().__init__()
        self._is_hurried = False
        self._hurried_at = 0.0

    def hurry(self, always: bool = False) -> None:
        """What changes next is waited for.

        Args:
            always: even if something else was painted at once within the last frame. For what cannot come often.
        """
        self._is_hurried = True
        if always:
            self._hurried_at = 0.0

    async def _on_idle(self, event: events.Idle) -> None:
        """Besides the framework's own, which only has the next frame paint."""
        if not self._is_hurried or not self.is_current or self.app._batch_count or not (self._dirty_widgets or self._repaint_required):
            return
        self._is_hurried = False
        now = time.monotonic()
        if now - self._hurried_at >= FRAME_S:
            self._hurried_at = now
            event.prevent_default()
            self._on_timer_update()
