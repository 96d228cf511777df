"""Handlers of the methods about people: sessions, users, the audit. The daemon adds them to those of the other slices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from fleet_tui.backend.api import METHODS, Done
from fleet_tui.backend.api.dispatch import Handler
from fleet_tui.backend.identity import (
    AuditRecord,
    AuditVerdict,
    ListAudit,
    ListUsers,
    MakeReadOnly,
    OpenSession,
    Permission,
    PutUser,
    RemoveUser,
    SessionRecord,
    UserRecord,
    VerifyAudit,
)
from fleet_tui.backend.identity.audit import Audit
from fleet_tui.backend.identity.caller import Caller
from fleet_tui.backend.identity.permissions import allows, effective
from fleet_tui.backend.identity.users import Users


class People:
    """What a session is told about itself, and the registers of users and audit.

    Args:
        site: name of the site.
        simulated: whether its provider is the fake one.
        version: the daemon's.
        cursor: present cursor of the event feed.
    """

    def __init__(
        self, users: Users, audit: Audit, *, site: str, simulated: bool, version: str, cursor: Callable[[], int]
    ) -> None:
        self._users = users
        self._audit = audit
        self._site = site
        self._simulated = simulated
        self._version = version
        self._cursor = cursor

    def handlers(self) -> Mapping[str, Handler]:
        return {
            "session.open": self.open_session,
            "session.make_read_only": self.make_read_only,
            "users.list": self.list_users,
            "users.put": self.put_user,
            "users.remove": self.remove_user,
            "audit.list": self.list_audit,
            "audit.verify": self.verify_audit,
        }

    def open_session(self, caller: Caller, request: OpenSession) -> SessionRecord:
        return self._describe(caller, self._users.open_session(request, caller), request.read_only or caller.read_only)

    def make_read_only(self, caller: Caller, _request: MakeReadOnly) -> SessionRecord:
        self._users.make_read_only(caller)
        return self._describe(caller, caller.session, True)

    def list_users(self, _caller: Caller, request: ListUsers) -> tuple[UserRecord, ...]:
        return self._users.list(request)

    def put_user(self, caller: Caller, request: PutUser) -> UserRecord:
        return self._users.put(request, caller)

    def remove_user(self, caller: Caller, request: RemoveUser) -> Done:
        self._users.remove(request, caller)
        return Done(f"user {request.name} removed")

    def list_audit(self, caller: Caller, request: ListAudit) -> tuple[AuditRecord, ...]:
        found = self._audit.find(request, caller)
        return found if allows(caller.role, Permission.VLANS_READ) else tuple(_without_vlans(record) for record in found)

    def verify_audit(self, _caller: Caller, _request: VerifyAudit) -> AuditVerdict:
        return self._audit.verify()

    def _describe(self, caller: Caller, session: str, read_only: bool) -> SessionRecord:
        return SessionRecord(
            id=session, user=caller.user, role=caller.role, read_only=read_only, site=self._site, simulated=self._simulated,
            daemon_version=self._version, permissions=effective(caller.role, read_only), cursor=self._cursor(),
        )


def _without_vlans(record: AuditRecord) -> AuditRecord:
    """As somebody may read it who may not know a VLAN: also of what that person did while having a higher role."""
    method = METHODS.get(record.action)
    if method is None:
        return record
    if method.permission in _OF_VLANS:
        return replace(record, parameters={}, result=record.result.partition(":")[0])
    secret = {name for name, permission in method.also.items() if permission in _OF_VLANS}
    if not secret:
        return record
    kept = {name: value for name, value in record.parameters.items() if name not in secret}
    return replace(record, parameters=kept, result=record.result.partition(":")[0])


_OF_VLANS = frozenset({Permission.VLANS_READ, Permission.VLANS_EDIT})
