"""What maintenance of a host would do, without doing it: a destination for each VM, what could then still be lost, how long it would take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.hosts.rows import HostRow
from fleet_tui.backend.hosts.states import ResourceState
from fleet_tui.backend.machines.evacuation import Unplaced, plan_evacuation
from fleet_tui.backend.machines.rows import MoveRow, VmRow
from fleet_tui.backend.machines.states import VmState
from fleet_tui.backend.machines.world import World
from fleet_tui.backend.maintenance import Blocker, ForecastMove, ForecastRecord, treatment
from fleet_tui.backend.maintenance.drivers import Drivers, Policy
from fleet_tui.backend.maintenance.preconditions import Place, place_of, skips_evacuation, standing
from fleet_tui.backend.maintenance.sessions import order
from fleet_tui.backend.maintenance.treatment import Way

_MEASURED = 50
"""Moves of the cluster, the latest ones, that speed is taken from."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """A plan with what speaks against it."""

    place: Place
    refusals: tuple[Blocker, ...]
    warnings: tuple[Blocker, ...]
    moves: tuple[ForecastMove, ...]
    survives: bool
    parallel: int
    estimate_s: float
    stops: tuple[str, ...]
    """VMs that would be stopped."""

    def record(self) -> ForecastRecord:
        return ForecastRecord(
            host=self.place.host.name, refusals=self.refusals, warnings=self.warnings, moves=self.moves, survives=self.survives,
            parallel=self.parallel, estimate_s=self.estimate_s,
        )


def forecast(
    tx: Session, host: HostRow, drivers: Drivers, *, allow_stop: bool = False, explain: bool = False, others: Sequence[str] = (),
) -> Forecast:
    """Look ahead. ``others`` are ids of hosts that are to be out at the same time."""
    policy, place = drivers.policy, place_of(tx, host)
    refusals, warnings = list(standing(tx, place, policy)), list[Blocker]()
    if skips_evacuation(place, policy) or host.resource_state == ResourceState.DEGRADED.value:
        return Forecast(place, tuple(refusals), (), (), True, drivers.rules.moves_out, 0.0, ())
    vms = sorted(tx.scalars(select(VmRow).where(VmRow.host_id == host.id, VmRow.state != VmState.STOPPED.value)), key=order)
    world = World.load(tx, drivers.rules, drivers.clock.now(), host.cluster_id)
    plan = plan_evacuation(world, host.id, *others, explain=explain)
    going = {move.guest.id: move.destination for move in plan.moves}
    lacking = {one.guest.id: one for one in plan.unplaced}
    moves, stops = [], []
    for vm in vms:
        way = treatment.of(vm, place.cluster.hypervisor, policy.local_storage, allow_stop)
        if way.needs_destination and vm.id not in going:
            why = lacking[vm.id].why if vm.id in lacking else f"it is {vm.state}"
            way = treatment.without_destination(vm, allow_stop, why)
        moves.append(_move(vm, going.get(vm.id, "") if way.needs_destination else "", way, lacking.get(vm.id)))
        if way.way is Way.STOP:
            stops.append(vm.name)
        _weigh(vm, way, policy, refusals, warnings)
    if not plan.survives:
        warnings.append(Blocker(
            "capacity", place.cluster.name, "the rest of the cluster could then not lose one more host (N+1)",
            "add room, or keep the maintenance short",
        ))
    return Forecast(
        place, tuple(refusals), tuple(warnings), tuple(moves), plan.survives, drivers.rules.moves_out,
        estimate(tx, [vm.memory_mib for vm in vms], place.cluster.id, drivers), tuple(stops),
    )


def estimate(tx: Session, sizes_mib: Sequence[int], cluster_id: str, drivers: Drivers) -> float:
    """Seconds that moving VMs of those sizes takes, as many at once as leave a host at once, at the speed of the cluster's latest moves."""
    if not sizes_mib:
        return 0.0
    rate = speed(tx, cluster_id, drivers)
    lanes = [0.0] * drivers.rules.moves_out
    for size in sorted(sizes_mib, reverse=True):
        lanes.sort()
        lanes[0] += size / rate
    return max(lanes)


def speed(tx: Session, cluster_id: str, drivers: Drivers) -> float:
    """MiB of a VM's memory moved a second."""
    query = (
        select(VmRow.memory_mib, MoveRow.elapsed_ms).join(VmRow, MoveRow.vm_id == VmRow.id)
        .where(MoveRow.outcome == "moved", MoveRow.elapsed_ms > 0, VmRow.cluster_id == cluster_id).order_by(MoveRow.ended_at.desc())
    )
    found = tx.execute(query.limit(_MEASURED)).all()
    elapsed_ms = sum(ms or 0 for _, ms in found)
    return sum(mib for mib, _ in found) * 1000 / elapsed_ms if elapsed_ms else drivers.policy.mib_per_s


def _move(vm: VmRow, destination: str, way: treatment.Treatment, lacking: Unplaced | None) -> ForecastMove:
    why = way.why
    if way.way in (Way.STOP, Way.RECREATE, Way.RESTART):
        why = {Way.STOP: "is stopped", Way.RECREATE: "is destroyed and recreated elsewhere", Way.RESTART: "is stopped and restarted there"}[way.way]
        why = f"{why}: {way.why}" if way.why else why
    return ForecastMove(vm.name, vm.id, vm.memory_mib, destination, why, lacking.verdicts if lacking is not None else ())


def _weigh(vm: VmRow, way: treatment.Treatment, policy: Policy, refusals: list[Blocker], warnings: list[Blocker]) -> None:
    """Whether what is done with it speaks against the whole, or is only to be known."""
    if way.way is Way.BLOCK:
        if not (vm.has_local_disk and policy.local_storage == "error"):  # said already, of all of them together
            refusals.append(Blocker("capacity", vm.name, f"{vm.name} has nowhere to go: {way.why}", way.hint))
    elif way.way in (Way.STOP, Way.RECREATE, Way.RESTART):
        text = {Way.STOP: "will be stopped", Way.RECREATE: "will be destroyed and recreated elsewhere", Way.RESTART: "will be restarted elsewhere"}
        warnings.append(Blocker("capacity", vm.name, f"{vm.name} {text[way.way]}{f': {way.why}' if way.why else ''}", ""))
