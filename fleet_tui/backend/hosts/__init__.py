"""Zones, pods, clusters and hosts: what stands where, whether it may be used, and whether it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from fleet_tui.backend.hosts.states import Allocation, ConnectionState, ResourceState
from fleet_tui.backend.operations import OperationRequest
from fleet_tui.backend.records import dataclass

# --- records ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ZoneRecord:
    id: str
    name: str
    allocation: Allocation
    network_type: str
    """``advanced`` or ``basic``."""
    dns: tuple[str, ...]
    guest_cidr: str
    pods: int
    clusters: int
    hosts: int


@dataclass(frozen=True, slots=True)
class PodRecord:
    id: str
    name: str
    zone: str
    allocation: Allocation
    gateway: str
    netmask: str
    start_ip: str
    end_ip: str
    clusters: int
    hosts: int


@dataclass(frozen=True, slots=True)
class ClusterRecord:
    id: str
    name: str
    zone: str
    pod: str
    allocation: Allocation
    hypervisor: str
    arch: str
    managed: str
    cpu_ratio: float
    ram_ratio: float
    ratio_origin: str
    """``inherited`` from the global factors, or ``own``."""
    dedicated_account: str
    mismatch: Mapping[str, str]
    """Hosts whose credentials are not the stored ones, with why; while there are any, nothing that needs the host shell is done."""
    hosts: int
    is_recalculating: bool = False


@dataclass(frozen=True, slots=True)
class HostRecord:
    """One physical machine, with its measured figures."""

    id: str
    name: str
    location: str
    """``zone/pod/cluster``."""
    hypervisor: str
    address: str
    resource_state: str
    connection_state: str
    cores: int
    memory_bytes: int
    memory_used_bytes: int
    disk_bytes: int
    disk_used_bytes: int
    load: float
    """One-minute load average divided by cores, 1.0 = busy."""
    instances: int
    measured_at: datetime | None
    reason: str = ""
    """Reason code of the connection state, a key of ``states.REASONS``."""
    health: str = ""
    """``healthy``, ``marginal``, ``at-risk``, or empty when it reports none."""
    allocatable: bool = True
    """HST-1: zone, pod, cluster and host enabled, and the link up."""
    why_not: str = ""
    """What keeps it from being allocatable: ``cluster c1 is disabled``."""
    vms: int = 0
    cpu_used: float = 0.0
    """Share of its capacity (ratio included) that is used and reserved."""
    ram_used: float = 0.0
    version: str = ""
    serial: str = ""
    arch: str = ""
    mhz: int = 0
    is_accelerated: bool = True
    is_secured: bool = False
    patch_level: str = ""
    patches_behind: int = 0
    patches_critical: int = 0
    tags: tuple[str, ...] = ()
    location_note: str = ""
    host_key: str = ""
    """Fingerprint."""
    ssh_user: str = ""
    ssh_port: int = 22
    is_master: bool = False
    operation_id: str | None = None
    """Of the operation that holds it."""
    operation: str = ""
    error: str = ""
    """Why it could not be added, or what its last operation failed with."""
    state_since: datetime | None = None
    version_number: int = 1
    nics: tuple[str, ...] = ()
    """Network interfaces that the host told of, with what it says of each."""


@dataclass(frozen=True, slots=True)
class PatchRecord:
    """One entry of the ledger (spec 7.7). The product does not fetch vendors' announcements by itself."""

    hypervisor: str
    version: str
    patch: str
    released: str
    """Date, ISO."""
    severity: str
    """``critical``, ``important`` or ``normal``."""
    note: str
    superseded_by: str
    missing_on: int


# --- reads -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ListZones:
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class ListPods:
    zone: str = ""
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class ListClusters:
    zone: str = ""
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class ListHosts:
    limit: int = 5000


@dataclass(frozen=True, slots=True)
class ShowHost:
    name: str


@dataclass(frozen=True, slots=True)
class ListPatches:
    hypervisor: str = ""


@dataclass(frozen=True, slots=True)
class ProbeHostKey:
    """First contact: the key an address shows now. Nothing is stored."""

    address: str
    port: int = 22


@dataclass(frozen=True, slots=True)
class HostKeyRecord:
    text: str
    fingerprint: str


# --- changes made at once --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CreateZone:
    name: str
    network_type: str = "advanced"
    dns: tuple[str, ...] = ()
    guest_cidr: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class CreatePod:
    name: str
    zone: str
    gateway: str = ""
    netmask: str = ""
    start_ip: str = ""
    end_ip: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class CreateCluster:
    name: str
    zone: str = ""
    pod: str = ""
    hypervisor: str = "kvm"
    arch: str = "x86_64"
    dedicated_account: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class SetAllocation:
    """Enable or disable a branch. VMs that run are not touched (HST-2)."""

    kind: str
    """``zone``, ``pod``, ``cluster`` or ``host``."""
    target: str
    enabled: bool
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class DeleteBranch:
    """Delete an empty zone, pod or cluster (HST-4)."""

    kind: str
    target: str
    confirm: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class EditHost:
    """Tags, note and log-in of a host; fields left ``None`` stay."""

    target: str
    tags: tuple[str, ...] | None = None
    location_note: str | None = None
    ssh_user: str | None = None
    ssh_port: int | None = None
    private_key: str | None = field(default=None, repr=False)
    version: int = 0
    """Refused when it was changed since this version; 0 does not look."""


@dataclass(frozen=True, slots=True)
class ImportPatches:
    """Replace or add to the ledger from CSV or JSON text."""

    text: str
    format: str = "csv"
    replace: bool = False


# --- operations ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AddHost(OperationRequest):
    """``target`` is the address. Without ``accept_fingerprint`` it is refused with the fingerprint shown (``confirmation_required``)."""

    cluster: str
    user: str
    port: int = 22
    name: str = ""
    """What it is called here; its own host name when empty."""
    password: str = field(default="", repr=False)
    private_key: str = field(default="", repr=False)
    accept_fingerprint: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryHost(OperationRequest):
    """Try again to add a host that ended in ``Error``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveHost(OperationRequest):
    """From maintenance or ``Degraded``; ``force`` from anywhere, for a dead host too (destructive, lists the VMs)."""

    force: bool = False
    confirm: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconnectHost(OperationRequest):
    """Drop the link and build it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReinstallHost(OperationRequest):
    """Guided: remove, wait for SSH at the address, add again with the old settings."""

    wait_s: float = 3600.0
    accept_fingerprint: str = ""
    """A fresh installation has a new host key; it must be named, or ``any-once`` given, which the log says."""
    confirmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclareDegraded(OperationRequest):
    """A host that cannot be brought back even by its BMC: only from link ``alert``, ``disconnected`` or ``down``."""

    confirmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelDegraded(OperationRequest):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class SetClusterPassword(OperationRequest):
    """Spec 7.6. ``record``: it was changed outside already; only checked on each host, then stored."""

    password: str = field(repr=False)
    record: bool = False
    confirmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ManageCluster(OperationRequest):
    """Send commands to a cluster's hosts, or none any more (HST-5)."""

    managed: bool
    confirmed: bool = False


HOST_STATES = tuple(state.value for state in ResourceState)
LINK_STATES = tuple(state.value for state in ConnectionState)
