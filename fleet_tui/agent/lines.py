"""Bytes of a program made into lines, with a bound on what one line may cost."""

from __future__ import annotations

from typing import Callable

LINE_LIMIT = 64 * 1024
"""Bytes kept of one line; what was cut is said at its end."""


class LineSplitter:
    """Feed it chunks, it emits whole lines. Holds one line of at most ``limit`` bytes.

    Args:
        emit: takes each line, decoded, without its end.
    """

    def __init__(self, emit: Callable[[str], None], limit: int = LINE_LIMIT) -> None:
        self._emit = emit
        self._limit = limit
        self._kept = bytearray()
        self._cut = 0

    def feed(self, data: bytes) -> None:
        start = 0
        while True:
            end = data.find(b"\n", start)
            if end < 0:
                self._keep(data[start:])
                return
            self._keep(data[start:end])
            self._finish()
            start = end + 1

    def close(self) -> None:
        """Emit what stands without an end."""
        if self._kept or self._cut:
            self._finish()

    def _keep(self, part: bytes) -> None:
        room = self._limit - len(self._kept)
        self._kept += part[:room]
        self._cut += max(0, len(part) - room)

    def _finish(self) -> None:
        if not self._cut and self._kept.endswith(b"\r"):
            del self._kept[-1:]
        text = self._kept.decode("utf-8", "replace")
        if self._cut:
            text = f"{text} [{self._cut} more bytes cut]"
        self._kept = bytearray()
        self._cut = 0
        self._emit(text)


def first_line(text: str) -> str:
    """For a log: the beginning of a command or text."""
    return (text.strip().splitlines() or [""])[0][:200]
