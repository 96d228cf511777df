"""Who may do what: users, roles, the one permission table, and the audit chain."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any

from fleet_tui.backend.records import dataclass


class Role(str, Enum):
    """What a person may do (spec 16.2)."""

    ROOT_ADMIN = "root-admin"
    """Everything."""
    ADMIN = "admin"
    """Everything but infrastructure secrets, ratios, VLANs, BMCs and users of a higher role."""
    OPERATOR = "operator"
    """Life cycle of instances and VMs, maintenance, operations, alerts."""
    AUDITOR = "auditor"
    """Reads everything, changes nothing."""
    MONITOR = "monitor"
    """Reads states, logs and figures; no audit, no settings values; changes nothing."""


OWNING: frozenset[Role] = frozenset(Role) - {Role.AUDITOR}
"""Roles that ownership adds rights to, on the thing owned alone (USR-4). An auditor changes nothing, also not what is theirs."""


class Permission(str, Enum):
    """Groups of methods; the table in ``permissions.py`` says which role has which."""

    STATES_READ = "states.read"
    SETTINGS_READ = "settings.read"
    INSTANCES_OPERATE = "instances.operate"
    INSTANCES_DELETE = "instances.delete"
    TEMPLATES_EDIT = "templates.edit"
    VMS_OPERATE = "vms.operate"
    HOSTS_OPERATE = "hosts.operate"
    """Enable, disable, reconnect, maintain."""
    HOSTS_EDIT = "hosts.edit"
    """Add and remove zones, pods, clusters, hosts and offerings."""
    HOSTS_FORCE = "hosts.force"
    """Stop VMs that cannot move, declare a host degraded, remove it by force."""
    NETWORKS_EDIT = "networks.edit"
    """Create and delete guest networks and their offerings, without naming a VLAN."""
    VLANS_READ = "vlans.read"
    """Physical networks and VLAN IDs: nobody else ever learns one."""
    VLANS_EDIT = "vlans.edit"
    USERS_READ = "users.read"
    USERS_EDIT = "users.edit"
    AUDIT_READ = "audit.read"
    SITE_ADMIN = "site.admin"
    AGENT = "agent"
    """Not a person's: the caller proves itself with a token or key."""


@dataclass(frozen=True, slots=True)
class OpenSession:
    """Begin a session: the daemon remembers that it is read-only, whatever the caller says later."""

    read_only: bool = False
    terminal: str = ""
    client: str = "fleet"


@dataclass(frozen=True, slots=True)
class SessionRecord:
    id: str
    user: str
    role: Role
    read_only: bool
    site: str
    simulated: bool
    daemon_version: str
    permissions: tuple[str, ...]
    """Permissions this session really has: role, less what read-only takes away."""
    cursor: int = 0
    """Event cursor at opening."""


@dataclass(frozen=True, slots=True)
class MakeReadOnly:
    """Turn the caller's own session read-only. There is no way back."""


@dataclass(frozen=True, slots=True)
class UserRecord:
    name: str
    role: Role
    uid: int | None
    display_name: str
    state: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ListUsers:
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class PutUser:
    """Add a user, or change one."""

    name: str
    role: Role
    uid: int | None = None
    display_name: str = ""
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class RemoveUser:
    name: str


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One link of the chain: a call that would change something, allowed or denied, and how it came out."""

    seq: int
    time: datetime
    user: str
    role: str
    session: str
    source: str
    action: str
    object: str
    parameters: Mapping[str, Any]
    decision: str
    """``allowed`` or ``denied: rule``; ``outcome`` for the record that completes an earlier one."""
    operation_id: str | None
    result: str
    completes: int | None
    hash: str


@dataclass(frozen=True, slots=True)
class ListAudit:
    limit: int = 200
    before: int | None = None
    user: str = ""
    object: str = ""


@dataclass(frozen=True, slots=True)
class VerifyAudit:
    """Recompute the chain."""


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    intact: bool
    records: int
    first_broken: int | None
    message: str
