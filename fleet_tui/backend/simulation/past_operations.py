"""Operations that ended before a simulated site was opened, and the events they left."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fleet_tui.backend.instances.operations import OPERATIONS
from fleet_tui.backend.instances.states import InstanceState
from fleet_tui.backend.operations.states import OperationState, StepState
from fleet_tui.backend.simulation.blueprint import InstancePlan, identity
from fleet_tui.backend.simulation.history import failure_of

USERS = ("anna", "bo", "lin", "marek")
_KINDS = {kind.kind: kind for kind in OPERATIONS}
_CALM = ("instance.restart-app", "instance.snapshot", "instance.reprovision", "instance.replay-actions", "instance.provision")
_SUCCEEDED, _RECENT_H = 28, 60.0


@dataclass(frozen=True, slots=True)
class PastOperation:
    """Rows as they are inserted."""

    operation: dict[str, Any]
    steps: tuple[dict[str, Any], ...]
    event: dict[str, Any]


def make(plans: Sequence[InstancePlan], now: datetime, seed: int) -> tuple[tuple[PastOperation, ...], Mapping[str, str]]:
    """The operations, and for each failed instance the one that failed it."""
    rng = random.Random(f"operations:{seed}")
    failed = {plan.id: identity(rng, "o") for plan in plans if plan.failed_stage}
    made = [_failed(plan, failed[plan.id], now, rng) for plan in plans if plan.failed_stage]
    made += _succeeded(plans, now, rng)
    made.sort(key=lambda past: past.operation["submitted_at"])
    return tuple(made), failed


def _failed(plan: InstancePlan, name: str, now: datetime, rng: random.Random) -> PastOperation:
    step, code, message, hint = failure_of(plan)
    error = {"error_code": code, "error_message": message, "error_hint": hint}
    begun = now - timedelta(days=plan.booted_days)
    return _past(name, "instance.provision", plan, begun, OperationState.FAILED, rng, failed_step=step, error=error)


def _succeeded(plans: Sequence[InstancePlan], now: datetime, rng: random.Random) -> Iterator[PastOperation]:
    running = [plan for plan in plans if plan.state is InstanceState.RUNNING]
    for plan in rng.sample(running, min(_SUCCEEDED, len(running))):
        begun = now - timedelta(hours=rng.uniform(0.2, _RECENT_H))
        yield _past(identity(rng, "o"), rng.choice(_CALM), plan, begun, OperationState.SUCCEEDED, rng)
    for plan in plans[:400]:
        kind = {InstanceState.STOPPED: "instance.stop", InstanceState.DEPROVISIONED: "instance.deprovision"}.get(plan.state)
        if kind is not None:
            yield _past(identity(rng, "o"), kind, plan, now - timedelta(hours=rng.uniform(1.0, _RECENT_H)), OperationState.SUCCEEDED, rng)
    if running:
        yield _past(identity(rng, "o"), "instance.snapshot", rng.choice(running), now - timedelta(hours=rng.uniform(2.0, 20.0)),
                    OperationState.CANCELLED, rng, failed_step="copy")


def _past(name: str, kind_name: str, plan: InstancePlan, begun: datetime, state: OperationState, rng: random.Random, *,
          failed_step: str = "", error: Mapping[str, Any] | None = None) -> PastOperation:
    kind, user, ref = _KINDS[kind_name], rng.choice(USERS), f"instance:{plan.id}"
    steps, ended = _steps(name, [step.name for step in kind.steps], begun, state, rng, failed_step, error)
    failed = state is OperationState.FAILED
    operation = {
        "id": name, "kind": kind.kind, "title": kind.title, "target": plan.label, "target_ref": ref, "request_id": None,
        "request": {"target": plan.label}, "parameters": {}, "leases": [], "state": state.value, "priority": 0, "rank": begun.timestamp(),
        "user": user, "epoch": 1, "submitted_at": begun, "started_at": begun + timedelta(milliseconds=40), "ended_at": ended,
        "error_code": None, "error_message": None, "error_hint": None, "failed_step": failed_step if failed else None,
        "rollback": "done" if failed and failed_step != "start-up" else "none", "waiting_for": [],
        "cancel_requested_at": ended if state is OperationState.CANCELLED else None,
        "cancel_requested_by": user if state is OperationState.CANCELLED else None, **(error or {}),
    }
    words = {OperationState.SUCCEEDED: "succeeded", OperationState.CANCELLED: f"was cancelled by {user}"}.get(
        state, f"failed in step {failed_step}: {(error or {}).get('error_message')}"
    )
    event = {
        "time": ended, "level": "error" if failed else "warn" if state is OperationState.CANCELLED else "info", "type": "operation.finished",
        "ref": f"operation:{name}", "operation_id": name, "user": user, "text": f"{kind.title} {plan.label} {words}",
    }
    return PastOperation(operation, steps, event)


def _steps(name: str, names: Sequence[str], begun: datetime, state: OperationState, rng: random.Random, failed_step: str,
           error: Mapping[str, Any] | None) -> tuple[tuple[dict[str, Any], ...], datetime]:
    """Each step with its times; those after the failed one were skipped, those before one that was rolled back undone."""
    at, rows, over = begun + timedelta(milliseconds=60), [], False
    undone = state is OperationState.FAILED and failed_step == "create-machine"
    for position, step in enumerate(names, 1):
        row: dict[str, Any] = {
            "operation_id": name, "position": position, "name": step, "state": StepState.SKIPPED.value, "attempt": 0, "failures": 0,
            "undo_failed": False, "started_at": None, "ended_at": None, "error_code": None, "error_message": None, "error_hint": None,
            "progress": "", "result": None,
        }
        if not over:
            seconds = rng.uniform(6.0, 11.0) if step == "start-up" else rng.uniform(0.2, 1.8)
            over = step == failed_step
            done = StepState.UNDONE if undone and step == "ensure-data-disk" else StepState.DONE
            row |= {
                "state": StepState.FAILED.value if over else done.value, "attempt": 2 if over and undone else 1,
                "failures": int(over), "started_at": at, "ended_at": at + timedelta(seconds=seconds),
                "result": None if over else {},
            }
            row |= dict(error or {}) if over else {}
            at += timedelta(seconds=seconds)
        rows.append(row)
    return tuple(rows), at
