"""VMs' network cards: made with the VM, plugged in where it is about to run, and their networks' interfaces let go where it ran."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import FleetError, InvalidInput, NotFound, Problem, WrongState
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow, PodRow
from fleet_tui.backend.hypervisors import Nic
from fleet_tui.backend.machines import vms
from fleet_tui.backend.machines.drivers import Machines
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.machines.states import ON_HOST, VmState
from fleet_tui.backend.networks import guest, interfaces
from fleet_tui.backend.networks.drivers import Networks
from fleet_tui.backend.networks.interfaces import KEEPS
from fleet_tui.backend.networks.rows import NetworkRow, NicRow, PhysicalNetworkRow
from fleet_tui.backend.networks.states import NetworkState, OwnerKind
from fleet_tui.backend.networks.tenants import Card
from fleet_tui.backend.operations.catalogue import StepContext

_MOST = 8
"""Cards of one VM."""
_ON_HOST = tuple(state.value for state in ON_HOST)
_SETTLED = (VmState.RUNNING.value, VmState.DEBUGGING.value)
_PASSING = (VmState.STARTING.value, VmState.STOPPING.value, VmState.DESTROYING.value)
"""States in which a VM that leaves its host counts no more as one that is on it."""


def make(tx: Session, vm: VmRow, cluster: ClusterRow, names: Sequence[str]) -> list[str]:
    """Cards of a new VM, one for each network in that order. The networks' names.

    Raises:
        InvalidInput: a network is not there, not for this VM, or named twice.
    """
    made: list[str] = []
    for device, name in enumerate(names):
        network, problem = _network(tx, vm, cluster, name)
        if network is None or problem or network.name in made or len(names) > _MOST:
            why = problem or (f"at most {_MOST} networks" if len(names) > _MOST else f"{name} is named twice")
            raise InvalidInput(f"VM {vm.name} cannot be on network {name}: {why}", problems=[Problem("networks", why)])
        tx.add(NicRow(id=str(uuid.uuid4()), vm_id=vm.id, network_id=network.id, mac=_address(tx), device=device))
        tx.flush()
        made.append(network.name)
    return made


def labels(tx: Session, cluster: ClusterRow, names: Sequence[str]) -> frozenset[str]:
    """Network cards that hosts of the cluster must have for a VM on those networks.

    Raises:
        NotFound: there is no such network.
    """
    physical = [tx.get_one(PhysicalNetworkRow, guest.find(tx, name).physical_id) for name in names]
    return frozenset(one.nic_labels[cluster.hypervisor] for one in physical if cluster.hypervisor in one.nic_labels)


def _network(tx: Session, vm: VmRow, cluster: ClusterRow, name: str) -> tuple[NetworkRow | None, str]:
    try:
        network = guest.find(tx, name)
    except NotFound as absent:
        return None, absent.message
    physical, pod = tx.get_one(PhysicalNetworkRow, network.physical_id), tx.get_one(PodRow, cluster.pod_id)
    if network.state == NetworkState.DESTROY.value:
        return None, f"{network.name} is being deleted"
    if physical.zone_id != pod.zone_id:
        return None, f"{network.name} is of another zone than cluster {cluster.name}"
    if cluster.hypervisor not in physical.nic_labels:
        return None, f"physical network {physical.name} has no network card label for {cluster.hypervisor}"
    if network.owner_kind == OwnerKind.ACCOUNT.value and vm.account and network.owner != vm.account:
        return None, f"{network.name} is of another account"
    return network, ""


def _address(tx: Session) -> str:
    """One that no other card has; locally administered (IEEE 802, second bit of the first byte)."""
    while True:
        mac = ":".join(f"{byte:02x}" for byte in b"\x02" + secrets.token_bytes(5))
        if tx.scalar(select(NicRow.id).where(NicRow.mac == mac)) is None:
            return mac


def of(tx: Session, vm_id: str) -> Sequence[tuple[NicRow, str]]:
    """A VM's cards, the first first, each with its network's name."""
    query = select(NicRow, NetworkRow.name).join(NetworkRow, NicRow.network_id == NetworkRow.id).where(NicRow.vm_id == vm_id.removeprefix("vm:"))
    return [(card, name) for card, name in tx.execute(query.order_by(NicRow.device))]


def plug_in(ctx: StepContext, drivers: Machines, vm_id: str, host_id: str) -> tuple[Nic, ...]:
    """Have the VM's networks on a host before it starts there or moves there, and say how its cards are plugged in.

    Raises:
        NoCapacity, WrongState, Unreachable, TimedOut, InternalError: as :func:`interfaces.connect`. What had been made is for
            :func:`leave` to take back.
    """
    with ctx.read() as tx:
        cards = of(tx, vm_id)
    nics = []
    for card, name in cards:
        plug = interfaces.connect(ctx, _networks(drivers), card.network_id, host_id)
        nics.append(plug.nic(card.mac, card.id))
        ctx.say(f"its host has network {name}")
    return tuple(nics)


def leave(ctx: StepContext, drivers: Machines, vm_id: str, host_id: str | None) -> None:
    """The VM needs its networks on that host no more; where it was the last one, their interfaces go. What cannot be done now is a warning,
    and found by the next check of the networks."""
    if host_id is None:
        return
    with ctx.read() as tx:
        cards = of(tx, vm_id)
    if not cards:
        return
    with ctx.write() as tx:
        vm = vms.locked(tx, vm_id)
        if vm.host_id == host_id and vm.state == VmState.STOPPING.value:  # two that leave at once must not count each other
            vms.settle_at(vm, VmState.STOPPED, drivers.clock.now(), host_id=host_id)
        is_passing = vm.state in _PASSING
    for card, name in cards:
        try:
            gone = interfaces.disconnect(ctx, _networks(drivers), card.network_id, host_id, leaving=card.vm_id if is_passing else "")
        except FleetError as problem:
            ctx.say(f"the interface of network {name} could not be removed: {problem.message}", "warn")
        else:
            if gone:
                ctx.say(f"it was the last on network {name} there, whose interface was removed")


@contextmanager
def discreetly(ctx: StepContext, vm_id: str) -> Iterator[None]:
    """Errors of a hypervisor name bridges, and so the IDs of the VM's networks: they are masked."""
    with ctx.read() as tx:
        networks = [card.network_id for card, _ in of(tx, vm_id)]
    with interfaces.discreetly(ctx, networks):
        yield


class NetworkTenants:
    """Implements ``Tenants``: VMs, as the slice of networks asks for them."""

    def running(self, tx: Session, network_ids: Collection[str]) -> Mapping[str, int]:
        query = (
            select(NicRow.network_id, func.count(VmRow.id.distinct())).join(VmRow, NicRow.vm_id == VmRow.id)
            .where(NicRow.network_id.in_(network_ids), VmRow.state.in_(_ON_HOST)).group_by(NicRow.network_id)
        )
        return dict(tx.execute(query).all())

    def hosts(self, tx: Session, network_ids: Collection[str]) -> Mapping[str, Collection[str]]:
        query = (
            select(NicRow.network_id, VmRow.host_id, VmRow.destination_id, VmRow.cluster_id, ClusterRow.hypervisor)
            .join(VmRow, NicRow.vm_id == VmRow.id).join(ClusterRow, VmRow.cluster_id == ClusterRow.id)
            .where(NicRow.network_id.in_(network_ids), VmRow.state.in_(_ON_HOST)).distinct()
        )
        found: dict[str, set[str]] = {}
        clusters: dict[str, set[str]] = {}
        for network_id, host_id, destination_id, cluster_id, hypervisor in tx.execute(query):
            found.setdefault(network_id, set()).update(filter(None, (host_id, destination_id)))
            if hypervisor in KEEPS:
                clusters.setdefault(cluster_id, set()).add(network_id)
        for host_id, cluster_id in tx.execute(select(HostRow.id, HostRow.cluster_id).where(HostRow.cluster_id.in_(clusters))):
            for network_id in clusters[cluster_id]:
                found[network_id].add(host_id)
        return found

    def names(self, tx: Session, network_id: str) -> Sequence[str]:
        query = select(VmRow.name).join(NicRow, NicRow.vm_id == VmRow.id).where(NicRow.network_id == network_id).distinct()
        return list(tx.scalars(query.order_by(VmRow.name)))

    def on_hosts(self, tx: Session, network_ids: Collection[str] = (), host_id: str = "") -> Sequence[Card]:
        query = select(NicRow, VmRow).join(VmRow, NicRow.vm_id == VmRow.id).where(VmRow.state.in_(_ON_HOST))
        if network_ids:
            query = query.where(NicRow.network_id.in_(network_ids))
        if host_id:
            query = query.where(or_(VmRow.host_id == host_id, VmRow.destination_id == host_id))
        found = []
        for nic, vm in tx.execute(query):
            for place in {vm.host_id, vm.destination_id}:
                if place is not None and host_id in ("", place):
                    runs = vm.state in _SETTLED and vm.destination_id is None
                    found.append(Card(nic.network_id, place, vm.id, vm.name, nic.mac, nic.id, runs))
        return found


def _networks(drivers: Machines) -> Networks:
    if drivers.networks is None:
        raise WrongState("this daemon drives no networks", hint="it was composed without them", state="no-networks")
    return drivers.networks
