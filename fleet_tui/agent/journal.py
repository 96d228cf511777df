"""The machine's log: one place every line goes through on its way to the spool."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import Callable

from fleet_tui.agent.lines import LINE_LIMIT
from fleet_tui.agent.spool import Spool

_LIMIT = LINE_LIMIT + 100
"""A line cut once already, with what is said at its end, passes."""
_OUTPUT_LIMIT = 1024 * 1024
"""Bytes the agent's own output file may grow to before it starts again."""


class Journal:
    """Numbers, dates and spools lines, and wakes whoever sends them.

    Args:
        wake: called after every line.
    """

    def __init__(self, spool: Spool, wake: Callable[[], None]) -> None:
        self._spool = spool
        self._wake = wake

    def say(self, phase: str, text: str, level: str = "info", at: float | None = None) -> None:
        """Write a line, or several when the text has several."""
        for line in text.split("\n"):
            if len(line) > _LIMIT:
                line = f"{line[:_LIMIT]} [{len(line) - _LIMIT} more characters cut]"
            self._spool.append(time.time() if at is None else at, phase, level, line)
        self._wake()

    def sayer(self, phase: str, level: str = "info") -> Callable[[str], None]:
        """``say`` with the phase filled in, for programs whose output is followed."""
        return lambda text: self.say(phase, text, level)


def notice(text: str) -> None:
    """Say something to the agent's own output file: for what cannot be spooled or is about sending itself."""
    try:
        if os.fstat(sys.stderr.fileno()).st_size > _OUTPUT_LIMIT:
            os.ftruncate(sys.stderr.fileno(), 0)
    except (OSError, ValueError):
        pass  # a terminal or a pipe: not ours to bound
    with contextlib.suppress(OSError):  # a full disk costs the word, not the machine
        print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), text, file=sys.stderr, flush=True)
