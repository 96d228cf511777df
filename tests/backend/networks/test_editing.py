"""Every refusal of the table of spec 10.2, each naming the token or who uses the ID, and nothing changed afterwards."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import select

from fleet_tui.backend.errors import ConfirmationRequired, FleetError, InUse, InvalidInput, NotFound, WrongState
from fleet_tui.backend.hosts.rows import ClusterRow, PodRow
from fleet_tui.backend.networks import (
    ApplyTemplate,
    CreatePhysicalNetwork,
    Dedicate,
    DeletePhysicalNetwork,
    EditPhysicalNetwork,
    PlanRanges,
    ReleaseDedication,
    SetRanges,
    SetScope,
    allocation,
    dedication,
    editing,
    physical,
    queries,
    scopes,
)
from fleet_tui.backend.networks.rows import DedicationRow, VlanRangeRow
from fleet_tui.backend.networks.states import Isolation, OwnerKind, Scope
from fleet_tui.backend.store import Store
from tests.backend.networks.ground import NOW, everything, network, physnet, zone


@pytest.fixture
def ground(store: Store) -> Store:
    """``guest`` with 600-799,820: 600 belongs to network ``shop`` of account shop, 700-709 are dedicated to project lab, 820 was specified."""
    with store.write() as tx:
        fabric = physnet(tx, "600,820")
        editing.set_ranges(tx, SetRanges("guest", "820", "remove", confirmed=True), "ada")
        allocation.take(tx, network(tx, fabric, "shop", "shop"), NOW)
        editing.set_ranges(tx, SetRanges("guest", "601-799,820", "add"), "ada")
        scopes.set_scope(tx, SetScope("guest", 820, 820, Scope.GUEST_ASSIGNED), "ada")
        allocation.specify(tx, network(tx, fabric, "own"), 820, NOW)
        dedication.dedicate(tx, Dedicate("guest", 700, 709, OwnerKind.PROJECT, "lab"), "ada")
    return store


def edit(store: Store, text: str, how: str = "set", confirmed: bool = True, expected: str | None = None) -> str:
    with store.write() as tx:
        editing.set_ranges(tx, SetRanges("guest", text, how, confirmed, expected), "ada")
    with store.read() as tx:
        return queries.describe_physical(tx, physical.find(tx, "guest")).ranges_text


@contextmanager
def refused(store: Store, kind: type[FleetError], *words: str) -> Iterator[None]:
    """The block is refused in those words, and leaves every row as it was."""
    with store.read() as tx:
        before = everything(tx)
    with pytest.raises(kind) as caught:
        yield
    told = f"{caught.value.message} {caught.value.hint} {caught.value.details}"
    assert [word for word in words if word not in told] == [], told
    with store.read() as tx:
        assert everything(tx) == before


def test_an_edit_replaces_and_what_is_not_listed_goes(ground: Store) -> None:
    with ground.read() as tx:
        made = editing.plan(tx, PlanRanges("guest", "600-709, 820,900-901"))
    assert (made.before, made.after, made.added, made.removed) == ("600-799,820", "600-709,820,900-901", "900-901", "710-799")
    assert (made.added_count, made.removed_count, made.is_unchanged) == (2, 90, False)
    with refused(ground, ConfirmationRequired, "90 IDs", "710-799"):
        edit(ground, "600-709,820,900-901", confirmed=False)
    assert edit(ground, "600-709,820,900-901") == "600-709,820,900-901"


def test_add_and_remove_need_not_restate_the_rest(ground: Store) -> None:
    assert edit(ground, "810-815", "add", confirmed=False) == "600-799,810-815,820"
    assert edit(ground, "720-799,811", "remove") == "600-719,810,812-815,820"
    with refused(ground, InvalidInput, "how", "set, add or remove"):
        edit(ground, "1", "replace")


def test_the_same_again_is_no_change_and_says_so(ground: Store) -> None:
    with ground.read() as tx:
        before = everything(tx)
        assert editing.plan(tx, PlanRanges("guest", "820,600-700,701-799")).is_unchanged
    assert edit(ground, "820,600-700,701-799") == "600-799,820"
    assert edit(ground, "650", "add") == edit(ground, "3000", "remove") == "600-799,820"
    with ground.read() as tx:
        assert everything(tx) == before


def test_ids_that_stay_keep_their_scope_and_new_ones_are_of_the_pool(ground: Store) -> None:
    edit(ground, "815-820", "add")
    with ground.read() as tx:
        rows = {(row.first, row.last, row.scope) for row in tx.scalars(select(VlanRangeRow))}
    assert rows == {(600, 799, "guest-pool"), (815, 819, "guest-pool"), (820, 820, "guest-assigned")}


@pytest.mark.parametrize("text", ["x", "700-600", "0", "4095", "600-99999", "600,,700"])
@pytest.mark.parametrize("how", ["set", "add", "remove"])
def test_a_text_that_cannot_be_read_changes_nothing(ground: Store, text: str, how: str) -> None:
    with refused(ground, InvalidInput, "from 1 to 4094"):
        edit(ground, text, how)
    with ground.read() as tx, pytest.raises(InvalidInput):
        editing.plan(tx, PlanRanges("guest", text, how))


@pytest.mark.parametrize(("text", "how"), [("601-799,820", "set"), ("600-605", "remove")])
def test_an_allocated_id_is_not_removed_and_its_network_and_owner_are_named(ground: Store, text: str, how: str) -> None:
    with refused(ground, InUse, "600 shop (account shop)"):
        edit(ground, text, how)


def test_a_specified_id_is_not_removed_either(ground: Store) -> None:
    with refused(ground, InUse, "820 own", "delete or shut down"):
        edit(ground, "600-799")


@pytest.mark.parametrize(("text", "how"), [("600-704,820", "set"), ("709", "remove")])
def test_what_is_dedicated_is_not_removed_before_it_is_released(ground: Store, text: str, how: str) -> None:
    with refused(ground, InUse, "release the dedication first", "700-709 of project lab"):
        edit(ground, text, how)


@pytest.mark.parametrize(("text", "how"), [("", "set"), (" ", "set"), ("1-4094", "remove")])
def test_a_network_in_use_is_not_left_without_ranges_and_the_count_is_told(ground: Store, text: str, how: str) -> None:
    with refused(ground, InUse, "2 of its IDs are in use", "600 shop", "820 own"):
        edit(ground, text, how)


def test_a_network_that_nobody_uses_can_be_emptied(store: Store) -> None:
    with store.write() as tx:
        physnet(tx, "600-799")
    assert edit(store, "") == ""


def test_ranges_of_the_same_nic_are_no_two_networks(ground: Store) -> None:
    with ground.write() as tx:
        physnet(tx, "100-199", "same")
        physnet(tx, "100-199", "apart", label="eth2")
        physnet(tx, "100-199", "far", in_zone="z2")
    with refused(ground, InvalidInput, "150-199", "physical network same", "eth1"):
        edit(ground, "150-250", "add")
    with refused(ground, InvalidInput, "600-799", "physical network guest"):
        with ground.write() as tx:
            physnet(tx, "1-4094", "new")
    with ground.write() as tx:
        physnet(tx, "600-799", "apart-2", label="eth3")


def test_vxlan_ids_are_unique_in_the_zone_whatever_the_nic(store: Store) -> None:
    with store.write() as tx:
        physnet(tx, "5000-6000", "one", Isolation.VXLAN, "eth1")
        physnet(tx, "1-4094", "vlan", label="eth1")
        physnet(tx, "5000-6000", "far", Isolation.VXLAN, in_zone="z2")
    with refused(store, InvalidInput, "6000", "physical network one", "unique in a zone"):
        with store.write() as tx:
            physnet(tx, "6000-7000", "two", Isolation.VXLAN, "eth2")


def test_an_edit_of_what_changed_meanwhile_is_refused(ground: Store) -> None:
    assert edit(ground, "810", "add", expected="820,600-799") == "600-799,810,820"
    with refused(ground, WrongState, "changed meanwhile"):
        edit(ground, "811", "add", expected="600-799,820")


def test_edits_of_two_networks_at_once_cannot_both_take_the_same_ids(store: Store) -> None:
    with store.write() as tx:
        for name in ("guest", "other"):
            physnet(tx, "", name)
    outcomes: list[str] = []

    def add(name: str) -> None:
        try:
            with store.write() as tx:
                editing.set_ranges(tx, SetRanges(name, "100-200"), "ada")
            outcomes.append("ok")
        except InvalidInput as refusal:
            outcomes.append(refusal.message)

    threads = [threading.Thread(target=add, args=(name,)) for name in ("guest", "other")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(outcomes) == 2 and outcomes.count("ok") == 1, outcomes


# --- scopes ----------------------------------------------------------------------------------------------------------


def scope(store: Store, first: int, last: int, to: Scope) -> list[tuple[int, int, str]]:
    with store.write() as tx:
        scopes.set_scope(tx, SetScope("guest", first, last, to), "ada")
    with store.read() as tx:
        return [(row.first, row.last, row.scope) for row in tx.scalars(select(VlanRangeRow).order_by(VlanRangeRow.first))]


def test_a_scope_cuts_ranges_and_heals_them_again(ground: Store) -> None:
    assert scope(ground, 650, 659, Scope.PUBLIC) == [
        (600, 649, "guest-pool"), (650, 659, "public"), (660, 799, "guest-pool"), (820, 820, "guest-assigned"),
    ]
    assert scope(ground, 640, 669, Scope.GUEST_POOL) == [(600, 799, "guest-pool"), (820, 820, "guest-assigned")]


def test_what_guests_have_or_is_dedicated_stays_with_guests(ground: Store) -> None:
    with refused(ground, InUse, "600 shop (account shop)", "management"):
        scope(ground, 600, 610, Scope.MANAGEMENT)
    with refused(ground, InUse, "release the dedication first", "project lab"):
        scope(ground, 705, 720, Scope.RESERVED)
    scope(ground, 600, 720, Scope.GUEST_SHARED)


def test_a_scope_is_given_to_ids_that_there_are(ground: Store) -> None:
    with refused(ground, InvalidInput, "800-819 is in no range"):
        scope(ground, 700, 820, Scope.PUBLIC)
    with refused(ground, InvalidInput, "ends before it begins"):
        scope(ground, 620, 610, Scope.PUBLIC)


def test_the_template_gives_scopes_and_neither_adds_nor_removes_ids(store: Store) -> None:
    with store.write() as tx:
        physnet(tx, "490-610,795-805,899-901,999-1001")
        scopes.apply_template(tx, ApplyTemplate("guest"), "ada")
        rows = [(row.first, row.last, row.scope) for row in tx.scalars(select(VlanRangeRow).order_by(VlanRangeRow.first))]
    assert rows == [
        (490, 499, "management"), (500, 599, "public"), (600, 610, "guest-pool"), (795, 799, "guest-pool"), (800, 805, "guest-assigned"),
        (899, 899, "guest-assigned"), (900, 901, "guest-shared"), (999, 999, "guest-shared"), (1000, 1001, "reserved"),
    ]
    with store.read() as tx:
        before = everything(tx)
    with store.write() as tx:
        scopes.apply_template(tx, ApplyTemplate("guest"), "ada")
    with store.read() as tx:
        assert everything(tx) == before


def test_the_template_is_refused_where_it_would_take_from_guests_and_where_there_are_no_vlans(store: Store) -> None:
    with store.write() as tx:
        allocation.take(tx, network(tx, physnet(tx, "1200"), "shop"), NOW)
        physnet(tx, "1-5000", "vx", Isolation.VXLAN)
    with refused(store, InUse, "1200 shop", "cannot be reserved"):
        with store.write() as tx:
            scopes.apply_template(tx, ApplyTemplate("guest"), "ada")
    with refused(store, InvalidInput, "VXLAN"):
        with store.write() as tx:
            scopes.apply_template(tx, ApplyTemplate("vx"), "ada")


# --- dedications -----------------------------------------------------------------------------------------------------


def dedicate(store: Store, first: int, last: int, kind: OwnerKind = OwnerKind.ACCOUNT, owner: str = "bank") -> list[tuple[int, int, str, str]]:
    with store.write() as tx:
        dedication.dedicate(tx, Dedicate("guest", first, last, kind, owner), "ada")
    return dedicated(store)


def dedicated(store: Store) -> list[tuple[int, int, str, str]]:
    with store.read() as tx:
        return [(row.first, row.last, row.owner_kind, row.owner) for row in tx.scalars(select(DedicationRow).order_by(DedicationRow.first))]


LAB = (700, 709, "project", "lab")


def test_adjoining_ranges_of_one_owner_become_one(ground: Store) -> None:
    dedicate(ground, 710, 719)
    dedicate(ground, 730, 739)
    assert dedicate(ground, 720, 729) == [LAB, (710, 739, "account", "bank")]
    assert dedicate(ground, 740, 749, OwnerKind.PROJECT) == [LAB, (710, 739, "account", "bank"), (740, 749, "project", "bank")]


def test_dedications_that_cannot_be(ground: Store) -> None:
    with refused(ground, InUse, "700-709 is project lab's already"):
        dedicate(ground, 690, 700)
    with refused(ground, InUse, "others use 600 shop (account shop)"):
        dedicate(ground, 600, 610)
    with refused(ground, InvalidInput, "800-819 is in no range"):
        dedicate(ground, 790, 820)
    with refused(ground, InvalidInput, "ends before it begins"):
        dedicate(ground, 620, 610)
    with refused(ground, InvalidInput, "owner"):
        dedicate(ground, 620, 630, owner="")
    scope(ground, 620, 630, Scope.PUBLIC)
    with refused(ground, InvalidInput, "620-630 is not for guests"):
        dedicate(ground, 610, 640)
    assert dedicate(ground, 600, 600, owner="shop") == [(600, 600, "account", "shop"), LAB]


def test_a_release_keeps_networks_and_what_they_give_back_is_anybodys(ground: Store) -> None:
    dedicate(ground, 600, 610, owner="shop")
    with ground.write() as tx:
        dedication.release(tx, ReleaseDedication("guest", 600, 605), "ada")
    assert dedicated(ground) == [(606, 610, "account", "shop"), LAB]
    with ground.write() as tx:
        dedication.release(tx, ReleaseDedication("guest", 607, 702), "ada")
    assert dedicated(ground) == [(606, 606, "account", "shop"), (703, 709, "project", "lab")]
    with ground.read() as tx:
        counts = queries.describe_physical(tx, physical.find(tx, "guest")).counts
    assert (counts["allocated"], counts["specified"], counts["dedicated-free"], counts["free"]) == (1, 1, 8, 191)
    with refused(ground, NotFound, "nothing of 600-605 is dedicated"):
        with ground.write() as tx:
            dedication.release(tx, ReleaseDedication("guest", 600, 605), "ada")


# --- the network itself ----------------------------------------------------------------------------------------------


def change(store: Store, enabled: bool | None = None, labels: dict[str, str] | None = None, target: str = "guest") -> str:
    with store.write() as tx:
        return physical.edit(tx, EditPhysicalNetwork(target, enabled, labels), "ada").state


def test_fields_of_a_new_one(ground: Store) -> None:
    for request, words in (
        (CreatePhysicalNetwork("-x", "z1"), ("name: use 1 to 63",)),
        (CreatePhysicalNetwork("guest", "z1"), ("zone z1 has a physical network guest already",)),
        (CreatePhysicalNetwork("new", "z1", nic_labels={"qemu": "eth1"}), ("'qemu' is no hypervisor",)),
        (CreatePhysicalNetwork("new", "z1", nic_labels={"kvm": "eth1; reboot"}), ("is no label for kvm",)),
        (CreatePhysicalNetwork("new", "z1", nic_labels={"kvm": "../eth1"}), ("is no label for kvm",)),
        (CreatePhysicalNetwork("new", "z1", ranges="5-1"), ("'5-1' ends before it begins",)),
    ):
        with refused(ground, InvalidInput, *words), ground.write() as tx:
            physical.create(tx, request, "ada")
    with ground.write() as tx:
        made = physical.create(tx, CreatePhysicalNetwork("guest", zone(tx, "z2").name, nic_labels={"vsphere": "dvSwitch 1"}), "ada")
        assert made.state == "Disabled"
    with refused(ground, InvalidInput, "several zones"):
        change(ground, True)


def test_it_is_enabled_with_a_label_for_each_hypervisor_of_its_zone(store: Store) -> None:
    with store.write() as tx:
        zone(tx)
        physical.create(tx, CreatePhysicalNetwork("guest", "z1"), "ada")
        tx.add(PodRow(id="p", name="p", zone_id="z-z1"))
        tx.flush()
    with refused(store, WrongState, "no NIC label"):
        change(store, True)
    with store.write() as tx:
        tx.add_all(ClusterRow(id=kind, name=kind, pod_id="p", hypervisor=kind) for kind in ("kvm", "vsphere", "none"))
    with refused(store, WrongState, "no NIC label for vsphere"):
        change(store, True, {"kvm": "eth1"})
    assert change(store, True, {"kvm": "eth1", "vsphere": "vSwitch0"}) == "Enabled"
    assert change(store, False) == change(store, False) == "Disabled"


def test_a_label_does_not_change_under_interfaces_that_hosts_have(ground: Store) -> None:
    with refused(ground, InUse, "label for kvm", "2 IDs", "shop"):
        change(ground, labels={"kvm": "eth9"})
    assert change(ground, labels={"kvm": "eth1", "xenserver": "eth4"}) == "Enabled"


def test_a_label_does_not_bring_the_same_ids_onto_one_nic(ground: Store) -> None:
    with ground.write() as tx:
        physnet(tx, "1-4094", "apart", label="eth2")
    with refused(ground, InvalidInput, "600-799", "physical network guest"):
        change(ground, labels={"kvm": "eth1"}, target="apart")


def test_it_goes_only_when_nothing_stands_on_it(ground: Store) -> None:
    def delete(target: str, confirm: str = "") -> None:
        with ground.write() as tx:
            physical.delete(tx, DeletePhysicalNetwork(target, confirm), "ada")

    with refused(ground, InUse, "guest networks: own, shop"):
        delete("guest", "guest")
    with ground.write() as tx:
        physnet(tx, "1-9", "spare")
    with refused(ground, InUse, "zone z1 is not empty", "guest, spare"), ground.write() as tx:
        physical.refuse_in_zone(tx, "z1")
    with refused(ground, ConfirmationRequired, "--confirm spare"):
        delete("spare", "guest")
    delete("spare", "spare")
    with pytest.raises(NotFound):
        delete("spare", "spare")
