"""A small program around the table and the lines about it, driven by the terminal tests and by measurements.

python table_program.py [--rows N] [--updates PER_SECOND] [--hostile FILE] [--ascii]
"""

from __future__ import annotations

import argparse
import itertools
import os
import pathlib
import sys
from dataclasses import dataclass, replace

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from textual.app import App, ComposeResult
from textual.reactive import Reactive
from textual.screen import Screen
from textual.widget import Widget

from fleet_tui.widgets import safety, themes
from fleet_tui.widgets.charts import Capacity, CapacityBars, meter
from fleet_tui.widgets.chrome import Banner, Crumbs, Footer, Header
from fleet_tui.widgets.glyphs import ASCII, PROBLEMS, UNICODE
from fleet_tui.widgets.prompt import Prompt
from fleet_tui.widgets.resource_table import Column, ResourceTable

STATES = {"running": "well", "starting-up": "moving", "failed": "failed", "stopped": "off", "degraded": "attention"}
STYLES = pathlib.Path(__file__).parents[2] / "styles"


@dataclass(frozen=True)
class Instance:
    label: str
    kind: str
    state: str
    address: str
    zone: str
    disk: float
    cpu: int
    age: str
    owner: str = "shop"


def instance(n: int) -> Instance:
    state = "failed" if n % 97 == 7 else "starting-up" if n % 41 == 3 else "stopped" if n % 53 == 9 else "running"
    return Instance(
        f"web-{n:05d}", ("design", "execution", "automation")[n % 3], state, f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}",
        "ab"[n % 2], (n * 37 % 100) / 100, n * 13 % 100, f"{n % 60}m",
    )  # fmt: skip


class Quiet(Screen[None]):
    """A screen that a move of the focus does not repaint as a whole."""

    focused: Reactive[Widget | None] = Reactive(None, repaint=False)


class TableProgram(App[None]):
    CSS_PATH = [STYLES / "tokens.tcss", STYLES / "chrome.tcss"]
    ENABLE_COMMAND_PALETTE = False
    BINDINGS = [
        ("q", "quit", "Quit"),
        ("s", "sort('cpu')", "Sort"),
        ("r", "reverse", "Reverse"),
        ("slash", "prompt('/')", "Filter"),
        ("colon", "prompt(':')", "Command"),
        ("space", "mark", "Mark"),
        ("z", "problems", "Problems"),
        ("w", "wide", "Wide"),
        ("u", "one", "Change one row"),
        ("G", "bottom", "Bottom"),
    ]

    def __init__(self, rows: int = 60, updates: int = 0, hostile: str = "", ascii_only: bool = False) -> None:
        super().__init__()
        safety.install(self, ascii_only)
        themes.register(self)
        self.theme = themes.pick_theme(os.environ)
        self.glyphs = ASCII if ascii_only else UNICODE
        self.instances = [instance(n) for n in range(rows)]
        self.updates = updates
        self.counter = itertools.count(1)
        if hostile:
            self.instances.insert(0, replace(self.instances[0], label=hostile, owner=hostile, address=hostile))
        self.hostile = hostile

    def columns(self) -> list[Column]:
        glyphs = self.glyphs
        return [
            Column(
                "label", "INSTANCE", 16, render=lambda i: f"{glyphs.status(STATES[i.state])} {i.label}", priority=99
            ),
            Column("kind", "KIND", 10, priority=20),
            Column("state", "STATE", 12, priority=90),
            Column("address", "ADDRESS", 15, priority=60),
            Column("zone", "ZONE", 4, priority=10),
            Column("disk", "DATA DISK", 16, sort=lambda i: i.disk, render=lambda i: meter(i.disk, 16, glyphs)),
            Column("cpu", "CPU", 5, align="right", sort=lambda i: i.cpu, render=lambda i: f"{i.cpu} %", priority=40),
            Column("age", "AGE", 5, align="right", priority=30),
            Column("owner", "OWNER", 12, wide=True),
        ]

    def get_default_screen(self) -> Screen[None]:
        return Quiet()

    def compose(self) -> ComposeResult:
        glyphs = self.glyphs
        yield Header(glyphs=glyphs)
        yield Crumbs(glyphs=glyphs)
        yield Banner(glyphs=glyphs)
        yield ResourceTable(
            self.columns(),
            status_of=lambda i: STATES[i.state],
            matches=lambda i, term: getattr(i, term.split(":")[0], "") == term.split(":")[1],
            glyphs=glyphs,
            empty="no instances yet · n makes one",
        )
        yield CapacityBars(glyphs=glyphs)
        yield Prompt(lambda text: [w for w in ("hosts", "host add", self.hostile) if w.startswith(text)], glyphs=glyphs)
        yield Footer(glyphs=glyphs)

    def on_mount(self) -> None:
        h = self.hostile
        bad = sum(STATES[i.state] in PROBLEMS for i in self.instances)
        self.query_one(Header).update(
            [("paris", ""), (f"{self.glyphs.failed} {bad} failed", "failed"), ("▲ 2 running", "moving"), (h, "")],
            [("op1 operator", ""), (h or "link ok", "well")],
            simulated=True,
        )
        self.query_one(Crumbs).update(["paris", "instances", *([h] if h else [])], [(h, "attention")] if h else [])
        self.query_one(Banner).update(h)
        self.query_one(Footer).update(
            [("enter", "open"), ("/", "filter"), ("n", "new instance"), (h or "?", h or "keys")]
        )
        self.query_one(CapacityBars).update(
            [
                Capacity(h or "zone a  cpu", 0.61, 0.09, "yes"),
                Capacity("zone a  ram", 0.78, 0.18, h or "no !", "failed"),
            ]
        )
        self.table.set_rows((f"i{n}", i) for n, i in enumerate(self.instances))
        self.table.focus()
        if self.updates:
            self.set_interval(0.25, self.change_some)

    @property
    def table(self) -> ResourceTable:
        return self.query_one(ResourceTable)

    def change(self, at: int) -> None:
        self.instances[at] = replace(self.instances[at], cpu=(self.instances[at].cpu + 1) % 100)
        self.table.update_row(f"i{at}", self.instances[at])

    def change_some(self) -> None:
        for _ in range(self.updates // 4):
            self.change(next(self.counter) * 7919 % min(1000, len(self.instances)))

    def action_one(self) -> None:
        self.change(5)

    def action_sort(self, key: str) -> None:
        self.table.sort(key)

    def action_reverse(self) -> None:
        self.table.reverse_sort()

    def action_prompt(self, mode: str) -> None:
        self.query_one(Prompt).open(mode, self.hostile if mode == ":" else "")

    def action_mark(self) -> None:
        self.table.toggle_mark()

    def action_problems(self) -> None:
        self.table.problems_only = not self.table.problems_only

    def action_wide(self) -> None:
        self.table.wide = not self.table.wide

    def action_bottom(self) -> None:
        self.table.bottom()

    def on_prompt_changed(self, event: Prompt.Changed) -> None:
        if event.mode == "/":
            self.table.filter_text = event.text

    def on_prompt_submitted(self, event: Prompt.Submitted) -> None:
        self.table.focus()

    def on_prompt_cancelled(self, event: Prompt.Cancelled) -> None:
        self.table.filter_text = event.text if event.mode == "/" else self.table.filter_text
        self.table.focus()


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--rows", type=int, default=10_000)
    options.add_argument("--updates", type=int, default=0)
    options.add_argument("--hostile", type=pathlib.Path)
    options.add_argument("--ascii", action="store_true")
    given = options.parse_args()
    text = given.hostile.read_bytes().decode("utf-8", "surrogateescape") if given.hostile else ""
    TableProgram(given.rows, given.updates, text, given.ascii).run(mouse=False)
