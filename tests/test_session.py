"""Finding the daemon, starting it, and the session over it."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_tui import session as sessions
from fleet_tui import settings as preferences
from fleet_tui.backend.api import embedded
from fleet_tui.backend.errors import Busy, InternalError, ReadOnly, Unreachable, UsageError
from fleet_tui.backend.events import EventBatch, EventsAfter
from fleet_tui.backend.instances import CreateInstance, ProvisionInstance
from fleet_tui.backend.instances.profiles import ListTemplates
from fleet_tui.backend.store import Store, sqlite_url
from fleet_tui.settings import Settings
from tests.doors import Door
from tests.waiting import until


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A home of its own, in which ``fleetd`` is the stub. Whatever was started there is ended."""
    interpreter = tmp_path / "python"
    interpreter.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).parent / "stub_daemon.py"} "$@"\n')
    interpreter.chmod(0o755)
    monkeypatch.setattr(embedded.sys, "executable", str(interpreter))
    monkeypatch.setenv("FLEET_HOME", str(tmp_path))
    found = preferences.load()
    yield found
    embedded.stop(found.directories, 20.0)


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    store = Store(sqlite_url(tmp_path / "fleet.db"))
    store.create_all()
    door = Door(store, tmp_path / "run" / "fleetd.sock")
    yield door.open()
    door.close()
    store.close()


def test_a_daemon_is_started_once_and_said_so(home: Settings) -> None:
    said: list[str] = []
    path = sessions.ensure(home, say=said.append)
    pid = embedded.holder(home.directories)
    assert path == home.directories.socket
    assert said == [f"started fleetd (pid {pid}), state in {home.directories.state}"]
    assert sessions.ensure(home, say=said.append) == path
    assert len(said) == 1


def test_two_consoles_at_once_share_one_daemon(home: Settings) -> None:
    said: list[str] = []
    gate = threading.Barrier(4)

    def begin() -> None:
        gate.wait(10)
        sessions.ensure(home, say=said.append)

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len((home.directories.state / "starts").read_text().splitlines()) == 1, "the others wait for it"
    assert said == [f"started fleetd (pid {embedded.holder(home.directories)}), state in {home.directories.state}"]


def test_a_daemon_that_dies_leaves_its_last_words(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUB_DAEMON", "die")
    with pytest.raises(InternalError, match="status 7") as caught:
        sessions.ensure(home)
    assert caught.value.details["log"] == ["the database is on fire ·[31m"]


def test_one_that_never_answers_is_given_up(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "answers", lambda _path: False)
    with pytest.raises(embedded.TimedOut, match="does not answer"):
        embedded.start(home.directories, timeout_s=0.3)
    until(lambda: embedded.holder(home.directories))  # it is there all the same, and the fixture ends it


def test_one_that_gets_on_is_waited_for_and_said_what_for(home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUB_DAEMON", "slow")
    monkeypatch.setattr(embedded, "_QUIET_S", 0.0)
    begun = time.monotonic()
    said: list[str] = []

    def hear(text: str) -> None:
        said.append(text)
        if time.monotonic() - begun > 4.0:  # twice as long as one without a word would be waited for
            (tmp_path / "go").touch()

    assert embedded.start(home.directories, timeout_s=2.0, say=hear) == embedded.holder(home.directories)
    assert all(text.startswith("waiting for fleetd: ") for text in said) and len(set(said)) == len(said)


def test_one_that_dies_after_a_while_is_missed_at_once(home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUB_DAEMON", "slow")
    monkeypatch.setattr(embedded, "_QUIET_S", 0.0)

    def hear(text: str) -> None:
        if ": part " in text:
            (tmp_path / "die").touch()

    with pytest.raises(InternalError, match="status 7") as caught:
        embedded.start(home.directories, timeout_s=60.0, say=hear)
    assert any(": part " in line for line in caught.value.details["log"])


def test_one_that_works_without_a_word_is_waited_for(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    worked = iter(range(1000))
    monkeypatch.setattr(embedded, "_processor_s", lambda _pid: float(next(worked)))
    answers = iter([False] * 30)
    monkeypatch.setattr(embedded, "answers", lambda path: next(answers, True))
    assert embedded.start(home.directories, timeout_s=0.3) == embedded.holder(home.directories)


def test_who_comes_while_a_daemon_ends_gets_the_next_one(home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUB_DAEMON", "lingering")
    sessions.ensure(home, say=lambda _text: None)
    first = embedded.holder(home.directories)
    assert first
    os.kill(first, signal.SIGTERM)
    until(lambda: not embedded.answers(home.directories.socket))
    waiting = threading.Event()
    monkeypatch.setattr(embedded, "_QUIET_S", 0.0)
    said: list[str] = []

    def hear(text: str) -> None:
        said.append(text)
        waiting.set()

    coming = threading.Thread(target=lambda: sessions.ensure(home, say=hear))
    coming.start()
    assert waiting.wait(20)
    assert embedded.holder(home.directories) == first
    (tmp_path / "end").touch()
    coming.join(30)
    second = embedded.holder(home.directories)
    assert second and second != first and said[-1] == f"started fleetd (pid {second}), state in {home.directories.state}"


def test_stopping_waits_for_the_end(home: Settings) -> None:
    sessions.ensure(home, say=lambda _text: None)
    pid = embedded.holder(home.directories)
    assert pid
    assert embedded.stop(home.directories) == pid
    assert embedded.holder(home.directories) is None
    assert embedded.stop(home.directories) is None


def test_a_daemon_is_not_started_against_ones_will(home: Settings) -> None:
    with pytest.raises(Unreachable, match="no fleetd answers"):
        sessions.ensure(dataclasses.replace(home, start_daemon=False))
    assert not (home.directories.state / "starts").exists()


@pytest.mark.parametrize("named", ["socket", "home"])
def test_a_site_is_named_by_socket_or_home(door: Door, tmp_path: Path, named: str) -> None:
    place = door.path if named == "socket" else tmp_path
    assert sessions.ensure(Settings(site=str(place))) == door.path


def test_a_named_site_is_never_started(home: Settings) -> None:
    with pytest.raises(Unreachable):
        sessions.ensure(dataclasses.replace(home, site=str(home.directories.state)))
    with pytest.raises(UsageError):
        sessions.ensure(dataclasses.replace(home, site="https://far.away:6977"))
    assert not (home.directories.state / "starts").exists()


def test_the_machines_own_daemon_comes_before_the_users(door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "SYSTEM_SOCKET", door.path)
    elsewhere = preferences.load({"HOME": str(tmp_path / "user")})
    assert sessions.ensure(elsewhere) == door.path
    with pytest.raises(Unreachable):
        sessions.ensure(dataclasses.replace(elsewhere, isolated=True, start_daemon=False))


def test_a_request_gets_an_id_so_that_it_is_never_done_twice(door: Door) -> None:
    seen: list[ProvisionInstance] = []

    def provision(_caller: object, request: ProvisionInstance) -> object:
        seen.append(request)
        raise Busy("reached")

    door.close()
    door.handlers["instance.provision"] = provision
    door.open()
    session = sessions.connect(Settings(site=str(door.path)))
    for request in (ProvisionInstance(target="a"), ProvisionInstance(target="a", request_id="r-mine")):
        with pytest.raises(Busy):
            session.submit(request)
    assert seen[0].request_id.startswith("r-")
    assert seen[1].request_id == "r-mine"


def test_a_session_knows_who_it_is_and_can_give_up_its_rights(door: Door) -> None:
    session = sessions.connect(Settings(site=str(door.path)))
    assert (session.record.user, session.record.cursor, session.read_only) == ("tester", 41, False)
    assert session.make_read_only().read_only
    assert session.read_only
    with pytest.raises(ReadOnly):
        session.submit(CreateInstance(label="x"))


def test_what_was_asked_ahead_answers_that_question_once_and_not_for_long(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    door.close()
    door.handlers["templates.list"] = lambda caller, request: asked.append(request) or ()
    door.open()
    session = sessions.connect(Settings(site=str(door.path)))
    session.fetch_ahead(ListTemplates(5))
    assert (session.fetch(ListTemplates(6)), len(asked)) == ((), 2)
    assert (session.fetch(ListTemplates(5)), len(asked)) == ((), 2)
    assert (session.fetch(ListTemplates(5)), len(asked)) == ((), 3)
    monkeypatch.setattr(sessions, "AHEAD_S", -1.0)
    session.fetch_ahead(ListTemplates(5))
    session.fetch(ListTemplates(5))
    assert asked == [ListTemplates(5), ListTemplates(6), *[ListTemplates(5)] * 3]


def test_events_come_by_waiting_and_by_following(door: Door) -> None:
    door.close()
    door.handlers["events.after"] = lambda caller, request: EventBatch((), request.cursor + 1)
    door.open()
    session = sessions.connect(Settings(site=str(door.path)))
    assert session.events_after(6).cursor == 7
    follow = session.follow(EventsAfter(cursor=6))
    assert [next(follow).cursor for _ in range(3)] == [7, 8, 9]
    follow.close()  # type: ignore[attr-defined]


def test_the_interface_loads_no_sdk() -> None:
    import subprocess

    heavy = "{'sqlalchemy', 'pydantic', 'aiohttp', 'dbos', 'cryptography', 'psutil', 'textual', 'rich', 'asyncio', 'http.client'}"
    program = f"import sys, fleet_tui.cli, fleet_tui.session; print(sorted({heavy} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout.strip() == "[]"
