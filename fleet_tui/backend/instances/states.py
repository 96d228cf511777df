"""States of an instance and the actions each allows (spec 4.3). Data only, so the console can dim a key by it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from fleet_tui.backend.records import dataclass


class InstanceState(str, Enum):
    """Where an instance stands in its life."""

    NEW = "new"
    """Saved, never provisioned; nothing exists but the record."""
    PROVISIONING = "provisioning"
    """Stage 1: resources are being made."""
    STARTING_UP = "starting-up"
    """Stage 2: the agent's sequence runs."""
    RUNNING = "running"
    """The application answered its health check."""
    STOPPING = "stopping"
    STOPPED = "stopped"
    """Machine off, disk attached."""
    STARTING = "starting"
    """Machine being started again; stage 2 follows."""
    DEPROVISIONING = "deprovisioning"
    DEPROVISIONED = "deprovisioned"
    """Machine gone, data disk kept."""
    REPROVISIONING = "reprovisioning"
    """Deprovision, then provision, as one operation."""
    FAILED = "failed"
    """Something failed for good; ``failed_stage`` says what."""
    DELETING = "deleting"
    """Data disk and record are being removed."""

    @property
    def is_transitional(self) -> bool:
        return self in TRANSITIONAL


S = InstanceState
TRANSITIONAL = frozenset({S.PROVISIONING, S.STARTING_UP, S.STOPPING, S.STARTING, S.DEPROVISIONING, S.REPROVISIONING, S.DELETING})


class Health(str, Enum):
    """Shown beside the state; not a state."""

    OK = "ok"
    APP_DOWN = "app-down"
    """The application does not answer its health check."""
    AGENT_SILENT = "agent-silent"
    """No heartbeat for three intervals."""
    DISK_WARNING = "disk-warning"
    DISK_CRITICAL = "disk-critical"


@dataclass(frozen=True, slots=True)
class Move:
    """What one action needs and where it leads."""

    action: str
    origin: frozenset[InstanceState]
    during: InstanceState | None
    """State while the operation runs; ``None`` when the state does not change."""
    end: InstanceState | None
    """State after success; ``None`` for gone or unchanged."""
    failed_stage: str
    """Stage named when it fails; empty when a failure leaves the state alone."""


_SETTLED = frozenset({S.RUNNING, S.STOPPED, S.FAILED})

MOVES: Mapping[str, Move] = {
    move.action: move
    for move in (
        Move("provision", frozenset({S.NEW, S.DEPROVISIONED}), S.PROVISIONING, S.RUNNING, "resources"),
        Move("deprovision", _SETTLED, S.DEPROVISIONING, S.DEPROVISIONED, "deprovision"),
        Move("reprovision", _SETTLED, S.REPROVISIONING, S.RUNNING, "resources"),
        Move("stop", frozenset({S.RUNNING}), S.STOPPING, S.STOPPED, "stop"),
        Move("start", frozenset({S.STOPPED}), S.STARTING, S.RUNNING, "startup"),
        Move("restart-app", frozenset({S.RUNNING}), None, None, ""),
        Move("replay-actions", frozenset({S.RUNNING}), None, None, ""),
        Move("grow", frozenset({S.RUNNING}), None, None, ""),
        Move("renew-certificate", frozenset({S.RUNNING}), None, None, ""),
        Move("snapshot", frozenset({S.RUNNING, S.STOPPED, S.DEPROVISIONED}), None, None, ""),
        Move("retry", frozenset({S.FAILED}), S.STARTING_UP, S.RUNNING, "startup"),
        Move("delete", frozenset({S.NEW, S.DEPROVISIONED, S.FAILED}), S.DELETING, None, "delete"),
    )
}


def refusal(action: str, state: InstanceState, failed_stage: str | None, has_machine: bool) -> str:
    """Why ``action`` is not allowed now; empty when it is.

    ``retry`` also needs a failure at start-up, ``delete`` of a failed instance needs that no machine is left.
    """
    move = MOVES[action]
    if state not in move.origin:
        return f"it is {state.value}; {action} needs {' or '.join(sorted(s.value for s in move.origin))}"
    if action == "retry" and not (failed_stage or "").startswith("startup"):
        return f"it failed at {failed_stage or 'an unknown stage'}; only a failed start-up can be retried"
    if action == "delete" and state is S.FAILED and has_machine:
        return "its machine still exists; deprovision it first"
    return ""
