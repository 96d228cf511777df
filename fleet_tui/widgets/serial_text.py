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
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]{0,2000}\x1b?|[ -/]*)?\Z|\x9b[0-?]*[ -/]*\Z")


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
        for character in text:
            if character == "\n":
                done.append(self.line)
                self._cells, self._at = [], 0
            elif character == "\r":
                self._at = 0
            elif character == "\b":
                self._at = max(0, self._at - 1)
            elif character == "\t":
                for _ in range(8 - self._at % 8):
                    self._put(" ")
            elif character.isprintable():
                self._put(character)
        return done

    def _put(self, character: str) -> None:
        """At the cursor, over what is there."""
        if self._at < len(self._cells):
            self._cells[self._at] = character
        elif len(self._cells) < LONGEST:
            self._cells.append(character)
        self._at += 1
