"""Whatever a guest, an agent or a person far away wrote, nothing of it reaches the terminal but characters.

Only the raw bytes prove this: an emulated screen has already swallowed the escape sequences.
"""

from __future__ import annotations

import pathlib

import pytest

from tests.terminal.hostile import MARK, PAYLOADS, found_in
from tests.terminal.terminal import running

EVERYTHING = "every payload at once"


def payload(name: str) -> str:
    return (
        " ".join(text for key, text in PAYLOADS.items() if key != "megabyte") if name == EVERYTHING else PAYLOADS[name]
    )


def stored(path: pathlib.Path, name: str) -> str:
    """The payload in a file: an argument may hold no NUL."""
    file = path / "payload"
    file.write_bytes(payload(name).encode("utf-8", "surrogateescape"))
    return str(file)


@pytest.mark.parametrize("name", [EVERYTHING, "lone surrogate", "megabyte", "clipboard, ended by BEL"])
def test_table_header_crumbs_banner_bars_prompt_and_footer(name: str, tmp_path: pathlib.Path) -> None:
    with running("table_program.py", "--rows", "20", "--hostile", stored(tmp_path, name), size=(120, 30)) as terminal:
        terminal.wait_for(f"{MARK}(.|\n)*{MARK}(.|\n)*web-00009")
        terminal.press("w", "space", "down", ":")
        terminal.wait_for("(?m)^ :.*$")
        terminal.press("home", "tab")
        terminal.wait_for(f"(?m)^ :.*{MARK}")
        terminal.press("enter")
        terminal.settle()
        assert terminal.is_alive
        assert MARK in terminal.text
        assert found_in(bytes(terminal.raw)) == []


@pytest.mark.parametrize("name", [EVERYTHING, "lone surrogate", "megabyte"])
def test_log_panel(name: str, tmp_path: pathlib.Path) -> None:
    with running("log_program.py", "--lines", "3", "--hostile", stored(tmp_path, name), size=(120, 30)) as terminal:
        terminal.wait_for(f"hostile {MARK}(.|\n)*line 0000002(.|\n)*{MARK}")
        terminal.press("w", "up", "right", "m", "n", "s")
        terminal.wait_for("mark ")
        assert terminal.is_alive
        assert found_in(bytes(terminal.raw)) == []


def test_framework_widgets_are_covered_by_the_filter(tmp_path: pathlib.Path) -> None:
    file = stored(tmp_path, EVERYTHING)
    with running("framework_program.py", file, size=(120, 40)) as terminal:
        terminal.wait_for(f"static {MARK}(.|\n)*input {MARK}(.|\n)*option {MARK}(.|\n)*link=http")
        terminal.settle()
        assert found_in(bytes(terminal.raw)) == []


def test_the_check_would_notice(tmp_path: pathlib.Path) -> None:
    """Without the filter the same program lets the payload through, so the test above tests something."""
    file = stored(tmp_path, EVERYTHING)
    with running("framework_program.py", file, "--unguarded", size=(120, 40)) as terminal:
        terminal.wait_for("gone|after|static")
        terminal.settle()
        assert "\x1b]" in found_in(bytes(terminal.raw))


def test_nothing_but_ascii_is_sent_in_a_latin_locale(tmp_path: pathlib.Path) -> None:
    file = stored(tmp_path, EVERYTHING)
    environ = {
        "LC_ALL": "C",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONUTF8": "0",
        "PYTHONIOENCODING": "latin-1:backslashreplace",
    }
    with running("table_program.py", "--ascii", "--rows", "20", "--hostile", file, **environ) as terminal:
        terminal.wait_for("web-00009")
        terminal.settle()
        assert terminal.raw.isascii()
        assert b"\\u" not in terminal.raw
