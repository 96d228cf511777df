"""Shell completion, as the shells themselves complete: what is offered after a tab, and in the real zsh what comes on the line."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from fleet_tui.cli import main

Complete = Callable[[str], list[str]]
"""Words offered for a line that ends where the cursor is."""
NAMES = ("db 1", "web-1", "web-2")
PROGRAM = """#!/bin/sh
[ "$*" = "--no-start --output text instance list" ] || exit 9
printf 'db 1\\tdesign\\nweb-1\\tdesign\\nweb-2\\tdesign\\n'
"""


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder with the script of each shell, and a ``fleet`` on the PATH that knows three instances."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "fleet").write_text(PROGRAM)
    (programs / "fleet").chmod(0o755)
    for shell in ("bash", "zsh", "fish"):
        assert main(["completion", shell]) == 0
        (tmp_path / f"fleet.{shell}").write_text(capsys.readouterr().out)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(params=["bash", "zsh", "fish"])
def complete(request: pytest.FixtureRequest, scripts: Path) -> Complete:
    needed(request.param)
    return {"bash": bash, "zsh": zsh, "fish": fish}[request.param]


def needed(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed (Debian package {shell})")


def bash(line: str) -> list[str]:
    program = f"""
        source ./fleet.bash
        COMP_WORDS=({line}{'""' if line.endswith(" ") else ""}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _fleet
        for word in "${{COMPREPLY[@]}}"; do eval "printf '%s\\\\n' $word"; done
    """
    return ran("bash", "--norc", "-c", program)


def zsh(line: str) -> list[str]:
    """With a ``compadd`` that prints what would be offered, before zsh takes of it what fits the word."""
    program = f"""
        autoload -Uz compinit; compinit -u -D
        source ./fleet.zsh
        compadd() {{ shift; print -rl -- "$@" }}
        _files() {{ print -rl -- *(N) }}
        words=({line}{'""' if line.endswith(" ") else ""}); CURRENT=$#words
        _fleet
    """
    typed = "" if line.endswith(" ") else line.split()[-1]
    return [word for word in ran("zsh", "-f", "-c", program) if word.startswith(typed)]


def fish(line: str) -> list[str]:
    return [word.partition("\t")[0] for word in ran("fish", "--no-config", "-c", f"source ./fleet.fish; complete -C '{line}'")]


def ran(*command: str) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
    return [line for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("fleet ins", {"instance"}),
        ("fleet instance de", {"delete", "delete-snapshot", "deprovision"}),
        ("fleet instance delete --keep-", {"--keep-disk", "--keep-snapshots"}),
        ("fleet instance provision ", set(NAMES)),
        ("fleet instance provision we", {"web-1", "web-2"}),
        ("fleet instance provision web-1 --dry", {"--dry-run"}),
        ("fleet --site somewhere instance prov", {"provision"}),
        ("fleet pane d", {"dashboard"}),
        ("fleet host cancel-", {"cancel-degraded", "cancel-maintain"}),
        ("fleet cluster set-ratio kvm-a --r", {"--ram", "--read-only"}),
        ("fleet completion ", {"bash", "zsh", "fish"}),
        ("fleet image register fleet.ba", {"fleet.bash"}),
    ],
)
def test_what_is_offered(complete: Complete, line: str, words: set[str]) -> None:
    offered = complete(line)
    if line.startswith("fleet image") and complete is bash:
        assert offered == [], "which has readline complete file names"
        return
    assert set(offered) == words and len(offered) == len(words)


@pytest.mark.parametrize("line", ["fleet instance list ", "fleet instance create "])
def test_a_name_is_offered_only_where_one_is_wanted(complete: Complete, line: str) -> None:
    assert not set(complete(line)) & set(NAMES)


def test_in_zsh_a_tab_completes_the_line_also_when_the_function_is_loaded_from_a_folder(scripts: Path) -> None:
    needed("zsh")
    functions = scripts / "functions"
    functions.mkdir()
    (scripts / "fleet.zsh").rename(functions / "_fleet")
    (scripts / ".zshrc").write_text(f"fpath=({functions} $fpath); autoload -Uz compinit; compinit -u -D; PS1='ready> '; unsetopt beep\n")
    shell = pexpect.spawn("zsh", ["-d", "-i"], env={**os.environ, "ZDOTDIR": str(scripts), "TERM": "dumb"}, encoding="utf-8", timeout=30)
    try:
        shell.expect("ready> ")
        shell.send("fleet ins\t")
        shell.expect("instance ")
        shell.send("deprov\t")
        shell.expect("deprovision ")
        shell.send("db\t")
        shell.expect_exact("db\\ 1")
    finally:
        shell.close(force=True)
