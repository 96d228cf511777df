"""What the fake provider owns: machines, disks, snapshots. In memory, and in a journal that survives the daemon.

The journal is one file of JSON lines, appended and synced before a change counts, so that after a ``kill -9`` everything
that was promised is there and a torn last line is nothing. It is rewritten whole (temp + rename) when it is opened.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

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


Entry = Machine | Disk | Snapshot
_KINDS: dict[str, type[Machine] | type[Disk] | type[Snapshot]] = {"machine": Machine, "disk": Disk, "snapshot": Snapshot}


class Ledger:
    """The entries by id. The owner serialises access; every change goes through :meth:`put` or :meth:`drop`."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = directory / "journal.ndjson"
        self.machines: dict[str, Machine] = {}
        self.disks: dict[str, Disk] = {}
        self.snapshots: dict[str, Snapshot] = {}
        self._directory = directory
        for kind, identity, fields in _read(path):
            if fields is None:
                self._entries(kind).pop(identity, None)
            else:
                self._entries(kind)[identity] = _KINDS[kind](**fields)
        with _replacing(path) as file:
            file.writelines(_line(entry) for entry in self._all())
        self._file = path.open("a", encoding="utf-8")

    def put(self, *entries: Entry) -> None:
        """Record new or changed entries, all with one sync."""
        self._append(_line(entry) for entry in entries)
        for entry in entries:
            self._entries(_kind(entry))[entry.id] = entry

    def drop(self, entry: Entry) -> None:
        kind = _kind(entry)
        self._append([json.dumps([kind, entry.id, None]) + "\n"])
        self._entries(kind).pop(entry.id, None)

    def folder_of(self, entry: Disk | Snapshot) -> Path:
        """Where its content lies; a snapshot has it in ``content`` below that."""
        return self._directory / f"{_kind(entry)}s" / entry.id

    def close(self) -> None:
        self._file.close()

    def _append(self, lines: Iterable[str]) -> None:
        self._file.writelines(lines)
        self._file.flush()
        os.fsync(self._file.fileno())

    def _all(self) -> Iterator[Entry]:
        yield from self.machines.values()
        yield from self.disks.values()
        yield from self.snapshots.values()

    def _entries(self, kind: str) -> dict[str, Any]:
        entries: dict[str, dict[str, Any]] = {"machine": self.machines, "disk": self.disks, "snapshot": self.snapshots}
        return entries[kind]


def _kind(entry: Entry) -> str:
    return type(entry).__name__.lower()


def _line(entry: Entry) -> str:
    return json.dumps([_kind(entry), entry.id, {name: getattr(entry, name) for name in entry.__slots__}]) + "\n"


def _read(path: Path) -> Iterator[tuple[str, str, dict[str, Any] | None]]:
    """Changes in their order, up to the first line that was not written whole."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        if not line.endswith("\n"):
            return
        kind, identity, fields = json.loads(line)
        yield kind, identity, fields


@contextmanager
def _replacing(path: Path) -> Iterator[IO[str]]:
    """A file that takes the place of ``path`` when the block ends, all of it or nothing."""
    scratch = path.with_name(f".{path.name}.part")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    os.replace(scratch, path)
