"""Hypervisors behind one protocol: what a host is, the guests on it, and moving them while they run.

``libvirt`` drives KVM and plain QEMU; ``fake`` any number of hosts in memory, with faults at any phase and the flows of XenServer and
vSphere (spec 8.6); one contract suite runs over both. A guest is known by an id that the caller chose (a UUID), never by its name.
Every verb can be repeated after a crash: it looks first, then acts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Protocol

from fleet_tui.backend.records import dataclass
from fleet_tui.backend.remote import Login


class GuestState(str, Enum):
    """What the hypervisor sees of a guest."""

    ABSENT = "absent"
    """Not known there."""
    OFF = "off"
    RUNNING = "running"
    PAUSED = "paused"
    """Held; also a guest that waits on either side of a switch-over."""
    INCOMING = "incoming"
    """Being received; it does not run here yet."""
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What a host says of itself."""

    host_name: str
    hypervisor: str
    """``kvm``, ``xenserver``, ``vsphere``, ``lxc``."""
    version: str
    arch: str
    serial: str
    cores: int
    mhz: int
    memory_bytes: int
    is_accelerated: bool = True
    """False where guests are emulated. KVM is never chosen because ``/dev/kvm`` exists, only by the CPU's own flags."""
    patch_level: str = ""
    pools: tuple[str, ...] = ()
    nics: tuple[str, ...] = ()
    uuid: str = ""
    """The machine's own identity, as its hypervisor tells it; two hosts never have the same."""


@dataclass(frozen=True, slots=True)
class HostFigures:
    """Measured now."""

    memory_free_bytes: int
    load: float
    """One-minute load average divided by cores."""
    disk_bytes: int
    disk_used_bytes: int


@dataclass(frozen=True, slots=True)
class Disk:
    """One disk of a guest."""

    path: str
    """Where it is on the host; a shared one is at the same path on every host of the cluster."""
    size_bytes: int = 0
    """Made with this size when it is not there; 0 for one that must exist."""
    source: str = ""
    """Image it starts as a copy of."""
    format: str = "qcow2"
    is_local: bool = False
    """On the host's own storage: moving the guest means copying it."""
    is_kept: bool = False
    """A thing for itself: it is not erased with the guest."""
    serial: str = ""
    """By which the guest finds it, at most 20 characters."""


@dataclass(frozen=True, slots=True)
class Nic:
    """A guest's network card, and where it is plugged in on one host."""

    mac: str
    bridge: str
    ovs: bool = False
    """An Open vSwitch bridge, where the port carries the tag."""
    tag: int = 0
    """VLAN of an Open vSwitch port; 0 where the bridge itself is of one VLAN."""
    port: str = ""
    """Id of an Open vSwitch port (a UUID), the same on every host."""


@dataclass(frozen=True, slots=True)
class GuestSpec:
    """A guest to be made."""

    id: str
    name: str
    cores: int
    memory_bytes: int
    minimum_memory_bytes: int
    """Memory / memory ratio at start (spec 9.3); the balloon may take it down to this."""
    cpu_weight: int
    """Relative share under contention: MHz of the offering x cores (spec 9.4)."""
    cpu_limit_mhz: int = 0
    """Hard cap for all cores together; 0 for none."""
    kernel: str = ""
    initrd: str = ""
    cmdline: str = ""
    disks: tuple[Disk, ...] = ()
    nics: tuple[Nic, ...] = ()


@dataclass(frozen=True, slots=True)
class GuestInfo:
    """A guest as the hypervisor sees it."""

    id: str
    name: str
    state: GuestState
    cores: int = 0
    memory_bytes: int = 0
    is_migrating_away: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """Of one migration in flight. Bytes of memory and of disks that are copied along."""

    phase: str
    """``copy`` or ``switch``."""
    total_bytes: int
    remaining_bytes: int
    rate: float = 0.0
    """Bytes per second."""
    dirty_rate: float = 0.0
    """Bytes per second that the guest changes meanwhile; above ``rate`` the copy cannot end by itself."""

    @property
    def fraction(self) -> float:
        return 1.0 - self.remaining_bytes / self.total_bytes if self.total_bytes else 0.0


@dataclass(frozen=True, slots=True)
class Moved:
    """A migration that came through."""

    elapsed_ms: int
    downtime_ms: int
    sent_bytes: int = 0


@dataclass(frozen=True, slots=True)
class MoveOptions:
    copy_local_disks: bool = False
    bandwidth_mib_s: int = 0
    """0 for no limit."""
    timeout_s: float = 3600.0
    """``migratewait``: then it is aborted and the guest stays where it is."""
    converge: bool = True
    """Slow a guest down that changes memory faster than the link carries it."""
    nics: tuple[Nic, ...] = ()
    """Its cards as they are plugged in at the destination; empty when it has none."""


@dataclass(frozen=True, slots=True)
class StoredDisk:
    """A disk's file as a host sees it."""

    path: str
    size_bytes: int
    """What a guest sees."""
    used_bytes: int
    """What it takes."""


class Storage(Protocol):
    """Disks on a host's storage, and which of them a guest has. Repeatable; what is made is whole or not there."""

    def find(self, path: str) -> StoredDisk | None: ...

    def make(self, disk: Disk) -> StoredDisk:
        """Unless it is there. ``NoCapacity`` when there is no room."""
        ...

    def grow(self, path: str, size_bytes: int) -> None:
        """A disk that no guest uses now; never smaller. ``NotFound`` when it is gone."""
        ...

    def copy(self, source: str, target: str) -> StoredDisk:
        """The content of a disk that no guest writes to; nothing happens when the target is there."""
        ...

    def copy_of_running(self, guest_id: str, path: str, target: str) -> StoredDisk:
        """The content, as it is at one moment, of a disk that a running guest has. ``Busy`` while the guest moves."""
        ...

    def grow_of_running(self, guest_id: str, path: str, size_bytes: int) -> None:
        """A disk that a running guest has, which sees it at once. ``Busy`` while the guest moves."""
        ...

    def replace(self, source: str, target: str) -> None:
        """Make ``target`` a copy of ``source``: all of it, or nothing whatever fails."""
        ...

    def erase(self, path: str) -> None:
        """Nothing happens when it is gone. ``WrongState`` while it is in use."""
        ...

    def put(self, path: str, content: bytes) -> None:
        """A file, readable by nobody else; what was there is replaced."""
        ...

    def fit(self, guest_id: str, disks: Sequence[Disk]) -> None:
        """Give a guest that is off these disks, and no others. Nothing happens where it is not known."""
        ...


class Console(Protocol):
    """A guest's serial line."""

    def read(self, timeout_s: float) -> bytes:
        """What came; empty when nothing did. ``Unreachable`` once it has ended."""
        ...

    def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...


class Hypervisor(Protocol):
    """One host's hypervisor, connected. Verbs block; may be called from any thread. Errors are :class:`FleetError` kinds:
    ``Unreachable`` (details ``reason`` of spec 7.4), ``TimedOut``, ``NotFound``, ``WrongState``, ``Busy``, ``NoCapacity``."""

    kind: str

    @property
    def storage(self) -> Storage: ...

    def ping(self) -> None:
        """Cheap sign of life, bounded by the keepalive."""
        ...

    def facts(self) -> HostFacts: ...
    def figures(self) -> HostFigures: ...

    # Guests

    def guests(self) -> Sequence[GuestInfo]: ...

    def find(self, guest_id: str) -> GuestInfo:
        """How it stands; ``ABSENT`` rather than an error when it is not known."""
        ...

    def create(self, spec: GuestSpec) -> None:
        """Make its disks and define it, switched off. The same id again changes nothing that exists."""
        ...

    def start(self, guest_id: str) -> None: ...

    def shut_down(self, guest_id: str, grace_s: float) -> bool:
        """Ask it to end (ACPI); kill it when it has not within ``grace_s``. Says whether it ended by itself."""
        ...

    def kill(self, guest_id: str) -> None: ...
    def reboot(self, guest_id: str) -> None: ...

    def resume(self, guest_id: str) -> None:
        """Let a paused guest go on: after a switch-over that did not happen."""
        ...

    def resize(self, guest_id: str, cores: int, memory_bytes: int, minimum_memory_bytes: int, cpu_weight: int) -> None: ...

    def plug(self, guest_id: str, nics: Sequence[Nic]) -> None:
        """Give a guest that is off these cards, and no others. What they are plugged into must be there when it starts."""
        ...

    def remove(self, guest_id: str, *, with_disks: bool) -> None:
        """Undefine a guest that is off; nothing happens when it is gone. ``with_disks`` erases its disks too."""
        ...

    def console(self, guest_id: str) -> Console: ...

    def log_of(self, guest_id: str, after: int, limit: int = 65_536) -> tuple[int, str]:
        """The guest's serial log from byte ``after`` on: (position reached, text)."""
        ...

    def log(self, after: int, limit: int = 65_536) -> tuple[int, str]:
        """The hypervisor's own log, likewise."""
        ...

    # Moving

    def can_receive(self, guest_id: str, source: Hypervisor) -> None:
        """Asked of the destination before anything moves; raises what would refuse it (CPU, storage, name taken, no way from the source)."""
        ...

    def migrate(self, guest_id: str, destination: Hypervisor, options: MoveOptions, told: Callable[[Progress], None]) -> Moved:
        """Move a running guest to another host while it runs, and leave nothing behind on this one. Blocks.

        ``told`` hears of progress about twice a second and may raise to have it aborted. Whatever it raises is raised
        here once the guest is known to run on at the source. After any error the caller asks both sides where the guest is.
        """
        ...

    def migration(self, guest_id: str) -> Progress | None:
        """Of a migration away that is in flight, also one begun before a crash of ours."""
        ...

    def abort(self, guest_id: str) -> None:
        """Stop a migration in flight; the guest stays here."""
        ...

    def drop_incoming(self, guest_id: str) -> None:
        """Remove what a failed migration left of a guest on this, its destination. Refuses one that runs."""
        ...

    # The hypervisor's own maintenance mode (spec 8.6); KVM has none and does nothing

    def enter_maintenance(self) -> None: ...
    def leave_maintenance(self) -> None: ...

    def in_maintenance(self) -> bool:
        """Whether the hypervisor's, or vCenter's, own mode is on."""
        ...

    def is_pool_master(self) -> bool: ...

    def elect_master(self) -> str:
        """Have another host of the pool become master, and give its name. ``WrongState`` when no other can."""
        ...

    def close(self) -> None: ...


class Hypervisors(Protocol):
    """The way to hypervisors."""

    def open(self, kind: str, login: Login, lost: Callable[[str], None]) -> Hypervisor:
        """Connect. ``lost`` is told once, from any thread, the reason (spec 7.4) when the connection breaks by itself.

        Raises:
            Unreachable, AuthFailed, TimedOut: with details ``reason``.
            InvalidInput: there is no driver for that kind.
        """
        ...
