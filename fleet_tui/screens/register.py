"""A register: a short list whose rows count the instances linked to them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from fleet_tui.screens.link import FleetChanged
from fleet_tui.screens.resource import ResourceScreen
from fleet_tui.widgets.timers import once

GATHER_S = 2.0
"""Instances of a large fleet change all the time: the counts follow within this."""


class RegisterScreen(ResourceScreen):
    NOUN: ClassVar[str]
    """What its refs begin with: ``template``."""
    SORT = "label"

    def __init__(self) -> None:
        super().__init__()
        self._is_gathering = False

    def changed(self, changed: FleetChanged) -> None:
        if any(ref.startswith(f"{self.NOUN}:") for ref in changed.refs):
            self.load()
        elif not self._is_gathering and any(ref.startswith("instance:") for ref in changed.refs):
            self._is_gathering = True
            once(self, GATHER_S, self._gathered)

    def _gathered(self) -> None:
        self._is_gathering = False
        if self.console.is_shown(self):
            self.load()
        else:
            self.is_loaded = False

    def names(self) -> Iterable[str]:
        return [row.label for key in self.list.shown_keys if (row := self.list.row(key)) is not None]
