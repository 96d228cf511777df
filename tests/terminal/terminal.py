"""A pseudo-terminal with an emulated screen: what a program sends, byte for byte, and what a person would see.

Only the raw bytes show whether an escape sequence got through; only the screen shows whether the picture is
right. Waiting is always for something to be on the screen, bounded by `PATIENCE`.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence

import pexpect
import pyte

PATIENCE = 30.0
"""Seconds until a wait gives up."""

KEYS = {
    "up": "\x1b[A", "down": "\x1b[B", "right": "\x1b[C", "left": "\x1b[D", "home": "\x1b[H", "end": "\x1b[F",
    "pageup": "\x1b[5~", "pagedown": "\x1b[6~", "enter": "\r", "escape": "\x1b", "tab": "\t", "space": " ",
}  # fmt: skip

ANSWERS = ((re.compile(rb"\x1b\[\?2026\$p"), b"\x1b[?2026;2$y"), (re.compile(rb"\x1b\[0?c"), b"\x1b[?62;22c"))
"""What a modern terminal replies when asked what it is."""


class _Screen(pyte.Screen):
    """pyte's screen, deaf to what pyte does not know."""

    def report_device_status(self, *args: object, **kwargs: object) -> None:
        pass

    def report_device_attributes(self, *args: object, **kwargs: object) -> None:
        pass

    def select_graphic_rendition(self, *attrs: int, private: bool = False, **kwargs: object) -> None:
        if not private:
            super().select_graphic_rendition(*attrs)


class _Stream(pyte.ByteStream):
    csi = {**pyte.ByteStream.csi, "S": "ignored", "T": "ignored", "u": "ignored", "t": "ignored", "q": "ignored"}
    events = pyte.ByteStream.events | {"ignored"}


_Screen.ignored = lambda *args, **kwargs: None  # type: ignore[attr-defined]


class Terminal:
    """One program in a pseudo-terminal of its own."""

    def __init__(self, command: Sequence[str], size: tuple[int, int] = (80, 24), **environ: str) -> None:
        columns, lines = size
        hidden = ("NO_COLOR", "TMUX", "STY", "COLUMNS", "LINES", "TERM_PROGRAM", "FLEET_GLYPHS")
        inherited = {k: v for k, v in os.environ.items() if k not in hidden and not k.startswith("TEXTUAL")}
        environment = {**inherited, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8", **environ}
        self.raw = bytearray()
        self.screen = _Screen(columns, lines)
        self._stream = _Stream(self.screen)
        self._answered = 0
        self._child = pexpect.spawn(
            command[0], list(command[1:]), dimensions=(lines, columns), env=environment, timeout=PATIENCE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests run in the background were told to ignore it
        )  # fmt: skip
        self._child.delaybeforesend = None

    def read(self, timeout: float = 0.05) -> bytes:
        """What has arrived since the last read."""
        try:
            data: bytes = self._child.read_nonblocking(1 << 16, timeout)
        except (pexpect.TIMEOUT, pexpect.EOF):
            return b""
        self.raw += data
        for question, answer in ANSWERS:
            for match in question.finditer(self.raw, max(0, self._answered - 16)):
                if match.end() > self._answered:
                    self._child.send(answer)
        self._answered = len(self.raw)
        self._stream.feed(data)
        return data

    @property
    def text(self) -> str:
        """The picture, one line of text a screen line."""
        return "\n".join(self.screen.display)

    def wait_for(self, pattern: str) -> str:
        """Read until the picture matches a regular expression; gives the picture."""
        end = time.monotonic() + PATIENCE
        passing: dict[str, None] = {}
        while not re.search(pattern, self.text):
            passing |= dict.fromkeys(self.screen.display)
            ended = not self._child.isalive()  # asked first: what it said last is still to be read
            if (not self.read() and ended) or time.monotonic() > end:
                gone = [line for line in passing if line not in self.screen.display]
                raise AssertionError("\n".join([f"never saw {pattern!r} on:", self.text, "shown meanwhile, and gone:", *gone[-40:]]))
        return self.text

    def settle(self, quiet: float = 0.3) -> bytes:
        """Read until nothing has come for a while; gives what came."""
        start, end = len(self.raw), time.monotonic() + PATIENCE
        while self.read(quiet) and time.monotonic() < end:
            pass
        return bytes(self.raw[start:])

    def press(self, *keys: str) -> None:
        for key in keys:
            self._child.send(KEYS.get(key, key))

    @property
    def is_alive(self) -> bool:
        return bool(self._child.isalive())

    def close(self) -> None:
        """End the program, whatever it does."""
        try:
            self._child.close(force=True)
        except pexpect.ExceptionPexpect:  # asked to end, then killed, and not gone 0.1 s later
            self._child.kill(signal.SIGKILL)
            self._child.wait()


PROGRAMS = pathlib.Path(__file__).parent


@contextlib.contextmanager
def running(program: str, *arguments: str, size: tuple[int, int] = (80, 24), **environ: str) -> Iterator[Terminal]:
    """A Python program of this folder, ended at the end whatever happened."""
    terminal = Terminal([sys.executable, str(PROGRAMS / program), *arguments], size, **environ)
    try:
        yield terminal
    finally:
        terminal.close()
