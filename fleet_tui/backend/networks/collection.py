"""Garbage collection: networks that no running VM uses are shut down after a while, and IDs whose network is gone are told of (spec 10.4)."""

from __future__ import annotations

import logging
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import FleetError
from fleet_tui.backend.networks import guest, interfaces
from fleet_tui.backend.networks.drivers import Networks
from fleet_tui.backend.networks.physical import told
from fleet_tui.backend.networks.rows import NetworkOfferingRow, NetworkRow, PhysicalNetworkRow, VlanRow
from fleet_tui.backend.networks.states import NetworkState
from fleet_tui.backend.store import Store

log = logging.getLogger("fleetd.networks")

_COLLECTED = (NetworkState.IMPLEMENTED.value, NetworkState.IMPLEMENTING.value)
"""A network that is only coming up for so long belongs to a VM start that died."""


class Collector:
    """Swept by the daemon's upkeep. Several daemons may: each network is looked at again under its row lock before anything is done."""

    def __init__(self, store: Store, drivers: Networks) -> None:
        self._store, self._tenants, self._clock, self._rules = store, drivers.tenants, drivers.clock, drivers.rules
        self._segments = interfaces.leaving(store, drivers)
        self._due = self._clock.monotonic()
        self._orphans: dict[str, int] = {}

    def sweep(self) -> None:
        """Look, when it is time to."""
        if self._clock.monotonic() < self._due:
            return
        self._due = self._clock.monotonic() + self._rules.gc_interval_s
        for part in (self.collect, self.tell_orphans):
            try:
                part()
            except Exception:
                log.exception("a part of the watch over networks failed; it is tried again")

    def collect(self) -> None:
        """Mark what is unused, shut down what was marked long enough ago, and try again what could not be shut down."""
        n, o = NetworkRow, NetworkOfferingRow
        query = select(n.id, n.unused_since).join(o, n.offering_id == o.id).where(n.state.in_(_COLLECTED), o.persistent.is_(False))
        with self._store.read() as tx:
            marked = dict(tx.execute(query).all())
            used = {network_id for network_id, count in self._tenants.running(tx, marked).items() if count}
            late = list(tx.scalars(select(n.id).where(n.state == NetworkState.SHUTDOWN.value)))
        for network_id, since in marked.items():
            waits = since is not None and since + timedelta(seconds=self._rules.gc_wait_s) > self._clock.now()
            if (since is None if network_id in used else waits):
                continue
            if self._look(network_id):
                late.append(network_id)
        for network_id in late:
            try:
                guest.shut(self._store.write, network_id, self._clock, segments=self._segments)
            except FleetError as problem:
                log.info("network %s could not be shut down: %s", network_id, problem.message)

    def _look(self, network_id: str) -> bool:
        """Mark one network or take its mark away; whether it is to be shut down now."""
        with self._store.write() as tx:
            try:
                row = guest.lock(tx, network_id)
            except FleetError:
                return False
            if row.state not in _COLLECTED:
                return False
            now = self._clock.now()
            if self._tenants.running(tx, [network_id]).get(network_id):
                row.unused_since = None
            elif row.unused_since is None:
                row.unused_since = now
            elif row.unused_since + timedelta(seconds=self._rules.gc_wait_s) <= now:
                guest.shut_down(tx, row, now, f"network {row.name} is shut down: no running VM uses it")
                return True
            return False

    def tell_orphans(self) -> None:
        """Say once how many IDs of a physical network are held by networks that are gone, and again when there are more."""
        with self._store.read() as tx:
            found = count_orphans(tx)
        for physical_id, (row, count) in found.items():
            if count > self._orphans.get(physical_id, 0):
                with self._store.write() as tx:
                    words = "ID is" if count == 1 else "IDs are"
                    told(tx, row, "orphans", f"{count} {words} taken on physical network {row.name} for networks that are gone", level="warn")
        self._orphans = {physical_id: count for physical_id, (_, count) in found.items()}


def count_orphans(tx: Session) -> dict[str, tuple[PhysicalNetworkRow, int]]:
    """Physical networks with IDs whose network is gone, and how many they are."""
    p = PhysicalNetworkRow
    query = select(p, func.count()).join(VlanRow, VlanRow.physical_id == p.id).where(VlanRow.network_id.is_(None)).group_by(p.id)
    return {row.id: (row, count) for row, count in tx.execute(query)}
