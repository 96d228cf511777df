"""Where instances run. One small protocol; each kind of place implements it; the fake ships and passes the same contract suite.

Every verb may be repeated after a crash: it looks first, then acts, and ``token`` names the effect, so the same
token never makes a second machine. Verbs block; they are called from worker threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from enum import Enum
from typing import Any, Protocol, runtime_checkable

from fleet_tui.backend.errors import NotFound
from fleet_tui.backend.records import dataclass
from fleet_tui.backend.telemetry import AgentLine


class MachineState(str, Enum):
    """What the provider sees of a machine; not what the instance is."""

    ABSENT = "absent"
    """No such machine."""
    OFF = "off"
    """Exists, nothing of it runs."""
    ON = "on"
    """Its agent runs."""
    BROKEN = "broken"
    """Something of it still runs, but its agent does not."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where machines and their disks stand and how they are reached, as the virtual network has it. Empty fields leave the choice to the provider."""

    zone: str = ""
    """Of our own hosts."""
    guest_network: str = ""
    """Of our own hosts, by name."""
    region: str = ""
    vpc_id: str = ""
    subnet_id: str = ""
    second_subnet_id: str = ""
    """In another zone of the same region; taken when the data disk stands there."""
    security_groups: tuple[str, ...] = ()
    """Empty: one is made for the machine, and goes with it."""
    internet_access: str = "yes"
    """``yes``, ``no`` or ``egress_only``."""
    assign_public_ip: bool = False
    private_zone_id: str = ""
    """DNS zone of private addresses."""
    public_zone_id: str = ""
    public_ports: tuple[int, ...] = ()
    """TCP ports that an authority of certificates must reach from anywhere. Only a survey looks at them."""


@dataclass(frozen=True, slots=True)
class DiskSpec:
    """What a data disk is made as, where there is a choice."""

    placement: Placement = field(default_factory=Placement)
    kind: str = ""
    """Type of disk in the provider's own words (``gp3``); empty for its usual one."""
    iops: int | None = None
    encryption: str = "default_key"
    """``none``, ``default_key``, ``tenant`` or ``custom``."""
    encryption_key: str = ""
    """The key that is meant; with ``custom`` only."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """A person's own."""
    instance_id: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """A machine to be made. ``id`` is chosen by the caller and stays the same over repeats."""

    id: str
    instance_id: str
    label: str
    token: str
    """Client token of the step that makes it."""
    host: str = "localhost"
    machine_type: str = ""
    root_disk_gb: int = 50
    placement: Placement = field(default_factory=Placement)
    image: str = ""
    """Of the operating system, in the provider's own words; empty for its usual one."""
    disk_id: str = ""
    """The data disk it is to stand beside."""
    ports: tuple[int, ...] = ()
    """Which its application listens on."""
    host_name: str = ""
    """First part of its names in the zones of its placement."""
    public_ip_allocation: str = ""
    """A reserved public address; empty for one that comes and goes with the machine, if any."""
    profile: str = ""
    """What it may do there: an instance profile."""
    key_pair: str = ""
    """Name of a pair of SSH keys that the provider has, whose holder may log in; empty for none."""
    restrict_metadata: bool = True
    """Whether only the machine itself, and nothing it hosts, may ask the cloud's metadata service."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """A person's own."""


@dataclass(frozen=True, slots=True)
class DiskInfo:
    """A data disk as the provider sees it."""

    id: str
    size_gb: int
    used_bytes: int | None
    path: str
    """Its folder, or what the provider calls it."""
    attached_to: str | None


@dataclass(frozen=True, slots=True)
class MachineInfo:
    """A machine as the provider sees it."""

    id: str
    state: MachineState
    private_ip: str = ""
    public_ip: str = ""
    host_name: str = ""
    pid: int | None = None
    path: str = ""
    host: str = ""
    """Name of the physical host it stands on; empty where the provider does not tell."""


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    id: str
    disk_id: str
    size_bytes: int
    path: str
    region: str = ""
    """Of a cloud: where it is kept, and has to be looked for."""


@dataclass(frozen=True, slots=True)
class BootConfiguration:
    """What a machine's agent needs to find its way home. The token is used once."""

    machine: str
    token: str
    door: str
    """Where the agent calls: ``unix:/path``, or ``https://host:port``, several with spaces between them."""
    ca_pem: str = ""
    """The authority whose certificate the door shows; needed with ``https``."""


@dataclass(frozen=True, slots=True)
class Door:
    """Where agents call."""

    address: str
    ca_pem: str = ""


ANY_DISK = DiskSpec()


@dataclass(frozen=True, slots=True)
class CloudImageRecord:
    """An operating system that machines on our own hosts start from: a qcow2 with cloud-init and its NoCloud datasource."""

    id: str
    name: str
    zone: str
    path: str
    """At the same place on every host of the zone."""
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ListCloudImages:
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class RegisterCloudImage:
    """Its folder must be on storage that all hosts of the zone share: machines made from it, and data disks, stand beside it."""

    name: str
    zone: str
    path: str


@dataclass(frozen=True, slots=True)
class RemoveCloudImage:
    """From the register; the file stays where it is."""

    target: str
    confirm: str = ""


@dataclass(frozen=True, slots=True)
class ListOrphans:
    """What the site has at its providers and no instance has, asked of each now."""


@dataclass(frozen=True, slots=True)
class Orphan:
    """A machine, data disk or snapshot that nothing on record here belongs to."""

    kind: str
    """``machine``, ``disk`` or ``snapshot``."""
    id: str
    provider: str
    place: str
    """Where it is, in the provider's own words; empty where it does not tell."""
    size_bytes: int | None
    """Of a disk what it may hold, of a snapshot what it takes."""
    detail: str
    """State of a machine; which machine has the disk; which disk the snapshot is of."""
    region: str = ""


@dataclass(frozen=True, slots=True)
class OrphanList:
    orphans: tuple[Orphan, ...]
    unseen: tuple[str, ...]
    """Providers that could not be asked, and why."""


@dataclass(frozen=True, slots=True)
class Amiss:
    """Something a virtual network names that is not there, or not as it must be."""

    field: str
    """Field of the virtual network, see ``instances/network_fields.py``."""
    text: str
    is_error: bool = True
    """Whether instances could not be made there as it is."""


@runtime_checkable
class Surveyor(Protocol):
    """A provider that can tell whether what a virtual network names is there. Those that have nothing to look at are none."""

    def survey(self, placement: Placement) -> Sequence[Amiss]:
        """Everything amiss at once; looks only. ``Unreachable``, ``AuthFailed`` or ``PermissionDenied`` when it cannot look."""
        ...


@runtime_checkable
class Roaming(Protocol):
    """A provider whose machines change hosts while they run."""

    def whereabouts(self) -> Mapping[str, str]:
        """Machine -> name of the host it stands on now; asks nobody but the database."""
        ...


class Provider(Protocol):
    """A place where instances run. All verbs raise :class:`FleetError` kinds, never the SDK's own.

    ``say`` takes a line for the operation's log.
    """

    name: str
    is_elsewhere: bool
    """Its machines are not this one: their agents call over the network."""
    look_s: float
    """Seconds between two looks at a machine that starts up: what is far away is not asked every second."""
    copies_over_time: bool
    """A snapshot of a disk in use is copied piece by piece, so nothing may be written to it meanwhile; else it is of one moment."""

    def ensure_disk(self, disk_id: str, size_gb: int, token: str, say: Callable[[str], None], spec: DiskSpec = ANY_DISK) -> DiskInfo:
        """Make the data disk, or find that it is there. ``Busy`` if it is attached elsewhere."""
        ...

    def grow_disk(self, disk_id: str, size_gb: int, say: Callable[[str], None]) -> DiskInfo:
        """Make it larger, attached or not; never smaller. ``NotFound`` if there is none."""
        ...

    def find_disk(self, disk_id: str) -> DiskInfo | None: ...

    def delete_disk(self, disk_id: str) -> None:
        """Remove a data disk and what is on it. Nothing happens if it is gone. ``Busy`` while attached."""
        ...

    def create_machine(self, spec: MachineSpec, say: Callable[[str], None]) -> MachineInfo:
        """Make the machine with an empty OS disk, switched off; the same token finds the same machine."""
        ...

    def find_machine(self, machine_id: str) -> MachineInfo:
        """How it stands; ``ABSENT`` rather than an error when there is none."""
        ...

    def attach_disk(self, machine_id: str, disk_id: str) -> None: ...

    def detach_disk(self, machine_id: str, disk_id: str) -> None:
        """Repeatable. ``WrongState`` with the holders while something of the machine still uses it."""
        ...

    def boot(self, machine_id: str, configuration: BootConfiguration, bundle: str, say: Callable[[str], None]) -> None:
        """Start the machine's agent unless it already runs. ``bundle``: path of the application bundle, placed on the machine."""
        ...

    def shut_down(self, machine_id: str, grace_s: float, say: Callable[[str], None]) -> None:
        """Stop everything of the machine: politely for ``grace_s`` seconds, then not. Keeps the OS disk."""
        ...

    def terminate(self, machine_id: str, say: Callable[[str], None]) -> None:
        """Stop everything of the machine and throw its OS disk away. Nothing happens if it is gone."""
        ...

    def unsent_lines(self, machine_id: str) -> Iterator[tuple[str, Sequence[AgentLine]]]:
        """Batches of (boot, lines) that ended agents of the machine left unsent; none where it cannot be looked into."""
        ...

    def snapshot_disk(self, disk_id: str, snapshot_id: str, say: Callable[[str], None]) -> SnapshotInfo: ...

    def restore_disk(self, disk_id: str, snapshot_id: str, say: Callable[[str], None], token: str = "") -> None:
        """Make the detached disk's content that of the snapshot; all of it or nothing of it, whatever fails.

        ``token``: another one has a copy that failed made anew, where the far side would give the same back.
        """
        ...

    def delete_snapshot(self, snapshot_id: str, region: str = "") -> None:
        """Nothing happens if it is gone. ``region`` as was told when it was made; empty where that is not known."""
        ...

    def machines(self) -> Sequence[MachineInfo]:
        """All of ours that exist there, whether anything here knows of them or not: for finding orphans. So are the two below."""
        ...

    def disks(self) -> Sequence[DiskInfo]: ...

    def snapshots(self) -> Sequence[SnapshotInfo]: ...

    def measure_host(self) -> Mapping[str, Any]:
        """Figures of the place itself: cores, memory, load, disk; empty where it has none."""
        ...


@runtime_checkable
class ReservesAddresses(Protocol):
    """A provider with addresses that are reserved by an id."""

    def reserved_address(self, allocation: str, region: str) -> str:
        """The public address behind an id. ``NotFound`` if there is none."""
        ...


@runtime_checkable
class SeesSecrets(Protocol):
    """A provider whose machines read secrets with a role of their own, and which can be asked whether one is there."""

    def secret_problem(self, secret_id: str, region: str) -> str:
        """Why a machine could not read it; empty when it is there. ``PermissionDenied`` if the site may not look."""
        ...


class Providers:
    """The providers of this site, by name.

    Args:
        offered: those that come and go with what is set up; each is asked for when it is wanted, and gives ``None`` while there is none.
    """

    def __init__(self, *providers: Provider, offered: Mapping[str, Callable[[], Provider | None]] | None = None) -> None:
        self._by_name = {provider.name: provider for provider in providers}
        self._offered = dict(offered or {})

    def named(self, name: str) -> Provider:
        """Raises :class:`NotFound` when the site has none of that name."""
        found = self._by_name.get(name) or self._offered.get(name, lambda: None)()
        if found is None:
            hint = "set its account up: `fleet cloud setup`" if name in self._offered else "choose another virtual network"
            raise NotFound(f"this site has no provider {name!r}", hint=hint)
        return found

    def all(self) -> tuple[Provider, ...]:
        return (*self._by_name.values(), *(found for offer in self._offered.values() if (found := offer()) is not None))
