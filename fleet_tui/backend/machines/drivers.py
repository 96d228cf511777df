"""What the steps of VM operations work with, as the daemon composed it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fleet_tui.backend.clock import Clock, SystemClock
from fleet_tui.backend.hypervisors import Hypervisor, MoveOptions
from fleet_tui.backend.machines.capacity import Rules
from fleet_tui.backend.networks.drivers import Networks


class Links(Protocol):
    """Open connections to hosts."""

    def hypervisor(self, host_id: str) -> Hypervisor:
        """The host's hypervisor, connected.

        Raises:
            Unreachable: it is not, now; details carry the ``reason`` of spec 7.4.
            NotFound: there is no such host.
        """
        ...

    def is_up(self, host_id: str) -> bool:
        """Whether it is connected here and now; asks nobody."""
        ...


@dataclass(frozen=True, slots=True)
class Machines:
    """Given to every step by type."""

    links: Links
    rules: Rules = field(default_factory=Rules)
    options: MoveOptions = field(default_factory=MoveOptions)
    """Of every migration; ``copy_local_disks`` and a bandwidth are added where they are asked for."""
    clock: Clock = field(default_factory=SystemClock)
    networks: Networks | None = None
    """What carries VMs' networks on hosts; VMs that have a card need it."""
    programs: Path | None = None
    """Directory of placement programs (policy ``command``); without one there are none."""
    busy_s: float = 600.0
    """So long a migration waits for a free slot of its hosts (ENG-9)."""
    link_s: float = 15.0
    """So long a link that is being built is waited for."""
    settle_s: float = 30.0
    """So long a host that does not answer is asked again before the VM counts as unknown."""
