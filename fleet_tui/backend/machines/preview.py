"""Where a VM would go, asked without taking anything: the answer to ``placement.plan``, and what a dry run of a verb says of it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

from sqlalchemy.orm import Session

from fleet_tui.backend.errors import FleetError
from fleet_tui.backend.hosts.hierarchy import find_cluster, find_host
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow
from fleet_tui.backend.machines import CreateVm, MigrateVm, Placement, PlanPlacement, StartVm, cards, refusals, vms
from fleet_tui.backend.machines.capacity import MIB, Size, reserves
from fleet_tui.backend.machines.drivers import Machines
from fleet_tui.backend.machines.offerings import find_offering
from fleet_tui.backend.machines.placement import Choice, Wanted, choose, refusal
from fleet_tui.backend.machines.rows import OfferingRow
from fleet_tui.backend.machines.states import ON_HOST, VmState
from fleet_tui.backend.machines.world import World
from fleet_tui.backend.operations import Plan
from fleet_tui.backend.operations.catalogue import refusal_of

_NAMED = 20
"""Hosts that a plan gives the reason of."""
_BY_CHANCE = ("any", "random")


class Reads(Protocol):
    """A store, as far as it is only looked at."""

    def read(self) -> AbstractContextManager[Session]: ...


@dataclass(frozen=True, slots=True)
class _Seen:
    """What placement chose, and what it chose from."""

    wanted: Wanted
    choice: Choice
    host_id: str = ""
    """The only host that was asked for."""
    is_kept: bool = False
    """Its room on the host it ran on is kept for it, so that nothing was chosen."""
    more: int | None = None
    note: str = ""


def plan_placement(at: Reads, drivers: Machines, request: PlanPlacement, *, as_root: bool = False) -> Placement:
    """Where it would go now, and why nowhere else. ``as_root``: for a root-admin, who may deploy in a disabled zone (HST-3)."""
    seen = _look(at, drivers, request, as_root)
    return replace(seen.choice.placement, more=seen.more, note=seen.note)


def foretold(at: Reads, drivers: Machines, request: CreateVm | StartVm | MigrateVm, plan: Plan, *, as_root: bool = False) -> Plan:
    """The plan of a dry run with the host that would be taken; when there is none, refused, with what speaks against each."""
    try:
        seen = _look(at, drivers, _question(request), as_root)
    except FleetError as refused:  # a program of policy `command` that fails
        return replace(plan, refusals=(refusal_of(refused),))
    seat = seen.choice.seat
    if seat is None and seen.choice.placement.can_ever_fit and (room_s := getattr(request, "room_s", 0.0)):
        return replace(plan, consequences=(*plan.consequences, f"it fits nowhere now, and waits for room for up to {room_s:,.0f} s"),
                       against=tuple(_against(seen)))  # fmt: skip
    if seat is None:
        return replace(plan, refusals=(refusal_of(refusal(replace(seen.wanted, name=plan.target), seen.choice)),),
                       against=tuple(_against(seen)))  # fmt: skip
    if isinstance(request, MigrateVm):
        return replace(plan, changes=(f"{plan.target} moves to {seat.name}",))
    return replace(plan, changes=(*plan.changes, f"{plan.target} goes to {seat.name}, {_why(seen, request)}"))


def _why(seen: _Seen, request: CreateVm | StartVm) -> str:
    policy = seen.choice.placement.policy
    if request.host:
        return "as asked for"
    if seen.is_kept:
        return "where its room is kept"
    fit = sum(verdict.fits for verdict in seen.choice.placement.verdicts)
    return f"one of {fit} by chance" if policy.partition(":")[0] in _BY_CHANCE else f"by placement {policy}"


def _against(seen: _Seen) -> Iterable[str]:
    """Each host and why not it; of one that was asked for by name, only that."""
    pairs = zip(seen.choice.found, seen.choice.placement.verdicts, strict=True)
    verdicts = [verdict for (seat, _), verdict in pairs if seen.host_id in ("", seat.id)]
    yield from (f"{verdict.host}: {verdict.why}" for verdict in verdicts[:_NAMED])
    if len(verdicts) > _NAMED:
        yield f"and {len(verdicts) - _NAMED} hosts more"


def _question(request: CreateVm | StartVm | MigrateVm) -> PlanPlacement:
    if isinstance(request, CreateVm):
        return PlanPlacement(
            request.cluster, request.offering, policy=request.placement, host=request.host, exclusion_tags=request.exclusion_tags,
            account=request.account, networks=request.networks,
        )
    return PlanPlacement(vm=request.target, host=request.host, leaves=isinstance(request, MigrateVm))


def _look(at: Reads, drivers: Machines, request: PlanPlacement, as_root: bool) -> _Seen:
    """Read, then choose: a program that chooses is not waited for inside a transaction."""
    now, rules, kept, without, more = drivers.clock.now(), drivers.rules, "", "", None
    labels: frozenset[str] = frozenset()
    with at.read() as tx:
        host_id = find_host(tx, request.host).id if request.host else ""
        if request.vm:
            wanted, kept = _existing(tx, drivers, request)
            without = vms.find(tx, request.vm).id
        else:
            cluster, offering = find_cluster(tx, request.cluster), find_offering(tx, request.offering)
            size = Size(offering.cores, offering.mhz, offering.memory_mib * MIB)
            wanted = Wanted(cluster.id, size, offering.name, frozenset(request.exclusion_tags), request.account, is_new=True)
            more = still_fits(tx, cluster, offering, drivers, in_disabled_zone=as_root)
            labels = cards.labels(tx, cluster, request.networks)
        wanted = replace(wanted, in_disabled_zone=as_root and not wanted.leaves)
        note = "".join(refusals.on_trial(refusals.disabled_zone(tx, wanted.cluster_id))) if not wanted.leaves else ""
        world = World.load(
            tx, rules, now, wanted.cluster_id, without=without, guests=request.policy.startswith("adjacent:"),
            in_disabled_zone=wanted.in_disabled_zone, labels=labels,
        )
    choice = choose(world, wanted, request.policy, host_id=host_id, programs=drivers.programs)
    if kept and not host_id and request.policy == "balanced":
        home = next((seat for seat, why in choice.found if seat.id == kept and why is None), None)
        if home is not None:
            return _Seen(wanted, replace(choice, seat=home, placement=replace(choice.placement, host=home.name)), is_kept=True, more=more, note=note)
    return _Seen(wanted, choice, host_id, more=more, note=note)


def _existing(tx: Session, drivers: Machines, request: PlanPlacement) -> tuple[Wanted, str]:
    """What that VM looks for, and the id of the host that keeps its room."""
    vm = vms.find(tx, request.vm)
    if VmState(vm.state) in ON_HOST:
        source = tx.get(HostRow, vm.host_id) if vm.host_id is not None else None
        return vms.wanted_live(vm, source.is_secured if source is not None else None), ""
    if request.leaves:
        return vms.wanted_cold(vm), ""
    return vms.wanted_start(vm), (vm.last_host_id or "") if reserves(vm, drivers.rules, drivers.clock.now()) else ""


def still_fits(tx: Session, cluster: ClusterRow, offering: OfferingRow, drivers: Machines, *, in_disabled_zone: bool = False) -> int:
    """How many more VMs of an offering the cluster takes."""
    world = World.load(tx, drivers.rules, drivers.clock.now(), cluster.id, guests=False, in_disabled_zone=in_disabled_zone)
    if cluster.id not in world.clusters:
        return 0
    place = world.clusters[cluster.id]
    cpu, ram = place.weight(Size(offering.cores, offering.mhz, offering.memory_mib * MIB))
    return sum(
        max(0, min(seat.cpu_free // cpu, seat.ram_free // ram)) for seat in place.seats
        if not seat.closed and seat.cores >= offering.cores and seat.mhz >= offering.mhz
    )
