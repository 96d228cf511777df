"""What a machine puts in the way of a command ends in words and in the code that belongs to it, never in a fault of the program's own."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fleet_tui import session as sessions
from fleet_tui.backend import process
from fleet_tui.backend.errors import InternalError
from fleet_tui.cli import main
from tests.test_cli import Fleet, fleet, run

__all__ = ["fleet"]


def shell(words: str) -> subprocess.CompletedProcess[str]:
    """A command line with its redirects, as a script has it."""
    return subprocess.run(["sh", "-c", f"{sys.executable} -m fleet_tui {words}"], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("instance list >&-", 0), ("instance delete web-1 <&-", 14), ("instance show none 2>&-", 4), ("instance show none --output json 2>&-", 4),
        ("instance show none 2>/dev/full", 4), ("instance delete web-1 2>/dev/full", 14),
    ],
)  # fmt: skip
def test_a_stream_that_is_closed_or_full_does_not_change_how_it_ends(fleet: Fleet, words: str, code: int) -> None:
    done = shell(words)
    assert (done.returncode, done.stdout if code else "") == (code, "")
    assert "fault" not in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("home", [{"FLEET_HOME": "~nobody-of-that-name"}, {"FLEET_SITE": "~nobody-of-that-name"}])
def test_a_home_that_nobody_knows_is_said(home: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in home.items():
        monkeypatch.setenv(name, value)
    code, _, said = run(capsys, "op", "list")
    assert code == 2
    assert "home directory" in said


def test_a_state_directory_that_is_not_ours_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A file stands where the folder should be: so it is refused to root as well."""
    (tmp_path / "file").touch()
    monkeypatch.setattr(sessions, "SYSTEM_SOCKET", tmp_path / "none.sock")
    for name, place in (("HOME", tmp_path), ("XDG_CONFIG_HOME", tmp_path), ("XDG_RUNTIME_DIR", tmp_path), ("XDG_STATE_HOME", tmp_path / "file")):
        monkeypatch.setenv(name, str(place))
    for words in (("op", "list"), ("daemon", "start"), ("daemon", "stop"), ("daemon", "status"), ("daemon", "logs")):
        code, _, said = run(capsys, *words)
        assert code in (5, 9), words
        assert str(tmp_path / "file") in said


def test_a_daemon_on_a_full_disk_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_given: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(process.os, "pwrite", full)
    with pytest.raises(InternalError, match=r"fleetd\.lock cannot be written: No space left"), process.hold(tmp_path / "fleetd.lock"):
        raise AssertionError("it may not be begun")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["instance", "create", "x", "--set-file", "domains=/dev/zero"], 2), (["instance", "create", "x", "--set-file", "domains=~nobody-of-that-name/x"], 2),
        (["template", "create", "x", "--actions", "/dev/zero"], 2),
    ],
)  # fmt: skip
def test_what_is_too_much_or_nowhere_is_refused(fleet: Fleet, capsys: pytest.CaptureFixture[str], words: list[str], code: int) -> None:
    assert run(capsys, *words)[0] == code
    assert fleet.asked == []


@pytest.mark.parametrize(
    "words", [("daemon", "logs", "-n", "-5"), ("op", "list", "--limit", "9" * 20), ("instance", "logs", "x", "--since", "9" * 20),
              ("cert", "board", "--within", "99999999")],
)  # fmt: skip
def test_numbers_that_mean_nothing_are_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2


def test_json_that_is_nested_too_deep_is_refused(fleet: Fleet, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000)
    code, _, said = run(capsys, "template", "create", "x", "--actions", str(tmp_path / "deep.json"))
    assert code == 3
    assert "nested too deep" in said
