"""What an instance's Data and Operations tabs list: its snapshots and its latest operations, and what its settings say of the data disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fleet_tui.backend.instances import InstanceRecord, InstanceSettings, ListSnapshots, ShowSettings
from fleet_tui.backend.operations import ListOperations
from fleet_tui.screens.frame import FleetScreen
from fleet_tui.widgets.resource_table import ResourceTable

LATEST = 100
"""Operations that are listed."""


class InstanceLists:
    """Asked for when one of the tabs is looked at and something has changed since.

    Args:
        told: called when the settings have come.
    """

    def __init__(self, owner: FleetScreen, told: Callable[[], None]) -> None:
        self._owner = owner
        self._told = told
        self.values: Mapping[str, Any] | None = None
        """Settings of the instance; None until they have come, and for people who may not read them."""
        self._target = ""
        self.is_stale = True

    def forget(self) -> None:
        """Another instance is to be shown, and nothing of this one under its name."""
        self._target, self.values, self.is_stale = "", None, True
        self._show((), ())

    def load(self, instance: InstanceRecord, ref: str) -> None:
        if not self.is_stale:
            return
        self._target, self.is_stale = instance.id, False
        target = instance.id

        def listed(found: tuple[Sequence[Any], Sequence[Any]]) -> None:
            if target == self._target:
                self._show(*found)

        def valued(found: InstanceSettings) -> None:
            if target == self._target:
                self.values = found.values
                self._told()

        self._owner.ask(
            lambda session: (session.fetch(ListSnapshots(target)), session.fetch(ListOperations(target_ref=ref, limit=LATEST))), listed, group="lists"
        )
        self._owner.fetch(ShowSettings(target), valued, "values", failed=lambda _refusal: None)

    def _show(self, snapshots: Sequence[Any], operations: Sequence[Any]) -> None:
        self._owner.query_one("#snapshots", ResourceTable).set_rows([(snapshot.id, snapshot) for snapshot in snapshots])
        self._owner.query_one("#operations", ResourceTable).set_rows([(f"operation:{operation.id}", operation) for operation in operations])
