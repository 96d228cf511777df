"""A small fleet for the tests of this slice: rows in a store, and the machines they stand for in a fake world."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import select

from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.events.rows import EventRow
from fleet_tui.backend.hosts import access
from fleet_tui.backend.hosts.link import Pace
from fleet_tui.backend.hosts.links import Links
from fleet_tui.backend.hosts.register import ensure_host
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow, PodRow, ZoneRow
from fleet_tui.backend.hypervisors.fake import FakeWorld
from fleet_tui.backend.hypervisors.fake_ledger import Host
from fleet_tui.backend.remote.fake import Machine
from fleet_tui.backend.secrets.envelope import Envelope
from fleet_tui.backend.store import Store

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

    def told(self, ref: str = "") -> list[tuple[str, str]]:
        """Level and sentence of every event that has one."""
        with self.store.read() as tx:
            rows = tx.scalars(select(EventRow).where(EventRow.text != "").order_by(EventRow.seq))
            return [(row.level, row.text) for row in rows if ref in ("", row.ref)]
