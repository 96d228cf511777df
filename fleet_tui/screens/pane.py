"""``fleet pane …``: one panel as a small read-only program for a tmux split. No prompt, no footer, reconnects for ever."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from fleet_tui.app import FleetApp
from fleet_tui.backend.clock import Clock
from fleet_tui.backend.errors import FleetError, UsageError
from fleet_tui.backend.identity import SessionRecord
from fleet_tui.backend.instances import InstanceRecord, ShowInstance

if TYPE_CHECKING:
    from fleet_tui.screens.frame import FleetScreen
    from fleet_tui.session import Session
    from fleet_tui.settings import Settings

PANES = ("dashboard", "instances", "hosts", "operations", "events", "logs")
ALLOWED = ("move.", "list.sort", "list.reverse", "list.wide", "list.problems", "log.follow", "log.wrap", "log.time",
           "log.level", "log.mark", "log.full", "since.", "global.refetch", "board.")  # fmt: skip
"""What keys may still do: look at it differently. Everything else is silent."""


class PaneApp(FleetApp):
    """The console with one screen and nothing that changes anything; the daemon holds it to that."""

    def __init__(self, settings: Settings, connect: Callable[[], Session], pane: Sequence[str], clock: Clock | None = None) -> None:
        kind, *names = pane or ("",)
        if kind not in PANES:
            raise UsageError(f"there is no pane {kind!r}", hint=f"there are {', '.join(PANES)}")
        self._pane, self._target = kind, names[0] if names else ""
        self.roots = (kind,)
        self.DEFAULT_MODE = kind  # type: ignore[misc]
        super().__init__(settings, lambda: _read_only(connect()), clock)

    def make(self, kind: str) -> FleetScreen:
        screen = super().make(kind)
        screen.add_class("-pane")
        if kind == "logs":
            screen.aim("", title=self._target)  # type: ignore[call-arg]
        return screen

    def allows(self, action_id: str) -> bool:
        return action_id.startswith(ALLOWED)

    def _up(self, session: Session, record: SessionRecord) -> None:
        super()._up(session, record)
        if self._pane == "logs" and self._target:
            self.ask(lambda s: s.fetch(ShowInstance(self._target)), self._aim, self._no_such)

    def _aim(self, row: InstanceRecord) -> None:
        self.screen.aim(f"instance:{row.id}", title=row.label)  # type: ignore[attr-defined]
        self.screen.shown()  # type: ignore[attr-defined]

    def _no_such(self, error: FleetError) -> None:
        self.notify(error.message, severity="error", markup=False, timeout=30)


def _read_only(session: Session) -> Session:
    """A pane gives up the right to change anything as soon as it has a session."""
    if not session.read_only:
        session.make_read_only()
    return session
