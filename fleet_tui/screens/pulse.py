"""The fleet's counts, fetched once for every header and the dashboard; asked again at most once a second, and only after a change."""

from __future__ import annotations

from fleet_tui.backend.api import Summarize, Summary
from fleet_tui.screens.console import Console
from fleet_tui.widgets.timers import once

APART_S = 1.0
BOARD_ROWS = 50
BOARD_LINES = 100


class Pulse:
    """Keeps the newest `Summary`. With the dashboard shown it carries rows; elsewhere only counts."""

    def __init__(self, app: Console) -> None:
        self._app = app
        self._asked_at = -APART_S
        self._is_waiting = False
        self.summary: Summary | None = None

    def ask(self, soon: bool = True) -> None:
        """Fetch it now, or ``soon=False`` when a second has passed since the last time; calls in between are one."""
        if self._is_waiting or self._app.session is None:
            return
        now = self._app.clock.monotonic()
        left = 0.0 if soon else self._asked_at + APART_S - now
        if left > 0:
            self._is_waiting = True
            once(self._app, left, self._ask)
        else:
            self._ask()

    def _ask(self) -> None:
        self._is_waiting = False
        self._asked_at = self._app.clock.monotonic()
        board = self._app.has_board
        request = Summarize(BOARD_ROWS if board else 0, BOARD_LINES if board and self.summary is None else 0)
        self._app.ask(lambda session: session.fetch(request), self._have, lambda _error: None, "pulse")

    def _have(self, summary: Summary) -> None:
        self.summary = summary
        self._app.pulse_changed(summary)
