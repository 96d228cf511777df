"""A fault of the console's own: a sentence and a report, and of what was at hand when it happened neither shows anything."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

from fleet_tui import crash
from fleet_tui.backend import directories
from tests.terminal.terminal import running

SECRET = "hunter2"


def crashes(home: Path) -> Path:
    return directories.find({"FLEET_HOME": str(home)}).crashes


def test_it_says_a_sentence_and_writes_where_it_happened(tmp_path: Path) -> None:
    with running("faulty_program.py", str(tmp_path), size=(120, 30)) as terminal:
        terminal.wait_for(r"web-1")
        terminal.press("?")
        said = terminal.wait_for(r"ended by a fault of its own: ValueError")
        terminal.settle()
    assert "goes on" in said and "Traceback" not in said
    (path,) = crashes(tmp_path).iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    report = path.read_text()
    assert "builtins.KeyError" in report and "builtins.ValueError" in report and "faulty_program.py" in report
    assert "fleet_tui/screens/frame.py" in report
    assert SECRET not in report and SECRET not in terminal.raw.decode(errors="replace")


def test_a_command_ends_so_too(tmp_path: Path) -> None:
    program = (
        "import sys; from fleet_tui.cli import context, main\n"
        f"def fault(self): raise ValueError('{SECRET}')\n"
        "context.Context.session = property(fault)\n"
        "sys.exit(main(['instance', 'list']))"
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "FLEET_HOME": str(tmp_path)}, cwd=Path(__file__).parents[2],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and "ended by a fault of its own: ValueError" in done.stderr
    assert "may have been done" in done.stderr and "nothing" not in done.stderr
    assert "Traceback" not in done.stderr and SECRET not in done.stderr + next(crashes(tmp_path).iterdir()).read_text()


def test_a_folder_that_cannot_be_written_is_no_second_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    error = ValueError(SECRET)
    assert crash.report(error, tmp_path / "file/crashes") is None
    assert "no report of it could be written" in crash.words(error, None)


def test_old_reports_are_dropped(tmp_path: Path) -> None:
    for number in range(crash.KEPT + 5):
        (tmp_path / f"20200101-0000{number:02d}-1.txt").touch()
    newest = crash.report(ValueError(), tmp_path)
    assert newest is not None and newest.exists() and len(list(tmp_path.iterdir())) == crash.KEPT
