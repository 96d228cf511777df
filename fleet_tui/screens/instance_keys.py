"""Views and forms of an instance that are reached by key from every screen where one can be selected."""

from __future__ import annotations

from typing import Any

from fleet_tui.screens.frame import FleetScreen


class InstanceKeys(FleetScreen):
    """``l o e n`` and what has only a word."""

    def act_instance_logs(self, row: Any) -> None:
        self.console.open("logs", f"instance:{row.id}", title=row.label)

    def act_instance_operations(self, row: Any) -> None:
        self.console.open("instance", f"instance:{row.id}", tab="operations")

    def act_instance_edit(self, row: Any) -> None:
        self.console.open("instance", f"instance:{row.id}", tab="settings")

    def act_instance_new(self) -> None:
        from fleet_tui.screens.new_instance import ask_for_new

        ask_for_new(self)

    def act_instance_grow(self, row: Any) -> None:
        from fleet_tui.screens.grow import ask_for_size

        ask_for_size(self, row)

    def act_instance_restore(self, row: Any) -> None:
        from fleet_tui.screens.restore import ask_for_snapshot

        ask_for_snapshot(self, row)
