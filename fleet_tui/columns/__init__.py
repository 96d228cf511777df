"""Columns of each kind: shared by the list, the detail view and the command line, so they never disagree.

Standard library only; a cell is plain text here and is cleaned again before it is painted. Special cell values (spec UI-11): ``-`` does not
apply, ``?`` asked but no answer; empty is really empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from fleet_tui.backend.events import Event
from fleet_tui.backend.hosts import HostRecord, PatchRecord
from fleet_tui.backend.instances import InstanceRecord
from fleet_tui.backend.instances.states import Health, InstanceState
from fleet_tui.backend.operations import OperationRecord, StepState
from fleet_tui.backend.operations.states import OperationState
from fleet_tui.columns.clouds import CERTIFICATES, CLOUD_IMAGES, ORPHANS
from fleet_tui.columns.clouds import certificate_status as certificate_status
from fleet_tui.columns.spec import ColumnSpec as ColumnSpec
from fleet_tui.columns.spec import ago as ago
from fleet_tui.columns.spec import percent as percent
from fleet_tui.columns.spec import plural as plural
from fleet_tui.columns.spec import size as size
from fleet_tui.columns.spec import span as span
from fleet_tui.columns.spec import took as took

if TYPE_CHECKING:
    from fleet_tui.backend.machines import VmRecord


# What a row's state looks like: one of well, moving, attention, failed, off, maintenance.


def instance_status(row: InstanceRecord) -> str:
    if row.state is InstanceState.FAILED or row.health is Health.DISK_CRITICAL:
        return "failed"
    if row.state.is_transitional:
        return "moving"
    if row.state is InstanceState.RUNNING:
        return "well" if row.health in (None, Health.OK) else "attention"
    return "off"


_OPERATION_STATUS = {
    OperationState.QUEUED: "off", OperationState.WAITING: "attention", OperationState.RUNNING: "moving",
    OperationState.CANCELLING: "attention", OperationState.SUCCEEDED: "well", OperationState.FAILED: "failed",
    OperationState.CANCELLED: "off",
}  # fmt: skip
_STEP_STATUS = {"pending": "off", "running": "moving", "done": "well", "failed": "failed", "undone": "attention", "skipped": "off"}


def operation_status(row: OperationRecord) -> str:
    return _OPERATION_STATUS[row.state]


def step_status(state: str) -> str:
    """Of an operation's step or an agent's phase."""
    return _STEP_STATUS.get(state, "off")


HOST_STATES: Mapping[str, str] = {
    "Creating": "being added", "Enabled": "enabled", "Disabled": "disabled", "PrepareForMaintenance": "preparing",
    "ErrorInPrepareForMaintenance": "preparing, errors", "Maintenance": "ready", "ErrorInMaintenance": "not emptied", "Degraded": "degraded",
    "Error": "not added",
}  # fmt: skip
"""Resource states in a word or two, for a column."""
MAINTENANCE_STATES: Mapping[str, str] = {
    "PrepareForMaintenance": "Preparing for maintenance", "ErrorInPrepareForMaintenance": "Preparing for maintenance, with errors",
    "Maintenance": "Ready for maintenance", "ErrorInMaintenance": "Not emptied: every attempt was used",
}  # fmt: skip
"""Those of them that belong to maintenance, in full."""


def is_up(row: HostRecord) -> bool:
    return row.connection_state.lower() in ("up", "connected")


def host_status(row: HostRecord) -> str:
    """In maintenance a link that is down says nothing; elsewhere it comes first."""
    state = row.resource_state
    if state in MAINTENANCE_STATES:
        return "failed" if state == "ErrorInMaintenance" else "attention" if state == "ErrorInPrepareForMaintenance" else "maintenance"
    if state in ("Error", "Degraded"):
        return "failed"
    if not is_up(row):
        link = row.connection_state.lower()
        return "failed" if link in ("alert", "down", "error", "disconnected") else "moving" if state == "Creating" else "attention"
    if row.health in ("marginal", "at-risk") or row.patches_critical:
        return "attention"
    return "well" if row.allocatable else "off"


def host_state(row: HostRecord) -> str:
    """State in words; instead of ``enabled``, what keeps it from being of use."""
    state = HOST_STATES.get(row.resource_state, row.resource_state)
    if row.resource_state in MAINTENANCE_STATES or row.resource_state != "Enabled":
        return state
    if not is_up(row):
        return host_link(row)
    return row.health if row.health in ("marginal", "at-risk") else state if row.allocatable else "not used"


def host_link(row: HostRecord) -> str:
    """What the link says: the reason where there is one."""
    return row.reason or row.connection_state


_VM_STATUS = {
    "running": "well", "starting": "moving", "stopping": "moving", "migrating": "moving", "exporting": "moving", "destroying": "moving",
    "crashed": "failed", "failed-to-start": "failed", "unknown": "attention", "debugging": "attention",
}  # fmt: skip


def vm_status(row: VmRecord) -> str:
    return _VM_STATUS.get(row.state.value, "off")


def vm_doing(row: VmRecord) -> str:
    """What one wants to know first: where it moves, what is done to it, what is wrong with it."""
    if row.move is not None and not row.move.outcome:
        return f"{row.move.phase.value} {row.move.percent} % to {row.move.destination}"
    return row.operation or row.error or ("on the old ratio" if row.on_old_ratio else "")


def patch_status(row: PatchRecord) -> str:
    if row.superseded_by:
        return "off"
    return "well" if not row.missing_on else "failed" if row.severity == "critical" else "attention"


def event_status(row: Event) -> str:
    return {"error": "failed", "warn": "attention"}.get(row.level, "off")


def instance_state(row: InstanceRecord) -> str:
    """State in words; instead of plain ``running``, what is wrong with its health."""
    if row.state is InstanceState.RUNNING and row.health not in (None, Health.OK):
        return row.health.value if row.health else ""
    return row.state.value


def pending(row: InstanceRecord, badge: str = "⟳") -> str:
    """Badge of changes that wait for a reprovision."""
    return f"{badge} {len(row.pending_changes)}" if row.pending_changes else ""


def disk_use(row: InstanceRecord) -> str:
    """How full the data disk is; ``-`` before there is one."""
    return "-" if row.state is InstanceState.NEW else percent(row.data_disk.used_fraction)


def address(row: InstanceRecord) -> str:
    return row.public_ip or row.private_ip or "-"


def whereabouts(row: InstanceRecord) -> str:
    """What one wants to know first: what it is doing, why it failed, else where it answers."""
    if row.operation:
        return row.operation
    if row.state is InstanceState.FAILED:
        return because(row.failed_stage or "failed", row.failure)
    return (row.url or "-").removesuffix("/")


def because(where: str, message: str) -> str:
    """Where it failed and why; a message that names the place already stands alone."""
    return f"{where}: {message}" if message and not message.startswith(where) else message or where


def progress(row: OperationRecord) -> tuple[int, int, str]:
    """(steps done, steps in all, what it is doing now in a few words)."""
    done = sum(step.state is StepState.DONE for step in row.steps)
    now = next((s for s in row.steps if s.state is StepState.RUNNING), None)
    if row.state is OperationState.FAILED:
        said = because(row.failed_step or "failed", row.error.message if row.error else "")
    elif row.state is OperationState.WAITING:
        said = "waits for " + ", ".join(row.waiting_for) if row.waiting_for else "waits"
    elif now is not None:
        said = now.progress or now.name
    else:
        said = ""
    return done, len(row.steps), said


def operation_time(row: OperationRecord, now: datetime) -> str:
    """How long it ran, or runs."""
    if row.started_at is None:
        return took((now - row.submitted_at).total_seconds()) if not row.state.is_final else "-"
    return took(((row.ended_at or now) - row.started_at).total_seconds())


def _doing(row: OperationRecord, _now: datetime) -> str:
    done, total, said = progress(row)
    count = f"{min(done + 1, total)}/{total}" if row.state is OperationState.RUNNING and total else ""
    return f"{count} {said}".strip()


_STATE_ORDER = {s: n for n, s in enumerate(("failed", "attention", "moving", "off", "well"))}

INSTANCES: tuple[ColumnSpec, ...] = (
    ColumnSpec("label", "INSTANCE", 13, lambda r, _: r.label, lambda r: r.label.lower(), roomy=20),
    ColumnSpec("kind", "KIND", 9, lambda r, _: r.kind, lambda r: r.kind, priority=4),
    ColumnSpec("state", "STATE", 14, lambda r, _: f"{instance_state(r)} {pending(r)}".strip(), lambda r: _STATE_ORDER.get(instance_status(r), 9)),
    ColumnSpec("address", "ADDRESS", 15, lambda r, _: address(r), lambda r: r.public_ip or r.private_ip, priority=5),
    ColumnSpec("url", "URL / DOING", 22, lambda r, _: whereabouts(r), whereabouts, priority=2, grow=True, roomy=66),
    ColumnSpec("disk", "DATA DISK", 12, lambda r, _: disk_use(r), lambda r: -(r.data_disk.used_fraction or 0.0), priority=1,
               fraction=lambda r: r.data_disk.used_fraction),
    ColumnSpec("size", "SIZE", 8, lambda r, _: f"{r.data_disk.size_gb} GiB", lambda r: -r.data_disk.size_gb, right=True, priority=6),
    ColumnSpec("agent", "AGENT", 5, lambda r, now: ago(r.agent.last_seen, now),
               lambda r: r.agent.last_seen.timestamp() if r.agent.last_seen else 0.0, right=True, priority=1),
    ColumnSpec("template", "TEMPLATE", 10, lambda r, _: r.template, lambda r: r.template, wide=True),
    ColumnSpec("network", "NETWORK", 10, lambda r, _: r.network, lambda r: r.network, wide=True),
    ColumnSpec("image", "IMAGE", 16, lambda r, _: r.image, lambda r: r.image, wide=True),
    ColumnSpec("host", "HOST", 10, lambda r, _: r.host or "-", lambda r: r.host, wide=True),
    ColumnSpec("tags", "TAGS", 16, lambda r, _: " ".join(r.fleet_tags), lambda r: r.fleet_tags or None, wide=True),
)  # fmt: skip

OPERATIONS: tuple[ColumnSpec, ...] = (
    ColumnSpec("title", "OPERATION", 11, lambda r, _: r.title, roomy=20),
    ColumnSpec("target", "TARGET", 9, lambda r, _: r.target, lambda r: r.target.lower(), roomy=20),
    ColumnSpec("state", "STATE", 10, lambda r, _: r.state.value),
    ColumnSpec("doing", "STEP", 14, _doing, grow=True, priority=1, roomy=60),
    ColumnSpec("time", "TOOK", 7, operation_time, right=True, sort=lambda r: r.submitted_at.timestamp(), priority=2),
    ColumnSpec("since", "AGE", 4, lambda r, now: ago(r.submitted_at, now), lambda r: -r.submitted_at.timestamp(), right=True, priority=1),
    ColumnSpec("user", "USER", 10, lambda r, _: r.user, priority=3),
    ColumnSpec("id", "ID", 14, lambda r, _: r.id, wide=True),
)


def _memory(row: HostRecord) -> float | None:
    return row.memory_used_bytes / row.memory_bytes if row.memory_bytes else None


def disk_share(row: HostRecord) -> float | None:
    return row.disk_used_bytes / row.disk_bytes if row.disk_bytes else None


def _cpu(row: HostRecord) -> float:
    """Of its capacity; of a machine that gives its load only, that."""
    return min(row.load, 1.0) if row.hypervisor == "local" else row.cpu_used


def _ram(row: HostRecord) -> float | None:
    return _memory(row) if row.hypervisor == "local" else row.ram_used


def _patches(row: HostRecord) -> str:
    return f"{row.patches_critical}!" if row.patches_critical else str(row.patches_behind) if row.patches_behind else "-"


HOSTS: tuple[ColumnSpec, ...] = (
    ColumnSpec("name", "HOST", 10, lambda r, _: r.name, lambda r: r.name.lower(), grow=True),
    ColumnSpec("state", "STATE", 13, lambda r, _: host_state(r), lambda r: _STATE_ORDER.get(host_status(r), 9)),
    ColumnSpec("link", "LINK", 12, lambda r, _: host_link(r), priority=3),
    ColumnSpec("cpu", "CPU", 13, lambda r, _: percent(_cpu(r)), lambda r: -_cpu(r), priority=1, fraction=_cpu),
    ColumnSpec("ram", "RAM", 13, lambda r, _: percent(_ram(r)), lambda r: -(_ram(r) or 0.0), priority=1, fraction=_ram),
    ColumnSpec("vms", "VMS", 3, lambda r, _: str(r.vms), lambda r: -r.vms, right=True),
    ColumnSpec("patches", "PATCH", 5, lambda r, _: _patches(r), lambda r: (-r.patches_critical, -r.patches_behind), right=True, priority=2),
    ColumnSpec("operation", "DOING", 16, lambda r, _: r.operation or r.error or r.why_not, priority=4),
    ColumnSpec("version", "VERSION", 10, lambda r, _: r.version or "-", priority=5),
    ColumnSpec("load", "LOAD", 6, lambda r, _: percent(r.load), lambda r: -r.load, right=True, priority=6),
    ColumnSpec("location", "PLACE", 18, lambda r, _: r.location, priority=7, roomy=28),
    ColumnSpec("disk", "DISK", 13, lambda r, _: percent(disk_share(r)), lambda r: -(disk_share(r) or 0.0), priority=8, fraction=disk_share),
    ColumnSpec("cores", "CORES", 5, lambda r, _: str(r.cores), lambda r: -r.cores, right=True, priority=9),
    ColumnSpec("has", "ALL RAM", 8, lambda r, _: size(r.memory_bytes), lambda r: -r.memory_bytes, right=True, priority=9),
    ColumnSpec("instances", "INST", 4, lambda r, _: str(r.instances), lambda r: -r.instances, right=True, priority=9),
    ColumnSpec("hypervisor", "HYPERVISOR", 12, lambda r, _: r.hypervisor, wide=True),
    ColumnSpec("address", "ADDRESS", 15, lambda r, _: r.address, wide=True),
    ColumnSpec("tags", "TAGS", 16, lambda r, _: " ".join(r.tags), wide=True),
)  # fmt: skip

VMS: tuple[ColumnSpec, ...] = (
    ColumnSpec("name", "VM", 12, lambda r, _: r.name, lambda r: r.name.lower()),
    ColumnSpec("state", "STATE", 15, lambda r, _: r.state.value, lambda r: _STATE_ORDER.get(vm_status(r), 9)),
    ColumnSpec("host", "HOST", 12, lambda r, _: r.host or (f"({r.last_host})" if r.last_host else "-")),
    ColumnSpec("memory", "MEM", 7, lambda r, _: size(r.memory_mib * 1024**2), lambda r: -r.memory_mib, right=True, priority=1),
    ColumnSpec("cores", "CORES", 5, lambda r, _: str(r.cores), lambda r: -r.cores, right=True, priority=3),
    ColumnSpec("doing", "DOING", 22, lambda r, _: vm_doing(r), grow=True, priority=2, roomy=44),
    ColumnSpec("offering", "OFFERING", 12, lambda r, _: r.offering, priority=4),
    ColumnSpec("ip", "ADDRESS", 15, lambda r, _: r.ips[0] if r.ips else "-", priority=5),
    ColumnSpec("owners", "OWNERS", 14, lambda r, _: " ".join(r.owners) or "-", priority=6),
    ColumnSpec("kind", "KIND", 13, lambda r, _: r.kind, priority=7),
    ColumnSpec("cluster", "CLUSTER", 12, lambda r, _: r.cluster, priority=8),
    ColumnSpec("tags", "TAGS", 16, lambda r, _: " ".join(r.tags), wide=True),
)

PATCHES: tuple[ColumnSpec, ...] = (
    ColumnSpec("patch", "PATCH", 14, lambda r, _: r.patch),
    ColumnSpec("severity", "SEVERITY", 9, lambda r, _: r.severity),
    ColumnSpec("missing", "MISSING", 7, lambda r, _: str(r.missing_on) if r.missing_on else "-", lambda r: -r.missing_on, right=True),
    ColumnSpec("hypervisor", "FOR", 16, lambda r, _: f"{r.hypervisor} {r.version}", priority=1),
    ColumnSpec("note", "NOTE", 16, lambda r, _: f"superseded by {r.superseded_by}" if r.superseded_by else r.note, grow=True, priority=2),
    ColumnSpec("released", "RELEASED", 10, lambda r, _: r.released, priority=3),
)

OFFERINGS: tuple[ColumnSpec, ...] = (
    ColumnSpec("name", "OFFERING", 16, lambda r, _: r.name, lambda r: r.name.lower(), grow=True),
    ColumnSpec("cores", "CORES", 5, lambda r, _: str(r.cores), lambda r: -r.cores, right=True),
    ColumnSpec("mhz", "MHZ", 6, lambda r, _: f"{r.mhz:,}", lambda r: -r.mhz, right=True),
    ColumnSpec("memory", "MEMORY", 8, lambda r, _: size(r.memory_mib * 1024**2), lambda r: -r.memory_mib, right=True),
    ColumnSpec("vms", "VMS", 5, lambda r, _: str(r.vms), lambda r: -r.vms, right=True),
    ColumnSpec("rules", "RULES", 18, lambda r, _: " ".join(w for w in ("capped" * r.limit_cpu, "ha" * r.ha, r.system_kind) if w) or "-", priority=1),
    ColumnSpec("tags", "TAGS", 16, lambda r, _: " ".join(r.tags), wide=True),
)

EVENTS: tuple[ColumnSpec, ...] = (
    ColumnSpec("age", "AGE", 5, lambda r, now: ago(r.time, now), lambda r: -r.seq, right=True),
    ColumnSpec("text", "WHAT", 40, lambda r, _: r.text, grow=True),
    ColumnSpec("user", "USER", 10, lambda r, _: r.user or "-", priority=2),
    ColumnSpec("ref", "OBJECT", 20, lambda r, _: r.ref, priority=3),
    ColumnSpec("type", "TYPE", 22, lambda r, _: r.type, wide=True),
    ColumnSpec("time", "TIME", 20, lambda r, _: r.time.strftime("%Y-%m-%d %H:%M:%S"), wide=True),
)

COLUMNS: Mapping[str, tuple[ColumnSpec, ...]] = {
    "instances": INSTANCES, "operations": OPERATIONS, "hosts": HOSTS, "vms": VMS, "patches": PATCHES, "offerings": OFFERINGS, "events": EVENTS,
    "certificates": CERTIFICATES, "cloud_images": CLOUD_IMAGES, "orphans": ORPHANS,
}  # fmt: skip
"""By kind."""

