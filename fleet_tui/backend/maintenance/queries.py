"""Maintenance sessions as records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.hosts.rows import ClusterRow, HostRow
from fleet_tui.backend.hosts.states import ResourceState
from fleet_tui.backend.machines.rows import MoveRow, VmRow
from fleet_tui.backend.maintenance import (
    Blocker,
    CheckItem,
    Evacuee,
    ListMaintenance,
    MaintenanceRecord,
    MoveState,
    Note,
    Step,
    sessions,
)
from fleet_tui.backend.maintenance.drivers import Drivers
from fleet_tui.backend.maintenance.forecast import estimate
from fleet_tui.backend.maintenance.judge import PENDING
from fleet_tui.backend.maintenance.rows import EvacueeRow, SessionRow

WORDS = {
    ResourceState.PREPARE.value: "preparing for maintenance", ResourceState.ERROR_IN_PREPARE.value: "errors while preparing for maintenance",
    ResourceState.MAINTENANCE.value: "ready for maintenance", ResourceState.ERROR_IN_MAINTENANCE.value: "maintenance failed",
}
"""States as people call them; ``Maintenance`` is shown as ready (spec 8.3)."""
_IN_ERROR = (ResourceState.ERROR_IN_PREPARE.value, ResourceState.ERROR_IN_MAINTENANCE.value)
_ORDER = {
    MoveState.BLOCKED.value: 0, MoveState.FAILED.value: 0, MoveState.LOST.value: 0, MoveState.RETRY.value: 1, MoveState.MOVING.value: 2,
    MoveState.WAITING.value: 3,
}
"""What needs a person first, then what moves, what waits, and what is done."""


def show(tx: Session, target: str, drivers: Drivers) -> MaintenanceRecord:
    """The newest session of a host, or the one of that id.

    Raises:
        NotFound: there is none.
    """
    session, _ = sessions.find(tx, target)
    return records(tx, [session], drivers)[0]


def find(tx: Session, request: ListMaintenance, drivers: Drivers) -> tuple[MaintenanceRecord, ...]:
    """Sessions, open ones first, each part newest first."""
    query = select(SessionRow).order_by(SessionRow.open_host_id.is_(None), SessionRow.started_at.desc(), SessionRow.id)
    if request.is_open is not None:
        query = query.where(SessionRow.open_host_id.is_not(None) if request.is_open else SessionRow.open_host_id.is_(None))
    return records(tx, tx.scalars(query.limit(request.limit)).all(), drivers)


def records(tx: Session, rows: Sequence[SessionRow], drivers: Drivers) -> tuple[MaintenanceRecord, ...]:
    """With their VMs; a handful of queries for each."""
    query = select(HostRow, ClusterRow.hypervisor).join(ClusterRow, HostRow.cluster_id == ClusterRow.id)
    found = tx.execute(query.where(HostRow.id.in_({row.host_id for row in rows}))).all()
    hosts = {host.id: (host, hypervisor) for host, hypervisor in found}
    return tuple(_record(tx, row, *hosts[row.host_id], drivers) for row in rows)


def _record(tx: Session, row: SessionRow, host: HostRow, hypervisor: str, drivers: Drivers) -> MaintenanceRecord:
    rows = sessions.evacuees(tx, row.id)
    vms = _vms(tx, rows)
    urgent = sorted(rows, key=lambda one: (_ORDER.get(one.state, 4), one.position))
    evacuees = [_evacuee(tx, one, vms.get(one.vm_id), drivers, _hosts(tx)) for one in urgent]
    left = [vms[one.vm_id].memory_mib for one in rows if one.state in PENDING and one.vm_id in vms]
    is_open = row.open_host_id is not None
    master = next(iter(tx.scalars(select(HostRow.name).where(HostRow.cluster_id == host.cluster_id, HostRow.is_master)).all()), "")
    return MaintenanceRecord(
        id=row.id, host=host.name, host_ref=f"host:{host.id}", hypervisor=hypervisor, resource_state=host.resource_state,
        state_since=host.state_since, step=Step(row.step), reason=row.reason, ticket=row.ticket, owner=row.owner, started_at=row.started_at,
        planned_end=row.planned_end,
        closed_at=row.closed_at, allow_stop=row.allow_stop,
        is_overrun=is_open and row.planned_end is not None and row.planned_end < drivers.clock.now(),
        vms=tuple(evacuees), parallel=drivers.rules.moves_out, estimate_s=estimate(tx, left, host.cluster_id, drivers) if left and is_open else None,
        checklist=tuple(CheckItem(item["text"], bool(item["done"]), item.get("by", "")) for item in row.checklist),
        notes=tuple(Note(datetime.fromisoformat(note["time"]), note["user"], note["text"]) for note in row.notes),
        blockers=_blockers(host, evacuees) if is_open else (), announced_at=row.announced_at, announced_to=tuple(row.announced_to),
        operation_id=row.operation_id, own_mode=row.own_mode if hypervisor in ("vsphere", "xenserver") else "",
        master=master if hypervisor == "xenserver" else "",
    )


def _vms(tx: Session, rows: Sequence[EvacueeRow]) -> Mapping[str, VmRow]:
    return {vm.id: vm for vm in tx.scalars(select(VmRow).where(VmRow.id.in_([row.vm_id for row in rows])))}


def _hosts(tx: Session) -> Callable[[str | None], str]:
    return lambda host_id: (tx.scalar(select(HostRow.name).where(HostRow.id == host_id)) or "") if host_id else ""


def _evacuee(tx: Session, row: EvacueeRow, vm: VmRow | None, drivers: Drivers, name_of: Callable[[str | None], str]) -> Evacuee:
    move = _open_move(tx, row.vm_id) if MoveState.MOVING.value in (row.state, row.back.partition(":")[0]) else None
    return Evacuee(
        vm=row.name, vm_ref=f"vm:{row.vm_id}", kind=vm.kind if vm is not None else "", memory_mib=vm.memory_mib if vm is not None else 0,
        state=MoveState(row.state), phase=move.phase if move is not None else "", percent=move.percent if move is not None else 0,
        detail=move.detail if move is not None else "", attempt=row.attempt - row.granted, attempts=drivers.policy.attempts,
        destination=name_of(move.destination_id if move is not None else row.destination_id), error=row.error, hint=row.hint,
        next_try_at=row.next_try_at, elapsed_ms=row.elapsed_ms, downtime_ms=row.downtime_ms, back=row.back,
    )


def _open_move(tx: Session, vm_id: str) -> MoveRow | None:
    return tx.scalar(select(MoveRow).where(MoveRow.vm_id == vm_id, MoveRow.outcome == "").order_by(MoveRow.started_at.desc()).limit(1))


def _blockers(host: HostRow, evacuees: Sequence[Evacuee]) -> tuple[Blocker, ...]:
    """What keeps it from being ready, and what to do."""
    found = []
    if host.error and host.resource_state == ResourceState.ERROR_IN_MAINTENANCE.value:
        found.append(Blocker("wrong_state", host.name, host.error, "deal with what is left, then ask again (M), or cancel (C)"))
    for one in evacuees:
        if one.state in (MoveState.BLOCKED, MoveState.FAILED, MoveState.LOST):
            code = "capacity" if one.state is MoveState.BLOCKED else "partial"
            hint = one.hint or "try it again now (T), move it by hand (m), or stop it"
            found.append(Blocker(code, one.vm, f"{one.vm}: {one.error}", hint))
    return tuple(found)


def wanting_attention(tx: Session, now: datetime) -> tuple[tuple[HostRow, str, str], ...]:
    """Hosts that somebody should look at: (host, severity, words). In error, past their planned end, or out of service at all."""
    found = []
    query = select(HostRow, SessionRow).outerjoin(SessionRow, SessionRow.open_host_id == HostRow.id).order_by(HostRow.name)
    states = [state.value for state in ResourceState if state.is_maintenance]
    for host, session in tx.execute(query.where(HostRow.resource_state.in_(states) | (SessionRow.planned_end < now))):
        words = WORDS.get(host.resource_state, host.resource_state)
        if host.resource_state in _IN_ERROR:
            found.append((host, "failed", f"{words}: {host.error}" if host.error else words))
        elif session is not None and session.planned_end is not None and session.planned_end < now:
            found.append((host, "attention", f"{words}, past its planned end ({session.owner}: {session.reason})"))
        else:
            found.append((host, "maintenance", f"{words}, {session.owner}: {session.reason}" if session is not None else words))
    return tuple(found)
