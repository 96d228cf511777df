"""What a serial line says, as lines of plain text: the little of a terminal that boot messages and a shell's prompt need.

Escape sequences are dropped, not obeyed: a guest is foreign, and what it sends must not reach the terminal of whoever looks at it.
"""

from __future__ import annotations

import codecs
import re

LONGEST = 4000
"""Characters kept of one line."""

_SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # control sequences: colours, cursor, modes
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"  # strings: titles, clipboard
    r"|\x1b[ -/]*[0-~]"  # everything else of two characters
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
_UNFINISHED = re.compile(
    r"\x1b(?:\[[0-?]{0,200}[ -/]{0,200}|[\]PX^_][^\x07\x1b]{0,2000}\x1b?|[ -/]{0,200})?\Z|\x9b[0-?]{0,200}[ -/]{0,200}\Z"
)
"""What may go on in the next bytes. Bounded: a sequence that never ends is no reason to keep all that a guest sends."""
_RUN = re.compile(r"[^\x00-\x1f\x7f-\x9f]+|.", re.DOTALL)


class SerialText:
    """Bytes in, finished lines out; `line` is the one still being written."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._cells: list[str] = []
        self._at = 0

    @property
    def line(self) -> str:
        return "".join(self._cells)

    def feed(self, data: bytes) -> list[str]:
        """Take what came; gives the lines that it finished."""
        return self.feed_text(self._decoder.decode(data))

    def feed_text(self, text: str) -> list[str]:
        text = self._held + text
        unfinished = _UNFINISHED.search(text)
        self._held = text[unfinished.start() :] if unfinished else ""
        text = _SEQUENCE.sub("", text[: len(text) - len(self._held)])
        done: list[str] = []
        for match in _RUN.finditer(text):
            run = match[0]
            if run == "\n":
                done.append(self.line)
                self._cells, self._at = [], 0
            elif run == "\r":
                self._at = 0
            elif run == "\b":
                self._at = max(0, self._at - 1)
            elif run == "\t":
                self._put(" " * (8 - self._at % 8))
            else:
                self._put(run if run.isprintable() else "".join(filter(str.isprintable, run)))
        return done

    def _put(self, run: str) -> None:
        """At the cursor, over what is there."""
        at = min(self._at, LONGEST)
        self._cells[at : at + len(run)] = run[: LONGEST - at]
        self._at = at + len(run)
