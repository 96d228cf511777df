"""What the steps of instance operations work with, as the daemon composed it."""

from __future__ import annotations

from dataclasses import dataclass, field

from fleet_tui.backend.certificates.rules import Rules
from fleet_tui.backend.clock import Clock, SystemClock
from fleet_tui.backend.providers import Providers
from fleet_tui.backend.secrets import Sealer
from fleet_tui.backend.telemetry.agents import Agents
from fleet_tui.backend.telemetry.lines import Lines


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds the steps wait (spec 4.4, 4.7)."""

    hello_s: float = 900.0
    start_s: float = 600.0
    stop_s: float = 120.0
    action_s: float = 600.0
    install_s: float = 1800.0
    health_s: float = 120.0
    health_interval_s: float = 5.0
    silent_s: float = 90.0
    """Without a heartbeat for so long an agent is silent."""


@dataclass(frozen=True, slots=True)
class Drivers:
    """Given to every step by type."""

    providers: Providers
    agents: Agents
    lines: Lines
    door: str
    """Where agents call: ``unix:/path``."""
    clock: Clock = field(default_factory=SystemClock)
    timeouts: Timeouts = field(default_factory=Timeouts)
    sealer: Sealer = field(kw_only=True)
    """For secrets of templates and instances."""
    disk_warning: float = 0.80
    disk_critical: float = 0.90
    certificates: Rules = field(default_factory=Rules)
