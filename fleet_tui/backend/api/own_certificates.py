"""The fleet's own certificates on the board: its authority's, and that of the door for agents of other machines."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from sqlalchemy import select

from fleet_tui.backend.api.listeners import AgentListener
from fleet_tui.backend.authority import Rules
from fleet_tui.backend.authority.rows import AuthorityRow
from fleet_tui.backend.certificates import BoardEntry, material
from fleet_tui.backend.clock import Clock
from fleet_tui.backend.instances.certified import state_of
from fleet_tui.backend.store import Store


class OwnCertificates:
    """Read anew for each board: another daemon may have made the authority."""

    def __init__(self, store: Store, door: AgentListener | None, clock: Clock, alert_days: int) -> None:
        self._store, self._door, self._clock, self._alert_days = store, door, clock, alert_days

    def entries(self) -> tuple[BoardEntry, ...]:
        return tuple(self._found())

    def _found(self) -> Iterator[BoardEntry]:
        with self._store.read() as tx:
            pems = tx.scalars(select(AuthorityRow.certificate_pem)).all()
        for pem in pems:
            yield self._entry("fleet CA", "authority", pem, "")
        issued = self._door.issued if self._door is not None else None
        if issued is not None:
            yield self._entry("agent door", "agent_door", issued.certificate_pem, "made anew by fleetd")

    def _entry(self, owner: str, kind: str, pem: str, renewal: str) -> BoardEntry:
        facts, now = material.describe(pem), self._clock.now()
        return BoardEntry(
            owner=owner, ref=f"site:{kind}", kind=kind, subject=facts.subject, issuer=facts.issuer, sans=facts.sans, fingerprint=facts.fingerprint,
            not_after=facts.not_after, days_left=(facts.not_after - now).days, state=state_of(facts.not_after, now, self._alert_days),
            renewal=renewal, untrusted=False, mismatch=False,
            renew_at=facts.not_after - timedelta(days=Rules().renew_days) if renewal else None,
        )
