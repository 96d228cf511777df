"""The door's answers about networks: real requests through a real door, who may call what, and what a restart does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from fleet_tui.backend import hosts as h
from fleet_tui.backend import networks as n
from fleet_tui.backend.api.client import Client
from fleet_tui.backend.api.ground import Ground
from fleet_tui.backend.api.hosts_answers import HostAnswers
from fleet_tui.backend.api.networks_answers import NetworkAnswers
from fleet_tui.backend.errors import ConfirmationRequired, InUse, InvalidInput, NotFound, PermissionDenied, UsageError, WrongState
from fleet_tui.backend.identity import ListAudit, Role
from fleet_tui.backend.networks import guest, restart
from fleet_tui.backend.networks.drivers import Networks
from fleet_tui.backend.networks.rows import NetworkRow, VlanRow
from fleet_tui.backend.networks.rules import Rules, rules_of
from fleet_tui.backend.networks.states import GuestType, Isolation, OwnerKind, Scope, VlanState
from fleet_tui.backend.operations import OperationState
from fleet_tui.backend.options import parse
from fleet_tui.backend.store import Store, sqlite_url
from tests.backend.networks.ground import NOW, Clock, Hosts, Users, network, physnet, taken, zone
from tests.backend.operations.bench import Bench
from tests.doors import Door


@pytest.fixture
def users() -> Users:
    return Users()


@pytest.fixture
def door(tmp_path: Path, users: Users) -> Iterator[Door]:
    store = Store(sqlite_url(tmp_path / "fleet.db"))
    store.create_all()
    with store.write() as tx:
        zone(tx)
    answers = NetworkAnswers(store, Networks(users, clock=Clock()))
    hierarchy = HostAnswers(store, None, None).table()["branches.delete"]  # type: ignore[arg-type]
    found = Door(store, tmp_path / "run" / "fleetd.sock", {**answers.table(), "branches.delete": hierarchy})
    yield found.open()
    found.close()
    store.close()


@pytest.fixture
def client(door: Door) -> Client:
    """Root-admin's, on a site with ``guest`` (600-799 pool, 800-899 assigned) and two networks, one with ID 850."""
    client = door.client()
    client.call(n.CreatePhysicalNetwork("guest", "z1", nic_labels={"kvm": "eth1"}, ranges="600-799,800-899"))
    client.call(n.SetScope("guest", 800, 899, Scope.GUEST_ASSIGNED))
    client.call(n.EditPhysicalNetwork("guest", enabled=True))
    client.call(n.CreateNetworkOffering("isolated"))
    client.call(n.CreateNetworkOffering("assigned", GuestType.SHARED, specify_vlan=True))
    client.call(n.CreateNetwork("plain", "isolated", "guest", owner_kind=OwnerKind.ACCOUNT, owner="shop"))
    client.call(n.CreateNetwork("named", "assigned", "guest", vlan=850))
    return client


def test_a_site_is_built_and_taken_down_again(client: Client, door: Door) -> None:
    assert client.call(n.PlanRanges("guest", "600-699,800-899")).removed == "700-799"
    with pytest.raises(ConfirmationRequired):
        client.call(n.SetRanges("guest", "600-699,800-899"))
    record = client.call(n.SetRanges("guest", "600-699,800-899", confirmed=True, expected="600-899"))
    assert (record.ranges_text, record.counts["free"], record.counts["specified"], record.networks) == ("600-699,800-899", 199, 1, 2)
    record = client.call(n.Dedicate("guest", 600, 609, OwnerKind.ACCOUNT, "shop"))
    assert [(d.first, d.last, d.owner_kind, d.owner, d.used) for d in record.dedications] == [(600, 609, OwnerKind.ACCOUNT, "shop", 0)]
    number = guest.implement(door.store.write, _id(door, "plain"), Clock())
    assert 600 <= number <= 609
    shown = client.call(n.ShowVlan("guest", number))
    assert (shown.state, shown.network, shown.owner, shown.dedicated_to, shown.range, shown.since) == (
        VlanState.DEDICATED_ALLOCATED, "plain", "account shop", "account shop", "600-699", NOW,
    )
    assert {(item.number, item.state) for item in client.call(n.ShowMap("guest")).taken} == {(number, VlanState.DEDICATED_ALLOCATED), (850, VlanState.SPECIFIED)}
    with pytest.raises(InUse):
        client.call(h.DeleteBranch("zone", "z1", "z1"))
    client.call(n.ReleaseDedication("guest", 600, 609))
    assert client.call(n.ShowVlan("guest", number)).state is VlanState.ALLOCATED
    assert client.call(n.DeleteNetwork("named", "named")).text == "network named was deleted"
    assert client.call(n.ShowVlan("guest", 850)).state is VlanState.FREE
    with pytest.raises(WrongState):
        client.call(n.DeleteNetwork("plain", "plain"))


def _id(door: Door, name: str) -> str:
    with door.store.read() as tx:
        return guest.find(tx, name).id


def test_lists_of_ids_page_through_what_is_special_and_on_request_through_what_is_free(client: Client) -> None:
    client.call(n.Dedicate("guest", 890, 899, OwnerKind.PROJECT, "lab"))
    assert [record.number for record in client.call(n.ListVlans("guest"))] == [850, *range(890, 900)]
    assert [record.number for record in client.call(n.ListVlans("guest", after=850, limit=3))] == [890, 891, 892]
    assert [record.number for record in client.call(n.ListVlans("guest", state="free", after=848, limit=3))] == [849, 851, 852]
    assert [record.number for record in client.call(n.ListVlans("guest", state="specified"))] == [850]
    for owner in ("lab", "project lab"):
        assert len(client.call(n.ListVlans("guest", owner=owner))) == 10
    assert client.call(n.ListVlans("guest", owner="project")) == ()
    client.call(n.CreatePhysicalNetwork("wide", "z1", Isolation.VXLAN, {"kvm": "eth1"}, "1-16777214"))
    client.call(n.Dedicate("wide", 1, 16_000_000, OwnerKind.ACCOUNT, "bank"))
    assert client.call(n.ListVlans("wide", owner="shop")) == client.call(n.ListVlans("wide", owner="shop", state="free")) == ()
    assert [record.number for record in client.call(n.ListVlans("wide", owner="bank", after=15_999_998))] == [15_999_999, 16_000_000]
    with pytest.raises(InvalidInput, match="there is no state"):
        client.call(n.ListVlans("guest", state="fre"))
    with pytest.raises(NotFound):
        client.call(n.ShowMap("gone"))
    outside = client.call(n.ShowVlan("guest", 4000))
    assert (outside.scope, outside.range, outside.state) == (None, "", VlanState.FREE)


@pytest.mark.parametrize("role", [Role.ADMIN, Role.OPERATOR, Role.MONITOR], ids=lambda role: role.value)
def test_who_may_not_see_ids_sees_networks_without_them(client: Client, door: Door, role: Role) -> None:
    assert {record.name: record.vlan for record in client.call(n.ListNetworks())} == {"named": 850, "plain": None}
    door.become(role)
    assert {record.name: (record.vlan, record.has_vlan) for record in client.call(n.ListNetworks())} == {"named": (None, True), "plain": (None, False)}
    assert client.call(n.ShowNetwork("named")).vlan is None
    for request in (
        n.ListPhysicalNetworks(), n.ShowMap("guest"), n.ShowVlan("guest", 850), n.ListVlans("guest"), n.ShowPresence("guest"), n.PlanRanges("guest", "1"),
        n.SetRanges("guest", "1"), n.CreatePhysicalNetwork("new", "z1"),
    ):
        with pytest.raises(PermissionDenied):
            client.call(request)


@pytest.mark.parametrize("vlan", [0, 1, 850])
def test_an_admin_makes_networks_but_names_no_vlan_not_even_zero(client: Client, door: Door, vlan: int) -> None:
    door.become(Role.ADMIN)
    assert client.call(n.CreateNetwork("more", "isolated", "guest")).name == "more"
    with pytest.raises(PermissionDenied, match="with vlan"):
        client.call(n.CreateNetwork("mine", "assigned", "guest", vlan=vlan))


def test_the_audit_keeps_ids_from_who_had_a_higher_role_once(client: Client, door: Door) -> None:
    with pytest.raises(InUse):
        client.call(n.CreateNetwork("again", "assigned", "guest", vlan=850))

    def told() -> str:
        return str([(record.action, record.object, dict(record.parameters), record.result) for record in client.call(ListAudit(limit=1000))])

    assert "850" in told() and "600-799" in told()
    door.become(Role.ADMIN)
    assert "850" not in told() and "600-799" not in told() and "physnets.create" in told() and "'again'" in told()


# --- restart ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def bench(store: Store, users: Users) -> Bench:
    """An engine with ``network.restart``; ``shop`` is up."""
    with store.write() as tx:
        network(tx, physnet(tx), "shop", "shop")
    drivers = Networks(users, Hosts(), clock=Clock())
    guest.implement(store.write, "gn-shop", Clock(), segments=drivers.segments)
    return Bench(store, *restart.operations(drivers), resources={Networks: drivers})


def submit(bench: Bench, **fields: bool) -> OperationState:
    submitted = bench.submission.submit("network.restart", n.RestartNetwork(target="shop", **fields), "ada")
    assert submitted.operation is not None
    bench.claim()
    return bench.run(submitted.operation.id).state


def test_a_restart_gives_the_vlan_back_and_the_next_vm_brings_it_up(bench: Bench) -> None:
    assert submit(bench, confirmed=True) is OperationState.SUCCEEDED
    with bench.store.read() as tx:
        assert (tx.get_one(NetworkRow, "gn-shop").state, taken(tx)) == ("Allocated", [])
    assert guest.implement(bench.store.write, "gn-shop", Clock())
    assert not [text for *_, text in bench.said.lines if any(char.isdigit() for char in text)]


def test_a_restart_is_refused_while_vms_run_without_confirmation_and_when_there_is_nothing_to_restart(bench: Bench, users: Users) -> None:
    with pytest.raises(ConfirmationRequired):
        submit(bench)
    users.up["gn-shop"], users.vms["gn-shop"] = 1, ("web-1",)
    with pytest.raises(InUse, match="1 VM on network shop runs"):
        submit(bench, confirmed=True)
    users.up.clear()
    for here in ("Setup", "Allocated"):
        with bench.store.write() as tx:
            tx.get_one(NetworkRow, "gn-shop").state = here
        with pytest.raises(WrongState):
            submit(bench, confirmed=True)


def test_a_vm_that_starts_before_the_step_keeps_the_network_up(bench: Bench, users: Users) -> None:
    submitted = bench.submission.submit("network.restart", n.RestartNetwork(target="shop", confirmed=True), "ada")
    assert submitted.operation is not None
    users.up["gn-shop"] = 1
    bench.claim()
    assert bench.run(submitted.operation.id).state is OperationState.FAILED
    with bench.store.read() as tx:
        assert tx.get_one(NetworkRow, "gn-shop").state == "Implemented" and tx.scalar(select(VlanRow.number)) is not None


# --- figures and what needs a look -----------------------------------------------------------------------------------


def test_figures_are_told_to_the_daemon_by_name() -> None:
    assert rules_of("") == Rules() == Rules(600.0, 600.0, True, 900.0)
    assert rules_of("gc_wait_s=5,dedicated_fallback=false") == Rules(gc_wait_s=5.0, dedicated_fallback=False)
    for text in ("gc=5", "gc_wait_s=x", "gc_wait_s=0", "dedicated_fallback=1"):
        with pytest.raises(UsageError):
            rules_of(text)
    assert parse(["--networks", "gc_interval_s=1", "--state-dir", "/nowhere"])[0].networks.gc_interval_s == 1.0


def test_a_pool_that_runs_low_and_ids_without_a_network_want_attention_without_saying_an_id(store: Store) -> None:
    with store.write() as tx:
        fabric = physnet(tx, "3900-3909")
        for number in range(3900, 3909):
            tx.add(VlanRow(space=fabric.id, number=number, physical_id=fabric.id, reservation="r", since=NOW))
    clock = Clock()
    ground = Ground(clock)
    with store.read() as tx:
        told = [item for item in ground.attention(tx) if item.ref.startswith("physnet:")]
    assert [item.ref for item in told] == [f"physnet:{fabric.id}"]
    assert "9 IDs are taken for networks that are gone" in str(told[0]) and "39" not in str(told[0]).replace(str(told[0].since), "")
    clock.advance(3600)
    with store.write() as tx:
        tx.add(VlanRow(space=fabric.id, number=3909, physical_id=fabric.id, reservation="r", since=NOW))
    with store.read() as tx:
        later = [item for item in ground.attention(tx) if item.ref.startswith("physnet:")]
    assert any("runs low: 0 of 10 free" in str(item) for item in later) and len(later) == 2
    assert next(item for item in later if "gone" in str(item)).since == told[0].since, "since it was first seen"
