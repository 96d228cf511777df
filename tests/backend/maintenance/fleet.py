"""A small fleet: rows and the fake machines behind them, and daemons that come and go over both."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import suppress
from uuid import NAMESPACE_DNS, uuid5

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import FleetError, Unreachable
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow, PodRow, ZoneRow
from fleet_tui.backend.hosts.states import Allocation, ConnectionState
from fleet_tui.backend.hypervisors import Disk, GuestSpec, Hypervisor
from fleet_tui.backend.hypervisors.fake import FakeWorld
from fleet_tui.backend.hypervisors.fake_ledger import GIB, Host
from fleet_tui.backend.machines.capacity import Rules
from fleet_tui.backend.machines.drivers import Machines
from fleet_tui.backend.machines.rows import OfferingRow, VmRow
from fleet_tui.backend.machines.states import VmState
from fleet_tui.backend.maintenance import sessions
from fleet_tui.backend.maintenance.drivers import Drivers, Mail, Policy
from fleet_tui.backend.maintenance.operations import operations
from fleet_tui.backend.maintenance.rows import EvacueeRow
from fleet_tui.backend.operations import OperationRecord, OperationRequest, Submitted, queries
from fleet_tui.backend.operations.context import Signals
from fleet_tui.backend.operations.dispatcher import Claims
from fleet_tui.backend.operations.runner import Runner
from fleet_tui.backend.operations.submission import Submission
from fleet_tui.backend.store import Store
from tests.backend.maintenance.stage import Stage, StagedStore, StagedWorld, StageHands
from tests.backend.operations.bench import Memory, Said

POLICY = Policy(retry_s=3.0, watch_s=1.0, silence_s=4.0)
NO_MAIL = Mail()
MHZ = 1000


class Fleet:
    """One cluster ``c`` in zone ``z``: hosts ``h0`` … and VMs on them."""

    def __init__(self, store: StagedStore, *, hosts: int = 3, memory_gib: int = 16, hypervisor: str = "kvm", policy: Policy = POLICY, mail: Mail = NO_MAIL) -> None:
        self.store, self.stage = store, Stage()
        store.stage = self.stage
        self.clock = self.stage.clock
        self.world: FakeWorld = StagedWorld(self.stage)
        self.hypervisor = hypervisor
        self.links = WorldLinks(self)
        self.machines = Machines(links=self.links, rules=Rules(), clock=self.clock, busy_s=6.0, link_s=2.0, settle_s=2.0)
        self.policy, self.mail = policy, mail
        self.life = Life(self)
        self.remembered: dict[str, dict[str, str]] = {}
        self.said = Lines(store)
        with store.write() as tx:
            tx.add_all([
                ZoneRow(id="z", name="z", allocation=Allocation.ENABLED.value),
                OfferingRow(id="s", name="s", cores=1, mhz=MHZ, memory_mib=1024),
            ])
            tx.flush()
            tx.add(PodRow(id="p", name="p", zone_id="z", allocation=Allocation.ENABLED.value))
            tx.flush()
            tx.add(ClusterRow(id="c", name="c", pod_id="p", hypervisor=hypervisor, allocation=Allocation.ENABLED.value))
            tx.flush()
            for number in range(hosts):
                name = f"h{number}"
                host = self.world.add_host(Host(name, f"10.0.0.{number + 1}", kind=hypervisor, pool="c", cores=64, mhz=4000, memory_bytes=memory_gib * GIB))
                tx.add(HostRow(
                    id=name, name=name, cluster_id="c", address=host.address, connection_state=ConnectionState.UP.value, cores=64, mhz=4000,
                    memory_bytes=memory_gib * GIB, is_master=host.is_master,
                ))

    def add_vm(self, name: str, host: str | None, *, gib: int = 1, is_running: bool = True, owners: tuple[str, ...] = (), **values: object) -> str:
        """A VM, running or stopped there."""
        guest_id = str(uuid5(NAMESPACE_DNS, name))
        now = self.clock.now()
        disks = (Disk(f"/disks/{name}", size_bytes=GIB, is_local=bool(values.get("has_local_disk"))),)
        with self.store.write() as tx:
            tx.add(VmRow(**{
                "id": name, "guest_id": guest_id, "name": name, "cluster_id": "c", "offering_id": "s", "host_id": host, "last_host_id": host,
                "state": (VmState.RUNNING if is_running else VmState.STOPPED).value, "cores": 1, "mhz": MHZ, "memory_mib": gib * 1024,
                "owners": list(owners), "created_at": now, "updated_at": now, "disks": [dataclasses.asdict(disk) for disk in disks], **values,
            }))
        if host is not None:
            self.world.add_guest(host, GuestSpec(guest_id, name, 1, gib * GIB, gib * GIB, MHZ, disks=disks), is_running=is_running)
            if values.get("has_device"):
                self.world.change_guest(guest_id, has_device=True)
        return guest_id

    # What people do

    def submit(self, kind: str, request: OperationRequest, user: str = "ada") -> Submitted:
        return self.life.submission.submit(kind, request, user)

    def cancel(self, operation_id: str) -> None:
        _, running = self.life.submission.cancel(operation_id, "bob")
        if running:
            self.life.signals.cancel(operation_id)

    def crash(self) -> None:
        """``kill -9`` of the daemon, and another one over the same store and world."""
        self.stage.kill()
        self.world.drop_connections()
        self.links.forget()
        self.life = Life(self)
        self.life.take_up()

    # What goes on

    def claim(self) -> None:
        """The dispatcher's round, and the watch's: begin what can, pass on cancels."""
        self.life.dispatch()

    def run(self, rounds: int = 2000) -> None:
        """Let everybody go on in turn until nothing is left to do."""
        for _ in range(rounds):
            self.claim()
            actors = self.stage.alive()
            if not actors:
                return
            for actor in list(actors):
                actor.step()
        raise AssertionError(f"still at work: {[(actor.name, actor.at) for actor in self.stage.alive()]}")

    def through(self, kind: str, request: OperationRequest) -> OperationRecord:
        """Submit, run everything to its end, and show."""
        operation = self.submit(kind, request).operation
        assert operation is not None
        self.run()
        return self.show(operation.id)

    def see_links(self) -> None:
        """What the daemon's links would have noticed by now: hosts without power are found dead."""
        with self.store.write() as tx:
            for row in tx.scalars(select(HostRow)):
                host = self.world.host(row.name)
                up = host.can_work and not host.link
                row.connection_state = (ConnectionState.UP if up else ConnectionState.DOWN if not host.is_on else ConnectionState.ALERT).value

    # What there is to see

    def show(self, operation_id: str) -> OperationRecord:
        with self.store.read() as tx:
            return queries.show(tx, operation_id)

    def host(self, name: str) -> HostRow:
        with self.store.read() as tx:
            return tx.get_one(HostRow, name)

    def vm(self, name: str) -> VmRow:
        with self.store.read() as tx:
            return tx.get_one(VmRow, name)

    def evacuees(self, host: str) -> Mapping[str, EvacueeRow]:
        with self.store.read() as tx:
            session, _ = sessions.find(tx, host)
            return {row.vm_id: row for row in sessions.evacuees(tx, session.id)}

    def where(self, name: str) -> tuple[str, ...]:
        """Hosts on which it really runs."""
        return self.world.running_on(str(uuid5(NAMESPACE_DNS, name)))

    def change(self, act: Callable[[Session], None]) -> None:
        with self.store.write() as tx:
            act(tx)


class Lines(Said):
    """As the real one it stores each line in a transaction of its own, which nobody may ask for inside another."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    def append(self, stream_ref: str, operation_id: str, step: str, level: str, text: str, once: str = "") -> None:
        assert not getattr(self._store._writing, "now", False), f"said inside a transaction: {text}"
        super().append(stream_ref, operation_id, step, level, text, once)


class StageSignals(Signals):
    """A step that waits gives others their turn."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage = stage

    def pause(self, seconds: float, operation_id: str) -> None:
        self._stage.clock.sleep(seconds)


class WorldLinks:
    """Implements :class:`Links`: connections to the fake hypervisors, opened when they are needed."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._open: dict[str, Hypervisor] = {}

    def hypervisor(self, host_id: str) -> Hypervisor:
        found = self._open.get(host_id)
        if found is not None:
            with suppress(FleetError):
                found.ping()
                return found
        try:
            found = self._open[host_id] = self._fleet.world.connect(host_id)
            return found
        except FleetError as error:
            raise Unreachable(error.message, reason=error.details.get("reason", "unreachable")) from None

    def forget(self) -> None:
        self._open.clear()


class Life:
    """One daemon: its memory is lost with it, what the durable engine remembers is not."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.drivers = Drivers(
            machines=fleet.machines, engine=lambda: self, policy=fleet.policy, mail=fleet.mail, hands=lambda: StageHands(fleet.stage),
        )
        kinds = {
            kind.kind: dataclasses.replace(kind, steps=tuple(dataclasses.replace(step, retry_s=0.0) for step in kind.steps))
            for kind in operations(self.drivers)
        }
        self.kinds = kinds
        self.signals = StageSignals(fleet.stage)
        self.submission = Submission(fleet.store, kinds)
        self._claims = Claims(fleet.store, kinds, "e-1")
        self._resources = {Drivers: self.drivers, Machines: fleet.machines}

    def submit(self, kind: str, request: OperationRequest, user: str) -> Submitted:
        return self.submission.submit(kind, request, user)

    def show(self, operation_id: str) -> OperationRecord:
        return self._fleet.show(operation_id)

    def dispatch(self) -> None:
        with self._fleet.store.read() as tx:
            asked = tx.scalars(select(queries.OperationRow.id).where(queries.OperationRow.state == "cancelling")).all()
        for operation_id in asked:
            self.signals.cancel(operation_id)
        for operation_id in self._claims.claim(64).started:
            self._begin(operation_id)

    def take_up(self) -> None:
        """What the former daemon had under way."""
        with self._fleet.store.read() as tx:
            mine = tx.scalars(select(queries.OperationRow.id).where(queries.OperationRow.state.in_(queries.OWNED))).all()
        for operation_id in mine:
            self._begin(operation_id)

    def _begin(self, operation_id: str) -> None:
        fleet = self._fleet
        memory = fleet.remembered.setdefault(operation_id, {})
        runner = Runner(fleet.store, self.kinds, self._resources, fleet.said, "e-1", self.signals, fleet.stage.point)

        fleet.stage.enter(operation_id, lambda: runner.run(operation_id, Memory(memory)))
