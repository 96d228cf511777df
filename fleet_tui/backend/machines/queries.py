"""VMs, offerings, moves and room as records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import NotFound
from fleet_tui.backend.hosts.hierarchy import find_cluster, find_host, find_zone
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow, PodRow, ZoneRow
from fleet_tui.backend.machines import (
    CapacityRecord,
    ListVms,
    MoveRecord,
    OfferingRecord,
    Placement,
    PlanPlacement,
    ShowCapacity,
    VmPage,
    VmRecord,
    vms,
)
from fleet_tui.backend.machines.capacity import MIB, Rules, Size, Taken, amounts, count, total
from fleet_tui.backend.machines.evacuation import survives
from fleet_tui.backend.machines.offerings import find_offering
from fleet_tui.backend.machines.placement import Wanted, choose
from fleet_tui.backend.machines.rows import MoveRow, OfferingRow, VmRow
from fleet_tui.backend.machines.states import ON_HOST, MovePhase, VmState
from fleet_tui.backend.machines.world import World
from fleet_tui.backend.operations.overview import active_by_target

_PAGE = 1000


def list_vms(tx: Session, request: ListVms) -> VmPage:
    """A page by name."""
    conditions: list[ColumnElement[bool]] = []
    if request.refs:
        conditions.append(VmRow.id.in_([ref.removeprefix("vm:") for ref in request.refs]))
    if request.host:
        conditions.append(VmRow.host_id == find_host(tx, request.host).id)
    if request.cluster:
        conditions.append(VmRow.cluster_id == find_cluster(tx, request.cluster).id)
    if request.state:
        conditions.append(VmRow.state == request.state)
    limit = max(1, min(request.limit, _PAGE))
    query = select(VmRow).where(*conditions).order_by(VmRow.name)
    if request.after:
        query = query.where(VmRow.name > request.after)
    rows = tx.scalars(query.limit(limit)).all()
    total_rows = tx.scalar(select(func.count()).select_from(VmRow).where(*conditions)) or 0
    return VmPage(records(tx, rows), rows[-1].name if len(rows) == limit else "", total_rows)


def describe(tx: Session, target: str) -> VmRecord:
    return records(tx, [vms.find(tx, target)])[0]


def records(tx: Session, rows: Sequence[VmRow]) -> tuple[VmRecord, ...]:
    """Rows with the names of what they stand on, what is at work on them, and their moves in flight."""
    hosts = _names(tx, HostRow, {id for vm in rows for id in (vm.host_id, vm.last_host_id)})
    clusters = {row.id: row for row in tx.scalars(select(ClusterRow).where(ClusterRow.id.in_({vm.cluster_id for vm in rows})))}
    offerings = _names(tx, OfferingRow, {vm.offering_id for vm in rows})
    active = active_by_target(tx, [f"vm:{vm.id}" for vm in rows])
    moving = {vm.id: vm.name for vm in rows if vm.destination_id is not None or vm.state == VmState.MIGRATING.value}
    moves = {row.vm_id: row for row in tx.scalars(select(MoveRow).where(MoveRow.vm_id.in_(moving), MoveRow.outcome == ""))} if moving else {}
    shown = {vm_id: move_record(tx, row, moving[vm_id]) for vm_id, row in moves.items()}
    return tuple(
        _record(vm, hosts, clusters[vm.cluster_id], offerings.get(vm.offering_id, "?"), active.get(f"vm:{vm.id}"), shown.get(vm.id)) for vm in rows
    )


def _record(
    vm: VmRow, hosts: Mapping[str, str], cluster: ClusterRow, offering: str, active: tuple[str, str] | None, move: MoveRecord | None
) -> VmRecord:
    state = VmState(vm.state)
    old = state in ON_HOST and (vm.cpu_hundredths, vm.ram_hundredths) != (cluster.cpu_hundredths, cluster.ram_hundredths)
    return VmRecord(
        id=vm.id, name=vm.name, kind=vm.kind, cluster=cluster.name, offering=offering, state=state, host=hosts.get(vm.host_id or "", ""),
        last_host=hosts.get(vm.last_host_id or "", ""), cores=vm.cores, mhz=vm.mhz, memory_mib=vm.memory_mib, owners=tuple(vm.owners),
        tags=tuple(vm.tags), account=vm.account, destroy_protected=vm.destroy_protected, ha=vm.ha, has_local_disk=vm.has_local_disk,
        has_device=vm.has_device, exclusion_tags=tuple(vm.exclusion_tags), ips=tuple(vm.ips), on_old_ratio=old, move=move,
        operation_id=active[0] if active else (move.operation_id if move else None), operation=active[1] if active else "",
        error=vm.error, version=vm.version, created_at=vm.created_at, updated_at=vm.updated_at,
    )


def move_record(tx: Session, row: MoveRow, name: str = "") -> MoveRecord:
    """One attempt, with the names of its ends."""
    name = name or tx.scalar(select(VmRow.name).where(VmRow.id == row.vm_id)) or ""
    return MoveRecord(
        id=row.id, vm=name, vm_id=row.vm_id, source=vms.host_name(tx, row.source_id), destination=vms.host_name(tx, row.destination_id),
        phase=MovePhase(row.phase), percent=row.percent, detail=row.detail, attempt=row.attempt, outcome=row.outcome, error=row.error,
        downtime_ms=row.downtime_ms, elapsed_ms=row.elapsed_ms, operation_id=row.operation_id, started_at=row.started_at, ended_at=row.ended_at,
    )


def list_offerings(tx: Session, limit: int = 1000) -> tuple[OfferingRecord, ...]:
    used = dict(tx.execute(select(VmRow.offering_id, func.count()).group_by(VmRow.offering_id)).all())
    rows = tx.scalars(select(OfferingRow).order_by(OfferingRow.name).limit(limit))
    return tuple(offering_record(row, used.get(row.id, 0)) for row in rows)


def offering_record(row: OfferingRow, used: int = 0) -> OfferingRecord:
    return OfferingRecord(row.id, row.name, row.cores, row.mhz, row.memory_mib, row.limit_cpu, row.ha, tuple(row.tags), row.system_kind, used)


# --- room --------------------------------------------------------------------------------------------------------------


def show_capacity(tx: Session, request: ShowCapacity, rules: Rules, now: datetime) -> tuple[CapacityRecord, ...]:
    """Of a host, a cluster or a zone, or of every host; with N+1 where one thing is asked for."""
    rows = select(HostRow, ClusterRow, ZoneRow.name).join(ClusterRow, HostRow.cluster_id == ClusterRow.id)
    rows = rows.join(PodRow, ClusterRow.pod_id == PodRow.id).join(ZoneRow, PodRow.zone_id == ZoneRow.id).order_by(HostRow.name)
    if not request.target:
        found = tx.execute(rows).all()
        taken = count(tx, rules, now)
        return tuple(host_capacity(host, cluster, taken.get(host.id, Taken())) for host, cluster, _ in found)
    if request.kind == "host":
        host = find_host(tx, request.target)
        cluster = tx.get(ClusterRow, host.cluster_id)
        assert cluster is not None
        world = World.load(tx, rules, now, cluster.id)
        lasts = survives(world, world.clusters[cluster.id], host.id)
        return (host_capacity(host, cluster, count(tx, rules, now, [host.id]).get(host.id, Taken()), lasts),)
    if request.kind == "cluster":
        cluster = find_cluster(tx, request.target)
        return (cluster_capacity(tx, cluster, rules, now),)
    if request.kind == "zone":
        zone = find_zone(tx, request.target)
        inside = tx.scalars(select(ClusterRow).join(PodRow, ClusterRow.pod_id == PodRow.id).where(PodRow.zone_id == zone.id)).all()
        return (_together(zone.name, [cluster_capacity(tx, cluster, rules, now) for cluster in inside]),)
    raise NotFound(f"there is no capacity of a {request.kind!r}", hint="host, cluster or zone")


def host_capacity(host: HostRow, cluster: ClusterRow, taken: Taken, lasts: bool | None = None) -> CapacityRecord:
    cpu, ram, cores = amounts(host, cluster.cpu_hundredths, cluster.ram_hundredths, taken)
    return CapacityRecord(
        host.name, cluster.name, cpu, ram, cores, cluster.cpu_hundredths / 100, cluster.ram_hundredths / 100, lasts, taken.used.vms
    )


def cluster_capacity(
    tx: Session, cluster: ClusterRow, rules: Rules, now: datetime, ratios: tuple[int, int] | None = None, *, restarted: bool = False
) -> CapacityRecord:
    """A cluster's hosts together.

    Args:
        ratios: as if they were these, in hundredths.
        restarted: as if every VM had been started with them.
    """
    cpu_ratio, ram_ratio = ratios or (cluster.cpu_hundredths, cluster.ram_hundredths)
    hosts = tx.scalars(select(HostRow).where(HostRow.cluster_id == cluster.id)).all()
    taken = count(tx, rules, now, [host.id for host in hosts])
    if restarted:
        for each in taken.values():
            for load in (each.used, each.reserved):
                load.cpu, load.ram = {cpu_ratio: sum(load.cpu.values())}, {ram_ratio: sum(load.ram.values())}
    parts = [amounts(host, cpu_ratio, ram_ratio, taken.get(host.id, Taken())) for host in hosts]
    lasts = None
    if ratios is None and hosts:
        world = World.load(tx, rules, now, cluster.id)
        lasts = survives(world, world.clusters[cluster.id])
    cpu, ram, cores = (total(part[at] for part in parts) for at in range(3))
    running = sum(each.used.vms for each in taken.values())
    return CapacityRecord("", cluster.name, cpu, ram, cores, cpu_ratio / 100, ram_ratio / 100, lasts, running)


def _together(place: str, parts: Sequence[CapacityRecord]) -> CapacityRecord:
    """A zone: the ratios are what its hosts come to."""
    cpu, ram, cores = total(part.cpu for part in parts), total(part.ram for part in parts), total(part.cores for part in parts)
    known = [part.survives for part in parts if part.survives is not None]
    return CapacityRecord(
        "", place, cpu, ram, cores, _mean([(p.cpu_ratio, p.cpu.raw) for p in parts]), _mean([(p.ram_ratio, p.ram.raw) for p in parts]),
        all(known) if known else None, sum(part.vms for part in parts),
    )


def _mean(parts: Sequence[tuple[float, int]]) -> float:
    weight = sum(raw for _, raw in parts)
    return round(sum(ratio * raw for ratio, raw in parts) / weight, 2) if weight else 1.0


def plan_placement(tx: Session, request: PlanPlacement, rules: Rules, now: datetime, programs: Any = None) -> Placement:
    """Where it would go now, and why nowhere else."""
    more = None
    if request.vm:
        vm = vms.find(tx, request.vm)
        cluster_id, without = vm.cluster_id, vm.id
        if VmState(vm.state) in ON_HOST:
            wanted = Wanted(
                cluster_id, vms.size_of(vm), vm.name, frozenset(vm.exclusion_tags), vm.account, leaves=vm.host_id or "", vm_id=vm.id
            )
        else:
            wanted = vms.wanted_start(vm)
    else:
        cluster, offering = find_cluster(tx, request.cluster), find_offering(tx, request.offering)
        cluster_id, without, more = cluster.id, "", still_fits(tx, cluster, offering, rules, now)
        wanted = Wanted(cluster_id, Size(offering.cores, offering.mhz, offering.memory_mib * MIB), offering.name, is_new=True)
    world = World.load(tx, rules, now, cluster_id, without=without, guests=request.policy.startswith("adjacent:"))
    return replace(choose(world, wanted, request.policy, programs=programs).placement, more=more)


def still_fits(tx: Session, cluster: ClusterRow, offering: OfferingRow, rules: Rules, now: datetime) -> int:
    """How many more VMs of an offering the cluster takes."""
    world = World.load(tx, rules, now, cluster.id, guests=False)
    if cluster.id not in world.clusters:
        return 0
    place = world.clusters[cluster.id]
    cpu, ram = place.weight(Size(offering.cores, offering.mhz, offering.memory_mib * MIB))
    return sum(
        max(0, min(seat.cpu_free // cpu, seat.ram_free // ram)) for seat in place.seats
        if not seat.closed and seat.cores >= offering.cores and seat.mhz >= offering.mhz
    )


def _names(tx: Session, kind: Any, ids: set[str | None]) -> dict[str, str]:
    known = sorted(one for one in ids if one)
    found: dict[str, str] = {}
    for at in range(0, len(known), 400):
        found.update(tx.execute(select(kind.id, kind.name).where(kind.id.in_(known[at:at + 400]))).all())
    return found
