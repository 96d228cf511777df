"""The one table of who may do what (spec 16.2). Checked in the daemon on every call; hiding in a console is cosmetic."""

from __future__ import annotations

from collections.abc import Mapping

from fleet_tui.backend.identity import Permission as P
from fleet_tui.backend.identity import Role

_READS = frozenset({P.STATES_READ, P.SETTINGS_READ, P.VLANS_READ, P.USERS_READ, P.AUDIT_READ})
_OPERATOR = frozenset({P.STATES_READ, P.SETTINGS_READ, P.INSTANCES_OPERATE, P.VMS_OPERATE, P.HOSTS_OPERATE, P.AUDIT_READ})
_ADMIN = _OPERATOR | {P.INSTANCES_DELETE, P.TEMPLATES_EDIT, P.HOSTS_EDIT, P.HOSTS_FORCE, P.NETWORKS_EDIT, P.USERS_READ, P.USERS_EDIT}

ROLES: Mapping[Role, frozenset[P]] = {
    Role.ROOT_ADMIN: frozenset(P) - {P.AGENT},
    Role.ADMIN: _ADMIN,
    Role.OPERATOR: _OPERATOR,
    Role.AUDITOR: _READS,
    Role.MONITOR: frozenset({P.STATES_READ}),
}
"""Permissions of each role. Admins and operators read only their own entries of the audit, see :data:`WHOLE_AUDIT`."""

CHANGES: frozenset[P] = frozenset({
    P.INSTANCES_OPERATE, P.INSTANCES_DELETE, P.TEMPLATES_EDIT, P.VMS_OPERATE, P.HOSTS_OPERATE, P.HOSTS_EDIT, P.HOSTS_FORCE, P.NETWORKS_EDIT,
    P.VLANS_EDIT, P.USERS_EDIT, P.SITE_ADMIN,
})
"""What a read-only session loses, whatever its role."""

WHOLE_AUDIT: frozenset[Role] = frozenset({Role.ROOT_ADMIN, Role.AUDITOR})
"""Roles that read everybody's audit records."""

_RANK: Mapping[Role, int] = {Role.MONITOR: 0, Role.AUDITOR: 0, Role.OPERATOR: 1, Role.ADMIN: 2, Role.ROOT_ADMIN: 3}


def allows(role: Role, permission: P) -> bool:
    return permission in ROLES[role]


def may_govern(role: Role, other: Role) -> bool:
    """Whether ``role`` may give, change or take away ``other``: root-admins all, everybody else only lower ones."""
    return role is Role.ROOT_ADMIN or _RANK[role] > _RANK[other]


def effective(role: Role, read_only: bool) -> tuple[str, ...]:
    """What a session can really do, sorted, for the console to dim by."""
    granted = ROLES[role] - (CHANGES if read_only else frozenset())
    return tuple(sorted(permission.value for permission in granted))
