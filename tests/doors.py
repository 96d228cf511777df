"""A real door on a real socket, with handlers made up by the test."""

from __future__ import annotations

import dataclasses
import os
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from sqlalchemy import update

from fleet_tui.backend.api import METHODS
from fleet_tui.backend.api.client import Client
from fleet_tui.backend.api.dispatch import Dispatcher, Handler
from fleet_tui.backend.api.people import People
from fleet_tui.backend.api.server import Server, UnixListener
from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.errors import Busy
from fleet_tui.backend.identity import AuditRecord, ListAudit, Role
from fleet_tui.backend.identity.audit import Audit
from fleet_tui.backend.identity.caller import Caller
from fleet_tui.backend.identity.rows import UserRow
from fleet_tui.backend.identity.users import Users
from fleet_tui.backend.store import Store

ROOT = Caller(user="somebody", role=Role.ROOT_ADMIN, uid=-2)


def reached(_caller: Caller, _request: Any) -> Any:
    """Stands for any handler: proves by its error that the call came through."""
    raise Busy("reached")


class Door:
    """Server, dispatcher and identity over one store. The test's own uid is ``tester``, root-admin until told otherwise."""

    def __init__(self, store: Store, socket: Path, handlers: Mapping[str, Handler] | None = None, mode: int = 0o600) -> None:
        self.store, self.path, self.mode = store, socket, mode
        self.users, self.audit = Users(store, SystemClock()), Audit(store, SystemClock())
        self.users.bootstrap(os.getuid(), "tester")
        people = People(self.users, self.audit, site="test", simulated=False, version="0", cursor=lambda: 41)
        made_up = {name: reached for name, method in METHODS.items() if not method.stream}
        self.handlers: dict[str, Handler] = {**made_up, **people.handlers(), **(handlers or {})}
        self.health: Callable[[], tuple[str, ...]] = tuple
        self._server: Server | None = None

    def open(self) -> Door:
        dispatcher = Dispatcher(self.handlers, self.users, self.audit)
        self._server = Server(dispatcher, health=lambda: self.health(), grace_s=2.0)
        self._server.start([UnixListener(self.path, self.mode)])
        return self

    def close(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None

    def client(self, **options: Any) -> Client:
        return Client(self.path, **options)

    def become(self, role: Role) -> None:
        """Give the test's user another role; it holds from the next call on."""
        with self.store.write() as tx:
            tx.execute(update(UserRow).where(UserRow.uid == os.getuid()).values(role=role.value))

    def records(self) -> list[AuditRecord]:
        """The audit, oldest first."""
        return list(reversed(self.audit.find(ListAudit(limit=10_000), ROOT)))


def example(request: type) -> Any:
    """Some valid request of a type."""
    hints = typing.get_type_hints(request)
    needed = (
        field for field in dataclasses.fields(request)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    )
    return request(**{field.name: _value(hints[field.name]) for field in needed})


def _value(hint: Any) -> Any:
    if isinstance(hint, type) and issubclass(hint, Enum):
        return next(iter(reversed(hint)))
    return {str: "x", int: 1, float: 1.0, bool: False}.get(hint, {})
