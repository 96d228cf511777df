"""Lines on disk until the door has them. Numbered from 1 within a boot, never a number twice, bounded.

Segments of about a megabyte, named by their first number, hold one line each as ``number TAB json``. The newest segment
always stays, so the numbering goes on after a crash even when everything was acknowledged. A line is one ``write``: a
killed agent loses none, and a torn last line (machine crash) is cut off at the next start.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

from fleet_tui.agent.layout import read_json, write_json

SPOOL_LIMIT = 50 * 1024 * 1024
SEGMENT_SIZE = 1024 * 1024


class _Segment:
    def __init__(self, path: Path, first: int, size: int) -> None:
        self.path = path
        self.first = first
        self.size = size


class Spool:
    """The lines of one boot. Safe to use from several threads.

    Args:
        folder: made when missing.
        limit: bytes kept; beyond it the oldest segment goes, and :attr:`dropped` says how many lines that were.
    """

    def __init__(self, folder: Path, limit: int = SPOOL_LIMIT, segment_size: int = SEGMENT_SIZE) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._limit = limit
        self._segment_size = segment_size
        self._lock = threading.Lock()
        self._counts = folder / "counts.json"
        counts = read_json(self._counts)
        self._acknowledged = int(counts.get("acknowledged", 0))
        self._dropped = int(counts.get("dropped", 0))
        self._segments = self._find_segments()
        self._next = self._mend_last()
        self._offset = 0
        self._file = os.open(str(self._segments[-1].path), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._advance()

    @property
    def name(self) -> str:
        """The boot whose lines these are."""
        return self._folder.name

    @property
    def acknowledged(self) -> int:
        return self._acknowledged

    @property
    def last(self) -> int:
        """Number of the newest line; 0 before the first."""
        return self._next - 1

    @property
    def dropped(self) -> int:
        """Lines lost to the limit that nobody was told of yet."""
        return self._dropped

    def has_unsent(self) -> bool:
        return self._acknowledged < self._next - 1

    def append(self, at: float, phase: str, level: str, text: str) -> None:
        """Keep a line. A full disk costs the line, not the machine: it is counted as dropped."""
        with self._lock:
            row = json.dumps([round(at, 3), phase, level, text], ensure_ascii=False)
            data = f"{self._next}\t{row}\n".encode("utf-8", "backslashreplace")
            try:
                if self._segments[-1].size >= self._segment_size:
                    self._roll()
                written = os.write(self._file, data)
                if written < len(data):
                    os.ftruncate(self._file, self._segments[-1].size)
                    raise OSError("short write")
            except OSError:
                self._dropped += 1
                return
            self._segments[-1].size += len(data)
            self._next += 1

    def read(self, lines: int = 500, size: int = 256 * 1024) -> list[dict[str, Any]]:
        """The oldest lines not acknowledged, at least one if there is one, as the wire has them."""
        with self._lock:
            found: list[dict[str, Any]] = []
            taken = 0
            for number, segment in enumerate(self._segments):
                with segment.path.open("rb") as file:
                    file.seek(self._offset if number == 0 else 0)
                    while file.tell() < segment.size:
                        raw = file.readline()
                        if found and (len(found) >= lines or taken + len(raw) > size):
                            return found
                        taken += len(raw)
                        found.append(_parsed(raw))
            return found

    def acknowledge(self, seq: int) -> None:
        """The door has everything up to ``seq``; forget it. A higher number than ours moves the numbering on."""
        with self._lock:
            self._next = max(self._next, seq + 1)
            if seq > self._acknowledged:
                self._acknowledged = seq
                self._advance()

    def told_of_dropped(self, count: int) -> None:
        """So many dropped lines have been reported."""
        if count:
            with self._lock:
                self._dropped -= count
                self._save_counts()

    def close(self) -> None:
        with self._lock:
            self._save_counts()
            os.close(self._file)

    def remove(self) -> None:
        """Everything arrived and nothing more will come."""
        os.close(self._file)
        shutil.rmtree(str(self._folder), ignore_errors=True)

    def _find_segments(self) -> list[_Segment]:
        paths = sorted(self._folder.glob("*.lines"))
        found = [_Segment(path, int(path.stem), path.stat().st_size) for path in paths]
        return found or [self._new_segment(self._acknowledged + 1)]

    def _new_segment(self, first: int) -> _Segment:
        return _Segment(self._folder / f"{first:020d}.lines", first, 0)

    def _mend_last(self) -> int:
        """Cut a torn line off the newest segment; the number the next line gets."""
        segment = self._segments[-1]
        number = segment.first
        if segment.size:
            data = segment.path.read_bytes()
            whole = data[: data.rfind(b"\n") + 1]
            if len(whole) < len(data):
                os.truncate(str(segment.path), len(whole))
                segment.size = len(whole)
            for raw in whole.splitlines():
                number = int(raw.split(b"\t", 1)[0]) + 1
        return max(number, self._acknowledged + 1)

    def _roll(self) -> None:
        segment = self._new_segment(self._next)
        file = os.open(str(segment.path), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.close(self._file)
        self._file = file
        self._segments.append(segment)
        while len(self._segments) > 1 and sum(one.size for one in self._segments) > self._limit:
            gone = self._segments.pop(0)
            self._dropped += max(0, self._segments[0].first - max(gone.first, self._acknowledged + 1))
            self._acknowledged = max(self._acknowledged, self._segments[0].first - 1)
            self._offset = 0
            self._save_counts()
            gone.path.unlink()

    def _advance(self) -> None:
        """Move the reading position behind what is acknowledged and remove segments that are through."""
        while True:
            segment = self._segments[0]
            if len(self._segments) > 1 and self._segments[1].first <= self._acknowledged + 1:
                self._segments.pop(0)
                self._offset = 0
                self._save_counts()
                segment.path.unlink()
                continue
            if segment.size > self._offset:
                with segment.path.open("rb") as file:
                    file.seek(self._offset)
                    while file.tell() < segment.size:
                        raw = file.readline()
                        if int(raw.split(b"\t", 1)[0]) > self._acknowledged:
                            return
                        self._offset += len(raw)
            return

    def _save_counts(self) -> None:
        """On a full disk they stay as they were: what is sent again after a crash, the door knows by its number."""
        with contextlib.suppress(OSError):
            self._write_counts()

    def _write_counts(self) -> None:
        write_json(self._counts, {"acknowledged": self._acknowledged, "dropped": self._dropped})


def _parsed(raw: bytes) -> dict[str, Any]:
    number, row = raw.split(b"\t", 1)
    at, phase, level, text = json.loads(row.decode("utf-8", "replace"))
    return {"seq": int(number), "time": at, "phase": phase, "level": level, "text": text}
