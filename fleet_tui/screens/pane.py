"""``fleet pane …``: one panel as a small read-only program for a tmux split. No prompt, no footer, reconnects for ever."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from fleet_tui.backend.errors import FleetError, UsageError
from fleet_tui.backend.identity import SessionRecord
from fleet_tui.backend.instances import InstanceRecord, ShowInstance

if TYPE_CHECKING:
    from textual.app import App

    from fleet_tui.screens.frame import FleetScreen
    from fleet_tui.screens.logs import LogsScreen
    from fleet_tui.session import Session

    Around = App[int]
else:
    Around = object

PANES = ("dashboard", "instances", "hosts", "vms", "maintenance", "vlans", "operations", "events", "certificates", "logs")
NAMED = ("logs", "maintenance", "vlans")
"""Panes of one thing, which is named; of logs it may be."""
WANTED = {"maintenance": "host", "vlans": "physical network"}
"""Panes that are nothing without a name -> of what."""
ALLOWED = (
    "move.", "list.sort", "list.reverse", "list.wide", "list.problems", "log.follow", "log.wrap", "log.time", "log.level", "log.mark",
    "log.full", "since.", "global.refetch", "board.", "map.left", "map.right", "map.first", "map.problem", "map.zoom", "map.hosts",
)  # fmt: skip
"""What keys may still do: look at it differently. Everything else is silent."""


def checked(pane: Sequence[str]) -> tuple[str, str]:
    """(kind, name) of a pane. Raises `UsageError` for one that there is not."""
    kind, *names = pane or ("",)
    if kind not in PANES:
        raise UsageError(f"there is no pane {kind!r}", hint=f"there are {', '.join(PANES)}")
    if kind in WANTED and not names:
        raise UsageError(f"{kind} of which {WANTED[kind]}?", hint=f"fleet pane {kind} {WANTED[kind].rpartition(' ')[2].upper()}")
    if names and kind not in NAMED:
        raise UsageError(f"a pane of {kind} takes no name")
    return kind, names[0] if names else ""


def read_only(session: Session) -> Session:
    """A pane gives up the right to change anything as soon as it has a session."""
    if not session.read_only:
        session.make_read_only()
    return session


class OnlyLooks(Around):
    """Laid over the console: one screen, and nothing that changes anything."""

    pane: tuple[str, str]

    def make(self, kind: str) -> FleetScreen:
        screen: FleetScreen = super().make(kind)  # type: ignore[misc]
        screen.add_class("-pane")
        if kind == "logs":
            cast("LogsScreen", screen).aim("", title=self.pane[1])
        elif kind == "maintenance":
            screen.aim(f"host:{self.pane[1]}")
        elif kind == "vlans":
            screen.aim(f"physnet:{self.pane[1]}")
        return screen

    def allows(self, action_id: str) -> bool:
        return action_id.startswith(ALLOWED)

    def _up(self, session: Session, record: SessionRecord) -> None:
        super()._up(session, record)  # type: ignore[misc]
        kind, name = self.pane
        if kind == "logs" and name:
            console: Any = self
            console.ask(lambda s: s.fetch(ShowInstance(name)), self._aim, self._no_such)

    def _aim(self, row: InstanceRecord) -> None:
        screen = cast("LogsScreen", self.screen)
        screen.aim(f"instance:{row.id}", title=row.label)
        screen.shown()
        screen.chrome()

    def _no_such(self, error: FleetError) -> None:
        self.notify(error.message, severity="error", markup=False, timeout=30)
