"""States of a VM and what each allows (spec 7.8). Data only."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class VmState(str, Enum):
    STARTING = "starting"
    RUNNING = "running"
    FAILED_TO_START = "failed-to-start"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DESTROYING = "destroying"
    MIGRATING = "migrating"
    EXPORTING = "exporting"
    CRASHED = "crashed"
    """It ran, and ran no more without being told; also one that was lost with its host."""
    DEBUGGING = "debugging"
    UNKNOWN = "unknown"
    """Its host does not answer, so nobody can say."""


S = VmState

ON_HOST = frozenset({S.STARTING, S.RUNNING, S.STOPPING, S.MIGRATING, S.DEBUGGING, S.UNKNOWN})
"""States in which a VM takes room on its host."""
TRANSITIONAL = frozenset({S.STARTING, S.STOPPING, S.DESTROYING, S.MIGRATING})

ALLOWED: Mapping[str, frozenset[VmState]] = {
    "start": frozenset({S.STOPPED, S.FAILED_TO_START, S.CRASHED, S.EXPORTING}),
    "stop": frozenset({S.RUNNING, S.DEBUGGING, S.FAILED_TO_START, S.CRASHED}),
    "reboot": frozenset({S.RUNNING}),
    "destroy": frozenset({S.STOPPED, S.FAILED_TO_START, S.EXPORTING, S.CRASHED, S.RUNNING}),
    "resize": frozenset({S.STOPPED, S.FAILED_TO_START, S.CRASHED}),
    "attach-disk": frozenset({S.STOPPED, S.FAILED_TO_START, S.CRASHED}),
    "detach-disk": frozenset({S.STOPPED, S.FAILED_TO_START, S.CRASHED}),
    "migrate": frozenset({S.RUNNING, S.STOPPED}),
}


def refusal(action: str, state: VmState, destroy_protected: bool = False) -> str:
    """Why ``action`` is not allowed now; empty when it is. A running VM is destroyed only with its protection off (VM-1)."""
    states = ALLOWED[action]
    if state not in states:
        return f"it is {state.value}; {action} needs {' or '.join(sorted(s.value for s in states))}"
    if action == "destroy" and state is S.RUNNING and destroy_protected:
        return "it runs and is protected; stop it first, or switch its destroy protection off"
    return ""


class MovePhase(str, Enum):
    """Phases of a live migration, in order (spec 8.4)."""

    CHECK = "check"
    RESERVE = "reserve"
    COPY = "copy"
    SWITCH = "switch"
    VERIFY = "verify"
    COMMIT = "commit"
    """From here on it lives at the destination; what fails later is a warning."""
    CLEANUP = "cleanup"
    DONE = "done"


PHASES = tuple(MovePhase)
