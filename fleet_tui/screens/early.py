"""A key that comes before what it is for: it waits for the record, for a bounded time, or the screen says that it is still loading.

A screen of one thing knows what a verb would work on before its record has come, so the verb waits for it. In a list nobody knows which row
will be under the cursor: there a key never waits, for it would work on a row that the person had not seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fleet_tui.actions import Action
from fleet_tui.backend.errors import FleetError
from fleet_tui.widgets.timers import once

if TYPE_CHECKING:
    from fleet_tui.screens.frame import FleetScreen

PATIENCE_S = 10.0
"""How long a key waits for its record before it is given up, and said to be."""
OF_ROW = frozenset({
    "list.open", "list.mark", "list.range", "list.mark-all", "list.describe", "list.raw", "list.copy", "list.copy-row",
})  # fmt: skip
"""Keys of a list that need a row, though they aim at none."""


class Early:
    """What was pressed too early on one screen. The first key waits; others for the same record are not taken meanwhile."""

    def __init__(self, screen: FleetScreen) -> None:
        self._screen = screen
        self._waiting: Action | None = None
        self._is_answered = self._is_refused = False
        self.refusal = ""
        """Why there is nothing on the screen: said for as long as that is so, for a toast goes and would leave it empty."""
        self._waits = 0
        """Counts them: a timer of an earlier one means nothing."""

    @property
    def is_loading(self) -> bool:
        """Whether what the screen is for was asked, and neither came nor was refused."""
        screen = self._screen
        if screen.console.session is None or self._is_refused:
            return False
        return self.is_empty

    def takes(self, action: Action) -> bool:
        """Whether the action is kept for later, or was answered here; else it can be done now."""
        if not self.is_loading:
            return False
        screen = self._screen
        if action.aims in screen.THING or action.id in screen.THING:
            if self._waiting is None:
                self._waiting = action
                self._waits += 1
                number = self._waits
                once(screen, PATIENCE_S, lambda: self._give_up(number))
            return True
        lacks_row = "list.open" in screen.idle() if action.id in OF_ROW else action.aims and screen.subject(action.aims) is None
        if lacks_row:
            screen.say(f"{action.title}: still loading")
        return bool(lacks_row)

    @property
    def is_empty(self) -> bool:
        """Whether nothing of what the screen is for has come."""
        return self._screen.thing is None if self._screen.THING else not self._is_answered

    def asked(self) -> None:
        """The screen has come up and fetches everything shown."""
        self._is_answered = self._is_refused = False
        self._well()

    def _well(self) -> None:
        if self.refusal:
            self.refusal = ""
            self._screen.chrome()

    def noted(self, then: Callable[[Any], None], failed: Callable[[FleetError], None]) -> tuple[Callable[[Any], None], Callable[[FleetError], None]]:
        """Both ends of a question of the screen: after an answer what waited for it is done; after a refusal nothing waits any more."""

        def painted(found: Any) -> None:
            if self._screen.children:  # the console may be ending: then there is nothing left to paint on
                then(found)
                self._is_answered = True
                if not self.is_empty:
                    self._well()
                self._go_on()

        def refused(error: FleetError) -> None:
            self._is_refused = True
            self.forget()
            failed(error)

        return painted, refused

    def _go_on(self) -> None:
        action = self._waiting
        if action is not None and not self.is_loading:
            self._waiting = None
            if self._screen.console.screen is self._screen:
                self._screen.perform(action)

    def forget(self) -> None:
        """Nothing waits any more: the person went away."""
        self._waiting = None

    def _give_up(self, number: int) -> None:
        action = self._waiting
        if action is not None and number == self._waits:
            self._waiting = None
            self._screen.say(f"{action.title}: still loading after {PATIENCE_S:g} s; press it again once it is shown", "warning")
