"""Room and shares as records: a part of the face, which has them by the same names."""

from __future__ import annotations

from fleet_tui.backend.records import dataclass


@dataclass(frozen=True, slots=True)
class Amount:
    """Of one resource on one host, or summed: MHz, bytes or cores."""

    raw: int
    capacity: int
    """floor(raw x ratio); 0 for a host that is not ``Enabled`` (CAP-2)."""
    used: int
    reserved: int
    """Of VMs stopped within ``capacity.skipcounting.hours`` on it."""

    @property
    def free(self) -> int:
        return self.capacity - self.used - self.reserved

    @property
    def share(self) -> float:
        """Used and reserved, of the capacity."""
        return (self.used + self.reserved) / self.capacity if self.capacity else 0.0


@dataclass(frozen=True, slots=True)
class CapacityRecord:
    """Room on a host, or of a cluster or zone (then ``host`` is empty)."""

    host: str
    place: str
    cpu: Amount
    """MHz."""
    ram: Amount
    """Bytes."""
    cores: Amount
    cpu_ratio: float
    ram_ratio: float
    survives: bool | None
    """N+1: whether the cluster can lose its largest host (of one host: whether it can lose this one); None where it cannot be said."""
    vms: int


@dataclass(frozen=True, slots=True)
class WeightRecord:
    """What a VM gets of its host's CPU (spec 9.4)."""

    vm: str
    weight: int
    """MHz x cores of its offering."""
    share: float
    """Of the host when every VM on it wants all it can have."""
    guaranteed_mhz: int
    """At the least, then; never more than it can use."""
    alone_mhz: int
    """At the most, with the host to itself: its cores at the host's speed, or its offering's hard limit."""


@dataclass(frozen=True, slots=True)
class RatioPreview:
    """What a change of ratios would do (CAP-4, CAP-5)."""

    cluster: str
    before: CapacityRecord
    after: CapacityRecord
    old_ratio_vms: tuple[str, ...]
    """Still on another ratio after the change: stop and start to adopt."""
    room_after_restarts: CapacityRecord
    not_restartable: tuple[str, ...]
    """VMs that would no longer fit once restarted."""
    balloon_unknown: tuple[str, ...]
    """VMs of which it is not known whether they have a balloon device; asked when memory's ratio rises."""
