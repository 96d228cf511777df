"""A small fleet: a cluster of fake hosts and the rows that stand for them, where time is only counted."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import Unreachable
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow, PodRow, ZoneRow
from fleet_tui.backend.hypervisors import GuestSpec, GuestState, Hypervisor
from fleet_tui.backend.hypervisors.fake import FakeWorld
from fleet_tui.backend.hypervisors.fake_ledger import Host
from fleet_tui.backend.machines.capacity import MIB, Rules
from fleet_tui.backend.machines.drivers import Machines
from fleet_tui.backend.machines.rows import MoveRow, OfferingRow, VmRow
from fleet_tui.backend.machines.states import ON_HOST, VmState
from fleet_tui.backend.operations.catalogue import OperationCancelled, OperationFacts
from fleet_tui.backend.store import Store
from tests.waiting import until

GIB = 1024**3
START = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


class Counted:
    """A clock that goes on when somebody sleeps."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.seconds = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=round(self.seconds, 3))

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.seconds += seconds


class Links:
    """One connection a host, opened when first asked for, as after a start of the daemon."""

    def __init__(self, world: FakeWorld) -> None:
        self.world = world
        self._open: dict[str, Hypervisor] = {}
        self._lock = threading.Lock()

    def hypervisor(self, host_id: str) -> Hypervisor:
        with self._lock:
            if host_id not in self._open:
                self._open[host_id] = self.world.connect(host_id, lambda reason: self._lost(host_id))
            return self._open[host_id]

    def is_up(self, host_id: str) -> bool:
        try:
            self.hypervisor(host_id)
        except Unreachable:
            return False
        return True

    def forget(self) -> None:
        """The daemon was killed."""
        self.world.drop_connections()
        self._open.clear()

    def _lost(self, host_id: str) -> None:
        self._open.pop(host_id, None)


class Fleet:
    """Hosts by short names, which are their ids too."""

    def __init__(self, store: Store, *, rules: Rules | None = None, **drivers: Any) -> None:
        self.store = store
        self.clock = Counted()
        self.world = FakeWorld(pace=0.0, clock=self.clock)
        self.links = Links(self.world)
        self.machines = Machines(self.links, rules or Rules(), clock=self.clock, **drivers)
        with store.write() as tx:
            for row in (ZoneRow(id="z", name="z", allocation="Enabled"), PodRow(id="p", name="p", zone_id="z", allocation="Enabled")):
                tx.add(row)
                tx.flush()
        self.cluster("c")

    def cluster(self, name: str, *, cpu: int = 100, ram: int = 100, hypervisor: str = "kvm", **fields: Any) -> None:
        with self.store.write() as tx:
            tx.add(ClusterRow(
                id=name, name=name, pod_id="p", hypervisor=hypervisor, allocation="Enabled", cpu_hundredths=cpu, ram_hundredths=ram, **fields,
            ))

    def host(self, name: str, *, cores: int = 16, mhz: int = 2000, gib: float = 64, cluster: str = "c", **fields: Any) -> str:
        self.world.add_host(Host(name, f"10.0.0.{name}", pool=cluster, cores=cores, mhz=mhz, memory_bytes=int(gib * GIB)))
        with self.store.write() as tx:
            values = {"resource_state": "Enabled", "connection_state": "up", **fields}
            tx.add(HostRow(id=name, name=name, cluster_id=cluster, address=f"10.0.0.{name}", cores=cores, mhz=mhz,
                           memory_bytes=int(gib * GIB), **values))
        return name

    def hosts(self, *names: str, **fields: Any) -> tuple[str, ...]:
        return tuple(self.host(name, **fields) for name in names)

    def offering(self, name: str = "small", *, cores: int = 2, mhz: int = 2000, gib: float = 4, **fields: Any) -> str:
        with self.store.write() as tx:
            if tx.get(OfferingRow, name) is None:
                tx.add(OfferingRow(id=name, name=name, cores=cores, mhz=mhz, memory_mib=int(gib * 1024), **fields))
        return name

    def vm(self, name: str, host: str = "", state: VmState = VmState.RUNNING, *, offering: str = "small", cluster: str = "c", **fields: Any) -> str:
        """A VM with its guest on the host, if there is one. Its id is its name."""
        self.offering(offering)
        with self.store.write() as tx:
            size = tx.get(OfferingRow, offering)
            place = tx.get(ClusterRow, cluster)
            assert size is not None and place is not None
            values: dict[str, Any] = {
                "cores": size.cores, "mhz": size.mhz, "memory_mib": size.memory_mib, "cpu_hundredths": place.cpu_hundredths,
                "ram_hundredths": place.ram_hundredths, "last_host_id": host or None, **fields,
            }
            row = VmRow(
                id=name, guest_id=str(uuid.uuid5(uuid.NAMESPACE_DNS, name)), name=name, cluster_id=cluster, offering_id=offering,
                state=state.value, host_id=host or None, created_at=START, updated_at=START, **values,
            )
            tx.add(row)
            spec = GuestSpec(row.guest_id, name, row.cores, row.memory_mib * MIB, row.memory_mib * MIB, row.cores * row.mhz)
        if host:
            self.world.add_guest(host, spec, is_running=state in ON_HOST)
        return name

    # What is so

    def row(self, name: str) -> VmRow:
        with self.store.read() as tx:
            row = tx.get(VmRow, name)
            assert row is not None
            return row

    def moves(self, name: str) -> list[MoveRow]:
        with self.store.read() as tx:
            return list(tx.scalars(select(MoveRow).where(MoveRow.vm_id == name).order_by(MoveRow.started_at, MoveRow.id)))

    def where(self, name: str) -> tuple[str, ...]:
        """Hosts on which its guest runs or is held."""
        return self.world.running_on(self.row(name).guest_id)

    def places(self, name: str) -> dict[str, str]:
        """What each host that knows its guest says."""
        return {host: state.value for host, state in self.world.places(self.row(name).guest_id).items()}

    def set(self, table: type, key: str, **values: Any) -> None:
        with self.store.write() as tx:
            row = tx.get(table, key)
            for name, value in values.items():
                setattr(row, name, value)

    def state_on(self, host: str, name: str) -> GuestState:
        return self.links.hypervisor(host).find(self.row(name).guest_id).state


class Hand:
    """A step's context without an engine."""

    def __init__(self, fleet: Fleet, operation: str = "o-1", **parameters: Any) -> None:
        self._fleet = fleet
        self.operation = OperationFacts(operation, "vm.migrate", "vm", "vm:vm", parameters, "ada")
        self.step, self.attempt, self.results = "move", 1, {}
        self.token = f"{operation}:move"
        self.said: list[str] = []
        self.is_cancelled = False
        self.before_write: Callable[[], None] = lambda: None
        """Called before each transaction: where a test kills, or looks."""

    def say(self, text: str, level: str = "info") -> None:
        self.said.append(text)

    def progress(self, text: str) -> None:
        self.said.append(text)

    def check(self) -> None:
        if self.is_cancelled:
            raise OperationCancelled

    def wait(self, predicate: Callable[[], Any], timeout_s: float, interval_s: float = 0.1) -> Any:
        return until(predicate, timeout_s)

    def use(self, wanted: type) -> Any:
        return {Machines: self._fleet.machines}[wanted]

    def read(self) -> AbstractContextManager[Session]:
        return self._fleet.store.read()

    def write(self) -> AbstractContextManager[Session]:
        self.before_write()
        return self._fleet.store.write()


class Killed(BaseException):
    """``kill -9`` of the daemon, as far as one thread can have it."""


def sizes(fleet: Fleet) -> Mapping[str, int]:
    """RAM that the running guests of each host really take."""
    found: dict[str, int] = {}
    for host in fleet.world.ledger.hosts:
        found[host] = sum(g.memory_bytes for g in fleet.world.ledger.on_host.get(host, {}).values() if g.state not in ("off", "crashed"))
    return found
