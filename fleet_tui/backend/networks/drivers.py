"""What guest networks work with, as the daemon composed it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from fleet_tui.backend.clock import Clock, SystemClock
from fleet_tui.backend.networks.rules import Rules
from fleet_tui.backend.networks.tenants import Segments, Tenants
from fleet_tui.backend.networks.wires import Wiring


class Locks:
    """Who makes or removes interfaces of one network on one host is alone with that in this process."""

    def __init__(self, stripes: int = 64) -> None:
        self._locks = tuple(threading.Lock() for _ in range(stripes))

    def of(self, network_id: str, host_id: str) -> threading.Lock:
        """Hold one at a time."""
        return self._locks[hash((network_id, host_id)) % len(self._locks)]


@dataclass(frozen=True, slots=True)
class Networks:
    """Given to every step by type."""

    tenants: Tenants
    segments: Segments | None = None
    """In place of those made of ``wiring``."""
    rules: Rules = field(default_factory=Rules)
    clock: Clock = field(default_factory=SystemClock)
    wiring: Wiring | None = None
    """The way to hosts' wires; ``None`` where no host is touched."""
    patience_s: float = 60.0
    """So long a removal of the same interface by another operation is waited for."""
    locks: Locks = field(default_factory=Locks)
