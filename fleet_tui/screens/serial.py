"""What a VM's serial line says, followed as it comes, as plain text and nothing else. ``ctrl+]`` leaves, as it does where one types."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.timer import Timer
from textual.widget import Widget

from fleet_tui.backend.errors import FleetError
from fleet_tui.backend.machines import GuestLog, ReadGuestLog
from fleet_tui.screens.frame import bindings
from fleet_tui.screens.list_keys import MovingScreen
from fleet_tui.widgets.log_view import Entry, LogView
from fleet_tui.widgets.paint import Lines
from fleet_tui.widgets.serial_text import SerialText

READ_S = 1.0
"""A guest's log tells of itself by no event, so it is asked once a second, while it is looked at and never otherwise."""


class SerialScreen(MovingScreen):
    KIND = "serial"
    BINDINGS = bindings("serial")

    def __init__(self) -> None:
        super().__init__()
        self._title = ""
        self._position = 0
        self._text = SerialText()
        self._timer: Timer | None = None

    def body(self) -> ComposeResult:
        view = LogView("serial line", id="lines", glyphs=self.console.glyphs, max_lines=5000)
        view.timestamps = view.labels = False
        view.wrap = True
        yield view
        yield Lines(glyphs=self.console.glyphs, id="line")

    def home(self) -> Widget | None:
        return self.view

    @property
    def view(self) -> LogView:
        return self.query_one("#lines", LogView)

    def crumbs(self) -> list[str]:
        return ["vms", self._title or self.ref.partition(":")[2], "serial line"]

    def aim(self, ref: str, *, title: str = "") -> None:
        self._title = title or self._title
        if ref != self.ref:
            self._position, self._text = 0, SerialText()
            if self.is_mounted:
                self.view.clear()
        super().aim(ref)

    def load(self) -> None:
        self.view.focus()
        self._read()

    def _read(self) -> None:
        if self.console.session is not None and self.console.is_shown(self):
            self.fetch(ReadGuestLog(self.ref.partition(":")[2], self._position), self._have, "serial", self._failed)

    def _failed(self, error: FleetError) -> None:
        self.query_one("#line", Lines).show([[(f" {error.message} {error.hint}", "attention")]])
        self._again()

    def _have(self, log: GuestLog) -> None:
        self._position = log.position
        if log.text:
            self._show(self._text.feed_text(log.text))
        self._again()

    def _again(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(READ_S, self._read)

    def _show(self, lines: list[str]) -> None:
        self.view.pour([Entry(0, 0.0, "", "", "", line) for line in lines])
        self.query_one("#line", Lines).show([[(self._text.line, ""), ("_", "match")]])

    def shown(self) -> None:
        super().shown()
        self._again()

    def act_serial_leave(self) -> None:
        self.console.back()

    def on_key(self, event: events.Key) -> None:
        """Looking only: the keys that go back everywhere do so here."""
        if event.key in ("escape", "q"):
            event.stop()
            self.console.back()
