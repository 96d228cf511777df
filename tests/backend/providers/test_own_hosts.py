"""Instances on our own hosts: one VM, one address, one disk however often a daemon dies; disks that nothing takes along; what a machine is born with."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copyfile, copytree

import pytest
from sqlalchemy import delete, select

from fleet_tui.backend.errors import Busy, FleetError, InUse, InvalidInput, NoCapacity, NotFound, PermissionDenied, Unreachable, WrongState
from fleet_tui.backend.hosts import DeleteBranch
from fleet_tui.backend.hosts.hierarchy import delete_branch
from fleet_tui.backend.hosts.rows import HostRow, ZoneRow
from fleet_tui.backend.hypervisors import GuestState
from fleet_tui.backend.identity import Role
from fleet_tui.backend.identity.rows import UserRow
from fleet_tui.backend.machines import DestroyVm, MigrateVm, StopVm
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.networks.rows import NetworkRow, NicRow
from fleet_tui.backend.operations.rows import LeaseRow, OperationRow
from fleet_tui.backend.providers import (
    BootConfiguration,
    DiskSpec,
    MachineSpec,
    MachineState,
    Placement,
    RegisterCloudImage,
    RemoveCloudImage,
    cloud_images,
    seeds,
)
from fleet_tui.backend.providers.rows import OwnDiskRow, OwnMachineRow, OwnSnapshotRow
from fleet_tui.backend.store import Store, sqlite_url
from tests.backend.machines.yard import START
from tests.backend.providers.own_yard import IMAGE, PLACEMENT, Yard

ORDERS = BootConfiguration("m-1", "secret-token", "https://10.0.0.1:6978", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")


class Killed(BaseException):
    """``kill -9``."""


@pytest.fixture
def sqlite_store(sqlite_template: Path, tmp_path: Path) -> Iterator[Store]:
    file = tmp_path / "own.db"
    copyfile(sqlite_template, file)
    store = Store(sqlite_url(file))
    yield store
    store.close()


@pytest.fixture
def yard(sqlite_store: Store) -> Yard:
    return Yard(sqlite_store)


def machine(yard: Yard, name: str = "m-1", placement: Placement = PLACEMENT, **fields: object) -> None:
    yard.provider.create_machine(MachineSpec(name, f"i-{name}", "Web 1", f"token of {name}", placement=placement, **fields), yard.say)  # type: ignore[arg-type]


def disk(yard: Yard, name: str = "d-1", size_gb: int = 10) -> None:
    yard.provider.ensure_disk(name, size_gb, f"token of {name}", yard.say, DiskSpec(placement=PLACEMENT))


def boot(yard: Yard, name: str = "m-1", bundle: str = "") -> None:
    yard.provider.boot(name, BootConfiguration(name, ORDERS.token, ORDERS.door, ORDERS.ca_pem), bundle, yard.say)


def whole(yard: Yard, name: str = "m-1", data: str = "d-1") -> None:
    disk(yard, data)
    machine(yard, name, disk_id=data)
    yard.provider.attach_disk(name, data)
    boot(yard, name)


# --- what is made ------------------------------------------------------------------------------------------------------


def test_a_machine_is_a_vm_on_the_guest_network_beside_its_image(yard: Yard) -> None:
    whole(yard)
    vm = yard.vm()
    assert (vm.state, vm.cluster_id, vm.ips, vm.offering_id) == ("running", "c", ["10.5.0.2"], "small")
    assert [disk["path"] for disk in vm.disks] == [f"/shared/images/m-1.{vm.id}.qcow2", "/shared/images/d-1.qcow2", "/shared/images/m-1.seed.iso"]
    assert [disk["is_kept"] for disk in vm.disks] == [False, True, False] and vm.disks[1]["serial"] == "d-1"
    assert vm.disks[0]["source"] == IMAGE and yard.disks_of() == [disk["path"] for disk in vm.disks]
    info = yard.provider.find_machine("m-1")
    assert (info.state, info.private_ip, info.host) == (MachineState.ON, "10.5.0.2", yard.fleet.row(vm.id).host_id)
    (place,) = yard.runs()
    assert yard.fleet.wired(place), "its host has the network"


def test_whoever_asks_for_the_instance_asks_for_its_vm(yard: Yard) -> None:
    """Their role decides in a disabled zone (HST-3), not the daemon's own user, whatever that is called."""
    with yard.store.write() as tx:
        for uid, (name, role) in enumerate((("fleetd", Role.ROOT_ADMIN), ("ann", Role.ROOT_ADMIN), ("olga", Role.OPERATOR))):
            tx.add(UserRow(name=name, role=role.value, uid=uid, display_name="", state="active", created_at=START))
    asks(yard, "olga")
    whole(yard)
    assert yard.vm().owners == ["olga"]
    yard.provider.shut_down("m-1", 5.0, yard.say)
    yard.fleet.set(ZoneRow, "z", allocation="Disabled")
    for user in ("olga", ""):
        asks(yard, user)
        with pytest.raises(PermissionDenied, match="zone z is disabled"):
            boot(yard)
    asks(yard, "ann")
    boot(yard)
    assert yard.runs() and yard.vm().owners == ["olga"]


def asks(yard: Yard, user: str, instance: str = "i-m-1") -> None:
    """An operation on that instance is under way, asked for by that user; none where there is no user."""
    with yard.store.write() as tx:
        tx.execute(delete(OperationRow).where(OperationRow.target_ref == f"instance:{instance}"))
        if user:
            tx.add(OperationRow(
                id=f"o-{user}", kind="any", title="any", target="web", target_ref=f"instance:{instance}", state="running", user=user, rank=0.0,
                submitted_at=START,
            ))
            tx.flush()
            tx.add(LeaseRow(level="instance", name=instance, operation_id=f"o-{user}", shared=False))


def test_each_machine_has_an_address_of_its_own_until_it_is_terminated(yard: Yard) -> None:
    for number in range(1, 4):
        machine(yard, f"m-{number}")
    addresses = [info.private_ip for info in yard.provider.machines()]
    assert addresses == ["10.5.0.2", "10.5.0.3", "10.5.0.4"]  # .1 is the gateway
    yard.provider.terminate("m-2", yard.say)
    machine(yard, "m-9")
    assert yard.provider.find_machine("m-9").private_ip == "10.5.0.3"


def test_a_network_without_free_addresses_or_without_any_is_said(yard: Yard) -> None:
    narrow = Placement(zone="z", guest_network="blog")  # a /30: two addresses, one of them the gateway's
    machine(yard, "m-1", narrow)
    with pytest.raises(NoCapacity, match="every address"):
        machine(yard, "m-2", narrow)
    yard.fleet.set(NetworkRow, "n-shop", cidr="")
    with pytest.raises(WrongState, match="no range"):
        machine(yard, "m-3")
    assert [info.id for info in yard.provider.machines()] == ["m-1"]


@pytest.mark.parametrize(("placement", "kind"), [
    (Placement(), InvalidInput), (Placement(zone="z"), InvalidInput), (Placement(guest_network="shop"), InvalidInput),
    (Placement(zone="nowhere", guest_network="shop"), NotFound), (Placement(zone="z", guest_network="nothing"), NotFound),
])
def test_a_place_that_is_none_is_refused_before_anything_is_made(yard: Yard, placement: Placement, kind: type[FleetError]) -> None:
    with pytest.raises(kind):
        machine(yard, placement=placement)
    with pytest.raises(kind):
        yard.provider.ensure_disk("d-1", 10, "t", yard.say, DiskSpec(placement=placement))
    assert not yard.provider.machines() and yard.files() == set()


def test_without_an_image_a_size_or_an_open_host_nothing_is_made(yard: Yard) -> None:
    yard.fleet.offering("large", cores=4)
    with pytest.raises(InvalidInput, match="how large"):
        machine(yard)
    with pytest.raises(NotFound):
        machine(yard, machine_type="huge")
    with pytest.raises(NotFound, match="no cloud image 'windows'"):
        machine(yard, machine_type="large", image="windows")
    for host in ("h1", "h2"):
        yard.fleet.set(HostRow, host, resource_state="Maintenance")
    with pytest.raises(WrongState, match="the host is Maintenance"):
        machine(yard, machine_type="large")
    assert not yard.provider.machines() and yard.files() == set()


def test_a_disk_and_its_machine_are_of_one_cluster(yard: Yard) -> None:
    disk(yard)
    yard.fleet.cluster("d")
    yard.fleet.hosts("h3", "h4", "h5", cluster="d")
    machine(yard, "m-2")
    assert yard.vm("m-2").cluster_id == "d", "the one with more room"
    machine(yard, "m-1", disk_id="d-1")
    assert yard.vm("m-1").cluster_id == "c"


# --- what goes, and what stays ---------------------------------------------------------------------------------------------


def test_terminating_takes_the_vm_and_its_own_disks_only(yard: Yard) -> None:
    whole(yard)
    yard.provider.terminate("m-1", yard.say)
    assert yard.files() == {"/shared/images/d-1.qcow2"}
    with yard.store.read() as tx:
        assert tx.scalar(select(VmRow.id)) is None and tx.scalar(select(OwnMachineRow.id)) is None
        assert tx.get_one(OwnDiskRow, "d-1").attached_to is None
    assert not any(guests for guests in yard.fleet.world.ledger.on_host.values())


def test_even_a_vm_that_a_person_destroys_leaves_the_data_disk(yard: Yard) -> None:
    whole(yard)
    yard.submit("vm.stop", StopVm(target="m-1", confirmed=True), "ada")
    yard.submit("vm.destroy", DestroyVm(target="m-1", confirm="m-1"), "ada")
    assert yard.files() == {"/shared/images/d-1.qcow2"}
    assert yard.provider.find_machine("m-1").state is MachineState.OFF
    yard.provider.terminate("m-1", yard.say)
    found = yard.provider.find_disk("d-1")
    assert yard.provider.find_machine("m-1").state is MachineState.ABSENT and found is not None and found.attached_to is None


def test_a_running_machine_lets_go_of_nothing(yard: Yard) -> None:
    whole(yard)
    with pytest.raises(WrongState) as refused:
        yard.provider.detach_disk("m-1", "d-1")
    assert refused.value.details["holders"] == ["vm m-1"]
    with pytest.raises(Busy):
        yard.provider.delete_disk("d-1")
    assert "/shared/images/d-1.qcow2" in yard.files() and yard.runs()


def test_a_file_that_vanished_is_not_made_anew_in_silence(yard: Yard) -> None:
    disk(yard)
    yard.fleet.world.ledger.drop(next(file for file in yard.fleet.world.ledger.files.values() if "d-1" in file.id))
    assert yard.provider.find_disk("d-1") is None
    with pytest.raises(NotFound, match="content of data disk d-1 is gone"):
        yard.provider.ensure_disk("d-1", 10, "a later step", yard.say, DiskSpec(placement=PLACEMENT))
    assert yard.files() == set()


def test_a_disk_grows_while_its_machine_runs_and_while_it_does_not(yard: Yard) -> None:
    whole(yard)
    for size in (20, 15):
        assert yard.provider.grow_disk("d-1", size, yard.say).size_gb == 20
    yard.provider.shut_down("m-1", 5.0, yard.say)
    assert yard.provider.grow_disk("d-1", 30, yard.say).size_gb == 30
    file = next(file for file in yard.fleet.world.ledger.files.values() if file.id.endswith("d-1.qcow2"))
    assert file.size_bytes == 30 * 1024**3


def test_a_machine_that_moved_is_the_same_machine(yard: Yard) -> None:
    whole(yard)
    (before,) = yard.runs()
    other = "h2" if before == "h1" else "h1"
    yard.submit("vm.migrate", MigrateVm(target="m-1", host=other), "ada")
    info = yard.provider.find_machine("m-1")
    assert (info.state, info.host, yard.runs()) == (MachineState.ON, other, (other,))
    assert yard.provider.whereabouts() == {"m-1": other}
    assert yard.provider.snapshot_disk("d-1", "s-1", yard.say).size_bytes > 0
    yard.provider.shut_down("m-1", 5.0, yard.say)
    yard.provider.detach_disk("m-1", "d-1")
    yard.provider.terminate("m-1", yard.say)
    assert yard.files() == {"/shared/images/d-1.qcow2", "/shared/images/s-1.qcow2"}


def test_what_a_snapshot_that_failed_left_goes_with_the_next_one_and_with_the_disk(yard: Yard) -> None:
    disk(yard)

    def fail(name: str) -> None:
        """No host answers, and what one was asked before is made after we have gone."""
        for host in ("h1", "h2"):
            yard.fleet.world.power_off(host)
        with pytest.raises(Unreachable):
            yard.provider.snapshot_disk("d-1", name, yard.say)
        for host in ("h1", "h2"):
            yard.fleet.world.power_on(host)
        yard.fleet.links.hypervisor("h1").storage.put(f"/shared/images/{name}.qcow2", b"late")

    fail("s-1")
    yard.provider.snapshot_disk("d-1", "s-2", yard.say)
    assert yard.files() == {"/shared/images/d-1.qcow2", "/shared/images/s-2.qcow2"}
    fail("s-3")
    yard.provider.delete_disk("d-1")
    assert yard.files() == {"/shared/images/s-2.qcow2"}, "one that is whole stays until it is deleted itself"
    with yard.store.read() as tx:
        assert tx.scalars(select(OwnSnapshotRow.id)).all() == ["s-2"]


def test_a_vm_of_which_nobody_knows_counts_as_on(yard: Yard) -> None:
    """Whoever thought it were off would start it a second time."""
    whole(yard)
    yard.fleet.set(VmRow, yard.vm().id, state="unknown")
    assert yard.provider.find_machine("m-1").state is MachineState.ON
    boot(yard)
    with pytest.raises(WrongState):
        yard.provider.shut_down("m-1", 1.0, yard.say)
    with pytest.raises(WrongState):
        yard.provider.terminate("m-1", yard.say)
    assert not yard.fleet.world.double_starts and yard.state_of() == [GuestState.RUNNING]


def test_without_a_host_that_answers_it_is_said_which_cluster(yard: Yard) -> None:
    disk(yard)
    for host in ("h1", "h2"):
        yard.fleet.world.power_off(host)
    with pytest.raises(Unreachable, match="no host of cluster c answers"):
        yard.provider.find_disk("d-1")


# --- deaths of the daemon ------------------------------------------------------------------------------------------------


VERBS: tuple[tuple[str, Callable[[Yard], None]], ...] = (
    ("ensure_disk", disk),
    ("create_machine", lambda yard: machine(yard, disk_id="d-1")),
    ("attach_disk", lambda yard: yard.provider.attach_disk("m-1", "d-1")),
    ("boot", boot),
    ("shut_down", lambda yard: yard.provider.shut_down("m-1", 5.0, yard.say)),
    ("detach_disk", lambda yard: yard.provider.detach_disk("m-1", "d-1")),
    ("terminate", lambda yard: yard.provider.terminate("m-1", yard.say)),
)
"""A machine's whole life, in order."""


def points(store: Store) -> Iterator[int]:
    """Numbers of the commits that a whole life has, as a first run counts them."""
    yard, seen = Yard(store), [0]
    store.on_commit.append(lambda tx: seen.__setitem__(0, seen[0] + 1))
    for _, verb in VERBS:
        verb(yard)
    store.on_commit.clear()
    yield from range(1, seen[0] + 1)


@pytest.mark.slow
def test_killed_after_any_commit_every_verb_repeated_comes_to_its_end(sqlite_store: Store, sqlite_template: Path, tmp_path: Path) -> None:
    """Never two VMs, two addresses or two disks; what the whole life leaves is the data disk."""
    last = max(points(sqlite_store))
    assert last > 20
    for number in range(1, last + 1):
        file = tmp_path / f"killed-{number}.db"
        copyfile(sqlite_template, file)
        store = Store(sqlite_url(file))
        yard, left = Yard(store), [number]

        def count(tx: object, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise Killed

        store.on_commit.append(count)
        for name, verb in VERBS:
            try:
                verb(yard)
            except Killed:
                yard = yard.again()
                verb(yard)
            _check(yard, name, number)
        assert left[0] <= 0, "it was killed"
        assert yard.files() == {"/shared/images/d-1.qcow2"} and not yard.fleet.world.double_starts
        store.close()


def test_a_machine_whose_vm_is_being_destroyed_already_is_terminated_all_the_same(yard: Yard) -> None:
    """As after a restart in the middle of it: the operation of the VM and the one of the instance go on side by side."""
    whole(yard)
    yard.provider.shut_down("m-1", 5.0, yard.say)
    yard.provider.detach_disk("m-1", "d-1")

    def kill(point: str) -> None:
        if point == "adopted":
            raise Killed

    yard.checkpoint = kill
    with pytest.raises(Killed):
        yard.provider.terminate("m-1", yard.say)
    assert yard.vm().state == "destroying"
    yard = yard.again(and_go_on=False)
    yard.meanwhile = yard.go_on
    yard.provider.terminate("m-1", yard.say)
    assert yard.provider.find_machine("m-1").state is MachineState.ABSENT and yard.files() == {"/shared/images/d-1.qcow2"}


def _check(yard: Yard, after: str, number: int) -> None:
    with yard.store.read() as tx:
        vms = tx.scalars(select(VmRow)).all()
        machines, disks = tx.scalars(select(OwnMachineRow)).all(), tx.scalars(select(OwnDiskRow)).all()
    told = f"after {after}, killed at commit {number}"
    has_machine = after not in ("ensure_disk", "terminate")
    assert (len(vms), len(machines), len(disks)) == (has_machine, has_machine, 1), told
    guests = [guest for host in yard.fleet.world.ledger.on_host.values() for guest in host.values()]
    assert len(guests) == has_machine, told
    if has_machine:
        assert [disk["path"] for disk in vms[0].disks] == [disk["path"] for disk in guests[0].disks], told
        assert (guests[0].state == "running") is (after == "boot"), told
    assert {path for path in yard.files() if "making" in path} == set()


def test_a_cluster_with_a_kept_disk_on_record_is_not_deleted(yard: Yard) -> None:
    yard.fleet.cluster("d")
    with yard.store.write() as tx:
        tx.add(OwnDiskRow(id="d-9", cluster_id="d", path="/shared/d-9.qcow2", size_gb=10, token="t", attached_to=None, created_at=START))
    with pytest.raises(InUse, match="data disks of instances"), yard.store.write() as tx:
        delete_branch(tx, DeleteBranch("cluster", "d", confirm="d"), "ada")
    with yard.store.read() as tx:
        assert tx.get(OwnDiskRow, "d-9") is not None


# --- what a machine is born with -------------------------------------------------------------------------------------------


def test_the_seed_is_a_nocloud_disk_with_agent_orders_and_bundle(yard: Yard, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.tar"
    bundle.write_bytes(b"the application" * 100)
    disk(yard)
    machine(yard, disk_id="d-1")
    yard.provider.attach_disk("m-1", "d-1")
    boot(yard, bundle=str(bundle))
    seed = next(file for file in yard.fleet.world.ledger.files.values() if file.id.endswith("m-1.seed.iso"))
    image, out = tmp_path / "seed.iso", tmp_path / "seed"
    image.write_bytes(bytes.fromhex(seed.content))
    subprocess.run(["xorriso", "-osirrox", "on", "-indev", str(image), "-extract", "/", str(out)], check=True, capture_output=True)
    assert image.read_bytes()[32808:32840].strip() == b"CIDATA"
    assert json.loads((out / "meta-data").read_text()) == {"instance-id": "m-1", "local-hostname": "web-1"}
    network = json.loads((out / "network-config").read_text())
    with yard.store.read() as tx:
        mac = tx.scalar(select(NicRow.mac))
    assert network["ethernets"]["eth0"] == {
        "match": {"macaddress": mac}, "addresses": ["10.5.0.2/24"], "routes": [{"to": "0.0.0.0/0", "via": "10.5.0.1"}],
    }
    orders = json.loads((out / "fleet/agent.json").read_text())
    assert orders == {"machine": "m-1", "token": ORDERS.token, "door": ORDERS.door, "ca_pem": ORDERS.ca_pem, "data_serial": "d-1"}
    assert (out / "fleet/bundle.tar").read_bytes() == bundle.read_bytes()
    assert (out / "fleet/agent.pyz").read_bytes()[:2] == b"PK"
    assert (out / "user-data").read_text().startswith("#cloud-config\n") and ORDERS.token not in (out / "user-data").read_text()
    for script in ("settle.sh", "arrive.sh"):
        subprocess.run(["sh", "-n", str(out / "fleet" / script)], check=True)


def test_each_boot_brings_its_own_orders_on_the_same_seed(yard: Yard) -> None:
    whole(yard)
    first = next(file.content for file in yard.fleet.world.ledger.files.values() if file.id.endswith(".seed.iso"))
    yard.provider.shut_down("m-1", 5.0, yard.say)
    yard.provider.boot("m-1", BootConfiguration("m-1", "another", ORDERS.door, ORDERS.ca_pem), "", yard.say)
    (second,) = [file.content for file in yard.fleet.world.ledger.files.values() if file.id.endswith(".seed.iso")]
    assert second != first and b"another".hex() in second and len(yard.vm().disks) == 3


def test_what_a_virtual_network_lacks_is_said_all_at_once(yard: Yard) -> None:
    assert not yard.provider.survey(Placement(zone="z", guest_network="shop"))
    lost = yard.provider.survey(Placement(zone="nowhere", guest_network="nothing"))
    assert [one.field for one in lost] == ["zone", "guest_network"] and all(one.is_error for one in lost)
    yard.fleet.set(NetworkRow, "n-shop", cidr="")
    for host in ("h1", "h2"):
        yard.fleet.set(HostRow, host, resource_state="Maintenance")
    with yard.store.write() as tx:
        cloud_images.remove(tx, RemoveCloudImage("debian", confirm="debian"), "ada")
    amiss = yard.provider.survey(Placement(zone="z", guest_network="shop"))
    assert [(one.field, one.is_error) for one in amiss] == [("zone", True), ("guest_network", True), ("zone", False)]
    assert "no cloud image" in amiss[0].text and "range of addresses" in amiss[1].text and "Maintenance" in amiss[2].text


def test_what_a_killed_daemon_left_of_a_seed_goes_when_the_next_begins(sqlite_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop = tmp_path / "seeds-1"
    yard, build = Yard(sqlite_store, workshop=workshop), seeds._build

    def killed(program: str, folder: Path, image: Path) -> None:
        assert folder.parent.parent == workshop and (workshop.stat().st_mode & 0o777, folder.parent.stat().st_mode & 0o777) == (0o700, 0o700)
        copytree(folder.parent, workshop / "left")
        build(program, folder, image)

    monkeypatch.setattr(seeds, "_build", killed)
    whole(yard)
    (left,) = workshop.rglob("agent.json")
    assert ORDERS.token in left.read_text() and left.is_relative_to(workshop / "left")
    yard.again()
    assert not list(tmp_path.rglob("agent.json"))


# --- the register of images --------------------------------------------------------------------------------------------------


def test_what_is_a_disk_already_is_no_image(yard: Yard) -> None:
    """What is on the register is for every operator to read."""
    whole(yard)
    yard.provider.snapshot_disk("d-1", "s-1", yard.say)
    for path, holder in ((yard.vm().disks[0]["path"], "a disk of VM m-1"), ("/shared/images/d-1.qcow2", "data disk d-1"), (
        "/shared/images/s-1.qcow2", "snapshot s-1"
    )):
        with pytest.raises(InvalidInput, match=f"path: is {holder}"), yard.store.write() as tx:
            cloud_images.register(tx, RegisterCloudImage("mine", "z", path), START, "ada")


def test_images_are_registered_once_and_the_last_of_a_zone_stays_while_it_is_needed(yard: Yard) -> None:
    with yard.store.write() as tx:
        again = cloud_images.register(tx, RegisterCloudImage("debian", "z", IMAGE), START, "ada")
        assert (again.name, again.zone, again.path) == ("debian", "z", IMAGE)
    for wrong in (RegisterCloudImage("debian", "z", "/other"), RegisterCloudImage("a b", "z", "/x"), RegisterCloudImage("x", "z", "relative"),
                  RegisterCloudImage("x", "z", "/a/../b")):
        with pytest.raises(InvalidInput), yard.store.write() as tx:
            cloud_images.register(tx, wrong, START, "ada")
    disk(yard)
    with pytest.raises(FleetError, match="last of its zone"), yard.store.write() as tx:
        cloud_images.remove(tx, RemoveCloudImage("debian", confirm="debian"), "ada")
    with yard.store.write() as tx:
        cloud_images.register(tx, RegisterCloudImage("debian-13", "z", "/shared/images/13.qcow2"), START, "ada")
        assert cloud_images.remove(tx, RemoveCloudImage("debian", confirm="debian"), "ada") == "debian"
