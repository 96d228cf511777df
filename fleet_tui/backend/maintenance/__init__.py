"""Taking a host out of service without losing a guest, and bringing it back (spec 8).

A **session** spans one maintenance from asking to closing: reason, planned end, checklist, notes, and for each VM that was on the host
where it went and how. The host's resource state is the truth about the host; the session remembers the rest.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum

from fleet_tui.backend.machines import Verdict
from fleet_tui.backend.operations import OperationRequest
from fleet_tui.backend.records import dataclass


class Step(str, Enum):
    """The nine steps of a session (spec 8.7), in order."""

    ANNOUNCE = "announce"
    FORECAST = "forecast"
    PREPARE = "prepare"
    READY = "ready"
    WORK = "work"
    VERIFY = "verify"
    CANCEL = "cancel maintenance"
    MIGRATE_BACK = "migrate back"
    CLOSE = "close"


STEPS = tuple(Step)


class MoveState(str, Enum):
    """How one VM of an evacuation stands."""

    WAITING = "waiting"
    MOVING = "moving"
    MOVED = "moved"
    """At its destination; never touched again by this session but to migrate back."""
    RETRY = "retry"
    """An attempt failed; the next one is due at ``next_try_at``."""
    FAILED = "failed"
    """Every attempt was used."""
    BLOCKED = "blocked"
    """It cannot move, and nobody allowed to stop it."""
    STOPPED = "stopped"
    """Stopped because ``--allow-stop`` was given, or it was stopped before."""
    LOST = "lost"
    """Its host died under it; a restart elsewhere is offered."""
    GONE = "gone"
    """Destroyed and, for a system VM, made anew elsewhere."""


@dataclass(frozen=True, slots=True)
class Evacuee:
    """One VM of a session."""

    vm: str
    vm_ref: str
    kind: str
    memory_mib: int
    state: MoveState
    phase: str
    percent: int
    detail: str
    attempt: int
    attempts: int
    destination: str
    error: str
    hint: str
    """What a person can do about it."""
    next_try_at: datetime | None
    elapsed_ms: int | None
    downtime_ms: int | None
    back: str
    """After migrate back: ``back``, ``failed: …``; empty before."""


@dataclass(frozen=True, slots=True)
class CheckItem:
    text: str
    done: bool
    by: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    time: datetime
    user: str
    text: str


@dataclass(frozen=True, slots=True)
class MaintenanceRecord:
    """A maintenance session as screens show it."""

    id: str
    host: str
    host_ref: str
    hypervisor: str
    resource_state: str
    state_since: datetime | None
    step: Step
    reason: str
    ticket: str
    owner: str
    started_at: datetime
    planned_end: datetime | None
    closed_at: datetime | None
    is_overrun: bool
    allow_stop: bool
    vms: tuple[Evacuee, ...]
    parallel: int
    """Migrations at once."""
    estimate_s: float | None
    """Until the host is empty, from what has been moved so far."""
    checklist: tuple[CheckItem, ...]
    notes: tuple[Note, ...]
    blockers: tuple[Blocker, ...]
    announced_at: datetime | None
    announced_to: tuple[str, ...]
    operation_id: str | None
    """The operation at work on it now."""
    own_mode: str
    """vSphere and XenServer: whether the hypervisor's own maintenance mode is on (``on``, ``off``), empty for KVM."""
    master: str
    """XenServer: the pool's master, or the election under way."""


@dataclass(frozen=True, slots=True)
class Blocker:
    """What keeps the host from becoming ready, and what to do about it."""

    code: str
    """Error code of spec 3.5."""
    subject: str
    """Name of the VM or host it is about."""
    text: str
    hint: str


@dataclass(frozen=True, slots=True)
class ForecastMove:
    vm: str
    vm_ref: str
    memory_mib: int
    destination: str
    """Empty when there is none."""
    why: str
    verdicts: tuple[Verdict, ...] = ()
    """Of every host not chosen, when it was asked for."""


@dataclass(frozen=True, slots=True)
class ForecastRecord:
    """What maintenance of a host would do, without doing it."""

    host: str
    refusals: tuple[Blocker, ...]
    """Preconditions that are not met, all of them together (spec 8.2)."""
    warnings: tuple[Blocker, ...]
    moves: tuple[ForecastMove, ...]
    survives: bool
    """Whether the rest of the cluster could then lose one more host."""
    parallel: int
    estimate_s: float


@dataclass(frozen=True, slots=True)
class RollingGroup:
    hosts: tuple[str, ...]
    vms: int


@dataclass(frozen=True, slots=True)
class RollingPlan:
    """Hosts that may be out together, one group after the other, masters last."""

    cluster: str
    groups: tuple[RollingGroup, ...]
    impossible: tuple[Blocker, ...]
    """Hosts that cannot be evacuated as things stand."""


# --- reads -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ShowMaintenance:
    """The newest session of a host (open or closed), or the one of that id."""

    target: str


@dataclass(frozen=True, slots=True)
class ListMaintenance:
    is_open: bool | None = None
    limit: int = 200


@dataclass(frozen=True, slots=True)
class ForecastHost:
    target: str
    explain: bool = False
    """With the reason for every host not chosen."""


@dataclass(frozen=True, slots=True)
class PlanRolling:
    cluster: str
    group_size: int = 0
    """Most hosts out at once; 0 for what placement allows."""


# --- changes made at once --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EditMaintenance:
    """Fields left ``None`` stay."""

    target: str
    reason: str | None = None
    ticket: str | None = None
    planned_end: datetime | None = None
    note: str = ""
    """Added to the notes when not empty."""
    check: int | None = None
    """Index of a checklist item to toggle."""
    checklist: tuple[str, ...] | None = None
    request_id: str = ""
    step: Step | None = None
    """``ready``, ``work`` or ``verify`` of a host that is ready: where the person is."""


@dataclass(frozen=True, slots=True)
class RetryMoves:
    """Try failed and waiting migrations now, with new attempts (key ``T``)."""

    target: str
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class CloseMaintenance:
    """End a session; what it remembers for migrating back is forgotten."""

    target: str
    confirmed: bool = False


# --- operations ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintainHost(OperationRequest):
    """Prepare and evacuate, until the host is ready. ``target`` is the host."""

    reason: str
    ticket: str = ""
    until: str = ""
    """Planned end, ISO 8601 with a zone."""
    allow_stop: bool = False
    """VMs that cannot be moved may be stopped. Admins only; without it they block."""
    confirmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelMaintenance(OperationRequest):
    """Back to ``Enabled``, or ``Disabled`` if it began there. Migrations in flight end first."""

    confirmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrateBack(OperationRequest):
    """Move VMs of the last session back to this host. Empty ``vms``: all that it moved."""

    vms: tuple[str, ...] = ()
    confirmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnounceMaintenance(OperationRequest):
    """Mail the owners of the running VMs (spec 8.7)."""

    reason: str = ""
    until: str = ""
    """Planned end, ISO 8601 with a zone."""
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintainRolling(OperationRequest):
    """Every host of a cluster in turn, by groups; stops at the first failure. ``target`` is the cluster.

    ``work`` says what happens to a ready host: ``wait`` until a person cancels its maintenance, or ``none`` to go on at once.
    """

    reason: str
    group_size: int = 0
    work: str = "wait"
    confirmed: bool = False
