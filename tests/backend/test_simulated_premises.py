"""Hosts and VMs of a simulated site: rows and the world of fake hypervisors tell the same story, and there is everything a person may meet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.errors import FleetError, Unreachable
from fleet_tui.backend.hosts import patches, queries
from fleet_tui.backend.hosts.access import login_of
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow
from fleet_tui.backend.hypervisors import GuestState, MoveOptions
from fleet_tui.backend.hypervisors.fake import FakeWorld
from fleet_tui.backend.machines.capacity import Rules
from fleet_tui.backend.machines.cards import NetworkTenants
from fleet_tui.backend.machines.rows import MoveRow, VmRow
from fleet_tui.backend.machines.states import ON_HOST, VmState
from fleet_tui.backend.machines.world import World
from fleet_tui.backend.maintenance.rows import EvacueeRow, SessionRow
from fleet_tui.backend.networks import ListNetworks, ListPhysicalNetworks, physical
from fleet_tui.backend.networks.allocation import room
from fleet_tui.backend.networks.fake_wires import FakeWires
from fleet_tui.backend.networks.queries import list_networks, list_physical
from fleet_tui.backend.networks.rows import InterfaceRow, NicRow, PhysicalNetworkRow, VlanRow
from fleet_tui.backend.networks.states import Isolation
from fleet_tui.backend.networks.wires import Segment
from fleet_tui.backend.providers.fake import FakeProvider
from fleet_tui.backend.secrets.envelope import Envelope
from fleet_tui.backend.simulation import populate
from fleet_tui.backend.store import Store

SEALER = Envelope(b"k" * 32)


@pytest.fixture
def world(store: Store, tmp_path: Path) -> Iterator[FakeWorld]:
    """A site of 24 hosts, its daemon started anew."""
    provider = FakeProvider(tmp_path / "fake", pace=0)
    first = FakeWorld(tmp_path / "fake")
    populate(store, provider, first, SEALER, instances=0, hosts=24, seed=7)
    first.close()
    found = FakeWorld(tmp_path / "fake", pace=0)
    yield found
    found.close()
    provider.close()


def test_every_host_can_be_reached_as_its_row_says_and_is_what_its_row_says(world: FakeWorld, store: Store) -> None:
    with store.read() as tx:
        hosts = tx.execute(select(HostRow, ClusterRow.hypervisor).join(ClusterRow, HostRow.cluster_id == ClusterRow.id)).all()
        links = Counter((host.connection_state, host.reason) for host, _ in hosts)
        for host, kind in hosts:
            if host.connection_state != "up":
                with pytest.raises(Unreachable) as refused:
                    world.open(kind, login_of(host, SEALER), lambda reason: None)
                assert refused.value.details["reason"] == host.reason
                continue
            hypervisor = world.open(kind, login_of(host, SEALER), lambda reason: None)
            facts, figures = hypervisor.facts(), hypervisor.figures()
            assert (facts.host_name, facts.hypervisor, facts.cores, facts.mhz, facts.memory_bytes, facts.serial, facts.uuid, facts.patch_level) == (
                host.name, kind, host.cores, host.mhz, host.memory_bytes, host.serial, host.uuid, host.patch_level,
            )
            assert figures.memory_free_bytes == host.memory_bytes - host.memory_used_bytes
            assert hypervisor.is_pool_master() is host.is_master
    assert links == {("up", ""): 23, ("alert", "unreachable"): 1}
    assert Counter(host.resource_state for host, _ in hosts) == {"Enabled": 22, "Maintenance": 1, "Disabled": 1}
    assert Counter(kind for _, kind in hosts) == {"kvm": 16, "vsphere": 4, "xenserver": 4}
    assert sum(host.is_master for host, _ in hosts) == 1


def test_every_vm_is_where_its_row_says(world: FakeWorld, store: Store) -> None:
    states = {VmState.RUNNING: GuestState.RUNNING, VmState.STOPPED: GuestState.OFF, VmState.CRASHED: GuestState.CRASHED}
    with store.read() as tx:
        vms = tx.execute(select(VmRow, HostRow).join(HostRow, VmRow.host_id == HostRow.id)).all()
    assert 150 < len(vms) < 260 and len({vm.name for vm, _ in vms}) == len(vms)
    for vm, host in vms:
        assert world.places(vm.guest_id) == {host.name: states[VmState(vm.state)]}
        assert vm.cluster_id == host.cluster_id
    assert sum(len(guests) for guests in world.ledger.on_host.values()) == len(vms)
    kinds = {vm.name: vm.kind for vm, _ in vms}
    assert (kinds["r-114-VM"], kinds["v-3-VM"], kinds["s-2-VM"]) == ("router", "console-proxy", "storage-vm")
    assert any(vm.has_device for vm, _ in vms) and any(vm.has_local_disk for vm, _ in vms)
    assert {"running", "stopped", "crashed"} == {vm.state for vm, _ in vms}
    assert all(vm.owners and all("@" in owner for owner in vm.owners) for vm, _ in vms if vm.kind == "guest")
    assert {vm.name for vm, host in vms if host.resource_state == "Maintenance"} == set()
    apart = [host.name for vm, host in vms if "mail-cluster" in vm.exclusion_tags]
    assert len(apart) == len(set(apart)) == 3


def test_clusters_are_as_full_as_clusters_are(world: FakeWorld, store: Store) -> None:
    with store.read() as tx:
        found = World.load(tx, Rules(), SystemClock().now())
    shares = {}
    for cluster in found.clusters.values():
        assert all(seat.cpu_taken <= seat.cpu and seat.ram_taken <= seat.ram for seat in cluster.seats)
        shares[cluster.name] = sum(seat.ram_taken for seat in cluster.seats) / sum(seat.ram for seat in cluster.seats)
    assert 0.74 < shares["kvm-a1"] < 0.82 and min(shares.values()) > 0.1


def test_the_open_maintenance_and_the_patches_are_those_of_a_site_at_work(world: FakeWorld, store: Store) -> None:
    with store.read() as tx:
        session = tx.scalars(select(SessionRow)).one()
        host = tx.get_one(HostRow, session.host_id)
        moved = tx.scalars(select(EvacueeRow)).all()
        moves = {move.vm_id: move for move in tx.scalars(select(MoveRow))}
        for evacuee in moved:
            vm = tx.get_one(VmRow, evacuee.vm_id)
            assert vm.name == evacuee.name and vm.host_id == evacuee.destination_id == moves[vm.id].destination_id and vm.state in ON_HOST
        records = queries.find(tx)
        late = patches.overdue(tx, SystemClock().now())
    assert host.name == "kvm-17" and host.resource_state == "Maintenance" and session.open_host_id == host.id and session.closed_at is None
    assert len(moved) >= 3 and all(evacuee.state == "moved" for evacuee in moved)
    assert any(record.patches_behind for record in records) and any(record.patches_critical for record in records) and late
    assert all(record.why_not for record in records if not record.allocatable) and sum(record.allocatable for record in records) == 21


def test_a_vm_moves_in_it(world: FakeWorld, store: Store) -> None:
    with store.read() as tx:
        movable = (VmRow.state == "running", VmRow.kind == "guest", VmRow.has_device.is_(False), VmRow.has_local_disk.is_(False))
        vm = tx.scalars(select(VmRow).join(HostRow, VmRow.host_id == HostRow.id).where(HostRow.name == "kvm-13", *movable).limit(1)).one()
        query = select(PhysicalNetworkRow.isolation, VlanRow.number).join(VlanRow, VlanRow.physical_id == PhysicalNetworkRow.id)
        held = tx.execute(query.join(NicRow, NicRow.network_id == VlanRow.network_id).where(NicRow.vm_id == vm.id)).all()
    source, destination = world.connect("kvm-13"), world.connect("kvm-14")
    for isolation, number in held:
        FakeWires(world, world.reach.open(world.login("kvm-14"))).ensure(Segment(Isolation(isolation), number, "eth1"))
    destination.can_receive(vm.guest_id, source)
    source.migrate(vm.guest_id, destination, MoveOptions(), lambda progress: None)
    assert world.places(vm.guest_id) == {"kvm-14": GuestState.RUNNING}
    with pytest.raises(FleetError):
        world.connect("xen-21").can_receive(vm.guest_id, destination)


def test_a_host_that_is_off_on_purpose_is_expected_to_be(store: Store, tmp_path: Path) -> None:
    """So that its link becomes `alert` when that has lasted, and not as soon as somebody looks (spec 7.4)."""
    provider, world, now = FakeProvider(tmp_path / "fake", pace=0), FakeWorld(tmp_path / "fake"), SystemClock().now()
    populate(store, provider, world, SEALER, instances=0, hosts=40, seed=7)
    with store.read() as tx:
        until = {host.connection_state: host.expected_off_until for host in tx.scalars(select(HostRow))}
    world.close()
    provider.close()
    assert until["disconnected"] is not None and until["disconnected"] > now
    assert until["up"] is until["alert"] is None


def test_its_networks_are_in_every_state_that_a_map_can_show(world: FakeWorld, store: Store) -> None:
    with store.read() as tx:
        found = {record.name: record for record in list_physical(tx, ListPhysicalNetworks())}
        guest = found["guest-a"]
        assert {name: (record.isolation.value, record.state.value) for name, record in found.items()} == {
            f"{kind}-{zone}": (isolation, state) for zone in "ab"
            for kind, isolation, state in (("guest", "VLAN", "Enabled"), ("overlay", "VXLAN", "Enabled"), ("storage", "VLAN", "Disabled"))
        }
        assert set(guest.counts) == {state for state, count in guest.counts.items() if count}, "each state has an ID"
        assert room(tx, physical.find(tx, "guest-a")).is_low and not room(tx, physical.find(tx, "guest-b")).is_low
        assert guest.problems == 4 and found["guest-b"].problems == 0
        assert sum(found["overlay-a"].counts.values()) == 16_777_214
        networks = list_networks(tx, ListNetworks(), NetworkTenants(), with_vlans=True)
    assert {record.state.value for record in networks} == {"Allocated", "Implemented", "Setup"}
    assert all(record.has_vlan is (record.state.value != "Allocated") for record in networks)
    assert sum(record.running for record in networks) > 100
    assert all(record.hosts for record in networks if record.running), "where a VM runs there is an interface"


def test_hosts_have_the_interfaces_that_their_rows_say(world: FakeWorld, store: Store) -> None:
    with store.read() as tx:
        rows = tx.execute(select(InterfaceRow, HostRow.name).join(HostRow, InterfaceRow.host_id == HostRow.id)).all()
        cards = tx.execute(select(NicRow, VmRow).join(VmRow, NicRow.vm_id == VmRow.id)).all()
    there = {(name, one["technique"], one["number"], one["bridge"]) for name in {name for _, name in rows} for one in world.host(name).interfaces}
    assert there == {(name, row.technique, row.number, row.bridge) for row, name in rows if row.present}
    assert Counter(row.problem for row, _ in rows if row.problem) == {"missing": 1, "wrong-bridge": 1, "extra": 1}
    assert len(cards) > 150
    known = {nic["mac"] for guests in world.ledger.on_host.values() for guest in guests.values() for nic in guest.nics}
    assert {nic.mac for nic, _ in cards} == known
