"""The line at the foot of a screen, for commands after ``:`` and filters after ``/``."""

from __future__ import annotations

import heapq
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
        with os.scandir(os.path.expanduser(head) or ".") as entries:
            matching = [entry for entry in entries if entry.name.startswith(tail) and (tail or not entry.name.startswith("."))]
        matching = heapq.nsmallest(MOST_OFFERED, matching, key=lambda entry: entry.name)
        return [os.path.join(head, entry.name) + "/" * entry.is_dir() for entry in matching]
    except (OSError, ValueError):
        return []


class CommandLine(AtOnce):
    """A screen with such a line, and with a place that the focus goes back to from it."""

    def __init__(self) -> None:
        super().__init__()
        self._sought: str | None = None
        """Begin of a file's name that a thread looks for now."""

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
            self._seek(line)
        return commands.complete(line, self.names(), self.console.record) if prompt.mode == ":" and line else []

    def _seek(self, line: str) -> None:
        """Look for files on a thread, one look at a time: a folder far away may hang."""
        if self._sought is not None:
            return
        self._sought = line

        def found(names: list[str]) -> None:
            self._sought = None
            prompt = self.query_one(Prompt)
            if prompt.is_open and prompt.mode == FILE:
                if prompt.text == line:
                    prompt.offer(names)
                else:
                    self._seek(prompt.text)

        self.console.errands.aside(lambda: files_like(line), found)

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
