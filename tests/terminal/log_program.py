"""A small program around the log panel, driven by the terminal tests and by measurements.

python log_program.py [--rate LINES_PER_SECOND] [--lines N] [--keep N] [--hostile FILE] [--ascii]
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from textual.app import App, ComposeResult

from fleet_tui.widgets import safety, themes
from fleet_tui.widgets.glyphs import ASCII, UNICODE
from fleet_tui.widgets.log_view import Entry, LogView

STYLES = pathlib.Path(__file__).parents[2] / "styles"
START = 1_764_000_000.0
PHASES = ("data-disk", "certificate", "install-or-upgrade", "start", "ready")


def entry(n: int) -> Entry:
    level = "error" if n % 211 == 17 else "warn" if n % 53 == 5 else "debug" if n % 7 == 1 else "info"
    text = f"line {n:07d} unpacking hello-app 1.4.0, file {n % 90} of 90, 4.6 GiB left at 1.9 GiB/s"
    return Entry(n, START + n / 10, "instance-agent", PHASES[n // 10 % 5], level, text, f"web-{n % 12}")


class LogProgram(App[None]):
    CSS_PATH = [STYLES / "tokens.tcss", STYLES / "chrome.tcss"]
    ENABLE_COMMAND_PALETTE = False
    BINDINGS = [
        ("q", "quit", "Quit"),
        ("s", "log('toggle_follow')", "Follow"),
        ("w", "log('toggle_wrap')", "Wrap"),
        ("t", "log('toggle_timestamps')", "Times"),
        ("e", "log('cycle_level')", "Level"),
        ("m", "log('mark')", "Mark"),
        ("n", "log('next_match')", "Next"),
        ("slash", "search", "Search"),
    ]

    def __init__(
        self, lines: int = 0, rate: int = 0, keep: int = 5000, hostile: str = "", ascii_only: bool = False
    ) -> None:
        super().__init__()
        safety.install(self, ascii_only)
        themes.register(self)
        self.theme = themes.pick_theme(os.environ)
        self.lines, self.rate, self.hostile = lines, rate, hostile
        self.stopping = threading.Event()
        glyphs = ASCII if ascii_only else UNICODE
        self.log_panel = LogView("agent log", max_lines=keep, glyphs=glyphs, now=lambda: START + self.lines / 10)

    def compose(self) -> ComposeResult:
        yield self.log_panel

    def on_mount(self) -> None:
        self.log_panel.feed(map(entry, range(self.lines)))
        if self.hostile:
            h = self.hostile
            self.log_panel.feed(Entry(n, START, h, h, level, h, h) for n, level in enumerate(("info", "error", h)))
            self.log_panel.title = f"hostile {h}"
            self.log_panel.filter_text = ""
            self.log_panel.search(h)
        self.log_panel.focus()
        if self.rate:
            threading.Thread(target=self.produce, daemon=True).start()

    def produce(self) -> None:
        """Pour lines at the rate, from a thread, in batches as a reader of a stream would."""
        n, start = self.lines, time.monotonic()
        made = [entry(i) for i in range(20_000)] if self.rate > 20_000 else []
        while not self.stopping.wait(0.02):
            due = self.lines + int((time.monotonic() - start) * self.rate)
            at = n % 20_000
            # A flood is made of lines made before, so that what is measured is the panel and not their making.
            self.log_panel.pour((made[at:] + made)[: due - n] if made else [entry(i) for i in range(n, due)])
            n = due

    def on_unmount(self) -> None:
        self.stopping.set()

    def action_log(self, verb: str) -> None:
        getattr(self.log_panel, verb)()

    def action_search(self) -> None:
        self.log_panel.search("file 17 of")


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--lines", type=int, default=200)
    options.add_argument("--rate", type=int, default=0)
    options.add_argument("--keep", type=int, default=5000)
    options.add_argument("--hostile", type=pathlib.Path)
    options.add_argument("--ascii", action="store_true")
    given = options.parse_args()
    text = given.hostile.read_bytes().decode("utf-8", "surrogateescape") if given.hostile else ""
    LogProgram(given.lines, given.rate, given.keep, text, given.ascii).run(mouse=False)
