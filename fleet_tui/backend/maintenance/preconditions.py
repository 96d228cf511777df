"""What must hold before a host goes into maintenance (spec 8.2): everything that does not is told together, never one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import BY_CODE, FleetError, InternalError
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow, PodRow, ZoneRow
from fleet_tui.backend.hosts.states import MOVES, ConnectionState, HostEvent, ResourceState
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.machines.states import ON_HOST, VmState
from fleet_tui.backend.maintenance import Blocker
from fleet_tui.backend.maintenance.drivers import Policy

_ASKABLE = sorted(state.value for state, event in MOVES if event is HostEvent.ASK_MAINTENANCE)
_BUSY = (VmState.STARTING.value, VmState.STOPPING.value, VmState.DESTROYING.value)
_BROKEN = (VmState.CRASHED.value, VmState.UNKNOWN.value, VmState.FAILED_TO_START.value)
_LIMITED = (ResourceState.PREPARE.value, ResourceState.ERROR_IN_PREPARE.value)


@dataclass(frozen=True, slots=True)
class Place:
    """A host with what it stands in."""

    host: HostRow
    cluster: ClusterRow
    zone: ZoneRow

    @property
    def is_dead(self) -> bool:
        return self.host.connection_state == ConnectionState.DOWN.value


def place_of(tx: Session, host: HostRow) -> Place:
    query = (
        select(ClusterRow, ZoneRow).join(PodRow, ClusterRow.pod_id == PodRow.id).join(ZoneRow, PodRow.zone_id == ZoneRow.id)
        .where(ClusterRow.id == host.cluster_id)
    )
    cluster, zone = tx.execute(query).one()
    return Place(host, cluster, zone)


def skips_evacuation(place: Place, policy: Policy) -> bool:
    """A host found dead goes straight to maintenance where that is allowed: nothing runs on it any more."""
    return place.is_dead and policy.allow_down


def standing(tx: Session, place: Place, policy: Policy) -> Sequence[Blocker]:
    """What speaks against maintenance in the states of the host, its cluster and its VMs. Where its VMs could go is the forecast's."""
    host = place.host
    vms = tx.scalars(select(VmRow).where(VmRow.host_id == host.id).order_by(VmRow.name)).all()
    found = [*state_refusals(host), *limit_refusals(tx, host, policy), *master_refusals(tx, place)]
    if skips_evacuation(place, policy):
        return found
    arriving = tx.scalars(select(VmRow.name).where(VmRow.destination_id == host.id, VmRow.host_id != host.id).order_by(VmRow.name)).all()
    if arriving:
        found.append(Blocker("busy", host.name, f"VMs are migrating to it: {_names(arriving)}", "wait until they have arrived"))
    if busy := [vm.name for vm in vms if vm.state in _BUSY]:
        found.append(Blocker("busy", host.name, f"VMs on it are being started, stopped or destroyed: {_names(busy)}", "wait for that to end"))
    if broken := [f"{vm.name} ({vm.state})" for vm in vms if vm.state in _BROKEN]:
        found.append(Blocker(
            "wrong_state", host.name, f"VMs on it are in error, or nobody can say how they are: {_names(broken)}",
            "start, stop or destroy them first",
        ))
    running = [vm for vm in vms if VmState(vm.state) in ON_HOST]
    if host.resource_state == ResourceState.DEGRADED.value and running:
        found.append(Blocker(
            "wrong_state", host.name, f"it is Degraded, and VMs are still counted on it: {_names([vm.name for vm in running])}",
            "have them restarted elsewhere first, or cancel degraded",
        ))
    local = [vm.name for vm in running if vm.has_local_disk]
    if local and policy.local_storage == "error":
        found.append(Blocker(
            "in_use", host.name, f"VMs on it have disks on its own storage: {_names(local)}",
            "move or stop them first; maintenance.local.storage.strategy can have their disks moved along",
        ))
    if running and place.zone.name in policy.zones_without_ha:
        found.append(Blocker(
            "wrong_state", host.name, f"VM high availability is off in zone {place.zone.name}, and {len(running)} VMs run here",
            "switch it on for the zone, or move the VMs by hand",
        ))
    if place.is_dead:
        found.append(Blocker(
            "wrong_state", host.name, "it was found dead, so nothing can be moved off it",
            "remove it by force, or set maintenance.allow.down to take it straight to maintenance",
        ))
    elif host.connection_state != ConnectionState.UP.value and host.resource_state != ResourceState.DEGRADED.value:
        link = f"{host.connection_state} ({host.reason})" if host.reason else host.connection_state
        found.append(Blocker("unreachable", host.name, f"its link is {link}, so nothing can be moved off it", "reconnect it first"))
    return found


def state_refusals(host: HostRow) -> Iterable[Blocker]:
    if (ResourceState(host.resource_state), HostEvent.ASK_MAINTENANCE) not in MOVES:
        yield Blocker("wrong_state", host.name, f"it is {host.resource_state}", f"maintenance begins in {', '.join(_ASKABLE)}")


def limit_refusals(tx: Session, host: HostRow, policy: Policy) -> Iterable[Blocker]:
    """So many hosts of a cluster may be in preparation at once (``maintenance.concurrent.per.cluster``)."""
    others = tx.scalars(
        select(HostRow.name).where(HostRow.cluster_id == host.cluster_id, HostRow.id != host.id, HostRow.resource_state.in_(_LIMITED))
        .order_by(HostRow.name)
    ).all()
    if len(others) >= policy.concurrent_per_cluster:
        yield Blocker(
            "busy", others[0], f"{_names(others)} of the same cluster {'is' if len(others) == 1 else 'are'} being prepared for maintenance",
            "wait until that is over, or cancel it",
        )


def master_refusals(tx: Session, place: Place) -> Iterable[Blocker]:
    """XenServer: a pool's master may not leave when no other host could take over (spec 8.6)."""
    if place.cluster.hypervisor != "xenserver" or not place.host.is_master:
        return
    others = tx.scalars(select(HostRow).where(HostRow.cluster_id == place.cluster.id, HostRow.id != place.host.id)).all()
    if not any(
        other.connection_state == ConnectionState.UP.value and not ResourceState(other.resource_state).is_maintenance for other in others
    ):
        text = "it is the pool's master, and no other host can be master"
        yield Blocker("wrong_state", place.host.name, text, "bring another host of the pool up first")


def lock_cluster(tx: Session, cluster_id: str) -> None:
    """From here to the end of the transaction nobody else decides about who of the cluster is in preparation."""
    tx.execute(select(ClusterRow.id).where(ClusterRow.id == cluster_id).with_for_update())


def error_of(host: HostRow, blockers: Sequence[Blocker]) -> FleetError:
    """All of them as one refusal. Its code is the first one's; ``details.blockers`` has each, and ``state`` and ``allowed`` for programs."""
    first = blockers[0]
    about = f"{host.name} cannot go into maintenance: "
    text = about + "; ".join(f"{_subject(blocker, host)}{blocker.text}" for blocker in blockers)
    hints = "; ".join(dict.fromkeys(blocker.hint for blocker in blockers if blocker.hint))
    details = [{"code": b.code, "subject": b.subject, "text": b.text, "hint": b.hint} for b in blockers]
    kind = BY_CODE.get(first.code, InternalError)
    return kind(text, hint=hints, state=host.resource_state, allowed=_ASKABLE, blockers=details)


def single_error(blocker: Blocker, host: HostRow) -> FleetError:
    """One of them, for a plan that lists each."""
    return BY_CODE.get(blocker.code, InternalError)(f"{blocker.subject}: {blocker.text}", hint=blocker.hint, state=host.resource_state)


def _subject(blocker: Blocker, host: HostRow) -> str:
    return "" if blocker.subject == host.name or blocker.text.startswith(blocker.subject) else f"{blocker.subject}: "


def _names(names: Sequence[str]) -> str:
    return f"{', '.join(names[:10])}{f' and {len(names) - 10} more' if len(names) > 10 else ''}"
