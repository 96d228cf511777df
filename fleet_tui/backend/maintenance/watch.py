"""What is looked after every few seconds while no operation does: planned ends, vCenter's own mode, and hosts that nobody works on any more."""

from __future__ import annotations

import logging

from sqlalchemy import select

from fleet_tui.backend.errors import FleetError
from fleet_tui.backend.hosts import transitions
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow
from fleet_tui.backend.hosts.states import HostEvent
from fleet_tui.backend.maintenance.drivers import Drivers
from fleet_tui.backend.maintenance.judge import PREPARING
from fleet_tui.backend.maintenance.rows import SessionRow
from fleet_tui.backend.maintenance.sessions import changed, tell_overruns
from fleet_tui.backend.operations import queries
from fleet_tui.backend.operations.rows import OperationRow
from fleet_tui.backend.store import Store

_ASKED = ("vsphere", "xenserver")
log = logging.getLogger("fleetd.maintenance")


class Watch:
    """Swept by the daemon's upkeep."""

    def __init__(self, store: Store, drivers: Drivers) -> None:
        self._store, self._drivers = store, drivers

    def sweep(self) -> None:
        """Look once. Each part stands alone."""
        for part in (self._overruns, self._own_modes, self._forsaken):
            try:
                part()
            except Exception:
                log.exception("a part of the watch over maintenance failed; it is tried again")

    def _overruns(self) -> None:
        now = self._drivers.clock.now()
        late = select(SessionRow.id).where(SessionRow.open_host_id.is_not(None), SessionRow.planned_end < now, SessionRow.overrun_told.is_(False))
        with self._store.read() as tx:
            if tx.scalar(late.limit(1)) is None:
                return
        with self._store.write() as tx:
            tell_overruns(tx, now)

    def _own_modes(self) -> None:
        """Ask hosts whose hypervisor has a maintenance mode of its own (spec 8.6), while their session is open."""
        query = (
            select(SessionRow.id, SessionRow.host_id, SessionRow.own_mode).join(HostRow, SessionRow.open_host_id == HostRow.id)
            .join(ClusterRow, HostRow.cluster_id == ClusterRow.id).where(ClusterRow.hypervisor.in_(_ASKED))
        )
        with self._store.read() as tx:
            asked = tx.execute(query).all()
        for session_id, host_id, known in asked:
            try:
                mode = "on" if self._drivers.links.hypervisor(host_id).in_maintenance() else "off"
            except FleetError:
                continue  # it may be off: that is what maintenance is for
            if mode == known:
                continue
            with self._store.write() as tx:
                session = tx.get(SessionRow, session_id)
                if session is not None:
                    session.own_mode = mode
                    changed(tx, session, f"its hypervisor's own maintenance mode is {mode}")

    def _forsaken(self) -> None:
        """No host stays in preparation without an operation at work on it (ENG-7)."""
        at_work = select(OperationRow.target_ref).where(OperationRow.kind == "host.maintain", OperationRow.state.in_(queries.ACTIVE))
        preparing = select(HostRow).where(HostRow.resource_state.in_(PREPARING))
        with self._store.read() as tx:
            busy = set(tx.scalars(at_work))
            hosts = [host.id for host in tx.scalars(preparing) if f"host:{host.id}" not in busy]
        for host_id in hosts:
            with self._store.write() as tx:
                host = transitions.lock(tx, host_id)
                busy = set(tx.scalars(at_work))
                if host.resource_state not in PREPARING or f"host:{host.id}" in busy:
                    continue
                host.error = "nobody is at work on its preparation any more"
                transitions.move(tx, host, HostEvent.EXHAUSTED, self._drivers.clock.now(), text=f"{host.name}: {host.error}", level="error")
