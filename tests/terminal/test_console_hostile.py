"""The whole console in front of a site under siege: every place that shows foreign text, and every byte that is sent for it.

A real daemon, real agents whose output is hostile, impostors among them; then the same once more over a poisoned database, so that the
console's own cleaning is tried without the daemon's. What reaches the terminal is held against a list of known sequences.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from fleet_tui.backend import telemetry as t
from fleet_tui.backend.instances import EditInstance, ShowSettings
from tests.journeys.site import Site
from tests.terminal.hostile import MARK
from tests.terminal.hostile_site import NASTY, SHORT, Impostor, poison, under_siege
from tests.terminal.sequences import is_foreign, read
from tests.terminal.terminal import Terminal

pytestmark = pytest.mark.slow

SIZES = [(80, 24), (160, 48)]
PASTED = "\x1b[200~{}\x1b[201~"

Step = tuple[Sequence[str], str]
"""Keys, and what the picture shows after them."""

BOARD = "(?s)ATTENTION.*INSTANCE.*agent log"
LIST: Sequence[Step] = [
    (("2",), "siege › instances"), (("w",), "TAGS|NETWORK|DATA DISK"), (("w",), "DATA DISK"), (("*", "escape"), "siege › instances"),
]


@contextmanager
def console(site: Site, *words: str, size: tuple[int, int] = (80, 24), unguarded: bool = False) -> Iterator[Terminal]:
    """A real console, or a pane, in a terminal of its own."""
    disarm = "import re; from fleet_tui.backend import text; text._UNSAFE = re.compile('(?!)'); "
    start = "from fleet_tui.cli import main; import sys; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", (disarm if unguarded else "") + start, "--no-start", *words]
    terminal = Terminal(command, size, FLEET_HOME=str(site.home), XDG_CONFIG_HOME=str(site.home / "none"), FLEET_SITE="")
    try:
        yield terminal
    finally:
        terminal.close()


def walk(terminal: Terminal, *steps: Step) -> None:
    for keys, shown in steps:
        terminal.press(*keys)
        try:
            terminal.wait_for(shown)
        except AssertionError as problem:
            raise AssertionError(f"after {keys}: {problem}") from None
