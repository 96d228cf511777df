"""What the steps of host operations work with, as the daemon composed it."""

from __future__ import annotations

from dataclasses import dataclass, field

from fleet_tui.backend.clock import Clock, SystemClock
from fleet_tui.backend.hosts.links import Links
from fleet_tui.backend.hosts.tenants import Nobody, Tenants
from fleet_tui.backend.remote import Reach
from fleet_tui.backend.secrets import Sealer
from fleet_tui.backend.telemetry.lines import Lines


@dataclass(frozen=True, slots=True)
class Drivers:
    """Given to every step by type."""

    links: Links
    reach: Reach
    sealer: Sealer
    lines: Lines
    tenants: Tenants = field(default_factory=Nobody)
    clock: Clock = field(default_factory=SystemClock)
