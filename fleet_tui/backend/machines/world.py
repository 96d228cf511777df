"""Clusters, hosts and VMs as placement sees them: read by a few queries, then asked and rearranged in memory.

Room is kept in whole numbers over each cluster's common denominator (see :mod:`capacity`), so that trying a VM on two thousand hosts is two
thousand additions and still exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from math import lcm
from typing import Any

from sqlalchemy import String, cast, or_, select
from sqlalchemy.orm import Session

from fleet_tui.backend.hosts.queries import why_not
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow, PodRow, ZoneRow
from fleet_tui.backend.hosts.states import ResourceState
from fleet_tui.backend.machines.capacity import MIB, Rules, Size, Taken, count, together
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.machines.states import ON_HOST, VmState
from fleet_tui.backend.networks.rows import NetworkRow, NicRow, PhysicalNetworkRow

UNWELL = frozenset({"marginal", "at-risk"})

_HOST = (
    HostRow.id, HostRow.name, HostRow.cluster_id, HostRow.resource_state, HostRow.connection_state, HostRow.reason, HostRow.health, HostRow.arch,
    HostRow.is_secured, HostRow.cores, HostRow.mhz, HostRow.memory_bytes, HostRow.disk_bytes, HostRow.disk_used_bytes,
)
_VM = (
    VmRow.id, VmRow.name, VmRow.kind, VmRow.cluster_id, VmRow.state, VmRow.host_id, VmRow.destination_id, VmRow.cores, VmRow.mhz,
    VmRow.memory_mib, VmRow.cpu_hundredths, VmRow.ram_hundredths, VmRow.account, VmRow.has_device, VmRow.has_local_disk,
)
_STATES = {state.value: state for state in VmState}


@dataclass(slots=True)
class Guest:
    """A VM."""

    id: str
    name: str
    kind: str
    cluster_id: str
    state: VmState
    host_id: str | None
    destination_id: str | None
    size: Size
    tags: frozenset[str]
    """Exclusion tags."""
    account: str
    has_device: bool
    has_local_disk: bool

    @property
    def takes_room(self) -> bool:
        return self.state in ON_HOST


@dataclass(slots=True)
class Seat:
    """A host. Amounts are in parts of its cluster's units."""

    id: str
    name: str
    cluster: Cluster
    closed: str
    """Why it takes nothing now (HST-1 and what else keeps every VM off); empty when it is open."""
    health: str
    arch: str
    is_secured: bool
    cores: int
    mhz: int
    cpu: int
    """Capacity, were it enabled."""
    ram: int
    disk_free: int
    counts: bool
    """Whether its capacity counts in totals: it is ``Enabled`` (CAP-2)."""
    nics: frozenset[str] = frozenset()
    """Its network cards; not read when no VM looked at is on a network."""
    cpu_taken: int = 0
    """Used and reserved."""
    ram_taken: int = 0
    tags: Counter[str] = field(default_factory=Counter)
    """Exclusion tags of the VMs on it."""
    largest: int = 0
    """RAM of its largest VM."""
    arriving: int = 0
    leaving: int = 0

    @property
    def cpu_free(self) -> int:
        return self.cpu - self.cpu_taken

    @property
    def ram_free(self) -> int:
        return self.ram - self.ram_taken

    def take(self, cpu: int, ram: int, tags: Iterable[str] = ()) -> None:
        self.cpu_taken += cpu
        self.ram_taken += ram
        self.largest = max(self.largest, ram)
        if tags:
            self.tags.update(tags)

    def give_back(self, cpu: int, ram: int, tags: Iterable[str] = ()) -> None:
        self.cpu_taken -= cpu
        self.ram_taken -= ram
        if tags:
            self.tags.subtract(tags)


@dataclass(slots=True)
class Cluster:
    id: str
    name: str
    hypervisor: str
    arch: str
    dedicated_account: str
    cpu_ratio: int
    ram_ratio: int
    cpu_unit: int = 1
    """One MHz in the parts that seats count."""
    ram_unit: int = 1
    seats: list[Seat] = field(default_factory=list)

    def weight(self, size: Size) -> tuple[int, int]:
        """What a VM of that size takes here, CPU and RAM, in parts."""
        cpu_ratio, ram_ratio = size.cpu_ratio or self.cpu_ratio, size.ram_ratio or self.ram_ratio
        return (
            size.cores * size.mhz * self.cpu_ratio * self.cpu_unit // cpu_ratio,
            size.memory_bytes * self.ram_ratio * self.ram_unit // ram_ratio,
        )


class World:
    """Everything placement looks at, of the whole fleet or of one cluster. Not for several threads."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.clusters: dict[str, Cluster] = {}
        self.seats: dict[str, Seat] = {}
        """By host id."""
        self.guests: dict[str, Guest] = {}
        self._on: dict[str, list[Guest]] = {}
        self._tags: dict[str, frozenset[str]] = {}
        self.labels: dict[str, frozenset[str]] = {}
        """By VM on networks: cards that a host must have for it."""

    @classmethod
    def load(
        cls, tx: Session, rules: Rules, now: datetime, cluster_id: str = "", *, only: str = "", without: str = "", guests: bool = True,
        ratios: tuple[int, int] | None = None, in_disabled_zone: bool = False, labels: frozenset[str] = frozenset(),
    ) -> World:
        """Read it.

        Args:
            cluster_id: only that cluster.
            only: and of it only that host.
            without: a VM whose own room is not counted: the one to be placed.
            guests: whether each VM is wanted, or only what they take together.
            ratios: as if the cluster's were these, in hundredths.
            in_disabled_zone: for a root-admin, to whom a disabled zone is open (HST-3).
            labels: network cards that a VM which is not made yet will need.
        """
        world = cls(rules)
        branches = select(ClusterRow, PodRow, ZoneRow).join(PodRow, ClusterRow.pod_id == PodRow.id).join(ZoneRow, PodRow.zone_id == ZoneRow.id)
        hosts = select(*_HOST).order_by(HostRow.name)
        if cluster_id:
            branches, hosts = branches.where(ClusterRow.id == cluster_id), hosts.where(HostRow.cluster_id == cluster_id)
        if only:
            hosts = hosts.where(HostRow.id == only)
        above = {cluster.id: (cluster, pod, zone) for cluster, pod, zone in tx.execute(branches)}
        rows: Sequence[Any] = tx.execute(hosts).all()  # columns by the names they have on HostRow
        world.labels = _labels(tx, cluster_id, "" if guests else without) | ({"": labels} if labels else {})
        nics = _cards(tx, [row.id for row in rows] if cluster_id else None) if world.labels else {}
        taken = count(tx, rules, now, [row.id for row in rows] if cluster_id else None, without)
        for host in rows:
            cluster, pod, zone = above[host.cluster_id]
            why = why_not(host, cluster, pod, zone, in_disabled_zone=in_disabled_zone)
            world._seat(host, cluster, why, ratios, nics.get(host.id, frozenset()))
        world._measure(taken, _ratios(tx, cluster_id))
        world._mark(tx, cluster_id, without)
        if guests:
            world._people(tx, cluster_id)
        return world

    def on(self, host_id: str) -> list[Guest]:
        """VMs that take room on a host, the moving ones at their source."""
        return list(self._on.get(host_id, ()))

    def move(self, guest: Guest, host_id: str) -> None:
        """As if it were there: for plans that go on from plans."""
        cpu, ram = self.clusters[guest.cluster_id].weight(guest.size)
        if guest.host_id is not None:
            self.seats[guest.host_id].give_back(cpu, ram, guest.tags)
            self._on[guest.host_id].remove(guest)
        self.seats[host_id].take(cpu, ram, guest.tags)
        self._on.setdefault(host_id, []).append(guest)
        guest.host_id = host_id

    @contextmanager
    def without(self, hosts: Collection[str], why: str) -> Iterator[None]:
        """While the block runs, these hosts are closed."""
        before = {host_id: self.seats[host_id].closed for host_id in hosts}
        for host_id in hosts:
            self.seats[host_id].closed = self.seats[host_id].closed or why
        try:
            yield
        finally:
            for host_id, was in before.items():
                self.seats[host_id].closed = was

    def _seat(self, host: Any, cluster: ClusterRow, why: str, ratios: tuple[int, int] | None, nics: frozenset[str]) -> None:
        place = self.clusters.get(cluster.id)
        if place is None:
            now = ratios or (cluster.cpu_hundredths, cluster.ram_hundredths)
            place = Cluster(cluster.id, cluster.name, cluster.hypervisor, cluster.arch, cluster.dedicated_account, *now)
            self.clusters[cluster.id] = place
        seat = self.seats[host.id] = Seat(
            id=host.id, name=host.name, cluster=place, closed=why, health=host.health, arch=host.arch, is_secured=host.is_secured, nics=nics,
            cores=host.cores, mhz=host.mhz, cpu=host.cores * host.mhz * place.cpu_ratio // 100, ram=host.memory_bytes * place.ram_ratio // 100,
            disk_free=host.disk_bytes - host.disk_used_bytes, counts=host.resource_state == ResourceState.ENABLED.value,
        )
        place.seats.append(seat)

    def _measure(self, taken: Mapping[str, Taken], ratios: Mapping[str, tuple[set[int], set[int]]]) -> None:
        for cluster in self.clusters.values():
            cpu_ratios, ram_ratios = ratios.get(cluster.id, (set(), set()))
            for found in (taken[seat.id] for seat in cluster.seats if seat.id in taken):
                cpu_ratios = cpu_ratios | found.used.cpu.keys() | found.reserved.cpu.keys()
                ram_ratios = ram_ratios | found.used.ram.keys() | found.reserved.ram.keys()
            cluster.cpu_unit, cluster.ram_unit = lcm(*cpu_ratios, cluster.cpu_ratio), lcm(*ram_ratios, cluster.ram_ratio)
        for seat in self.seats.values():
            cluster = seat.cluster
            seat.cpu *= cluster.cpu_unit
            seat.ram *= cluster.ram_unit
            if (here := taken.get(seat.id)) is not None:
                seat.cpu_taken = _parts(together(here.used.cpu, here.reserved.cpu), cluster.cpu_ratio, cluster.cpu_unit)
                seat.ram_taken = _parts(together(here.used.ram, here.reserved.ram), cluster.ram_ratio, cluster.ram_unit)
                seat.largest = max((_parts({r: size}, cluster.ram_ratio, cluster.ram_unit) for r, size in here.used.largest.items()), default=0)

    def _mark(self, tx: Session, cluster_id: str, without: str) -> None:
        """Exclusion tags and moves under way, of the few VMs that have them."""
        query = select(VmRow.id, VmRow.state, VmRow.host_id, VmRow.destination_id, VmRow.exclusion_tags)
        query = query.where(or_(cast(VmRow.exclusion_tags, String) != "[]", VmRow.destination_id.is_not(None)), VmRow.id != without)
        if cluster_id:
            query = query.where(VmRow.cluster_id == cluster_id)
        for vm_id, state, host_id, destination_id, tags in tx.execute(query):
            self._tags[vm_id] = frozenset(tags)
            here = self.seats.get(host_id or "") if VmState(state) in ON_HOST else None
            there = self.seats.get(destination_id or "")
            if here is not None:
                here.tags.update(tags)
            if there is not None and there is not here:
                there.tags.update(tags)
                there.arriving += 1
                if here is not None:
                    here.leaving += 1

    def _people(self, tx: Session, cluster_id: str) -> None:
        query = select(*_VM).where(VmRow.cluster_id == cluster_id) if cluster_id else select(*_VM)
        nothing: frozenset[str] = frozenset()
        sizes: dict[tuple[int, ...], Size] = {}  # there are few of them, and very many VMs
        for vm_id, name, kind, cluster, state, host_id, destination_id, cores, mhz, mib, cpu, ram, account, device, local in tx.execute(query):
            numbers = (cores, mhz, mib, cpu, ram)
            if (size := sizes.get(numbers)) is None:
                size = sizes[numbers] = Size(cores, mhz, mib * MIB, cpu, ram)
            tags = self._tags.get(vm_id, nothing)
            guest = Guest(vm_id, name, kind, cluster, _STATES[state], host_id, destination_id, size, tags, account, device, local)
            self.guests[vm_id] = guest
            if host_id is not None and guest.state in ON_HOST:
                self._on.setdefault(host_id, []).append(guest)


def _ratios(tx: Session, cluster_id: str) -> dict[str, tuple[set[int], set[int]]]:
    """Every ratio that some VM of a cluster was started with."""
    found: dict[str, tuple[set[int], set[int]]] = {}
    query = select(VmRow.cluster_id, VmRow.cpu_hundredths, VmRow.ram_hundredths).distinct()
    for cluster, cpu_ratio, ram_ratio in tx.execute(query.where(VmRow.cluster_id == cluster_id) if cluster_id else query):
        ratios = found.setdefault(cluster, (set(), set()))
        ratios[0].add(cpu_ratio)
        ratios[1].add(ram_ratio)
    return found


def _labels(tx: Session, cluster_id: str, vm_id: str) -> dict[str, frozenset[str]]:
    """By VM: network cards that a host must have for it, by their labels. VMs on no network are left out."""
    query = (
        select(NicRow.vm_id, ClusterRow.hypervisor, PhysicalNetworkRow.nic_labels).join(VmRow, NicRow.vm_id == VmRow.id)
        .join(ClusterRow, VmRow.cluster_id == ClusterRow.id).join(NetworkRow, NicRow.network_id == NetworkRow.id)
        .join(PhysicalNetworkRow, NetworkRow.physical_id == PhysicalNetworkRow.id)
    )  # fmt: skip
    if vm_id:
        query = query.where(NicRow.vm_id == vm_id)
    elif cluster_id:
        query = query.where(VmRow.cluster_id == cluster_id)
    found: dict[str, frozenset[str]] = {}
    for vm, hypervisor, known in tx.execute(query):
        found[vm] = found.get(vm, frozenset()) | {known.get(hypervisor, "")}
    return found


def _cards(tx: Session, host_ids: Sequence[str] | None) -> dict[str, frozenset[str]]:
    """Network cards of hosts, as they told; all hosts' when none are named."""
    query = select(HostRow.id, HostRow.facts)
    rows = tx.execute(query.where(HostRow.id.in_(host_ids)) if host_ids is not None else query)
    return {host_id: frozenset(str(nic) for nic in facts.get("nics", ())) for host_id, facts in rows}


def _parts(amounts: Mapping[int, int], ratio: int, unit: int) -> int:
    return sum(amount * (unit // began) for began, amount in amounts.items()) * ratio
