"""How a host's resource state moves: the only place that writes it, and only by the table of spec 8.3.

Every function runs in the caller's transaction. The row is locked first, so that what was decided from it still holds when it commits.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import NotFound, WrongState
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.hosts.rows import HostRow
from fleet_tui.backend.hosts.states import MOVES, HostEvent, ResourceState, allowed

_COMMANDS = {
    HostEvent.ASK_MAINTENANCE: "maintain", HostEvent.DECLARE_DEGRADED: "degrade", HostEvent.CANCEL_DEGRADED: "cancel-degraded",
    HostEvent.REMOVE: "remove",
}  # fmt: skip
"""How a person asks for it, where that is said otherwise."""


def lock(tx: Session, host_id: str) -> HostRow:
    """The host's row as it is now, which nobody else changes until this transaction ends.

    Raises:
        NotFound: there is no such host.
    """
    query = select(HostRow).where(HostRow.id == host_id).with_for_update().execution_options(populate_existing=True)
    row = tx.scalar(query)
    if row is None:
        raise NotFound(f"there is no host {host_id!r}", hint="`fleet host list` shows the hosts there are")
    return row


def refusal(row: HostRow, event: HostEvent) -> WrongState | None:
    """Why the table does not allow it; ``None`` when it does."""
    here = ResourceState(row.resource_state)
    if (here, event) in MOVES:
        return None
    origins = sorted(state.value for state, possible in MOVES if possible is event)
    possible = ", ".join(_COMMANDS.get(event, event.value) for event in allowed(here) if MOVES[here, event] is not here) or "nothing"
    return WrongState(
        f"{row.name} is {here.value}; `{event.value}` needs {' or '.join(origins)}", hint=f"possible now: {possible}",
        state=here.value, allowed=origins,
    )


def move(
    tx: Session, row: HostRow, event: HostEvent, now: datetime, *, text: str = "", level: str = "info", operation_id: str | None = None,
    user: str | None = None,
) -> ResourceState:
    """Move a locked row by one event, and say so in the feed. Returns the new state.

    Raises:
        WrongState: the table has no such move; nothing changes. Details: ``state``, and ``allowed`` states for the event.
    """
    if (refused := refusal(row, event)) is not None:
        raise refused
    here = ResourceState(row.resource_state)
    to = MOVES[here, event]
    if event is HostEvent.ASK_MAINTENANCE and here in (ResourceState.ENABLED, ResourceState.DISABLED, ResourceState.DEGRADED):
        row.came_from = (ResourceState.DISABLED if here is ResourceState.DISABLED else ResourceState.ENABLED).value
    if event is HostEvent.CANCEL and row.came_from == ResourceState.DISABLED.value:
        to = ResourceState.DISABLED
    if to is not here:
        row.resource_state, row.state_since = to.value, now
    append(tx, type="host.changed", ref=f"host:{row.id}", text=text, level=level, operation_id=operation_id, user=user)
    return to
