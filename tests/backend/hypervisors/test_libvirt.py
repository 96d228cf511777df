"""The libvirt driver on real hosts: what the contract suite does not ask, and faults in flight. Whatever happens, a guest never runs twice."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleet_tui.backend.errors import AuthFailed, Busy, FleetError, InvalidInput, NoCapacity, TimedOut, Unreachable, WrongState
from fleet_tui.backend.hypervisors import Disk, GuestState, Hypervisor, MoveOptions, Progress
from fleet_tui.backend.remote.ssh import SshReach
from tests.contracts.benches import MIB, SLOW, Flight
from tests.contracts.test_hypervisor import counts_on, ready, ticks
from tests.lab.bench import LabBench, lab_bench
from tests.lab.fixtures import REAL_HOSTS
from tests.lab.host import IMAGES
from tests.waiting import until

RUNNING, ABSENT, PAUSED = GuestState.RUNNING, GuestState.ABSENT, GuestState.PAUSED
FIRST, SECOND = "kvm1", "kvm2"
pytestmark = REAL_HOSTS


@pytest.fixture
def bench(request: pytest.FixtureRequest) -> Iterator[LabBench]:
    found = lab_bench(request)
    try:
        yield found
    finally:
        found.close()


def running(bench: LabBench, guest: str) -> list[str]:
    """Hosts on which it runs, as libvirt's own client there sees it."""
    return [name for name in bench.hosts if bench.host(name).pid and bench.host(name).guests().get(guest) == "running"]


def both(bench: LabBench) -> tuple[Hypervisor, Hypervisor]:
    return bench.connect(FIRST), bench.connect(SECOND)


# --- the connection --------------------------------------------------------------------------------------------------


def test_a_changed_host_key_is_refused(bench: LabBench) -> None:
    login = bench.login(FIRST)
    other = replace(login, host_key=bench.login(SECOND).host_key)
    for wrong in (other, replace(login, host_key="")):
        with pytest.raises(AuthFailed):
            bench.drivers.open("kvm", wrong, lambda reason: None)


def test_a_password_does_as_well_and_nothing_secret_lies_about(bench: LabBench) -> None:
    secret = bench.password()
    before = set(os.listdir(tempfile.gettempdir()))
    host = bench.drivers.open("kvm", replace(bench.login(FIRST), private_key="", password=secret), lambda reason: None)
    try:
        host.ping()
        lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
        assert not any(secret.encode() in line or b"PRIVATE KEY" in line for line in lines)
        assert not [name for name in set(os.listdir(tempfile.gettempdir())) - before if name.startswith("fleet-")], "the socket's folder is gone"
    finally:
        host.close()


def test_other_kinds_are_refused(bench: LabBench) -> None:
    with pytest.raises(InvalidInput):
        bench.drivers.open("xenserver", bench.login(FIRST), lambda reason: None)


def test_without_the_module_a_host_is_refused_with_what_to_do(bench: LabBench) -> None:
    done = subprocess.run([sys.executable, "-c", BARE, str(bench.lab.number)], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("InvalidInput") and "fleet-tui[libvirt]" in done.stdout


BARE = """
import sys
sys.modules["libvirt"] = None  # as where it is not installed
from fleet_tui.backend.errors import FleetError
from tests.lab import lab
from tests.lab.bench import LabBench
try:
    LabBench(lab.Lab(int(sys.argv[1]))).connect("kvm1")
except FleetError as error:
    print(type(error).__name__, error.message, error.hint)
"""


def test_several_calls_at_once_on_one_connection(bench: LabBench) -> None:
    host = bench.connect(FIRST)
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            for _ in range(10):
                host.guests()
                host.figures()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors


# --- moving ----------------------------------------------------------------------------------------------------------


def test_a_destination_that_hangs_at_the_switch_over_never_leaves_two_running(bench: LabBench) -> None:
    """libvirt's own protocol does: the source gives up and goes on, the destination wakes and finds "start it" in its socket."""
    source, destination = both(bench)
    guest = ready(bench, source, bench.spec("a"))
    phases: list[str] = []

    def told(progress: Progress) -> None:
        if progress.remaining_bytes < progress.total_bytes and "hung" not in phases:
            bench.hang(SECOND)  # memory goes on: it does not pass through libvirtd
            phases.append("hung")
        phases.append(progress.phase)

    with pytest.raises(FleetError) as failed:
        source.migrate(guest, destination, MoveOptions(bandwidth_mib_s=24), told)
    assert isinstance(failed.value, Unreachable | TimedOut) and "switch" in phases, phases
    counts_on(bench, source, guest)
    bench.wake(SECOND)
    again = bench.connect(SECOND)
    state = until(lambda: bench.host(SECOND).guests().get(guest) != "running" and again.find(guest).state, bench.wait_s, "it has seen its socket")
    assert state in (PAUSED, ABSENT, GuestState.INCOMING) and running(bench, guest) == [FIRST]
    until(lambda: again.find(guest).state in (PAUSED, ABSENT), bench.wait_s, "it has made up its mind")
    again.drop_incoming(guest)
    assert again.find(guest).state is ABSENT and running(bench, guest) == [FIRST]
    source.migrate(guest, again, MoveOptions(), lambda progress: None)
    assert running(bench, guest) == [SECOND]


def test_a_guest_that_arrives_is_held_until_its_source_has_ended_it(bench: LabBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the promise above rests on. libvirt races with itself when a hung destination wakes, so that test alone may pass by luck."""
    source, destination = both(bench)
    guest = ready(bench, source, bench.spec("a"))
    seen: list[tuple[GuestState, GuestState]] = []
    resume = destination.resume

    def seeing(guest_id: str) -> None:
        seen.append((source.find(guest_id).state, destination.find(guest_id).state))
        resume(guest_id)

    monkeypatch.setattr(destination, "resume", seeing)
    moved = source.migrate(guest, destination, MoveOptions(), lambda progress: None)
    assert seen == [(ABSENT, PAUSED)] and 0 < moved.downtime_ms < 5000
    assert running(bench, guest) == [SECOND]


def test_a_death_of_ours_interrupts_nothing(bench: LabBench) -> None:
    source, destination = both(bench)
    guest = ready(bench, source, bench.spec("a"))
    with subprocess.Popen([sys.executable, "-c", DOOMED, str(bench.lab.number), guest], stdout=subprocess.PIPE, text=True) as doomed:
        assert doomed.stdout is not None and doomed.stdout.readline() == "copy\n"
        doomed.kill()
    progress = source.migration(guest)
    assert progress is not None and progress.total_bytes > 0 and source.find(guest).is_migrating_away
    until(lambda: destination.find(guest).state is RUNNING, bench.wait_s, "it arrives")
    until(lambda: source.find(guest).state is ABSENT, bench.wait_s, "the source forgets it")
    assert source.migration(guest) is None and running(bench, guest) == [SECOND]
    counts_on(bench, destination, guest)


DOOMED = """
import sys
from fleet_tui.backend.hypervisors import MoveOptions
from tests.lab import lab
from tests.lab.bench import LabBench
bench = LabBench(lab.Lab(int(sys.argv[1])))
source, destination = bench.connect("kvm1"), bench.connect("kvm2")
def told(progress):
    if progress.remaining_bytes < progress.total_bytes:
        print(progress.phase, flush=True)
source.migrate(sys.argv[2], destination, MoveOptions(bandwidth_mib_s=10), told)
"""


def test_hosts_that_do_not_trust_each_other_are_led_by_us(bench: LabBench) -> None:
    bench.lab.distrust()
    source, destination = both(bench)
    guest = ready(bench, source, bench.spec("a"))
    with Flight(source, destination, guest, SLOW, bench.wait_s) as flight:
        source.abort(guest)
    assert isinstance(flight.error, WrongState)
    counts_on(bench, source, guest)
    before = ticks(source, guest)
    source.migrate(guest, destination, MoveOptions(), lambda progress: None)
    assert running(bench, guest) == [SECOND]
    counts_on(bench, destination, guest)
    assert ticks(destination, guest)[0] > before[-1]


def test_a_cable_out_of_the_source_in_flight(bench: LabBench) -> None:
    source, destination = both(bench)
    guest = ready(bench, source, bench.spec("a"))
    with Flight(source, destination, guest, SLOW, bench.wait_s) as flight:
        bench.unplug(FIRST)
    assert isinstance(flight.error, Unreachable | TimedOut), flight.error
    bench.plug(FIRST)
    again = until(lambda: _opened(bench, FIRST), bench.wait_s, "it can be reached again")
    until(lambda: again.find(guest).state is RUNNING and not again.find(guest).is_migrating_away, bench.wait_s, "it goes on")
    until(lambda: destination.find(guest).state in (ABSENT, PAUSED), bench.wait_s, "the half guest ends")
    destination.drop_incoming(guest)
    assert running(bench, guest) == [FIRST] and destination.find(guest).state is ABSENT
    counts_on(bench, again, guest)


def _opened(bench: LabBench, name: str) -> Hypervisor | None:
    try:
        return bench.connect(name)
    except FleetError:
        return None


def test_a_disk_that_fills_up_in_flight(bench: LabBench) -> None:
    """The destination's storage, when a local disk goes along: refused when that is seen beforehand, undone when it happens later."""
    source, destination = both(bench)
    image = bench.lab.shared / "image.raw"
    image.write_bytes(os.urandom(12 * MIB))
    disk = Disk(bench.local("a.raw"), source=str(image), format="raw", is_local=True)
    guest = ready(bench, source, bench.spec("a", disks=(disk,)))
    options = MoveOptions(copy_local_disks=True, bandwidth_mib_s=5)
    second = bench.host(SECOND)
    second.run("mount", "-t", "tmpfs", "-o", "size=8m", "none", IMAGES)
    with pytest.raises(NoCapacity):
        source.migrate(guest, destination, options, lambda progress: None)
    second.run("mount", "-o", "remount,size=16m", IMAGES)

    def told(progress: Progress) -> None:
        if not bench.exists(SECOND, f"{IMAGES}/filler"):
            second.says("dd", "if=/dev/zero", f"of={IMAGES}/filler", "bs=1M")

    with pytest.raises(FleetError):
        source.migrate(guest, destination, options, told)
    counts_on(bench, source, guest)
    destination.drop_incoming(guest)
    assert running(bench, guest) == [FIRST] and destination.find(guest).state is ABSENT
    assert not bench.exists(SECOND, disk.path) and bench.exists(FIRST, disk.path)
    second.run("rm", f"{IMAGES}/filler")
    source.migrate(guest, destination, MoveOptions(copy_local_disks=True), lambda progress: None)
    assert running(bench, guest) == [SECOND] and not bench.exists(FIRST, disk.path)


def test_somebody_elses_file_is_not_written_over(bench: LabBench) -> None:
    source, destination = both(bench)
    disk = Disk(bench.local("a.qcow2"), 8 * MIB, is_local=True)
    guest = ready(bench, source, bench.spec("a", disks=(disk,)))
    bench.host(SECOND).run("sh", "-c", f"echo precious > {disk.path}")
    with pytest.raises(WrongState, match="another file"):
        source.migrate(guest, destination, MoveOptions(copy_local_disks=True), lambda progress: None)
    assert bench.host(SECOND).run("cat", disk.path) == "precious\n"


def test_a_disk_is_not_erased_under_a_guest_that_moved(bench: LabBench) -> None:
    """Also when a careless cleanup asks for it at the host that the guest left."""
    source, destination = both(bench)
    disk = Disk(bench.shared("a.qcow2"), 8 * MIB)
    spec = bench.spec("a", disks=(disk,))
    guest = ready(bench, source, spec)
    source.migrate(guest, destination, MoveOptions(), lambda progress: None)
    source.create(replace(spec, disks=(replace(disk, size_bytes=0),)))
    with pytest.raises(WrongState, match="in use"):
        source.remove(guest, with_disks=True)
    assert bench.exists(SECOND, disk.path)
    source.drop_incoming(guest)
    assert source.find(guest).state is ABSENT and bench.exists(SECOND, disk.path)
    counts_on(bench, destination, guest)


def test_a_disk_that_is_not_shared_is_no_way_to_move(bench: LabBench) -> None:
    source, destination = both(bench)
    path = bench.local("a.qcow2")  # said to be shared, and is not
    guest = ready(bench, source, bench.spec("a", disks=(Disk(path, 8 * MIB),)))
    with pytest.raises(WrongState, match="does not have the disk"):
        destination.can_receive(guest, source)
    bench.host(SECOND).run("qemu-img", "create", "-q", "-f", "qcow2", path, "8M")
    with pytest.raises(WrongState, match="does not have the disk"):
        destination.can_receive(guest, source)
    with pytest.raises(WrongState, match="already"):
        source.can_receive(guest, bench.connect(FIRST))


def test_an_image_is_copied_whole_or_not_at_all(bench: LabBench) -> None:
    host = bench.connect(FIRST)
    image = bench.lab.shared / "image.raw"
    image.write_bytes(os.urandom(4 * MIB))
    spec = bench.spec("a", disks=(Disk(bench.local("a.qcow2"), 16 * MIB, source=str(image)),))
    host.create(spec)
    said = bench.host(FIRST).run("qemu-img", "info", bench.local("a.qcow2"))
    assert "virtual size: 16 MiB" in said and "file format: qcow2" in said
    bench.host(FIRST).run("mount", "-t", "tmpfs", "-o", "size=2m", "none", IMAGES)
    with pytest.raises(NoCapacity):
        host.create(bench.spec("b", disks=(Disk(bench.local("b.qcow2"), source=str(image)),)))
    with pytest.raises(NoCapacity):
        host.storage.copy(str(image), bench.local("c.qcow2"))
    assert bench.host(FIRST).run("ls", "-A", IMAGES) == "", "nor is any part of it left"


def test_a_copy_of_a_running_disk_that_takes_too_long_leaves_nothing(bench: LabBench, monkeypatch: pytest.MonkeyPatch) -> None:
    host = bench.connect(FIRST)
    image = bench.lab.shared / "image.raw"
    image.write_bytes(os.urandom(256 * MIB))
    disk = Disk(bench.local("a.qcow2"), source=str(image))
    guest = ready(bench, host, bench.spec("a", disks=(disk,)))
    with monkeypatch.context() as patched:
        patched.setattr("fleet_tui.backend.hypervisors.libvirt_storage._COPY_S", -1.0)
        with pytest.raises(TimedOut):
            host.storage.copy_of_running(guest, disk.path, bench.local("copy.qcow2"))
    assert bench.host(FIRST).run("ls", IMAGES).split() == ["a.qcow2"]
    counts_on(bench, host, guest)
    assert host.storage.copy_of_running(guest, disk.path, bench.local("copy.qcow2")).size_bytes == 256 * MIB


def test_a_busy_console_is_not_taken_over(bench: LabBench) -> None:
    host = bench.connect(FIRST)
    guest = ready(bench, host, bench.spec("a"))
    console = host.console(guest)
    with pytest.raises(Busy):
        bench.connect(FIRST).console(guest)
    console.close()
    until(lambda: _console(host, guest), bench.wait_s, "the next one").close()


def _console(host: Hypervisor, guest: str) -> Any:
    try:
        return host.console(guest)
    except Busy:
        return None


def test_the_driver_needs_nothing_of_this_machines_user(bench: LabBench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    SshReach().open(bench.login(FIRST)).close()
    bench.connect(FIRST).ping()
    assert not list(tmp_path.iterdir())
