"""No ID is ever two networks', whoever asks at once; what is given back twice is given back once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from fleet_tui.backend.errors import InUse, InvalidInput, NoCapacity, WrongState
from fleet_tui.backend.events.rows import EventRow
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow, PodRow
from fleet_tui.backend.machines.cards import NetworkTenants
from fleet_tui.backend.networks import allocation, guest, queries
from fleet_tui.backend.networks.rows import DedicationRow, InterfaceRow, NetworkRow, PhysicalNetworkRow, VlanRangeRow, VlanRow
from fleet_tui.backend.networks.states import Isolation, PhysicalState, Scope, VlanState
from fleet_tui.backend.store import Store
from tests.backend.networks.ground import NOW, Clock, network, physnet, taken

PROGRAM = Path(__file__).with_name("implement_program.py")
ROOT = Path(__file__).parents[3]


@pytest.fixture
def two(store: Store) -> Iterator[tuple[Store, Store]]:
    """Two daemons' views of one database; on SQLite there is one daemon, with threads."""
    other = store if store.is_sqlite else Store(store.url)
    yield store, other
    if other is not store:
        other.close()


def test_200_implementations_at_once_on_200_ids_take_each_once_and_the_201st_is_refused(two: tuple[Store, Store]) -> None:
    store, _ = two
    with store.write() as tx:
        fabric = physnet(tx, "600-699,800-899")
        for n in range(201):
            network(tx, fabric, f"n{n}")
    results: dict[int, object] = {}

    def bring_up(n: int) -> None:
        try:
            results[n] = guest.implement(two[n % 2].write, f"gn-n{n}", Clock())
        except Exception as refused:
            results[n] = refused

    threads = [threading.Thread(target=bring_up, args=(n,)) for n in range(201)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    numbers = [found for found in results.values() if isinstance(found, int)]
    refusals = [found for found in results.values() if not isinstance(found, int)]
    assert sorted(numbers) == [*range(600, 700), *range(800, 900)]
    assert len(refusals) == 1 and isinstance(refusals[0], NoCapacity), refusals
    with store.read() as tx:
        assert taken(tx) == sorted(numbers)
        states = Counter(tx.scalars(select(NetworkRow.state)))
        assert states == {"Implemented": 200, "Allocated": 1}
        refused = tx.scalars(select(NetworkRow).where(NetworkRow.state == "Allocated")).one()
        assert refused.error == refusals[0].message and not any(char.isdigit() for char in refused.error.replace(refused.name, ""))


@pytest.mark.slow
def test_two_processes_take_200_ids_at_once_and_none_twice(store: Store) -> None:
    with store.write() as tx:
        fabric = physnet(tx, "600-699,800-899")
        for n in range(201):
            network(tx, fabric, f"n{n}")
    shares = [[f"gn-n{n}" for n in range(201) if n % 2 == turn] for turn in (0, 1)]
    daemons = [
        subprocess.Popen([sys.executable, str(PROGRAM), store.url, *share], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
                         env={**os.environ, "PYTHONPATH": str(ROOT)})
        for share in shares
    ]  # fmt: skip
    try:
        for daemon in daemons:
            assert daemon.stdout is not None and daemon.stdout.readline() == "ready\n"
        for daemon in daemons:
            assert daemon.stdin is not None
            daemon.stdin.write("go\n")
            daemon.stdin.flush()
        said = [word for daemon in daemons for word in daemon.communicate(timeout=240)[0].split()]
    finally:
        for daemon in daemons:
            daemon.kill()
            daemon.wait()
    assert Counter(word for word in said if not word.isdigit()) == {"capacity": 1}
    numbers = sorted(int(word) for word in said if word.isdigit())
    assert numbers == [*range(600, 700), *range(800, 900)]
    with store.read() as tx:
        assert taken(tx) == numbers


def test_the_database_itself_holds_no_id_twice(store: Store) -> None:
    with store.write() as tx:
        fabric = physnet(tx)
        one, other = network(tx, fabric, "one"), network(tx, fabric, "other")
        number = allocation.take(tx, one, NOW)
    with pytest.raises(IntegrityError), store.write() as tx:
        tx.add(VlanRow(space=fabric.id, number=number, physical_id=fabric.id, network_id=other.id, reservation="r", since=NOW))


def test_a_network_that_asks_again_gets_what_it_has(store: Store) -> None:
    with store.write() as tx:
        fabric = physnet(tx)
        row = network(tx, fabric, "shop")
        first = allocation.take(tx, row, NOW)
    with store.write() as tx:
        assert allocation.take(tx, guest.lock(tx, row.id), NOW) == first
        assert taken(tx) == [first]


def test_give_back_needs_owner_and_reservation_and_does_nothing_the_second_time(store: Store) -> None:
    with store.write() as tx:
        row = network(tx, physnet(tx, "600-601"), "shop", owner="shop")
        allocation.take(tx, row, NOW)
        reservation = row.reservation
        assert not allocation.give_back(tx, row, "rv-other")
        row.owner = "thief"
        assert not allocation.give_back(tx, row, reservation)
        row.owner = "shop"
        assert len(taken(tx)) == 1
        assert allocation.give_back(tx, row, reservation)
        assert not allocation.give_back(tx, row, reservation)
        row.reservation = ""
        allocation.take(tx, row, NOW)
        assert row.reservation != reservation
        assert not allocation.give_back(tx, row, reservation), "a release that comes late frees nothing that was taken since"
        assert len(taken(tx)) == 1


def test_only_the_guest_pool_is_taken_from_by_itself(store: Store) -> None:
    with store.write() as tx:
        fabric = physnet(tx, "10-19")
        for scope, first in zip(Scope, range(20, 26), strict=True):
            if scope is not Scope.GUEST_POOL:
                tx.add(VlanRangeRow(physical_id=fabric.id, first=first * 10, last=first * 10 + 9, scope=scope.value))
        for n in range(10):
            allocation.take(tx, network(tx, fabric, f"n{n}"), NOW)
        assert taken(tx) == list(range(10, 20))
        with pytest.raises(NoCapacity):
            allocation.take(tx, network(tx, fabric, "late"), NOW)


def test_an_id_that_a_host_has_though_nothing_expects_it_is_not_taken(store: Store) -> None:
    with store.write() as tx:
        fabric = physnet(tx, "600-602")
        for row in (
            PodRow(id="p", name="p", zone_id="z-z1"), ClusterRow(id="c", name="c", pod_id="p", hypervisor="kvm"),
            HostRow(id="h", name="kvm-1", cluster_id="c", address="10.0.0.1"),
        ):
            tx.add(row)
            tx.flush()
        for number, problem in ((600, "extra"), (601, "missing")):
            tx.add(InterfaceRow(host_id="h", physical_id=fabric.id, number=number, technique="kernel", problem=problem, seen_at=NOW))
        tx.flush()
        assert (allocation.room(tx, fabric).total, allocation.room(tx, fabric).free) == (2, 2)
        assert sorted(allocation.take(tx, network(tx, fabric, f"n{n}"), NOW) for n in range(2)) == [601, 602]
        with pytest.raises(NoCapacity):
            allocation.take(tx, network(tx, fabric, "late"), NOW)
        assert queries.show_vlan(tx, "guest", 600, NetworkTenants()).state is VlanState.CONFLICT
        assert queries.describe_physical(tx, fabric).counts["conflict"] == 1


def test_an_owner_takes_from_its_own_first_and_from_the_pool_only_if_that_is_allowed(store: Store) -> None:
    with store.write() as tx:
        fabric = physnet(tx, "600-611")
        tx.add(DedicationRow(id="vd-1", physical_id=fabric.id, first=600, last=601, owner_kind="account", owner="shop"))
        tx.add(DedicationRow(id="vd-2", physical_id=fabric.id, first=602, last=609, owner_kind="project", owner="shop"))
        own = [allocation.take(tx, network(tx, fabric, f"s{n}", "shop"), NOW, fallback=False) for n in range(2)]
        assert sorted(own) == [600, 601]
        with pytest.raises(NoCapacity, match="own ranges"):
            allocation.take(tx, network(tx, fabric, "s2", "shop"), NOW, fallback=False)
        assert allocation.take(tx, network(tx, fabric, "s3", "shop"), NOW) in (610, 611)
        assert allocation.take(tx, network(tx, fabric, "o1", "other"), NOW, fallback=False) in (610, 611)
        with pytest.raises(NoCapacity, match="guest pool"):
            allocation.take(tx, network(tx, fabric, "o2"), NOW)


def test_a_pool_that_runs_low_is_told_of_once_without_saying_an_id(store: Store) -> None:
    with store.write() as tx:
        fabric = physnet(tx, "2000-2019")
        for n in range(20):
            allocation.take(tx, network(tx, fabric, f"n{n}"), NOW)
            assert allocation.room(tx, fabric).is_low is (n >= 18)
    with store.read() as tx:
        told = list(tx.scalars(select(EventRow.text).where(EventRow.type == "physnet.low")))
        assert told == ["the guest pool of guest runs low: 1 of 20 are free"]


def test_a_disabled_physical_network_takes_nothing_new_and_goes_on_with_what_it_has(store: Store) -> None:
    with store.write() as tx:
        fabric = physnet(tx)
        row = network(tx, fabric, "shop")
        number = allocation.take(tx, row, NOW)
        fabric.state = PhysicalState.DISABLED.value
        tx.flush()
        assert allocation.take(tx, row, NOW) == number
        with pytest.raises(WrongState, match="disabled"):
            allocation.take(tx, network(tx, fabric, "late"), NOW)


def test_sixteen_million_ids_have_no_rows_and_the_last_free_one_is_found(store: Store) -> None:
    with store.write() as tx:
        fabric = physnet(tx, "1-16777214", isolation=Isolation.VXLAN)
        for n in range(50):
            allocation.take(tx, network(tx, fabric, f"n{n}"), NOW)
        assert len(set(taken(tx))) == 50
        assert tx.scalar(select(func.count()).select_from(VlanRangeRow)) == 1
        tx.add(DedicationRow(id="vd-1", physical_id=fabric.id, first=1, last=16_777_000, owner_kind="account", owner="shop"))
        for number in sorted({*range(16_777_001, 16_777_215)} - set(taken(tx)) - {16_777_100}):
            tx.add(VlanRow(space=fabric.zone_id, number=number, physical_id=fabric.id, reservation="r", since=NOW))
        tx.flush()
        assert allocation.room(tx, fabric).free == 1
        assert allocation.take(tx, network(tx, fabric, "late"), NOW) == 16_777_100


def test_every_free_id_can_come(store: Store) -> None:
    with store.write() as tx:
        fabric = physnet(tx, "1,3,5,7000-7001", isolation=Isolation.VXLAN)
        tx.add(VlanRow(space=fabric.zone_id, number=3, physical_id=fabric.id, reservation="r", since=NOW))
        seen = set()
        for _ in range(200):
            row = network(tx, fabric, "shop")
            seen.add(allocation.take(tx, row, NOW))
            allocation.give_back(tx, row, row.reservation)
            tx.delete(row)
            tx.flush()
        assert seen == {1, 5, 7000, 7001}


def named(tx: object, fabric: PhysicalNetworkRow, name: str, number: int, owner: str = "") -> None:
    allocation.specify(tx, network(tx, fabric, name, owner), number, NOW)  # type: ignore[arg-type]


def test_a_specified_id_is_outside_of_what_is_taken_by_itself_and_nobody_elses(store: Store) -> None:
    with store.write() as tx:
        fabric = physnet(tx, "600-699")
        for scope, first in ((Scope.MANAGEMENT, 1), (Scope.PUBLIC, 100), (Scope.RESERVED, 200), (Scope.GUEST_ASSIGNED, 800), (Scope.GUEST_SHARED, 900)):
            tx.add(VlanRangeRow(physical_id=fabric.id, first=first, last=first + 99, scope=scope.value))
        tx.add(DedicationRow(id="vd-1", physical_id=fabric.id, first=800, last=801, owner_kind="account", owner="shop"))
        tx.add(DedicationRow(id="vd-2", physical_id=fabric.id, first=610, last=610, owner_kind="account", owner="bank"))
        tx.flush()
        for number, why in ((650, "by themselves"), (5, "management"), (150, "public"), (250, "reserved"), (0, "1 to 4094"), (4095, "1 to 4094")):
            with pytest.raises(InvalidInput, match=why):
                named(tx, fabric, f"n{number}", number)
        with pytest.raises(InUse, match="800-801 is dedicated to account shop"):
            named(tx, fabric, "thief", 800, "other")
        named(tx, fabric, "shared", 900)
        named(tx, fabric, "beyond", 2000)
        with pytest.raises(InUse, match="shared has it"):
            named(tx, fabric, "again", 900)
        with pytest.raises(InvalidInput, match="ranges of its own"):
            named(tx, fabric, "shop-1", 850, "shop")
        named(tx, fabric, "shop-2", 800, "shop")
        named(tx, fabric, "shop-3", 801, "shop")
        named(tx, fabric, "shop-4", 850, "shop")
        named(tx, fabric, "bank-1", 610, "bank")
        assert taken(tx) == [610, 800, 801, 850, 900, 2000]


def test_a_specified_id_is_unused_in_the_whole_zone(store: Store) -> None:
    with store.write() as tx:
        one, other = physnet(tx, "", "one"), physnet(tx, "", "other", label="eth2")
        named(tx, one, "a", 900)
        with pytest.raises(InUse, match="a has it"):
            named(tx, other, "b", 900)
        far = physnet(tx, "", in_zone="z2")
        named(tx, far, "c", 900)


def test_a_specified_id_lies_in_no_range_that_the_same_nic_carries_for_another_physical_network(store: Store) -> None:
    with store.write() as tx:
        physnet(tx, "600-699", "one", label="eth1")
        same, apart = physnet(tx, "", "same", label="eth1"), physnet(tx, "", "apart", label="eth2")
        with pytest.raises(InvalidInput, match="the same NIC"):
            named(tx, same, "a", 650)
        named(tx, apart, "b", 650)
        with pytest.raises(InvalidInput, match="belongs to physical network apart"):
            physnet(tx, "650", "late", label="eth2")


def test_a_specified_id_goes_only_with_its_network(store: Store) -> None:
    with store.write() as tx:
        row = network(tx, physnet(tx, ""), "shop")
        allocation.specify(tx, row, 900, NOW)
        assert not allocation.give_back(tx, row, row.reservation)
        assert taken(tx) == [900]
        assert allocation.give_back(tx, row, row.reservation, specified=True)
