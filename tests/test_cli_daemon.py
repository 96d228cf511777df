"""``fleet daemon …`` acts on the daemon that every other command would reach, and on no other."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_tui import session as sessions
from fleet_tui.backend.api import embedded
from fleet_tui.backend.directories import Directories, find
from fleet_tui.backend.store import Store, sqlite_url
from fleet_tui.cli import main
from tests.doors import Door
from tests.test_cli import run


@pytest.fixture
def sites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Directories, Directories]]:
    """This user's own site and another one, in which ``fleetd`` is the stub; no machine's own daemon."""
    interpreter = tmp_path / "python"
    interpreter.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).parent / "stub_daemon.py"} "$@"\n')
    interpreter.chmod(0o755)
    monkeypatch.setattr(embedded.sys, "executable", str(interpreter))
    found = []
    for name in ("other", "mine"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv("FLEET_HOME", str(tmp_path / name))
        found.append(find())
        embedded.start(found[-1])
    other, mine = found
    yield mine, other
    for each in found:
        embedded.stop(each, 20.0)


@pytest.mark.parametrize("by", ["flag", "environment"])
def test_the_daemon_of_a_named_site_is_meant(
    sites: tuple[Directories, Directories], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    mine, other = sites
    if by == "environment":
        monkeypatch.setenv("FLEET_SITE", str(other.state))
    named = ["--site", str(other.state)] if by == "flag" else []
    kept, ended = embedded.holder(mine), embedded.holder(other)
    other.daemon_log.write_text("of the other\n")
    assert run(capsys, *named, "daemon", "logs", "--output", "text")[1] == "of the other\n"
    assert run(capsys, *named, "daemon", "stop") == (0, "", f"stopped fleetd (pid {ended})\n")
    assert (embedded.holder(mine), embedded.holder(other)) == (kept, None)
    code, _, said = run(capsys, *named, "daemon", "start")
    assert (code, said) == (0, f"started fleetd (pid {embedded.holder(other)}), state in {other.state}\n")
    assert embedded.holder(mine) == kept


def test_a_socket_does_not_say_whose_daemon_it_is(sites: tuple[Directories, Directories], capsys: pytest.CaptureFixture[str]) -> None:
    mine, other = sites
    for verb in ("start", "stop", "logs"):
        code, _, said = run(capsys, "--site", str(other.socket), "daemon", verb)
        assert code == 2
        assert "home directory" in said
    assert embedded.holder(mine)
    assert embedded.holder(other)


def test_who_can_change_nothing_stops_nothing(sites: tuple[Directories, Directories], capsys: pytest.CaptureFixture[str]) -> None:
    mine, _ = sites
    assert run(capsys, "--read-only", "daemon", "stop")[0] == 13
    assert embedded.holder(mine)


def test_flags_that_a_running_daemon_does_not_take_are_refused(sites: tuple[Directories, Directories], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "daemon", "start")[0] == 0
    code, _, said = run(capsys, "daemon", "start", "--", "--agent-listen", "127.0.0.1")
    assert code == 6
    assert "--agent-listen 127.0.0.1" in said
    assert "daemon stop" in said


@pytest.mark.parametrize("verb", ["start", "stop", "logs"])
def test_the_machines_own_daemon_is_left_to_who_runs_services(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    store = Store(sqlite_url(tmp_path / "fleet.db"))
    store.create_all()
    door = Door(store, tmp_path / "run" / "fleetd.sock").open()
    monkeypatch.setattr(sessions, "SYSTEM_SOCKET", door.path)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    for name in ("XDG_STATE_HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    try:
        code = main(["daemon", verb])
    finally:
        door.close()
        store.close()
    assert code == 6
    assert "systemctl" in capsys.readouterr().err
    assert not (tmp_path / "user").exists()
