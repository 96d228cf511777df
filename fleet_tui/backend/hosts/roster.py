"""Which hosts there are, as the watch over links sees them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.hosts.hierarchy import NO_HYPERVISOR
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow
from fleet_tui.backend.hosts.states import ManagedState, ResourceState

_UNWATCHED = (ResourceState.CREATING.value, ResourceState.ERROR.value)


@dataclass(frozen=True, slots=True)
class Place:
    """What the database says of a host, as far as its link is concerned."""

    host_id: str
    name: str
    kind: str
    """Its cluster's hypervisor."""
    is_watched: bool
    """Whether it is to be connected: commands may be sent to it, and it is neither being added nor failed to be."""
    state: str
    reason: str
    expected_off_until: datetime | None


def places(tx: Session, host_id: str = "") -> list[Place]:
    """Every host with a hypervisor, as the watch over links sees it."""
    query = select(
        HostRow.id, HostRow.name, HostRow.resource_state, HostRow.connection_state, HostRow.reason, HostRow.expected_off_until,
        ClusterRow.hypervisor, ClusterRow.managed,
    ).join(ClusterRow, HostRow.cluster_id == ClusterRow.id).where(ClusterRow.hypervisor != NO_HYPERVISOR)
    if host_id:
        query = query.where(HostRow.id == host_id)
    return [
        Place(
            host_id=row.id, name=row.name, kind=row.hypervisor, state=row.connection_state, reason=row.reason,
            is_watched=row.managed == ManagedState.MANAGED.value and row.resource_state not in _UNWATCHED,
            expected_off_until=row.expected_off_until,
        )
        for row in tx.execute(query)
    ]
