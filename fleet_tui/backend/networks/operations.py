"""The verbs of networks that go out to hosts: drift found and repaired, unused interfaces swept (spec 10.5).

Everybody may read an operation's plan, steps and log, so none of them says an ID; the map does, to those who may see it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import ConfirmationRequired, FleetError, Partial
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.hosts.hierarchy import find_host
from fleet_tui.backend.networks import CheckDrift, RepairDrift, SweepVlans, allocation, drift, physical, restart
from fleet_tui.backend.networks.drift import Finding
from fleet_tui.backend.networks.drivers import Networks
from fleet_tui.backend.networks.interfaces import KEEPS
from fleet_tui.backend.networks.physical import EVERY
from fleet_tui.backend.networks.rows import InterfaceRow, PhysicalNetworkRow
from fleet_tui.backend.networks.states import DriftKind
from fleet_tui.backend.operations import OperationRequest
from fleet_tui.backend.operations.catalogue import Lease, OperationKind, Prepared, Step, StepContext, planned

_NAMED = 20
"""Findings named in a log; the rest is counted."""


# --- what is asked for -----------------------------------------------------------------------------------------------------


def _prepare_check(tx: Session, request: CheckDrift, user: str) -> Prepared:
    if request.target == EVERY:
        rows: Sequence[PhysicalNetworkRow] = tx.scalars(select(PhysicalNetworkRow).order_by(PhysicalNetworkRow.id)).all()
        name, ref = "every physical network", "site:local"
    else:
        row = physical.find(tx, request.target)
        rows, name, ref = [row], row.name, f"physnet:{row.id}"
    return Prepared(
        target=name, target_ref=ref, parameters={"physical": [row.id for row in rows]},
        leases=tuple(Lease("physical-network", row.id) for row in rows), plan=planned(name, changes=("the hosts are asked what they have",)),
    )


def _prepare_repair(tx: Session, request: RepairDrift, user: str) -> Prepared:
    row = physical.find(tx, request.target)
    host_id = find_host(tx, request.host).id if request.host else ""
    refused: list[FleetError] = []
    if not request.confirmed and not request.dry_run:
        raise ConfirmationRequired(f"this changes interfaces of hosts on {row.name}", hint="confirm in the dialog, or give --yes")
    query = select(InterfaceRow.problem).where(InterfaceRow.physical_id == row.id, InterfaceRow.problem != "")
    problems = list(tx.scalars(query.where(InterfaceRow.host_id == host_id) if host_id else query))
    amiss, extra = sum(problem != DriftKind.EXTRA.value for problem in problems), problems.count(DriftKind.EXTRA.value)
    changes = [f"{amiss} interfaces are made again or put right", "the hosts are asked first: what they say then counts"]
    consequences = [f"{extra} interfaces that nothing needs are removed, but never on vSphere"] if request.remove_extra else []
    return Prepared(
        target=row.name, target_ref=f"physnet:{row.id}", leases=(Lease("physical-network", row.id),),
        parameters={"physical": [row.id], "host": host_id, "remove_extra": request.remove_extra},
        plan=planned(row.name, changes=changes, consequences=consequences, refusals=refused),
    )


def _prepare_sweep(tx: Session, request: SweepVlans, user: str) -> Prepared:
    row = physical.find(tx, request.target)
    if not request.confirmed and not request.dry_run:
        raise ConfirmationRequired(f"this removes interfaces of hosts on {row.name}", hint="confirm in the dialog, or give --yes")
    changes = ("interfaces that no VM uses are removed where that never happens by itself (vSphere)",)
    return Prepared(
        target=row.name, target_ref=f"physnet:{row.id}", leases=(Lease("physical-network", row.id),), parameters={"physical": [row.id]},
        plan=planned(row.name, changes=changes),
    )


# --- steps -----------------------------------------------------------------------------------------------------------------


def _look(ctx: StepContext) -> Mapping[str, Any]:
    drivers, counts = ctx.use(Networks), {kind.value: 0 for kind in DriftKind}
    gone = 0
    for physical_id in ctx.operation.parameters["physical"]:
        ctx.check()
        with ctx.read() as tx:
            row = tx.get(PhysicalNetworkRow, physical_id)
        if row is None:
            continue
        findings = drift.settled(ctx, drivers, drift.check(ctx, drivers, physical_id))
        gone += drift.tidy(ctx, drivers, findings)
        for finding in findings:
            if finding.problem is not None:
                counts[finding.problem.value] += 1
        _tell(ctx, row.name, [finding for finding in findings if finding.problem is not None])
    if gone:
        ctx.say(f"{gone} interfaces whose last VM had ended by itself were removed")
    return {**counts, "tidied": gone}


def _tell(ctx: StepContext, name: str, problems: Sequence[Finding]) -> None:
    for finding in problems[:_NAMED]:
        ctx.say(f"{name}: {finding.words}", "warn")
    if len(problems) > _NAMED:
        ctx.say(f"{name}: and {len(problems) - _NAMED} more", "warn")
    if not problems:
        ctx.say(f"{name}: every host that answered has what it should")


def _mend(ctx: StepContext) -> Mapping[str, Any]:
    drivers, asked = ctx.use(Networks), ctx.operation.parameters
    (physical_id,) = asked["physical"]
    mended, removed, failed = 0, 0, list[str]()
    findings = drift.check(ctx, drivers, physical_id, str(asked["host"]))
    removed += drift.tidy(ctx, drivers, findings)
    for finding in findings:
        ctx.check()
        try:
            if finding.problem in (DriftKind.MISSING, DriftKind.WRONG_BRIDGE):
                drift.repair(ctx, drivers, finding)
                mended += 1
                ctx.say(f"{finding.network} on {finding.place.host} was put right")
            elif finding.problem is DriftKind.EXTRA and asked["remove_extra"] and finding.place.hypervisor not in KEEPS:
                if drift.remove(ctx, drivers, physical_id, finding):
                    removed += 1
                    ctx.say(f"what was not needed on {finding.place.host} was removed")
                else:
                    failed.append(f"{finding.place.host}: a guest's card is in what is not needed")
        except FleetError as problem:
            failed.append(f"{finding.place.host}: {problem.message}")
            ctx.say(failed[-1], "warn")
    drift.check(ctx, drivers, physical_id, str(asked["host"]))
    with ctx.write() as tx:
        freed = allocation.free_orphans(tx, physical.lock(tx, physical_id))
        if freed:
            append(tx, type="physnet.changed", ref=f"physnet:{physical_id}")
    if freed:
        ctx.say(f"{freed} IDs of networks that are gone were given back")
    if failed:
        raise Partial(f"{len(failed)} interfaces were not put right: {failed[0]}", hint="look at the host, then ask again")
    return {"mended": mended, "removed": removed, "freed": freed}


def _sweep(ctx: StepContext) -> Mapping[str, Any]:
    drivers = ctx.use(Networks)
    (physical_id,) = ctx.operation.parameters["physical"]
    drift.check(ctx, drivers, physical_id)
    with ctx.read() as tx:
        found = drift.unused(tx, drivers, physical_id)
    removed, failed = 0, list[str]()
    for finding in found:
        ctx.check()
        try:
            removed += drift.remove(ctx, drivers, physical_id, finding)
        except FleetError as problem:
            failed.append(f"{finding.place.host}: {problem.message}")
            ctx.say(failed[-1], "warn")
    ctx.say(f"{removed} interfaces that no VM used were removed")
    if failed:
        raise Partial(f"{len(failed)} interfaces were not removed: {failed[0]}", hint="look at the host, then ask again")
    return {"removed": removed}


def _kind(
    kind: str, step: Step, request: type[OperationRequest], prepare: Any, danger: str = "changes", undo_text: str = "",
) -> OperationKind:
    return OperationKind(kind=kind, title=kind.partition(".")[2], steps=(step,), prepare=prepare, danger=danger, undo_text=undo_text, request=request)


def operations(drivers: Networks) -> tuple[OperationKind, ...]:
    """Every kind this slice adds to the catalogue."""
    return (*OF_HOSTS, *restart.operations(drivers))


OF_HOSTS: tuple[OperationKind, ...] = (
    _kind("vlan.drift", Step("look", _look), CheckDrift, _prepare_check),
    _kind("vlan.repair", Step("repair", _mend), RepairDrift, _prepare_repair, "disruptive"),
    _kind("vlan.sweep", Step("sweep", _sweep), SweepVlans, _prepare_sweep, "disruptive"),
)