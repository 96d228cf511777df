"""Pictures of the widgets at both sizes, in each theme. Look at what changed before accepting a new one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.terminal.log_program import LogProgram
from tests.terminal.table_program import TableProgram

SMALL, LARGE = (80, 24), (160, 48)


@pytest.fixture(autouse=True)
def a_usual_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own terminal decides nothing about the pictures."""
    for name in ("NO_COLOR", "TEXTUAL_THEME", "FLEET_GLYPHS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def themed(app: Any, theme: str) -> Any:
    app.theme = theme
    return app


def test_table_small(snap_compare: Any) -> None:
    assert snap_compare(TableProgram(60), press=["down", "down", "space", "down"], terminal_size=SMALL)


def test_table_large_with_wide_columns_and_a_filter_being_typed(snap_compare: Any) -> None:
    keys = ["space", "w", "s", "slash", "w", "e", "b", "-", "0", "0", "0", "1"]
    assert snap_compare(TableProgram(60), press=keys, terminal_size=LARGE)


def test_table_with_nothing_to_show(snap_compare: Any) -> None:
    assert snap_compare(TableProgram(0), terminal_size=SMALL)


def test_table_in_ascii(snap_compare: Any) -> None:
    assert snap_compare(TableProgram(60, ascii_only=True), press=["down", "space", "z"], terminal_size=SMALL)


@pytest.mark.parametrize("theme", ["fleet-light", "fleet-contrast", "ansi-dark"])
def test_table_in_other_themes(snap_compare: Any, theme: str) -> None:
    assert snap_compare(themed(TableProgram(60), theme), press=["down"], terminal_size=SMALL)


def test_log_small_following(snap_compare: Any) -> None:
    assert snap_compare(LogProgram(300), terminal_size=SMALL)


def test_log_large_paused_with_search_and_mark(snap_compare: Any) -> None:
    assert snap_compare(LogProgram(300), press=["m", "up", "up", "slash"], terminal_size=LARGE)


def test_log_wrapped_warnings(snap_compare: Any) -> None:
    assert snap_compare(LogProgram(300), press=["w", "e", "e"], terminal_size=SMALL)


def test_log_in_light(snap_compare: Any) -> None:
    assert snap_compare(themed(LogProgram(300), "fleet-light"), press=["e", "e"], terminal_size=SMALL)
