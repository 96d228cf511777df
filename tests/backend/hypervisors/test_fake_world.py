"""The fake world behaves like machines: what goes wrong goes wrong where it was ordered, and a guest is never on two hosts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from fleet_tui.backend.errors import AuthFailed, Busy, FleetError, TimedOut, Unreachable, WrongState
from fleet_tui.backend.faults import Faults
from fleet_tui.backend.hypervisors import GuestSpec, GuestState, MoveOptions, Progress
from fleet_tui.backend.hypervisors.fake import VOCABULARY, FakeWorld
from fleet_tui.backend.hypervisors.fake_ledger import Guest, Host

GIB = 1024**3


class Crash(BaseException):
    """Stands for the end of the daemon in mid-call."""


class Hands:
    """A clock that moves only when somebody sleeps, or turns it."""

    def __init__(self) -> None:
        self.at = 1_000_000.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.at, timezone.utc)

    def monotonic(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


def spec(name: str = "web-1", memory_gib: int = 4) -> GuestSpec:
    return GuestSpec(f"id-{name}", name, 2, memory_gib * GIB, memory_gib * GIB, 2000)


def world(faults: str = "", *, hosts: int = 3, kind: str = "kvm", directory: Path | None = None, pace: float = 0.0) -> FakeWorld:
    found = FakeWorld(directory, Faults.parse(VOCABULARY, faults), pace=pace, clock=Hands())
    for number in range(1, hosts + 1):
        if f"h{number}" not in found.ledger.hosts:
            found.add_host(Host(f"h{number}", f"10.0.0.{number}", kind, "pool"))
    return found


def move(site: FakeWorld, told: Callable[[Progress], None] = lambda progress: None, options: MoveOptions | None = None) -> None:
    source, destination = site.connect("h1"), site.connect("h2")
    destination.can_receive("id-web-1", source)
    source.migrate("id-web-1", destination, options or MoveOptions(), told)


def test_a_move_goes_through_its_phases_and_leaves_nothing_behind() -> None:
    site, phases, fractions = world(), [], []
    site.add_guest("h1", spec())

    def told(progress: Progress) -> None:
        phases.append(progress.phase)
        fractions.append(progress.fraction)
        assert site.places("id-web-1")["h2"] is GuestState.INCOMING and len(site.running_on("id-web-1")) == 1

    move(site, told)
    assert phases == ["copy"] * 4 + ["switch"] and fractions == sorted(fractions)
    assert site.places("id-web-1") == {"h2": GuestState.RUNNING}


@pytest.mark.parametrize(("order", "error", "after"), [
    ("move:check", WrongState, {"h1": "running"}),
    ("move:copy", Unreachable, {"h1": "running"}),
    ("move:copy:web-1:1:timeout", TimedOut, {"h1": "running"}),
    ("move:switch", Unreachable, {"h1": "running"}),
    ("stuck:web-1", Unreachable, {"h1": "paused", "h2": "incoming"}),
    ("after:move:switch", Unreachable, {"h1": "off", "h2": "running"}),
    ("move:cleanup", Unreachable, {"h1": "off", "h2": "running"}),
    ("after:move:cleanup", Unreachable, {"h2": "running"}),
    ("hang:move:copy", TimedOut, {"h1": "running"}),
    ("hang:move:switch", TimedOut, {"h1": "running"}),
    ("source-off:web-1", Unreachable, {"h1": "off"}),
    ("source-off:move:switch", Unreachable, {"h1": "off"}),
    ("source-off:move:cleanup", Unreachable, {"h1": "off", "h2": "running"}),
    ("destination-off:h2", Unreachable, {"h1": "running"}),
    ("destination-off:move:switch:h2", Unreachable, {"h1": "running"}),
    ("destination-off:move:cleanup", Unreachable, {"h2": "off"}),
    ("link-lost:web-1", Unreachable, {"h1": "running"}),
    ("link-lost:move:cleanup:web-1", Unreachable, {"h1": "off", "h2": "running"}),
])
def test_what_is_ordered_goes_wrong_there(order: str, error: type[FleetError], after: dict[str, str]) -> None:
    site = world(order)
    site.add_guest("h1", spec())
    with pytest.raises(error):
        move(site)
    assert site.places("id-web-1") == {host: GuestState(state) for host, state in after.items()}
    assert not site.faults.pending() and not site.ledger.moves
    assert site.host("h1").is_on is ("source-off" not in order) and site.host("h2").is_on is ("destination-off" not in order)


def test_what_a_stuck_switch_left_is_mended_from_both_sides() -> None:
    site = world("stuck:web-1")
    site.add_guest("h1", spec())
    with pytest.raises(Unreachable):
        move(site)
    source, destination = site.connect("h1"), site.connect("h2")
    source.resume("id-web-1")
    destination.drop_incoming("id-web-1")
    destination.drop_incoming("id-web-1")
    assert site.places("id-web-1") == {"h1": GuestState.RUNNING}
    move(site)
    with pytest.raises(WrongState):
        destination.drop_incoming("id-web-1")


def test_a_move_goes_on_when_its_caller_dies_and_is_seen_by_the_next() -> None:
    site = world()
    site.add_guest("h1", spec())

    def die(progress: Progress) -> None:
        raise Crash

    with pytest.raises(Crash):
        move(site, die)
    site.drop_connections()
    source, destination = site.connect("h1"), site.connect("h2")
    seen = []
    while (progress := source.migration("id-web-1")) is not None:
        seen.append(progress.phase)
        assert source.find("id-web-1").is_migrating_away
        assert len(seen) < 20
        with pytest.raises(Busy):
            source.migrate("id-web-1", destination, MoveOptions(), lambda progress: None)
    assert seen and destination.find("id-web-1").state is GuestState.RUNNING
    assert source.find("id-web-1").state is GuestState.ABSENT


def test_a_move_goes_on_over_a_restart_and_ends_by_the_clock(tmp_path: Path) -> None:
    site = world(directory=tmp_path, pace=1.0)
    site.add_guest("h1", spec())

    def die(progress: Progress) -> None:
        if progress.fraction > 0.3:
            raise Crash

    with pytest.raises(Crash):
        move(site, die)
    site.ledger.close()
    again = world(directory=tmp_path, pace=1.0)
    clock = again.clock
    assert isinstance(clock, Hands) and isinstance(site.clock, Hands)
    clock.at = site.clock.at
    source = again.connect("h1")
    assert source.migration("id-web-1") is not None
    clock.sleep(3600)
    assert source.migration("id-web-1") is None
    assert again.places("id-web-1") == {"h2": GuestState.RUNNING}
    again.close()


def test_told_may_have_it_aborted() -> None:
    site = world()
    site.add_guest("h1", spec())
    stop = Busy("cancelled")

    def told(progress: Progress) -> None:
        raise stop

    with pytest.raises(Busy) as refused:
        move(site, told)
    assert refused.value is stop and site.places("id-web-1") == {"h1": GuestState.RUNNING}


def test_a_guest_that_dirties_memory_faster_than_the_link_moves_only_when_it_is_slowed_down() -> None:
    for pace in (0.0, 1.0):
        site = world(pace=pace)
        site.add_guest("h1", spec())
        site.change_guest("id-web-1", dirty_rate=5e9)
        with pytest.raises(TimedOut):
            move(site, options=MoveOptions(converge=False, timeout_s=120.0))
        assert site.places("id-web-1") == {"h1": GuestState.RUNNING}
        move(site, options=MoveOptions(timeout_s=120.0))
        assert site.places("id-web-1") == {"h2": GuestState.RUNNING}


def test_power_and_links_break_connections_and_say_why() -> None:
    site = world()
    site.add_guest("h1", spec())
    told: list[str] = []
    for break_it, mend, reason, error in (
        (site.power_off, site.power_on, "unreachable", Unreachable),
        (site.cut_link, site.mend_link, "unreachable", Unreachable),
        (lambda name: site.cut_link(name, "no-service"), site.mend_link, "no-service", Unreachable),
        (site.hang, site.wake, "no-rpc", Unreachable),
    ):
        told.clear()
        held = site.connect("h1", told.append)
        break_it("h1")
        assert told == [reason]
        with pytest.raises(error):
            held.ping()
        with pytest.raises(Unreachable) as refused:
            site.connect("h1")
        assert refused.value.details["reason"] == reason
        mend("h1")
        site.connect("h1").ping()
    site.cut_link("h1", "access-denied")
    with pytest.raises(AuthFailed) as denied:
        site.connect("h1")
    assert denied.value.details["reason"] == "access-denied"


def test_power_on_finds_guests_off() -> None:
    site = world()
    site.add_guest("h1", spec())
    site.power_off("h1")
    assert site.running_on("id-web-1") == ()
    site.power_on("h1")
    host = site.connect("h1")
    assert host.find("id-web-1").state is GuestState.OFF
    host.start("id-web-1")
    assert site.running_on("id-web-1") == ("h1",)


def test_starting_a_guest_twice_is_noticed() -> None:
    site = world("move:cleanup")
    site.add_guest("h1", spec())
    with pytest.raises(Unreachable):
        move(site)
    site.connect("h1").start("id-web-1")
    assert site.double_starts == ["id-web-1"] and len(site.running_on("id-web-1")) == 2


def test_xenserver_has_a_master_and_a_mode_of_its_own() -> None:
    site = world(kind="xenserver")
    site.add_guest("h2", spec())
    first, second = site.connect("h1"), site.connect("h2")
    assert first.is_pool_master() and not second.is_pool_master()
    with pytest.raises(WrongState):
        first.enter_maintenance()
    site.change_host("h2", can_be_master=False)
    assert first.elect_master() == "h3"
    first.enter_maintenance()
    assert first.in_maintenance()
    with pytest.raises(WrongState):
        first.create(spec("new"))
    with pytest.raises(WrongState):
        first.can_receive("id-web-1", second)
    site.power_off("h1")
    with pytest.raises(WrongState):
        site.connect("h3").elect_master()
    site.power_on("h1")
    site.connect("h1").leave_maintenance()
    assert not site.host("h1").in_mode


def test_vcenter_has_its_mode_in_other_hands() -> None:
    site = world(kind="vsphere")
    host = site.connect("h1")
    host.enter_maintenance()
    assert not host.in_maintenance()
    site.change_host("h1", in_mode=True)
    host.leave_maintenance()
    assert host.in_maintenance()
    with pytest.raises(WrongState):
        host.create(spec())


def test_everything_is_there_after_a_crash(tmp_path: Path) -> None:
    site = world(directory=tmp_path)
    site.connect("h1").create(spec())
    site.add_guest("h2", spec("db-1"))
    site.power_off("h3")
    site.reach.set_password("10.0.0.1", "root", "new")
    places = {name: site.places(f"id-{name}") for name in ("web-1", "db-1")}
    site.ledger.close()
    again = FakeWorld(tmp_path, pace=0)
    assert {name: again.places(f"id-{name}") for name in ("web-1", "db-1")} == places
    assert not again.host("h3").is_on and again.reach.machine("10.0.0.1").users["root"] == "new"
    again.close()


def test_a_large_fleet_is_cheap() -> None:
    site = FakeWorld(pace=0)
    hosts = [Host(f"h{n}", f"10.{n // 250}.{n % 250}.1", pool=f"c{n // 16}") for n in range(2000)]
    guests = [
        Guest(f"g{n}@h{n % 2000}", f"g{n}", f"vm-{n}", f"h{n % 2000}", GuestState.RUNNING.value, disks=[]) for n in range(20_000)
    ]
    site.adopt(hosts, guests, [])
    assert sum(len(site.ledger.on_host[host.id]) for host in hosts) == 20_000
    assert site.running_on("g19999") == ("h1999",)


def test_time_passes_by_the_clock_at_any_pace() -> None:
    site = world(pace=2.0)
    site.add_guest("h1", spec(memory_gib=16))
    assert isinstance(site.clock, Hands)
    before = site.clock.at
    move(site)
    took = timedelta(seconds=site.clock.at - before).total_seconds()
    assert took >= 2 * 16 * GIB / 1.1e9


def test_who_hears_of_a_loss_may_ask_back_and_wait_for_the_answer() -> None:
    site, answered = world("destination-off:web-1"), []
    site.add_guest("h1", spec())

    def lost(reason: str) -> None:
        asker = threading.Thread(target=lambda: answered.append(site.connect("h1").find("id-web-1").state), daemon=True)
        asker.start()
        asker.join(5.0)
        answered.append(asker.is_alive())

    site.connect("h2", lost)
    with pytest.raises(Unreachable):
        move(site)
    assert answered == [GuestState.RUNNING, False]
