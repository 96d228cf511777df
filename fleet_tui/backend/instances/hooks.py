"""What becomes of an instance when an operation on it begins and ends: one place, driven by the table of moves.

Every hook runs in the transaction that changes the operation's own state, so the two never disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy.orm import Session

from fleet_tui.backend.certificates.keys import forget_certificates
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.instances.links import pending_of
from fleet_tui.backend.instances.refusals import of_state
from fleet_tui.backend.instances.rows import InstanceRow, SnapshotRow
from fleet_tui.backend.instances.settings import forget_unused_keys
from fleet_tui.backend.instances.snapshots import end_schedule
from fleet_tui.backend.instances.states import MOVES, Health, InstanceState, Move
from fleet_tui.backend.instances.steps import STARTUP_STEPS, changed, instance_of
from fleet_tui.backend.operations import ErrorRecord
from fleet_tui.backend.operations.catalogue import OperationFacts
from fleet_tui.backend.operations.queries import get
from fleet_tui.backend.telemetry.rows import AgentRow

Results = Mapping[str, Mapping[str, Any]]
Extra = Callable[[Session, InstanceRow, OperationFacts, Results], None]

CHECK_STEP = "check-settings"
"""Of a reprovision: looks whether the new machine could serve, while the old one still does."""
CHECK_DISK_STEP = "check-data-disk"
"""Of a deletion: looks whether the disk is as the record says, while it can still be kept."""
STOP_STEP = "stop-application"
_FAILURE_BEFORE = "failure_before"
"""What an operation remembers of the failure that it is to end, stage and sentence: nothing may come of it."""
_CHECKS = frozenset({CHECK_STEP, CHECK_DISK_STEP})
_BEFORE = _CHECKS | {STOP_STEP}
"""Steps before the first that changes a machine or a disk."""
DEPROVISION_STEPS = frozenset({STOP_STEP, "unmount", "detach-data-disk", "terminate-machine", "release-address"})


def _row(tx: Session, op: OperationFacts) -> InstanceRow | None:
    return tx.get(InstanceRow, op.target_ref.removeprefix("instance:"))


def _agent_lines(tx: Session, row: InstanceRow, operation_id: str | None) -> AgentRow | None:
    """The agent's lines belong to the operation while it lasts. Locks agent before instance, as its reports do."""
    agent = tx.get(AgentRow, row.machine, with_for_update=True) if row.machine else None
    if agent is not None:
        agent.operation_id = operation_id
    return agent


def begin(action: str) -> Callable[[Session, OperationFacts], None]:
    move = MOVES[action]

    def began(tx: Session, op: OperationFacts) -> None:
        row = instance_of(tx, op.target_ref)
        for refused in of_state(action, row):  # others may have been at work while it waited
            raise refused
        _agent_lines(tx, row, op.id)
        if move.during is not None:
            operation = get(tx, op.id)
            operation.parameters = {**operation.parameters, _FAILURE_BEFORE: (row.failed_stage, row.failure)}
            row.came_from, row.state = row.state, move.during.value
            row.failed_stage, row.failure = None, ""
            row.health, row.health_detail = None, ""
        changed(tx, row)

    return began


def succeed(action: str, extra: Extra | None = None) -> Callable[[Session, OperationFacts, Results], None]:
    move = MOVES[action]

    def succeeded(tx: Session, op: OperationFacts, results: Results) -> None:
        row = _row(tx, op)
        if row is None:
            return
        _agent_lines(tx, row, None)
        if move.end is not None:
            row.state = move.end.value
            row.health = Health.OK.value if move.end is InstanceState.RUNNING else None
        if extra is not None:
            extra(tx, row, op, results)
        if tx.get(InstanceRow, row.id) is not None and row not in tx.deleted:
            changed(tx, row)

    return succeeded


def fail(action: str) -> Callable[[Session, OperationFacts, ErrorRecord, str], None]:
    move = MOVES[action]

    def failed(tx: Session, op: OperationFacts, error: ErrorRecord, failed_step: str) -> None:
        row = _row(tx, op)
        if row is None:
            return
        agent = _agent_lines(tx, row, None)
        is_moving = InstanceState(row.state).is_transitional  # else it changes no state, or its beginning was refused
        if is_moving and failed_step in _CHECKS and _can_go_back(row, op):
            _go_back(row, op)
        elif is_moving:
            stage = _stage(move, failed_step, agent, op)
            # The stage is shown beside the failure, so the sentence need not repeat it.
            _settle(row, move, error.message.removeprefix(f"start-up failed at {stage.removeprefix('startup:')}: "), stage)
        changed(tx, row)

    return failed


def cancel(action: str) -> Callable[[Session, OperationFacts], None]:
    move = MOVES[action]

    def cancelled(tx: Session, op: OperationFacts) -> None:
        row, operation = _row(tx, op), get(tx, op.id)
        if row is None or operation.started_at is None:
            return  # while it waited, what went on there was another's
        agent = _agent_lines(tx, row, None)
        if InstanceState(row.state).is_transitional:
            if (begun := {step.name for step in operation.steps if step.attempt}) <= _BEFORE and _can_go_back(row, op):
                _go_back(row, op, was_told=STOP_STEP in begun)
            elif row.machine is None and action in ("provision", "reprovision"):
                row.state = (InstanceState.DEPROVISIONED if row.disk_made else InstanceState.NEW).value
                row.failed_stage, row.failure = None, ""
                row.url = row.private_ip = row.public_ip = row.host_name = None
            else:
                step = "start-up" if action in ("start", "retry") else STOP_STEP
                _settle(row, move, f"{op.kind.partition('.')[2]} was cancelled", _stage(move, step, agent, op))
        changed(tx, row)

    return cancelled


def _can_go_back(row: InstanceRow, op: OperationFacts) -> bool:
    """Whether all is known of where it came from. What earlier programs began had forgotten of a failure which it was."""
    return bool(row.came_from) and (row.came_from != InstanceState.FAILED.value or _FAILURE_BEFORE in op.parameters)


def _go_back(row: InstanceRow, op: OperationFacts, was_told: bool = False) -> None:
    """Its machine and its disk are as they were. If its agent ``was_told`` to stop the application, its next word or its silence says more."""
    row.state = row.came_from
    row.failed_stage, row.failure = op.parameters.get(_FAILURE_BEFORE, (None, ""))
    row.health = Health.OK.value if row.state == InstanceState.RUNNING.value and not was_told else None


def _settle(row: InstanceRow, move: Move, failure: str, stage: str) -> None:
    """The state after a failure. A reprovision whose machine is gone is ``deprovisioned`` with its disk safe (spec 4.4)."""
    row.failure, row.failed_stage = failure, stage
    row.health, row.health_detail = None, ""
    if row.machine is None:
        row.url = row.private_ip = row.public_ip = row.host_name = row.host = None
    gone = move.action == "reprovision" and row.machine is None
    row.state = (InstanceState.DEPROVISIONED if gone else InstanceState.FAILED).value


def _stage(move: Move, failed_step: str, agent: AgentRow | None, op: OperationFacts) -> str:
    """``failed_stage`` in the words of spec 4.3: ``resources``, ``startup:<phase>``, ``stop``, ``deprovision``, ``delete``."""
    if failed_step in STARTUP_STEPS:
        phases = agent.phases if agent is not None else []
        stopped = next((p["name"] for p in phases if p["state"] in ("failed", "running")), None)
        if failed_step == "health-check":
            return "startup:health"
        return f"startup:{stopped or 'hello'}"
    if move.action == "reprovision" and failed_step in DEPROVISION_STEPS:
        return "deprovision"
    return "startup:hello" if move.failed_stage == "startup" else move.failed_stage


# --- what else a success leaves --------------------------------------------------------------------------------------


def applied(tx: Session, row: InstanceRow, op: OperationFacts, results: Results) -> None:
    """The machine now runs with the settings it was booted with; what was saved meanwhile stays pending."""
    used = results.get("boot", {})
    if "settings" in used:
        row.applied = dict(used["settings"])
        row.image = str(used["image"])
        row.pending = pending_of(tx, row)
        forget_unused_keys(tx, row)


def deprovisioned(tx: Session, row: InstanceRow, op: OperationFacts, results: Results) -> None:
    row.health_detail, row.pending = "", []


def grown(tx: Session, row: InstanceRow, op: OperationFacts, results: Results) -> None:
    """What the disk has is what the settings say from now on, and what its machine runs with."""
    size = {"data_disk.size_gb": int(results["grow-disk"]["size_gb"])}
    row.settings = {**row.settings, **size}
    row.applied = {**row.applied, **size} if row.applied is not None else None
    row.version += 1


def snapshot_taken(tx: Session, row: InstanceRow, op: OperationFacts, results: Results) -> None:
    size = results["copy"]["size_bytes"]
    append(tx, type="snapshot.taken", ref=f"instance:{row.id}", operation_id=op.id, text=f"snapshot of {row.label} taken, {size / 1024**2:.1f} MiB")


def deleted(tx: Session, row: InstanceRow, op: OperationFacts, results: Results) -> None:
    """The record goes; its log stays."""
    if not op.parameters.get("keep_snapshots"):
        for snapshot in tx.query(SnapshotRow).filter_by(instance_id=row.id, automatic=True):
            tx.delete(snapshot)
    forget_certificates(tx, f"instance:{row.id}")
    end_schedule(tx, row.id)
    tx.delete(row)
    append(tx, type="instance.deleted", ref=f"instance:{row.id}", operation_id=op.id, text=f"instance {op.target} deleted")
