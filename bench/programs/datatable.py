"""The yardstick of the table: Textual's ``DataTable`` with the same cells. ``u`` changes one, ``s`` sorts, ``f`` filters."""

from __future__ import annotations

import itertools

from textual.app import App, ComposeResult
from textual.widgets import DataTable

from bench.programs.fleet import NOW, fuller, instance
from bench.programs.table import TICK_S, options
from fleet_tui.columns import INSTANCES

SPECS = [spec for spec in INSTANCES if not spec.wide]


class DataTableProgram(App[None]):
    ENABLE_COMMAND_PALETTE = False
    BINDINGS = [("u", "one", "Change"), ("s", "sort", "Sort"), ("f", "filter", "Filter")]

    def __init__(self, rows: int, updates: int, among: int) -> None:
        super().__init__()
        self.instances = [instance(n) for n in range(rows)]
        self.updates, self.among = updates, among
        self.counter = itertools.count(1)
        self.filters, self.sorts = itertools.cycle(("1", "")), itertools.cycle((True, False))

    def compose(self) -> ComposeResult:
        yield DataTable(cursor_type="row")

    @property
    def table(self) -> DataTable[str]:
        return self.query_one(DataTable)

    def on_mount(self) -> None:
        for spec in SPECS:
            self.table.add_column(spec.title, key=spec.name, width=spec.width)
        self.fill("")
        self.table.focus()
        if self.updates:
            self.set_interval(TICK_S, self.change_some)

    def fill(self, wanted: str) -> None:
        self.table.clear()
        for at, row in enumerate(self.instances):
            if wanted in row.label:
                self.table.add_row(*(spec.text(row, NOW) for spec in SPECS), key=str(at))

    def change(self, at: int) -> None:
        row = self.instances[at] = fuller(self.instances[at])
        self.table.update_cell(str(at), "disk", next(s for s in SPECS if s.name == "disk").text(row, NOW))

    def change_some(self) -> None:
        for _ in range(round(self.updates * TICK_S)):
            self.change(next(self.counter) * 7919 % self.among)

    def action_one(self) -> None:
        self.change(5)

    def action_sort(self) -> None:
        self.table.sort("disk", reverse=next(self.sorts))

    def action_filter(self) -> None:
        self.fill(next(self.filters))


if __name__ == "__main__":
    given = options()
    DataTableProgram(given.rows, given.updates, given.among).run(mouse=False)
