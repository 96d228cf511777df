"""A small site on the fake provider, with the real engine: what the tests of faults and of the simulated fleet work on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.events.feed import Feed
from fleet_tui.backend.faults import Faults
from fleet_tui.backend.hypervisors.fake import FakeWorld
from fleet_tui.backend.instances import CreateInstance, InstanceRecord, operations, queries
from fleet_tui.backend.instances.drivers import Drivers, Timeouts
from fleet_tui.backend.instances.rows import ImageRow, TemplateRow
from fleet_tui.backend.instances.settings import create
from fleet_tui.backend.instances.virtual_networks import ensure_network
from fleet_tui.backend.instances.watch import Watch
from fleet_tui.backend.operations import OperationRecord, OperationRequest
from fleet_tui.backend.operations.engine import Engine
from fleet_tui.backend.providers import Providers
from fleet_tui.backend.providers.fake import FakeProvider
from fleet_tui.backend.secrets.envelope import Envelope
from fleet_tui.backend.store import Store
from fleet_tui.backend.telemetry import LogLine, ReadLines
from fleet_tui.backend.telemetry.agents import Agents
from fleet_tui.backend.telemetry.lines import Lines
from tests.waiting import until

QUICK = Timeouts(hello_s=20.0, start_s=5.0, stop_s=3.0, action_s=3.0, health_s=1.0)


class Yard:
    """Everything a daemon composes, without its door."""

    def __init__(self, store: Store, folder: Path, faults: Faults | None = None, timeouts: Timeouts = QUICK, *,
                 pace: float = 0.0) -> None:
        self.store, self.folder, self.clock = store, folder, SystemClock()
        self.feed = Feed(store)
        self.lines = Lines(store, self.feed)
        self.sealer = Envelope(b"k" * 32)
        self.agents = Agents(store, self.lines, self.sealer)
        self.provider = FakeProvider(folder / "fake", self.agents, faults, pace=pace)
        self.world = FakeWorld(folder / "fake", pace=pace)
        self.drivers = Drivers(Providers(self.provider), self.agents, self.lines, "unix:/nowhere", self.clock, timeouts, sealer=self.sealer)
        self.agents.observe = Watch(store, self.drivers).observe
        self.engine = Engine(store, self.feed, operations.OPERATIONS, {Drivers: self.drivers}, self.lines, "yard-1", directory=folder)

    def furnish(self) -> None:
        """The registers an instance is made from."""
        bundle = self.folder / "bundle.tar"
        bundle.write_bytes(b"")
        with self.store.write() as tx:
            ensure_network(tx, "local", "fake", "none")
            ensure_network(tx, "local-tls", "fake", "self_signed")
            tx.add(TemplateRow(id="t-hello", label="hello", application="hello-app", setup_actions=[], version=1))
            tx.add(ImageRow(
                id="m-hello", name="hello-app", version="1.4.0", sha256="0" * 64, size_bytes=0, path=str(bundle),
                manifest={"name": "hello-app", "version": "1.4.0", "start": "true", "port": 8080}, created_at=self.clock.now(),
            ))

    def create(self, label: str, network: str = "local") -> str:
        with self.store.write() as tx:
            row = create(tx, CreateInstance(label=label, network=network), self.clock)
            self.lines.name(tx, f"instance:{row.id}", row.label)
            return row.id

    def instance(self, label: str) -> InstanceRecord:
        with self.store.read() as tx:
            return queries.describe(tx, label)

    def run(self, kind: str, request: OperationRequest, timeout: float = 60.0, user: str = "tester") -> OperationRecord:
        """Submit and wait for the end."""
        submitted = self.engine.submit(kind, request, user)
        assert submitted.operation is not None
        return self.finish(submitted.operation.id, timeout)

    def finish(self, operation_id: str, timeout: float = 60.0) -> OperationRecord:
        until(lambda: self.engine.show(operation_id).state.is_final, timeout, f"the end of {operation_id}")
        return self.engine.show(operation_id)

    def log(self, label: str) -> tuple[LogLine, ...]:
        return self.lines.read(ReadLines(target=f"instance:{self.instance(label).id}", limit=5000)).lines

    def close(self) -> None:
        self.provider.faults.release()
        self.engine.stop(10.0)
        self.provider.close()
        self.feed.close()


@contextmanager
def opened(store: Store, folder: Path, faults: Faults | None = None, timeouts: Timeouts = QUICK) -> Iterator[Yard]:
    """A furnished yard whose engine runs."""
    yard = Yard(store, folder, faults, timeouts)
    yard.furnish()
    yard.engine.start()
    try:
        yield yard
    finally:
        yard.close()
