"""Guest networks from their making to their end: every move of spec 10.4 and none besides, whatever fails between."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from itertools import product

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.api import METHODS
from fleet_tui.backend.errors import ConfirmationRequired, FleetError, InUse, InvalidInput, NoCapacity, Unreachable, WrongState
from fleet_tui.backend.events.rows import EventRow
from fleet_tui.backend.networks import (
    CreateNetwork,
    CreateNetworkOffering,
    DeleteNetwork,
    DeleteNetworkOffering,
    creation,
    guest,
    offerings,
)
from fleet_tui.backend.networks.rows import NetworkRow
from fleet_tui.backend.networks.states import MOVES, GuestType, NetworkEvent, NetworkState, OwnerKind, PhysicalState
from fleet_tui.backend.store import Store
from tests.backend.networks.ground import NOW, Clock, Hosts, Users, everything, fabric, network, offering, physnet, state


@pytest.fixture
def ground(store: Store) -> Store:
    """Network ``shop`` on ``guest``, which has one ID: 2718."""
    with store.write() as tx:
        network(tx, physnet(tx, "2718"), "shop", "shop")
    return store


# --- the table -------------------------------------------------------------------------------------------------------


def test_no_move_but_those_of_the_table(ground: Store) -> None:
    for here, event in product(NetworkState, NetworkEvent):
        with ground.write() as tx:
            row = guest.lock(tx, "gn-shop")
            row.state = here.value
            tx.flush()
            if (here, event) in MOVES:
                guest.move(tx, row, event, NOW)
                assert row.state == MOVES[here, event].value
                continue
            with pytest.raises(WrongState) as refused:
                guest.move(tx, row, event, NOW)
            assert (row.state, refused.value.details["state"]) == (here.value, here.value)


# --- up --------------------------------------------------------------------------------------------------------------


def test_the_first_vm_brings_it_up_and_the_others_find_it_so(ground: Store) -> None:
    hosts = Hosts()
    assert [guest.implement(ground.write, "gn-shop", Clock(), segments=hosts) for _ in range(3)] == [2718] * 3
    assert hosts.said == [("provide", "gn-shop", 2718)]
    assert state(ground) == ("Implemented", [2718])


def test_several_vms_at_once_bring_it_up_once(ground: Store) -> None:
    hosts, found = Hosts(), list[object]()
    threads = [threading.Thread(target=lambda: found.append(guest.implement(ground.write, "gn-shop", Clock(), segments=hosts))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert found == [2718] * 8 and state(ground) == ("Implemented", [2718])


def test_what_the_hosts_refuse_ends_it_and_the_id_is_free_again(ground: Store) -> None:
    hosts = Hosts()
    hosts.broken = "provide"
    with pytest.raises(Unreachable):
        guest.implement(ground.write, "gn-shop", Clock(), segments=hosts)
    assert state(ground) == ("Allocated", [])
    assert [verb for verb, *_ in hosts.said] == ["provide", "withdraw"]
    with ground.read() as tx:
        row = tx.get_one(NetworkRow, "gn-shop")
        assert (row.reservation, row.error) == ("", "no answer while making eth1.••••")
        assert not [text for text in tx.scalars(select(EventRow.text)) if "2718" in text]
    hosts.broken = ""
    assert guest.implement(ground.write, "gn-shop", Clock(), segments=hosts) == 2718
    with ground.read() as tx:
        assert tx.get_one(NetworkRow, "gn-shop").error == ""


def test_one_that_found_no_id_is_allocated_as_before(ground: Store) -> None:
    with ground.write() as tx:
        network(tx, fabric(tx), "late")
    guest.implement(ground.write, "gn-shop", Clock())
    with pytest.raises(NoCapacity):
        guest.implement(ground.write, "gn-late", Clock())
    assert state(ground, "gn-late")[0] == "Allocated"
    with ground.read() as tx:
        assert "nothing free" in tx.get_one(NetworkRow, "gn-late").error


class Died(BaseException):
    """``kill -9``."""


@pytest.mark.parametrize("verb", ["provide", "withdraw"])
def test_a_daemon_that_dies_meanwhile_leaves_what_the_next_one_ends(ground: Store, verb: str) -> None:
    hosts = Hosts()
    if verb == "withdraw":
        guest.implement(ground.write, "gn-shop", Clock(), segments=hosts)
        with ground.write() as tx:
            guest.shut_down(tx, guest.lock(tx, "gn-shop"), NOW, "")

    def die() -> None:
        raise Died

    hosts.between = die
    with pytest.raises(Died):
        guest.implement(ground.write, "gn-shop", Clock(), segments=hosts)
    assert state(ground) == ("Implementing" if verb == "provide" else "Shutdown", [2718])
    hosts.between = lambda: None
    assert guest.implement(ground.write, "gn-shop", Clock(), segments=hosts) == 2718
    assert state(ground) == ("Implemented", [2718])


@pytest.mark.parametrize("seed", range(2))
def test_whatever_transaction_is_its_last_nothing_is_lost_and_nothing_taken_twice(store: Store, seed: int) -> None:
    """Up and down again, killed before and after each transaction in turn, then taken up by the next daemon."""
    with store.write() as tx:
        on = physnet(tx, "1-3")
        for n in range(12):
            network(tx, on, f"n{n}")

    def dying(at: int) -> Callable[[], AbstractContextManager[Session]]:
        count = 0

        def write() -> AbstractContextManager[Session]:
            nonlocal count
            count += 1
            if count > at:
                raise Died
            return store.write()

        return write

    for n in range(12):
        hosts, id_ = Hosts(), f"gn-n{n}"
        hosts.broken = "provide" if (n + seed) % 2 else ""
        with suppress(Died, FleetError):
            guest.implement(dying(n % 4), id_, Clock(), segments=hosts)
        with store.write() as tx:
            row = guest.lock(tx, id_)
            if row.state in ("Implemented", "Implementing"):
                guest.shut_down(tx, row, NOW, "")
        with suppress(Died, FleetError):
            guest.shut(dying(n // 4), id_, Clock(), segments=hosts)
        hosts.broken = ""
        guest.shut(store.write, id_, Clock(), segments=hosts)
        assert state(store, id_) == ("Allocated", [])


# --- made and deleted ------------------------------------------------------------------------------------------------


def make(store: Store, **fields: object) -> NetworkRow:
    with store.write() as tx:
        offering(tx)
        offering(tx, "assigned", specify=True)
        request = CreateNetwork(**{"name": "new", "offering": "isolated", "physical": "guest", **fields})  # type: ignore[arg-type]
        return creation.create(tx, request, NOW, "ada")


def test_one_without_a_vlan_is_allocated_and_one_with_is_set_up_for_life(ground: Store) -> None:
    plain = make(ground, cidr="10.9.0.0/24", owner_kind=OwnerKind.ACCOUNT, owner="shop")
    assert (plain.state, plain.cidr, plain.gateway) == ("Allocated", "10.9.0.0/24", "10.9.0.1")
    named = make(ground, name="named", offering="assigned", vlan=900)
    assert (named.state, named.cidr, named.gateway) == ("Setup", "10.1.0.0/24", "10.1.0.1")
    assert make(ground, name="next", offering="assigned", vlan=901).cidr == "10.1.1.0/24"
    assert guest.implement(ground.write, named.id, Clock(), segments=Hosts()) == 900
    assert state(ground, named.id) == ("Setup", [900, 901])


@pytest.mark.parametrize(("fields", "field"), [
    ({"offering": "assigned"}, "vlan"), ({"vlan": 900}, "vlan"), ({"name": "a b"}, "name"), ({"name": "shop"}, "name"), ({"owner": "x"}, "owner"),
    ({"owner_kind": OwnerKind.ACCOUNT}, "owner"), ({"cidr": "10.9.0.1/24"}, "cidr"), ({"cidr": "10.9.0.0"}, "cidr"), ({"cidr": "fd00::/64"}, "cidr"),
    ({"gateway": "10.9.0.1"}, "cidr"), ({"cidr": "10.9.0.0/24", "gateway": "10.8.0.1"}, "gateway"), ({"cidr": "10.9.0.0/24", "gateway": "10.9.0.0"}, "gateway"),
])
def test_fields_that_are_refused(ground: Store, fields: dict[str, object], field: str) -> None:
    with ground.write() as tx:
        offering(tx)
        offering(tx, "assigned", specify=True)
    with ground.read() as tx:
        before = everything(tx)
    with pytest.raises(InvalidInput) as refused:
        make(ground, **fields)
    assert field in {problem.field for problem in refused.value.problems}
    with ground.read() as tx:
        assert everything(tx) == before


def test_an_id_that_is_not_to_be_had_leaves_no_network_behind(ground: Store) -> None:
    make(ground, offering="assigned", vlan=900)
    with ground.read() as tx:
        before = everything(tx)
    for vlan, kind in ((900, InUse), (2718, InvalidInput), (5000, InvalidInput)):
        with pytest.raises(kind):
            make(ground, name="other", offering="assigned", vlan=vlan)
    with ground.read() as tx:
        assert everything(tx) == before


def test_nothing_is_made_on_a_disabled_physical_network(ground: Store) -> None:
    with ground.write() as tx:
        fabric(tx).state = PhysicalState.DISABLED.value
    with pytest.raises(WrongState, match="disabled"):
        make(ground)


def test_nobody_changes_a_vlan_by_any_verb() -> None:
    takers = {name for name, method in METHODS.items() if not method.read and "vlan" in getattr(method.request, "__slots__", ())}
    assert takers == {"networks.create"}


def test_one_goes_when_no_vm_is_on_it_and_its_own_vlan_with_it(ground: Store) -> None:
    named, users = make(ground, offering="assigned", vlan=900), Users()
    users.vms[named.id] = ("web-1", "web-2")

    def delete(target: str, confirm: str) -> None:
        with ground.write() as tx:
            creation.delete(tx, DeleteNetwork(target, confirm), users, NOW, "ada")

    with pytest.raises(InUse, match="web-1, web-2"):
        delete("new", "new")
    users.vms.clear()
    with pytest.raises(ConfirmationRequired):
        delete("new", "")
    delete("new", "new")
    guest.implement(ground.write, "gn-shop", Clock())
    with pytest.raises(WrongState, match="Implemented"):
        delete("shop", "shop")
    assert state(ground) == ("Implemented", [2718])


def test_offerings(ground: Store) -> None:
    with ground.write() as tx:
        offerings.create_offering(tx, CreateNetworkOffering("tier", GuestType.VPC_TIER, persistent=True), "ada")
        for name in ("tier", "a b"):
            with pytest.raises(InvalidInput):
                offerings.create_offering(tx, CreateNetworkOffering(name), "ada")
        with pytest.raises(InUse, match="shop"):
            offerings.delete_offering(tx, DeleteNetworkOffering("isolated", "isolated"), "ada")
        with pytest.raises(ConfirmationRequired):
            offerings.delete_offering(tx, DeleteNetworkOffering("tier"), "ada")
        offerings.delete_offering(tx, DeleteNetworkOffering("tier", "tier"), "ada")
        assert [(record.name, record.networks) for record in offerings.list_offerings(tx, 10)] == [("isolated", 1)]
