"""The line at the foot of a screen, for commands after ``:`` and filters after ``/``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from textual.widget import Widget

from fleet_tui import commands
from fleet_tui.screens.at_once import AtOnce
from fleet_tui.screens.console import Console
from fleet_tui.widgets.prompt import Prompt

if TYPE_CHECKING:
    from fleet_tui.screens.frame import FleetScreen


FILE = "<"
"""The mode of the line in which a file is named, as a shell names what it reads from."""
MOST_OFFERED = 50


def files_like(text: str) -> list[str]:
    """Files and folders of this machine whose name goes on as typed; a folder ends with a slash. What cannot be read offers nothing."""
    head, tail = os.path.split(text)
    try:
        found = sorted(os.scandir(os.path.expanduser(head) or "."), key=lambda entry: entry.name)
        matching = [entry for entry in found if entry.name.startswith(tail) and (tail or not entry.name.startswith("."))][:MOST_OFFERED]
        return [os.path.join(head, entry.name) + "/" * entry.is_dir() for entry in matching]
    except (OSError, ValueError):
        return []


class CommandLine(AtOnce):
    """A screen with such a line, and with a place that the focus goes back to from it."""

    @property
    def console(self) -> Console:
        return cast(Console, self.app)

    def act_global_command(self) -> None:
        self.query_one(Prompt).open(":")

    def run_line(self, line: str) -> None:
        """Do what was typed after ``:``, or say what was not understood."""
        from fleet_tui.screens import line as lines

        lines.run_line(cast("FleetScreen", self), line)

    def on_prompt_submitted(self, event: Prompt.Submitted) -> None:
        event.stop()
        self.restore_focus()
        if event.mode == ":":
            self.run_line(event.text)
        elif event.mode == FILE:
            self.named_file(event.text)
        else:
            self.filtered(event.text, done=True)

    def on_prompt_changed(self, event: Prompt.Changed) -> None:
        event.stop()
        if event.mode == "/":
            self.filtered(event.text, done=False)

    def on_prompt_cancelled(self, event: Prompt.Cancelled) -> None:
        event.stop()
        self.restore_focus()
        if event.mode == "/":
            self.filtered(event.text, done=True)
        elif event.mode == FILE:
            self.named_file("")

    def _complete(self, line: str) -> list[str]:
        prompt = self.query_one(Prompt)
        if prompt.mode == FILE:
            return files_like(line)
        return commands.complete(line, self.names(), self.console.record) if prompt.mode == ":" and line else []

    def names(self) -> Iterable[str]:
        """Names of what is known here, for completion."""
        summary = self.console.pulse.summary
        return [row.label for row in summary.rows] if summary else []

    def filtered(self, text: str, done: bool) -> None:
        """``/`` was typed into."""

    def named_file(self, name: str) -> None:
        """A file was named after ``<``; empty when the person left."""

    def home(self) -> Widget | None:
        """The widget that keys go to when nothing else has them."""
        return None

    def restore_focus(self) -> None:
        if (home := self.home()) is not None:
            home.focus()
