"""The yardstick of a start: a Textual app that shows one label."""

from __future__ import annotations

from textual.app import App, ComposeResult
from textual.widgets import Label


class OneLabel(App[None]):
    def compose(self) -> ComposeResult:
        yield Label("one label is ready")


if __name__ == "__main__":
    OneLabel().run()
