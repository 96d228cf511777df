"""Following the application's output. It goes to a file, not a pipe, so that the application outlives its agent.

What was read is given back to the disk by punching a hole where it stood: the file never grows on disk, and nothing is
lost as it would be by cutting it while the application writes. How far was read is kept beside it, for the next agent.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections import deque
from pathlib import Path
from typing import Callable

from fleet_tui.agent.lines import LineSplitter

_CHUNK = 256 * 1024
_HOLE_EVERY = 4 * 1024 * 1024
_KEEP_SIZE_PUNCH_HOLE = 0x01 | 0x02
_QUICK_S, _SLOW_S = 0.05, 0.25


class Tail:
    """Reads a growing file from where it was last read.

    Args:
        emit: takes each line.
    """

    def __init__(self, path: Path, emit: Callable[[str], None]) -> None:
        self._path = path
        self._emit = emit
        self._position_path = path.with_name(f"{path.name}.position")
        self._lock = threading.Lock()
        self._file = os.open(str(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._position = os.open(str(self._position_path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        said = os.read(self._position, 32)
        self._offset = min(int(said or b"0"), os.fstat(self._file).st_size)
        self._hole = 0
        self._splitter = LineSplitter(self._line)
        self._last: deque[str] = deque(maxlen=5)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="tail", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def writer(self) -> int:
        """A handle for the application's output; the caller closes it."""
        return os.open(str(self._path), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def drain(self) -> None:
        """Take everything that is there now, an unfinished line too."""
        with self._lock:
            self._read()
            self._splitter.close()

    def forget(self) -> None:
        """The lines to be quoted from now on are the next ones."""
        with self._lock:
            self._last.clear()

    def last(self) -> str:
        """The newest few lines in one, for an error's text."""
        return " | ".join(text[:200] for text in self._last)

    def close(self) -> None:
        self._ending.set()
        self._thread.join(5.0)
        self.drain()

    def _line(self, text: str) -> None:
        self._last.append(text)
        self._emit(text)

    def _follow(self) -> None:
        pause = _QUICK_S
        while not self._ending.wait(pause):
            with self._lock:
                pause = _QUICK_S if self._read() else min(_SLOW_S, pause * 1.1)

    def _read(self) -> bool:
        found = False
        while True:
            data = os.pread(self._file, _CHUNK, self._offset)
            if not data:
                return found
            found = True
            self._splitter.feed(data)
            self._offset += len(data)
            with contextlib.suppress(OSError):  # a full disk: after a crash a little would be read again
                os.pwrite(self._position, b"%-20d" % self._offset, 0)
            if self._offset - self._hole >= _HOLE_EVERY:
                self._punch()

    def _punch(self) -> None:
        length = self._offset - self._hole
        libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(libc, "fallocate64"):
            return
        done = libc.fallocate64(
            ctypes.c_int(self._file), ctypes.c_int(_KEEP_SIZE_PUNCH_HOLE), ctypes.c_int64(self._hole), ctypes.c_int64(length)
        )
        if done == 0:
            self._hole = self._offset // 4096 * 4096
        else:
            self._hole = self._offset  # a file system without holes: ask again only for what comes
