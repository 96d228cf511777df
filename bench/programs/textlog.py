"""The yardstick of the log panel under a flood: Textual's ``Log``, the quicker of its two, under the same stream."""

from __future__ import annotations

import threading
from collections import deque

from textual.app import App, ComposeResult
from textual.widgets import Log, Static

from bench.programs.log import due, options, text


class TextLogProgram(App[None]):
    ENABLE_COMMAND_PALETTE = False
    BINDINGS = [("k", "count", "Count")]

    def __init__(self, rate: int, lines: int, keep: int, drain_s: float) -> None:
        super().__init__()
        self.rate, self.lines, self.keep, self.drain_s, self.keys = rate, lines, keep, drain_s, 0
        self.waiting: deque[str] = deque(maxlen=keep)
        self.stopping = threading.Event()

    def compose(self) -> ComposeResult:
        yield Static("keys=0.", id="keys", markup=False)
        yield Log(max_lines=self.keep, auto_scroll=True)

    def on_mount(self) -> None:
        self.query_one(Log).write_lines([text(n) for n in range(self.lines)])
        if self.rate:
            self.set_interval(self.drain_s, self.drain)
            threading.Thread(target=self.produce, daemon=True).start()

    def produce(self) -> None:
        for numbers in due(self.lines, self.rate, self.stopping):
            self.waiting.extend(map(text, numbers))

    def drain(self) -> None:
        lines = [self.waiting.popleft() for _ in range(len(self.waiting))]
        if lines:
            self.query_one(Log).write_lines(lines)

    def on_unmount(self) -> None:
        self.stopping.set()

    def action_count(self) -> None:
        self.keys += 1
        self.query_one("#keys", Static).update(f"keys={self.keys}.")


if __name__ == "__main__":
    given = options()
    TextLogProgram(given.rate, given.lines, given.keep, given.drain).run(mouse=False)
