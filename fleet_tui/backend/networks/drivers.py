"""What works with networks on hosts, as the daemon composed it."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy.orm import Session

from fleet_tui.backend.clock import Clock, SystemClock
from fleet_tui.backend.networks.tenants import Tenants
from fleet_tui.backend.networks.wires import Wiring

DRIFT_S = 900
"""Between checks of what hosts have (spec 10.5)."""


@dataclass(frozen=True, slots=True)
class Card:
    """A VM's card that must be plugged in on a host now."""

    network_id: str
    host_id: str
    vm_id: str
    vm: str
    mac: str
    port: str
    runs: bool
    """The VM is known to run there; else it is about to, is on its way, or nobody can say."""


class Cards(Tenants, Protocol):
    """VMs' cards by the host they are plugged in on: the slice above, which owns VMs, fills it in."""

    def on_hosts(self, tx: Session, network_ids: Collection[str] = (), host_id: str = "") -> Sequence[Card]:
        """Of VMs that run, start or stop there, or move there, or of which nobody can say; all networks and hosts where none are named."""
        ...


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

    wiring: Wiring
    cards: Cards
    clock: Clock = field(default_factory=SystemClock)
    fallback: bool = True
    """``vlan.dedicated.fallback`` (VLN-4)."""
    patience_s: float = 60.0
    """So long a removal of the same interface by another operation is waited for."""
    locks: Locks = field(default_factory=Locks)
