"""Keeping what is shown of instances true: what agents report, and agents that no longer do."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from fleet_tui.backend.instances import certified, growth
from fleet_tui.backend.instances.drivers import Drivers
from fleet_tui.backend.instances.rows import InstanceRow
from fleet_tui.backend.instances.states import Health, InstanceState
from fleet_tui.backend.instances.steps import changed
from fleet_tui.backend.providers import Roaming
from fleet_tui.backend.store import Store
from fleet_tui.backend.telemetry.agents import Change
from fleet_tui.backend.telemetry.rows import AgentRow

_LAST_MOMENT = 253_402_300_799
"""The year 9999; an agent may claim a later end of its certificate."""
_SETTLED = (InstanceState.RUNNING.value,)


class Watch:
    """``observe`` runs in each report's transaction; ``sweep`` every few seconds."""

    def __init__(self, store: Store, drivers: Drivers) -> None:
        self._store = store
        self._drivers = drivers

    def observe(self, tx: Session, agent: AgentRow, change: Change) -> None:
        """Take what a report changed over to the instance."""
        row = tx.scalar(select(InstanceRow).where(InstanceRow.machine == agent.machine))
        if row is None:
            return
        if change.disk:
            row.disk_used_bytes = agent.disk_used_bytes
            if agent.disk_used_bytes is not None:
                days = growth.noted(row.disk_days or [], agent.disk_used_bytes, self._drivers.clock.now())
                if days is not row.disk_days:
                    row.disk_days = [list(entry) for entry in days]
        if change.facts:
            _take_facts(row, agent.facts)
            certified.note(tx, row, agent.facts)
        was = row.health
        self._judge(row, agent, silent=False)
        if change or row.health != was:
            self._tell(tx, row, was)

    def sweep(self) -> None:
        """Find agents that fell silent, and machines that stand on another host than they did."""
        self._follow()
        limit = self._drivers.clock.now() - timedelta(seconds=self._drivers.timeouts.silent_s)
        quiet = (
            select(InstanceRow.id).join(AgentRow, AgentRow.machine == InstanceRow.machine)
            .where(InstanceRow.state.in_(_SETTLED), AgentRow.last_seen < limit)
            .where(or_(InstanceRow.health.is_(None), InstanceRow.health != Health.AGENT_SILENT.value))
        )
        with self._store.read() as tx:
            silent = tx.scalars(quiet).all()
        for instance_id in silent:
            with self._store.write() as tx:
                row = tx.get(InstanceRow, instance_id)
                agent = tx.get(AgentRow, row.machine) if row is not None and row.machine else None
                if row is None or agent is None or agent.last_seen is None or agent.last_seen >= limit:
                    continue
                was = row.health
                self._judge(row, agent, silent=True)
                if row.health != was:
                    self._tell(tx, row, was)

    def _follow(self) -> None:
        """A machine moves while it runs; the instance is shown where it is."""
        for provider in self._drivers.providers.all():
            if not isinstance(provider, Roaming):
                continue
            places = provider.whereabouts()
            with self._store.read() as tx:
                rows = tx.execute(select(InstanceRow.id, InstanceRow.machine, InstanceRow.host).where(InstanceRow.machine.in_(places))).all()
            for instance_id, machine, host in rows:
                now = places.get(machine or "", host)
                if now != host:
                    with self._store.write() as tx:
                        row = tx.get(InstanceRow, instance_id)
                        if row is not None and row.machine == machine:
                            row.host = now
                            changed(tx, row)

    def _judge(self, row: InstanceRow, agent: AgentRow, silent: bool) -> None:
        """The overlay beside the state: the worst that is known (spec 4.3)."""
        if row.state not in _SETTLED:
            return
        used = (row.disk_used_bytes or 0) / (row.settings["data_disk.size_gb"] * 1024**3)
        row.health_detail = ""
        if silent:
            row.health = Health.AGENT_SILENT.value
            row.health_detail = f"no word from its agent for {self._drivers.timeouts.silent_s:.0f} s"
        elif agent.health == Health.APP_DOWN.value:
            row.health, row.health_detail = Health.APP_DOWN.value, agent.health_detail
        elif used >= self._drivers.disk_critical:
            row.health, row.health_detail = Health.DISK_CRITICAL.value, f"data disk {used * 100:.0f} % full"
        elif used >= self._drivers.disk_warning:
            row.health, row.health_detail = Health.DISK_WARNING.value, f"data disk {used * 100:.0f} % full"
        else:
            row.health = Health.OK.value

    def _tell(self, tx: Session, row: InstanceRow, was: str | None) -> None:
        if row.health == was:
            changed(tx, row)
        elif row.health in (None, Health.OK.value):
            changed(tx, row, f"{row.label} is well again" if was not in (None, Health.OK.value) else "")
        else:
            level = "warn" if row.health == Health.DISK_WARNING.value else "error"
            changed(tx, row, f"{row.label}: {row.health}: {row.health_detail}", level)


def _take_facts(row: InstanceRow, facts: dict[str, Any]) -> None:
    """Facts agents tell: ``certificate_not_after`` (Unix time), ``certificate_fingerprint``."""
    expiry = facts.get("certificate_not_after")
    if isinstance(expiry, int | float) and 0 <= expiry <= _LAST_MOMENT:
        row.certificate_not_after = datetime.fromtimestamp(expiry, timezone.utc)
    fingerprint = facts.get("certificate_fingerprint")
    row.certificate_fingerprint = str(fingerprint)[:100] if fingerprint else None
