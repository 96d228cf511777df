"""VMs on networks: interfaces are on exactly the hosts that need them, whatever fails or is killed on the way (spec 10.5)."""

from __future__ import annotations

import itertools
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import select

from fleet_tui.backend.errors import InvalidInput
from fleet_tui.backend.hosts.rows import HostRow
from fleet_tui.backend.hypervisors.fake_ledger import Host
from fleet_tui.backend.machines import CreateVm, DestroyVm, MigrateVm, PlanPlacement, StartVm, StopVm, vms
from fleet_tui.backend.machines.preview import plan_placement
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.machines.states import VmState
from fleet_tui.backend.networks import CheckDrift, CreatePhysicalNetwork, RepairDrift, RestartNetwork, SweepVlans, physical
from fleet_tui.backend.networks import operations as network_operations
from fleet_tui.backend.networks.fake_wires import FakeWires
from fleet_tui.backend.networks.rows import NetworkRow, NicRow, PhysicalNetworkRow, VlanRow
from fleet_tui.backend.networks.states import Isolation, NetworkState
from fleet_tui.backend.operations import schedule
from fleet_tui.backend.operations.rows import LeaseRow, ScheduleRow
from fleet_tui.backend.store import Store, sqlite_url
from tests.backend.machines.cabling import FIRST, CabledDesk, CabledFleet
from tests.backend.machines.desk import failed, ok
from tests.backend.machines.test_operations import Struck
from tests.waiting import until

NEW = CreateVm(target="web", cluster="c", offering="small", kernel="/vmlinuz", networks=("shop",), destroy_protected=False)


@pytest.fixture
def fleet(sqlite_store: Store) -> CabledFleet:
    found = CabledFleet(sqlite_store)
    found.offering()
    found.hosts("h1", "h2", "h3")
    return found


@pytest.fixture
def desk(fleet: CabledFleet) -> CabledDesk:
    return CabledDesk(fleet)


def stop(desk: CabledDesk, name: str) -> None:
    ok(desk.do(StopVm(target=name, confirmed=True)))


def cards(fleet: CabledFleet, name: str, host: str) -> list[dict[str, object]]:
    guest = fleet.world.ledger.guest(host, fleet_guest(fleet, name))
    assert guest is not None
    return guest.nics


def fleet_guest(fleet: CabledFleet, name: str) -> str:
    with fleet.store.read() as tx:
        return vms.find(tx, name).guest_id


# --- comes with the first, goes with the last ----------------------------------------------------------------------------


def test_the_interface_comes_with_the_first_vm_and_goes_with_the_last(fleet: CabledFleet, desk: CabledDesk) -> None:
    ok(desk.create("a", "h1"))
    assert fleet.number() == FIRST and fleet.wired("h1") == [FIRST] and not fleet.wired("h2")
    assert fleet.interfaces() == {("h1", FIRST): (True, "")}
    (card,) = cards(fleet, "a", "h1")
    assert card["bridge"] == f"breth1-{FIRST}" and str(card["mac"]).startswith("02:")
    ok(desk.create("b", "h1"))
    stop(desk, "a")
    assert fleet.wired("h1") == [FIRST]
    ok(desk.do(DestroyVm(target="b", confirm="b")))
    assert not fleet.wired("h1") and not fleet.interfaces() and fleet.number() == FIRST
    ok(desk.do(StartVm(target="a", host="h2")))
    assert fleet.wired("h2") == [FIRST] and not fleet.wired("h1")
    with fleet.store.read() as tx:
        assert not tx.scalars(select(LeaseRow)).all()


def test_a_vm_that_is_only_made_needs_no_interface_yet(fleet: CabledFleet, desk: CabledDesk) -> None:
    ok(desk.create("a", "h1", start=False))
    assert fleet.number() is None and not fleet.wired("h1") and not cards(fleet, "a", "h1")
    ok(desk.do(StartVm(target="a")))
    assert fleet.wired("h1") == [FIRST] and len(cards(fleet, "a", "h1")) == 1


def test_a_vm_has_a_card_on_each_of_its_networks(fleet: CabledFleet, desk: CabledDesk) -> None:
    fleet.more_ids(700, 700)
    ok(desk.create("a", "h1", "shop", "blog"))
    assert fleet.wired("h1") == sorted([FIRST, 700])
    with fleet.store.read() as tx:
        nics = tx.scalars(select(NicRow).order_by(NicRow.device)).all()
        assert [nic.network_id for nic in nics] == ["n-shop", "n-blog"] and len({nic.mac for nic in nics}) == 2
    ok(desk.do(DestroyVm(target="a", confirm="a")))
    with fleet.store.read() as tx:
        assert not tx.scalars(select(NicRow)).all()


def test_a_live_migration_carries_the_card_along(fleet: CabledFleet, desk: CabledDesk) -> None:
    fleet.world.change_host("h2", technique="ovs")
    ok(desk.create("a", "h1"))
    ok(desk.do(MigrateVm(target="a", host="h2")))
    assert not fleet.wired("h1") and fleet.wired("h2") == [FIRST]
    (card,) = cards(fleet, "a", "h2")
    assert card["ovs"] and card["tag"] == FIRST and card["bridge"] == "ovs0"
    ok(desk.do(StopVm(target="a", confirmed=True)))
    assert not fleet.wired("h2")
    ok(desk.do(MigrateVm(target="a", host="h3")))
    assert not fleet.wired("h3")
    ok(desk.do(StartVm(target="a", host="h3")))
    assert fleet.wired("h3") == [FIRST]


# --- failures --------------------------------------------------------------------------------------------------------------


def test_a_start_that_fails_undoes_the_interface(fleet: CabledFleet, desk: CabledDesk) -> None:
    fleet.world.faults.fail("guest:start", "a")
    failed(desk.create("a", "h1"), "capacity", "start")
    assert not fleet.wired("h1") and not fleet.interfaces()
    ok(desk.do(StartVm(target="a")))
    assert len(fleet.wired("h1") + fleet.wired("h2") + fleet.wired("h3")) == 1


def test_wires_that_fail_fail_the_start(fleet: CabledFleet, desk: CabledDesk) -> None:
    fleet.world.faults.fail("shell:run", ": wires ensure", after=True)
    failed(desk.create("a", "h1"), "unreachable", "define")
    assert not fleet.wired("h1") and not fleet.interfaces() and not fleet.world.ledger.on_host.get("h1")


def test_a_migration_that_fails_leaves_the_destination_as_it_was(fleet: CabledFleet, desk: CabledDesk) -> None:
    ok(desk.create("a", "h1"))
    fleet.world.faults.fail("move:copy", "a")
    failed(desk.do(MigrateVm(target="a", host="h2")), "wrong_state")
    assert fleet.wired("h1") == [FIRST] and not fleet.wired("h2")
    fleet.world.faults.fail("shell:run", ": wires ensure")
    failed(desk.do(MigrateVm(target="a", host="h2")), "wrong_state")
    assert fleet.wired("h1") == [FIRST] and not fleet.wired("h2") and fleet.interfaces() == {("h1", FIRST): (True, "")}
    assert fleet.world.running_on(fleet_guest(fleet, "a")) == ("h1",)


def test_an_interface_that_cannot_be_removed_is_a_warning_and_goes_with_the_next_check(fleet: CabledFleet, desk: CabledDesk) -> None:
    ok(desk.create("a", "h1"))
    fleet.world.faults.fail("shell:run", ": wires remove")
    stop(desk, "a")
    assert fleet.wired("h1") == [FIRST] and any("could not be removed" in line for line in desk.words())
    ok(desk.do(CheckDrift(target="*")))
    assert not fleet.wired("h1") and not fleet.interfaces()


def test_no_free_id_fails_the_start_and_the_network_is_as_before(fleet: CabledFleet, desk: CabledDesk) -> None:
    ok(desk.create("a", "h1", "shop"))
    failed(desk.create("b", "h1", "blog"), "capacity", "define")
    assert fleet.wired("h1") == [FIRST] and fleet.number("blog") is None


def test_a_vm_waits_while_the_interface_is_being_removed_by_somebody_else(fleet: CabledFleet, desk: CabledDesk) -> None:
    ok(desk.create("a", "h1"))
    other = desk.ask(replace(NEW, target="x"))
    with fleet.store.write() as tx:
        tx.add(LeaseRow(level="guest-network", name="n-shop@h2", operation_id=other.id, shared=False))
    failed(desk.do(MigrateVm(target="a", host="h2")), "wrong_state")
    assert not fleet.wired("h2")
    with fleet.store.write() as tx:
        tx.delete(tx.get_one(LeaseRow, ("guest-network", "n-shop@h2", other.id)))
    ok(desk.do(MigrateVm(target="a", host="h2")))
    assert fleet.wired("h2") == [FIRST] and not fleet.wired("h1")


def test_two_that_leave_at_once_do_not_count_each_other(fleet: CabledFleet, desk: CabledDesk) -> None:
    """One operation stands still at each of its boundaries while the other goes through."""
    for number in itertools.count(1):
        for name in ("a", "b"):
            ok(desk.create(f"{name}{number}", "h1"))
        count = itertools.count(1)

        def strike(point: str = "", count=count, number=number) -> None:
            if next(count) == number:
                raise Struck

        slow = CabledDesk(fleet, checkpoint=strike)
        operation = slow.ask(StopVm(target=f"a{number}", confirmed=True))
        slow.claim()
        is_struck = False
        try:
            slow.run(operation.id)
        except Struck:
            is_struck = True
        stop(desk, f"b{number}")
        if is_struck:
            slow.run(operation.id)
        assert not fleet.wired("h1"), number
        for name in ("a", "b"):
            ok(desk.do(DestroyVm(target=f"{name}{number}", confirm=f"{name}{number}")))
        if not is_struck:
            assert number > 3
            return


@pytest.mark.slow
def test_many_that_come_and_go_at_once_never_miss_their_interface(store: Store) -> None:
    """As many daemons as VMs, which start and stop on one host: a start without its bridge would fail, and none does."""
    fleet = CabledFleet(store, patience_s=60.0)
    fleet.offering()
    fleet.hosts("h1", "h2")
    first = CabledDesk(fleet)
    names = [f"vm{number}" for number in range(4)]
    for name in names:
        ok(first.create(name, "h1", start=False))
    problems: list[object] = []

    def live(name: str) -> None:
        desk = CabledDesk(fleet)
        start, move, end = StartVm(target=name, host="h1"), MigrateVm(target=name, host="h2"), StopVm(target=name, confirmed=True)
        try:
            for request in (start, end, start, move, end, start, end, start, move, end):
                operation = desk.ask(request)
                until(lambda operation=operation: desk.claim() and desk.show(operation.id).state.value == "running", 60, "it is claimed")  # type: ignore[misc]
                ok(desk.run(operation.id))
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=live, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert not problems and not any(thread.is_alive() for thread in threads)
    assert not fleet.wired("h1") and not fleet.wired("h2") and not fleet.interfaces()


# --- where a VM may go -------------------------------------------------------------------------------------------------------


def test_placement_leaves_out_hosts_without_the_card(fleet: CabledFleet, desk: CabledDesk) -> None:
    for host in ("h1", "h3"):
        fleet.set(HostRow, host, facts={"nics": ["eth0"]})
    ok(desk.create("a"))
    assert fleet.wired("h2") == [FIRST]
    for asked in (PlanPlacement(vm="a"), PlanPlacement("c", "small", networks=("shop",))):
        verdicts = {verdict.host: verdict.why for verdict in plan_placement(fleet.store, fleet.machines, asked).verdicts}
        assert "no network card eth1" in verdicts["h1"] and "no network card eth1" in verdicts["h3"]
    refused = failed(desk.do(MigrateVm(target="a")), "capacity")
    assert "without a network card it needs" in refused.message


@pytest.mark.parametrize(("networks", "said"), [(("nowhere",), "no network"), (("shop", "shop"), "twice")])
def test_a_network_that_makes_no_sense_is_refused(fleet: CabledFleet, desk: CabledDesk, networks: tuple[str, ...], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        desk.ask(replace(NEW, networks=networks))
    with fleet.store.read() as tx:
        assert not tx.scalars(select(NicRow)).all()


def test_a_network_without_a_label_for_the_hypervisor_is_refused(fleet: CabledFleet, desk: CabledDesk) -> None:
    fleet.set(PhysicalNetworkRow, "pn", nic_labels={"vsphere": "vmnic1"})
    with pytest.raises(InvalidInput, match="no network card label for kvm"):
        desk.ask(NEW)


# --- vSphere -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def vsphere(fleet: CabledFleet) -> CabledFleet:
    fleet.cluster("v", hypervisor="vsphere")
    for name in ("v1", "v2"):
        fleet.host(name, cluster="v")
        fleet.world.change_host(name, kind="vsphere")
    return fleet


def test_vsphere_has_it_on_every_host_of_the_cluster_and_keeps_it(vsphere: CabledFleet, desk: CabledDesk) -> None:
    ok(desk.create("a", "v1", cluster="v"))
    assert vsphere.wired("v1") == vsphere.wired("v2") == [FIRST] and not vsphere.wired("h1")
    vsphere.host("v3", cluster="v")
    vsphere.world.change_host("v3", kind="vsphere")
    ok(desk.do(CheckDrift(target="fabric")))
    assert vsphere.wired("v3") == [FIRST] and set(vsphere.interfaces().values()) == {(True, "")}
    by_hand(vsphere, "v2", lambda known: [])
    ok(desk.do(CheckDrift(target="fabric")))
    assert vsphere.interfaces()["v2", FIRST] == (False, "missing")
    ok(desk.do(RepairDrift(target="fabric", confirmed=True)))
    ok(desk.do(SweepVlans(target="fabric", confirmed=True)))
    assert vsphere.wired("v1") == vsphere.wired("v2") == vsphere.wired("v3") == [FIRST]
    ok(desk.do(DestroyVm(target="a", confirm="a")))
    ok(desk.do(RestartNetwork(target="shop", confirmed=True)))
    ok(desk.do(RepairDrift(target="fabric", remove_extra=True, confirmed=True)))
    assert vsphere.number() is None and vsphere.wired("v1") == [FIRST]
    ok(desk.do(SweepVlans(target="fabric", confirmed=True)))
    assert not vsphere.wired("v1") + vsphere.wired("v2") + vsphere.wired("v3") and not vsphere.interfaces()


def test_vsphere_that_fails_on_one_host_undoes_the_others(vsphere: CabledFleet, desk: CabledDesk) -> None:
    vsphere.world.change_host("v2", nics=["eth0"])
    failed(desk.create("a", "v1", cluster="v"), "wrong_state", "define")
    assert not vsphere.wired("v1") and not vsphere.interfaces() and vsphere.number() is None
    with vsphere.store.read() as tx:
        assert tx.get_one(NetworkRow, "n-shop").state == NetworkState.ALLOCATED.value


# --- drift -----------------------------------------------------------------------------------------------------------------------


def by_hand(fleet: CabledFleet, host: str, change: Callable[[list[dict[str, object]]], list[dict[str, object]]]) -> None:
    fleet.world.change_host(host, interfaces=change(fleet.world.host(host).interfaces))


def stray(number: int) -> dict[str, object]:
    return {"isolation": "VLAN", "label": "eth1", "number": number, "technique": "kernel", "device": f"eth1.{number}", "bridge": f"breth1-{number}", "out": []}


def test_one_removed_by_hand_is_found_and_repaired(fleet: CabledFleet, desk: CabledDesk) -> None:
    ok(desk.create("a", "h1"))
    by_hand(fleet, "h1", lambda known: [])
    ok(desk.do(CheckDrift(target="fabric")))
    assert fleet.interfaces() == {("h1", FIRST): (False, "missing")}
    ok(desk.do(RepairDrift(target="fabric", confirmed=True)))
    assert fleet.wired("h1") == [FIRST] and fleet.interfaces() == {("h1", FIRST): (True, "")}


def test_one_in_a_wrong_bridge_and_a_card_that_fell_out_are_put_right(fleet: CabledFleet, desk: CabledDesk) -> None:
    ok(desk.create("a", "h1"))
    (card,) = cards(fleet, "a", "h1")
    for wrong in ({"bridge": "virbr0"}, {"out": [card["mac"]]}):
        by_hand(fleet, "h1", lambda known, wrong=wrong: [{**known[0], **wrong}])
        ok(desk.do(CheckDrift(target="fabric")))
        assert fleet.interfaces() == {("h1", FIRST): (True, "wrong-bridge")}
        ok(desk.do(RepairDrift(target="fabric", confirmed=True)))
        assert fleet.interfaces() == {("h1", FIRST): (True, "")} and fleet.world.host("h1").interfaces[0]["out"] == []


def test_what_is_extra_goes_only_when_that_is_asked_for(fleet: CabledFleet, desk: CabledDesk) -> None:
    ok(desk.create("a", "h1"))
    fleet.more_ids(700, 710)
    by_hand(fleet, "h2", lambda known: [stray(705), stray(FIRST), stray(104), stray(3000)])
    ok(desk.do(CheckDrift(target="fabric")))
    found = {("h1", FIRST): (True, ""), ("h2", 705): (True, "extra"), ("h2", FIRST): (True, "extra")}
    assert fleet.interfaces() == found
    ok(desk.do(RepairDrift(target="fabric", confirmed=True)))
    assert fleet.interfaces() == found
    ok(desk.do(RepairDrift(target="fabric", host="h1", remove_extra=True, confirmed=True)))
    assert fleet.interfaces() == found
    ok(desk.do(RepairDrift(target="fabric", remove_extra=True, confirmed=True)))
    assert fleet.wired("h2") == [104, 3000] and fleet.wired("h1") == [FIRST] and fleet.interfaces() == {("h1", FIRST): (True, "")}


def test_a_host_that_does_not_answer_keeps_what_it_was_seen_with(fleet: CabledFleet, desk: CabledDesk) -> None:
    ok(desk.create("a", "h1"))
    by_hand(fleet, "h1", lambda known: [])
    fleet.world.cut_link("h1")
    ok(desk.do(CheckDrift(target="fabric")))
    assert fleet.interfaces() == {("h1", FIRST): (True, "")} and any("h1 was not asked" in line for line in desk.words())
    fleet.world.mend_link("h1")
    ok(desk.do(CheckDrift(target="fabric")))
    assert fleet.interfaces() == {("h1", FIRST): (False, "missing")}


def test_every_physical_network_is_checked_by_itself(fleet: CabledFleet, desk: CabledDesk) -> None:
    with fleet.store.write() as tx:
        physical.create(tx, CreatePhysicalNetwork("second", "z", nic_labels={"kvm": "eth0"}), "ada")
        (timer,) = schedule.find(tx)
        request = schedule.rebuild(next(kind for kind in network_operations.OF_HOSTS if kind.kind == timer.kind), tx.get_one(ScheduleRow, timer.name).request, "s-1")
    assert (timer.kind, timer.every_s) == ("vlan.drift", 900) and isinstance(request, CheckDrift)
    ok(desk.do(request))
    with fleet.store.read() as tx:
        assert all(row.checked_at is not None for row in tx.scalars(select(PhysicalNetworkRow)))


def test_ids_of_networks_that_are_gone_are_given_back(fleet: CabledFleet, desk: CabledDesk) -> None:
    ok(desk.create("a", "h1"))
    ok(desk.do(DestroyVm(target="a", confirm="a")))
    with fleet.store.write() as tx:
        tx.delete(tx.get_one(NetworkRow, "n-shop"))
    ok(desk.do(RepairDrift(target="fabric", confirmed=True)))
    with fleet.store.read() as tx:
        assert not tx.scalars(select(VlanRow)).all()


def test_a_repair_that_fails_somewhere_says_so_and_does_the_rest(fleet: CabledFleet, desk: CabledDesk) -> None:
    for name, host in (("a", "h1"), ("b", "h2")):
        ok(desk.create(name, host))
        by_hand(fleet, host, lambda known: [])
    fleet.world.faults.fail("shell:run", ": wires ensure")
    failed(desk.do(RepairDrift(target="fabric", confirmed=True)), "partial")
    assert sorted(fleet.interfaces().values()) == [(False, "missing"), (True, "")]


def test_a_restart_of_a_network_takes_its_interfaces_away_before_its_id_is_anothers(fleet: CabledFleet, desk: CabledDesk) -> None:
    ok(desk.create("a", "h1"))
    fleet.world.faults.fail("shell:run", ": wires remove")
    stop(desk, "a")
    assert fleet.wired("h1") == [FIRST]
    ok(desk.do(RestartNetwork(target="shop", confirmed=True)))
    assert not fleet.wired("h1") and fleet.number() is None
    ok(desk.create("b", "h1", "blog"))
    assert fleet.number("blog") == FIRST


# --- who may not know --------------------------------------------------------------------------------------------------------------


def test_no_text_of_an_operation_tells_the_id(fleet: CabledFleet, desk: CabledDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that these verbs write, failures of hypervisors that name bridges among it, searched for the digits."""
    ok(desk.create("a", "h1"))
    by_hand(fleet, "h2", lambda known: [stray(FIRST)])
    ok(desk.do(CheckDrift(target="*")))
    ok(desk.do(MigrateVm(target="a", host="h3")))
    stop(desk, "a")
    fleet.world.faults.fail("shell:run", ": wires remove", times=5)
    refuse = Host.refuse_unplugged
    monkeypatch.setattr(Host, "refuse_unplugged", lambda host, nics: refuse(replace(host, interfaces=[]), nics))
    error = failed(desk.do(StartVm(target="a", host="h3")), "wrong_state", "start")
    assert "Cannot get interface MTU" in error.message and "breth1-" in error.message
    ok(desk.do(CheckDrift(target="fabric")))
    failed(desk.do(RepairDrift(target="fabric", remove_extra=True, confirmed=True)), "partial")
    told = [text for text in [*fleet.said(), *desk.words()] if str(FIRST) in text]
    assert not told


# --- kills -------------------------------------------------------------------------------------------------------------------------


SCENES: dict[str, tuple[tuple[str, ...], object, dict[str, list[int]]]] = {
    "create": ((), NEW, {"h1": [FIRST]}),
    "stop": (("web",), StopVm(target="web", confirmed=True), {}),
    "stop one of two": (("web", "other"), StopVm(target="web", confirmed=True), {"h1": [FIRST]}),
    "migrate": (("web",), MigrateVm(target="web", host="h2"), {"h2": [FIRST]}),
    "destroy": (("web",), DestroyVm(target="web", confirm="web"), {}),
    "repair": (("web",), RepairDrift(target="fabric", remove_extra=True, confirmed=True), {"h1": [FIRST]}),
    "restart": ((), RestartNetwork(target="shop", confirmed=True), {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("isolation", [Isolation.VLAN, Isolation.VXLAN])
@pytest.mark.parametrize("scene", sorted(SCENES))
def test_killed_at_every_boundary_the_interfaces_are_where_they_should_be(sqlite_template, tmp_path, scene: str, isolation: Isolation) -> None:
    """At each checkpoint of the engine, and before and after each call of a host's wires."""
    for number in itertools.count(1):
        path = tmp_path / f"{number}.db"
        shutil.copy(sqlite_template, path)
        store = Store(sqlite_url(path))
        fleet = CabledFleet(store, isolation=isolation)
        fleet.offering()
        fleet.hosts("h1", "h2")
        standing, request, ends = SCENES[scene]
        before = CabledDesk(fleet)
        for name in standing:
            ok(before.create(name, "h1"))
        if scene == "restart":
            ok(before.create("web", "h1"))
            stop(before, "web")
        if scene == "repair":
            by_hand(fleet, "h1", lambda known: [])
            by_hand(fleet, "h2", lambda known: [{**stray(FIRST), "isolation": isolation.value}])
        count, armed = itertools.count(1), [True]

        def strike(point: str = "", count=count, armed=armed, number=number) -> None:
            if armed[0] and next(count) == number:
                armed[0] = False
                raise Struck

        desk = CabledDesk(fleet, checkpoint=strike)
        real = {verb: getattr(FakeWires, verb) for verb in ("ensure", "remove")}
        for verb, call in real.items():
            def around(*args, call=call, **options):
                strike()
                found = call(*args, **options)
                strike()
                return found

            setattr(FakeWires, verb, around)
        try:
            operation = desk.ask(replace(request, host="h1") if scene == "create" else request)  # type: ignore[type-var]
            desk.claim()
            try:
                desk.run(operation.id)
            except Struck:
                fleet.links.forget()
                desk.run(operation.id)
        finally:
            for verb, call in real.items():
                setattr(FakeWires, verb, call)
        ok(desk.show(operation.id))
        assert {host: fleet.wired(host) for host in ("h1", "h2") if fleet.wired(host)} == ends, (scene, number)
        assert fleet.interfaces() == {(host, one): (True, "") for host, numbers in ends.items() for one in numbers}
        with store.read() as tx:
            assert not tx.scalars(select(LeaseRow)).all()
        store.close()
        if armed[0]:
            assert number > 5
            return


def test_states_of_vms_that_count_are_those_that_take_room(fleet: CabledFleet, desk: CabledDesk) -> None:
    """A VM of which nobody can say keeps its interface."""
    ok(desk.create("a", "h1"))
    with fleet.store.read() as tx:
        vm_id = tx.scalars(select(VmRow.id)).one()
    fleet.set(VmRow, vm_id, state=VmState.UNKNOWN.value)
    ok(desk.do(CheckDrift(target="fabric")))
    assert fleet.wired("h1") == [FIRST]
    fleet.set(VmRow, vm_id, state=VmState.CRASHED.value)
    fleet.world.change_guest(fleet_guest(fleet, "a"), state="off")
    ok(desk.do(CheckDrift(target="fabric")))
    assert not fleet.wired("h1")
