"""The product's table with the product's columns for instances; ``u`` changes one row, ``--updates`` so many cells a second."""

from __future__ import annotations

import argparse
import itertools
import os

from textual.app import App, ComposeResult

from bench.programs.fleet import NOW, fuller, instance
from fleet_tui.backend.clock import SystemClock
from fleet_tui.screens import tables
from fleet_tui.stylesheets import stylesheets
from fleet_tui.widgets import safety, themes
from fleet_tui.widgets.glyphs import UNICODE
from fleet_tui.widgets.resource_table import ResourceTable

TICK_S = 0.25
"""As often as a console takes changes."""


class Still(SystemClock):
    """Ages do not change meanwhile."""

    def now(self):  # type: ignore[no-untyped-def]
        return NOW


class TableProgram(App[None]):
    CSS_PATH = stylesheets()  # type: ignore[assignment]
    ENABLE_COMMAND_PALETTE = False
    BINDINGS = [("u", "one", "Change one row")]

    def __init__(self, rows: int, updates: int, among: int) -> None:
        super().__init__()
        safety.install(self, False)
        themes.register(self)
        self.theme = themes.pick_theme(os.environ)
        self.instances = [instance(n) for n in range(rows)]
        self.updates, self.among = updates, among
        self.counter = itertools.count(1)

    def compose(self) -> ComposeResult:
        yield tables.table_of("instances", UNICODE, Still(), id="table", empty="nothing")

    @property
    def table(self) -> ResourceTable:
        return self.query_one(ResourceTable)

    def on_mount(self) -> None:
        self.table.set_rows((f"instance:{row.id}", row) for row in self.instances)
        self.table.focus()
        if self.updates:
            self.set_interval(TICK_S, self.change_some)

    def change(self, at: int) -> None:
        row = self.instances[at] = fuller(self.instances[at])
        self.table.update_row(f"instance:{row.id}", row)

    def change_some(self) -> None:
        for _ in range(round(self.updates * TICK_S)):
            self.change(next(self.counter) * 7919 % self.among)

    def action_one(self) -> None:
        self.change(5)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--updates", type=int, default=0, help="cells a second")
    parser.add_argument("--among", type=int, default=1000, help="rows that change, from the first")
    return parser.parse_args()


if __name__ == "__main__":
    given = options()
    TableProgram(given.rows, given.updates, given.among).run(mouse=False)
