"""What the steps of instance operations work with, as the daemon composed it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fleet_tui.backend.certificates.rules import Rules
from fleet_tui.backend.clock import Clock, SystemClock
from fleet_tui.backend.errors import WrongState
from fleet_tui.backend.providers import Door, Provider, Providers
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
    """Where agents on this machine call: ``unix:/path``."""
    clock: Clock = field(default_factory=SystemClock)
    timeouts: Timeouts = field(default_factory=Timeouts)
    sealer: Sealer = field(kw_only=True)
    """For secrets of templates and instances."""
    disk_warning: float = 0.80
    disk_critical: float = 0.90
    certificates: Rules = field(default_factory=Rules)
    leads: Callable[[str, str], Sequence[str]] | None = None
    """(domain, resolver) -> where it leads; ``None`` asks the DNS. A simulated site's domains are in none."""
    far_door: Door | None = None
    """Where agents on other machines call; ``None`` where this site has no such door."""
    bundles: Path = Path()
    """Folder of the register of images."""

    def door_for(self, provider: Provider) -> Door:
        """Where the agents of a provider's machines call.

        Raises:
            WrongState: they are elsewhere, and there is no door for such.
        """
        if not provider.is_elsewhere:
            return Door(self.door)
        if self.far_door is None:
            raise WrongState(
                f"machines of {provider.name} could not call home: this daemon has no door on the network",
                hint="start fleetd with --agent-listen ADDRESS (FLEETD_AGENT_LISTEN)", state="no-door",
            )
        return self.far_door
