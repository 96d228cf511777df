"""Networks that nobody uses are shut down after a while, and what cannot be is tried again (spec 10.4)."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from fleet_tui.backend.events.rows import EventRow
from fleet_tui.backend.networks import allocation, guest, queries
from fleet_tui.backend.networks.collection import Collector
from fleet_tui.backend.networks.drivers import Networks
from fleet_tui.backend.networks.rows import NetworkOfferingRow, NetworkRow, VlanRow
from fleet_tui.backend.store import Store
from tests.backend.networks.ground import Clock, Hosts, Users, fabric, network, physnet, state, taken


@pytest.fixture
def ground(store: Store) -> Store:
    """Network ``shop`` on ``guest``, which has one ID: 2718."""
    with store.write() as tx:
        network(tx, physnet(tx, "2718"), "shop", "shop")
    return store


@pytest.fixture
def watched(ground: Store) -> tuple[Store, Collector, Users, Clock, Hosts]:
    users, clock, hosts = Users(), Clock(), Hosts()
    guest.implement(ground.write, "gn-shop", clock, segments=hosts)
    return ground, Collector(ground, Networks(users, hosts, clock=clock)), users, clock, hosts


def pass_by(watched: tuple[Store, Collector, Users, Clock, Hosts], seconds: float) -> str:
    """The daemon's upkeep looks every five seconds."""
    _, collector, _, clock, _ = watched
    for _ in range(int(seconds // 100)):
        clock.advance(100)
        collector.sweep()
    return state(watched[0])[0]


def test_a_network_without_a_running_vm_is_marked_and_shut_down_a_while_later(watched: tuple[Store, Collector, Users, Clock, Hosts]) -> None:
    store, collector, users, _, hosts = watched
    users.up["gn-shop"] = 1
    collector.sweep()
    assert pass_by(watched, 3600) == "Implemented"
    users.up.clear()
    assert pass_by(watched, 600) == "Implemented", "it is marked at the first look"
    with store.read() as tx:
        assert tx.get_one(NetworkRow, "gn-shop").unused_since is not None
    assert pass_by(watched, 500) == "Implemented"
    assert pass_by(watched, 200) == "Allocated"
    assert state(store) == ("Allocated", []) and hosts.said[-1] == ("withdraw", "gn-shop", 2718)


def test_a_vm_that_starts_meanwhile_keeps_it_up(watched: tuple[Store, Collector, Users, Clock, Hosts]) -> None:
    store, collector, users, clock, _ = watched
    collector.sweep()
    pass_by(watched, 500)
    users.up["gn-shop"] = 1
    assert pass_by(watched, 1800) == "Implemented"
    with store.read() as tx:
        assert tx.get_one(NetworkRow, "gn-shop").unused_since is None
    users.up.clear()
    pass_by(watched, 600)
    assert guest.implement(store.write, "gn-shop", clock) == 2718
    assert pass_by(watched, 600) == "Implemented", "being asked for takes its mark away"


def test_a_shutdown_that_fails_is_tried_again(watched: tuple[Store, Collector, Users, Clock, Hosts]) -> None:
    store, collector, _, _, hosts = watched
    hosts.broken = "withdraw"
    collector.sweep()
    assert pass_by(watched, 1200) == "Shutdown"
    with store.read() as tx:
        assert tx.get_one(NetworkRow, "gn-shop").error == "no answer while making eth1.••••"
        assert taken(tx) == [2718], "an ID whose interface may still be there is not given to another"
    hosts.broken = ""
    assert pass_by(watched, 600) == "Allocated"


def test_networks_of_their_own_vlan_and_persistent_ones_stay(watched: tuple[Store, Collector, Users, Clock, Hosts]) -> None:
    store, collector, *_ = watched
    with store.write() as tx:
        tx.scalars(select(NetworkOfferingRow)).one().persistent = True
    collector.sweep()
    assert pass_by(watched, 3600) == "Implemented"
    with store.write() as tx:
        tx.scalars(select(NetworkOfferingRow)).one().persistent = False
        tx.get_one(NetworkRow, "gn-shop").state = "Setup"
    assert pass_by(watched, 3600) == "Setup"


def test_a_start_that_died_halfway_is_collected(watched: tuple[Store, Collector, Users, Clock, Hosts]) -> None:
    store, collector, *_ = watched
    with store.write() as tx:
        tx.get_one(NetworkRow, "gn-shop").state = "Implementing"
    collector.sweep()
    assert pass_by(watched, 1300) == "Allocated" and state(store)[1] == []


def test_ids_of_networks_that_are_gone_are_found_and_told_of_once(watched: tuple[Store, Collector, Users, Clock, Hosts]) -> None:
    store, collector, *_ = watched
    with store.write() as tx:
        tx.delete(tx.get_one(NetworkRow, "gn-shop"))
    for _ in range(3):
        collector.tell_orphans()
    with store.read() as tx:
        told = list(tx.scalars(select(EventRow.text).where(EventRow.type == "physnet.orphans")))
        assert told == ["1 ID is taken on physical network guest for networks that are gone"]
        assert tx.scalars(select(VlanRow)).one().network_id is None
        found = queries.show_vlan(tx, "guest", 2718, Users())
        assert (found.state.value, found.owner, queries.show_map(tx, "guest").physical.problems) == ("orphan", "account shop", 1)
    with store.write() as tx:
        assert allocation.free_orphans(tx, fabric(tx)) == 1
        assert taken(tx) == []
