"""States of hosts and of the branches they stand on (spec 7.3, 7.4, 8.3). Data only, so that the console can dim a key by it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class Allocation(str, Enum):
    """Whether a zone, pod or cluster takes new work. New ones are disabled first."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"


class ManagedState(str, Enum):
    """Whether commands are sent to a cluster's hosts (HST-5)."""

    MANAGED = "Managed"
    PREPARE_UNMANAGED = "PrepareUnmanaged"
    UNMANAGED = "Unmanaged"
    PREPARE_UNMANAGED_ERROR = "PrepareUnmanagedError"


class ResourceState(str, Enum):
    """What an administrator decided about a host (spec 7.3)."""

    CREATING = "Creating"
    """Being added."""
    ENABLED = "Enabled"
    """The only state that counts as capacity."""
    DISABLED = "Disabled"
    """Takes no new VM; those on it go on."""
    PREPARE = "PrepareForMaintenance"
    """Its VMs are being moved away."""
    ERROR_IN_PREPARE = "ErrorInPrepareForMaintenance"
    """A move failed; it is tried again while the rest goes on."""
    MAINTENANCE = "Maintenance"
    """Nothing is left on it. Shown as *Ready for maintenance*."""
    ERROR_IN_MAINTENANCE = "ErrorInMaintenance"
    """Every attempt was used and VMs are left."""
    DEGRADED = "Degraded"
    """Declared by hand: not to be brought back, even through its BMC."""
    ERROR = "Error"
    """Could not be added; kept with its log for retry or discard."""

    @property
    def is_maintenance(self) -> bool:
        """One of the four in which a host is no destination and takes no VM."""
        return self in MAINTENANCE_STATES


class HostEvent(str, Enum):
    """What moves a host from one resource state to another."""

    CREATED = "created"
    CREATION_FAILED = "creation failed"
    RETRY = "retry"
    ENABLE = "enable"
    DISABLE = "disable"
    ASK_MAINTENANCE = "ask maintenance"
    EMPTY = "nothing left on the host"
    MIGRATION_FAILED = "a migration failed, retries remain"
    EXHAUSTED = "all attempts used, VMs remain"
    CORRECTED = "errors corrected"
    CANCEL = "cancel"
    """Back to where the session began: `Enabled`, or `Disabled` when it began there."""
    DECLARE_DEGRADED = "declare degraded"
    CANCEL_DEGRADED = "cancel degraded"
    REMOVE = "remove host"


S, E = ResourceState, HostEvent
MAINTENANCE_STATES = frozenset({S.PREPARE, S.ERROR_IN_PREPARE, S.MAINTENANCE, S.ERROR_IN_MAINTENANCE})

MOVES: Mapping[tuple[ResourceState, HostEvent], ResourceState] = {
    (S.CREATING, E.CREATED): S.ENABLED,
    (S.CREATING, E.CREATION_FAILED): S.ERROR,
    (S.ERROR, E.RETRY): S.CREATING,
    (S.ENABLED, E.DISABLE): S.DISABLED,
    (S.ENABLED, E.ENABLE): S.ENABLED,
    (S.DISABLED, E.ENABLE): S.ENABLED,
    (S.DISABLED, E.DISABLE): S.DISABLED,
    (S.ENABLED, E.ASK_MAINTENANCE): S.PREPARE,
    (S.DISABLED, E.ASK_MAINTENANCE): S.PREPARE,
    (S.ENABLED, E.DECLARE_DEGRADED): S.DEGRADED,
    (S.DISABLED, E.DECLARE_DEGRADED): S.DEGRADED,
    (S.MAINTENANCE, E.DECLARE_DEGRADED): S.DEGRADED,
    (S.PREPARE, E.EMPTY): S.MAINTENANCE,
    (S.PREPARE, E.MIGRATION_FAILED): S.ERROR_IN_PREPARE,
    (S.PREPARE, E.EXHAUSTED): S.ERROR_IN_MAINTENANCE,
    (S.ERROR_IN_PREPARE, E.CORRECTED): S.PREPARE,
    (S.ERROR_IN_PREPARE, E.EMPTY): S.MAINTENANCE,
    (S.ERROR_IN_PREPARE, E.EXHAUSTED): S.ERROR_IN_MAINTENANCE,
    (S.ERROR_IN_MAINTENANCE, E.ASK_MAINTENANCE): S.PREPARE,
    **{(state, E.CANCEL): S.ENABLED for state in MAINTENANCE_STATES},
    (S.ERROR_IN_PREPARE, E.DISABLE): S.DISABLED,
    (S.ERROR_IN_MAINTENANCE, E.DISABLE): S.DISABLED,
    **{(state, E.REMOVE): S.DISABLED for state in (S.MAINTENANCE, S.ERROR_IN_PREPARE, S.ERROR_IN_MAINTENANCE, S.DISABLED, S.DEGRADED)},
    (S.DEGRADED, E.CANCEL_DEGRADED): S.ENABLED,
    (S.DEGRADED, E.ASK_MAINTENANCE): S.MAINTENANCE,
}
"""The table of spec 8.3. What is not in it is refused with ``wrong_state``, and nothing changes."""


def allowed(state: ResourceState) -> tuple[HostEvent, ...]:
    """What can be asked of a host in that state."""
    return tuple(event for origin, event in MOVES if origin is state)


class ConnectionState(str, Enum):
    """What the link says (spec 7.4)."""

    CREATING = "creating"
    CONNECTING = "connecting"
    UP = "up"
    ALERT = "alert"
    """The link is broken; the reason says how."""
    DISCONNECTED = "disconnected"
    """Closed on purpose; becomes ``alert`` after a while."""
    DOWN = "down"
    """Found dead: the hypervisor is silent and the BMC says off."""
    REMOVED = "removed"
    ERROR = "error"


REASONS: Mapping[str, str] = {
    "not-yet-probed": "not asked yet",
    "access-denied": "it refuses our credentials or shows another host key",
    "no-rpc": "the machine answers, its hypervisor's door does not",
    "no-service": "the hypervisor's service does not run",
    "connection-refused": "nothing listens at its address",
    "unreachable": "no answer at its address",
    "off": "its BMC says that the power is off",
}
"""Reason codes shown with ``alert``, ``disconnected`` and ``down``, in a person's words."""
