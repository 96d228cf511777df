"""Putting hosts into the hierarchy, and their figures into their rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.clock import Clock
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow, PodRow, ZoneRow
from fleet_tui.backend.hosts.states import Allocation, ConnectionState, ResourceState
from fleet_tui.backend.store import new_id


def ensure_host(tx: Session, name: str, location: str, hypervisor: str, address: str) -> HostRow:
    """The host, with the zone, pod and cluster it stands in; made where missing. ``location`` is ``zone/pod/cluster``.

    For the machine that the site itself runs on: what it stands in is enabled at once, and it counts as connected.
    """
    enabled = Allocation.ENABLED.value
    zone_name, pod_name, cluster_name = location.split("/")
    zone = tx.scalar(select(ZoneRow).where(ZoneRow.name == zone_name))
    if zone is None:
        tx.add(zone := ZoneRow(id=new_id("z"), name=zone_name, allocation=enabled))
        tx.flush()
    pod = tx.scalar(select(PodRow).where(PodRow.zone_id == zone.id, PodRow.name == pod_name))
    if pod is None:
        tx.add(pod := PodRow(id=new_id("p"), name=pod_name, zone_id=zone.id, allocation=enabled))
        tx.flush()
    cluster = tx.scalar(select(ClusterRow).where(ClusterRow.pod_id == pod.id, ClusterRow.name == cluster_name))
    if cluster is None:
        tx.add(cluster := ClusterRow(id=new_id("c"), name=cluster_name, pod_id=pod.id, hypervisor=hypervisor, allocation=enabled))
        tx.flush()
    host = tx.scalar(select(HostRow).where(HostRow.name == name))
    if host is None:
        tx.add(host := HostRow(
            id=new_id("h"), name=name, cluster_id=cluster.id, address=address, resource_state=ResourceState.ENABLED.value,
            connection_state=ConnectionState.UP.value,
        ))
        tx.flush()
    return host


def record_figures(tx: Session, name: str, figures: Mapping[str, Any], clock: Clock) -> None:
    """Store what was measured; tells readers only when something a person would notice changed."""
    host = tx.scalar(select(HostRow).where(HostRow.name == name))
    if host is None or not figures:
        return
    before = noticeable(host)
    host.cores = int(figures.get("cores", host.cores))
    host.memory_bytes = int(figures.get("memory_bytes", host.memory_bytes))
    host.memory_used_bytes = int(figures.get("memory_used_bytes", host.memory_used_bytes))
    host.disk_bytes = int(figures.get("disk_bytes", host.disk_bytes))
    host.disk_used_bytes = int(figures.get("disk_used_bytes", host.disk_used_bytes))
    host.load = float(figures.get("load", host.load))
    host.measured_at = clock.now()
    if noticeable(host) != before:
        append(tx, type="host.changed", ref=f"host:{host.id}")


def noticeable(host: HostRow) -> tuple[int, ...]:
    """Figures as coarsely as a bar shows them: 2 % of memory and disk, tenths of load."""
    return (
        host.cores,
        host.memory_used_bytes * 50 // max(1, host.memory_bytes),
        host.disk_used_bytes * 50 // max(1, host.disk_bytes),
        round(host.load * 10),
    )
