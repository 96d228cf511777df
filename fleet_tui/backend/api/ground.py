"""What stands under the instances, for the dashboard: hosts that need a look, VMs by state, room by zone."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fleet_tui.backend.api import Attention, ZoneRoom
from fleet_tui.backend.clock import Clock
from fleet_tui.backend.hosts.patches import Ledger
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow, ZoneRow
from fleet_tui.backend.hosts.states import MAINTENANCE_STATES, ConnectionState, ResourceState
from fleet_tui.backend.machines import ShowCapacity
from fleet_tui.backend.machines.capacity import Rules
from fleet_tui.backend.machines.queries import show_capacity
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.maintenance import queries as maintenance

URGENT = frozenset({"failed", "attention"})
"""Severities that a person should look at; the others only tell what goes on."""
ROOM_S = 10.0
"""Age at which room is counted again: N+1 looks at every VM, and the dashboard asks once a second."""
_SHOWN = 20
_BROKEN = tuple(s.value for s in (ConnectionState.ALERT, ConnectionState.DOWN, ConnectionState.ERROR, ConnectionState.DISCONNECTED))
_LOST = tuple(s.value for s in (ResourceState.ERROR, ResourceState.DEGRADED))
_KEPT = tuple(s.value for s in MAINTENANCE_STATES)
_WORDS = {ResourceState.DEGRADED.value: "declared degraded", ResourceState.ERROR.value: "could not be added"}


class Ground:
    """Asked within the summary's own transaction."""

    def __init__(self, clock: Clock, rules: Rules | None = None) -> None:
        self._clock = clock
        self._rules = rules or Rules()
        self._rooms: tuple[ZoneRoom, ...] = ()
        self._counted_at = -ROOM_S
        self._behind_since = 0.0

    def rooms(self, tx: Session) -> tuple[ZoneRoom, ...]:
        """Room by zone, at most `ROOM_S` old. Zones whose hosts told of no CPU run no VMs, and are left out."""
        now = self._clock.monotonic()
        if now - self._counted_at >= ROOM_S:
            self._counted_at = now
            self._rooms = tuple(self._count_rooms(tx))
        return self._rooms

    def _count_rooms(self, tx: Session) -> Iterator[ZoneRoom]:
        for id_, name in tx.execute(select(ZoneRow.id, ZoneRow.name).order_by(ZoneRow.name)):
            room = show_capacity(tx, ShowCapacity(id_, "zone"), self._rules, self._clock.now())[0]
            if room.cpu.raw:
                cpu, ram = room.cpu.capacity or room.cpu.raw, room.ram.capacity or room.ram.raw or 1
                shares = (room.cpu.used / cpu, room.cpu.reserved / cpu, room.ram.used / ram, room.ram.reserved / ram)
                yield ZoneRoom(name, *shares, room.survives, room.vms)

    def count_vms(self, tx: Session) -> dict[str, int]:
        by_state: dict[str, int] = dict(tx.execute(select(VmRow.state, func.count()).group_by(VmRow.state)).all())
        return {**by_state, "total": sum(by_state.values())} if by_state else {}

    def count_maintenance(self, tx: Session) -> int:
        return tx.scalar(select(func.count()).where(HostRow.resource_state.in_(_KEPT)).select_from(HostRow)) or 0

    def attention(self, tx: Session) -> list[Attention]:
        """Hosts that are lost, broken or in maintenance, and what patches are missing."""
        return [*self._hosts(tx), *self._patches(tx)]

    def _hosts(self, tx: Session) -> Iterator[Attention]:
        told = set()
        for host, severity, words in maintenance.wanting_attention(tx, self._clock.now()):
            told.add(host.id)
            yield Attention(severity, host.name, f"maintenance:{host.id}", words, "enter opens its maintenance", self._since(host))
        unwell = HostRow.resource_state.in_(_LOST) | HostRow.connection_state.in_(_BROKEN)
        for host in tx.scalars(select(HostRow).where(unwell).order_by(HostRow.name).limit(_SHOWN)):
            if host.id in told:
                continue
            since = (host.connection_since or host.measured_at or self._clock.now()).timestamp()
            words, hint = f"link {host.connection_state}{f': {host.reason}' if host.reason else ''}", "enter opens it, R reconnects"
            if host.resource_state in _WORDS:
                words, hint, since = _WORDS[host.resource_state], host.error or "enter opens it", self._since(host)
            yield Attention("failed", host.name, f"host:{host.id}", words, hint, since)

    def _since(self, host: HostRow) -> float:
        return (host.state_since or self._clock.now()).timestamp()

    def _patches(self, tx: Session) -> Iterator[Attention]:
        """One line for all hosts: a ledger that was just taken in concerns many at once."""
        ledger = Ledger.read(tx)
        alike = (HostRow.hypervisor_version, HostRow.patch_level, ClusterRow.hypervisor)
        query = select(*alike, func.count()).join(ClusterRow, HostRow.cluster_id == ClusterRow.id).group_by(*alike)
        behind = sum(
            count for version, level, hypervisor, count in tx.execute(query)
            if any(patch.severity == "critical" for patch in ledger.missing(hypervisor, version, level))
        )  # fmt: skip
        self._behind_since = (self._behind_since or self._clock.now().timestamp()) if behind else 0.0
        if behind:
            text = f"critical patches missing on {behind} host{'s'[: behind != 1]}"
            yield Attention("attention", "patches", "patches:", text, ":patches lists them", self._behind_since)
