"""Hosts as records."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import NotFound
from fleet_tui.backend.hosts import HostRecord
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow, PodRow, ZoneRow


def find(
    tx: Session, limit: int = 5000, name: str = "", instances: Mapping[str, int] | None = None, down: bool = False
) -> tuple[HostRecord, ...]:
    """Hosts by name, or only those that are ``down``. ``instances`` says how many stand on each; the slice above counts them."""
    query = (
        select(HostRow, ZoneRow.name, PodRow.name, ClusterRow.name, ClusterRow.hypervisor)
        .join(ClusterRow, HostRow.cluster_id == ClusterRow.id)
        .join(PodRow, ClusterRow.pod_id == PodRow.id)
        .join(ZoneRow, PodRow.zone_id == ZoneRow.id)
        .order_by(HostRow.name)
        .limit(limit)
    )
    if down:
        query = query.where(HostRow.connection_state != "Up")
    if name:
        query = query.where((HostRow.name == name) | (HostRow.id == name))
    return tuple(
        HostRecord(
            id=host.id, name=host.name, location=f"{zone}/{pod}/{cluster}", hypervisor=hypervisor, address=host.address,
            resource_state=host.resource_state, connection_state=host.connection_state, cores=host.cores,
            memory_bytes=host.memory_bytes, memory_used_bytes=host.memory_used_bytes, disk_bytes=host.disk_bytes,
            disk_used_bytes=host.disk_used_bytes, load=host.load, instances=(instances or {}).get(host.name, 0),
            measured_at=host.measured_at,
        )
        for host, zone, pod, cluster, hypervisor in tx.execute(query)
    )


def describe(tx: Session, name: str, instances: Mapping[str, int] | None = None) -> HostRecord:
    found = find(tx, 1, name, instances)
    if not found:
        raise NotFound(f"there is no host {name!r}", hint="`fleet host list` shows the hosts there are")
    return found[0]


def count(tx: Session) -> dict[str, int]:
    """Hosts by connection state, and in total."""
    by_state = dict(tx.execute(select(HostRow.connection_state, func.count()).group_by(HostRow.connection_state)).all())
    return {**by_state, "total": sum(by_state.values())}
