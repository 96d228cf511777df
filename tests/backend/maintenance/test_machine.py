"""Random lives of small fleets: failures at every phase, a daemon that is killed at any moment, requests that repeat and collide, cancels, and
hosts that come and go meanwhile. Whatever happens, what is promised of maintenance holds after every step:

* every guest runs on exactly one host, or on none when its host lost its power or stopping was allowed; never on two;
* no host's capacity is exceeded, neither by the rows nor in the world;
* a resource state changes only by the table of spec 8.3;
* at most one host of the cluster is in preparation;
* room for a move is taken only on a host that is enabled in that very transaction;
* nothing arrives on a host that is in a maintenance state, and a ready one runs nothing;
* a VM that an evacuation moved is not moved again by it;
* in the end no operation is left, no host in preparation, no VM between two states, and no move without its end.
"""

from __future__ import annotations

import contextlib
import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import event, func, select
from sqlalchemy.orm import object_session

from fleet_tui.backend.errors import FleetError
from fleet_tui.backend.faults import Fault
from fleet_tui.backend.hosts import transitions
from fleet_tui.backend.hosts.rows import HostRow
from fleet_tui.backend.hosts.states import MAINTENANCE_STATES, MOVES, HostEvent, ResourceState
from fleet_tui.backend.hypervisors import GuestState
from fleet_tui.backend.machines.rows import MoveRow, VmRow
from fleet_tui.backend.machines.states import ON_HOST, TRANSITIONAL
from fleet_tui.backend.maintenance import CancelMaintenance, CloseMaintenance, MaintainHost, MigrateBack, sessions
from fleet_tui.backend.maintenance.evacuation import try_again
from fleet_tui.backend.maintenance.rows import SessionRow
from fleet_tui.backend.operations import queries
from fleet_tui.backend.operations.rows import OperationRow
from tests.backend.maintenance.conftest import new_store
from tests.backend.maintenance.fleet import Fleet

HOSTS = ("h0", "h1", "h2", "h3")
HOST = st.sampled_from(HOSTS)
MEMORY_GIB = 6
MAINTENANCE = {state.value for state in MAINTENANCE_STATES}
PREPARING = (ResourceState.PREPARE.value, ResourceState.ERROR_IN_PREPARE.value)
_LEGAL = {(origin.value, to.value) for (origin, _), to in MOVES.items()} | {(state, "Disabled") for state in MAINTENANCE}
_FAULTS = (
    ("move:check", "fail"), ("move:copy", "fail"), ("move:switch", "fail"), ("move:switch", "stuck"), ("move:switch", "after"), ("move:cleanup", "fail"),
    ("move:cleanup", "after"), ("move:copy", "hang"), ("move:copy", "link-lost"), ("host:guests", "fail"), ("guest:find", "fail"),
    ("guest:migration", "fail"), ("guest:drop_incoming", "fail"), ("guest:resume", "fail"), ("guest:remove", "fail"), ("guest:shut_down", "fail"),
    ("host:ping", "fail"), ("host:facts", "fail"),
)
_POWER = (("move:copy", "source-off"), ("move:switch", "source-off"), ("move:copy", "destination-off"), ("move:cleanup", "destination-off"))
_DEAD = frozenset({"source-off", "destination-off"})


class Life(RuleBasedStateMachine):
    """One fleet's."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
        self.fleet: Fleet | None = None
        self.vms: dict[str, int] = {}
        self.may_be_down: set[str] = set()
        """VMs that may run nowhere: their host's power was cut, or they were stopped where that was allowed."""
        self.containers: set[str] = set()
        """Guests that are restarted elsewhere, and so run nowhere for a moment."""
        self.before: dict[str, frozenset[str]] = {}
        self.illegal: list[tuple[str, str, str]] = []
        self.misled: list[tuple[str, str, str]] = []
        event.listen(HostRow.resource_state, "set", self._state_set)
        event.listen(VmRow.destination_id, "set", self._destination_set)

    @initialize(
        seed=st.integers(0, 2**32), count=st.integers(1, 5), has_device=st.sampled_from((False, False, False, True)),
        hypervisor=st.sampled_from(("kvm", "kvm", "xenserver", "lxc")), asked=st.sampled_from((("h0",), ("h0", "h1"))),
        fault=st.one_of(st.none(), st.tuples(st.sampled_from(_FAULTS + _POWER), st.sampled_from(("v0", "v1", "*")), st.integers(1, 6))),
    )
    def populate(
        self, seed: int, count: int, has_device: bool, hypervisor: str, asked: Sequence[str], fault: tuple[tuple[str, str], str, int] | None,
    ) -> None:
        """A fleet, most of it on the first host, of which maintenance is asked for at once: a life without that shows little."""
        chance = random.Random(seed)
        self.fleet = Fleet(new_store(self._directory.name, self.template), hosts=len(HOSTS), memory_gib=MEMORY_GIB, hypervisor=hypervisor)
        taken: Counter[str] = Counter()
        for number in range(count):
            host, gib = chance.choice(("h0", "h0", "h0", "h1", "h2", "h3")), chance.randint(1, 2)
            if taken[host] + gib <= MEMORY_GIB:
                taken[host] += gib
                self.vms[f"v{number}"] = gib
                kind = chance.choice(("guest", "guest", "router"))
                if kind == "guest" and hypervisor == "lxc":
                    self.containers.add(f"v{number}")
                self.fleet.add_vm(f"v{number}", host, gib=gib, kind=kind, has_device=has_device and number == count - 1)
        self.before = self._running()
        for host in asked:
            self.ask(host, has_device)
        if fault is not None:
            (point, effect), vm, times = fault
            self.order(point, effect, vm, 1 if effect in _DEAD else times)

    # What people do

    @rule(host=HOST, allow_stop=st.sampled_from((False, False, True)))
    def ask(self, host: str, allow_stop: bool) -> None:
        with self._refused():
            self._f.submit("host.maintain", MaintainHost(target=host, reason="work", allow_stop=allow_stop, confirmed=True))
            if allow_stop:
                self.may_be_down |= set(self.vms)  # whatever comes to have no destination meanwhile

    @rule(host=HOST)
    def come_back(self, host: str) -> None:
        with self._refused():
            self._f.submit("host.cancel-maintenance", CancelMaintenance(target=host, confirmed=True))

    @rule(host=HOST)
    def migrate_back(self, host: str) -> None:
        with self._refused():
            self._f.submit("host.migrate-back", MigrateBack(target=host, confirmed=True))

    @rule(pick=st.integers(0, 3))
    def cancel(self, pick: int) -> None:
        active = self._active()
        if active:
            with self._refused():
                self._f.cancel(active[pick % len(active)])

    @rule(host=HOST)
    def try_again(self, host: str) -> None:
        with self._refused(), self._f.store.write() as tx:
            try_again(tx, sessions.find(tx, host)[0].id, "ada")

    @rule(host=HOST)
    def close(self, host: str) -> None:
        with self._refused(), self._f.store.write() as tx:
            sessions.close(tx, CloseMaintenance(target=host, confirmed=True), "ada", self._f.clock.now())

    @rule(host=HOST, what=st.sampled_from((HostEvent.ENABLE, HostEvent.DISABLE)))
    def set_allocation(self, host: str, what: HostEvent) -> None:
        """As ``branches.allocate`` does, which takes no lease."""
        with self._refused(), self._f.store.write() as tx:
            row = transitions.lock(tx, host)
            if row.resource_state in PREPARING and self._is_at_work(tx, host):
                return  # refused there: its maintenance is cancelled instead
            transitions.move(tx, row, what, self._f.clock.now())

    # What happens to them

    @rule(fault=st.sampled_from(_FAULTS + _POWER), vm=st.sampled_from(("v0", "v1", "v2", "*")), times=st.integers(1, 3))
    def order_fault(self, fault: tuple[str, str], vm: str, times: int) -> None:
        self.order(*fault, vm, 1 if fault[1] in _DEAD else times)

    def order(self, point: str, effect: str, vm: str, times: int) -> None:
        self._f.world.faults.add(Fault(point, "*" if point.startswith("host") else vm, times, effect))

    @rule(vm=st.sampled_from(("v0", "v1", "v2")))
    def find_a_device(self, vm: str) -> None:
        """One that nobody knew of when maintenance was asked for: the VM can go nowhere, and is not to be stopped for that."""
        if vm in self.vms:
            with self._f.store.write() as tx:
                tx.get_one(VmRow, vm).has_device = True

    @rule(host=HOST)
    def mend(self, host: str) -> None:
        world = self._f.world
        if not world.host(host).is_on:
            world.power_on(host)
        world.mend_link(host)
        self._f.see_links()

    @rule(host=HOST)
    def cut_link(self, host: str) -> None:
        self._f.world.cut_link(host)

    @rule()
    def see_links(self) -> None:
        self._f.see_links()

    # What goes on

    @rule(seed=st.integers(0, 2**32), turns=st.integers(1, 60))
    def go_on(self, seed: int, turns: int) -> None:
        self._go(seed, turns)

    @rule(seed=st.integers(0, 2**32))
    def go_on_for_long(self, seed: int) -> None:
        self._go(seed, 200)

    def _go(self, seed: int, turns: int) -> None:
        """Somebody has a turn, again and again; who follows from the seed."""
        chance = random.Random(seed)
        for turn in range(turns):
            if turn % 10 == 0:
                self._f.claim()
            actors = self._f.stage.alive()
            if not actors:
                break
            chance.choice(actors).step()
            self.what_is_promised_of_guests()

    @rule()
    def kill_the_daemon(self) -> None:
        self._f.crash()

    # What is promised

    @invariant()
    @precondition(lambda self: self.fleet is not None)
    def what_is_promised_of_guests(self) -> None:
        running = self._running()
        self._look_at_power()
        places = Counter(vm for guests in running.values() for vm in guests)
        for vm in self.vms:
            assert places[vm] <= 1, f"{vm} runs twice: {[host for host in HOSTS if vm in running[host]]}"
            assert places[vm] == 1 or vm in self.may_be_down or vm in self.containers, f"{vm} runs nowhere"
        assert not self._f.world.double_starts
        for host in HOSTS:
            assert sum(self.vms[vm] for vm in running[host]) <= MEMORY_GIB, f"{host} runs more than it has room for"

    @invariant()
    @precondition(lambda self: self.fleet is not None)
    def what_is_promised_of_hosts(self) -> None:
        running = self._running()
        with self._f.store.read() as tx:
            states = dict(tx.execute(select(HostRow.id, HostRow.resource_state)).all())
            rows = tx.scalars(select(VmRow)).all()
            moves = tx.execute(
                select(OperationRow.id, OperationRow.target, MoveRow.vm_id, MoveRow.source_id, MoveRow.outcome)
                .join(OperationRow, MoveRow.operation_id == OperationRow.id).where(OperationRow.kind == "host.maintain")
            ).all()
        assert not self.illegal, f"the table was left: {self.illegal}"
        assert not self.misled, f"sent where nothing may go: {self.misled}"
        assert sum(state in PREPARING for state in states.values()) <= 1
        for host, state in states.items():
            if state in MAINTENANCE:
                assert running[host] <= self.before.get(host, frozenset()), f"{host} is {state}, and {running[host]} came to run on it"
            assert state != "Maintenance" or not running[host], f"{host} is ready, and {running[host]} run on it"
            taken = sum(vm.memory_mib for vm in rows if vm.host_id == host and vm.state in _TAKING)
            taken += sum(vm.memory_mib for vm in rows if vm.destination_id == host and vm.host_id != host)
            assert taken <= MEMORY_GIB * 1024, f"{host} has promised more than it has"
        assert all(source == host for _, host, _, source, _ in moves), "an evacuation moved a VM that was not on its host"
        moved = Counter((operation, vm) for operation, _, vm, _, outcome in moves if outcome == "moved")
        assert not moved or max(moved.values()) == 1, f"moved again: {moved}"
        self.before = running

    def teardown(self) -> None:
        """Everything mended, everything ends."""
        try:
            if self.fleet is not None:
                self._f.world.faults.clear()
                for host in HOSTS:
                    self.mend(host)
                for turn in range(8000):
                    actors = list(self._f.stage.alive())
                    if turn % 8 == 0 or not actors:
                        self._f.claim()
                        if not actors and not self._active():
                            break
                    for actor in actors:
                        actor.step()
                    self.what_is_promised_of_guests()
                self.what_is_promised_of_hosts()
                self._containers_run()
                assert not self._active(), f"stuck: {[self._f.show(one) for one in self._active()]}"
                with self._f.store.read() as tx:
                    assert not tx.scalar(select(func.count()).select_from(HostRow).where(HostRow.resource_state.in_(PREPARING)))
                    assert not tx.scalars(select(VmRow.name).where(VmRow.state.in_([state.value for state in TRANSITIONAL]))).all()
                    assert not tx.scalars(select(MoveRow.vm_id).where(MoveRow.outcome == "")).all()
                    assert not tx.scalar(select(func.count()).select_from(SessionRow).where(SessionRow.operation_id.is_not(None)))
        finally:
            event.remove(HostRow.resource_state, "set", self._state_set)
            event.remove(VmRow.destination_id, "set", self._destination_set)
            if self.fleet is not None:
                with contextlib.suppress(BaseException):
                    self._f.stage.kill()
                self._f.store.close()
            self._directory.cleanup()

    def _containers_run(self) -> None:
        """A container that runs nowhere in the end was reported to."""
        running = {vm for vms in self._running().values() for vm in vms}
        for vm in self.containers - running - self.may_be_down:
            row = self._f.vm(vm)
            assert row.state in ("failed-to-start", "crashed") and row.error, f"{vm} was stopped silently: it is {row.state}"

    # Tools

    @property
    def _f(self) -> Fleet:
        assert self.fleet is not None
        return self.fleet

    def _state_set(self, row: HostRow, value: str, old: Any, initiator: Any) -> None:
        if isinstance(old, str) and old != value and (old, value) not in _LEGAL:
            self.illegal.append((row.id, old, value))

    def _destination_set(self, row: VmRow, value: str | None, old: Any, initiator: Any) -> None:
        """In the transaction that takes the room, and holds the host's row."""
        tx = object_session(row)
        if value is not None and tx is not None:
            with tx.no_autoflush:
                state = tx.scalar(select(HostRow.resource_state).where(HostRow.id == value))
            if state != "Enabled":
                self.misled.append((row.id, value, str(state)))

    def _running(self) -> dict[str, frozenset[str]]:
        """VMs that really run, or are held in a switch-over, by host."""
        known = self._f.world.ledger.on_host
        return {host: frozenset(guest.name for guest in known.get(host, {}).values() if guest.state in _ALIVE) for host in HOSTS}

    def _look_at_power(self) -> None:
        """What ran on a host whose power was cut may be down from then on."""
        for host in HOSTS:
            if not self._f.world.host(host).is_on:
                self.may_be_down |= {guest.name for guest in self._f.world.ledger.on_host.get(host, {}).values()}

    def _active(self) -> list[str]:
        with self._f.store.read() as tx:
            return list(tx.scalars(select(OperationRow.id).where(OperationRow.state.in_(queries.ACTIVE)).order_by(OperationRow.id)))

    def _is_at_work(self, tx: Any, host: str) -> bool:
        return tx.scalar(select(OperationRow.id).where(OperationRow.target_ref == f"host:{host}", OperationRow.state.in_(queries.OWNED))) is not None

    @contextlib.contextmanager
    def _refused(self) -> Iterator[None]:
        """A refusal is an answer, too."""
        with contextlib.suppress(FleetError):
            yield


_TAKING = {state.value for state in ON_HOST}
_ALIVE = (GuestState.RUNNING.value, GuestState.PAUSED.value)
_QUIET = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)


def run(template: Path, examples: int, steps: int = 12) -> None:
    Life.template = template
    run_state_machine_as_test(Life, settings=settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, database=None, suppress_health_check=_QUIET, print_blob=True,
        phases=(Phase.generate, Phase.shrink),
    ))


def test_a_few_lives(template: Path) -> None:
    run(template, 12)


def test_containers_whose_host_could_not_be_reached_when_they_were_taken_up_again_go_later(template: Path) -> None:
    """Their places elsewhere were taken before a crash; kept for good they were all that may leave a host at once."""
    Life.template = template
    life = Life()
    life.populate(seed=802268, has_device=False, asked=("h0",), hypervisor="lxc", fault=None, count=4)
    life.go_on(seed=0, turns=17)
    life.kill_the_daemon()
    life.cut_link("h0")
    life.go_on(seed=0, turns=39)
    life.teardown()


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_a_thousand_lives(template: Path, part: int) -> None:
    run(template, 250)
