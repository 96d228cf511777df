"""What happened before a simulated site was opened: the log of each instance, as its agent and the worker would have written it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from fleet_tui.backend.instances.states import Health, InstanceState
from fleet_tui.backend.providers.faults import PHASES
from fleet_tui.backend.providers.rehearsal import FAILURES, HOSTILE, Scene, chatter, outage, start_up
from fleet_tui.backend.simulation.blueprint import InstancePlan

WORKER, AGENT = "worker", "instance-agent"


@dataclass(frozen=True, slots=True)
class PastLine:
    """A line on its way into the store."""

    time: datetime
    source: str
    phase: str
    level: str
    text: str
    operation: str | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """What an instance's last boot left behind."""

    lines: tuple[PastLine, ...]
    phases: tuple[dict[str, Any], ...]
    outage: str

    @property
    def agent_lines(self) -> int:
        return sum(line.source == AGENT for line in self.lines)


def of(plan: InstancePlan, actions: list[dict[str, Any]], now: datetime, *, operation: str | None, is_detailed: bool) -> Past:
    """The past of one instance. Only a detailed one has the lines of its start-up."""
    rng = random.Random(plan.seed)
    begun = now - timedelta(days=plan.booted_days)
    lines: list[PastLine] = []
    phases: list[dict[str, Any]] = []
    if is_detailed:
        lines += _refused(begun, operation) if plan.failed_stage == "resources" else _resources(plan, begun, operation) if plan.has_machine else ()
    if plan.has_machine:
        disk = {"formatted": plan.age_days > plan.booted_days + 1.0}
        scenes = start_up(_document(plan, actions), disk, plan.seed) if is_detailed else _silent(frozenset(a["stage"] for a in actions))
        phases = _boot(plan, scenes, begun + timedelta(seconds=6), rng, lines, operation)
    down = outage_of(plan)
    if plan.state is InstanceState.RUNNING:
        lines += _recent(plan, now, rng, 14 if is_detailed else 2, down)
    elif plan.state is InstanceState.STOPPED and is_detailed:
        stopped = now - timedelta(hours=rng.uniform(1.0, 30.0))
        lines.append(PastLine(stopped, AGENT, "shutdown", "info", "stopping the application"))
        lines.append(PastLine(stopped, WORKER, "power-off", "info", "machine off"))
    return Past(tuple(sorted(lines, key=lambda line: line.time)), tuple(phases), down)


def _boot(plan: InstancePlan, scenes: Sequence[Scene], at: datetime, rng: random.Random, lines: list[PastLine],
          operation: str | None) -> list[dict[str, Any]]:
    """The phases of its last start-up up to the one that failed; what was said goes into ``lines``."""
    phases = []
    for scene in scenes:
        failed = plan.failed_stage == f"startup:{scene.phase}"
        ended = at + timedelta(seconds=scene.seconds * rng.uniform(0.7, 1.6))
        told = FAILURES[scene.phase][1] if failed else scene.lines
        error = FAILURES[scene.phase][0] if failed else ""
        if told:
            step = (ended - at) / (len(told) + 1)
            lines += [PastLine(at + step * n, AGENT, scene.phase, level, text, operation) for n, (level, text) in enumerate(told, 1)]
        phases.append({
            "name": scene.phase, "state": "failed" if failed else "skipped" if scene.skipped else "done", "started": at.timestamp(),
            "ended": ended.timestamp(), "error": error,
        })
        at = ended
        if failed:
            lines.append(PastLine(ended, AGENT, scene.phase, "error", f"phase {scene.phase} failed: {error}", operation))
            break
    return phases


@cache
def _silent(stages: frozenset[str]) -> tuple[Scene, ...]:
    """The scenes of a start-up nobody will read: only how long they take."""
    scenes = start_up({"actions": [{"stage": stage} for stage in sorted(stages)]}, {}, "")
    return tuple(replace(scene, lines=()) for scene in scenes)


def outage_of(plan: InstancePlan) -> str:
    """Why its application is down; empty while it is not."""
    return outage(random.Random(f"{plan.seed}:down")) if plan.health is Health.APP_DOWN else ""


def phases_through(failed_stage: str) -> int:
    """How many phases were done before that failure; all of them without one."""
    phase = failed_stage.removeprefix("startup:")
    return PHASES.index(phase) if phase in PHASES else len(PHASES)


def cause_of(plan: InstancePlan) -> str:
    """Why it failed, as the instance tells it beside its stage."""
    return failure_of(plan)[2].removeprefix(f"start-up failed at {plan.failed_stage.removeprefix('startup:')}: ")


def failure_of(plan: InstancePlan) -> tuple[str, str, str, str]:
    """(step, error code, message, hint) of the operation that left the instance as it is."""
    if plan.failed_stage == "resources":
        return "create-machine", "capacity", "no host of the cluster has room for the machine", "free a host, or choose a smaller machine"
    phase = plan.failed_stage.removeprefix("startup:")
    message = f"start-up failed at {phase}: {FAILURES[phase][0]}"
    return "start-up", "wrong_state", message, "mend the cause, then retry the start-up or reprovision"


def _refused(begun: datetime, operation: str | None) -> Iterator[PastLine]:
    told = (
        (0, "validate", "info", "checked"), (1, "create-machine", "warn", "no host of the cluster has room for the machine; it is tried again"),
        (3, "create-machine", "error", "no host of the cluster has room for the machine"),
        (4, "ensure-data-disk", "info", "removed the data disk this run had made"),
    )
    for seconds, step, level, text in told:
        yield PastLine(begun + timedelta(seconds=seconds), WORKER, step, level, text, operation)


def _resources(plan: InstancePlan, begun: datetime, operation: str | None) -> Iterator[PastLine]:
    network = f"{plan.network_label} ({plan.strategy})"
    told = (
        ("validate", f"{plan.role.application} {plan.version} on {network}, data disk {plan.size_gb} GiB"),
        ("ensure-data-disk", f"data disk {plan.disk}, {plan.size_gb} GB"),
        ("create-machine", f"made machine {plan.machine} on {plan.host}, OS disk 50 GB"),
        ("attach-data-disk", f"data disk {plan.disk} attached"),
        ("assign-address", f"address {plan.address}"),
        ("boot", f"booted machine {plan.machine} on {plan.host}"),
    )
    return (PastLine(begun + timedelta(seconds=n), WORKER, step, "info", text, operation) for n, (step, text) in enumerate(told))


def _recent(plan: InstancePlan, now: datetime, rng: random.Random, count: int, down: str) -> Iterator[PastLine]:
    """The last minutes of a living application; of a silent one, the minutes before it fell silent."""
    newest = 420.0 if plan.health is Health.AGENT_SILENT else 95.0 if down else 5.0
    ages = sorted((rng.uniform(newest, newest + 45.0 * count) for _ in range(count)), reverse=True)
    for age, (level, text) in zip(ages, chatter(plan.label, rng, count), strict=True):
        yield PastLine(now - timedelta(seconds=age), AGENT, "application", level, text)
    if count > 5 and rng.random() < 0.03:
        level, text = rng.choice(HOSTILE)
        yield PastLine(now - timedelta(seconds=newest + 8.0), AGENT, "application", level, text)
    if down:
        yield PastLine(now - timedelta(seconds=90), AGENT, "application", "warn", "worker stopped answering")
        yield PastLine(now - timedelta(seconds=80), AGENT, "application", "error", down)


def _document(plan: InstancePlan, actions: list[dict[str, Any]]) -> Mapping[str, Any]:
    """As much of a start-up document as the scenes need."""
    return {
        "instance": {"label": plan.label}, "disk": {"size_gb": plan.size_gb}, "port": 8080, "actions": actions,
        "addresses": {"private_ip": plan.address, "host_name": host_name(plan)},
        "certificate": {"strategy": plan.strategy, "common_name": plan.label, "sans": [plan.address, host_name(plan)]},
        "application": {"name": plan.role.application, "version": plan.version, "health": "/health"},
    }


def host_name(plan: InstancePlan) -> str:
    return f"{plan.label}.{plan.zone}.internal"
