"""Columns of the kinds that only the command line lists; the others share those of the console."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from fleet_tui.columns import COLUMNS, ColumnSpec, percent, size, took


def _column(title: str, text: Callable[[Any], str], *, right: bool = False) -> ColumnSpec:
    return ColumnSpec(title.lower(), title, len(title), lambda record, _now: text(record), right=right)


def actions_word(actions: Sequence[Any]) -> str:
    """``3``, or ``2 of 3`` where one is switched off."""
    on = sum(action.enabled for action in actions)
    return str(on) if on == len(actions) else f"{on} of {len(actions)}"


def template_problem(record: Any) -> str:
    """What stands against its instances' next provision."""
    lacking = [f"lacks {', '.join(record.lacks)}"] if record.lacks else []
    return "; ".join([*lacking, *([f"not for {', '.join(record.unfit[:3])}"] if record.unfit else [])])


def when(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}" if time else "-"


OPERATIONS = (
    next(column for column in COLUMNS["operations"] if column.name == "id"),
    *(column for column in COLUMNS["operations"] if column.name != "id"),
)
"""The id first: every other verb of ``fleet op`` wants it."""

TEMPLATES = (
    _column("LABEL", lambda r: r.label),
    _column("APPLICATION", lambda r: r.application),
    _column("ACTIONS", lambda r: actions_word(r.setup_actions), right=True),
    _column("INSTANCES", lambda r: str(r.instances), right=True),
    _column("WAITING", lambda r: str(r.waiting) if r.waiting else "-", right=True),
    _column("VERSION", lambda r: str(r.version), right=True),
    _column("PROBLEM", lambda r: template_problem(r)),
)
VIRTUAL_NETWORKS = (
    _column("LABEL", lambda r: r.label),
    _column("RUNS ON", lambda r: r.provider),
    _column("PLACE", lambda r: r.place or "-"),
    _column("HTTPS", lambda r: r.https_strategy),
    _column("PUBLIC IP", lambda r: "yes" if r.values.get("assign_public_ip") else "no"),
    _column("INTERNET", lambda r: str(r.values.get("internet_access", "-"))),
    _column("INSTANCES", lambda r: str(r.instances), right=True),
    _column("WAITING", lambda r: str(r.waiting) if r.waiting else "-", right=True),
    _column("PROBLEM", lambda r: "; ".join(finding.text for finding in r.findings)),
)
LINKED = (
    _column("INSTANCE", lambda r: r.label),
    _column("STATE", lambda r: r.state),
    _column("WAITS", lambda r: "yes" if r.waits else "-"),
    _column("WHY", lambda r: r.why),
)
IMAGES = (
    _column("NAME", lambda r: f"{r.name} {r.version}"),
    _column("SIZE", lambda r: size(r.size_bytes), right=True),
    _column("SHA256", lambda r: r.sha256[:16]),
    _column("REGISTERED", lambda r: when(r.created_at)),
)
SNAPSHOTS = (
    _column("ID", lambda r: r.id),
    _column("MADE", lambda r: when(r.created_at)),
    _column("SIZE", lambda r: size(r.size_bytes), right=True),
    _column("BY", lambda r: "schedule" if r.automatic else "request"),
    _column("REASON", lambda r: r.reason),
)
USERS = (
    _column("NAME", lambda r: r.name),
    _column("ROLE", lambda r: r.role.value),
    _column("UID", lambda r: "-" if r.uid is None else str(r.uid), right=True),
    _column("STATE", lambda r: r.state),
    _column("DISPLAY NAME", lambda r: r.display_name),
)
SCHEDULES = (
    _column("NAME", lambda r: r.name),
    _column("KIND", lambda r: r.kind),
    _column("OBJECT", lambda r: r.target_ref),
    _column("EVERY", lambda r: f"{r.every_s} s", right=True),
    _column("NEXT", lambda r: when(r.next_at) if r.enabled else "off"),
    _column("LAST", lambda r: r.last_operation or "-"),
)
BOARD = (
    _column("OWNER", lambda r: r.owner),
    _column("ENDS", lambda r: f"{r.not_after:%Y-%m-%d}"),
    _column("DAYS", lambda r: str(r.days_left), right=True),
    _column("STATE", lambda r: r.state + (" ! mismatch" if r.mismatch else "") + (" untrusted" if r.untrusted else "")),
    _column("KIND", lambda r: r.kind),
    _column("SUBJECT", lambda r: r.subject),
    _column("ISSUER", lambda r: r.issuer or "-"),
    _column("RENEWAL", lambda r: r.renewal or "-"),
)
AUDIT = (
    _column("SEQ", lambda r: str(r.seq), right=True),
    _column("TIME", lambda r: when(r.time)),
    _column("USER", lambda r: r.user),
    _column("ROLE", lambda r: r.role),
    _column("ACTION", lambda r: r.action),
    _column("OBJECT", lambda r: r.object),
    _column("DECISION", lambda r: f"of {r.completes}" if r.completes else r.decision),
    _column("RESULT", lambda r: r.result),
)
EVENTS = tuple(column for column in COLUMNS["events"] if column.name in ("time", "text", "user", "ref"))
CLOUD_CHECKS = (
    _column("TRIED", lambda r: r.name),
    _column("VERDICT", lambda r: r.verdict),
    _column("WHAT", lambda r: f"{r.text}{f'; {r.hint}' if r.hint else ''}"),
)
ZONES = (
    _column("ZONE", lambda r: r.name),
    _column("STATE", lambda r: r.allocation.value),
    _column("NETWORK", lambda r: r.network_type),
    _column("PODS", lambda r: str(r.pods), right=True),
    _column("CLUSTERS", lambda r: str(r.clusters), right=True),
    _column("HOSTS", lambda r: str(r.hosts), right=True),
    _column("ID", lambda r: r.id),
)
PODS = (
    _column("POD", lambda r: r.name),
    _column("STATE", lambda r: r.allocation.value),
    _column("ZONE", lambda r: r.zone),
    _column("ADDRESSES", lambda r: f"{r.start_ip} - {r.end_ip}" if r.start_ip else "-"),
    _column("CLUSTERS", lambda r: str(r.clusters), right=True),
    _column("HOSTS", lambda r: str(r.hosts), right=True),
    _column("ID", lambda r: r.id),
)
CLUSTERS = (
    _column("CLUSTER", lambda r: r.name),
    _column("STATE", lambda r: r.allocation.value),
    _column("PLACE", lambda r: f"{r.zone}/{r.pod}"),
    _column("HYPERVISOR", lambda r: r.hypervisor),
    _column("HOSTS", lambda r: str(r.hosts), right=True),
    _column("CPU", lambda r: f"x {r.cpu_ratio:g}", right=True),
    _column("RAM", lambda r: f"x {r.ram_ratio:g}", right=True),
    _column("RATIOS", lambda r: r.ratio_origin),
    _column("MANAGED", lambda r: r.managed),
    _column("MISMATCH", lambda r: " ".join(r.mismatch) or "-"),
    _column("ID", lambda r: r.id),
)
WEIGHTS = (
    _column("VM", lambda r: r.vm),
    _column("WEIGHT", lambda r: f"{r.weight:,}", right=True),
    _column("SHARE", lambda r: percent(r.share), right=True),
    _column("AT LEAST MHZ", lambda r: f"{r.guaranteed_mhz:,}", right=True),
    _column("ALONE MHZ", lambda r: f"{r.alone_mhz:,}", right=True),
)
CAPACITY = (
    _column("WHERE", lambda r: r.host or r.place),
    _column("CPU", lambda r: percent(r.cpu.share), right=True),
    _column("FREE MHZ", lambda r: f"{r.cpu.free:,}", right=True),
    _column("OF", lambda r: f"{r.cpu.capacity:,}", right=True),
    _column("RAM", lambda r: percent(r.ram.share), right=True),
    _column("FREE RAM", lambda r: _signed_size(r.ram.free), right=True),
    _column("OF", lambda r: size(r.ram.capacity), right=True),
    _column("RESERVED", lambda r: size(r.ram.reserved), right=True),
    _column("CORES", lambda r: f"{r.cores.used}/{r.cores.capacity}", right=True),
    _column("RATIOS", lambda r: f"{r.cpu_ratio:g}/{r.ram_ratio:g}"),
    _column("VMS", lambda r: str(r.vms), right=True),
    _column("N+1", lambda r: "?" if r.survives is None else "yes" if r.survives else "no"),
)
"""``OF`` is the capacity, ratio included; ``N+1`` whether one host (of one host: this one) could be lost."""
FORECAST = (
    _column("VM", lambda r: r.vm),
    _column("MEMORY", lambda r: size(r.memory_mib * 1024**2), right=True),
    _column("DESTINATION", lambda r: r.destination or "-"),
    _column("WHY", lambda r: r.why),
)
VERDICTS = (
    _column("HOST", lambda r: r.host),
    _column("FITS", lambda r: "yes" if r.fits else "no"),
    _column("WHY", lambda r: r.why),
)
SESSIONS = (
    _column("HOST", lambda r: r.host),
    _column("STATE", lambda r: r.resource_state),
    _column("STEP", lambda r: "closed" if r.closed_at else r.step.value),
    _column("REASON", lambda r: r.reason),
    _column("OWNER", lambda r: r.owner),
    _column("BEGAN", lambda r: when(r.started_at)),
    _column("PLANNED END", lambda r: f"{when(r.planned_end)}{' (over)' if r.is_overrun else ''}"),
    _column("ID", lambda r: r.id),
)
EVACUEES = (
    _column("VM", lambda r: r.vm),
    _column("STATE", lambda r: r.state.value),
    _column("PHASE", lambda r: f"{r.phase} {r.percent} %" if r.state.value == "moving" else "-"),
    _column("TRY", lambda r: f"{r.attempt}/{r.attempts}", right=True),
    _column("DESTINATION", lambda r: r.destination or "-"),
    _column("TOOK", lambda r: "-" if r.elapsed_ms is None else took(r.elapsed_ms / 1000), right=True),
    _column("DOWN", lambda r: "-" if r.downtime_ms is None else f"{r.downtime_ms} ms", right=True),
    _column("BACK", lambda r: r.back or "-"),
    _column("ERROR", lambda r: f"{r.error} {r.hint}".strip()),
)
BLOCKERS = (
    _column("WHO", lambda r: r.subject),
    _column("WHAT", lambda r: r.text),
    _column("DO", lambda r: r.hint),
)
GROUPS = (
    _column("GROUP", lambda r: str(r[0]), right=True),
    _column("HOSTS", lambda r: " ".join(r[1].hosts)),
    _column("VMS", lambda r: str(r[1].vms), right=True),
)
PHYSICAL_NETWORKS = (
    _column("NETWORK", lambda r: r.name),
    _column("ZONE", lambda r: r.zone),
    _column("STATE", lambda r: r.state.value),
    _column("KIND", lambda r: r.isolation.value),
    _column("CARDS", lambda r: " ".join(f"{hypervisor}={label}" for hypervisor, label in r.nic_labels.items()) or "-"),
    _column("FREE", lambda r: f"{r.counts.get('free', 0) + r.counts.get('dedicated-free', 0):,}", right=True),
    _column("NETWORKS", lambda r: str(r.networks), right=True),
    _column("PROBLEMS", lambda r: str(r.problems) if r.problems else "-", right=True),
    _column("RANGES", lambda r: r.ranges_text or "-"),
    _column("ID", lambda r: r.id),
)
VLANS = (
    _column("VLAN", lambda r: str(r.number), right=True),
    _column("STATE", lambda r: r.state.value),
    _column("SCOPE", lambda r: r.scope.value if r.scope else "-"),
    _column("NETWORK", lambda r: r.network or "-"),
    _column("OWNER", lambda r: r.owner or "-"),
    _column("DEDICATED TO", lambda r: r.dedicated_to or "-"),
    _column("SINCE", lambda r: when(r.since)),
)
GUEST_NETWORKS = (
    _column("NETWORK", lambda r: r.name),
    _column("STATE", lambda r: r.state.value),
    _column("KIND", lambda r: r.guest_type.value),
    _column("VLAN", lambda r: "-" if r.vlan is None else str(r.vlan), right=True),
    _column("ON", lambda r: f"{r.zone}/{r.physical}"),
    _column("CIDR", lambda r: r.cidr or "-"),
    _column("OWNER", lambda r: f"{r.owner_kind.value} {r.owner}" if r.owner_kind else "-"),
    _column("NICS", lambda r: f"{r.running}/{r.nics}", right=True),
    _column("HOSTS", lambda r: str(r.hosts), right=True),
    _column("OFFERING", lambda r: r.offering),
    _column("ERROR", lambda r: r.error),
    _column("ID", lambda r: r.id),
)
"""``NICS``: of VMs that run, of all."""
ORPHANS = (
    _column("KIND", lambda r: r.kind),
    _column("ID", lambda r: r.id),
    _column("PROVIDER", lambda r: r.provider),
    _column("SIZE", lambda r: "-" if r.size_bytes is None else size(r.size_bytes), right=True),
    _column("STATE", lambda r: r.detail),
    _column("PLACE", lambda r: r.place),
)
CLOUD_IMAGES = (
    _column("IMAGE", lambda r: r.name),
    _column("ZONE", lambda r: r.zone),
    _column("FILE", lambda r: r.path),
)
NETWORK_OFFERINGS = (
    _column("OFFERING", lambda r: r.name),
    _column("KIND", lambda r: r.guest_type.value),
    _column("VLAN", lambda r: "specified" if r.specify_vlan else "from the pool"),
    _column("PERSISTENT", lambda r: "yes" if r.persistent else "no"),
    _column("NETWORKS", lambda r: str(r.networks), right=True),
    _column("ID", lambda r: r.id),
)


def _signed_size(count: int) -> str:
    """More may be used than there is, after a ratio was lowered."""
    return f"-{size(-count)}" if count < 0 else size(count)
