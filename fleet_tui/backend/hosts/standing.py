"""What the links found out, written into the hosts' rows, with an event for what a person should notice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import AuthFailed, FleetError, InvalidInput, WrongState
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.hosts.register import noticeable
from fleet_tui.backend.hosts.rows import HostRow
from fleet_tui.backend.hosts.states import REASONS, ConnectionState
from fleet_tui.backend.hypervisors import HostFacts, HostFigures
from fleet_tui.backend.text import clean

C = ConnectionState


@dataclass(frozen=True, slots=True)
class Finding:
    """News of one host. What is ``None`` was not asked."""

    state: ConnectionState | None = None
    reason: str = ""
    detail: str = ""
    """The far side's own words about a broken link."""
    facts: HostFacts | None = None
    is_master: bool | None = None
    figures: HostFigures | None = None

    def over(self, older: Finding | None) -> Finding:
        """This news, and of older news what this one does not touch."""
        if older is None:
            return self
        newer = self if self.state is not None else older
        return Finding(
            newer.state, newer.reason, newer.detail, self.facts or older.facts,
            older.is_master if self.is_master is None else self.is_master, self.figures or older.figures,
        )


def reason_of(error: FleetError) -> str:
    """Reason code of spec 7.4 for why a link could not be opened or broke."""
    told = str(error.details.get("reason", ""))
    if told in REASONS:
        return told
    if isinstance(error, (InvalidInput, WrongState)):  # there is nothing here to ask it with
        return "not-yet-probed"
    return "access-denied" if isinstance(error, AuthFailed) else "unreachable"


def store(tx: Session, findings: Mapping[str, Finding], now: datetime) -> None:
    """Write news of many hosts, by host id. Hosts that are gone are passed over.

    A power-off that is expected is looked up here: it may have been announced by another daemon a moment ago.
    """
    for row in tx.scalars(select(HostRow).where(HostRow.id.in_(findings)).order_by(HostRow.id).with_for_update()):
        finding = findings[row.id]
        if finding.state in (C.ALERT, C.DOWN) and row.expected_off_until is not None and row.expected_off_until > now:
            finding = replace(finding, state=C.DISCONNECTED)
        before = _shown(row)
        if finding.facts is not None:
            take_facts(row, finding.facts)
        if finding.is_master is not None:
            row.is_master = finding.is_master
        if finding.figures is not None:
            _take_figures(row, finding.figures, now)
        if finding.state is not None and (finding.state.value, finding.reason) != (row.connection_state, row.reason):
            _take_state(tx, row, finding, now)
        elif _shown(row) != before:
            append(tx, type="host.changed", ref=f"host:{row.id}")


def _shown(row: HostRow) -> tuple[object, ...]:
    return (*noticeable(row), row.is_master, row.hypervisor_version, row.patch_level)


def take_facts(row: HostRow, facts: HostFacts) -> None:
    """What a host says of itself. It is foreign text."""
    row.hypervisor_version, row.arch = clean(facts.version, 60)[:60], clean(facts.arch, 20)[:20]
    row.serial, row.uuid = clean(facts.serial, 120)[:120], clean(facts.uuid, 60)[:60]
    row.patch_level, row.is_accelerated = clean(facts.patch_level, 120)[:120], facts.is_accelerated
    row.cores, row.mhz, row.memory_bytes = facts.cores, facts.mhz, facts.memory_bytes
    said = asdict(facts)
    row.facts = {name: clean(said[name], 253) for name in ("host_name", "hypervisor")} | {
        name: [clean(text, 120) for text in said[name][:200]] for name in ("pools", "nics")
    }


def _take_figures(row: HostRow, figures: HostFigures, now: datetime) -> None:
    row.memory_used_bytes = max(0, row.memory_bytes - figures.memory_free_bytes)
    row.disk_bytes, row.disk_used_bytes, row.load = figures.disk_bytes, figures.disk_used_bytes, figures.load
    row.measured_at = now


def _take_state(tx: Session, row: HostRow, finding: Finding, now: datetime) -> None:
    state = finding.state or C(row.connection_state)
    was, since = C(row.connection_state), row.connection_since
    row.reason = finding.reason
    text, level = "", "info"
    if state is not was:
        row.connection_state, row.connection_since = state.value, now
        words = REASONS.get(finding.reason, finding.reason)
        if state is C.UP:
            row.expected_off_until = None
            gone = f" after {_span((now - since).total_seconds())}" if since is not None and was in (C.ALERT, C.DOWN, C.DISCONNECTED) else ""
            text = f"{row.name} answers again{gone}" if gone else f"{row.name} is connected"
        elif state is C.ALERT:
            detail = f" ({clean(finding.detail, 300)})" if finding.detail else ""
            text, level = f"{row.name} does not answer: {words}{detail}", "warn"
        elif state is C.DOWN:
            text, level = f"{row.name} is down: {words}", "error"
        elif state is C.DISCONNECTED:
            text = f"{row.name} is disconnected, as was expected"
    append(tx, type="host.link", ref=f"host:{row.id}", text=text, level=level)


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
