"""One host's link: what the watcher remembers of it between looks. Guarded by the lock of :class:`~.links.Links`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fleet_tui.backend.errors import FleetError
from fleet_tui.backend.hosts.roster import Place
from fleet_tui.backend.hosts.standing import Finding, reason_of
from fleet_tui.backend.hosts.states import ConnectionState
from fleet_tui.backend.hypervisors import Hypervisor

C = ConnectionState


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between things (spec 7.4)."""

    quiet_s: float = 5.0
    """A link quiet for so long is asked for a sign of life."""
    answer_s: float = 19.0
    """Without an answer for so long it counts as broken."""
    dial_s: float = 15.0
    """To open a connection."""
    retry_s: float = 1.0
    """Before the second attempt; doubles up to ``retry_most_s``."""
    retry_most_s: float = 30.0
    no_service_s: float = 60.0
    """Where the machine answers and its hypervisor's service does not run."""
    figures_s: float = 15.0
    roster_s: float = 5.0
    """Between looks at which hosts there are, and what other daemons changed."""
    power_s: tuple[float, float] = (30.0, 60.0)
    """A silent host's BMC is asked no more often than once in a random time between these."""


@dataclass(slots=True)
class Link:
    """One host."""

    place: Place
    hypervisor: Hypervisor | None = None
    generation: int = 0
    """Grows whenever a connection is given up, so that late news of it is known to be late."""
    is_dialing: bool = False
    due: float = 0.0
    """When to dial again."""
    heard: float = 0.0
    """When it last answered."""
    measured: float = 0.0
    asked: float | None = None
    """Since when an answer is awaited."""
    failures: int = 0
    error: FleetError | None = None
    """Why there is no connection; ``None`` also while nobody has tried."""
    is_off: bool | None = None
    """What its BMC said last, while it was silent."""
    power_due: float = 0.0
    news: Finding | None = None
    """Not written yet."""
    told: tuple[str, str] | None = None
    """State and reason as they are written."""
    waiting: int = 0
    """Steps that wait for it."""

    def retry_in(self, pace: Pace) -> float:
        """How long to wait after the failure that has just been counted."""
        if self.error is not None and reason_of(self.error) == "no-service":
            return pace.no_service_s
        return min(pace.retry_s * 2.0 ** min(self.failures - 1, 10), pace.retry_most_s)

    def standing(self, now: datetime) -> tuple[ConnectionState, str] | None:
        """How it stands; ``None`` while nobody knows, which changes nothing that was known before."""
        if not self.place.is_watched:
            return (C.DISCONNECTED, "") if self.place.state == C.UP.value else None
        if self.hypervisor is not None:
            return C.UP, ""
        if self.error is None:
            return None
        reason = reason_of(self.error)
        if self.is_off and reason == "unreachable":
            reason = "off"
        until = self.place.expected_off_until
        if until is not None and until > now:
            return C.DISCONNECTED, reason
        return (C.DOWN if reason == "off" else C.ALERT), reason

    def note(self, finding: Finding) -> None:
        self.news = finding.over(self.news)
