"""Where a simulated part of the world keeps what it owns: entries by kind and id, in memory and in one file that survives the daemon.

The file has JSON lines, appended and synced before a change counts, so that after a ``kill -9`` everything that was promised is
there and a torn last line is nothing. It is rewritten whole (temp + rename) when it is opened.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar


class Entry(Protocol):
    """A slotted dataclass whose fields are JSON-able."""

    id: str
    __slots__: Any


E = TypeVar("E", bound=Entry)


class Journal:
    """The entries. The owner serialises access; every change goes through :meth:`put` or :meth:`drop`.

    Args:
        path: the file; ``None`` keeps everything in memory only.
        kinds: classes of the entries, which are told apart by the name of their class.
    """

    def __init__(self, path: Path | None, *kinds: type[Any]) -> None:
        self._kinds = {kind.__name__.lower(): kind for kind in kinds}
        self._entries: dict[str, dict[str, Any]] = {name: {} for name in self._kinds}
        self._file: IO[str] | None = None
        if path is None:
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for kind, identity, fields in _read(path):
            if fields is None:
                self._entries[kind].pop(identity, None)
            else:
                self._entries[kind][identity] = self._kinds[kind](**fields)
        with _replacing(path) as file:
            file.writelines(_line(entry) for entries in self._entries.values() for entry in entries.values())
        self._file = path.open("a", encoding="utf-8")

    def of(self, kind: type[E]) -> dict[str, E]:
        """The entries of a class by id, as they are kept: to be read, not changed."""
        return self._entries[kind.__name__.lower()]

    def put(self, *entries: Entry) -> None:
        """Record new or changed entries, all with one sync."""
        if entries:
            self._append(_line(entry) for entry in entries)
            for entry in entries:
                self._entries[_kind(entry)][entry.id] = entry

    def drop(self, *entries: Entry) -> None:
        if entries:
            self._append(json.dumps([_kind(entry), entry.id, None]) + "\n" for entry in entries)
            for entry in entries:
                self._entries[_kind(entry)].pop(entry.id, None)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _append(self, lines: Iterable[str]) -> None:
        if self._file is not None:
            self._file.writelines(lines)
            self._file.flush()
            os.fsync(self._file.fileno())


def _kind(entry: Entry) -> str:
    return type(entry).__name__.lower()


def _line(entry: Entry) -> str:
    return json.dumps([_kind(entry), entry.id, {name: getattr(entry, name) for name in entry.__slots__}]) + "\n"


def _read(path: Path) -> Iterator[tuple[str, str, dict[str, Any] | None]]:
    """Changes in their order, up to the first line that was not written whole."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        if not line.endswith("\n"):
            return
        kind, identity, fields = json.loads(line)
        yield kind, identity, fields


@contextmanager
def _replacing(path: Path) -> Iterator[IO[str]]:
    """A file that takes the place of ``path`` when the block ends, all of it or nothing."""
    scratch = path.with_name(f".{path.name}.part")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    os.replace(scratch, path)
