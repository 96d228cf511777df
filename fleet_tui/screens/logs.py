"""One log, full screen: of an instance, of one operation, or of the whole fleet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textual.app import ComposeResult
from textual.widget import Widget

from fleet_tui.actions import Action
from fleet_tui.screens.frame import bindings
from fleet_tui.screens.link import FleetChanged
from fleet_tui.screens.list_keys import MovingScreen
from fleet_tui.screens.tail import PhaseLog, Tail
from fleet_tui.widgets.log_view import LogView
from fleet_tui.widgets.prompt import Prompt


class LogKeys(MovingScreen):
    """Keys of a log panel, for every screen that has one."""

    @property
    def log_panel(self) -> LogView:
        return self.query_one("#log", LogView)

    def idle(self) -> frozenset[str]:
        return frozenset() if self.log_panel.is_searching else frozenset({"log.match-next"})

    def act_log_follow(self) -> None:
        self.log_panel.toggle_follow()

    def act_log_wrap(self) -> None:
        self.log_panel.toggle_wrap()

    def act_log_time(self) -> None:
        self.log_panel.toggle_timestamps()

    def act_log_level(self) -> None:
        self.log_panel.cycle_level()
        self.chrome()

    def act_log_mark(self) -> None:
        self.log_panel.mark()

    def act_log_match_next(self) -> None:
        if not self.log_panel.next_match():
            self.say("no match · / looks for text")

    def act_log_match_previous(self) -> None:
        if not self.log_panel.previous_match():
            self.say("no match · / looks for text")

    def act_log_filter(self) -> None:
        self.query_one(Prompt).open("/", self.log_panel.filter_text)

    def act_log_full(self) -> None:
        self.toggle_class("-full")

    def act_log_copy(self) -> None:
        lines = list(self.log_panel.export())[-200:]
        self.copy("\n".join(lines), f"{len(lines)} lines")

    def on_log_view_top_reached(self, event: LogView.TopReached) -> None:
        event.stop()
        self.tail.read_before()

    tail: Tail


class LogsScreen(LogKeys):
    KIND = "logs"
    BINDINGS = bindings("logs")

    def __init__(self) -> None:
        super().__init__()
        self._title = ""
        self._operation = ""
        self.tail = Tail(self, lambda: self.log_panel)

    def body(self) -> ComposeResult:
        yield PhaseLog("log", id="log", glyphs=self.console.glyphs, max_lines=20000, empty="nothing has been said yet")

    def home(self) -> Widget | None:
        return self.log_panel

    def aim(self, ref: str, *, title: str = "", operation: str = "") -> None:
        if title:
            self._title = title
        if (ref, operation) != (self.ref, self._operation):
            self.ref, self._operation, self.is_loaded = ref, operation, False

    def crumbs(self) -> list[str]:
        return [self._title or self.ref or "all instances", "log"]

    def chip(self) -> str:
        panel = self.log_panel
        parts = [f"/{panel.filter_text}" if panel.filter_text else "", f"level {panel.level}" if panel.level else ""]
        return " ".join(part for part in parts if part)

    def load(self) -> None:
        panel = self.log_panel
        panel.title = f"log · {self._title or 'all'}"
        panel.labels = not self.ref
        panel.focus()
        self.tail.aim(self.ref, self._operation)

    def changed(self, changed: FleetChanged) -> None:
        if self.tail.hears(changed.lines):
            self.tail.read()

    def leave(self) -> bool:
        if self.has_class("-full"):
            self.remove_class("-full")
        elif self.log_panel.filter_text:
            self.filtered("", True)
        else:
            return False
        return True

    def filtered(self, text: str, done: bool) -> None:
        """Only matching lines while typed; after esc they are walked with n and N, with what is around them."""
        if text:
            self.log_panel.search(text)
        self.log_panel.filter_text = text
        self.chrome()

    def perform(self, action: Action, rows: Sequence[Any] | None = None) -> None:
        if action.scope == "since":
            self.log_panel.since(int(action.id.rpartition(".")[2]))
        else:
            super().perform(action, rows)
