"""What guest networks work with, as the daemon composed it."""

from __future__ import annotations

from dataclasses import dataclass, field

from fleet_tui.backend.clock import Clock, SystemClock
from fleet_tui.backend.networks.rules import Rules
from fleet_tui.backend.networks.tenants import Segments, Tenants


@dataclass(frozen=True, slots=True)
class Networks:
    """Given to every step by type."""

    tenants: Tenants
    segments: Segments | None = None
    """``None`` where hosts make everything with each VM."""
    rules: Rules = field(default_factory=Rules)
    clock: Clock = field(default_factory=SystemClock)
