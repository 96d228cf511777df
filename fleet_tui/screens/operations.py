"""Operations: what runs and waits first, then what ended, newest first."""

from __future__ import annotations

from typing import Any

from fleet_tui.actions import ACTIONS, Action
from fleet_tui.backend.operations import ListOperations, OperationRecord, ShowOperation
from fleet_tui.screens.frame import bindings
from fleet_tui.screens.link import FleetChanged
from fleet_tui.screens.resource import ResourceScreen

KEPT = 500
FEW = 20
"""Changed operations asked for one by one; more than that, and the list is fetched again."""


class OperationsScreen(ResourceScreen):
    KIND = "operations"
    EMPTY = "no operation yet · 2 goes to the instances, P provisions one"
    BINDINGS = bindings("operations")

    def load(self) -> None:
        self.fetch(ListOperations(limit=KEPT), self.put, "operations")

    def changed(self, changed: FleetChanged) -> None:
        refs = [ref for ref in changed.refs if ref.startswith("operation:")]
        known = [ref for ref in refs if self.list.row(ref) is not None]
        if len(known) < len(refs) or len(refs) > FEW:
            self.load()
        elif refs:
            ids = [ref.partition(":")[2] for ref in refs]
            self.ask(lambda session: [session.fetch(ShowOperation(id_)) for id_ in ids], self._have_changed)

    def _have_changed(self, rows: list[OperationRecord]) -> None:
        for row in rows:
            self.list.update_row(f"operation:{row.id}", row)
        self.footer()

    def act_operation_target(self, row: Any) -> None:
        if row is not None and row.target_ref.startswith("instance:"):
            self.console.open("instance", row.target_ref)

    def act_operation_logs(self, row: Any) -> None:
        if row is not None:
            self.console.open("logs", row.target_ref, title=f"{row.title} {row.target}", operation=row.id)

    def submitted(self, action: Action, replies: Any) -> None:
        if action is ACTIONS["operation.retry"] and len(replies) == 1 and replies[0].operation is not None:
            self.console.open("operation", f"operation:{replies[0].operation.id}")
