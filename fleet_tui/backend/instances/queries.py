"""Instances as records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, case, func, select
from sqlalchemy.orm import Session, defer

from fleet_tui.backend.errors import NotFound
from fleet_tui.backend.instances import AgentStatus, DataDisk, InstancePage, InstanceRecord, ListInstances, SnapshotRecord, growth
from fleet_tui.backend.instances.rows import InstanceRow, NetworkRow, SnapshotRow, TemplateRow
from fleet_tui.backend.instances.settings import find_row
from fleet_tui.backend.instances.states import Health, InstanceState
from fleet_tui.backend.operations.overview import active_by_target
from fleet_tui.backend.telemetry.rows import AgentRow, StreamRow

URGENCY = {
    "failed": 0, **{state.value: 1 for state in InstanceState if state.is_transitional}, "running": 3, "stopped": 4, "new": 5, "deprovisioned": 6,
}
"""The order of the dashboard: what failed, what moves, then the rest."""


def list_instances(tx: Session, request: ListInstances) -> InstancePage:
    """A page by label, or the most urgent few."""
    query = select(InstanceRow, TemplateRow.label, NetworkRow.label, NetworkRow.https_strategy)
    query = query.join(TemplateRow, InstanceRow.template_id == TemplateRow.id).join(NetworkRow, InstanceRow.network_id == NetworkRow.id)
    query = query.options(defer(InstanceRow.applied))
    total = select(func.count()).select_from(InstanceRow)
    conditions: list[ColumnElement[bool]] = []
    if request.refs:
        conditions.append(InstanceRow.id.in_([ref.removeprefix("instance:") for ref in request.refs]))
    if request.state:
        conditions.append(InstanceRow.state == request.state)
    if request.kind:
        conditions.append(InstanceRow.kind == request.kind)
    query, total = query.where(*conditions), total.where(*conditions)
    limit = max(1, min(request.limit, 1000))
    if request.urgent_first:
        unwell = case((InstanceRow.health.is_(None) | (InstanceRow.health == Health.OK.value), 3), else_=2)
        rank = case(URGENCY, value=InstanceRow.state, else_=3)
        query = query.order_by(case((rank < 2, rank), else_=case((unwell == 2, 2), else_=rank)), InstanceRow.label)
    else:
        order = func.lower(InstanceRow.label)  # as it is indexed, so that a page reads no more rows than it gives
        if request.after:
            query = query.where(order > func.lower(request.after))
        query = query.order_by(order)
    rows = tx.execute(query.limit(limit)).all()
    records = _records(tx, rows)
    more = len(rows) == limit and not request.urgent_first
    return InstancePage(records, records[-1].label if more and records else "", tx.scalar(total) or 0)


def describe(tx: Session, target: str) -> InstanceRecord:
    """One instance, with the phases of its last start-up."""
    row = find_row(tx, target)
    template = tx.scalar(select(TemplateRow.label).where(TemplateRow.id == row.template_id)) or "?"
    network, strategy = tx.execute(select(NetworkRow.label, NetworkRow.https_strategy).where(NetworkRow.id == row.network_id)).one()
    return _records(tx, [(row, template, network, strategy)], phases=True)[0]


def list_snapshots(tx: Session, target: str) -> tuple[SnapshotRecord, ...]:
    """Newest first. Those that a deleted instance left are found by the label it had last, or its id.

    Raises:
        NotFound: there is no such instance, and none of that name left any.
    """
    query = select(SnapshotRow).order_by(SnapshotRow.created_at.desc())
    try:
        found = tx.scalars(query.where(SnapshotRow.instance_id == find_row(tx, target).id)).all()
    except NotFound:
        named = (func.lower(SnapshotRow.instance_label) == target.lower()) | (SnapshotRow.instance_id == target.removeprefix("instance:"))
        found = tx.scalars(query.where(named, SnapshotRow.instance_id.not_in(select(InstanceRow.id)))).all()
        if not found:
            raise
    return tuple(SnapshotRecord(s.id, s.instance_label, s.reason, s.automatic, s.size_bytes, s.created_at) for s in found)


def stream_of(tx: Session, target: str) -> str:
    """The stream of what a person calls by label, id or ref. A deleted instance's log is found by the label it had last.

    Raises:
        NotFound: nothing of that name ever had a log.
    """
    if ":" in target:
        return target
    try:
        return f"instance:{find_row(tx, target).id}"
    except NotFound:
        kept = tx.scalar(select(StreamRow.ref).where(StreamRow.label == target).limit(1))
        if kept is None:
            raise
        return kept


def count(tx: Session, column: Any) -> dict[str, int]:
    """Instances by a column's value."""
    return dict(tx.execute(select(column, func.count()).group_by(column)).all())


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all instances."""

    states: Mapping[str, int]
    kinds: Mapping[str, int]
    disk_used_bytes: int
    disk_size_bytes: int
    """Of data disks that exist."""
    flagged: int


def totals(tx: Session, flag: ColumnElement[bool]) -> Totals:
    """Counts by state, by kind and of those that ``flag`` holds for. One pass: a row is large, so reading them all is what costs."""
    used, size = InstanceRow.disk_used_bytes, InstanceRow.settings["data_disk.size_gb"].as_integer()
    sums = (func.sum(case((InstanceRow.disk_made, amount), else_=0)) for amount in (used, size))
    query = select(InstanceRow.state, InstanceRow.kind, func.count(), *sums, func.sum(case((flag, 1), else_=0)))
    groups = tx.execute(query.group_by(InstanceRow.state, InstanceRow.kind)).all()
    states: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for state, kind, count, *_ in groups:
        states[state] += count
        kinds[kind] += count
    return Totals(
        states, kinds, sum(int(group[3] or 0) for group in groups), sum(int(group[4] or 0) for group in groups) * 1024**3,
        sum(int(group[5] or 0) for group in groups),
    )


def _records(tx: Session, rows: Sequence[Any], phases: bool = False) -> tuple[InstanceRecord, ...]:
    machines = [row.machine for row, *_ in rows if row.machine]
    told = select(AgentRow.machine, AgentRow.last_seen, AgentRow.phases, AgentRow.version, AgentRow.pid)
    agents = {a.machine: a for part in _parts(machines) for a in tx.execute(told.where(AgentRow.machine.in_(part)))}
    active = active_by_target(tx, [f"instance:{row.id}" for row, *_ in rows])
    return tuple(
        _record(row, template, network, strategy, agents.get(row.machine or ""), active.get(f"instance:{row.id}"), phases)
        for row, template, network, strategy in rows
    )


def _parts(names: Sequence[str], size: int = 400) -> Iterable[Sequence[str]]:
    return (names[n:n + size] for n in range(0, len(names), size))


def _record(
    row: InstanceRow, template: str, network: str, strategy: str, agent: Row[Any] | None, active: tuple[str, str] | None, phases: bool
) -> InstanceRecord:
    settings: Mapping[str, Any] = row.settings
    return InstanceRecord(
        id=row.id, label=row.label, kind=row.kind, state=InstanceState(row.state), failed_stage=row.failed_stage,
        failure=row.failure, health=Health(row.health) if row.health else None, health_detail=row.health_detail,
        url=row.url if row.machine else None, private_ip=row.private_ip, public_ip=row.public_ip, host_name=row.host_name, host=row.host,
        data_disk=DataDisk(
            settings["data_disk.size_gb"], settings["data_disk.size_max_gb"], row.disk_used_bytes, row.disk_path,
            *(growth.grown(row.disk_days or [], row.disk_used_bytes) or (None, 0)),
        ),
        pending_changes=tuple(row.pending), template=template, network=network, https_strategy=strategy, image=row.image,
        machine=row.machine, certificate_not_after=row.certificate_not_after, certificate_fingerprint=row.certificate_fingerprint,
        agent=_agent(agent, phases), operation_id=active[0] if active else None, operation=active[1] if active else "",
        fleet_tags=tuple(settings.get("fleet_tags", ())), version=row.version, created_at=row.created_at, updated_at=row.updated_at,
    )


def _agent(row: Row[Any] | None, phases: bool) -> AgentStatus:
    if row is None:
        return AgentStatus()
    told = row.phases or []
    now = next((p["name"] for p in told if p["state"] in ("running", "failed")), told[-1]["name"] if told else None)
    listed = tuple((p["name"], p["state"], _seconds(p)) for p in told) if phases else ()
    return AgentStatus(last_seen=row.last_seen, phase=now, phases=listed, version=row.version, pid=row.pid)


def _seconds(phase: Mapping[str, Any]) -> float | None:
    started, ended = phase.get("started"), phase.get("ended")
    return None if started is None or ended is None else round(ended - started, 3)
