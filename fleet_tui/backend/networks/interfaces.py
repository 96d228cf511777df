"""Interfaces of guest networks on hosts: there before the first VM that needs them, gone after the last (spec 10.5).

That a VM needs one follows from its row, which is written under the lock of the host's row before the interface is asked for. Whoever
removes one looks under the same lock, and claims it with a lease in the same transaction: a VM that comes later waits until the claim is
gone, and makes it anew. No text here says an ID.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import FleetError, InUse, TimedOut, Unreachable, WrongState
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.hosts import transitions
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow, PodRow
from fleet_tui.backend.hypervisors import Nic
from fleet_tui.backend.networks import guest
from fleet_tui.backend.networks.discretion import discreet
from fleet_tui.backend.networks.drivers import Networks
from fleet_tui.backend.networks.rows import InterfaceRow, NetworkRow, PhysicalNetworkRow
from fleet_tui.backend.networks.states import DriftKind, Isolation
from fleet_tui.backend.networks.tenants import Segments
from fleet_tui.backend.networks.wires import Plug, Segment, Wiring
from fleet_tui.backend.operations import leases
from fleet_tui.backend.operations.catalogue import Lease, StepContext
from fleet_tui.backend.operations.rows import LeaseRow

KEEPS = frozenset({"vsphere"})
"""Hypervisors whose interfaces are on every host of a cluster and are never removed by themselves."""


class Transactions(Protocol):
    """A store, or a step's context."""

    def read(self) -> contextlib.AbstractContextManager[Session]: ...
    def write(self) -> contextlib.AbstractContextManager[Session]: ...


@dataclass(frozen=True, slots=True)
class Spot:
    """A network's place on one host."""

    network_id: str
    network: str
    physical_id: str
    host_id: str
    host: str
    cluster_id: str
    hypervisor: str
    segment: Segment


def label_of(physical: PhysicalNetworkRow, hypervisor: str) -> str:
    """The card that hosts of a kind have for it.

    Raises:
        WrongState: no label was given for that kind.
    """
    label = physical.nic_labels.get(hypervisor, "")
    if not label:
        raise WrongState(
            f"physical network {physical.name} has no network card label for {hypervisor}",
            hint=f"`fleet physnet edit {physical.name} --nic-label {hypervisor}=CARD`", state="no-label",
        )  # fmt: skip
    return label


def spot(tx: Session, network_id: str, host_id: str, number: int) -> Spot:
    """Where and how a host carries a network.

    Raises:
        WrongState: its hypervisor has no label for the card.
        NotFound: the host or the network is gone.
    """
    network = tx.get_one(NetworkRow, network_id)
    physical, host = tx.get_one(PhysicalNetworkRow, network.physical_id), tx.get_one(HostRow, host_id)
    cluster = tx.get_one(ClusterRow, host.cluster_id)
    return Spot(network.id, network.name, physical.id, host.id, host.name, cluster.id, cluster.hypervisor,
                segment_on(tx, physical, host, cluster.hypervisor, number))  # fmt: skip


def segment_on(tx: Session, physical: PhysicalNetworkRow, host: HostRow, hypervisor: str, number: int) -> Segment:
    isolation, label = Isolation(physical.isolation), label_of(physical, hypervisor)
    if isolation is not Isolation.VXLAN:
        return Segment(isolation, number, label)
    query = select(HostRow.address).join(ClusterRow).join(PodRow).where(PodRow.zone_id == physical.zone_id, HostRow.id != host.id)
    query = query.where(ClusterRow.hypervisor.in_(physical.nic_labels)).order_by(HostRow.address)
    return Segment(isolation, number, label, host.address, tuple(tx.scalars(query)))


def hosts_of(tx: Session, physical: PhysicalNetworkRow) -> Sequence[tuple[HostRow, ClusterRow]]:
    """Every host that is to carry its segments: of its zone, of a hypervisor that has a label."""
    query = select(HostRow, ClusterRow).join(ClusterRow, HostRow.cluster_id == ClusterRow.id).join(PodRow, ClusterRow.pod_id == PodRow.id)
    query = query.where(PodRow.zone_id == physical.zone_id, ClusterRow.hypervisor.in_(physical.nic_labels)).order_by(HostRow.name)
    return [(host, cluster) for host, cluster in tx.execute(query)]


def wiring(drivers: Networks) -> Wiring:
    """Raises WrongState where no host is touched."""
    if drivers.wiring is None:
        raise WrongState("this daemon drives no networks on hosts", hint="it was composed without them", state="no-networks")
    return drivers.wiring


# --- there ---------------------------------------------------------------------------------------------------------------


def connect(ctx: StepContext, drivers: Networks, network_id: str, host_id: str) -> Plug:
    """Bring a network up if it is not, and have its interface on a host: to be called before a VM starts there or moves there.

    On vSphere every host of the cluster gets one.

    Raises:
        NoCapacity: no ID is free for it.
        WrongState: the host lacks the card, or the means.
        Unreachable, TimedOut, InternalError: the host did not do it; nothing of it remains.
    """
    segments, fallback = drivers.segments or Coming(ctx, drivers, host_id), drivers.rules.dedicated_fallback
    number = guest.implement(ctx.write, network_id, drivers.clock, fallback=fallback, segments=segments)
    with ctx.read() as tx:
        here = spot(tx, network_id, host_id, number)
        peers = _cluster(tx, here) if here.hypervisor in KEEPS else []
        lacking = [other for other in peers if (row := tx.get(InterfaceRow, (other.host_id, here.physical_id, number))) is None or not row.present]
    for other in lacking:
        with contextlib.suppress(FleetError):  # one that does not answer is not needed by this VM; the next check finds what it lacks
            ensure(ctx, drivers, other)
    return ensure(ctx, drivers, here)


def ensure(ctx: StepContext, drivers: Networks, here: Spot, nics: Sequence[Nic] = ()) -> Plug:
    """Have it on that host. May be repeated."""
    with drivers.locks.of(here.network_id, here.host_id):
        if _is_claimed(ctx, here):
            ctx.wait(lambda: not _is_claimed(ctx, here), drivers.patience_s)
        with contextlib.closing(wiring(drivers).open(here.host_id)) as wires:
            plug = wires.ensure(here.segment, nics)
        with ctx.write() as tx:
            is_new = _record(tx, drivers, here, plug)
    if is_new and here.segment.isolation is Isolation.VXLAN:
        _introduce(ctx, drivers, here)
    return plug


def _record(tx: Session, drivers: Networks, here: Spot, plug: Plug) -> bool:
    """Whether it was not on record before."""
    transitions.lock(tx, here.host_id)  # another VM may bring it to the same host at this moment
    row = tx.get(InterfaceRow, (here.host_id, here.physical_id, here.segment.number))
    is_new = row is None or not row.present
    if row is None:
        row = InterfaceRow(host_id=here.host_id, physical_id=here.physical_id, number=here.segment.number)
        tx.add(row)
    row.technique, row.device, row.bridge = plug.technique.value, plug.device, plug.bridge
    row.present, row.problem, row.detail, row.seen_at = True, "", "", drivers.clock.now()
    if is_new:
        append(tx, type="network.changed", ref=f"network:{here.network_id}")
        append(tx, type="physnet.changed", ref=f"physnet:{here.physical_id}")
    return is_new


def _introduce(ctx: StepContext, drivers: Networks, here: Spot) -> None:
    """Tell the hosts that have the segment already of the one that is new: it may have come to the zone after theirs were made."""
    with ctx.read() as tx:
        query = select(InterfaceRow.host_id).where(
            InterfaceRow.physical_id == here.physical_id, InterfaceRow.number == here.segment.number, InterfaceRow.present,
            InterfaceRow.host_id != here.host_id, InterfaceRow.problem != DriftKind.EXTRA.value,
        )
        others = [spot(tx, here.network_id, host_id, here.segment.number) for host_id in tx.scalars(query)]
    for other in others:
        with contextlib.suppress(FleetError):  # it learns it from the next check
            ensure(ctx, drivers, other)


class Coming:
    """``Segments`` of an operation that brings a network up, for a VM that is to run on a host."""

    def __init__(self, ctx: StepContext, drivers: Networks, host_id: str) -> None:
        self._ctx, self._drivers, self._host_id = ctx, drivers, host_id

    def provide(self, network_id: str, number: int) -> None:
        """On vSphere all hosts of the cluster, or none."""
        with self._ctx.read() as tx:
            here = spot(tx, network_id, self._host_id, number)
            places = [here, *_cluster(tx, here)] if here.hypervisor in KEEPS else []
            there = {place.host_id for place in places if tx.get(InterfaceRow, (place.host_id, place.physical_id, number)) is not None}
        made: list[Spot] = []
        try:
            for place in places:
                if place.host_id not in there:
                    made.append(place)
                ensure(self._ctx, self._drivers, place)
        except FleetError:
            for place in made:
                with contextlib.suppress(FleetError):
                    _take_away(self._ctx, self._drivers, place)
            raise

    def withdraw(self, network_id: str, number: int) -> None:
        withdraw(self._ctx, self._drivers, network_id, number)


class Leaving:
    """``Segments`` of whoever shuts a network down."""

    def __init__(self, at: Transactions, drivers: Networks) -> None:
        self._at, self._drivers = at, drivers

    def provide(self, network_id: str, number: int) -> None:
        pass

    def withdraw(self, network_id: str, number: int) -> None:
        withdraw(self._at, self._drivers, network_id, number)


def leaving(at: Transactions, drivers: Networks) -> Segments | None:
    """What a shutdown asks of hosts."""
    return drivers.segments or (Leaving(at, drivers) if drivers.wiring is not None else None)


def _cluster(tx: Session, here: Spot) -> list[Spot]:
    """The same on the other hosts of the cluster, as far as they are connected."""
    query = select(HostRow.id).where(HostRow.cluster_id == here.cluster_id, HostRow.id != here.host_id, HostRow.connection_state == "up")
    return [spot(tx, here.network_id, host_id, here.segment.number) for host_id in tx.scalars(query.order_by(HostRow.name))]


# --- gone ----------------------------------------------------------------------------------------------------------------


def disconnect(ctx: StepContext, drivers: Networks, network_id: str, host_id: str, leaving: str = "") -> bool:
    """A VM needs the network on that host no more: if it was the last one, the interface goes. Whether it went.

    Args:
        leaving: id of a VM that does not count although its row still has it there.

    Raises:
        Unreachable, TimedOut, InternalError: the host did not do it; the next check finds it.
    """
    with drivers.locks.of(network_id, host_id):
        with ctx.write() as tx:
            leases.one_claimer(tx)  # before any row is locked, as whoever begins an operation does
            number = guest.vlan_of(tx, network_id)
            if number is None or tx.get(HostRow, host_id) is None:
                return False
            transitions.lock(tx, host_id)
            here = spot(tx, network_id, host_id, number)
            others = [card for card in drivers.tenants.on_hosts(tx, [network_id], host_id) if card.vm_id != leaving]
            if here.hypervisor in KEEPS or others or not _claim(tx, ctx, here):
                return False
        try:
            _take_away(ctx, drivers, here)
        except InUse:
            return False  # somebody plugged a guest in by hand; that is his
        finally:
            with ctx.write() as tx:
                _let_go(tx, ctx, here)
    return True


def withdraw(at: Transactions, drivers: Networks, network_id: str, number: int) -> None:
    """Its interface goes from every host, before the ID is another network's; where they are never removed by themselves it stays. On a host
    that does not answer it stays on record, to be removed once it does: no VM uses it.

    Raises:
        InternalError: a host did not do it.
        InUse: a guest's card is in one.
    """
    with at.read() as tx:
        network = tx.get_one(NetworkRow, network_id)
        query = select(InterfaceRow.host_id).where(InterfaceRow.physical_id == network.physical_id, InterfaceRow.number == number)
        places = [spot(tx, network_id, host_id, number) for host_id in tx.scalars(query)]
    for here in places:
        if here.hypervisor not in KEEPS:
            with drivers.locks.of(network_id, here.host_id), contextlib.suppress(Unreachable, TimedOut):
                _take_away(at, drivers, here)


def _take_away(at: Transactions, drivers: Networks, here: Spot) -> None:
    with contextlib.closing(wiring(drivers).open(here.host_id)) as wires:
        wires.remove(here.segment)
    with at.write() as tx:
        forget(tx, here.host_id, here.physical_id, here.segment.number)
        append(tx, type="network.changed", ref=f"network:{here.network_id}")
        append(tx, type="physnet.changed", ref=f"physnet:{here.physical_id}")


def forget(tx: Session, host_id: str, physical_id: str, number: int) -> None:
    key = (InterfaceRow.host_id == host_id, InterfaceRow.physical_id == physical_id, InterfaceRow.number == number)
    tx.execute(delete(InterfaceRow).where(*key))


# --- the claim -----------------------------------------------------------------------------------------------------------


def _lease(here: Spot) -> Lease:
    return Lease("guest-network", f"{here.network_id}@{here.host_id}")


def _claim(tx: Session, ctx: StepContext, here: Spot) -> bool:
    return not leases.acquire(tx, ctx.operation.id, [_lease(here)])


def _let_go(tx: Session, ctx: StepContext, here: Spot) -> None:
    lease = _lease(here)
    tx.execute(delete(LeaseRow).where(
        LeaseRow.level == lease.level, LeaseRow.name == lease.name, LeaseRow.operation_id == ctx.operation.id,
    ))  # fmt: skip


def _is_claimed(ctx: StepContext, here: Spot) -> bool:
    with ctx.read() as tx:
        return bool(leases.holders(tx, [_lease(here)], ctx.operation.id))


@contextlib.contextmanager
def discreetly(at: StepContext, network_ids: Sequence[str]) -> Iterator[None]:
    """What a hypervisor says of these networks' cards, an error names their bridges, is told without their IDs."""
    try:
        yield
    except FleetError as problem:
        with at.read() as tx:
            numbers = [guest.vlan_of(tx, network_id) for network_id in network_ids]
        raise discreet(problem, *numbers) from None
