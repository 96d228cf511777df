"""The yardstick of the map: Textual's ``DataTable`` with a cell for each of 4,094 IDs, 50 a row, under a cell cursor."""

from __future__ import annotations

from textual.app import App, ComposeResult
from textual.widgets import DataTable

PER_ROW = 50
ROWS = 4094 // PER_ROW + 1


class DataGridProgram(App[None]):
    ENABLE_COMMAND_PALETTE = False

    def compose(self) -> ComposeResult:
        yield DataTable(cursor_type="cell", cell_padding=0)

    def on_mount(self) -> None:
        table = self.query_one(DataTable)
        for at in range(PER_ROW):
            table.add_column(f"{at:>2}"[-1], width=1)
        for row in range(ROWS):
            table.add_row(*(".#Smd"[(row * at + at) % 5] for at in range(PER_ROW)), label=f"{row * PER_ROW}")
        table.focus()


if __name__ == "__main__":
    DataGridProgram().run(mouse=False)
