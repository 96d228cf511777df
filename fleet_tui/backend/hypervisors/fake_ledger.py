"""What the fake hypervisors own: hosts, the guests on them, moves in flight, disks. In memory, and in a journal that survives the daemon."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleet_tui.backend.errors import WrongState
from fleet_tui.backend.hypervisors import Disk, GuestSpec, GuestState, Nic
from fleet_tui.backend.journal import Entry, Journal
from fleet_tui.backend.remote.fake import Machine

GIB = 1024**3
MASTER_KINDS = ("xenserver",)
"""Kinds whose pools have a master."""


@dataclass(slots=True)
class Host:
    """One physical machine."""

    id: str
    """Its name."""
    address: str
    kind: str = "kvm"
    pool: str = ""
    """Hosts of one pool share disks, move guests among each other and, on XenServer, have one master."""
    cores: int = 32
    mhz: int = 2600
    memory_bytes: int = 256 * GIB
    disk_bytes: int = 3840 * GIB
    disk_used_bytes: int = 960 * GIB
    load: float = 0.2
    arch: str = "x86_64"
    version: str = "9.0.0"
    serial: str = ""
    uuid: str = ""
    patch_level: str = ""
    is_accelerated: bool = True
    nics: list[str] = field(default_factory=lambda: ["eth0", "eth1"])
    storage: list[str] = field(default_factory=lambda: ["default"])
    is_on: bool = True
    link: str = ""
    """Reason code why its hypervisor cannot be reached; empty while it can."""
    is_hung: bool = False
    """Its hypervisor takes calls and answers none."""
    in_mode: bool = False
    """XenServer's own maintenance mode, or vCenter's."""
    is_master: bool = False
    can_be_master: bool = True
    technique: str = "kernel"
    """How it carries VLANs: ``kernel``, ``ovs``, or ``""`` for not at all."""
    interfaces: list[dict[str, Any]] = field(default_factory=list)
    """Segments it carries, as ``networks.fake_wires`` keeps them. They are gone after a power cut."""

    def refuse_unplugged(self, nics: Iterable[Mapping[str, Any]]) -> None:
        """As libvirt would: a bridge that is not there takes no card."""
        bridges = {one["bridge"] for one in self.interfaces}
        for nic in nics:
            if nic["bridge"] not in bridges:
                raise WrongState(f"Cannot get interface MTU on '{nic['bridge']}': No such device", hint="make the interface first", state="no-bridge")

    @property
    def can_work(self) -> bool:
        return self.is_on and not self.is_hung and self.link in ("", "access-denied")


@dataclass(slots=True)
class Guest:
    """A guest as one host knows it. While it moves, and when a move went wrong, two hosts do."""

    id: str
    """``guest@host``."""
    guest: str
    name: str
    host: str
    state: str = GuestState.OFF.value
    cores: int = 1
    memory_bytes: int = GIB
    minimum_memory_bytes: int = GIB
    cpu_weight: int = 1000
    cpu_limit_mhz: int = 0
    kernel: str = ""
    initrd: str = ""
    cmdline: str = ""
    disks: list[dict[str, Any]] = field(default_factory=list)
    nics: list[dict[str, Any]] = field(default_factory=list)
    has_device: bool = False
    """A pass-through device: it cannot move while it runs."""
    dirty_rate: float = 0.0
    """Bytes of memory a second that it changes."""
    is_deaf: bool = False
    """It does not listen when it is asked to shut down."""
    booted: float = 0.0
    """Unix time at which its counter began."""
    arrived: float = 0.0
    """Unix time since which this host writes its serial log."""
    stopped: float = 0.0
    """Unix time at which it ended here, or left."""


@dataclass(slots=True)
class Move:
    """A live migration in flight. It goes on by itself, whoever watches: how far it is follows from the time."""

    id: str
    """The guest's."""
    source: str
    destination: str
    begun: float
    """Unix time."""
    total_bytes: int
    rate: float
    dirty_rate: float
    converge: bool
    phase: str = "copy"
    is_half_done: bool = False
    """Whether what was to go wrong in the copy has."""
    is_hung: bool = False
    held_s: float = 0.0
    """Time it stood still."""


@dataclass(slots=True)
class File:
    """A disk's file."""

    id: str
    """``pool:path``, or ``host:path`` on local storage."""
    size_bytes: int
    content: str = ""
    """A word for what is on it; copies have the same."""


class WorldLedger(Journal):
    """The entries. The owner serialises access; every change goes through :meth:`put` or :meth:`drop`."""

    def __init__(self, directory: Path | None) -> None:
        super().__init__(directory / "world.ndjson" if directory is not None else None, Host, Guest, Move, File, Machine)
        self.hosts = self.of(Host)
        self.moves = self.of(Move)
        self.files = self.of(File)
        self.on_host: dict[str, dict[str, Guest]] = {}
        """Host -> guest id -> guest there."""
        self._places: dict[str, dict[str, Guest]] = {}
        for guest in self.of(Guest).values():
            self._index(guest)

    def put(self, *entries: Entry) -> None:
        super().put(*entries)
        for entry in entries:
            if isinstance(entry, Guest):
                self._index(entry)

    def drop(self, *entries: Entry) -> None:
        super().drop(*entries)
        for entry in entries:
            if isinstance(entry, Guest):
                self.on_host.get(entry.host, {}).pop(entry.guest, None)
                places = self._places.get(entry.guest, {})
                places.pop(entry.host, None)
                if not places:
                    self._places.pop(entry.guest, None)

    def guest(self, host: str, guest_id: str) -> Guest | None:
        return self.on_host.get(host, {}).get(guest_id)

    def places(self, guest_id: str) -> Iterator[Guest]:
        """The guest as each host that knows it has it."""
        return iter(tuple(self._places.get(guest_id, {}).values()))

    def file_id(self, host: Host, disk: dict[str, Any]) -> str:
        return f"{host.id if disk['is_local'] or not host.pool else host.pool}:{disk['path']}"

    def _index(self, guest: Guest) -> None:
        self.on_host.setdefault(guest.host, {})[guest.guest] = guest
        self._places.setdefault(guest.guest, {})[guest.host] = guest


def plugged(nics: Iterable[Nic]) -> list[dict[str, Any]]:
    """Cards, as a journal keeps them."""
    return [{"mac": nic.mac, "bridge": nic.bridge, "ovs": nic.ovs, "tag": nic.tag, "port": nic.port} for nic in nics]


def kept(disk: Disk) -> dict[str, Any]:
    """A disk, likewise."""
    return {
        "path": disk.path, "size_bytes": disk.size_bytes, "source": disk.source, "format": disk.format, "is_local": disk.is_local,
        "is_kept": disk.is_kept, "serial": disk.serial,
    }


_DIRTY = re.compile(r"\bdirty=(\d+)\b")


def made(spec: GuestSpec, host: str) -> Guest:
    """A guest as it is defined on a host, switched off. ``dirty=M`` among its kernel's words: it rewrites so many MiB eight times a second."""
    dirty = _DIRTY.search(spec.cmdline)
    return Guest(
        f"{spec.id}@{host}", spec.id, spec.name, host, cores=spec.cores, memory_bytes=spec.memory_bytes,
        minimum_memory_bytes=spec.minimum_memory_bytes, cpu_weight=spec.cpu_weight, cpu_limit_mhz=spec.cpu_limit_mhz, kernel=spec.kernel,
        initrd=spec.initrd, cmdline=spec.cmdline, disks=[kept(disk) for disk in spec.disks], nics=plugged(spec.nics),
        dirty_rate=int(dirty[1]) * 8 * 1024.0**2 if dirty else 0.0,
    )
