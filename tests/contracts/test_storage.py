"""What every host's storage must do: disks apart from guests, and guests that are given them. Over the fake, and over real hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fleet_tui.backend.errors import Busy, NotFound, WrongState
from fleet_tui.backend.hypervisors import Disk, GuestState, Hypervisor, MoveOptions
from tests.contracts.benches import MIB, SLOW, Bench, FakeBench, Flight
from tests.contracts.test_hypervisor import counts_on, ready
from tests.lab.bench import LabBench, lab_bench
from tests.lab.fixtures import REAL_HOSTS


@pytest.fixture(params=["fake", pytest.param("lab", marks=REAL_HOSTS)])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    found = FakeBench(tmp_path) if request.param == "fake" else lab_bench(request)
    try:
        yield found
    finally:
        found.close()


def test_a_disk_is_made_once_grows_is_copied_set_back_and_erased(bench: Bench) -> None:
    one, other = (bench.connect(name).storage for name in bench.hosts[:2])
    path, copy = bench.shared("data.qcow2"), bench.shared("copy.qcow2")
    assert one.find(path) is None
    for size in (8, 16):
        assert one.make(Disk(path, size * MIB)).size_bytes == 8 * MIB, "the second time it is there"
    found = other.find(path)
    assert found is not None and (found.path, found.size_bytes) == (path, 8 * MIB) and found.used_bytes > 0
    assert one.copy(path, copy).size_bytes == 8 * MIB
    for size in (12, 12, 4):
        one.grow(path, size * MIB)
        assert other.make(Disk(path)).size_bytes == 12 * MIB
    assert one.copy(path, copy).size_bytes == 8 * MIB, "a copy that is there is not made anew"
    for _ in range(2):
        other.replace(copy, path)
        assert one.make(Disk(path)).size_bytes == 8 * MIB
    for gone in (path, path, copy):
        one.erase(gone)
    assert one.find(path) is None and other.find(copy) is None


def test_what_is_not_there_is_said(bench: Bench) -> None:
    storage, nothing = bench.connect(bench.hosts[0]).storage, bench.shared("nothing.qcow2")
    for act in (
        lambda: storage.make(Disk(nothing)), lambda: storage.grow(nothing, MIB), lambda: storage.copy(nothing, bench.shared("copy")),
        lambda: storage.replace(nothing, bench.shared("copy")),
    ):
        with pytest.raises(NotFound):
            act()
    assert not bench.exists(bench.hosts[0], nothing) and not bench.exists(bench.hosts[0], bench.shared("copy"))
    storage.fit(bench.spec("nobody").id, [])


def test_a_file_is_put_whole_and_replaced(bench: Bench) -> None:
    storage, path = bench.connect(bench.hosts[0]).storage, bench.shared("seed.iso")
    for content in (b"first" * 1000, b"then"):
        storage.put(path, content)
        assert bench.exists(bench.hosts[1], path)
    if isinstance(bench, LabBench):
        file = Path(path)  # the lab's shared folder is ours too
        assert file.read_bytes() == b"then" and file.stat().st_mode & 0o777 == 0o600


def test_a_guest_gets_disks_while_it_is_off_and_leaves_those_that_are_not_its_own(bench: Bench) -> None:
    host = bench.connect(bench.hosts[0])
    own, data = Disk(bench.shared("own.qcow2"), 8 * MIB), Disk(bench.shared("data.qcow2"), is_kept=True, serial="d-4f2a71kq")
    host.storage.make(replace(data, size_bytes=8 * MIB))
    spec = bench.spec("a", disks=(own,))
    host.create(spec)
    for _ in range(2):
        host.storage.fit(spec.id, [own, data])
    guest = ready(bench, host, spec)
    host.storage.fit(guest, [own, data])  # nothing is to be done, so nothing is refused
    for act in _refused_in_use(host, guest, own, data, bench.shared("copy.qcow2")):
        with pytest.raises(WrongState):
            act()
    counts_on(bench, host, guest)
    host.storage.grow_of_running(guest, data.path, 16 * MIB)
    host.storage.grow_of_running(guest, data.path, 16 * MIB)
    assert host.storage.make(data).size_bytes == 16 * MIB
    host.kill(guest)
    host.storage.fit(guest, [own])
    host.storage.erase(data.path)
    host.storage.make(replace(data, size_bytes=8 * MIB))
    host.storage.fit(guest, [own, data])
    host.remove(guest, with_disks=True)
    assert bench.exists(bench.hosts[1], data.path) and not bench.exists(bench.hosts[1], own.path)


def _refused_in_use(host: Hypervisor, guest: str, own: Disk, data: Disk, target: str) -> list[Callable[[], object]]:
    return [
        lambda: host.storage.fit(guest, [own]), lambda: host.storage.erase(data.path), lambda: host.storage.grow(data.path, 32 * MIB),
        lambda: host.storage.copy(data.path, target), lambda: host.storage.replace(data.path, own.path),
    ]


def test_a_running_guests_disk_is_copied_as_it_is_at_one_moment(bench: Bench) -> None:
    """It writes its counter all the time, each number to a sector of its own; a copy has the first so many, and not one more."""
    host, disk, copy = bench.connect(bench.hosts[0]), Disk(bench.shared("a.qcow2"), 8 * MIB), bench.shared("copy.qcow2")
    spec = bench.spec("a", cmdline="write", disks=(disk,))
    guest = ready(bench, host, spec)
    first = host.storage.copy_of_running(guest, disk.path, copy)
    assert first.size_bytes == 8 * MIB and host.storage.copy_of_running(guest, disk.path, copy) == first
    counts_on(bench, host, guest)
    if isinstance(bench, LabBench):
        raw = bench.host(bench.hosts[0]).run("sh", "-c", f"qemu-img convert -O raw {copy} /run/copy && tr -d '\\0' </run/copy && rm /run/copy")
        numbers = [int(line.split()[1]) for line in raw.splitlines() if line.startswith("TICK ")]
        assert numbers and numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    with pytest.raises(NotFound):
        host.storage.copy_of_running(guest, bench.shared("strange.qcow2"), bench.shared("b.qcow2"))
    host.kill(guest)
    with pytest.raises(WrongState):
        host.storage.copy_of_running(guest, disk.path, bench.shared("b.qcow2"))
    assert host.storage.copy_of_running(guest, disk.path, copy) == first, "what was made stays made"


def test_a_guest_that_moves_is_not_copied_and_takes_its_kept_disks_along(bench: Bench) -> None:
    source, destination = bench.connect(bench.hosts[0]), bench.connect(bench.hosts[1])
    own, data = Disk(bench.shared("own.qcow2"), 8 * MIB), Disk(bench.shared("data.qcow2"), 8 * MIB, is_kept=True, serial="d-1")
    spec = bench.spec("a", cmdline="dirty=16", disks=(own, data))
    guest = ready(bench, source, spec)
    with Flight(source, destination, guest, SLOW, bench.wait_s) as flight:
        with pytest.raises(Busy):
            source.storage.copy_of_running(guest, data.path, bench.shared("copy.qcow2"))
        source.abort(guest)
    assert isinstance(flight.error, WrongState) and flight.moved is None
    source.migrate(guest, destination, MoveOptions(timeout_s=120.0), lambda progress: None)
    counts_on(bench, destination, guest)
    assert source.find(guest).state is GuestState.ABSENT
    assert destination.storage.copy_of_running(guest, data.path, bench.shared("copy.qcow2")).size_bytes == 8 * MIB
    destination.kill(guest)
    destination.remove(guest, with_disks=True)
    assert bench.exists(bench.hosts[0], data.path) and not bench.exists(bench.hosts[0], own.path)
