"""Where instances run. One small protocol; each kind of place implements it; the fake ships and passes the same contract suite.

Every verb may be repeated after a crash: it looks first, then acts, and ``token`` names the effect, so the same
token never makes a second machine. Verbs block; they are called from worker threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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


@dataclass(frozen=True, slots=True)
class DiskInfo:
    """A data disk as the provider sees it."""

    id: str
    size_gb: int
    used_bytes: int | None
    path: str
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


@dataclass(frozen=True, slots=True)
class BootConfiguration:
    """What a machine's agent needs to find its way home. The token is used once."""

    machine: str
    token: str
    door: str
    """Where the agent calls: ``unix:/path`` (or ``https://host:port`` later)."""
    ca_pem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPlace:
    """What a virtual network names. Empty where it leaves the choice to the provider."""

    account: str = ""
    region: str = ""
    vpc_id: str = ""
    subnet_id: str = ""
    second_subnet_id: str = ""
    security_groups: tuple[str, ...] = ()
    """Empty: the provider makes one."""
    private_zone_id: str = ""
    public_zone_id: str = ""
    zone: str = ""
    guest_network: str = ""


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

    def survey(self, place: NetworkPlace) -> Sequence[Amiss]:
        """Everything amiss at once; looks only. ``Unreachable``, ``AuthFailed`` or ``PermissionDenied`` when it cannot look."""
        ...


class Provider(Protocol):
    """A place where instances run. All verbs raise :class:`FleetError` kinds, never the SDK's own.

    ``say`` takes a line for the operation's log.
    """

    name: str

    def ensure_disk(self, disk_id: str, size_gb: int, token: str, say: Callable[[str], None]) -> DiskInfo:
        """Make the data disk, or find that it is there. ``Busy`` if it is attached elsewhere."""
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

    def restore_disk(self, disk_id: str, snapshot_id: str, say: Callable[[str], None]) -> None:
        """Make the detached disk's content that of the snapshot; all of it or nothing of it, whatever fails."""
        ...

    def delete_snapshot(self, snapshot_id: str) -> None: ...

    def machines(self) -> Sequence[MachineInfo]:
        """Everything of ours that exists there, for finding orphans."""
        ...

    def measure_host(self) -> Mapping[str, Any]:
        """Figures of the place itself: cores, memory, load, disk; empty where it has none."""
        ...


@runtime_checkable
class ReservesAddresses(Protocol):
    """A provider with addresses that are reserved by an id."""

    def reserved_address(self, allocation: str, region: str) -> str:
        """The public address behind an id. ``NotFound`` if there is none."""
        ...


class Providers:
    """The providers of this site, by name."""

    def __init__(self, *providers: Provider) -> None:
        self._by_name = {provider.name: provider for provider in providers}

    def named(self, name: str) -> Provider:
        """Raises :class:`NotFound` when the site has none of that name."""
        try:
            return self._by_name[name]
        except KeyError:
            raise NotFound(f"this site has no provider {name!r}", hint="choose another virtual network") from None

    def all(self) -> tuple[Provider, ...]:
        return tuple(self._by_name.values())
