"""A serial line as plain text, whatever a guest sends and wherever it is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_tui.widgets.serial_text import SerialText
from tests.terminal.hostile import MARK, PAYLOADS


def read(data: bytes, cuts: tuple[int, ...] = ()) -> tuple[list[str], str]:
    text, lines, at = SerialText(), [], 0
    for cut in (*sorted(cuts), len(data)):
        lines += text.feed(data[at:cut])
        at = max(at, cut)
    return lines, text.line


@pytest.mark.parametrize(
    ("sent", "lines", "left"),
    [
        (b"one\r\ntwo\r\nlogin: ", ["one", "two"], "login: "),
        (b"\x1b[32m[  OK  ]\x1b[0m up\n", ["[  OK  ] up"], ""),
        (b"abc\b\bX\n", ["aXc"], ""),
        (b"50 %\r100 %\n", ["100 %"], ""),
        (b"a\tb\n", ["a       b"], ""),
        (b"\x1b]0;owned\x07safe\n", ["safe"], ""),
        (b"\x1b]52;c;ZXZpbA==\x1b\\safe\n", ["safe"], ""),
        (b"\xc3\xa9\xff\n", ["é\ufffd"], ""),
        (b"\x1b(Bplain\x1b=\n", ["plain"], ""),
    ],
)
def test_what_is_seen(sent: bytes, lines: list[str], left: str) -> None:
    assert read(sent) == (lines, left)


@given(st.lists(st.integers(0, 60), max_size=6))
def test_where_it_is_cut_changes_nothing(cuts: list[int]) -> None:
    data = b"\x1b[1;32mboot\x1b[0m \xc3\xa9\r\n\x1b]0;t\x07log\x1b[Kin: \x1b]52;c;QQ==\x1b\\x\n$ "
    assert read(data, tuple(c for c in cuts if c <= len(data))) == read(data)


@pytest.mark.parametrize("name", [name for name in PAYLOADS if name != "megabyte"])
def test_hostile_text_leaves_only_what_can_be_seen(name: str) -> None:
    lines, left = read(PAYLOADS[name].encode("utf-8", "surrogateescape") + b"\n")
    assert all(line.isprintable() for line in lines) and left == ""
    assert name == "controls" or any(MARK in line for line in lines), "a return and a backspace write over what was there"


@pytest.mark.parametrize("endless", ["\x1b[" + "0" * 500, "\x1b" + " " * 500, "\x9b" + "1;" * 300, "\x1b]0;" + "t" * 3000], ids=ascii)
def test_a_sequence_without_end_is_not_waited_for(endless: str) -> None:
    """Else all that a guest sends would be kept, and looked through again with each byte more."""
    text = SerialText()
    for _ in range(50):
        text.feed(endless.encode())
    assert len(text._held) <= 4000
    assert text.feed(b"\nstill here\n")[-1] == "still here"


def test_writing_over_a_long_line_stays_within_it() -> None:
    assert read(b"A" * 5000 + b"\rB\n") == (["B" + "A" * 3999], "")
    assert read(b"A" * 3990 + b"\t\t\tend\n")[0][0].startswith("A" * 3990)
    assert read(b"ab\b\bcdef\n") == (["cdef"], "")


def test_a_line_without_end_is_bounded() -> None:
    lines, left = read(b"A" * 1_000_000)
    assert lines == [] and len(left) == 4000
