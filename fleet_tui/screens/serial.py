"""A VM's serial line: what it said, followed as it comes, and where the session may, a line to type on. ``ctrl+]`` leaves.

Whatever the guest sends is shown as plain text. A read-only session, and one whose rights end here, only reads the log; to it the keys that
go back everywhere do so here too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from textual import events
from textual.app import ComposeResult
from textual.timer import Timer
from textual.widget import Widget

from fleet_tui.actions import ACTIONS, forbidden
from fleet_tui.backend.api.connection import Broken
from fleet_tui.backend.errors import FleetError
from fleet_tui.backend.machines import GuestLog, ReadGuestLog, VmRecord
from fleet_tui.screens.frame import bindings
from fleet_tui.screens.list_keys import MovingScreen
from fleet_tui.widgets.log_view import Entry, LogView
from fleet_tui.widgets.paint import Lines
from fleet_tui.widgets.serial_text import SerialText
from fleet_tui.widgets.timers import once

READ_S = 1.0
"""A guest's log tells of itself by no event, so it is asked once a second, while it is looked at and never otherwise."""
LOOK_S = 0.5
"""How long the reading thread waits before it looks whether it is still wanted."""
LEAVE = "ctrl+right_square_bracket"


class Relay(Protocol):
    """Bytes both ways, as a session's ``console`` gives it. ``receive`` gives ``None`` once it has ended."""

    def send(self, data: bytes) -> None: ...
    def receive(self, timeout_s: float) -> bytes | None: ...
    def close(self) -> None: ...


class Line(threading.Thread):
    """Reads a relay for as long as it is wanted. ``heard`` and ``ended`` are called from this thread."""

    def __init__(self, relay: Relay, heard: Callable[[bytes], None], ended: Callable[[], None]) -> None:
        super().__init__(name="serial-line", daemon=True)
        self._relay, self._heard, self._ended = relay, heard, ended
        self._left = threading.Event()

    def leave(self) -> None:
        """Read no more; the thread closes the relay."""
        self._left.set()

    def type(self, data: bytes) -> None:
        """Raises `Broken` when the line has ended."""
        self._relay.send(data)

    def run(self) -> None:
        while not self._left.is_set():
            data = self._relay.receive(LOOK_S)
            if data is None:
                self._ended()
                break
            if data and not self._left.is_set():
                self._heard(data)
        self._relay.close()


class SerialScreen(MovingScreen):
    KIND = "serial"
    BINDINGS = bindings("serial")

    def __init__(self) -> None:
        super().__init__()
        self._row: VmRecord | None = None
        self._position = 0
        self._text = SerialText()
        self._timer: Timer | None = None
        self._line: Line | None = None

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
        return ["vms", self._row.name if self._row else self.ref.partition(":")[2], "serial line"]

    def place(self) -> str:
        return "serial" if self._line is not None else "serial/log"

    def chip(self) -> str:
        return "typing goes to the guest" if self._line is not None else "log only"

    def aim(self, ref: str, *, row: VmRecord | None = None) -> None:
        self._row = row or self._row
        if ref != self.ref:
            self._position, self._text = 0, SerialText()
            if self.is_mounted:
                self.view.clear()
        super().aim(ref)

    # Opening

    @property
    def may_type(self) -> bool:
        return not forbidden(ACTIONS["vm.stop"], self.console.record, self._row)

    def load(self) -> None:
        """The log so far, then the line itself where one may type."""
        self.set_focus(None) if self.may_type else self.view.focus()
        self._read()

    def _open(self) -> None:
        target = self.ref.partition(":")[2]
        self.ask(lambda session: session.console(target), self._opened, self._failed, "open")

    def _opened(self, relay: Relay) -> None:
        if not self.console.is_shown(self) or self._line is not None:
            relay.close()
            return
        bring: Any = self.console.bring
        self._line = Line(relay, lambda data: bring(lambda: self._heard(data)), lambda: bring(self._hung_up))
        self._line.start()
        self.chrome()

    def _heard(self, data: bytes) -> None:
        if self.children:
            self._show(self._text.feed(data))

    def _hung_up(self) -> None:
        self._line = None
        if self.children:
            self.say("the line has ended; its log goes on", "warning")
            self._again()
            self.chrome()

    # Its log

    def _read(self) -> None:
        if self.console.session is not None and self.console.is_shown(self) and self._line is None:
            self.fetch(ReadGuestLog(self.ref.partition(":")[2], self._position), self._have, "serial", self._failed)

    def _failed(self, error: FleetError) -> None:
        self.query_one("#line", Lines).show([[(f" {error.message} {error.hint}", "attention")]])
        self._again()

    def _have(self, log: GuestLog) -> None:
        first, self._position = self._position == 0, log.position
        if log.text:
            self._show(self._text.feed_text(log.text))
        if first and self.may_type:
            self._open()
        else:
            self._again()

    def _again(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer = once(self, READ_S, self._read)

    def _show(self, lines: list[str]) -> None:
        self.view.pour([Entry(0, 0.0, "", "", "", line) for line in lines])
        self.query_one("#line", Lines).show([[(f" {self._text.line}", ""), ("_", "match")]])

    # Coming and going

    def shown(self) -> None:
        super().shown()
        if self._position and self._line is None:
            self._open() if self.may_type else self._again()

    def on_screen_suspend(self) -> None:
        if self._line is not None:
            self._line.leave()
            self._line = None

    def act_serial_leave(self) -> None:
        self.console.back()

    def on_key(self, event: events.Key) -> None:
        if self._line is None:
            if event.key in ("escape", "q"):
                event.stop()
                self.console.back()
            return
        if event.key != LEAVE and (data := bytes_of(event)):
            event.stop()
            event.prevent_default()
            self._type(data)

    def on_paste(self, event: events.Paste) -> None:
        event.stop()
        self._type(event.text.encode())

    def _type(self, data: bytes) -> None:
        if self._line is not None:
            try:
                self._line.type(data)
            except (Broken, OSError):
                self._line.leave()
                self._hung_up()


def bytes_of(event: events.Key) -> bytes:
    """What a terminal sends for a key."""
    if event.key in _SENT:
        return _SENT[event.key]
    return event.character.encode() if event.character is not None else b""


_SENT: dict[str, bytes] = {
    "up": b"\x1b[A", "down": b"\x1b[B", "right": b"\x1b[C", "left": b"\x1b[D", "home": b"\x1b[H", "end": b"\x1b[F", "enter": b"\r",
    "backspace": b"\x7f", "tab": b"\t", "escape": b"\x1b", "pageup": b"\x1b[5~", "pagedown": b"\x1b[6~", "delete": b"\x1b[3~",
    "ctrl+c": b"\x03", "ctrl+d": b"\x04", "ctrl+z": b"\x1a",
}  # fmt: skip
