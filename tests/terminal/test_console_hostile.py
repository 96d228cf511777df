"""The whole console in front of a besieged site: every place that shows foreign text, and every byte that is sent for it.

A real daemon, and real agents whose output is hostile, impostors among them. What they bring is harmless as soon as it is stored;
then the database is poisoned past that, so that the console's own cleaning is tried without the daemon's. What reaches the
terminal is held against the short list of sequences that Textual itself sends.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from fleet_tui.backend.instances.rows import InstanceRow
from fleet_tui.backend.telemetry import PhaseReport
from tests.journeys.site import Site
from tests.terminal.hostile import MARK
from tests.terminal.hostile_site import LINES, NASTY, SHORT, Impostor, besieged, poison, stored
from tests.terminal.sequences import HIDDEN, is_foreign, read
from tests.terminal.terminal import Terminal
from tests.waiting import until

pytestmark = pytest.mark.slow

Step = tuple[str | Sequence[str], str]
"""Keys, and what the picture shows after them."""

ESC = "\x1b[27u"
"""Escape in the keyboard protocol that Textual asks for: no waiting whether more follows."""
LINE_OPEN = r"(?m)^ [/:](?:\S| *$)"
LINE_CLOSED = r"(?ms)\A(?!.*^ [/:](?:\S| *$))"
PASTE = "\x1b[200~{}\x1b[201~".format
DISARM = "import re; from fleet_tui.backend import text; text._UNSAFE = re.compile('(?!)'); "
"""Takes the console's cleaning away: `clean`, and with it `plain` and the filter."""

NOTES = r"Notes +now *\n +"
ROWS = r"[^\n]*\n[^\n]*\n *› "
"""After the name of a list: there are rows, and the cursor is on one. Before that a key is told that the list is still loading."""
BOARD = r"\A[^┌]*ATTENTION[^┌]*INSTANCE[^┌]*agent log · all[^┌]*\Z"
BACK = r"\A[^┌]*› instances \d[^┌]*\Z"
"""The list of instances, with no dialog over it."""
THE_BOARD: Sequence[Step] = [
    ((), BOARD), ((), f"agent log(?s:.*){MARK}"),
    (("tab", "f"), r"(?s)\A(?!.*INSTANCE).*agent log"), ("f", BOARD),
    (("tab", "d"), "› describe"), (ESC, BOARD), ("enter", "Overview   Settings"), (ESC, BOARD),
    (("tab", "enter"), r"of \d+ steps"), ("y", "› raw"), (ESC, r"of \d+ steps"), (ESC, BOARD),
]  # fmt: skip
THE_LIST: Sequence[Step] = [
    ("2", BACK), ("w", "siege"), ("w", "siege"), ("c", "name copied"), ("C", "row copied"),
    (("/", "nois", "enter"), r"/nois"), ("d", "› describe"), (("/", "zq7", "enter", "n", "N"), MARK), ("c", "text copied"),
    (ESC, BACK), ("y", "› raw"), (ESC, BACK),
]  # fmt: skip
THE_DIALOGS: Sequence[Step] = [
    ("x", "Actions · noisy"), (ESC, BACK), ("D", "Deprovision noisy"), (ESC, BACK),
    ("R", "Reprovision noisy"), (ESC, BACK), ((":", "restore", "enter"), "Set the data disk"), ("enter", "Reprovision noisy"), (ESC, BACK),
    ((" ", "b"), "Restart application noisy"), (ESC, BACK),
    ((ESC, ESC, "/", "fresh", "enter"), "/fresh"), ((":", "delete", "enter"), "Type  fresh"), (("y", "o", ESC), BACK), (ESC, BACK),
    ("n", "Template +hello"), (("\t", "\t", "enter"), "Choose"), (ESC, "New instance"), (ESC, BACK),
    ("\x10", "Every action"), (ESC, BACK), ("?", "Keys of"), (ESC, BACK),
    ((":", PASTE(SHORT), "enter"), r"and\W+nothing"), ((":", "fre", "\t", ESC), BACK),
]  # fmt: skip
THE_INSTANCE: Sequence[Step] = [
    (("/", "nois", "enter", "enter"), r"Overview   Settings(?s:.*)STEP"),
    ("left", r"(?s)\A(?!.*STEP).*─ log · noisy.*owned"), (("/", "zq7", "enter", "n", "N", "m"), "paused"), ("w", MARK), ("c", "lines copied"), ("f", MARK),
    (ESC, "Overview"), ((ESC, "w"), "Overview"),
    ("left", "OPERATION +TARGET(?s:.*)succeeded"), ("enter", "of 2 steps"), ("K", r"it\W+has\W+ended"), (ESC, "OPERATION +TARGET"),
    ("left", "ACTION +STAGE"), ("left", "SNAPSHOT +AGE"), ("y", "› raw"), (ESC, "SNAPSHOT +AGE"), ("left", "plain HTTP only"), ("left", "GENERAL"),
]  # fmt: skip
THE_LOGS: Sequence[Step] = [
    ("l", "› log"), ("t", MARK), ("t", MARK), ("w", MARK), (("/", "evil", "enter", "n", "N"), "evil"), (ESC, "› log"), ("L", "› log"),
    ("0", MARK), ("f", MARK), ("c", "lines copied"), (ESC, "› log"), (ESC, BACK),
]  # fmt: skip
THE_REST: Sequence[Step] = [
    ("7", rf"› operations {ROWS}"), ("w", "OPERATION"), ("w", "OPERATION"), ("c", "name copied"), (("/", "restart", "enter"), r"(?s)\A(?!.*▲ Zq7).*/restart"), (ESC, "› operations"),
    ("d", "› describe"), (ESC, "› operations"), ("K", r"it\W+has\W+ended"), ("l", "› log"), (ESC, "› operations"),
    ("9", rf"› events {ROWS}"), ("w", f"WHAT(?s:.*){MARK}"), ("d", "› describe"), (ESC, "› events"), ("C", "row copied"), (("/", "zq7", "enter"), "/zq7"), (ESC, "› events"),
    ("3", rf"› hosts{ROWS}"), ("w", f"HOST(?s:.*){MARK}"), ("d", "› describe"), (ESC, "› hosts"), ("y", "› raw"), (ESC, "› hosts"),
]  # fmt: skip

TEMPLATES = rf"› templates\b[^┌]*TEMPLATE[^┌]*{MARK}[^┌]*\Z"
ACTIONS = rf"\A[^┌]*Setup actions   Settings[^┌]*ACTION[^┌]*{MARK}[^┌]*\Z"
NETWORKS = rf"› virtual networks\b[^┌]*NETWORK[^┌]*{MARK}[^┌]*\Z"
THE_REGISTERS: Sequence[Step] = [
    ((":", "templates", "enter"), TEMPLATES), ("w", TEMPLATES), ("w", TEMPLATES), ("d", "› describe"), (ESC, TEMPLATES), ("y", "› raw"), (ESC, TEMPLATES),
    (("j", "x"), "Actions · evil"), (ESC, TEMPLATES), ("N", "Clone evil"), (ESC, TEMPLATES), ((":", "delete-template", "enter"), r"cannot\W+be\W+deleted"),
    ("i", rf"INSTANCE +STATE(?s:.*){MARK}"), (ESC, TEMPLATES), ("s", "Save a blueprint of evil"), (ESC, TEMPLATES),
    (("/", "loud", "enter"), "/loud"), ("enter", ACTIONS), ("enter", r"does\W+not\W+know\W+the\W+kind"), ("d", "› describe"), (ESC, ACTIONS),
    ("t", "Dry run of"), (ESC, ACTIONS), (("j", "enter"), rf"Setup action: Run tasks(?s:.*){MARK}"), (ESC, ACTIONS), ("u", rf"not saved: actions \({MARK}"),
    ("_", "Delete the action"), (ESC, ACTIONS), ("right", "GENERAL"), ("x", "Actions · broken"), (ESC, "GENERAL"), ("left", ACTIONS),
    (ESC, "Leave without saving"), ("y", "› instances › templates(?s:.*)/loud"), (ESC, r"(?s)\A(?!.*/loud).*TEMPLATE▲"),
    ((":", "vnets", "enter"), NETWORKS), ("w", NETWORKS), ("w", NETWORKS), ("d", "› describe"), (ESC, NETWORKS), ("x", "Actions · evil"), (ESC, NETWORKS),
    (("j", "enter"), rf"compared|never compared(?s:.*){MARK}"), ("e", "Label: 1 to 63"), ((ESC, "right"), "INSTANCE|no instance is linked"), (ESC, NETWORKS),
]  # fmt: skip


@pytest.fixture(scope="module")
def siege() -> Iterator[tuple[Site, Impostor]]:
    with besieged() as found:
        yield found


@contextmanager
def console(site: Site, *words: str, size: tuple[int, int] = (80, 24), prelude: str = "") -> Iterator[Terminal]:
    """A real console, or a pane, in a terminal of its own."""
    start = f"{prelude}from fleet_tui.cli import main; import sys; sys.exit(main(sys.argv[1:]))"
    terminal = Terminal([sys.executable, "-c", start, "--no-start", *words], size, **environment(site))
    try:
        yield terminal
    finally:
        terminal.close()


def environment(site: Site) -> dict[str, str]:
    return {"FLEET_HOME": str(site.home), "XDG_CONFIG_HOME": str(site.home / "none"), "FLEET_SITE": ""}


def walk(terminal: Terminal, *steps: Step) -> None:
    """Each step's keys, then a look. A line that opens for typing, and closes again, is waited for."""
    for number, (keys, shown) in enumerate(steps):
        typing = False
        try:
            for key in [keys] if isinstance(keys, str) else keys:
                terminal.press(key)
                if key in ("\t", "\x1b[Z"):
                    terminal.settle(0.2)  # what is typed ahead goes to the field that has the focus now
                elif key in ("/", ":"):
                    terminal.wait_for(LINE_OPEN)
                    typing = True
                elif typing and key in ("enter", ESC):
                    terminal.wait_for(LINE_CLOSED)
                    typing = False
            terminal.wait_for(shown)
        except AssertionError as problem:
            raise AssertionError(f"step {number}, {keys!r}: {problem}") from None


def test_what_the_daemon_stores_is_harmless(siege: tuple[Site, Impostor]) -> None:
    site, _ = siege
    said = stored(site)
    assert said.count(MARK) > 100
    assert sorted({ascii(character) for character in said if is_foreign(character)}) == []
    assert "Infinity" not in said
    assert re.findall(r"(?<!\\)\\(?:u00[0189].|[bfrt])", said) == []


@pytest.fixture(scope="module")
def poisoned(siege: tuple[Site, Impostor]) -> tuple[Site, Impostor]:
    poison(siege[0])
    return siege


@pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=["80x24", "160x48"])
def test_every_place_that_shows_foreign_text(poisoned: tuple[Site, Impostor], size: tuple[int, int]) -> None:
    site, taken = poisoned
    with console(site, size=size) as terminal:
        walk(terminal, *THE_BOARD, *THE_LIST, *(THE_DIALOGS if size[0] == 80 else [(ESC, BACK)]), *THE_INSTANCE)
        walk(terminal, ((), "Label +noisy"), (("\x1b[Z", "up"), rf"{NOTES}(?:{MARK}|theirs)"), ("zz", "zz"))
        _save_behind_its_back(site)
        walk(terminal, ("\x0f", r"of\W+your\W+fields\W+too"), ("\x14", rf"(?s)\A(?!.*(?:they saved|not saved)).*{NOTES}theirs"))
        walk(terminal, (("\x1b[18~", "\x03"), rf"{NOTES}theirs"), ((ESC, ESC), BACK))  # all of the field, to the clipboard
        walk(terminal, *THE_LOGS, *THE_REST)
        taken.report([*(text.encode("utf-8", "replace").decode() for text in LINES.values())])
        taken.report([f"{MARK}é last"] * 12)
        walk(terminal, ("1", BOARD), ((), f"{MARK}é last"), ("?", "Keys of"), (ESC, BOARD))
        terminal.press("q")
        until(lambda: terminal.read() == b"" and not terminal.is_alive, what="the console to end")
    found = read(bytes(terminal.raw))
    assert found.foreign == []
    assert found.text.count(MARK) > 500
    assert len(found.copied) == 8
    assert [ascii(text) for text in found.copied if any(is_foreign(c) for c in text)] == []


def test_the_registers(poisoned: tuple[Site, Impostor]) -> None:
    with console(poisoned[0]) as terminal:
        walk(terminal, ((), BOARD), ("2", BACK), *THE_REGISTERS)
        terminal.press("1")
        terminal.settle(0.2)
        assert terminal.is_alive
    found = read(bytes(terminal.raw))
    assert (found.foreign, found.copied) == ([], [])
    assert found.text.count(MARK) > 50


def _save_behind_its_back(site: Site) -> None:
    """Somebody saves hostile notes past the daemon, while a form is open on them."""
    with site.store().write() as tx:
        row = tx.query(InstanceRow).filter(InstanceRow.label.startswith("noisy")).one()
        row.settings = {**row.settings, "notes": f"theirs {row.version} {SHORT}\n" + "".join(LINES[name] for name in ("clear screen", "bidi", "zero width", "tags"))}
        row.version += 1


@pytest.mark.parametrize("words", [("dashboard",), ("instances",), ("operations",), ("logs",), ("logs", "taken")], ids=" ".join)
def test_panes(poisoned: tuple[Site, Impostor], words: tuple[str, ...]) -> None:
    with console(poisoned[0], "pane", *words, size=(100, 20)) as terminal:
        walk(terminal, ((), MARK), ("w", MARK), ("z", "siege|log"), ("G", MARK))
        terminal.settle(0.2)
        assert terminal.is_alive
    found = read(bytes(terminal.raw))
    assert (found.foreign, found.copied) == ([], [])


def test_a_start_up_that_fails_in_hostile_words_while_one_watches(poisoned: tuple[Site, Impostor]) -> None:
    site, taken = poisoned
    with console(site, size=(120, 40)) as terminal:
        walk(terminal, ((), BOARD), ("2", BACK), (("/", "taken", "enter", "enter"), "Overview"))
        taken.report([NASTY], phases=(PhaseReport(SHORT, "failed", 1.0, 2.0, NASTY),))
        walk(terminal, ((), "failed at startup:Zq7"), ("P", "Provision taken"))
        terminal.settle(0.2)
    assert read(bytes(terminal.raw)).foreign == []


def test_the_reader_would_notice(poisoned: tuple[Site, Impostor]) -> None:
    """With the console's cleaning taken away, the same site gets through: the tests above test something."""
    with console(poisoned[0], size=(120, 40), prelude=DISARM) as terminal:

        def got_through() -> bool:
            terminal.read(0.2)
            found = read(bytes(terminal.raw))
            return ("ZXZpbA==" in "".join(found.foreign) or "evil" in found.copied) and bool(HIDDEN.search(found.text))

        until(got_through, timeout=60, what="hostile text to get through an unguarded console")
