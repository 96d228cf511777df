"""Templates: what instances are made from."""

from __future__ import annotations

from typing import Any

from fleet_tui.backend.instances.profiles import ListTemplates
from fleet_tui.screens.frame import bindings
from fleet_tui.screens.register import RegisterScreen


class TemplatesScreen(RegisterScreen):
    KIND = "templates"
    NOUN = "template"
    EMPTY = "no template yet · n makes one, I imports a blueprint"
    BINDINGS = bindings("templates")

    def crumbs(self) -> list[str]:
        return ["instances", "templates"]

    def load(self) -> None:
        self.fetch(ListTemplates(), self.put, "templates")

    def open_row(self, kind: str, row: Any) -> None:
        self.console.open("template", f"template:{row.id}")
