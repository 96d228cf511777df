"""A small fleet for the tests of this slice: rows in a store, and the machines they stand for in a fake world."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.events.feed import Feed
from fleet_tui.backend.events.rows import EventRow
from fleet_tui.backend.hosts import access
from fleet_tui.backend.hosts.drivers import Drivers
from fleet_tui.backend.hosts.link import Pace
from fleet_tui.backend.hosts.links import Links
from fleet_tui.backend.hosts.operations import operations
from fleet_tui.backend.hosts.register import ensure_host
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow, PodRow, ZoneRow
from fleet_tui.backend.hypervisors.fake import FakeWorld
from fleet_tui.backend.hypervisors.fake_ledger import Host
from fleet_tui.backend.operations import OperationRecord, OperationRequest
from fleet_tui.backend.operations.catalogue import StepContext
from fleet_tui.backend.operations.runner import nothing
from fleet_tui.backend.remote.fake import Machine
from fleet_tui.backend.secrets.envelope import Envelope
from fleet_tui.backend.store import Store
from fleet_tui.backend.telemetry.lines import Lines
from tests.backend.operations.bench import Bench

PASSWORD = "old secret 1"
FAST = Pace(quiet_s=0.05, answer_s=1.0, dial_s=5.0, retry_s=0.02, retry_most_s=0.05, figures_s=0.1, roster_s=0.1, power_s=(0.0, 0.01))


class Fleet:
    """``count`` connected KVM hosts, kvm-1 and on, in z1/p1/c1, all with one password; and the site's own machine."""

    def __init__(self, store: Store, count: int = 3) -> None:
        self.store, self.clock = store, SystemClock()
        self.sealer = Envelope(b"k" * 32)
        self.world = FakeWorld(pace=0)
        self.reach = self.world.reach
        with store.write() as tx:
            tx.add(ZoneRow(id="z-1", name="z1", allocation="Enabled"))
            tx.flush()
            tx.add(PodRow(id="p-1", name="p1", zone_id="z-1", allocation="Enabled"))
            tx.flush()
            tx.add(ClusterRow(id="c-1", name="c1", pod_id="p-1", hypervisor="kvm", allocation="Enabled"))
            tx.flush()
            ensure_host(tx, "localhost", "local/local/local", "none", "127.0.0.1")
            for number in range(1, count + 1):
                self.stand(number)
                tx.add(self.row(number))

    def stand(self, number: int, **machine: Any) -> Host:
        """Put the machine up, without a row."""
        name, address = f"kvm-{number}", f"10.0.{number // 250}.{number % 250 + 1}"
        return self.world.add_host(
            Host(name, address, pool="c1", serial=f"SN{number}"), Machine(address, name, users={"root": PASSWORD}, keys=[], **machine),
        )

    def row(self, number: int) -> HostRow:
        host = self.world.host(f"kvm-{number}")
        identity = f"h-{number}"
        return HostRow(
            id=identity, name=host.id, cluster_id="c-1", address=host.address, connection_state="connecting", ssh_user="root",
            host_key=self.reach.machine(host.address).host_key.text,
            password_sealed=self.sealer.seal(PASSWORD.encode(), access.password_context(identity)),
        )

    @contextmanager
    def links(self, pace: Pace = FAST, store: Store | None = None, **options: Any) -> Iterator[Links]:
        links = Links(store or self.store, self.world, self.reach, self.sealer, self.clock, pace=pace, **options)
        links.start()
        try:
            yield links
        finally:
            self.world.faults.release()
            links.stop()

    def host(self, number: int) -> HostRow:
        with self.store.read() as tx:
            return tx.get_one(HostRow, f"h-{number}")

    def state(self, number: int) -> tuple[str, str]:
        row = self.host(number)
        return row.connection_state, row.reason

    def stands(self, number: int, state: str, reason: str = "") -> Callable[[], bool]:
        return lambda: self.state(number) == (state, reason)

    def change(self, identity: str, kind: Any = HostRow, **values: Any) -> None:
        with self.store.write() as tx:
            row = tx.get_one(kind, identity)
            for name, value in values.items():
                setattr(row, name, value)

    def connections(self, name: str) -> list[Any]:
        """Open ones to a host."""
        return [connection for connection in tuple(self.world._connections) if connection.host.id == name]

    def told(self, ref: str = "") -> list[tuple[str, str]]:
        """Level and sentence of every event that has one."""
        with self.store.read() as tx:
            rows = tx.scalars(select(EventRow).where(EventRow.text != "").order_by(EventRow.seq))
            return [(row.level, row.text) for row in rows if ref in ("", row.ref)]


class Vms:
    """Stands for the slice above: VMs by host id, and what it was asked."""

    def __init__(self) -> None:
        self.on: dict[str, list[str]] = {}
        self.asked: list[str] = []

    def names(self, tx: Session, host_id: str) -> Sequence[str]:
        return list(self.on.get(host_id, ()))

    def abandon(self, ctx: StepContext, host_id: str) -> Sequence[str]:
        self.asked.append(f"abandon {host_id}")
        return [f"{name} stopped" for name in self.on.pop(host_id, ())]

    def restart_elsewhere(self, ctx: StepContext, host_id: str) -> Sequence[str]:
        self.asked.append(f"restart {host_id}")
        return [f"{name} restarted on kvm-9" for name in self.on.get(host_id, ())]

    def forget(self, tx: Session, host_id: str) -> None:
        self.asked.append(f"forget {host_id}")


class Works:
    """The operations of this slice, run one after the other in this thread."""

    def __init__(self, fleet: Fleet, links: Links, checkpoint: Callable[[str], None] = nothing) -> None:
        self.fleet, self.vms = fleet, Vms()
        feed = Feed(fleet.store)
        self.lines = Lines(fleet.store, feed)
        drivers = Drivers(links, fleet.reach, fleet.sealer, self.lines, self.vms)
        self.bench = Bench(fleet.store, *operations(drivers), resources={Drivers: drivers}, checkpoint=checkpoint)
        feed.close()

    def submit(self, kind: str, request: OperationRequest) -> Any:
        return self.bench.submission.submit(kind, request, "ada")

    def through(self, kind: str, request: OperationRequest) -> OperationRecord:
        submitted = self.submit(kind, request)
        assert submitted.operation is not None
        assert submitted.operation.id in self.bench.claim().started
        return self.bench.run(submitted.operation.id)

    def said(self) -> list[str]:
        return [line[4] for line in self.bench.said.lines]
