"""The hierarchy as records. What stands on hosts (VMs, and the room they take) is counted by the slice above and joined there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import NotFound
from fleet_tui.backend.hosts import ClusterRecord, HostRecord, PodRecord, ZoneRecord, patches
from fleet_tui.backend.hosts.hierarchy import find_zone
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow, PodRow, ZoneRow
from fleet_tui.backend.hosts.states import Allocation, ConnectionState, ManagedState, ResourceState
from fleet_tui.backend.operations.overview import active_by_target


def why_not(host: HostRow, cluster: ClusterRow, pod: PodRow, zone: ZoneRow, *, in_disabled_zone: bool = False) -> str:
    """What keeps a host from taking new VMs (HST-1), the farthest cause first; empty when nothing does.

    ``in_disabled_zone`` is for a root-admin who tries one out (HST-3).
    """
    for kind, branch in (("zone", zone), ("pod", pod), ("cluster", cluster)):
        if branch.allocation != Allocation.ENABLED.value and not (branch is zone and in_disabled_zone):
            return f"{kind} {branch.name} is disabled"
    if cluster.managed != ManagedState.MANAGED.value:
        return f"cluster {cluster.name} is not managed ({cluster.managed})"
    if host.resource_state != ResourceState.ENABLED.value:
        return f"the host is {host.resource_state}"
    if host.connection_state != ConnectionState.UP.value:
        return f"its link is {host.connection_state}{f' ({host.reason})' if host.reason else ''}"
    return ""


def find(
    tx: Session, limit: int = 5000, name: str = "", instances: Mapping[str, int] | None = None, ids: Sequence[str] = (),
    down: bool = False,
) -> tuple[HostRecord, ...]:
    """Hosts by name, or only those that are ``down``. ``instances`` says how many stand on each; the slice above counts them."""
    query = (
        select(HostRow, ClusterRow, PodRow, ZoneRow)
        .join(ClusterRow, HostRow.cluster_id == ClusterRow.id)
        .join(PodRow, ClusterRow.pod_id == PodRow.id)
        .join(ZoneRow, PodRow.zone_id == ZoneRow.id)
        .order_by(HostRow.name)
        .limit(limit)
    )
    if down:
        query = query.where(HostRow.connection_state != ConnectionState.UP.value)
    if name:
        query = query.where((HostRow.name == name) | (HostRow.id == name.removeprefix("host:")))
    if ids:
        query = query.where(HostRow.id.in_(ids))
    rows = tx.execute(query).all()
    active = active_by_target(tx, [f"host:{host.id}" for host, *_ in rows])
    ledger = patches.Ledger.read(tx)
    return tuple(
        _host(host, cluster, pod, zone, (instances or {}).get(host.name, 0), active.get(f"host:{host.id}"), ledger)
        for host, cluster, pod, zone in rows
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


def list_zones(tx: Session, limit: int = 1000) -> tuple[ZoneRecord, ...]:
    hosts, clusters, pods = _hosts_by_cluster(tx), _clusters(tx), tx.execute(select(PodRow.id, PodRow.zone_id)).all()
    zone_of = {pod.id: pod.zone_id for pod in pods}
    return tuple(
        ZoneRecord(
            id=row.id, name=row.name, allocation=Allocation(row.allocation), network_type=row.network_type, dns=tuple(row.dns),
            guest_cidr=row.guest_cidr, pods=sum(pod.zone_id == row.id for pod in pods),
            clusters=sum(zone_of[pod] == row.id for pod in clusters.values()),
            hosts=sum(hosts.get(cluster, 0) for cluster, pod in clusters.items() if zone_of[pod] == row.id),
        )
        for row in tx.scalars(select(ZoneRow).order_by(ZoneRow.name).limit(limit))
    )


def list_pods(tx: Session, zone: str = "", limit: int = 1000) -> tuple[PodRecord, ...]:
    hosts, clusters = _hosts_by_cluster(tx), _clusters(tx)
    query = select(PodRow, ZoneRow.name).join(ZoneRow, PodRow.zone_id == ZoneRow.id).order_by(ZoneRow.name, PodRow.name).limit(limit)
    if zone:
        query = query.where(PodRow.zone_id == find_zone(tx, zone).id)
    return tuple(
        PodRecord(
            id=row.id, name=row.name, zone=zone_name, allocation=Allocation(row.allocation), gateway=row.gateway, netmask=row.netmask,
            start_ip=row.start_ip, end_ip=row.end_ip, clusters=sum(pod == row.id for pod in clusters.values()),
            hosts=sum(hosts.get(cluster, 0) for cluster, pod in clusters.items() if pod == row.id),
        )
        for row, zone_name in tx.execute(query)
    )


def list_clusters(tx: Session, zone: str = "", limit: int = 1000, cluster_id: str = "") -> tuple[ClusterRecord, ...]:
    hosts = _hosts_by_cluster(tx)
    query = (
        select(ClusterRow, PodRow.name, ZoneRow.name)
        .join(PodRow, ClusterRow.pod_id == PodRow.id)
        .join(ZoneRow, PodRow.zone_id == ZoneRow.id)
        .order_by(ZoneRow.name, PodRow.name, ClusterRow.name)
        .limit(limit)
    )
    if zone:
        query = query.where(PodRow.zone_id == find_zone(tx, zone).id)
    if cluster_id:
        query = query.where(ClusterRow.id == cluster_id)
    return tuple(
        ClusterRecord(
            id=row.id, name=row.name, zone=zone_name, pod=pod_name, allocation=Allocation(row.allocation), hypervisor=row.hypervisor,
            arch=row.arch, managed=row.managed, cpu_ratio=row.cpu_hundredths / 100, ram_ratio=row.ram_hundredths / 100,
            ratio_origin="own" if row.ratio_is_own else "inherited", dedicated_account=row.dedicated_account, mismatch=dict(row.mismatch),
            hosts=hosts.get(row.id, 0), is_recalculating=row.recalculated_by is not None,
        )
        for row, pod_name, zone_name in tx.execute(query)
    )


def _hosts_by_cluster(tx: Session) -> dict[str, int]:
    return dict(tx.execute(select(HostRow.cluster_id, func.count()).group_by(HostRow.cluster_id)).all())


def _clusters(tx: Session) -> dict[str, str]:
    """Pod of each cluster."""
    return dict(tx.execute(select(ClusterRow.id, ClusterRow.pod_id)).all())


def _host(
    host: HostRow, cluster: ClusterRow, pod: PodRow, zone: ZoneRow, instances: int, active: tuple[str, str] | None, ledger: Any
) -> HostRecord:
    reason = why_not(host, cluster, pod, zone)
    missing = ledger.missing(cluster.hypervisor, host.hypervisor_version, host.patch_level)
    return HostRecord(
        id=host.id, name=host.name, location=f"{zone.name}/{pod.name}/{cluster.name}", hypervisor=cluster.hypervisor, address=host.address,
        resource_state=host.resource_state, connection_state=host.connection_state, cores=host.cores, memory_bytes=host.memory_bytes,
        memory_used_bytes=host.memory_used_bytes, disk_bytes=host.disk_bytes, disk_used_bytes=host.disk_used_bytes, load=host.load,
        instances=instances, measured_at=host.measured_at, reason=host.reason, health=host.health, allocatable=not reason, why_not=reason,
        version=host.hypervisor_version, serial=host.serial, arch=host.arch or cluster.arch, mhz=host.mhz, is_accelerated=host.is_accelerated,
        is_secured=host.is_secured, patch_level=host.patch_level, patches_behind=len(missing),
        patches_critical=sum(patch.severity == "critical" for patch in missing), tags=tuple(host.tags), location_note=host.location_note,
        host_key=host.accepted_key, ssh_user=host.ssh_user, ssh_port=host.ssh_port, is_master=host.is_master,
        operation_id=active[0] if active else None, operation=active[1] if active else "", error=host.error, state_since=host.state_since,
        version_number=host.version, nics=tuple(str(nic) for nic in host.facts.get("nics", ())),
    )
