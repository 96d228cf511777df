"""What the fake provider owns: machines, disks, snapshots. In memory, and in a journal that survives the daemon."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleet_tui.backend.journal import Journal
from fleet_tui.backend.providers import MachineState


@dataclass(slots=True)
class Machine:
    """One simulated machine, with what its agent must know after a restart of the daemon."""

    id: str
    instance_id: str
    label: str
    token: str = ""
    host: str = ""
    state: str = MachineState.OFF.value
    private_ip: str = ""
    public_ip: str = ""
    host_name: str = ""
    disk: str = ""
    """The one attached to it."""
    machine_type: str = ""
    root_disk_gb: int = 50
    boot: str = ""
    """Of the agent that runs now, or ran last."""
    boot_token: str = ""
    key: str = ""
    """Empty until its hello was answered."""
    stage: str = ""
    """Of this boot's start-up: ``starting``, ``ready`` or ``failed``."""
    said: int = 0
    """Number of the last line before this start-up began: not 0 when it was retried within one boot."""
    outage: str = ""
    """Why its application is down, when it was down before this daemon began."""
    silent: bool = False
    """Its agent hangs: on, but never heard of."""


@dataclass(slots=True)
class Disk:
    """One data disk. Its folder is real but small; how full it seems is ``used_bytes``."""

    id: str
    size_gb: int
    token: str = ""
    used_bytes: int = 0
    attached_to: str | None = None
    folder_made: bool = False
    """Whether its folder was made; that of a disk of a demo is, when something first touches it."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What agents left on it: installed version, certificate."""


@dataclass(slots=True)
class Snapshot:
    id: str
    disk_id: str
    used_bytes: int
    facts: dict[str, Any] = field(default_factory=dict)


class Ledger(Journal):
    """The entries by id. The owner serialises access; every change goes through :meth:`put` or :meth:`drop`."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory / "journal.ndjson", Machine, Disk, Snapshot)
        self.machines = self.of(Machine)
        self.disks = self.of(Disk)
        self.snapshots = self.of(Snapshot)
        self._directory = directory

    def folder_of(self, entry: Disk | Snapshot) -> Path:
        """Where its content lies; a snapshot has it in ``content`` below that."""
        return self._directory / ("disks" if isinstance(entry, Disk) else "snapshots") / entry.id
