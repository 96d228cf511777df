"""The product's log panel under a stream of lines, with a counter of key presses above it.

``k`` counts; ``v`` ends the stream and says whether every line, from the first one kept on, is there or in a stated gap.
"""

from __future__ import annotations

import argparse
import os
import re
import threading
import time
from collections.abc import Iterator

from textual.app import App, ComposeResult
from textual.widgets import Static

from fleet_tui.stylesheets import stylesheets
from fleet_tui.widgets import safety, themes
from fleet_tui.widgets.log_view import Entry, LogView

START = 1_764_000_000.0
PHASES = ("data-disk", "certificate", "install-or-upgrade", "start", "ready")


def entry(n: int) -> Entry:
    level = "error" if n % 211 == 17 else "warn" if n % 53 == 5 else "debug" if n % 7 == 1 else "info"
    return Entry(n, START + n / 1000, "instance-agent", PHASES[n // 10 % 5], level, text(n), f"web-{n % 12}")


def text(n: int) -> str:
    return f"line {n:08d} unpacking hello-app 1.4.0, file {n % 90} of 90, 4.6 GiB left at 1.9 GiB/s"


def due(first: int, rate: int, stopping: threading.Event) -> Iterator[range]:
    """Numbers of the lines that are due, in batches as a reader of a stream would get them."""
    n, begun = first, time.monotonic()
    while not stopping.wait(0.02):
        upto = first + int((time.monotonic() - begun) * rate)
        yield range(n, upto)
        n = upto


class LogProgram(App[None]):
    CSS_PATH = stylesheets()  # type: ignore[assignment]
    ENABLE_COMMAND_PALETTE = False
    BINDINGS = [("k", "count", "Count"), ("v", "verify", "Verify")]

    def __init__(self, rate: int, lines: int, keep: int) -> None:
        super().__init__()
        safety.install(self, False)
        themes.register(self)
        self.theme = themes.pick_theme(os.environ)
        self.rate, self.lines, self.keys = rate, lines, 0
        self.stopping = threading.Event()
        self.panel = LogView("agent log", max_lines=keep, now=lambda: START)

    def compose(self) -> ComposeResult:
        yield Static("keys=0.", id="keys", markup=False)
        yield self.panel

    def on_mount(self) -> None:
        for at in range(0, self.lines, 1000):
            self.panel.feed([entry(n) for n in range(at, min(at + 1000, self.lines))])
        self.panel.focus()
        if self.rate:
            threading.Thread(target=self.produce, daemon=True).start()

    def produce(self) -> None:
        for numbers in due(self.lines, self.rate, self.stopping):
            self.panel.pour([entry(n) for n in numbers])

    def on_unmount(self) -> None:
        self.stopping.set()

    def say(self, words: str) -> None:
        self.query_one("#keys", Static).update(words)

    def action_count(self) -> None:
        self.keys += 1
        self.say(f"keys={self.keys}.")

    def action_verify(self) -> None:
        self.stopping.set()
        at, unstated, gaps = None, 0, 0
        for line in self.panel.export():
            if found := re.search(r"line (\d{8}) ", line):
                number = int(found[1])
                unstated += abs(number - at - 1) if at is not None else 0
                at = number
            elif (found := re.search(r"([\d,]+) lines? skipped", line)) and at is not None:
                gaps += 1
                at += int(found[1].replace(",", ""))
        self.say(f"kept={len(list(self.panel.export()))} gaps={gaps} skipped={self.panel.skipped} unstated={unstated}.")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=int, default=0, help="lines a second")
    parser.add_argument("--lines", type=int, default=200, help="lines at the start")
    parser.add_argument("--keep", type=int, default=5000)
    parser.add_argument("--drain", type=float, default=0.25, help="yardsticks: seconds between two writes to the widget")
    return parser.parse_args()


if __name__ == "__main__":
    given = options()
    LogProgram(given.rate, given.lines, given.keep).run(mouse=False)
