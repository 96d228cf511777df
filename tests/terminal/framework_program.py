"""The framework's own widgets with hostile text in them, under the console's filter or without it."""

from __future__ import annotations

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from rich.text import Text
from textual.app import App, ComposeResult
from textual.widgets import Input, Log, OptionList, Static

from fleet_tui.widgets import safety


class FrameworkProgram(App[None]):
    ENABLE_COMMAND_PALETTE = False
    CSS = "OptionList, Log { height: 6; }"

    def __init__(self, hostile: str, guarded: bool) -> None:
        super().__init__()
        self.hostile = hostile
        if guarded:
            safety.install(self)

    def compose(self) -> ComposeResult:
        titled = Static(Text(f"static {self.hostile}"))
        titled.border_title = self.hostile.replace("[", "(")
        yield titled
        yield Input(f"input {self.hostile}", select_on_focus=False)
        yield OptionList(Text(f"option {self.hostile}"))
        yield Log()

    def on_mount(self) -> None:
        self.query_one(Log).write_line(f"log {self.hostile}")
        self.query_one(Input).cursor_position = 0
        self.query_one(OptionList).focus()
        self.notify(self.hostile, markup=False)


if __name__ == "__main__":
    text = pathlib.Path(sys.argv[1]).read_bytes().decode("utf-8", "surrogateescape")
    FrameworkProgram(text, "--unguarded" not in sys.argv).run(mouse=False)
