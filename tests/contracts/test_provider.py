"""What every provider must do, the fake included: a fake is trusted because it passes what the real one passes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fleet_tui.backend import directories
from fleet_tui.backend.errors import Busy, InvalidInput, NotFound, WrongState
from fleet_tui.backend.instances.bundle import pack
from fleet_tui.backend.providers import BootConfiguration, DiskInfo, DiskSpec, MachineInfo, MachineSpec, MachineState, Placement, Provider
from fleet_tui.backend.providers.aws import AwsProvider
from fleet_tui.backend.providers.fake import FakeProvider
from fleet_tui.backend.providers.local import LocalProvider
from fleet_tui.backend.store import Store, sqlite_url
from tests.agent.stub_door import StubDoor
from tests.backend.providers.own_yard import PLACEMENT, Yard
from tests.cloud.account import cloud_account

HELLO = Path(__file__).parents[2] / "examples/hello-app"


@dataclass
class Ground:
    """What a provider stands on: makes it, and again after a crash; and knows where a disk's content can be reached."""

    make: Callable[[], Provider]
    content: Callable[[DiskInfo], Path] = lambda disk: Path(disk.path)
    placement: Placement = field(default_factory=Placement)


@contextmanager
def _local(folder: Path, request: pytest.FixtureRequest) -> Iterator[Ground]:
    yield Ground(lambda: LocalProvider(directories.find({"FLEET_HOME": str(folder)})))


@contextmanager
def _fake(folder: Path, request: pytest.FixtureRequest) -> Iterator[Ground]:
    yield Ground(lambda: FakeProvider(folder, pace=0))


@contextmanager
def _aws(folder: Path, request: pytest.FixtureRequest) -> Iterator[Ground]:
    """On moto, behind the proxy: everything comes in pages, takes two looks to happen, and one to be seen at all."""
    with cloud_account(request.getfixturevalue("moto"), folder, f"site-{uuid.uuid4().hex[:8]}") as account:
        account.proxy.page, account.proxy.lag, account.proxy.unseen = 1, 2, 1
        placement = Placement(subnet_id=account.subnets[0], second_subnet_id=account.subnets[1], assign_public_ip=True)
        yield Ground(lambda: AwsProvider(account.terms, pace=0.02), lambda disk: account.proxy.content / disk.path, placement)


@contextmanager
def _own_hosts(folder: Path, request: pytest.FixtureRequest) -> Iterator[Ground]:
    """On fake hosts; what they do for a machine is done by the real operations of VMs."""
    store = Store(sqlite_url(folder / "fleet.db"))
    store.create_all()
    yard = Yard(store, folder / "contents")
    storage = yard.fleet.links.hypervisor("h1").storage

    def content(disk: DiskInfo) -> Path:
        found = storage.content(disk.path)
        assert found is not None
        return found

    yield Ground(lambda: yard.again().provider, content, PLACEMENT)
    store.close()


GROUNDS: dict[str, Callable[[Path, pytest.FixtureRequest], AbstractContextManager[Ground]]] = {
    "local": _local, "fake": _fake, "aws": _aws, "own_hosts": _own_hosts,
}
"""One line for each implementation."""


@dataclass
class Place:
    """A provider, a door its machines can call at, and short words for what tests do again and again."""

    ground: Ground
    door: StubDoor
    bundle: Path
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.provider = self.ground.make()

    def machine(self, name: str = "m-1", token: str = "t") -> MachineInfo:
        spec = MachineSpec(name, "i-1", "web", token, placement=self.ground.placement, ports=(8080,))
        return self.provider.create_machine(spec, self.said.append)

    def disk(self, name: str = "d-1", size_gb: int = 10, token: str = "t") -> DiskInfo:
        return self.provider.ensure_disk(name, size_gb, token, self.said.append, DiskSpec(placement=self.ground.placement))

    def boot(self, name: str = "m-1") -> None:
        self.provider.boot(name, BootConfiguration(name, self.door.token, self.door.address), str(self.bundle), self.said.append)

    def state(self, name: str = "m-1") -> MachineState:
        return self.provider.find_machine(name).state

    def attached_to(self, name: str = "d-1") -> str | None:
        disk = self.provider.find_disk(name)
        assert disk is not None
        return disk.attached_to


@pytest.fixture(params=sorted(GROUNDS))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    bundle = tmp_path / "bundle.tar"
    pack(HELLO, bundle)
    door = StubDoor(tmp_path, {"application": {}})  # its agents' start-up fails, which is no affair of a provider's
    door.open()
    folder = tmp_path / "site"
    folder.mkdir()
    with GROUNDS[request.param](folder, request) as ground:
        place = Place(ground, door, bundle)
        try:
            yield place
        finally:
            for machine in place.provider.machines():
                place.provider.terminate(machine.id, place.said.append)
            if isinstance(place.provider, FakeProvider):
                place.provider.close()
            door.shut()


def content(place: Place, name: str = "d-1") -> Path:
    disk = place.provider.find_disk(name)
    assert disk is not None
    return place.ground.content(disk)


def test_machine_goes_through_its_life(place: Place) -> None:
    assert place.state() is MachineState.ABSENT
    assert place.machine().state is MachineState.OFF
    place.disk()
    place.provider.attach_disk("m-1", "d-1")
    place.boot()
    machine = place.provider.find_machine("m-1")
    assert machine.state is MachineState.ON and machine.private_ip
    place.boot()
    assert place.provider.find_machine("m-1").pid == machine.pid, "booting again changes nothing"
    place.provider.shut_down("m-1", 10.0, place.said.append)
    place.provider.shut_down("m-1", 10.0, place.said.append)
    assert place.state() is MachineState.OFF
    place.boot()
    assert place.state() is MachineState.ON
    place.provider.terminate("m-1", place.said.append)
    place.provider.terminate("m-1", place.said.append)
    assert place.state() is MachineState.ABSENT


def test_same_token_finds_the_same_machine_and_another_is_refused(place: Place) -> None:
    assert place.machine() == place.machine()
    with pytest.raises(WrongState):
        place.machine(token="another")
    assert [machine.id for machine in place.provider.machines()] == ["m-1"]


def test_everything_that_exists_is_listed(place: Place) -> None:
    assert not place.provider.machines()
    place.machine("m-1")
    place.machine("m-2")
    assert [machine.id for machine in place.provider.machines()] == ["m-1", "m-2"]
    assert not place.provider.disks() and not place.provider.snapshots()
    place.disk("d-2")
    place.disk("d-1")
    place.provider.attach_disk("m-2", "d-1")
    assert [(disk.id, disk.size_gb, disk.attached_to) for disk in place.provider.disks()] == [("d-1", 10, "m-2"), ("d-2", 10, None)]
    made = place.provider.snapshot_disk("d-2", "s-1", place.said.append)
    place.provider.restore_disk("d-2", "s-1", place.said.append)
    assert [disk.id for disk in place.provider.disks()] == ["d-1", "d-2"], "and no copy of one besides"
    assert list(place.provider.snapshots()) == [made]
    place.provider.delete_snapshot(made.id, made.region)
    place.provider.delete_disk("d-2")
    assert not place.provider.snapshots() and [disk.id for disk in place.provider.disks()] == ["d-1"]


def test_what_is_not_there_is_said(place: Place) -> None:
    assert place.provider.find_disk("d-9") is None
    place.provider.delete_disk("d-9")
    place.provider.delete_snapshot("s-9")
    place.provider.shut_down("m-9", 0.0, place.said.append)
    place.machine()
    place.disk()
    with pytest.raises(NotFound):
        place.provider.attach_disk("m-9", "d-1")
    with pytest.raises(NotFound):
        place.provider.attach_disk("m-1", "d-9")
    with pytest.raises(NotFound):
        place.boot("m-9")
    with pytest.raises(NotFound):
        place.provider.snapshot_disk("d-9", "s-1", place.said.append)
    with pytest.raises(NotFound):
        place.provider.restore_disk("d-1", "s-9", place.said.append)
    with pytest.raises(NotFound):
        place.provider.grow_disk("d-9", 20, place.said.append)
    place.provider.detach_disk("m-9", "d-1")
    place.provider.detach_disk("m-1", "d-9")


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a\0b"])
def test_id_that_could_lead_elsewhere_is_refused(place: Place, name: str) -> None:
    for act in (
        lambda: place.machine(name), lambda: place.disk(name), lambda: place.provider.find_machine(name),
        lambda: place.provider.delete_disk(name), lambda: place.provider.terminate(name, place.said.append),
        lambda: place.provider.delete_snapshot(name),
    ):
        with pytest.raises(InvalidInput):
            act()


def test_disk_is_made_once_and_only_grows(place: Place) -> None:
    first = place.disk()
    (content(place) / "kept").write_text("x")
    assert first.attached_to is None and first.size_gb == 10
    assert place.disk(size_gb=20).size_gb == 20
    assert place.disk(size_gb=5).size_gb == 20
    assert place.disk().path == first.path
    assert (content(place) / "kept").read_text() == "x"


def test_attached_disk_grows_and_keeps_what_is_on_it(place: Place) -> None:
    place.machine()
    place.disk()
    place.provider.attach_disk("m-1", "d-1")
    place.boot()
    (content(place) / "kept").write_text("x")
    for size, becomes in ((20, 20), (20, 20), (15, 20)):
        assert place.provider.grow_disk("d-1", size, place.said.append).size_gb == becomes
    assert place.attached_to() == "m-1" and place.state() is MachineState.ON and (content(place) / "kept").read_text() == "x"


def test_disk_is_attached_to_one_machine_only(place: Place) -> None:
    place.machine("m-1")
    place.machine("m-2")
    place.disk()
    place.provider.attach_disk("m-1", "d-1")
    place.provider.attach_disk("m-1", "d-1")
    assert place.attached_to() == "m-1"
    with pytest.raises(Busy) as refused:
        place.provider.attach_disk("m-2", "d-1")
    assert refused.value.details["holders"] == ["m-1"]
    for act in (place.disk, lambda: place.provider.delete_disk("d-1")):
        with pytest.raises(Busy):
            act()
    place.provider.detach_disk("m-2", "d-1")
    assert place.attached_to() == "m-1"
    place.provider.detach_disk("m-1", "d-1")
    place.provider.detach_disk("m-1", "d-1")
    assert place.attached_to() is None
    place.provider.attach_disk("m-2", "d-1")
    assert place.attached_to() == "m-2"


def test_terminating_frees_the_disk_and_keeps_it(place: Place) -> None:
    place.machine()
    place.disk()
    place.provider.attach_disk("m-1", "d-1")
    (content(place) / "kept").write_text("x")
    place.provider.terminate("m-1", place.said.append)
    assert place.attached_to() is None and (content(place) / "kept").read_text() == "x"


def test_deleted_disk_is_gone_and_a_new_one_is_blank(place: Place) -> None:
    place.disk()
    (content(place) / "old").write_text("x")
    place.provider.delete_disk("d-1")
    place.provider.delete_disk("d-1")
    assert place.provider.find_disk("d-1") is None
    place.disk(token="another")
    assert not list(content(place).iterdir())


def test_snapshot_brings_back_everything_or_is_refused(place: Place) -> None:
    place.machine()
    place.disk()
    folder = content(place) / "application"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a").write_text("before")
    (folder / "link").symlink_to("a")
    (folder / "a").chmod(0o640)
    first = place.provider.snapshot_disk("d-1", "s-1", place.said.append)
    assert first.disk_id == "d-1" and first.size_bytes > 0
    (folder / "a").write_text("after")
    (folder / "b").write_text("new")
    assert place.provider.snapshot_disk("d-1", "s-1", place.said.append) == first, "the same id is the same snapshot"

    place.provider.attach_disk("m-1", "d-1")
    with pytest.raises(Busy):
        place.provider.restore_disk("d-1", "s-1", place.said.append)
    assert (folder / "a").read_text() == "after"
    place.provider.detach_disk("m-1", "d-1")

    for _ in range(2):
        place.provider.restore_disk("d-1", "s-1", place.said.append)
        folder = content(place) / "application"
        assert (folder / "a").read_text() == "before" and (folder / "link").readlink() == Path("a")
        assert (folder / "a").stat().st_mode & 0o777 == 0o640 and not (folder / "b").exists()

    place.disk("d-2")
    with pytest.raises(InvalidInput):
        place.provider.restore_disk("d-2", "s-1", place.said.append)
    place.provider.delete_snapshot("s-1")
    place.provider.delete_snapshot("s-1")
    with pytest.raises(NotFound):
        place.provider.restore_disk("d-1", "s-1", place.said.append)
    assert (folder / "a").read_text() == "before"


def test_one_snapshot_is_deleted_where_it_is_kept_and_no_other(place: Place) -> None:
    """By a daemon that knows of it only what was told when it was made, while a machine has the disk."""
    place.disk()
    (content(place) / "a").write_text("x")
    first, second = (place.provider.snapshot_disk("d-1", name, place.said.append) for name in ("s-1", "s-2"))
    place.machine()
    place.provider.attach_disk("m-1", "d-1")
    for _ in range(2):
        if isinstance(place.provider, FakeProvider):
            place.provider.close()
        place.provider = place.ground.make()
        place.provider.delete_snapshot(first.id, first.region)
    assert place.attached_to() == "m-1"
    place.provider.detach_disk("m-1", "d-1")
    with pytest.raises(NotFound):
        place.provider.restore_disk("d-1", "s-1", place.said.append)
    (content(place) / "a").write_text("y")
    place.provider.restore_disk("d-1", second.id, place.said.append)
    assert (content(place) / "a").read_text() == "x"


def test_snapshot_of_an_attached_disk_is_made_while_it_runs(place: Place) -> None:
    place.machine()
    place.disk()
    place.provider.attach_disk("m-1", "d-1")
    place.boot()
    (content(place) / "application").mkdir(exist_ok=True)
    (content(place) / "application" / "a").write_text("x")
    assert place.provider.snapshot_disk("d-1", "s-1", place.said.append).size_bytes > 0
    assert place.state() is MachineState.ON


def test_another_daemon_finds_what_is_there(place: Place) -> None:
    place.machine()
    place.disk()
    place.provider.attach_disk("m-1", "d-1")
    place.provider.snapshot_disk("d-1", "s-1", place.said.append)
    if isinstance(place.provider, FakeProvider):
        place.provider.close()
    place.provider = place.ground.make()
    assert place.state() is MachineState.OFF and place.attached_to() == "m-1"
    assert place.provider.snapshot_disk("d-1", "s-1", place.said.append).disk_id == "d-1"


def test_figures_of_the_place_are_numbers(place: Place) -> None:
    figures = place.provider.measure_host()
    assert all(isinstance(value, int | float | str | dict) for value in figures.values())
