"""States of networks, VLAN IDs and what the hosts have of them (spec 10.2-10.5). Data only."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class Isolation(str, Enum):
    VLAN = "VLAN"
    VXLAN = "VXLAN"
    GRE = "GRE"


LIMITS: Mapping[Isolation, tuple[int, int]] = {
    Isolation.VLAN: (1, 4094), Isolation.VXLAN: (1, 16_777_214), Isolation.GRE: (0, 2**32 - 1),
}  # fmt: skip
"""First and last ID of each kind."""


class PhysicalState(str, Enum):
    ENABLED = "Enabled"
    DISABLED = "Disabled"


class Scope(str, Enum):
    """Who may use the IDs of a range."""

    MANAGEMENT = "management"
    PUBLIC = "public"
    GUEST_POOL = "guest-pool"
    """The only one that dynamic allocation takes from."""
    GUEST_ASSIGNED = "guest-assigned"
    GUEST_SHARED = "guest-shared"
    RESERVED = "reserved"


TEMPLATE: tuple[tuple[int, int, Scope], ...] = (
    (1, 499, Scope.MANAGEMENT), (500, 599, Scope.PUBLIC), (600, 799, Scope.GUEST_POOL), (800, 899, Scope.GUEST_ASSIGNED),
    (900, 999, Scope.GUEST_SHARED), (1000, 4094, Scope.RESERVED),
)  # fmt: skip
"""The usual scheme (spec 10.6)."""


class VlanState(str, Enum):
    """Of one ID. What is kept is the taking and the dedication; the state follows from them, the scope and the last drift check."""

    FREE = "free"
    ALLOCATED = "allocated"
    SPECIFIED = "specified"
    """Given by an administrator to one network, for life."""
    DEDICATED_FREE = "dedicated-free"
    DEDICATED_ALLOCATED = "dedicated-allocated"
    MANAGEMENT = "management"
    PUBLIC = "public"
    RESERVED = "reserved"
    CONFLICT = "conflict"
    """Found on a host where nothing expects it."""
    ORPHAN = "orphan"
    """Taken, and its network is gone."""


PROBLEMS = frozenset({VlanState.CONFLICT, VlanState.ORPHAN})


class OwnerKind(str, Enum):
    ACCOUNT = "account"
    PROJECT = "project"
    DOMAIN = "domain"


class GuestType(str, Enum):
    ISOLATED = "isolated"
    SHARED = "shared"
    VPC_TIER = "vpc-tier"


class NetworkState(str, Enum):
    """Of a guest network (spec 10.4)."""

    ALLOCATED = "Allocated"
    SETUP = "Setup"
    IMPLEMENTING = "Implementing"
    IMPLEMENTED = "Implemented"
    SHUTDOWN = "Shutdown"
    DESTROY = "Destroy"


class NetworkEvent(str, Enum):
    IMPLEMENT = "implement"
    IMPLEMENTED = "implemented"
    FAILED = "failed"
    SHUT_DOWN = "shut-down"
    """Garbage collection, or a restart with cleanup."""
    SHUT = "shut"
    DELETE = "delete"


N, E = NetworkState, NetworkEvent
MOVES: Mapping[tuple[NetworkState, NetworkEvent], NetworkState] = {
    (N.ALLOCATED, E.IMPLEMENT): N.IMPLEMENTING,
    (N.IMPLEMENTING, E.IMPLEMENTED): N.IMPLEMENTED,
    (N.IMPLEMENTING, E.FAILED): N.SHUTDOWN,
    (N.IMPLEMENTED, E.SHUT_DOWN): N.SHUTDOWN,
    (N.SHUTDOWN, E.SHUT): N.ALLOCATED,
    (N.SHUTDOWN, E.FAILED): N.SHUTDOWN,
    (N.SHUTDOWN, E.SHUT_DOWN): N.SHUTDOWN,
    (N.SETUP, E.DELETE): N.DESTROY,
    (N.ALLOCATED, E.DELETE): N.DESTROY,
}  # fmt: skip


class Technique(str, Enum):
    """How a host carries a segment."""

    KERNEL = "kernel"
    """An 802.1Q device of the kernel in a bridge of its own: ``eth1.500`` in ``breth1-500``."""
    OVS = "ovs"
    """A tag on the guest's port of an Open vSwitch bridge."""
    VXLAN = "vxlan"
    """A VXLAN device in a bridge of its own: ``vx500`` in ``brvx-500``."""


class DriftKind(str, Enum):
    MISSING = "missing"
    EXTRA = "extra"
    WRONG_BRIDGE = "wrong-bridge"
