"""``+``: a larger data disk while the instance runs: how large, then the old and the new size to confirm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fleet_tui.actions import ACTIONS
from fleet_tui.backend.errors import InvalidInput, Problem, WrongState
from fleet_tui.backend.instances import GrowDisk, InstanceRecord
from fleet_tui.backend.operations import Submitted
from fleet_tui.screens import dialogs
from fleet_tui.screens.ask import Form, ask, entry

if TYPE_CHECKING:
    from fleet_tui.screens.frame import FleetScreen
    from fleet_tui.session import Session

STEP_GB = 10
"""How much more is offered first, as far as the settings allow."""


def ask_for_size(screen: FleetScreen, row: InstanceRecord) -> None:
    """Nothing is asked of a disk that has its greatest size: that is one of the settings."""
    disk = row.data_disk
    if disk.size_max_gb <= disk.size_gb:
        screen.say(f"the data disk of {row.label} has {disk.size_gb} GiB, as many as its settings allow · e sets more", "warning")
        return
    rule = f"{disk.size_gb + 1} to {disk.size_max_gb}"

    def make(values: Mapping[str, Any]) -> GrowDisk:
        size = values["size_gb"]
        if size <= disk.size_gb:
            said = f"it has {disk.size_gb} GiB; a disk can only grow"
            raise InvalidInput("the disk was not grown", problems=[Problem("size_gb", said)])
        return GrowDisk(target=row.id, size_gb=size)

    def first(session: Session, request: GrowDisk) -> tuple[dialogs.Question, GrowDisk]:
        plan = session.submit(replace(request, dry_run=True)).plan
        if plan is not None and plan.refusals:
            raise WrongState(plan.refusals[0].message, hint=plan.refusals[0].hint)
        told = [*plan.consequences, *plan.changes] if plan is not None else []
        return dialogs.Question(f"Grow the data disk of {row.label}?", "Grow", told), request

    def done(reply: Submitted) -> None:
        screen.say(f"Grow data disk of {row.label}: accepted")
        screen.submitted(ACTIONS["instance.grow"], [reply])

    offered = min(disk.size_max_gb, disk.size_gb + STEP_GB)
    field = entry("size_gb", "New size", "int", offered, unit="GiB", rule=rule, minimum=1, maximum=disk.size_max_gb)
    ask(screen, Form(f"Grow the data disk of {row.label}, now {disk.size_gb} GiB", (field,), make, done, "Grow", before=first))
