"""The one door: every method there is, with its request, its reply, who may call it, and whether it only reads.

The console, the command line, agents and remote callers all come through here; the reference page is printed from
this table. ``POST /v1/<name>`` with the request as JSON; the reply is JSON; a method with ``stream=True`` answers with newline-delimited
JSON records of its reply type until the caller leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleet_tui.backend import events, hosts, identity, instances, operations, telemetry
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
    """``failed``, ``attention`` or ``moving``."""
    label: str
    ref: str
    text: str
    hint: str
    since: float
    """Unix time."""


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


@dataclass(frozen=True, slots=True)
class Done:
    """A change was stored; ``text`` says so in a sentence fit for a toast."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class Method:
    """A row of the table."""

    name: str
    request: type
    reply: Any
    """Record type, or ``tuple[Record, ...]``."""
    permission: P
    read: bool
    stream: bool = False
    danger: str = "safe"
    """``safe``, ``changes``, ``disruptive`` or ``destructive``."""


def _reads() -> tuple[Method, ...]:
    i, o, t = instances, operations, telemetry
    return (
        Method("site.describe", DescribeSite, SiteRecord, P.STATES_READ, True),
        Method("site.summary", Summarize, Summary, P.STATES_READ, True),
        Method("session.open", identity.OpenSession, identity.SessionRecord, P.STATES_READ, True),
        Method("session.make_read_only", identity.MakeReadOnly, identity.SessionRecord, P.STATES_READ, True),
        Method("events.after", events.EventsAfter, events.EventBatch, P.STATES_READ, True),
        Method("events.follow", events.EventsAfter, events.EventBatch, P.STATES_READ, True, stream=True),
        Method("events.list", events.ListEvents, tuple[events.Event, ...], P.STATES_READ, True),
        Method("lines.read", t.ReadLines, t.LineBatch, P.STATES_READ, True),
        Method("lines.follow", t.ReadLines, t.LineBatch, P.STATES_READ, True, stream=True),
        Method("operations.list", o.ListOperations, tuple[o.OperationRecord, ...], P.STATES_READ, True),
        Method("operations.show", o.ShowOperation, o.OperationRecord, P.STATES_READ, True),
        Method("schedules.list", o.ListSchedules, tuple[o.ScheduleRecord, ...], P.STATES_READ, True),
        Method("hosts.list", hosts.ListHosts, tuple[HostRecord, ...], P.STATES_READ, True),
        Method("hosts.show", hosts.ShowHost, hosts.HostRecord, P.STATES_READ, True),
        Method("instances.list", i.ListInstances, i.InstancePage, P.STATES_READ, True),
        Method("instances.show", i.ShowInstance, i.InstanceRecord, P.STATES_READ, True),
        Method("instances.settings", i.ShowSettings, i.InstanceSettings, P.SETTINGS_READ, True),
        Method("snapshots.list", i.ListSnapshots, tuple[i.SnapshotRecord, ...], P.STATES_READ, True),
        Method("templates.list", i.ListTemplates, tuple[i.TemplateRecord, ...], P.SETTINGS_READ, True),
        Method("networks.list", i.ListNetworks, tuple[i.NetworkRecord, ...], P.STATES_READ, True),
        Method("images.list", i.ListImages, tuple[i.ImageRecord, ...], P.STATES_READ, True),
        Method("users.list", identity.ListUsers, tuple[identity.UserRecord, ...], P.USERS_READ, True),
        Method("audit.list", identity.ListAudit, tuple[identity.AuditRecord, ...], P.AUDIT_READ, True),
        Method("audit.verify", identity.VerifyAudit, identity.AuditVerdict, P.AUDIT_READ, True),
    )


def _changes() -> tuple[Method, ...]:
    i, o, sub = instances, operations, operations.Submitted
    return (
        Method("instances.create", i.CreateInstance, i.InstanceRecord, P.INSTANCES_OPERATE, False, danger="changes"),
        Method("instances.edit", i.EditInstance, i.InstanceRecord, P.INSTANCES_OPERATE, False, danger="changes"),
        Method("instance.provision", i.ProvisionInstance, sub, P.INSTANCES_OPERATE, False, danger="changes"),
        Method("instance.deprovision", i.DeprovisionInstance, sub, P.INSTANCES_OPERATE, False, danger="disruptive"),
        Method("instance.reprovision", i.ReprovisionInstance, sub, P.INSTANCES_OPERATE, False, danger="disruptive"),
        Method("instance.stop", i.StopInstance, sub, P.INSTANCES_OPERATE, False, danger="disruptive"),
        Method("instance.start", i.StartInstance, sub, P.INSTANCES_OPERATE, False, danger="changes"),
        Method("instance.restart-app", i.RestartApplication, sub, P.INSTANCES_OPERATE, False, danger="disruptive"),
        Method("instance.replay-actions", i.ReplayActions, sub, P.INSTANCES_OPERATE, False, danger="changes"),
        Method("instance.retry", i.RetryStartup, sub, P.INSTANCES_OPERATE, False, danger="changes"),
        Method("instance.snapshot", i.SnapshotDisk, sub, P.INSTANCES_OPERATE, False, danger="changes"),
        Method("instance.delete", i.DeleteInstance, sub, P.INSTANCES_DELETE, False, danger="destructive"),
        Method("templates.put", i.PutTemplate, i.TemplateRecord, P.TEMPLATES_EDIT, False, danger="changes"),
        Method("images.register", i.RegisterImage, i.ImageRecord, P.TEMPLATES_EDIT, False, danger="changes"),
        Method("operations.cancel", o.CancelOperation, o.OperationRecord, P.INSTANCES_OPERATE, False, danger="changes"),
        Method("operations.retry", o.RetryOperation, sub, P.INSTANCES_OPERATE, False, danger="changes"),
        Method("users.put", identity.PutUser, identity.UserRecord, P.USERS_EDIT, False, danger="changes"),
        Method("users.remove", identity.RemoveUser, Done, P.USERS_EDIT, False, danger="destructive"),
    )


def _agents() -> tuple[Method, ...]:
    t = telemetry
    return (
        Method("agent.hello", t.Hello, t.Welcome, P.AGENT, False),
        Method("agent.report", t.Report, t.Acknowledged, P.AGENT, False),
    )


METHODS: Mapping[str, Method] = {m.name: m for m in (*_reads(), *_changes(), *_agents())}
"""The table, by name."""

BY_REQUEST: Mapping[type, Method] = {m.request: m for m in METHODS.values() if not m.stream}
"""The method a request record belongs to (streams share records with their reads)."""
