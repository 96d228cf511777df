"""Physical networks, their VLAN IDs, guest networks, and the interfaces that hosts have for them.

Only who holds ``vlans.read`` ever learns an ID: records that others may read carry it as ``None``, and every error, log line and event about
a network names the network, never the number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from fleet_tui.backend.networks.fabric import DedicationRecord as DedicationRecord
from fleet_tui.backend.networks.fabric import MapRecord as MapRecord
from fleet_tui.backend.networks.fabric import PhysicalNetworkRecord as PhysicalNetworkRecord
from fleet_tui.backend.networks.fabric import PresenceRecord as PresenceRecord
from fleet_tui.backend.networks.fabric import RangeDiff as RangeDiff
from fleet_tui.backend.networks.fabric import RangeRecord as RangeRecord
from fleet_tui.backend.networks.fabric import TakenRecord as TakenRecord
from fleet_tui.backend.networks.fabric import VlanRecord as VlanRecord
from fleet_tui.backend.networks.states import GuestType, Isolation, NetworkState, OwnerKind, Scope
from fleet_tui.backend.operations import OperationRequest
from fleet_tui.backend.records import dataclass

# --- records ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NetworkOfferingRecord:
    id: str
    name: str
    guest_type: GuestType
    specify_vlan: bool
    persistent: bool
    """Never shut down by garbage collection."""
    networks: int


@dataclass(frozen=True, slots=True)
class NetworkRecord:
    """A guest network. ``vlan`` is ``None`` for who may not see it, and while there is none."""

    id: str
    name: str
    offering: str
    guest_type: GuestType
    physical: str
    zone: str
    state: NetworkState
    vlan: int | None
    has_vlan: bool
    specified: bool
    cidr: str
    gateway: str
    owner_kind: OwnerKind | None
    owner: str
    nics: int
    running: int
    """VMs on it that run."""
    hosts: int
    """Hosts that have its interface."""
    error: str = ""
    operation_id: str | None = None
    unused_since: datetime | None = None
    created_at: datetime | None = None
    version: int = 1


@dataclass(frozen=True, slots=True)
class NicRecord:
    """A VM's card on a guest network."""

    id: str
    vm_id: str
    network: str
    network_id: str
    mac: str
    device: int
    """0 for the first."""


# --- questions -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ListPhysicalNetworks:
    zone: str = ""
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class ShowMap:
    """``target`` is a physical network."""

    target: str


@dataclass(frozen=True, slots=True)
class ShowVlan:
    target: str
    number: int


@dataclass(frozen=True, slots=True)
class ListVlans:
    """IDs of a physical network that are taken, dedicated or in trouble, from one number on; with ``state`` free also free ones."""

    target: str
    state: str = ""
    owner: str = ""
    after: int = -1
    limit: int = 500


@dataclass(frozen=True, slots=True)
class ShowPresence:
    """Hosts x IDs that are expected or present, of the last check."""

    target: str
    first: int = 0
    last: int = 2**32 - 1
    problems_only: bool = False


@dataclass(frozen=True, slots=True)
class PlanRanges:
    """What :class:`SetRanges` would do; raises what it would refuse."""

    target: str
    text: str
    how: str = "set"
    """``set``, ``add`` or ``remove``."""


@dataclass(frozen=True, slots=True)
class ListNetworks:
    physical: str = ""
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class ShowNetwork:
    target: str


@dataclass(frozen=True, slots=True)
class ListNetworkOfferings:
    limit: int = 1000


# --- changes made at once --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CreatePhysicalNetwork:
    name: str
    zone: str
    isolation: Isolation = Isolation.VLAN
    nic_labels: Mapping[str, str] = field(default_factory=dict)
    ranges: str = ""


@dataclass(frozen=True, slots=True)
class EditPhysicalNetwork:
    """Enable, disable, or change the labels; fields left ``None`` stay."""

    target: str
    enabled: bool | None = None
    nic_labels: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class DeletePhysicalNetwork:
    target: str
    confirm: str = ""


@dataclass(frozen=True, slots=True)
class SetRanges:
    """Replace (``set``), extend (``add``) or cut (``remove``) the ranges. What ``set`` does not list is removed (VLN-1)."""

    target: str
    text: str
    how: str = "set"
    confirmed: bool = False
    """Needed when IDs are removed."""
    expected: str | None = None
    """Ranges that the caller saw; a change meanwhile refuses this one."""


@dataclass(frozen=True, slots=True)
class SetScope:
    target: str
    first: int
    last: int
    scope: Scope


@dataclass(frozen=True, slots=True)
class ApplyTemplate:
    """Give the ranges the scopes of the usual scheme; IDs are neither added nor removed."""

    target: str


@dataclass(frozen=True, slots=True)
class Dedicate:
    target: str
    first: int
    last: int
    owner_kind: OwnerKind
    owner: str


@dataclass(frozen=True, slots=True)
class ReleaseDedication:
    """Allocated IDs stay with their networks and return to the pool when freed (VLN-10)."""

    target: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class CreateNetworkOffering:
    name: str
    guest_type: GuestType = GuestType.ISOLATED
    specify_vlan: bool = False
    persistent: bool = False


@dataclass(frozen=True, slots=True)
class DeleteNetworkOffering:
    target: str
    confirm: str = ""


@dataclass(frozen=True, slots=True)
class CreateNetwork:
    name: str
    offering: str
    physical: str
    vlan: int | None = None
    cidr: str = ""
    gateway: str = ""
    owner_kind: OwnerKind | None = None
    owner: str = ""


@dataclass(frozen=True, slots=True)
class DeleteNetwork:
    target: str
    confirm: str = ""


# --- operations ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartNetwork(OperationRequest):
    """Shut an implemented network down and release its VLAN (restart with cleanup); the next VM implements it again."""

    confirmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckDrift(OperationRequest):
    """Ask every host of a physical network which interfaces it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairDrift(OperationRequest):
    """Make what is missing again and put right what hangs in a wrong bridge; remove what is extra only with ``remove_extra``."""

    remove_extra: bool = False
    host: str = ""
    confirmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepVlans(OperationRequest):
    """Remove interfaces that no VM uses any more where they are never removed by themselves (vSphere)."""

    confirmed: bool = False
