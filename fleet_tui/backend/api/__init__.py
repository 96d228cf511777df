"""The one door: every method there is, with its request, its reply, who may call it, and whether it only reads.

The console, the command line, agents and remote callers all come through here; the reference page is printed from
this table. ``POST /v1/<name>`` with the request as JSON; the reply is JSON; a method with ``stream=True`` answers with newline-delimited
JSON records of its reply type until the caller leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from fleet_tui.backend.api import certificates, infrastructure, registers
from fleet_tui.backend.api.method import Method, named
from fleet_tui.backend.hosts import HostRecord
from fleet_tui.backend.identity import Permission as P
from fleet_tui.backend.instances import InstanceRecord
from fleet_tui.backend.operations import OperationRecord
from fleet_tui.backend.records import dataclass
from fleet_tui.backend.telemetry import LogLine


@dataclass(frozen=True, slots=True)
class DescribeSite:
    """What this daemon is."""


@dataclass(frozen=True, slots=True)
class SiteRecord:
    name: str
    simulated: bool
    version: str
    pid: int
    started_at: float
    """Unix time."""
    database: str
    """Kind and place, without credentials."""
    state_directory: str
    schema: str


@dataclass(frozen=True, slots=True)
class Summarize:
    """The dashboard in one call: counts, what needs attention, what runs. ``rows`` instances come with it."""

    rows: int = 50
    lines: int = 50
    """Newest log lines wanted with it."""


@dataclass(frozen=True, slots=True)
class Attention:
    """One thing a person should look at, most urgent first."""

    severity: str
    """``failed``, ``attention``, ``moving`` or ``maintenance``."""
    label: str
    ref: str
    text: str
    hint: str
    since: float
    """Unix time."""


@dataclass(frozen=True, slots=True)
class ZoneRoom:
    """How full a zone is, as shares of its capacity (ratios included)."""

    zone: str
    cpu_used: float
    cpu_reserved: float
    ram_used: float
    ram_reserved: float
    survives: bool | None
    """N+1: whether each cluster could lose its largest host; None where it cannot be said."""
    vms: int


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts and the few rows that matter now."""

    hosts: Mapping[str, int]
    """By connection state, and ``total``."""
    instances: Mapping[str, int]
    """By state, and ``total``."""
    kinds: Mapping[str, int]
    operations: Mapping[str, int]
    """``running``, ``waiting``, ``failed`` (last day)."""
    disk_used_bytes: int
    disk_size_bytes: int
    attention: tuple[Attention, ...]
    attention_total: int
    running: tuple[OperationRecord, ...]
    """Active operations, then the last few that failed or finished."""
    rows: tuple[InstanceRecord, ...]
    """Urgent ones first."""
    host_rows: tuple[HostRecord, ...]
    lines: tuple[LogLine, ...]
    cursor: int
    """Event cursor this was true at."""
    rooms: tuple[ZoneRoom, ...] = ()
    """Of each zone that runs VMs; up to some seconds old."""
    vms: Mapping[str, int] = field(default_factory=dict)
    """By state, and ``total``."""
    in_maintenance: int = 0
    """Hosts."""


@dataclass(frozen=True, slots=True)
class Done:
    """A change was stored; ``text`` says so in a sentence fit for a toast."""

    text: str = ""


def _reads() -> tuple[Method, ...]:
    return (
        Method("site.describe", "api.DescribeSite", "api.SiteRecord", P.STATES_READ, True),
        Method("site.summary", "api.Summarize", "api.Summary", P.STATES_READ, True),
        Method("session.open", "identity.OpenSession", "identity.SessionRecord", P.STATES_READ, True),
        Method("session.make_read_only", "identity.MakeReadOnly", "identity.SessionRecord", P.STATES_READ, True),
        Method("events.after", "events.EventsAfter", "events.EventBatch", P.STATES_READ, True),
        Method("events.follow", "events.EventsAfter", "events.EventBatch", P.STATES_READ, True, stream=True),
        Method("events.list", "events.ListEvents", "events.Event*", P.STATES_READ, True),
        Method("lines.read", "telemetry.ReadLines", "telemetry.LineBatch", P.STATES_READ, True),
        Method("lines.follow", "telemetry.ReadLines", "telemetry.LineBatch", P.STATES_READ, True, stream=True),
        Method("operations.list", "operations.ListOperations", "operations.OperationRecord*", P.STATES_READ, True),
        Method("operations.show", "operations.ShowOperation", "operations.OperationRecord", P.STATES_READ, True),
        Method("schedules.list", "operations.ListSchedules", "operations.ScheduleRecord*", P.STATES_READ, True),
        Method("hosts.list", "hosts.ListHosts", "hosts.HostRecord*", P.STATES_READ, True),
        Method("hosts.show", "hosts.ShowHost", "hosts.HostRecord", P.STATES_READ, True),
        Method("instances.list", "instances.ListInstances", "instances.InstancePage", P.STATES_READ, True),
        Method("instances.show", "instances.ShowInstance", "instances.InstanceRecord", P.STATES_READ, True),
        Method("instances.settings", "instances.ShowSettings", "instances.InstanceSettings", P.SETTINGS_READ, True),
        Method("snapshots.list", "instances.ListSnapshots", "instances.SnapshotRecord*", P.STATES_READ, True),
        Method("orphans.list", "providers.ListOrphans", "providers.OrphanList", P.SETTINGS_READ, True),
        Method("images.list", "instances.ListImages", "instances.ImageRecord*", P.STATES_READ, True),
        Method("users.list", "identity.ListUsers", "identity.UserRecord*", P.USERS_READ, True),
        Method("audit.list", "identity.ListAudit", "identity.AuditRecord*", P.AUDIT_READ, True),
        Method("audit.verify", "identity.VerifyAudit", "identity.AuditVerdict", P.AUDIT_READ, True),
    )


def _changes() -> tuple[Method, ...]:
    sub = "operations.Submitted"
    return (
        Method("instances.create", "instances.CreateInstance", "instances.SavedInstance", P.INSTANCES_OPERATE, False, danger="changes"),
        Method("instances.edit", "instances.EditInstance", "instances.SavedInstance", P.INSTANCES_OPERATE, False, danger="changes"),
        Method("instance.provision", "instances.ProvisionInstance", sub, P.INSTANCES_OPERATE, False, danger="changes"),
        Method("instance.deprovision", "instances.DeprovisionInstance", sub, P.INSTANCES_OPERATE, False, danger="disruptive"),
        Method("instance.reprovision", "instances.ReprovisionInstance", sub, P.INSTANCES_OPERATE, False, danger="disruptive"),
        Method("instance.stop", "instances.StopInstance", sub, P.INSTANCES_OPERATE, False, danger="disruptive"),
        Method("instance.start", "instances.StartInstance", sub, P.INSTANCES_OPERATE, False, danger="changes"),
        Method("instance.restart-app", "instances.RestartApplication", sub, P.INSTANCES_OPERATE, False, danger="disruptive"),
        Method("instance.replay-actions", "instances.ReplayActions", sub, P.INSTANCES_OPERATE, False, danger="changes"),
        Method("instance.retry", "instances.RetryStartup", sub, P.INSTANCES_OPERATE, False, danger="changes"),
        Method("instance.grow", "instances.GrowDisk", sub, P.INSTANCES_OPERATE, False, danger="changes"),
        Method("instance.snapshot", "instances.SnapshotDisk", sub, P.INSTANCES_OPERATE, False, danger="changes"),
        Method("instance.delete", "instances.DeleteInstance", sub, P.INSTANCES_DELETE, False, danger="destructive"),
        Method("snapshot.delete", "instances.DeleteSnapshot", sub, P.INSTANCES_OPERATE, False, danger="destructive"),
        Method("orphan.remove", "instances.RemoveOrphan", sub, P.INSTANCES_DELETE, False, danger="destructive"),
        Method("images.register", "instances.RegisterImage", "instances.ImageRecord", P.TEMPLATES_EDIT, False, danger="changes"),
        Method("images.remove", "instances.RemoveImage", "api.Done", P.TEMPLATES_EDIT, False, danger="destructive"),
        Method("operations.cancel", "operations.CancelOperation", "operations.OperationRecord", P.INSTANCES_OPERATE, False, danger="changes"),
        Method("operations.retry", "operations.RetryOperation", sub, P.INSTANCES_OPERATE, False, danger="changes"),
        Method("users.put", "identity.PutUser", "identity.UserRecord", P.USERS_EDIT, False, danger="changes"),
        Method("users.remove", "identity.RemoveUser", "api.Done", P.USERS_EDIT, False, danger="destructive"),
    )


def _agents() -> tuple[Method, ...]:
    return (
        Method("agent.hello", "telemetry.Hello", "telemetry.Welcome", P.AGENT, False),
        Method("agent.fetch", "telemetry.Fetch", "telemetry.Fetched", P.AGENT, False),
        Method("agent.report", "telemetry.Report", "telemetry.Acknowledged", P.AGENT, False),
    )


METHODS: Mapping[str, Method] = {
    m.name: m for m in (*_reads(), *_changes(), *_agents(), *registers.METHODS, *infrastructure.METHODS, *certificates.METHODS)
}
"""The table, by name."""

_BY_REQUEST: Mapping[str, Method] = {m.takes: m for m in METHODS.values() if not m.stream}


def method_of_kind(kind: str) -> Method:
    """What somebody must be allowed who sets off an operation of that kind. What no method asks for, the daemon asks for itself."""
    return METHODS.get(kind) or Method(kind, "operations.OperationRequest", "operations.Submitted", P.SITE_ADMIN, False, danger="changes")


def method_of(request: Any) -> Method:
    """The method a request record belongs to (streams share records with their reads)."""
    return _BY_REQUEST[named(type(request))]
