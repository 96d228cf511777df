"""What the widgets send: nothing while idle, little for a small change, and no colour where none is wanted."""

from __future__ import annotations

import re

import pytest

from tests.terminal.terminal import running

COLOUR = re.compile(rb"\x1b\[[0-9;]*?\b(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])[0-9;]*m")


@pytest.mark.parametrize("program", ["table_program.py", "log_program.py"])
def test_an_idle_screen_sends_nothing(program: str) -> None:
    with running(program) as terminal:
        terminal.wait_for("web-00003|line 0000199")
        terminal.settle(0.5)
        assert terminal.settle(1.5) == b""


def test_one_changed_row_of_ten_thousand_is_a_few_bytes() -> None:
    with running("table_program.py", size=(160, 48)) as terminal:
        terminal.wait_for("web-00005 .* 65 %")
        terminal.settle()
        terminal.press("u")
        terminal.wait_for("web-00005 .* 66 %")
        assert len(terminal.settle()) == 0
        before = len(terminal.raw)
        terminal.press("u")
        terminal.wait_for("web-00005 .* 67 %")
        assert len(terminal.raw) - before < 500


def test_no_color_is_colourless_and_still_shows_the_cursor() -> None:
    with running("table_program.py", "--rows", "60", NO_COLOR="1") as terminal:
        terminal.wait_for("web-00003")
        terminal.settle()
        assert COLOUR.search(bytes(terminal.raw)) is None
        assert terminal.screen.buffer[3][5].reverse


def test_sixteen_colours_use_the_terminals_own_palette() -> None:
    with running("table_program.py", "--rows", "60", TERM="xterm", COLORTERM="") as terminal:
        terminal.wait_for("web-00003")
        terminal.settle()
        assert b"38;2;" not in terminal.raw
        assert COLOUR.search(bytes(terminal.raw)) is not None


@pytest.mark.parametrize("columns", [60, 80, 120, 160, 300])
def test_no_line_wraps_at_any_width(columns: int) -> None:
    with running("table_program.py", "--rows", "60", size=(columns, 24)) as terminal:
        lines = terminal.wait_for("web-00003").splitlines()
        terminal.settle()
        lines = terminal.text.splitlines()
        assert lines[0].startswith(" paris")
        assert lines[-1].startswith(" enter open")
        assert "1 failed" in lines[0]
        assert lines[3].startswith("› ● web-00000") or lines[3].startswith("  ● web-00000") or "web-00000" in lines[3]


def test_a_flood_of_lines_is_counted_and_leaves_a_reader_alone() -> None:
    with running("log_program.py", "--rate", "100000", "--keep", "1000", size=(100, 30)) as terminal:
        terminal.wait_for("[0-9,]+ skipped · following")
        terminal.press("up")
        terminal.wait_for("[0-9]{2},[0-9]{3} new · paused")
        terminal.settle(0.1)
        picture = terminal.text.splitlines()[1:]
        terminal.wait_for(r"[0-9]{3},[0-9]{3} new · paused")
        terminal.settle(0.1)
        assert terminal.text.splitlines()[1:] == picture
        terminal.press("s")
        terminal.wait_for("following")
