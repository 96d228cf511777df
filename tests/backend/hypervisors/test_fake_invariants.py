"""Whatever happens to the fake world, it stays one that could be real: a guest runs on one host at most, and never ends without a cause."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fleet_tui.backend.errors import FleetError
from fleet_tui.backend.faults import Fault, Faults
from fleet_tui.backend.hypervisors import GuestState, MoveOptions, Progress
from fleet_tui.backend.hypervisors.fake import VOCABULARY, FakeWorld
from fleet_tui.backend.hypervisors.fake_ledger import Host
from fleet_tui.backend.hypervisors.faults import MOVE_PHASES
from tests.backend.hypervisors.test_fake_world import Crash, spec

HOSTS, GUESTS = ("h1", "h2", "h3"), ("a", "b", "c", "d")
EFFECTS = ("fail", "after", "hang", "delay", "stuck", "source-off", "destination-off", "link-lost")
hosts, guests = st.sampled_from(HOSTS), st.sampled_from(GUESTS)


class Happenings(RuleBasedStateMachine):
    """Moves with faults, crashes of the daemon and of hosts, and restarts, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(prefix="fleet-world-")
        self.is_dark = False
        """Whether a host has lost its power, or may."""

    @initialize(keeps=st.booleans())
    def begin(self, keeps: bool) -> None:
        self.directory = Path(self._folder.name) if keeps else None
        self.world = FakeWorld(self.directory, Faults(VOCABULARY, hang_s=0.0), pace=0)
        for number, name in enumerate(HOSTS):
            self.world.add_host(Host(name, f"10.0.0.{number}", pool="pool"))
        for number, name in enumerate(GUESTS):
            self.world.add_guest(HOSTS[number % 3], spec(name))

    def teardown(self) -> None:
        self.world.close()
        self._folder.cleanup()

    @rule(
        guest=guests, to=hosts, stop_at=st.sampled_from((None, None, 0, 2, 4)), how=st.sampled_from((Crash, KeyError)),
        fault=st.none() | st.tuples(st.sampled_from(MOVE_PHASES), st.sampled_from(EFFECTS)),
    )
    def move(self, guest: str, to: str, stop_at: int | None, how: Any, fault: tuple[str, str] | None) -> None:
        if fault is not None:
            self.is_dark = self.is_dark or fault[1].endswith("-off")
            self.world.faults.add(Fault(f"move:{fault[0]}", guest, effect=fault[1], seconds=1.0))
        looks = 0

        def told(progress: Progress) -> None:
            nonlocal looks
            self.one_home()
            if looks == stop_at:
                raise how
            looks += 1

        identity = f"id-{guest}"
        try:
            source = self.world.connect(next(iter(self.world.running_on(identity)), "h1"))
            destination = self.world.connect(to)
            destination.can_receive(identity, source)
            source.migrate(identity, destination, MoveOptions(), told)
        except Crash:
            self.world.drop_connections()
        except KeyError:
            assert identity not in self.world.ledger.moves
        except FleetError:
            pass
        else:
            assert self.world.running_on(identity) == (to,)

    @rule(guest=guests)
    def look(self, guest: str) -> None:
        for name in HOSTS:
            with suppress(FleetError):
                self.world.connect(name).find(f"id-{guest}")

    @rule(guest=guests)
    def mend(self, guest: str) -> None:
        """What a careful caller does after an error: ask both sides, wait for a move in flight, then clean up."""
        identity, ends = f"id-{guest}", []
        for name in HOSTS:
            try:
                ends.append(self.world.connect(name))
            except FleetError:
                return
        for host in ends:
            host.abort(identity)
        states = {host.host.id: host.find(identity).state for host in ends}
        running = [host for host in ends if states[host.host.id] is GuestState.RUNNING]
        paused = [host for host in ends if states[host.host.id] is GuestState.PAUSED]
        if not running and paused:
            paused[0].resume(identity)
            running = paused[:1]
        for host in ends:
            if host not in running and states[host.host.id] is GuestState.INCOMING:
                host.drop_incoming(identity)
            if host not in running and running and states[host.host.id] is GuestState.OFF:
                host.remove(identity, with_disks=False)
        if running:
            assert self.world.places(identity) == {running[0].host.id: GuestState.RUNNING}

    @rule(host=hosts, how=st.sampled_from(("off", "unreachable", "no-service", "access-denied", "hang")))
    def break_(self, host: str, how: str) -> None:
        self.is_dark = self.is_dark or how == "off"
        if how == "off":
            self.world.power_off(host)
        elif how == "hang":
            self.world.hang(host)
        else:
            self.world.cut_link(host, how)

    @rule(starts=st.booleans())
    def repair(self, starts: bool) -> None:
        """All hosts answer; what was off may be started again, where it is, if it runs nowhere."""
        for name in HOSTS:
            self.world.power_on(name)
            self.world.mend_link(name)
            self.world.wake(name)
        for guest in GUESTS if starts else ():
            if not self.world.running_on(f"id-{guest}"):
                home = next(iter(self.world.places(f"id-{guest}")))
                self.world.connect(home).start(f"id-{guest}")

    @precondition(lambda self: self.directory is not None)
    @rule()
    def restart(self) -> None:
        before = {name: self.world.places(f"id-{name}") for name in GUESTS}
        self.world.close()
        self.world = FakeWorld(self.directory, Faults(VOCABULARY, hang_s=0.0), pace=0)
        assert {name: self.world.places(f"id-{name}") for name in GUESTS} == before

    @invariant()
    def one_home(self) -> None:
        for name in GUESTS:
            places = self.world.places(f"id-{name}")
            alive = [host for host, state in places.items() if state in (GuestState.RUNNING, GuestState.PAUSED)]
            assert len(alive) <= 1, places
            if not alive:
                assert self.is_dark, f"{name} ended without a cause: {places}"
                assert GuestState.OFF in places.values(), f"{name} vanished: {places}"
        assert not self.world.double_starts

    @invariant()
    def nothing_is_left_of_moves_that_ended(self) -> None:
        for name in GUESTS:
            states = list(self.world.places(f"id-{name}").values())
            if f"id-{name}" in self.world.ledger.moves:
                assert GuestState.INCOMING in states


TestHappenings = Happenings.TestCase
TestHappenings.settings = settings(max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
