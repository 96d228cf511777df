"""Maintenance of a whole cluster: hosts in groups that may be out together while each VM keeps a destination, one group after the other.

The idea is Ganeti's ``hroller``. A group is as many of the hosts, in order, as the others can hold the VMs of; unused hosts come first, pool
masters last. Each later group is planned from where the VMs then are, since nothing is moved back by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend import errors
from fleet_tui.backend.errors import ConfirmationRequired, FleetError, InvalidInput, NoCapacity, NotFound, Problem, WrongState
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow
from fleet_tui.backend.hosts.states import ResourceState
from fleet_tui.backend.machines.evacuation import plan_evacuation
from fleet_tui.backend.machines.world import World
from fleet_tui.backend.maintenance import (
    Blocker,
    CancelMaintenance,
    MaintainHost,
    MaintainRolling,
    RollingGroup,
    RollingPlan,
    sessions,
)
from fleet_tui.backend.maintenance.drivers import Drivers
from fleet_tui.backend.operations import OperationRecord, OperationState
from fleet_tui.backend.operations.catalogue import Lease, OperationCancelled, OperationKind, Prepared, Step, StepContext, planned
from fleet_tui.backend.text import clean

WORKS = ("wait", "none")
_PATIENCE_S = 90 * 24 * 3600.0
"""For a person who works on a host."""
_LOOK_S = 1.0
_READY = (ResourceState.ENABLED.value, ResourceState.DISABLED.value)


def find_cluster(tx: Session, target: str) -> ClusterRow:
    """By name or id.

    Raises:
        NotFound: there is none.
        InvalidInput: several pods have one of that name.
    """
    name = target.removeprefix("cluster:")
    rows = tx.scalars(select(ClusterRow).where((ClusterRow.id == name) | (ClusterRow.name == name))).all()
    if not rows:
        raise NotFound(f"there is no cluster {target!r}", hint="`fleet cluster list` shows the clusters there are")
    exact = [row for row in rows if row.id == name] or rows
    if len(exact) > 1:
        raise InvalidInput(
            f"several clusters are called {target!r}", hint=f"use an id: {', '.join(row.id for row in exact)}",
            problems=[Problem("cluster", "is not the name of one only")],
        )
    return exact[0]


def plan(tx: Session, cluster: ClusterRow, drivers: Drivers, group_size: int = 0) -> RollingPlan:
    """Groups, and the hosts that cannot be emptied as things stand."""
    world = World.load(tx, drivers.rules, drivers.clock.now(), cluster.id)
    hosts = tx.scalars(select(HostRow).where(HostRow.cluster_id == cluster.id).order_by(HostRow.name)).all()
    impossible, able = [], []
    for host in hosts:
        if (why := _why_not(world, host)) is None:
            able.append(host)
        elif host.resource_state != ResourceState.MAINTENANCE.value:
            impossible.append(why)
    names = {host.id: host.name for host in hosts}
    groups = []
    for masters in (False, True):
        waiting = sorted((host for host in able if host.is_master is masters), key=lambda host: (len(world.on(host.id)), host.name))
        left = [host.id for host in waiting]
        while left:
            size = _together(world, left, group_size)
            if not size:  # where the VMs are by then it cannot be emptied any more
                impossible.append(Blocker("capacity", names[left[0]], f"after the groups before it, {names[left[0]]} cannot be emptied",
                                          "add room, or take it on its own"))
                left = left[1:]
                continue
            group, left = left[:size], left[size:]
            vms = sum(len(world.on(host_id)) for host_id in group)
            plan_evacuation(world, *group, keep=True)
            groups.append(RollingGroup(tuple(names[host_id] for host_id in group), vms))
    return RollingPlan(cluster.name, tuple(groups), tuple(impossible))


def _why_not(world: World, host: HostRow) -> Blocker | None:
    if host.resource_state not in _READY:
        return Blocker("wrong_state", host.name, f"{host.name} is {host.resource_state}", "bring it to Enabled first")
    lacking = plan_evacuation(world, host.id).unplaced
    if lacking:
        first = f"{lacking[0].guest.name} has nowhere to go: {lacking[0].why}"
        more = f", nor have {len(lacking) - 1} others" if len(lacking) > 1 else ""
        return Blocker("capacity", host.name, f"{host.name} cannot be emptied: {first}{more}", "free room, or stop those VMs")
    return None


def _together(world: World, hosts: Sequence[str], limit: int) -> int:
    """How many of the first ones may be out together: found by doubling, then halving, so that large clusters need few plans."""
    most = min(len(hosts), limit) if limit else len(hosts)

    def fits(count: int) -> bool:
        return count <= most and not plan_evacuation(world, *hosts[:count]).unplaced

    if not fits(1):
        return 0
    good, bad = 1, 2
    while bad <= most and fits(bad):
        good, bad = bad, bad * 2
    bad = min(bad, most + 1)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return good


def operations(drivers: Drivers) -> tuple[OperationKind, ...]:
    def prepare(tx: Session, request: MaintainRolling, user: str) -> Prepared:
        problems = [*sessions.reason_problems(request.reason)]
        if request.work not in WORKS:
            problems.append(Problem("work", f"must be one of {', '.join(WORKS)}"))
        if request.group_size < 0:
            problems.append(Problem("group_size", "must not be negative"))
        cluster = find_cluster(tx, request.target)
        if problems:
            raise InvalidInput(f"rolling maintenance of {cluster.name} was not accepted", problems=problems)
        found = plan(tx, cluster, drivers, request.group_size)
        refusals: list[FleetError] = []
        if not found.groups:
            refusals.append(NoCapacity(f"no host of {cluster.name} can be emptied now", hint="; ".join(b.text for b in found.impossible[:5])))
        if not request.confirmed and not request.dry_run:
            hosts = sum(len(group.hosts) for group in found.groups)
            refusals.append(ConfirmationRequired(f"this takes {hosts} hosts out of service in turn", hint="confirm in the dialog, or give --yes"))
        return Prepared(
            target=cluster.name, target_ref=f"cluster:{cluster.id}",
            plan=planned(
                cluster.name, refusals=refusals,
                changes=[f"group {number}: {', '.join(group.hosts)} ({group.vms} VMs)" for number, group in enumerate(found.groups, 1)],
                consequences=[f"left out: {blocker.text}" for blocker in found.impossible],
            ),
            leases=(Lease("cluster", cluster.id, shared=True),),
            parameters={"reason": clean(request.reason.strip(), sessions.REASON_LIMIT), "group_size": request.group_size, "work": request.work},
        )

    return (OperationKind(
        kind="cluster.maintain", title="rolling maintenance", request=MaintainRolling, danger="disruptive", prepare=prepare,
        steps=(Step("plan", _plan_step), Step("roll", _roll)), undo_text="cancel it: the host at work is finished, no further one is begun",
    ),)


def _plan_step(ctx: StepContext) -> Mapping[str, Any]:
    """The groups, as they stand now: later steps keep to them."""
    drivers = ctx.use(Drivers)
    with ctx.read() as tx:
        found = plan(tx, find_cluster(tx, ctx.operation.target_ref), drivers, int(ctx.operation.parameters["group_size"]))
    for blocker in found.impossible:
        ctx.say(f"left out: {blocker.text}", "warn")
    if not found.groups:
        raise NoCapacity(f"no host of {found.cluster} can be emptied now", hint="free room first")
    return {"groups": [list(group.hosts) for group in found.groups]}


def _roll(ctx: StepContext) -> Mapping[str, Any]:
    """Group by group. Each host is an operation of its own, found again by its request id after a crash.

    Raises:
        FleetError: what the first host that failed ended with; no further one is begun.
    """
    groups: Sequence[Sequence[str]] = ctx.results["plan"]["groups"]
    done = 0
    total = sum(map(len, groups))
    try:
        for number, group in enumerate(groups, 1):
            for host in group:
                ctx.progress(f"host {done + 1}/{total} {host}, group {number}/{len(groups)}")
                _child(ctx, "host.maintain", host, MaintainHost(
                    target=host, reason=ctx.operation.parameters["reason"], confirmed=True, request_id=f"{ctx.operation.id}:{host}"
                ))
                done += 1
            for host in group:
                _come_back(ctx, host, f"{done}/{total} done, group {number}/{len(groups)}")
    except OperationCancelled:
        ctx.say("cancelled: no further host is begun; one that is at work goes on by itself", "warn")
        raise
    return {"hosts": done}


def _come_back(ctx: StepContext, host: str, words: str) -> None:
    if ctx.operation.parameters["work"] == "none":
        with ctx.read() as tx:
            if _state(tx, host) in _READY:  # a crash came between its return and our knowing
                return
        _child(ctx, "host.cancel-maintenance", host, CancelMaintenance(target=host, confirmed=True, request_id=f"{ctx.operation.id}:{host}:back"))
        return
    ctx.progress(f"{words}: waiting until the maintenance of {host} is cancelled")

    def is_back() -> bool:
        with ctx.read() as tx:
            state = _state(tx, host)
        return state not in {one.value for one in ResourceState if one.is_maintenance}

    ctx.wait(is_back, _PATIENCE_S, _LOOK_S)
    with ctx.read() as tx:
        state = _state(tx, host)
    if state not in _READY:
        raise WrongState(f"{host} did not come back: it is {state}", hint="look at it, then begin again", state=state, allowed=list(_READY))


def _child(ctx: StepContext, kind: str, host: str, request: MaintainHost | CancelMaintenance) -> None:
    """Submit it, or find it again, and see it to its end."""
    engine = ctx.use(Drivers).engine()
    submitted = engine.submit(kind, request, ctx.operation.user)
    assert submitted.operation is not None  # it is no dry run
    operation_id = submitted.operation.id

    def ended() -> OperationRecord | None:
        record = engine.show(operation_id)
        return record if record.state.is_final else None

    record = ctx.wait(ended, _PATIENCE_S, _LOOK_S)
    assert record is not None
    if record.state is OperationState.CANCELLED:
        raise WrongState(f"{record.title} {host} was cancelled, so nothing further is begun", hint="begin again when it is clear why",
                         state=record.state.value, allowed=[OperationState.SUCCEEDED.value])
    if record.state is OperationState.FAILED:
        error = record.error
        raise errors.from_json({
            "code": error.code if error else "internal", "message": f"{host}: {error.message if error else 'it failed'}",
            "hint": error.hint if error else "",
        })


def _state(tx: Session, host: str) -> str:
    return sessions.find_host(tx, host).resource_state
