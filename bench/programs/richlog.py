"""The yardstick of the log panel: Textual's ``RichLog`` under the same stream, written to by one timer as often as ours paints."""

from __future__ import annotations

import threading
from collections import deque

from textual.app import App, ComposeResult
from textual.widgets import RichLog, Static

from bench.programs.log import due, options, text


class RichLogProgram(App[None]):
    ENABLE_COMMAND_PALETTE = False
    BINDINGS = [("k", "count", "Count")]

    def __init__(self, rate: int, lines: int, keep: int, drain_s: float) -> None:
        super().__init__()
        self.rate, self.lines, self.keep, self.drain_s, self.keys = rate, lines, keep, drain_s, 0
        self.waiting: deque[str] = deque(maxlen=keep)
        self.stopping = threading.Event()

    def compose(self) -> ComposeResult:
        yield Static("keys=0.", id="keys", markup=False)
        yield RichLog(max_lines=self.keep, auto_scroll=True)

    def on_mount(self) -> None:
        for n in range(self.lines):
            self.query_one(RichLog).write(text(n))
        if self.rate:
            self.set_interval(self.drain_s, self.drain)
            threading.Thread(target=self.produce, daemon=True).start()

    def produce(self) -> None:
        for numbers in due(self.lines, self.rate, self.stopping):
            self.waiting.extend(map(text, numbers))

    def drain(self) -> None:
        log = self.query_one(RichLog)
        for _ in range(len(self.waiting)):
            log.write(self.waiting.popleft())

    def on_unmount(self) -> None:
        self.stopping.set()

    def action_count(self) -> None:
        self.keys += 1
        self.query_one("#keys", Static).update(f"keys={self.keys}.")


if __name__ == "__main__":
    given = options()
    RichLogProgram(given.rate, given.lines, given.keep, given.drain).run(mouse=False)
