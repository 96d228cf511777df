"""VMs on our own hosts: their life, what room they take, where they are put, and how they move."""

from __future__ import annotations

from datetime import datetime

from fleet_tui.backend.machines.figures import Amount as Amount
from fleet_tui.backend.machines.figures import CapacityRecord as CapacityRecord
from fleet_tui.backend.machines.figures import RatioPreview as RatioPreview
from fleet_tui.backend.machines.figures import WeightRecord as WeightRecord
from fleet_tui.backend.machines.states import ON_HOST, MovePhase, VmState
from fleet_tui.backend.operations import OperationRequest
from fleet_tui.backend.records import dataclass

# --- records ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OfferingRecord:
    """Size of a VM (spec 9.4). Cores are strict; MHz is a weight under contention, a cap only with ``limit_cpu``."""

    id: str
    name: str
    cores: int
    mhz: int
    memory_mib: int
    limit_cpu: bool
    ha: bool
    tags: tuple[str, ...]
    system_kind: str
    """``console-proxy``, ``router``, ``storage-vm``; empty for guests."""
    vms: int


@dataclass(frozen=True, slots=True)
class VmRecord:
    id: str
    name: str
    kind: str
    """``guest``, ``console-proxy``, ``router`` or ``storage-vm``."""
    cluster: str
    offering: str
    state: VmState
    host: str
    """Where it runs, or is; empty while it has no place."""
    last_host: str
    cores: int
    mhz: int
    memory_mib: int
    owners: tuple[str, ...]
    tags: tuple[str, ...]
    account: str
    destroy_protected: bool
    ha: bool
    has_local_disk: bool
    has_device: bool
    """A virtual GPU or pass-through device: it cannot move while it runs."""
    exclusion_tags: tuple[str, ...]
    """No two VMs with a tag in common stand on one host."""
    ips: tuple[str, ...]
    on_old_ratio: bool
    """Started while its cluster's ratios were others: stop and start to adopt (CAP-4)."""
    move: MoveRecord | None
    """Of the migration in flight."""
    operation_id: str | None
    operation: str
    error: str
    version: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class MoveRecord:
    """One attempt to move a VM, under way or ended."""

    id: str
    vm: str
    vm_id: str
    source: str
    destination: str
    phase: MovePhase
    percent: int
    """Of the copy; 100 from the switch on."""
    detail: str
    """``1.9 GiB/s, 4.6 GiB left``."""
    attempt: int
    outcome: str
    """Empty while under way; ``moved``, ``failed`` (it runs at the source), ``lost``, ``unknown`` (a host that could say does not answer)."""
    error: str
    downtime_ms: int | None
    elapsed_ms: int | None
    operation_id: str | None
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What placement says of one host for one VM."""

    host: str
    fits: bool
    why: str
    """Empty when it fits."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a VM would go, and why nowhere else."""

    host: str
    """Empty when it fits nowhere now."""
    policy: str
    verdicts: tuple[Verdict, ...]
    can_ever_fit: bool
    """False: no host of the cluster is large enough even when empty (``cannot_fit_ever``)."""
    more: int | None = None
    """How many VMs of that offering the cluster takes now; of an existing VM ``None``."""
    note: str = ""
    """What else there is to know: of a disabled zone, where only root-admins deploy."""


@dataclass(frozen=True, slots=True)
class ConsoleTicket:
    """How to reach a serial console: the daemon relays it at this path of the door, once."""

    path: str
    token: str
    expires_at: float
    """Unix time."""


# --- reads -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ListOfferings:
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class ListVms:
    """VMs by name, a page at a time; ``refs`` (``vm:v-…``) names some."""

    host: str = ""
    cluster: str = ""
    state: str = ""
    refs: tuple[str, ...] = ()
    after: str = ""
    limit: int = 500


@dataclass(frozen=True, slots=True)
class VmPage:
    vms: tuple[VmRecord, ...]
    next: str
    """``after`` of the next page; empty at the end."""
    total: int


@dataclass(frozen=True, slots=True)
class ShowVm:
    target: str


@dataclass(frozen=True, slots=True)
class ShowCapacity:
    """Of a host, a cluster, a zone (by name or ref), or of every host of the fleet when empty."""

    target: str = ""
    kind: str = "host"


@dataclass(frozen=True, slots=True)
class ShowWeights:
    """Of the VMs that run on a host, the heaviest first."""

    host: str


@dataclass(frozen=True, slots=True)
class PlanPlacement:
    """Where would it go: a new one by offering and cluster, or an existing VM, which starts when it does not run and moves when it does."""

    cluster: str = ""
    offering: str = ""
    vm: str = ""
    policy: str = "balanced"
    host: str = ""
    """Only there."""
    leaves: bool = False
    """A VM that does not run is to leave its host too, rather than start."""
    exclusion_tags: tuple[str, ...] = ()
    """Of a new one."""
    account: str = ""
    networks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PreviewRatio:
    cluster: str
    cpu: float | None = None
    ram: float | None = None


@dataclass(frozen=True, slots=True)
class OpenConsole:
    """Ask for the way to a VM's serial console. The ticket is good once, for a minute, for the same user."""

    target: str


@dataclass(frozen=True, slots=True)
class ReadGuestLog:
    """A VM's serial log, from a byte on."""

    target: str
    after: int = 0
    limit: int = 65_536


@dataclass(frozen=True, slots=True)
class GuestLog:
    position: int
    text: str


# --- changes made at once --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CreateOffering:
    name: str
    cores: int
    mhz: int
    memory_mib: int
    limit_cpu: bool = False
    ha: bool = False
    tags: tuple[str, ...] = ()
    system_kind: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class DeleteOffering:
    target: str
    confirm: str = ""


@dataclass(frozen=True, slots=True)
class EditVm:
    """Tags, owners and protection; fields left ``None`` stay."""

    target: str
    tags: tuple[str, ...] | None = None
    owners: tuple[str, ...] | None = None
    destroy_protected: bool | None = None
    ha: bool | None = None
    version: int = 0


# --- operations ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateVm(OperationRequest):
    """``target`` is the new VM's name. Boots from an image (a copy becomes its disk), or straight from a kernel; or has an empty disk that is
    filled later."""

    cluster: str
    offering: str
    image: str = ""
    """Name or path of a registered cloud image; for whoever may change hosts, any file there."""
    disk_mib: int = 0
    """Size of an empty disk when there is no image; 0 for none."""
    kernel: str = ""
    initrd: str = ""
    cmdline: str = ""
    placement: str = "balanced"
    """``any``, ``random``, ``emptiest``, ``fullest``, ``adjacent:VM``, ``command:PROGRAM`` or ``balanced``."""
    host: str = ""
    """Put it there, if it fits."""
    start: bool = True
    kind: str = "guest"
    tags: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    exclusion_tags: tuple[str, ...] = ()
    account: str = ""
    destroy_protected: bool = True
    local_disk: bool = False
    room_s: float = 0.0
    """So long it waits for room when it fits nowhere now."""
    networks: tuple[str, ...] = ()
    """Guest networks, by name or id; it gets a card on each, in this order."""
    ips: tuple[str, ...] = ()
    """Addresses it will give itself, as far as they are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartVm(OperationRequest):
    host: str = ""
    room_s: float = 0.0
    """So long it waits for room when it fits nowhere now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopVm(OperationRequest):
    """Asks the guest (ACPI) and kills it after ``grace_s``."""

    grace_s: float = 15.0
    confirmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RebootVm(OperationRequest):
    confirmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DestroyVm(OperationRequest):
    confirm: str = ""
    keep_disks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrateVm(OperationRequest):
    """``host`` empty: placement chooses."""

    host: str = ""
    bandwidth_mib_s: int = 0
    copy_local_disks: bool = False
    """Move disks on the host's own storage along."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizeVm(OperationRequest):
    """To another offering; the VM must be stopped."""

    offering: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachDisk(OperationRequest):
    """A disk that is there, for a VM that is stopped. The last one it gets is the last one it sees."""

    path: str
    """At the same place on every host of its cluster."""
    format: str = "qcow2"
    serial: str = ""
    """By which it finds the disk; at most 20 characters."""
    kept: bool = True
    """Whether it outlives the VM, rather than being erased with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetachDisk(OperationRequest):
    """From a VM that is stopped; what is on it stays."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetRatio(OperationRequest):
    """Ratios of a cluster, and recalculation of its capacity (CAP-3). ``None`` stays as it is; 0 inherits again."""

    cpu: float | None = None
    ram: float | None = None
    confirmed: bool = False


VM_STATES = tuple(state.value for state in VmState)
TAKING_ROOM = tuple(sorted(state.value for state in ON_HOST))
