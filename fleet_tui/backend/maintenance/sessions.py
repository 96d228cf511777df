"""Maintenance sessions: opened or gone on with when a host's maintenance is asked for, edited meanwhile, closed by a person (spec 8.7)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import ConfirmationRequired, InvalidInput, NotFound, Problem, WrongState
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.hosts.rows import HostRow
from fleet_tui.backend.hosts.states import ResourceState
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.machines.states import VmState
from fleet_tui.backend.maintenance import CloseMaintenance, EditMaintenance, MoveState, Step
from fleet_tui.backend.maintenance.rows import EvacueeRow, SessionRow
from fleet_tui.backend.store import new_id
from fleet_tui.backend.text import clean

_GONE = frozenset({MoveState.STOPPED.value, MoveState.MOVED.value, MoveState.GONE.value, MoveState.LOST.value})
REASON_LIMIT, TICKET_LIMIT, NOTE_LIMIT, CHECKLIST_LIMIT = 500, 100, 1000, 40

CHECKLISTS: Mapping[str, Sequence[str]] = {
    "kvm": (
        "the work that this is for is done", "operating system and hypervisor have the wanted patches", "rebooted, if the work needs it",
        "its agent and libvirt answer", "its VLAN interfaces are as before",
    ),
    "lxc": (
        "the work that this is for is done", "operating system has the wanted patches", "rebooted, if the work needs it", "its agent answers",
        "its VLAN interfaces are as before",
    ),
    "xenserver": (
        "XenServer shows the host in its own maintenance mode", "another host is pool master", "hotfixes are applied",
        "rebooted, if the hotfixes need it", "all hosts of the pool have the same hotfixes",
    ),
    "vsphere": (
        "only now: enter maintenance mode in vCenter", "the work in vCenter is done", "leave maintenance mode in vCenter",
        "only then: cancel the maintenance here",
    ),
}
"""What a new session's checklist starts with, by hypervisor; a person may edit it."""


def open_of(tx: Session, host_id: str) -> SessionRow | None:
    """The host's open session."""
    return tx.scalar(select(SessionRow).where(SessionRow.open_host_id == host_id))


def find(tx: Session, target: str) -> tuple[SessionRow, HostRow]:
    """The newest session of a host (name or id), open ones first, or the one of that id.

    Raises:
        NotFound: there is none.
    """
    row = tx.get(SessionRow, target)
    if row is not None:
        return row, _host(tx, row)
    host = find_host(tx, target)
    query = select(SessionRow).where(SessionRow.host_id == host.id)
    row = tx.scalar(query.order_by(SessionRow.open_host_id.is_(None), SessionRow.started_at.desc(), SessionRow.id).limit(1))
    if row is None:
        raise NotFound(f"{host.name} was never in maintenance", hint=f"`fleet host maintain {host.name} --reason …` begins one")
    return row, host


def find_host(tx: Session, target: str) -> HostRow:
    """By name, id or ref.

    Raises:
        NotFound: there is none.
    """
    name = target.removeprefix("host:")
    row = tx.scalar(select(HostRow).where((HostRow.name == name) | (HostRow.id == name)))
    if row is None:
        raise NotFound(f"there is no host {target!r}", hint="`fleet host list` shows the hosts there are")
    return row


def begin(
    tx: Session, host: HostRow, hypervisor: str, *, step: Step, reason: str, ticket: str, owner: str, now: datetime, planned_end: datetime | None,
    allow_stop: bool = False, operation_id: str | None = None,
) -> SessionRow:
    """Open a session, or go on with the open one: what it remembers for migrating back is kept until it is closed."""
    row = open_of(tx, host.id)
    if row is None:
        row = SessionRow(
            id=new_id("m"), host_id=host.id, open_host_id=host.id, step=step.value, reason=reason, ticket=ticket, owner=owner, started_at=now,
            checklist=[{"text": text, "done": False, "by": ""} for text in CHECKLISTS.get(hypervisor, CHECKLISTS["kvm"])],
            notes=[], announced_to=[], version=0,
        )
        tx.add(row)
    elif row.step not in (Step.ANNOUNCE.value, Step.FORECAST.value):
        add_note(row, owner, f"asked for again: {reason}", now)
    if planned_end != row.planned_end:
        row.overrun_told = False
    row.reason, row.planned_end, row.allow_stop = reason, planned_end or row.planned_end, allow_stop
    row.ticket, row.step, row.operation_id = ticket or row.ticket, step.value, operation_id
    row.version += 1
    tx.flush()
    return row


def enlist(tx: Session, session: SessionRow) -> None:
    """Take down every VM that is on the host now, in the order in which they are moved; again for those that came back or were left."""
    known = {row.vm_id: row for row in evacuees(tx, session.id)}
    for row in known.values():
        row.attempt = row.granted = 0
    _enlist(tx, session, [vm for vm in on(tx, session.host_id) if vm.id not in known or known[vm.id].state != MoveState.MOVING.value], known)


def enlist_newcomers(tx: Session, session: SessionRow) -> None:
    """Take down VMs that came to be on the host since: nobody asked, or they were started again."""
    known = {row.vm_id: row for row in evacuees(tx, session.id)}
    _enlist(tx, session, [vm for vm in on(tx, session.host_id) if is_new(vm, known.get(vm.id))], known)


def is_new(vm: VmRow, row: EvacueeRow | None) -> bool:
    """Whether a VM on the host is not, or no longer rightly, on the list."""
    return row is None or (vm.state == VmState.RUNNING.value and row.state in _GONE)


def on(tx: Session, host_id: str) -> Sequence[VmRow]:
    """Every VM that is on a host, in whatever state."""
    return tx.scalars(select(VmRow).where(VmRow.host_id == host_id).execution_options(populate_existing=True)).all()


def _enlist(tx: Session, session: SessionRow, vms: Iterable[VmRow], known: Mapping[str, EvacueeRow]) -> None:
    start = max((row.position for row in known.values()), default=0)
    for position, vm in enumerate(sorted(vms, key=order), start + 1):
        row = known.get(vm.id)
        if row is None:
            tx.add(row := EvacueeRow(session_id=session.id, vm_id=vm.id, name=vm.name, attempt=0))
        row.position, row.granted, row.next_try_at, row.error, row.hint, row.back = position, row.attempt, None, "", "", ""
        row.destination_id = row.elapsed_ms = row.downtime_ms = None
        row.state = MoveState.WAITING.value
        if vm.state == VmState.STOPPED.value:
            stay(row, vm)
    tx.flush()


def stay(row: EvacueeRow, vm: VmRow) -> None:
    """It is stopped and stays; only its room here is no longer kept for it (spec 8.4)."""
    row.state, row.error, row.hint, row.next_try_at = MoveState.STOPPED.value, "", "", None
    vm.stopped_at = None


def order(vm: VmRow) -> tuple[int, int, str]:
    """Routers first, so that networks are settled before guests; other system VMs; then guests by memory, largest first (spec 8.4)."""
    rank = {"router": 0, "guest": 2}.get(vm.kind, 1)
    return rank, -vm.memory_mib, vm.name


def evacuees(tx: Session, session_id: str) -> Sequence[EvacueeRow]:
    return tx.scalars(select(EvacueeRow).where(EvacueeRow.session_id == session_id).order_by(EvacueeRow.position)).all()


def changed(
    tx: Session, session: SessionRow, text: str = "", level: str = "info", *, type: str = "maintenance.changed", operation_id: str | None = None,
    user: str | None = None,
) -> None:
    """Tell readers of the host's maintenance."""
    append(tx, type=type, ref=f"host:{session.host_id}", text=text, level=level, operation_id=operation_id, user=user)


def add_note(session: SessionRow, user: str, text: str, now: datetime) -> None:
    session.notes = [*session.notes, {"time": now.isoformat(timespec="milliseconds"), "user": user, "text": clean(text, NOTE_LIMIT)}]


def edit(tx: Session, request: EditMaintenance, user: str, now: datetime) -> SessionRow:
    """Change what a person may change of a session while it is open.

    Raises:
        WrongState: it is closed.
        InvalidInput: with every field that is wrong.
    """
    session, host = find(tx, request.target)
    _refuse_closed(session, host)
    problems = list(_problems(request, session, now))
    if problems:
        raise InvalidInput(f"the maintenance of {host.name} was not changed", problems=problems)
    if request.reason is not None:
        session.reason = clean(request.reason.strip(), REASON_LIMIT)
    if request.ticket is not None:
        session.ticket = clean(request.ticket.strip(), TICKET_LIMIT)
    if request.planned_end is not None:
        session.planned_end, session.overrun_told = request.planned_end, False
    if request.note.strip():
        add_note(session, user, request.note.strip(), now)
    if request.checklist is not None:
        done = {item["text"]: item for item in session.checklist}
        session.checklist = [done.get(text) or {"text": text, "done": False, "by": ""} for text in map(_item, request.checklist) if text]
    if request.check is not None:
        session.checklist = [
            {**item, "done": not item["done"], "by": "" if item["done"] else user} if index == request.check else item
            for index, item in enumerate(session.checklist)
        ]
    if request.step is not None:
        _step_on(session, host, request.step)
    session.version += 1
    changed(tx, session, user=user)
    return session


def close(tx: Session, request: CloseMaintenance, user: str, now: datetime) -> SessionRow:
    """End a session. The memory of where its VMs came from goes with it.

    Raises:
        WrongState: the host is in a maintenance state, or something is at work on it.
        ConfirmationRequired: VMs were not migrated back, and it was not confirmed.
    """
    session, host = find(tx, request.target)
    _refuse_closed(session, host)
    if ResourceState(host.resource_state).is_maintenance:
        raise WrongState(
            f"{host.name} is {host.resource_state}; its session stays open", hint="cancel its maintenance first", state=host.resource_state,
            allowed=[ResourceState.ENABLED.value, ResourceState.DISABLED.value, ResourceState.DEGRADED.value],
        )
    if session.operation_id is not None:
        raise WrongState(
            f"operation {session.operation_id} is at work on {host.name}", hint="wait for its end, or cancel it", state=session.step, allowed=[],
        )
    away = [row.name for row in evacuees(tx, session.id) if row.state == MoveState.MOVED.value and row.back != "back"]
    if away and not request.confirmed:
        raise ConfirmationRequired(
            f"{len(away)} VMs that came from {host.name} are elsewhere, and it will be forgotten that they did: {', '.join(away[:5])}"
            + (" …" if len(away) > 5 else ""),
            hint="migrate them back first, or confirm",
        )
    session.closed_at, session.open_host_id, session.step = now, None, Step.CLOSE.value
    session.version += 1
    changed(tx, session, f"maintenance of {host.name} closed by {user}", type="maintenance.closed", user=user)
    return session


def tell_overruns(tx: Session, now: datetime) -> Sequence[SessionRow]:
    """Raise the minor alert of every open session that is past its planned end, once each. Returns those it was raised for."""
    late = select(SessionRow).where(SessionRow.open_host_id.is_not(None), SessionRow.planned_end < now, SessionRow.overrun_told.is_(False))
    rows = tx.scalars(late.with_for_update()).all()
    for row in rows:
        host = _host(tx, row)
        row.overrun_told = True
        ended = row.planned_end.strftime("%d %b %H:%M UTC") if row.planned_end else ""
        changed(tx, row, f"maintenance of {host.name} was to end at {ended} and goes on ({row.owner}: {row.reason})", "warn",
                type="maintenance.overrun")
    return rows


def parse_end(text: str, now: datetime) -> datetime | None:
    """A planned end as a person or program wrote it.

    Raises:
        InvalidInput: it is no ISO 8601 time with a zone, or it is past.
    """
    if not text:
        return None
    try:
        end = datetime.fromisoformat(text)
    except ValueError:
        end = None
    problem = ""
    if end is None or end.tzinfo is None:
        problem = f"{text[:60]!r} is no ISO 8601 time with a zone, like 2031-05-17T04:30+00:00"
    elif end <= now:
        problem = "is in the past"
    if problem:
        raise InvalidInput(f"the planned end {problem}", problems=[Problem("until", problem)])
    return end


def reason_problems(reason: str, field: str = "reason") -> Iterable[Problem]:
    length = len(reason.strip())
    if not length:
        yield Problem(field, "is required")
    elif length > REASON_LIMIT:
        yield Problem(field, f"{length} characters; {REASON_LIMIT} are allowed")


def _problems(request: EditMaintenance, session: SessionRow, now: datetime) -> Iterable[Problem]:
    if request.reason is not None:
        yield from reason_problems(request.reason)
    if request.planned_end is not None and (request.planned_end.tzinfo is None or request.planned_end <= now):
        yield Problem("planned_end", "needs a zone" if request.planned_end.tzinfo is None else "is in the past")
    if request.checklist is not None and len(request.checklist) > CHECKLIST_LIMIT:
        yield Problem("checklist", f"{len(request.checklist)} items; {CHECKLIST_LIMIT} are allowed")
    if request.check is not None and not 0 <= request.check < len(session.checklist):
        yield Problem("check", f"there is no item {request.check}; the list has {len(session.checklist)}")
    if request.step is not None and request.step not in (Step.READY, Step.WORK, Step.VERIFY):
        yield Problem("step", "only ready, work and verify follow each other by hand; the others are operations")


def _step_on(session: SessionRow, host: HostRow, step: Step) -> None:
    if host.resource_state != ResourceState.MAINTENANCE.value:
        raise WrongState(
            f"{host.name} is {host.resource_state}; there is no work on it before it is ready", state=host.resource_state,
            allowed=[ResourceState.MAINTENANCE.value],
        )
    session.step = step.value


def _item(text: str) -> str:
    return clean(text.strip(), 200)


def _refuse_closed(session: SessionRow, host: HostRow) -> None:
    if session.closed_at is not None:
        raise WrongState(
            f"the maintenance session {session.id} of {host.name} is closed", hint="a new one begins when maintenance is asked for again",
            state="closed", allowed=["open"],
        )


def _host(tx: Session, row: SessionRow) -> HostRow:
    host = tx.get(HostRow, row.host_id)
    assert host is not None  # its session would have gone with it
    return host
