"""Room: the formulas, against an independent model; the last room is given away once."""

from __future__ import annotations

import threading
from datetime import timedelta
from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_tui.backend.errors import FleetError, InvalidInput
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow
from fleet_tui.backend.machines import ShowCapacity
from fleet_tui.backend.machines.capacity import MIB, Rules, Taken, amounts, count, hundredths, minimum_memory
from fleet_tui.backend.machines.preview import still_fits
from fleet_tui.backend.machines.queries import show_capacity
from fleet_tui.backend.machines.room import take
from fleet_tui.backend.machines.rows import OfferingRow, VmRow
from fleet_tui.backend.machines.states import ON_HOST, VmState
from fleet_tui.backend.machines.vms import wanted_start
from fleet_tui.backend.machines.weights import show_weights
from fleet_tui.backend.machines.world import World
from fleet_tui.backend.store import Store
from tests.backend.machines.yard import GIB, START, Fleet

S = VmState


def room(fleet: Fleet, host: str = "h1"):
    with fleet.store.read() as tx:
        return show_capacity(tx, ShowCapacity(host), fleet.machines.rules, fleet.clock.now())[0]


def test_the_example_of_the_documentation_to_the_byte(store: Store) -> None:
    """2 GB x factor 2 = 4 GB; three VMs of 1 GB: used 3 GB, free 1 GB (CAP-1)."""
    fleet = Fleet(store)
    fleet.cluster("twice", ram=200)
    fleet.host("h1", gib=2, cluster="twice")
    fleet.offering("one", gib=1, cores=1)
    for n in (1, 2, 3):
        fleet.vm(f"v{n}", "h1", offering="one", cluster="twice")
    ram = room(fleet).ram
    assert (ram.raw, ram.capacity, ram.used, ram.reserved, ram.free) == (2_147_483_648, 4_294_967_296, 3_221_225_472, 0, 1_073_741_824)
    assert ram.share == 0.75 and room(fleet).vms == 3 and room(fleet).ram_ratio == 2.0


def test_a_host_that_is_not_enabled_counts_no_capacity_and_shows_what_is_used(store: Store) -> None:
    """CAP-2."""
    fleet = Fleet(store)
    fleet.hosts("h1", "h2", gib=8)
    fleet.vm("v1", "h1")
    for state in ("Disabled", "PrepareForMaintenance", "ErrorInPrepareForMaintenance", "Maintenance", "ErrorInMaintenance", "Degraded", "Error", "Creating"):
        fleet.set(HostRow, "h1", resource_state=state)
        found = room(fleet)
        assert (found.ram.capacity, found.cpu.capacity, found.cores.capacity) == (0, 0, 0)
        assert (found.ram.raw, found.ram.used, found.cpu.used, found.cores.used) == (8 * GIB, 4 * GIB, 4000, 2)
        with store.read() as tx:
            cluster, zone = (show_capacity(tx, ShowCapacity(name, kind), Rules(), START)[0] for name, kind in (("c", "cluster"), ("z", "zone")))
        assert cluster.ram.capacity == 8 * GIB and cluster.ram.used == 4 * GIB and cluster.vms == 1
        assert (zone.ram, zone.cpu, zone.cores) == (cluster.ram, cluster.cpu, cluster.cores)


def test_a_running_vm_keeps_the_share_it_had_at_its_start(store: Store) -> None:
    """CAP-5: raising 1 to 2 doubles capacity and what old VMs use, so no room appears until they are restarted."""
    fleet = Fleet(store)
    fleet.host("h1", gib=8)
    fleet.vm("v1", "h1")
    fleet.set(ClusterRow, "c", ram_hundredths=200, cpu_hundredths=200)
    assert (room(fleet).ram.capacity, room(fleet).ram.used, room(fleet).cpu.used) == (16 * GIB, 8 * GIB, 8000)
    fleet.set(VmRow, "v1", ram_hundredths=200, cpu_hundredths=200)
    assert (room(fleet).ram.used, room(fleet).cpu.used, room(fleet).cores.used) == (4 * GIB, 4000, 2)


def test_a_stopped_vm_reserves_its_room_for_an_hour_and_may_use_it_itself(store: Store) -> None:
    fleet = Fleet(store)
    fleet.host("h1", gib=4)
    fleet.vm("v1", "h1", S.STOPPED, stopped_at=START)
    fleet.vm("v2", "", S.STOPPED)
    assert (room(fleet).ram.used, room(fleet).ram.reserved, room(fleet).ram.free) == (0, 4 * GIB, 0)
    with store.read() as tx:
        other, own = (World.load(tx, Rules(), START, "c", without=vm).seats["h1"].ram_free for vm in ("v2", "v1"))
    assert other == 0 and own > 0
    fleet.clock.sleep(3600)
    assert room(fleet).ram.reserved == 4 * GIB
    fleet.clock.sleep(0.001)
    assert room(fleet).ram.free == 4 * GIB


def test_a_vm_on_its_way_takes_room_on_both_sides(store: Store) -> None:
    fleet = Fleet(store)
    fleet.hosts("h1", "h2")
    fleet.vm("v1", "h1", S.MIGRATING, destination_id="h2")
    assert room(fleet, "h1").ram.used == room(fleet, "h2").ram.used == 4 * GIB


RATIOS = st.sampled_from([100, 133, 150, 199, 200, 275, 400, 10_000])
VMS = st.lists(st.tuples(
    st.sampled_from(sorted(S, key=lambda s: s.value)), st.integers(1, 64), st.integers(100, 10_000), st.integers(64, 600_000), RATIOS, RATIOS,
    st.sampled_from(["h1", "h2", None]), st.sampled_from(["h1", "h2", None, None]), st.sampled_from(["h1", "h2", None]),
    st.sampled_from([None, 0, 3599, 3600, 3601]),
), max_size=12)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, sqlite_template) -> Fleet:
    path = tmp_path_factory.mktemp("capacity") / "fleet.db"
    path.write_bytes(sqlite_template.read_bytes())
    fleet = Fleet(Store(f"sqlite:///{path}"))
    fleet.hosts("h1", "h2")
    fleet.offering()
    return fleet


@settings(max_examples=200, deadline=None)
@given(vms=VMS, cores=st.integers(0, 256), mhz=st.integers(0, 5000), memory=st.integers(0, 2**42), cpu_now=RATIOS, ram_now=RATIOS)
def test_counting_agrees_with_the_formulas_written_as_fractions(small: Fleet, vms, cores, mhz, memory, cpu_now, ram_now) -> None:
    """An independent model: one fraction for each VM, no grouping, no database."""
    now = START + timedelta(seconds=10_000)
    with small.store.read() as tx:  # nothing done in it is kept
        host, cluster = tx.get(HostRow, "h1"), tx.get(ClusterRow, "c")
        assert host is not None and cluster is not None
        host.cores, host.mhz, host.memory_bytes = cores, mhz, memory
        cluster.cpu_hundredths, cluster.ram_hundredths = cpu_now, ram_now
        used, kept = [Fraction(0)] * 3, [Fraction(0)] * 3
        for n, (state, c, m, mib, rcpu, rram, at, to, last, ago) in enumerate(vms):
            stopped = None if ago is None else now - timedelta(seconds=ago)
            tx.add(VmRow(
                id=f"v{n}", guest_id=str(n), name=f"v{n}", cluster_id="c", offering_id="small", state=state.value, host_id=at, destination_id=to,
                last_host_id=last, stopped_at=stopped, cores=c, mhz=m, memory_mib=mib, cpu_hundredths=rcpu, ram_hundredths=rram,
                created_at=now, updated_at=now,
            ))
            takes = (Fraction(c * m * cpu_now, rcpu), Fraction(mib * 1024**2 * ram_now, rram), Fraction(c))
            on = {host for host, counts in ((at, state in ON_HOST), (to, True)) if counts}
            if "h1" in on:
                used = [a + b for a, b in zip(used, takes, strict=True)]
            idle = state not in ON_HOST and state is not S.DESTROYING and to is None
            if idle and last == "h1" and ago is not None and ago <= 3600:
                kept = [a + b for a, b in zip(kept, takes, strict=True)]
        tx.flush()
        taken = count(tx, Rules(), now).get("h1", Taken())
        found = amounts(host, cpu_now, ram_now, taken)
        world = World.load(tx, Rules(), now, "c")
        seat, place = world.seats["h1"], world.clusters["c"]
    capacities = (floor(Fraction(cores * mhz * cpu_now, 100)), floor(Fraction(memory * ram_now, 100)), cores)
    for one, u, k, capacity in zip(found, used, kept, capacities, strict=True):
        assert one.capacity == capacity and one.used == ceil(u) and one.used + one.reserved == ceil(u + k)
        for wanted in (0, 1, capacity // 2):  # fits exactly when the exact sum does
            assert (wanted <= one.free) == (u + k + wanted <= capacity)
    assert Fraction(seat.cpu_taken, place.cpu_unit) == used[0] + kept[0] and Fraction(seat.cpu, place.cpu_unit) == capacities[0]
    assert Fraction(seat.ram_taken, place.ram_unit) == used[1] + kept[1] and Fraction(seat.ram, place.ram_unit) == capacities[1]


def test_ratios_are_between_one_and_a_hundred_with_two_places_and_xenserver_stops_at_four() -> None:
    assert [hundredths("cpu", ratio) for ratio in (1, 1.0, 1.5, 2.25, 100)] == [100, 100, 150, 225, 10_000]
    assert hundredths("ram", 4.0, "xenserver") == 400
    for ratio, hypervisor, why in (
        (0.99, "kvm", "must be at least 1"), (float("nan"), "kvm", "must be at least 1"), (4.01, "xenserver", "XenServer cannot exceed 4"),
        (100.01, "kvm", "must be at most 100"), (1.005, "kvm", "two places"), (float("inf"), "kvm", "must be"),
    ):
        with pytest.raises(InvalidInput, match=why):
            hundredths("ram", ratio, hypervisor)
    assert minimum_memory(4 * GIB, 200) == 2 * GIB and minimum_memory(64 * MIB, 10_000) == MIB


def test_how_many_more_of_an_offering_fit(store: Store) -> None:
    fleet = Fleet(store)
    fleet.hosts("h1", "h2", gib=16)
    fleet.host("h3", gib=1024, resource_state="Maintenance")
    fleet.offering()
    fleet.vm("v1", "h1")
    with store.read() as tx:
        cluster, offering = tx.get(ClusterRow, "c"), tx.get(OfferingRow, "small")
        assert cluster is not None and offering is not None
        assert still_fits(tx, cluster, offering, fleet.machines) == 3 + 4


def test_a_hundred_starts_at_once_for_the_last_place_and_one_wins(store: Store) -> None:
    fleet = Fleet(store)
    fleet.hosts("h1", "h2", gib=6)
    fleet.vm("there", "h2")
    for n in range(100):
        fleet.vm(f"v{n}", "", S.STOPPED)
    won, refused, other = [], [], []
    begin = threading.Barrier(100)

    def claim(tx, vm, host) -> None:
        vm.state, vm.host_id = S.STARTING.value, host.id

    def start(name: str) -> None:
        begin.wait(60)
        try:
            won.append(take(store, fleet.machines, name, wanted_start, claim).host_id)
        except FleetError as error:
            refused.append((error.code, error.details.get("reason")))
        except BaseException as error:
            other.append(error)

    threads = [threading.Thread(target=start, args=(f"v{n}",)) for n in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not other
    assert won == ["h1"] and refused == [("capacity", "cannot_fit_now")] * 99
    assert room(fleet, "h1").ram.used == room(fleet, "h2").ram.used == 4 * GIB


def test_ghz_are_a_weight_and_cores_are_strict(store: Store) -> None:
    fleet = Fleet(store)
    fleet.hosts("h1", "h2", cores=4, mhz=3000)  # 12,000 MHz
    fleet.offering("fast", cores=1, mhz=2000)
    fleet.offering("slow", cores=1, mhz=1000)
    fleet.offering("wide", cores=2, mhz=1500)
    fleet.offering("capped", cores=2, mhz=500, limit_cpu=True)
    for name in ("fast", "slow", "wide", "capped"):
        fleet.vm(name, "h1", offering=name)
    fleet.vm("off", "h1", S.STOPPED, offering="wide")
    fleet.vm("elsewhere", "h2", offering="wide")
    with store.read() as tx:
        found = {r.vm: (r.weight, round(r.share, 4), r.guaranteed_mhz, r.alone_mhz) for r in show_weights(tx, "h1")}
        assert list(found) == ["wide", "fast", "capped", "slow"], "the heaviest first"
        assert found == {
            "wide": (3000, round(3 / 7, 4), 12_000 * 3 // 7, 6000), "fast": (2000, round(2 / 7, 4), 3000, 3000),
            "slow": (1000, round(1 / 7, 4), 12_000 // 7, 3000), "capped": (1000, round(1 / 7, 4), 1000, 1000),
        }  # 2 GHz get twice the CPU of 1 GHz until their one core is full; nobody is promised more than they can use
        assert [(r.vm, r.share, r.guaranteed_mhz) for r in show_weights(tx, "h2")] == [("elsewhere", 1.0, 6000)]
    fleet.host("h3")
    with store.read() as tx:
        assert show_weights(tx, "h3") == ()
