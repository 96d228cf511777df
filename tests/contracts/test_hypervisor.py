"""What every hypervisor driver must do, the fake included: the fake is trusted because it passes what libvirt passes on real hosts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fleet_tui.backend.errors import Busy, FleetError, NotFound, TimedOut, Unreachable, WrongState
from fleet_tui.backend.hypervisors import Disk, GuestSpec, GuestState, Hypervisor, MoveOptions, Progress
from tests.contracts.benches import MIB, SLOW, Bench, FakeBench, Flight
from tests.lab.bench import lab_bench
from tests.lab.fixtures import REAL_HOSTS
from tests.waiting import until

OFF, RUNNING, ABSENT = GuestState.OFF, GuestState.RUNNING, GuestState.ABSENT


@pytest.fixture(params=["fake", pytest.param("lab", marks=REAL_HOSTS)])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    found = FakeBench(tmp_path) if request.param == "fake" else lab_bench(request)
    try:
        yield found
    finally:
        found.close()


def ticks(host: Hypervisor, guest_id: str) -> list[int]:
    """Numbers that the guest counted on this host. The last line may be cut."""
    return [int(number) for number in re.findall(r"TICK (\d+)[^\n]*\n", host.log_of(guest_id, 0)[1])]


def ready(bench: Bench, host: Hypervisor, spec: GuestSpec) -> str:
    """A guest that runs and counts."""
    host.create(spec)
    host.start(spec.id)
    until(lambda: len(ticks(host, spec.id)) > 1, bench.wait_s, f"{spec.name} counts")
    return spec.id


def counts_on(bench: Bench, host: Hypervisor, guest_id: str) -> None:
    """It runs there, and goes on counting."""
    assert host.find(guest_id).state is RUNNING
    seen = ticks(host, guest_id)
    until(lambda: len(ticks(host, guest_id)) > len(seen), bench.wait_s, "its counter goes on")


def test_a_host_says_what_it_is(bench: Bench) -> None:
    hosts = [bench.connect(name) for name in bench.hosts]
    facts = [host.facts() for host in hosts]
    assert [fact.host_name for fact in facts] == list(bench.hosts)
    for host, fact in zip(hosts, facts, strict=True):
        host.ping()
        assert host.kind == fact.hypervisor == bench.kind and fact.version and fact.arch
        assert fact.cores > 0 and fact.mhz > 0 and fact.memory_bytes > 0 and fact.pools
        figures = host.figures()
        assert 0 < figures.memory_free_bytes <= fact.memory_bytes and figures.load >= 0 and 0 < figures.disk_used_bytes <= figures.disk_bytes
        assert not host.guests() and not host.in_maintenance() and not host.is_pool_master()
        host.enter_maintenance()
        host.leave_maintenance()
    assert len({fact.serial for fact in facts}) == len(facts)


def test_a_guest_goes_through_its_life(bench: Bench) -> None:
    host, disk = bench.connect(bench.hosts[0]), Disk(bench.shared("a.qcow2"), 8 * MIB)
    spec = bench.spec("a", disks=(disk,))
    assert host.find(spec.id).state is ABSENT
    for _ in range(2):
        host.create(spec)
        assert host.find(spec.id).state is OFF and bench.exists(bench.hosts[1], disk.path)
    guest = ready(bench, host, spec)
    host.start(guest)
    host.create(spec)
    found = host.find(guest)
    assert (found.id, found.name, found.state, found.cores, found.memory_bytes) == (spec.id, "a", RUNNING, 1, 96 * MIB)
    assert list(host.guests()) == [found] and not found.is_migrating_away
    assert "GUEST-READY" in host.log_of(guest, 0)[1]
    counts_on(bench, host, guest)
    with pytest.raises(WrongState):
        host.remove(guest, with_disks=True)
    for _ in range(2):
        host.kill(guest)
        assert host.find(guest).state is OFF
    host.remove(guest, with_disks=False)
    assert host.find(guest).state is ABSENT and bench.exists(bench.hosts[0], disk.path)
    host.create(replace(spec, disks=(replace(disk, size_bytes=0),)))
    for _ in range(2):
        host.remove(guest, with_disks=True)
        assert host.find(guest).state is ABSENT and not bench.exists(bench.hosts[0], disk.path)
    assert not host.guests()


def test_the_log_is_read_on_from_where_it_was_left(bench: Bench) -> None:
    host = bench.connect(bench.hosts[0])
    guest = ready(bench, host, bench.spec("a"))
    whole, position = "", 0
    for _ in range(20):
        position, text = host.log_of(guest, position, limit=7)
        assert len(text.encode()) <= 7
        whole += text
    assert host.log_of(guest, 0)[1].startswith(whole) and position == len(whole.encode())
    reached, text = host.log(0)
    assert reached > 0 and text and host.log(reached)[0] >= reached


def test_a_guest_is_asked_to_end_before_it_is_killed(bench: Bench) -> None:
    host = bench.connect(bench.hosts[0])
    guest = ready(bench, host, bench.spec("a"))
    assert host.shut_down(guest, bench.wait_s) is True and host.find(guest).state is OFF
    assert host.shut_down(guest, bench.wait_s) is True
    host.start(guest)
    assert host.shut_down(guest, 0.0) is False and host.find(guest).state is OFF


def test_a_reboot_begins_to_count_anew(bench: Bench) -> None:
    host = bench.connect(bench.hosts[0])
    guest = ready(bench, host, bench.spec("a"))
    host.reboot(guest)
    assert host.find(guest).state is RUNNING
    until(lambda: 1 in ticks(host, guest)[-20:] and ticks(host, guest)[-1] < 20, bench.wait_s, "it counts from one")


def test_a_serial_console_talks_both_ways(bench: Bench) -> None:
    host = bench.connect(bench.hosts[0])
    guest = ready(bench, host, bench.spec("a"))
    console, heard = host.console(guest), b""
    console.write(b"echo answer-$((40+2))\n")

    def hears() -> bool:
        nonlocal heard
        heard += console.read(0.2)
        return b"answer-42" in heard

    until(hears, bench.wait_s, "the shell's answer")
    host.kill(guest)

    def has_ended() -> bool:
        try:
            console.read(0.2)
        except Unreachable:
            return True
        return False

    until(has_ended, bench.wait_s, "the end of the line")
    console.close()
    with pytest.raises(WrongState):
        host.console(guest)


def test_size_changes_while_it_is_off(bench: Bench) -> None:
    host, spec = bench.connect(bench.hosts[0]), bench.spec("a")
    host.create(spec)
    host.resize(spec.id, 2, 128 * MIB, 128 * MIB, 2000)
    found = host.find(spec.id)
    assert (found.cores, found.memory_bytes) == (2, 128 * MIB)
    host.start(spec.id)
    with pytest.raises(WrongState):
        host.resize(spec.id, 1, 96 * MIB, 96 * MIB, 1000)


def test_what_is_not_there_or_not_so_is_said(bench: Bench) -> None:
    first, second = bench.connect(bench.hosts[0]), bench.connect(bench.hosts[1])
    spec = bench.spec("a")
    for act in (
        lambda: first.start(spec.id), lambda: first.shut_down(spec.id, 1.0), lambda: first.kill(spec.id), lambda: first.reboot(spec.id),
        lambda: first.resume(spec.id), lambda: first.resize(spec.id, 1, MIB, MIB, 1), lambda: first.console(spec.id),
        lambda: first.migrate(spec.id, second, MoveOptions(), lambda progress: None), lambda: second.can_receive(spec.id, first),
    ):
        with pytest.raises(NotFound):
            act()
    first.remove(spec.id, with_disks=True)
    first.drop_incoming(spec.id)
    first.abort(spec.id)
    assert first.migration(spec.id) is None and first.log_of(spec.id, 0) == (0, "")
    with pytest.raises(NotFound):
        first.create(bench.spec("b", disks=(Disk(bench.shared("nothing.qcow2")),)))
    assert first.find(bench.spec("b").id).state is ABSENT
    first.create(spec)
    with pytest.raises(WrongState):
        first.create(replace(bench.spec("b"), name="a"))
    for act in (lambda: first.reboot(spec.id), lambda: first.migrate(spec.id, second, MoveOptions(), lambda progress: None)):
        with pytest.raises(WrongState):
            act()


def test_a_guest_moves_while_it_runs_and_leaves_nothing_behind(bench: Bench) -> None:
    source, destination, disk = bench.connect(bench.hosts[0]), bench.connect(bench.hosts[1]), Disk(bench.shared("a.qcow2"), 8 * MIB)
    guest = ready(bench, source, bench.spec("a", disks=(disk,)))
    destination.can_receive(guest, source)
    before, told = ticks(source, guest), list[Progress]()
    moved = source.migrate(guest, destination, MoveOptions(bandwidth_mib_s=20), told.append)
    assert source.find(guest).state is ABSENT and not source.guests()
    counts_on(bench, destination, guest)
    after = ticks(destination, guest)
    assert before[-1] < after[0] < before[-1] + 400 and after == list(range(after[0], after[-1] + 1)), "it went on, and did not begin anew"
    assert told and {progress.phase for progress in told} <= {"copy", "switch"}
    assert all(0 <= progress.remaining_bytes <= progress.total_bytes and 0.0 <= progress.fraction <= 1.0 for progress in told)
    assert moved.elapsed_ms > 0 and 0 <= moved.downtime_ms < 5000 and moved.sent_bytes > 0
    assert bench.exists(bench.hosts[1], disk.path)
    destination.shut_down(guest, bench.wait_s)
    assert destination.find(guest).state is OFF, "it is defined there for good"
    destination.start(guest)
    assert destination.find(guest).state is RUNNING


def test_a_local_disk_goes_along_only_when_it_is_asked_for(bench: Bench) -> None:
    source, destination, disk = bench.connect(bench.hosts[0]), bench.connect(bench.hosts[1]), Disk(bench.local("a.qcow2"), 8 * MIB, is_local=True)
    guest = ready(bench, source, bench.spec("a", disks=(disk,)))
    with pytest.raises(WrongState):
        source.migrate(guest, destination, MoveOptions(), lambda progress: None)
    counts_on(bench, source, guest)
    assert not bench.exists(bench.hosts[1], disk.path)
    source.migrate(guest, destination, MoveOptions(copy_local_disks=True), lambda progress: None)
    counts_on(bench, destination, guest)
    assert bench.exists(bench.hosts[1], disk.path) and not bench.exists(bench.hosts[0], disk.path)
    assert source.find(guest).state is ABSENT


def test_what_told_raises_aborts_it(bench: Bench) -> None:
    source, destination = bench.connect(bench.hosts[0]), bench.connect(bench.hosts[1])
    guest = ready(bench, source, bench.spec("a"))
    for stop in (Busy("cancelled"), KeyError("a bug")):
        def told(progress: Progress, stop: Exception = stop) -> None:
            raise stop

        with pytest.raises(type(stop)) as raised:
            source.migrate(guest, destination, SLOW, told)
        assert raised.value is stop
        counts_on(bench, source, guest)
        destination.drop_incoming(guest)
        assert destination.find(guest).state is ABSENT


def test_another_sees_a_move_and_can_abort_it(bench: Bench) -> None:
    source, destination = bench.connect(bench.hosts[0]), bench.connect(bench.hosts[1])
    guest = ready(bench, source, bench.spec("a"))
    other = bench.connect(bench.hosts[0])
    with Flight(source, destination, guest, SLOW, bench.wait_s) as flight:
        progress = until(lambda: other.migration(guest), bench.wait_s, "another sees it")
        assert progress.phase == "copy" and progress.total_bytes > 0
        assert other.find(guest).is_migrating_away and other.find(guest).state is not ABSENT
        assert destination.find(guest).state is GuestState.INCOMING
        with pytest.raises(Busy):
            other.migrate(guest, destination, SLOW, lambda progress: None)
        with pytest.raises(Busy):
            destination.drop_incoming(guest)
        other.abort(guest)
    assert isinstance(flight.error, WrongState)
    assert other.migration(guest) is None
    counts_on(bench, source, guest)
    destination.drop_incoming(guest)
    assert destination.find(guest).state is ABSENT
    other.abort(guest)


def test_a_move_goes_on_when_who_asked_for_it_is_gone(bench: Bench) -> None:
    source, destination = bench.connect(bench.hosts[0]), bench.connect(bench.hosts[1])
    guest = ready(bench, source, bench.spec("a"))
    with Flight(source, destination, guest, SLOW, bench.wait_s) as flight:
        source.close()
    assert isinstance(flight.error, Unreachable), flight.error
    other = bench.connect(bench.hosts[0])
    until(lambda: other.migration(guest) is None, bench.wait_s, "it ends by itself")
    until(lambda: other.find(guest).state is ABSENT, bench.wait_s, "the source is rid of it")
    until(lambda: destination.find(guest).state is RUNNING, bench.wait_s, "it is let go on where it arrived")
    counts_on(bench, destination, guest)


def test_a_move_that_cannot_end_is_aborted_when_its_time_is_over(bench: Bench) -> None:
    source, destination = bench.connect(bench.hosts[0]), bench.connect(bench.hosts[1])
    guest = ready(bench, source, bench.spec("a", cmdline="dirty=24"))
    options = MoveOptions(bandwidth_mib_s=4, timeout_s=4.0, converge=False)
    with pytest.raises(TimedOut):
        source.migrate(guest, destination, options, lambda progress: None)
    counts_on(bench, source, guest)
    destination.drop_incoming(guest)
    assert destination.find(guest).state is ABSENT and source.migration(guest) is None


@pytest.mark.parametrize("fault", ["power_off", "unplug", "hang", "stop_service"])
def test_a_destination_that_goes_leaves_the_guest_at_the_source(bench: Bench, fault: str) -> None:
    source, destination = bench.connect(bench.hosts[0]), bench.connect(bench.hosts[1])
    guest = ready(bench, source, bench.spec("a"))
    with Flight(source, destination, guest, SLOW, bench.wait_s) as flight:
        getattr(bench, fault)(bench.hosts[1])
    assert isinstance(flight.error, Unreachable | TimedOut), flight.error
    again = bench.connect(bench.hosts[0])
    until(lambda: again.find(guest).state is RUNNING and not again.find(guest).is_migrating_away, bench.wait_s, "it goes on at the source")
    counts_on(bench, again, guest)
    MENDED[fault](bench, bench.hosts[1])
    returned = bench.connect(bench.hosts[1])
    until(lambda: returned.find(guest).state is not GuestState.INCOMING, bench.wait_s, "it has seen that nothing comes any more")
    returned.drop_incoming(guest)
    assert returned.find(guest).state is ABSENT
    returned.can_receive(guest, again)


def test_a_source_that_loses_its_power_takes_the_guest_with_it(bench: Bench) -> None:
    source, destination = bench.connect(bench.hosts[0]), bench.connect(bench.hosts[1])
    guest = ready(bench, source, bench.spec("a"))
    with Flight(source, destination, guest, SLOW, bench.wait_s) as flight:
        bench.power_off(bench.hosts[0])
    assert isinstance(flight.error, Unreachable | TimedOut), flight.error
    until(lambda: destination.find(guest).state is not GuestState.INCOMING, bench.wait_s, "the half guest ends")
    destination.drop_incoming(guest)
    assert destination.find(guest).state is ABSENT
    bench.power_on(bench.hosts[0])
    again = bench.connect(bench.hosts[0])
    assert again.find(guest).state is OFF
    again.start(guest)
    until(lambda: len(ticks(again, guest)) > 1, bench.wait_s, "it counts")


MENDED = {
    "power_off": lambda bench, host: bench.power_on(host), "unplug": lambda bench, host: bench.plug(host),
    "hang": lambda bench, host: bench.wake(host), "stop_service": lambda bench, host: bench.start_service(host),
}


@pytest.mark.parametrize("fault", ["power_off", "unplug", "hang", "stop_service"])
def test_a_connection_that_breaks_says_why_once_and_a_new_one_is_refused_until_it_is_mended(bench: Bench, fault: str) -> None:
    told: list[str] = []
    host = bench.connect(bench.hosts[0], told.append)
    guest = ready(bench, host, bench.spec("a"))
    getattr(bench, fault)(bench.hosts[0])
    until(lambda: told, 30.0, "the loss is told")
    with pytest.raises(FleetError) as refused:
        host.ping()
    assert isinstance(refused.value, Unreachable | TimedOut)
    with pytest.raises(FleetError) as refused:
        bench.connect(bench.hosts[0])
    assert isinstance(refused.value, Unreachable | TimedOut) and refused.value.details["reason"] in REASONS[fault]
    MENDED[fault](bench, bench.hosts[0])
    again = bench.connect(bench.hosts[0])
    assert again.find(guest).state is (OFF if fault == "power_off" else RUNNING)
    assert len(told) == 1 and told[0] in REASONS[fault]


REASONS = {
    "power_off": {"unreachable"}, "unplug": {"unreachable"}, "hang": {"no-rpc"}, "stop_service": {"no-service"},
}


def test_closing_tells_nobody(bench: Bench) -> None:
    told: list[str] = []
    host = bench.connect(bench.hosts[0], told.append)
    host.close()
    host.close()
    with pytest.raises(Unreachable):
        host.ping()
    bench.connect(bench.hosts[0]).ping()
    assert not told
