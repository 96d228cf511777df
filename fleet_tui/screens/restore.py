"""Reprovision from a snapshot: choose which, then the confirmation of any reprovision."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fleet_tui.actions import ACTIONS
from fleet_tui.backend.instances import InstanceRecord, ListSnapshots, SnapshotRecord
from fleet_tui.columns import ago, size
from fleet_tui.screens import dialogs, verbs

if TYPE_CHECKING:
    from fleet_tui.screens.frame import FleetScreen


def ask_for_snapshot(screen: FleetScreen, row: InstanceRecord) -> None:
    """Offer the instance's snapshots, newest first."""

    def chosen(snapshot: str) -> None:
        def adjust(request: Any) -> Any:
            return replace(request, snapshot=snapshot)

        verbs.begin(screen, ACTIONS["instance.reprovision"], [row], adjust)

    def have(snapshots: tuple[SnapshotRecord, ...]) -> None:
        if not snapshots:
            screen.say(f"{row.label} has no snapshot · O makes one", "warning")
            return
        now = screen.console.clock.now()
        items = [
            dialogs.Item(s.id, f"{s.created_at:%Y-%m-%d %H:%M} UTC", ago(s.created_at, now), f"{size(s.size_bytes)} {s.reason}")
            for s in sorted(snapshots, key=lambda s: s.created_at, reverse=True)
        ]
        dialogs.choose(screen.app, f"Set the data disk of {row.label} back to", items, chosen)

    screen.fetch(ListSnapshots(row.id), have, "snapshots")
