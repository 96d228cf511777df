"""What refuses a verb on an instance by how it stands: asked when it is submitted, and again when its operation begins, perhaps hours later."""

from __future__ import annotations

from collections.abc import Iterator

from fleet_tui.backend.errors import FleetError, WrongState
from fleet_tui.backend.instances.rows import InstanceRow
from fleet_tui.backend.instances.states import MOVES, InstanceState, refusal


def of_state(action: str, row: InstanceRow) -> Iterator[FleetError]:
    """What its state refuses, and for a deletion its protection."""
    if why := _why(action, row):
        allowed = [other for other in MOVES if not _why(other, row)]
        hint = f"now possible: {', '.join(allowed)}" if allowed else "wait for the running operation to end"
        yield WrongState(f"{action} of {row.label} is refused: {why}", hint=hint, state=row.state, allowed=allowed)
    if action == "delete" and row.settings.get("deletion_protection"):
        yield WrongState(f"{row.label} is protected from deletion", hint="switch deletion protection off in its settings first", state=row.state)


def _why(action: str, row: InstanceRow) -> str:
    return refusal(action, InstanceState(row.state), row.failed_stage, row.machine is not None)
