"""The door as a caller meets it: a real client, a real socket, handlers of the test's own."""

from __future__ import annotations

import json
import logging
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from fleet_tui.backend.api import METHODS, DescribeSite, Done, SiteRecord, server
from fleet_tui.backend.api.connection import Connection
from fleet_tui.backend.api.method import Method
from fleet_tui.backend.api.sockets import answers
from fleet_tui.backend.api.wire import dump
from fleet_tui.backend.errors import Busy, FleetError, InternalError, InvalidInput, NotFound, PermissionDenied, ReadOnly, Unreachable
from fleet_tui.backend.events import Event, EventBatch, EventsAfter
from fleet_tui.backend.identity import ListAudit, MakeReadOnly, PutUser, Role, VerifyAudit
from fleet_tui.backend.identity.permissions import allows
from fleet_tui.backend.identity.rows import SessionRow, UserRow
from fleet_tui.backend.instances import CreateInstance, DeleteInstance, ProvisionInstance, SetupAction
from fleet_tui.backend.instances.profiles import PutTemplate
from fleet_tui.backend.operations import Submitted
from fleet_tui.backend.store import Store, sqlite_url
from fleet_tui.backend.telemetry import Hello, LineBatch, LogLine, ReadLines
from tests.doors import Door, example
from tests.waiting import until

CHANGES = [method for method in METHODS.values() if not method.read and method.permission.value != "agent"]
SITE = SiteRecord("test", False, "0", 1, 0.0, "sqlite", "/nowhere", "1")


def post(door: Door, target: str, body: bytes = b"{}", **headers: str) -> tuple[int, Any]:
    connection = Connection(door.path)
    try:
        status, data = connection.post(target, {name.replace("_", "-"): value for name, value in headers.items()}, body, 10.0)
        return status, json.loads(data) if data[:1] in b"{[" else data
    finally:
        connection.close()


def test_a_call_reaches_its_handler_with_a_known_caller(door: Door) -> None:
    seen = []
    door.close()
    door.handlers["site.describe"] = lambda caller, request: seen.append((caller, request)) or SITE
    door.open()
    assert door.client().call(DescribeSite()) == SITE
    caller, request = seen[0]
    assert (caller.user, caller.role, caller.uid) == ("tester", Role.ROOT_ADMIN, os.getuid())
    assert f"pid {os.getpid()}" in caller.source
    assert request == DescribeSite()


def test_the_socket_is_its_owners_alone(door: Door) -> None:
    assert stat.S_IMODE(door.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(door.path.parent.stat().st_mode) == 0o700
    door.close()
    assert not door.path.exists()


@pytest.mark.parametrize("role", list(Role), ids=lambda role: role.value)
@pytest.mark.parametrize("method", CHANGES, ids=lambda method: method.name)
def test_each_change_is_allowed_or_denied_by_role_and_recorded(door: Door, role: Role, method: Method) -> None:
    door.close()
    door.handlers.update({one.name: _refuse for one in CHANGES})
    door.open()
    door.become(role)
    expected = Busy if allows(role, method.permission) else PermissionDenied
    with pytest.raises(expected):
        door.client(with_session=False).call(example(method.request))
    records = door.records()
    assert records[0].action == method.name
    assert records[0].role == role.value
    if expected is PermissionDenied:
        assert [record.decision for record in records] == [f"denied: role {role.value} has no {method.permission.value}"]
    else:
        assert [record.decision for record in records] == ["allowed", "outcome"]
        assert records[1].completes == records[0].seq
        assert records[1].result.startswith("busy")
    if role in (Role.AUDITOR, Role.MONITOR):
        assert expected is PermissionDenied


def test_a_connection_cut_over_the_outcome_records_it_once(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    """As PostgreSQL cuts one on which a daemon that was frozen said nothing for too long; whether it had committed is not known."""
    door.close()
    door.handlers["users.put"] = _refuse
    door.open()
    committed: list[int] = []

    def cut(_tx: Any) -> None:
        committed.append(len(door.records()))
        if len(committed) == 2:
            raise OperationalError(None, None, Exception("server closed the connection unexpectedly"))

    door.store.on_commit.append(cut)
    with pytest.raises(Busy, match="reached"):
        door.client(with_session=False).call(PutUser("ada", Role.ADMIN))
    door.store.on_commit.remove(cut)
    assert [record.decision for record in door.records()] == ["allowed", "outcome"]
    assert len(committed) == 3 and not caplog.records


def test_a_database_that_is_away_is_said_and_no_bug(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    def away(_caller: Any, _request: Any) -> Any:
        raise OperationalError(None, None, Exception("server closed the connection unexpectedly"))

    door.close()
    door.handlers["site.describe"] = away
    door.open()
    with pytest.raises(Unreachable, match=r"gave no answer to site\.describe"):
        door.client(with_session=False).call(DescribeSite())
    assert [record.levelname for record in caplog.records] == ["WARNING"] and not caplog.records[0].exc_info


def _refuse(_caller: Any, _request: Any) -> Any:
    raise Busy("reached")


@pytest.mark.parametrize("how", ["session", "header"])
@pytest.mark.parametrize("method", CHANGES, ids=lambda method: method.name)
def test_a_read_only_session_changes_nothing(door: Door, method: Method, how: str) -> None:
    client = door.client(read_only=True, with_session=how == "session")
    with pytest.raises(ReadOnly):
        client.call(example(method.request))
    assert door.records()[-1].decision == "denied: read-only session"


def test_reads_are_not_recorded_and_log_ins_are(door: Door) -> None:
    client = door.client()
    assert client.call(VerifyAudit()).intact
    assert [record.action for record in door.records()] == ["session.open", "session.open"]


def test_a_dry_run_is_no_change_to_record(door: Door) -> None:
    with pytest.raises(Busy):
        door.client(with_session=False).call(ProvisionInstance(target="web-1", dry_run=True))
    assert door.records() == []


def test_monitor_reads_states_but_neither_settings_nor_audit(door: Door) -> None:
    door.become(Role.MONITOR)
    client = door.client(with_session=False)
    with pytest.raises(PermissionDenied):
        client.call(ListAudit())
    status, found = post(door, "/v1/instances.settings", b"{}")
    assert (status, found["error"]["code"]) == (403, "permission_denied")
    status, found = post(door, "/v1/instances.list", b"{}")
    assert found["error"]["message"] == "reached"


def test_an_admin_sees_only_their_own_audit(door: Door) -> None:
    client = door.client(with_session=False)
    client.call(PutUser("other", Role.OPERATOR, uid=54321))
    door.become(Role.ADMIN)
    with door.store.write() as tx:
        tx.get(UserRow, "tester").uid = None  # type: ignore[union-attr]
        tx.flush()
        tx.get(UserRow, "other").uid = os.getuid()  # type: ignore[union-attr]
    assert client.call(ListAudit(user="tester")) == ()


def test_every_wrong_field_is_named(door: Door) -> None:
    status, found = post(door, "/v1/users.put", b'{"name": 3, "role": "king", "colour": "red"}')
    assert status == 400
    problems = {problem["field"]: problem["message"] for problem in found["error"]["details"]["problems"]}
    assert set(problems) == {"name", "role", "colour"}
    assert problems["colour"] == "there is no such field"


def test_a_wrong_field_deep_inside_is_named(door: Door) -> None:
    body = dump(PutTemplate("x", setup_actions=(SetupAction("k", "n", {}),))).replace(b'"enabled":true', b'"enabled":"yes"')
    _, found = post(door, "/v1/templates.put", body)
    assert [problem["field"] for problem in found["error"]["details"]["problems"]] == ["setup_actions.0.enabled"]


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff\xfe", b'{"name": "\\ud800"}', b"[" * 100_000])
def test_what_is_no_request_is_refused_in_a_sentence(door: Door, body: bytes) -> None:
    status, found = post(door, "/v1/users.put", body)
    assert (status, found["error"]["code"]) == (400, "invalid_input")


def test_a_denied_caller_learns_nothing_about_fields(door: Door) -> None:
    door.become(Role.MONITOR)
    status, found = post(door, "/v1/users.put", b'{"nonsense": 1}')
    assert (status, found["error"]["code"]) == (403, "permission_denied")


def test_a_body_beyond_the_limit_is_refused(door: Door) -> None:
    status, found = post(door, "/v1/users.put", b" " * (9 * 1024 * 1024))
    assert (status, found["error"]["code"]) == (400, "invalid_input")
    assert "8 MiB" in found["error"]["message"]


def test_a_request_id_of_the_daemons_own_is_refused(door: Door) -> None:
    """It would pass the limit of operations at once."""
    status, found = post(door, "/v1/instance.stop", b'{"target": "web-1", "request_id": "awaited:r-1"}')
    assert (status, found["error"]["code"]) == (400, "invalid_input") and "request_id" in str(found["error"])


@pytest.mark.parametrize(("target", "code"), [("/v1/nothing.there", "not_found"), ("/", "not_found"), ("/v1/", "not_found")])
def test_what_is_not_there_is_not_found(door: Door, target: str, code: str) -> None:
    assert post(door, target)[1]["error"]["code"] == code


def test_a_bug_gives_a_reference_and_the_log_the_trace(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    def broken(_caller: Any, _request: Any) -> Any:
        raise ZeroDivisionError("the secret inside")

    door.close()
    door.handlers["instances.create"] = broken
    door.open()
    with caplog.at_level(logging.ERROR, "fleetd.door"), pytest.raises(InternalError) as caught:
        door.client(with_session=False).call(CreateInstance(label="x"))
    assert "secret" not in str(caught.value.as_json())
    assert caught.value.details["reference"] in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert door.records()[-1].result == "internal"


def test_without_an_audit_record_nothing_is_done(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    done = []
    door.close()
    door.handlers["instances.create"] = lambda caller, request: done.append(request)
    door.open()

    def full(*_arguments: Any, **_named: Any) -> int:
        raise OSError("disk full")

    monkeypatch.setattr(door.audit, "record", full)
    with pytest.raises(InternalError, match="audit record could not be written"):
        door.client(with_session=False).call(CreateInstance(label="x"))

    def lost(*_arguments: Any, **_named: Any) -> int:
        raise OperationalError(None, None, OSError("database or disk is full"))

    monkeypatch.setattr(door.audit, "record", lost)
    with pytest.raises(ReadOnly, match="audit record could not be written"):
        door.client(with_session=False).call(CreateInstance(label="x"))
    assert done == []


def test_secrets_do_not_reach_the_audit(door: Door) -> None:
    settings = {"db_password": "hunter2", "nested": [{"name": "API_TOKEN", "value": "hunter2"}], "notes": "plain\x1b[31m", "pasword": "hunter2"}
    with pytest.raises(Busy):
        door.client(with_session=False).call(CreateInstance(label="x", settings=settings))
    kept = door.records()[0].parameters
    assert "hunter2" not in json.dumps(kept)
    assert kept["settings"]["db_password"] == "••••"
    assert kept["settings"]["notes"] == "plain·[31m"


def test_the_outcome_names_the_operation(door: Door) -> None:
    from tests.fleet_stub import operation

    door.close()
    door.handlers["instance.delete"] = lambda caller, request: Submitted(operation("o-77", "web-1"))
    door.open()
    door.client(with_session=False).call(DeleteInstance(target="web-1", confirm="web-1"))
    begun, outcome = door.records()
    assert (begun.object, begun.operation_id) == ("web-1", None)
    assert (outcome.operation_id, outcome.result) == ("o-77", "ok")


def test_agents_need_no_user(door: Door) -> None:
    with door.store.write() as tx:
        tx.delete(tx.get(UserRow, "tester"))
    hello = Hello(machine="m", boot="b", token="t", clock=1.0, pid=1, agent_version="1")
    with pytest.raises(Busy):
        door.client(with_session=False).call(hello)
    assert door.records() == []
    body = dump(hello)[:-1] + b',"newer":1}'
    assert post(door, "/v1/agent.hello", body)[1]["error"]["message"] == "reached"


def test_an_unmapped_user_is_told_whom_to_ask_and_recorded_once(door: Door) -> None:
    with door.store.write() as tx:
        tx.get(UserRow, "tester").uid = None  # type: ignore[union-attr]
    for _ in range(3):
        with pytest.raises(PermissionDenied) as caught:
            door.client(with_session=False).call(DescribeSite())
    assert "ask tester" in caught.value.hint
    assert [record.user for record in door.records()] == [f"uid:{os.getuid()}"]


_STRANGER = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
s.sendall(b"POST /v1/site.describe HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\n{}")
sys.stdout.write(s.makefile().read())
"""


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become somebody else")
def test_another_user_is_known_by_the_kernels_word() -> None:
    with tempfile.TemporaryDirectory(prefix="door") as name:
        home = Path(name)
        home.chmod(0o755)
        store = Store(sqlite_url(home / "fleet.db"))
        store.create_all()
        door = Door(store, home / "open.sock", mode=0o666).open()
        try:
            said = subprocess.run([sys.executable, "-c", _STRANGER, str(door.path)], capture_output=True, text=True, timeout=30, check=True)
            assert "403" in said.stdout.splitlines()[0]
            assert "uid 65534" in said.stdout
            door.users.put(PutUser("stranger", Role.MONITOR, uid=65534), replace(_root(), user="tester"))
            said = subprocess.run([sys.executable, "-c", _STRANGER, str(door.path)], capture_output=True, text=True, timeout=30, check=True)
            assert "reached" in said.stdout
        finally:
            door.close()
            store.close()


def _root() -> Any:
    from tests.doors import ROOT

    return ROOT


def test_a_role_taken_away_holds_from_the_next_call(door: Door) -> None:
    client = door.client()
    client.call(VerifyAudit())
    door.become(Role.MONITOR)
    with pytest.raises(PermissionDenied):
        client.call(VerifyAudit())


def test_read_only_is_one_way_and_outlives_the_daemon(door: Door) -> None:
    client = door.client()
    assert client.record.read_only is False
    assert client.call(MakeReadOnly()).read_only is True
    assert "instances.operate" not in client.record.permissions
    door.close()
    door.open()
    with pytest.raises(ReadOnly):
        client.call(CreateInstance(label="x"))
    status, found = post(door, "/v1/instances.create", dump(CreateInstance(label="x")), Fleet_Session=client.record.id)
    assert (status, found["error"]["code"]) == (403, "read_only")


def test_a_forgotten_session_is_opened_again_as_it_was(door: Door) -> None:
    client = door.client()
    before = client.record.id
    client.call(MakeReadOnly())
    with door.store.write() as tx:
        tx.delete(tx.get(SessionRow, before))
    with pytest.raises(ReadOnly):
        client.call(CreateInstance(label="x"))
    assert client.record.id != before


def test_a_session_belongs_to_its_user(door: Door) -> None:
    session = door.client().record.id
    with door.store.write() as tx:
        tx.get(SessionRow, session).uid = 4242  # type: ignore[union-attr]
    status, found = post(door, "/v1/audit.verify", Fleet_Session=session)
    assert (status, found["error"]["code"]) == (401, "auth_failed")


def test_waiting_readers_do_not_hold_up_calls(door: Door) -> None:
    news, waiting = threading.Event(), []

    def after(_caller: Any, request: EventsAfter) -> EventBatch:
        waiting.append(1)
        news.wait(request.wait_s)
        return EventBatch((), request.cursor + 1 if news.is_set() else request.cursor)

    door.close()
    door.handlers.update({"events.after": after, "site.describe": lambda caller, request: SITE})
    door.open()
    client = door.client()
    with ThreadPoolExecutor(100) as pool:
        polls = [pool.submit(client.call, EventsAfter(cursor=1, wait_s=30.0)) for _ in range(50)]
        until(lambda: len(waiting) == 50)
        calls = [pool.submit(client.call, DescribeSite()) for _ in range(50)]
        assert all(call.result(20.0) == SITE for call in calls)
        assert not any(poll.done() for poll in polls)
        news.set()
        assert [poll.result(20.0).cursor for poll in polls] == [2] * 50


def test_stopping_ends_the_waits(door: Door) -> None:
    begun, release = threading.Event(), threading.Event()

    def after(_caller: Any, request: EventsAfter) -> EventBatch:
        begun.set()
        release.wait(20.0)
        return EventBatch((), request.cursor)

    door.close()
    door.handlers["events.after"] = after
    door.open()
    with ThreadPoolExecutor(1) as pool:
        poll = pool.submit(door.client(with_session=False).call, EventsAfter(cursor=1, wait_s=30.0))
        assert begun.wait(10.0)
        door.close()
        with pytest.raises(Unreachable):
            poll.result(10.0)
        release.set()


def test_a_stream_goes_on_from_where_it_was(door: Door) -> None:
    def read(_caller: Any, request: ReadLines) -> LineBatch:
        first = 1 if request.tail else request.after + 1
        lines = tuple(_line(seq) for seq in range(first, min(first + 2, 6)))
        return LineBatch(lines, lines[-1].seq if lines else request.after)

    door.close()
    door.handlers["lines.read"] = read
    door.open()
    stream = door.client().stream("lines.follow", ReadLines(target="web-1", tail=2))
    seen: list[int] = []
    for batch in stream:
        seen += [line.seq for line in batch.lines]
        if len(seen) >= 5:
            break
    stream.close()  # type: ignore[attr-defined]
    assert seen == [1, 2, 3, 4, 5]


def test_a_stream_ends_when_its_reader_may_not_read_any_more(door: Door) -> None:
    def after(_caller: Any, request: EventsAfter) -> EventBatch:
        return EventBatch((Event(request.cursor + 1, _line(1).time, "info", "t", "r:1", None, None, ""),), request.cursor + 1)

    door.close()
    door.handlers["events.after"] = after
    door.open()
    stream: Iterator[EventBatch] = door.client(with_session=False).stream("events.follow", EventsAfter(cursor=1))
    next(stream)
    with door.store.write() as tx:
        tx.get(UserRow, "tester").state = "disabled"  # type: ignore[union-attr]
    with pytest.raises(FleetError, match="disabled"):
        for _ in stream:
            pass


def _line(seq: int) -> LogLine:
    from datetime import datetime, timezone

    return LogLine(seq, datetime(2026, 1, 1, tzinfo=timezone.utc), "worker", "p", "info", f"line {seq}")


def test_health_names_what_fails(door: Door) -> None:
    import socket

    def ask() -> str:
        with socket.socket(socket.AF_UNIX) as plain:
            plain.connect(str(door.path))
            plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return plain.makefile().read()

    assert ask().endswith("ok\n")
    door.health = lambda: ("database",)
    assert "503" in ask().splitlines()[0]
    assert ask().endswith("failing: database\n")


def test_nobody_there_is_said_with_what_to_do(tmp_path: Path, door: Door) -> None:
    door.close()
    with pytest.raises(Unreachable) as caught:
        door.client().call(DescribeSite())
    assert "fleet daemon start" in caught.value.hint


@pytest.mark.parametrize("gone", ["socket", "folder"])
def test_a_socket_that_somebody_removed_is_there_again(door: Door, monkeypatch: pytest.MonkeyPatch, gone: str) -> None:
    door.close()
    monkeypatch.setattr(server, "LOOK_S", 0.02)
    door.open()
    kept = door.client()
    assert kept.record.user == "tester"
    door.path.unlink()
    if gone == "folder":
        door.path.parent.rmdir()
    until(lambda: answers(door.path), what="it can be found again")
    assert stat.S_IMODE(door.path.stat().st_mode) == 0o600
    assert kept.call(ListAudit(limit=1)), "over the old one"
    assert door.client().record.user == "tester"
    door.close()
    assert not door.path.exists()


def test_where_many_wait_to_be_let_in_one_waits_too(tmp_path: Path) -> None:
    place = tmp_path / "busy.sock"
    with socket.socket(socket.AF_UNIX) as busy, ExitStack() as waiting:
        busy.bind(str(place))
        busy.listen(0)
        with pytest.raises(BlockingIOError):
            while True:
                one = waiting.enter_context(socket.socket(socket.AF_UNIX))
                one.setblocking(False)
                one.connect(str(place))
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(answers, place, 30.0)
            until(lambda: busy.accept()[0].close() or coming.done())
            assert coming.result(timeout=30)


def test_three_hundred_callers_at_once_are_let_in(door: Door) -> None:
    """More than the event loop's own idea of how many may wait."""
    with ExitStack() as calling:
        for _ in range(300):
            one = calling.enter_context(socket.socket(socket.AF_UNIX))
            one.setblocking(False)
            one.connect(str(door.path))


def test_a_socket_deep_down_is_reached(tmp_path: Path) -> None:
    store = Store(sqlite_url(tmp_path / "fleet.db"))
    store.create_all()
    deep = tmp_path / ("d" * 60) / ("e" * 60) / "fleetd.sock"
    assert len(str(deep)) > 107
    door = Door(store, deep, {"site.describe": lambda caller, request: SITE}).open()
    try:
        assert door.client().call(DescribeSite()) == SITE
    finally:
        door.close()
        store.close()


def test_a_kept_connection_survives_a_restart_of_the_daemon(door: Door) -> None:
    client = door.client()
    client.call(VerifyAudit())
    door.close()
    door.open()
    assert client.call(VerifyAudit()).intact


def test_a_method_without_a_handler_is_not_found(door: Door) -> None:
    door.close()
    del door.handlers["templates.put"]
    door.open()
    with pytest.raises(NotFound):
        door.client().call(PutTemplate("x"))


def test_a_reply_that_is_no_record_still_ends_the_call(door: Door) -> None:
    door.close()
    door.handlers["users.remove"] = lambda caller, request: object()
    door.open()
    status, found = post(door, "/v1/users.remove", b'{"name": "x"}')
    assert (status, found["error"]["code"]) == (500, "internal")


def test_invalid_input_keeps_its_problems_across_the_door(door: Door) -> None:
    with pytest.raises(InvalidInput) as caught:
        door.client().call(PutUser("Not A Name", Role.MONITOR))
    assert [problem.field for problem in caught.value.problems] == ["name"]
    assert door.client().call(PutUser("fine", Role.MONITOR, uid=777)).name == "fine"
    assert Done() == Done("")
