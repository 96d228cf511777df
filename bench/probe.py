"""A pseudo-terminal driver for measurements: time stamps are taken when bytes arrive, pictures are made afterwards.

Emulating a terminal costs more than reading from one, so what arrives is stamped and kept, and drawn on the emulated screen only when
nothing more is there. A pattern's time is the stamp of the bytes that completed it, however late the emulator got to them.
"""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyte

from bench.processes import Usage

HIDDEN = ("NO_COLOR", "TMUX", "STY", "COLUMNS", "LINES", "TERM_PROGRAM", "FLEET_GLYPHS", "FLEET_SITE", "FLEET_THEME", "FLEET_ASCII")
ANSWERS = ((re.compile(rb"\x1b\[\?2026\$p"), b"\x1b[?2026;2$y"), (re.compile(rb"\x1b\[0?c"), b"\x1b[?62;22c"))
"""What a modern terminal replies when asked what it is."""

FRAME_END = b"\x1b[?2026l"
"""Sent by programs that know synchronised output, after each frame."""

KEYS = {
    "up": "\x1b[A", "down": "\x1b[B", "right": "\x1b[C", "left": "\x1b[D", "home": "\x1b[H", "end": "\x1b[F",
    "pageup": "\x1b[5~", "pagedown": "\x1b[6~", "enter": "\r", "escape": "\x1b", "backspace": "\x7f",
}  # fmt: skip


class _Screen(pyte.Screen):
    """pyte's screen, deaf to what pyte does not know."""

    def report_device_status(self, *args: object, **kwargs: object) -> None:
        pass

    def report_device_attributes(self, *args: object, **kwargs: object) -> None:
        pass

    def select_graphic_rendition(self, *attrs: int, private: bool = False, **kwargs: object) -> None:
        if not private:
            super().select_graphic_rendition(*attrs)

    def ignored(self, *args: object, **kwargs: object) -> None:
        pass


class _Stream(pyte.Stream):
    csi = {**pyte.Stream.csi, "S": "ignored", "T": "ignored", "u": "ignored", "t": "ignored", "q": "ignored"}
    events = pyte.Stream.events | {"ignored"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a key press brought. Milliseconds from the press; None when it did not come."""

    first: float | None
    """To the first byte."""
    complete: float | None
    """To the expected picture, or to the last byte before it went quiet."""
    bytes: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a program did while it was left alone."""

    cpu_percent: float
    """Of one core."""
    bytes_per_s: float
    seconds: float


class Probe:
    """One program in a pseudo-terminal of its own; ended when the block ends, whatever happened."""

    def __init__(self, command: Sequence[str], *, size: tuple[int, int] = (120, 40), environ: Mapping[str, str] | None = None) -> None:
        inherited = {k: v for k, v in os.environ.items() if k not in HIDDEN and not k.startswith("TEXTUAL")}
        terminal = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
        self.screen = _Screen(*size)
        self._stream = _Stream(self.screen)
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._arrived: deque[tuple[float, bytes]] = deque()
        self._tail = b""
        self.received = 0
        self.first_at: float | None = None
        self.is_over = False
        self._terminal, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        self.started_at = time.monotonic()
        self._process = subprocess.Popen(
            list(command), stdin=inside, stdout=inside, stderr=inside, close_fds=True, start_new_session=True,
            env={**inherited, **terminal, **(environ or {})}, cwd=Path(__file__).parents[1], preexec_fn=_take_terminal,
        )
        os.close(inside)
        self.usage = Usage(self._process.pid)

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Reading

    def _read(self, timeout: float) -> bool:
        """Take what is there; True when there was something."""
        if self.is_over or not select.select([self._terminal], [], [], max(0.0, timeout))[0]:
            return False
        try:
            data = os.read(self._terminal, 1 << 16)
        except OSError:
            data = b""
        now = time.monotonic()
        if not data:
            self.is_over = True
            return False
        self.first_at = self.first_at or now
        self.received += len(data)
        self._arrived.append((now, data))
        seen = self._tail + data
        for question, answer in ANSWERS:
            for match in question.finditer(seen):
                if match.end() > len(self._tail):
                    os.write(self._terminal, answer)
        self._tail = seen[-12:]
        return True

    def _draw(self, until: Callable[[str], object] | None = None) -> float | None:
        """Draw what has arrived; stop at the bytes after which the picture is as wanted, and give their stamp."""
        while self._arrived:
            stamp = self._draw_one()
            if until is not None and until(self.text):
                return stamp
        return None

    @property
    def text(self) -> str:
        return "\n".join(self.screen.display)

    @property
    def last_words(self) -> str:
        """The last two lines on the screen: of a program that broke, its error."""
        return " ".join([line.strip() for line in self.screen.display if line.strip()][-2:])

    def drain(self) -> None:
        while self._read(0.0):
            pass
        self._draw()

    def watch(self, seconds: float) -> Iterator[tuple[float, str]]:
        """(stamp, picture) after each piece that arrives."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.is_over:
            self._read(min(0.1, end - time.monotonic()))
            while self._arrived:
                yield self._draw_one(), self.text

    def _draw_one(self) -> float:
        stamp, data = self._arrived.popleft()
        with contextlib.suppress(Exception):  # a bug of the emulator must not end a measurement
            self._stream.feed(self._decode(data))
        return stamp

    def wait_for(self, pattern: str, timeout: float = 30.0) -> float:
        """The stamp at which the picture matched a regular expression.

        Raises:
            TimeoutError: it never did; says what was seen instead.
        """
        matches = re.compile(pattern).search
        if not self._arrived and matches(self.text):
            return time.monotonic()
        end = time.monotonic() + timeout
        while time.monotonic() < end and not self.is_over:
            self._read(0.004 if self._arrived else 0.1)
            while self._read(0.0):
                pass
            stamp = self._draw(matches)
            if stamp is not None:
                return stamp
        raise TimeoutError(f"never saw {pattern!r} on:\n{self.text}")

    def wait_for_bytes(self, pattern: bytes, timeout: float = 30.0) -> float:
        """The stamp of the end of the frame in which what was sent since the last drawing matched. Costs less than a picture.

        Raises:
            TimeoutError: it never did.
        """
        matches, seen, end = re.compile(pattern, re.DOTALL).search, b"", time.monotonic() + timeout
        at, found = 0, None
        while time.monotonic() < end and not self.is_over:
            self._read(0.1)
            while at < len(self._arrived):
                stamp, data = self._arrived[at]
                seen, at = seen + data, at + 1
                found = found or matches(seen)
                if found and FRAME_END in seen[found.start() :]:
                    self._draw()
                    return stamp
        self._draw()
        raise TimeoutError(f"never saw {pattern!r} sent; on the screen is:\n{self.text}")

    def settle(self, quiet: float = 0.15, limit: float = 5.0) -> None:
        """Read until nothing has come for a while."""
        end = time.monotonic() + limit
        while time.monotonic() < end and self._read(quiet):
            pass
        self._draw()

    # Pressing

    def press(self, *keys: str) -> float:
        now = time.monotonic()
        os.write(self._terminal, "".join(KEYS.get(key, key) for key in keys).encode())
        return now

    def key(self, key: str, expect: bytes = b"", *, quiet: float = 0.05, timeout: float = 5.0) -> Answer:
        """Press a key and time what it brings: the bytes expected, or else everything until it is quiet."""
        self.drain()
        before = self.received
        pressed = self.press(key)
        first = last = found = None
        seen = b""
        while found is None and (left := pressed + timeout - time.monotonic()) > 0 and not self.is_over:
            if not self._read(left if expect or first is None else quiet):
                break
            last, data = self._arrived[-1]
            first = first or last
            if expect:
                seen += data
                found = last if expect in seen else None
        sent = self.received - before
        self._draw()
        return Answer(*((at - pressed) * 1000 if at else None for at in (first, found if expect else last)), sent)

    def leave_alone(self, seconds: float) -> Stretch:
        """Only read, and say what it cost the program."""
        self.drain()
        cpu, sent, start = self.usage.cpu_s(), self.received, time.monotonic()
        while (left := start + seconds - time.monotonic()) > 0 and not self.is_over:
            self._read(min(left, 0.25))
        took = time.monotonic() - start
        stretch = Stretch((self.usage.cpu_s() - cpu) / took * 100, (self.received - sent) / took, took)
        self._draw()
        return stretch

    def close(self) -> None:
        """End it and everything it started in its own session."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._terminal)


def _take_terminal() -> None:
    """In the new process: its standard input becomes its controlling terminal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
