"""Over-provisioning: what a change of a cluster's ratios would do, and the change itself (spec 9.1 to 9.3, CAP-3 to CAP-5)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import ConfirmationRequired, FleetError, InvalidInput, NotFound, Problem
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.hosts.hierarchy import find_cluster
from fleet_tui.backend.hosts.rows import ClusterRow, PodRow
from fleet_tui.backend.machines import PreviewRatio, RatioPreview, SetRatio
from fleet_tui.backend.machines.capacity import Rules, Size, hundredths
from fleet_tui.backend.machines.drivers import Machines
from fleet_tui.backend.machines.placement import Chooser, Wanted
from fleet_tui.backend.machines.queries import cluster_capacity
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.machines.states import ON_HOST
from fleet_tui.backend.machines.world import World
from fleet_tui.backend.operations import ErrorRecord
from fleet_tui.backend.operations.catalogue import Lease, OperationFacts, OperationKind, Prepared, Step, StepContext, planned

_RUNNING = [state.value for state in ON_HOST]


def preview(tx: Session, request: PreviewRatio, rules: Rules, now: datetime) -> RatioPreview:
    """What would be gained once VMs are restarted, and which could not be restarted any more (CAP-5)."""
    cluster = find_cluster(tx, request.cluster)
    ratios = wanted(cluster, request.cpu, request.ram, rules)
    old = tx.scalars(
        select(VmRow).where(VmRow.cluster_id == cluster.id, VmRow.state.in_(_RUNNING)).order_by(VmRow.name)
    ).all()
    others = [vm for vm in old if (vm.cpu_hundredths, vm.ram_hundredths) != ratios]
    rises = ratios[1] > cluster.ram_hundredths
    return RatioPreview(
        cluster=cluster.name, before=cluster_capacity(tx, cluster, rules, now), after=cluster_capacity(tx, cluster, rules, now, ratios),
        old_ratio_vms=tuple(vm.name for vm in others), room_after_restarts=cluster_capacity(tx, cluster, rules, now, ratios, restarted=True),
        not_restartable=_stranded(World.load(tx, rules, now, cluster.id, ratios=ratios), cluster.id, ratios),
        balloon_unknown=tuple(vm.name for vm in old if vm.has_balloon is None) if rises else (),
    )


def wanted(cluster: ClusterRow, cpu: float | None, ram: float | None, rules: Rules) -> tuple[int, int]:
    """Ratios in hundredths: ``None`` stays as it is, 0 inherits the global factor.

    Raises:
        InvalidInput: one is out of range, an inherited one included.
    """
    found = []
    for name, asked, now, factor in (("cpu", cpu, cluster.cpu_hundredths, rules.cpu_factor), ("ram", ram, cluster.ram_hundredths, rules.ram_factor)):
        ratio = now / 100 if asked is None else factor / 100 if asked == 0 else asked
        found.append(hundredths(name, ratio, cluster.hypervisor))
    return found[0], found[1]


def _stranded(world: World, cluster_id: str, ratios: tuple[int, int]) -> tuple[str, ...]:
    """Restart one VM after the other, largest first, on its own host or on another: those for which there is no room any more."""
    place = world.clusters.get(cluster_id)
    if place is None:
        return ()
    stranded = []
    running = [guest for guest in world.guests.values() if guest.takes_room and guest.host_id in world.seats]
    for guest in sorted(running, key=lambda guest: (-guest.size.memory_bytes, guest.name)):
        if (guest.size.cpu_ratio, guest.size.ram_ratio) == ratios:
            continue
        home = world.seats[guest.host_id or ""]
        before = place.weight(guest.size)
        home.give_back(*before, guest.tags)
        size = Size(guest.size.cores, guest.size.mhz, guest.size.memory_bytes)
        fitting = Chooser(world, Wanted(cluster_id, size, guest.name, guest.tags, guest.account or place.dedicated_account, vm_id=guest.id)).fitting()
        if not fitting:
            stranded.append(guest.name)
            home.take(*before, guest.tags)
            continue
        seat = home if home in fitting else max(fitting, key=lambda seat: seat.ram_free)
        seat.take(*place.weight(size), guest.tags)
    return tuple(sorted(stranded))


# --- the change --------------------------------------------------------------------------------------------------------


def _prepare(tx: Session, request: SetRatio, user: str) -> Prepared:
    cluster = find_cluster(tx, request.target)
    found: list[FleetError] = []
    if request.cpu is None and request.ram is None:
        raise InvalidInput("no ratio was given", problems=[Problem("cpu", "give it, or ram")])
    ratios = wanted(cluster, request.cpu or None, request.ram or None, Rules())  # what is inherited is known to the steps
    running = select(VmRow.name).where(VmRow.cluster_id == cluster.id, VmRow.state.in_(_RUNNING))
    others = tx.scalars(running.where((VmRow.cpu_hundredths != ratios[0]) | (VmRow.ram_hundredths != ratios[1])).order_by(VmRow.name)).all()
    if not request.confirmed and not request.dry_run:
        found.append(ConfirmationRequired(f"this changes the room of every host in {cluster.name}", hint="confirm in the dialog, or give --yes"))
    pod = tx.get(PodRow, cluster.pod_id)
    assert pod is not None
    asked = ", ".join(
        f"{name} {'inherited' if ratio == 0 else f'x {ratio:g}'}" for name, ratio in (("CPU", request.cpu), ("RAM", request.ram)) if ratio is not None
    )
    consequences = ["new VMs wait until its capacity is counted again"]
    if others:
        consequences.append(f"{len(others)} running VMs keep the share they had at their start: stop and start them to adopt")
    return Prepared(
        target=cluster.name, target_ref=f"cluster:{cluster.id}", leases=(Lease("zone", pod.zone_id, shared=True), Lease("cluster", cluster.id)),
        parameters={"cpu": request.cpu, "ram": request.ram},
        plan=planned(cluster.name, changes=(f"{cluster.name}: {asked}",), consequences=consequences, refusals=found),
    )


def _store(ctx: StepContext) -> Mapping[str, Any]:
    rules = ctx.use(Machines).rules
    with ctx.write() as tx:
        cluster = _cluster(tx, ctx.operation)
        cpu, ram = ctx.operation.parameters.get("cpu"), ctx.operation.parameters.get("ram")
        cluster.cpu_hundredths, cluster.ram_hundredths = wanted(cluster, cpu, ram, rules)
        cluster.ratio_is_own = bool(cpu or ram) or (cluster.ratio_is_own and not (cpu == 0 and ram == 0))
        append(tx, type="cluster.changed", ref=f"cluster:{cluster.id}", operation_id=ctx.operation.id)
        return {"cpu": cluster.cpu_hundredths / 100, "ram": cluster.ram_hundredths / 100}


def _recalculate(ctx: StepContext) -> Mapping[str, Any]:
    """There is no counter to correct, so this counts anew, says what came out, and names who still has the old ratio (CAP-4)."""
    drivers = ctx.use(Machines)
    with ctx.read() as tx:
        cluster = _cluster(tx, ctx.operation)
        found = cluster_capacity(tx, cluster, drivers.rules, drivers.clock.now())
        old = tx.scalars(
            select(VmRow.name).where(VmRow.cluster_id == cluster.id, VmRow.state.in_(_RUNNING)).order_by(VmRow.name).where(
                (VmRow.cpu_hundredths != cluster.cpu_hundredths) | (VmRow.ram_hundredths != cluster.ram_hundredths)
            )
        ).all()
    for what, part, unit, scale in (("CPU", found.cpu, "MHz", 1), ("RAM", found.ram, "MiB", 1024**2)):
        ctx.say(f"{what}: {part.capacity // scale:,} {unit}, {part.used // scale:,} used, {part.reserved // scale:,} reserved, "
                f"{part.free // scale:,} free")
    if old:
        ctx.say(f"stop and start to adopt: {', '.join(old[:20])}{f' and {len(old) - 20} more' if len(old) > 20 else ''}", "warn")
    return {"old_ratio_vms": len(old)}


def _began(tx: Session, op: OperationFacts) -> None:
    _mark(tx, op, op.id)


def _succeeded(tx: Session, op: OperationFacts, results: Mapping[str, Mapping[str, Any]]) -> None:
    _mark(tx, op, None)


def _failed(tx: Session, op: OperationFacts, error: ErrorRecord, step: str) -> None:
    _mark(tx, op, None)


def _cancelled(tx: Session, op: OperationFacts) -> None:
    _mark(tx, op, None)


def _mark(tx: Session, op: OperationFacts, by: str | None) -> None:
    cluster = tx.get(ClusterRow, op.target_ref.removeprefix("cluster:"))
    if cluster is not None:
        cluster.recalculated_by = by
        append(tx, type="cluster.changed", ref=f"cluster:{cluster.id}", operation_id=op.id)


def _cluster(tx: Session, op: OperationFacts) -> ClusterRow:
    cluster = tx.get(ClusterRow, op.target_ref.removeprefix("cluster:"))
    if cluster is None:
        raise NotFound("the cluster is gone", hint="nothing is left to do")
    return cluster


OPERATION = OperationKind(
    "cluster.ratio", "ratio", (Step("store", _store), Step("recalculate", _recalculate)), _prepare, _began, _succeeded, _failed, _cancelled,
    "disruptive", "set the ratio back", SetRatio,
)
