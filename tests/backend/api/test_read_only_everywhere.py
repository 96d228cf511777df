"""Who may only look cannot change anything by any call: every method that does not read, however it is asked for.

`test_door` tries each method by role and by session with a good request; here are the ways round it: other spellings of the same
method, requests that are no requests, dry runs, headers that contradict the session, and whether the table itself tells the truth.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from fleet_tui.backend.api import METHODS
from fleet_tui.backend.api.connection import Connection
from fleet_tui.backend.api.method import Method
from fleet_tui.backend.api.wire import dump, encode
from fleet_tui.backend.identity import MakeReadOnly, OpenSession, Permission, Role
from fleet_tui.backend.identity.permissions import CHANGES, ROLES, effective
from fleet_tui.backend.operations import OperationRequest
from tests.doors import Door, example

MUTATING = [method for method in METHODS.values() if not method.read and method.permission is not Permission.AGENT]
LOOKERS = (Role.AUDITOR, Role.MONITOR)


@pytest.fixture
def guarded(door: Door) -> tuple[Door, list[str]]:
    """The door, and the names of the changes that ever reached their handler."""
    reached: list[str] = []

    def note(name: str) -> Any:
        return lambda _caller, _request: reached.append(name)

    door.close()
    door.handlers.update({method.name: note(method.name) for method in MUTATING})
    return door.open(), reached


def test_the_table_and_the_permissions_agree() -> None:
    assert {method.permission for method in MUTATING} <= CHANGES
    assert not {method.permission for method in METHODS.values() if method.read} & CHANGES
    for role in LOOKERS:
        assert not ROLES[role] & CHANGES
    for role in Role:
        assert not set(effective(role, True)) & {permission.value for permission in CHANGES}
    assert all(method.read or method.danger != "safe" or method.permission is Permission.AGENT for method in METHODS.values())
    assert all(issubclass(method.request, OperationRequest) <= (not method.read) for method in METHODS.values())


def ask(door: Door, target: str, body: bytes, **headers: str) -> tuple[int, str]:
    connection = Connection(door.path)
    try:
        status, data = connection.post(target, {name.replace("_", "-"): value for name, value in headers.items()}, body, 10.0)
        return status, str(json.loads(data)["error"]["code"]) if status != 200 else ""
    finally:
        connection.close()


def bodies(method: Method) -> list[bytes]:
    """A good request, a dry run of it, and what is none."""
    good = dump(example(method.request))
    dry = dump({**encode(example(method.request)), "dry_run": True})
    return [good, dry, b"{}", b"", b"null", b"[" * 5000, b'{"read_only": false}', b"\xff"]


def spellings(name: str) -> list[str]:
    return [f"/v1/{name}?read=1", f"/v1/{quote(name, safe='').replace('.', '%2E')}", f"/v1//{name}", f"/v1/{name}/", f"/v1/x/../{name}", f"/v1/{name.upper()}"]


@pytest.mark.parametrize("role", LOOKERS, ids=lambda role: role.value)
def test_a_role_that_looks_reaches_no_change(guarded: tuple[Door, list[str]], role: Role) -> None:
    door, reached = guarded
    door.become(role)
    for method in MUTATING:
        for body in bodies(method):
            assert ask(door, f"/v1/{method.name}", body) == (403, "permission_denied"), (method.name, body[:40])
        for target in spellings(method.name):
            assert ask(door, target, bodies(method)[0])[1] in ("permission_denied", "not_found"), target
    assert reached == []


def test_a_read_only_session_reaches_no_change(guarded: tuple[Door, list[str]]) -> None:
    door, reached = guarded
    client = door.client()
    session = client.call(MakeReadOnly()).id
    for method in MUTATING:
        for body in bodies(method):
            assert ask(door, f"/v1/{method.name}", body, Fleet_Session=session) == (403, "read_only"), (method.name, body[:40])
        for target in spellings(method.name):
            assert ask(door, target, bodies(method)[0], Fleet_Session=session)[1] in ("read_only", "not_found"), target
        good = bodies(method)[0]
        for denied in ("0", "", "false", "no"):
            assert ask(door, f"/v1/{method.name}", good, Fleet_Session=session, Fleet_Read_Only=denied) == (403, "read_only")
        assert ask(door, f"/v1/{method.name}", good, fleet_session=session) == (403, "read_only")
        assert ask(door, f"/v1/{method.name}", good, Fleet_Session=f" {session} ") == (403, "read_only")
        assert ask(door, f"/v1/{method.name}", good, Fleet_Session=f"{session}x") == (401, "auth_failed")
    assert reached == []
    assert {record.decision for record in door.records() if record.action not in ("session.open", "session.make_read_only")} == {"denied: read-only session"}


def test_nothing_said_in_a_read_only_session_makes_it_writable(guarded: tuple[Door, list[str]]) -> None:
    door, reached = guarded
    client = door.client(read_only=True)
    session = client.record.id
    opened = client.call(OpenSession(read_only=False))
    assert opened.read_only
    assert not set(opened.permissions) & {permission.value for permission in CHANGES}
    door.become(Role.ROOT_ADMIN)
    for id_ in (session, opened.id):
        assert ask(door, "/v1/instances.create", dump(example(METHODS["instances.create"].request)), Fleet_Session=id_) == (403, "read_only")
    assert reached == []


def test_a_read_that_is_asked_to_act_takes_the_right_to(door: Door) -> None:
    """Testing a certificate calls hosts, name servers and the cloud, and keeps what it finds."""
    acting = {method.name for method in METHODS.values() if method.read and set(method.also.values()) & CHANGES}
    assert acting == {"instances.ssl"}
    looks, tests = (dump({"target": "web", "test": test}) for test in (False, True))
    for role in Role:
        door.become(role)
        may = "busy" if Permission.INSTANCES_OPERATE in ROLES[role] else "permission_denied"
        assert ask(door, "/v1/instances.ssl", looks)[1] == "busy" and ask(door, "/v1/instances.ssl", tests)[1] == may, role
    door.become(Role.ROOT_ADMIN)
    before = len(door.records())
    assert ask(door, "/v1/instances.ssl", tests)[1] == "busy" and len(door.records()) == before + 2, "what acts is on record"
    session = door.client(read_only=True).record.id
    assert ask(door, "/v1/instances.ssl", looks, Fleet_Session=session)[1] == "busy"
    assert ask(door, "/v1/instances.ssl", tests, Fleet_Session=session) == (403, "read_only")
