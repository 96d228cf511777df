"""Keys take turns: the next is given to whatever has the focus once the one before has had its effect.

The framework hands a key to the widget that has the focus now, and goes on. Of keys that come together, typed ahead or brought at once by a slow
link, the second would go to the dialog that the first has just closed, or to the list behind the line that it has just opened.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from textual import events

if TYPE_CHECKING:
    from textual.app import App
    from textual.message_pump import MessagePump

PATIENCE_S = 0.5
"""How long a key may take until the next has its turn all the same: what had the first may be gone, and then nobody says that it is done."""


class Turns:
    """The keys and pastes of one console, in the order in which they came."""

    def __init__(self, app: App[Any], give: Callable[[events.Event], Coroutine[Any, Any, None]]) -> None:
        """``give`` hands one to whatever has the focus, and does not wait for its effect."""
        self._app, self._give = app, give
        self._waiting: deque[events.Event] = deque()
        self._turn = 0
        self._is_taken = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether every key has had its effect on the console, if not yet its answer from the daemon."""
        return not self._is_taken or not self._app.is_running

    async def take(self, event: events.Event) -> None:
        """Give it now, or after those that came before."""
        self._waiting.append(event)
        await self._go_on()

    async def _go_on(self) -> None:
        while self._waiting and not self._is_taken:
            event = self._waiting.popleft()
            stack = self._app.screen_stack
            if not stack:  # the console ends
                return
            target = stack[-1].focused or stack[-1]
            is_text = isinstance(event, events.Key) and event.character is not None and target.check_consume_key(event.key, event.character)
            await self._give(event)
            if not is_text:  # a letter of a line leads nowhere, and a pasted text has many
                self._follow(target)

    def _follow(self, target: MessagePump) -> None:
        """A key rises from its widget to the application, which does what it is bound to; then the screen that is shown now takes the focus."""
        app = self._app
        self._is_taken = True
        self._turn += 1
        self._timer = asyncio.get_running_loop().call_later(PATIENCE_S, app.call_later, self._end, self._turn)
        rises: list[MessagePump] = [target]
        while (parent := rises[-1]._parent) is not None:
            rises.append(parent)
        self._hop(self._turn, rises, 2)

    def _hop(self, turn: int, route: Sequence[MessagePump], more: int) -> None:
        """Behind everything that waits in the first of these, then in the next."""
        for number, pump in enumerate(route, 1):
            if pump.call_later(self._hop, turn, route[number:], more):
                return
        if turn != self._turn:
            return
        if more:  # a screen may ask the application for the focus, and the application may tell the screen to come up first
            self._hop(turn, [*self._app.screen_stack[-1:], self._app], more - 1)
        else:
            self._app.call_next(self._end, turn)

    async def _end(self, turn: int) -> None:
        if turn == self._turn and self._is_taken:
            self._is_taken = False
            if self._timer is not None:
                self._timer.cancel()
            await self._go_on()
