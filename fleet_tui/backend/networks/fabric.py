"""Physical networks and their IDs as records: a part of the face, which has them by the same names."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from fleet_tui.backend.networks.states import DriftKind, Isolation, OwnerKind, PhysicalState, Scope, VlanState
from fleet_tui.backend.records import dataclass


@dataclass(frozen=True, slots=True)
class RangeRecord:
    """IDs ``first``..``last`` of one scope. Ranges of a network are sorted and do not touch unless their scopes differ."""

    first: int
    last: int
    scope: Scope


@dataclass(frozen=True, slots=True)
class DedicationRecord:
    id: str
    first: int
    last: int
    owner_kind: OwnerKind
    owner: str
    used: int
    """IDs of it that are taken."""


@dataclass(frozen=True, slots=True)
class PhysicalNetworkRecord:
    """A layer-2 fabric of a zone."""

    id: str
    name: str
    zone: str
    isolation: Isolation
    state: PhysicalState
    nic_labels: Mapping[str, str]
    """Hypervisor -> name of the hosts' network card."""
    ranges: tuple[RangeRecord, ...]
    dedications: tuple[DedicationRecord, ...]
    counts: Mapping[str, int]
    """State of an ID -> how many, of all IDs in ranges."""
    networks: int
    """Guest networks on it."""
    problems: int
    """Drift found at the last check, and IDs in a state that is a problem."""
    checked_at: datetime | None = None
    """Last drift check."""
    version: int = 1

    @property
    def ranges_text(self) -> str:
        """``600-799,820``, whatever the scopes."""
        merged: list[list[int]] = []
        for item in self.ranges:
            if merged and item.first == merged[-1][1] + 1:
                merged[-1][1] = item.last
            else:
                merged.append([item.first, item.last])
        return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in merged)


@dataclass(frozen=True, slots=True)
class TakenRecord:
    """An ID that is taken or in trouble, for the map: small, for there may be thousands."""

    number: int
    state: VlanState
    network: str
    owner: str


@dataclass(frozen=True, slots=True)
class MapRecord:
    """All that the map shows of one physical network. IDs not named here are free, or as their range and dedication say."""

    physical: PhysicalNetworkRecord
    taken: tuple[TakenRecord, ...]


@dataclass(frozen=True, slots=True)
class PresenceRecord:
    """An ID on one host: whether its interface should be there, and is."""

    host: str
    host_id: str
    number: int
    expected: bool
    actual: bool | None
    """``None`` when the host has not been asked since it last answered."""
    problem: DriftKind | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class VlanRecord:
    """One ID, whole."""

    number: int
    physical: str
    state: VlanState
    scope: Scope | None
    """``None`` outside every range."""
    range: str
    network: str = ""
    network_id: str = ""
    network_state: str = ""
    owner: str = ""
    dedicated_to: str = ""
    """``account shop``."""
    since: datetime | None = None
    reservation: str = ""
    subnets: tuple[str, ...] = ()
    vms: tuple[str, ...] = ()
    presence: tuple[PresenceRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class RangeDiff:
    """What an edit of ranges does (VLN-1): shown before it is saved. Texts are merged ranges, empty for none."""

    before: str
    after: str
    added: str
    removed: str
    added_count: int
    removed_count: int
    is_unchanged: bool
