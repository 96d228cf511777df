"""Records of local data disks, changed by several daemons without a lock.

A lock would stay with a daemon that hangs, and everybody would wait for it. Instead a record has versions, each a file of its
own that ``link`` puts in place: of two that follow the same version one is first, and the other has to look again. A daemon that
wakes up after another one took its work over changes nothing behind its back.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from fleet_tui.backend.errors import Busy, InternalError

_TRIES = 50


@dataclass(frozen=True, slots=True)
class DiskRecord:
    """One version of what is known of a disk."""

    id: str
    version: int
    """Higher ones replace lower ones."""
    size_gb: int
    token: str
    content: str
    """Name of the folder, beside the record, that holds what is on it; empty once it is being erased."""
    attached_to: str | None = None
    used_bytes: int | None = None


class DiskRecords:
    """A folder for each disk, and in it a file for each version that somebody may still be reading."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def folder_of(self, disk_id: str) -> Path:
        return self._folder / disk_id

    def make_folder(self, disk_id: str) -> None:
        for folder in (self._folder, self.folder_of(disk_id)):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def newest(self, disk_id: str) -> DiskRecord | None:
        """As it stands.

        Raises:
            Busy: it changed under every look.
            InternalError: it cannot be read.
        """
        folder = self.folder_of(disk_id)
        for _ in range(_TRIES):
            version = max(_versions(folder), default=None)
            if version is None:
                return None
            try:
                return DiskRecord(**json.loads((folder / f"{version}.json").read_text(encoding="utf-8")))
            except FileNotFoundError:
                continue  # replaced between the two looks
            except (ValueError, TypeError) as error:
                raise InternalError(f"the record of data disk {disk_id} cannot be read: {error}") from error
        raise Busy(f"the record of data disk {disk_id} changes all the time", hint="retry")

    def put(self, record: DiskRecord) -> bool:
        """Put a version in place.

        False when one of its number, or a higher one, is there, or the disk is gone: look again. Whoever is overtaken right
        after its turn is told False as well, so a change must be one that can be made twice.
        """
        folder = self.folder_of(record.id)
        target, name = folder / f"{record.version}.json", ""
        try:
            handle, name = tempfile.mkstemp(prefix=".new-", dir=folder)
            with os.fdopen(handle, "wb") as file:
                file.write(json.dumps(asdict(record), indent=2).encode())
                file.flush()
                os.fsync(file.fileno())
            os.link(name, target)
        except (FileExistsError, FileNotFoundError):  # somebody was first, or it was erased meanwhile
            return False
        finally:
            if name:
                Path(name).unlink(missing_ok=True)
        versions = _versions(folder)
        if max(versions, default=0) > record.version:
            target.unlink(missing_ok=True)  # it followed a version that was replaced, and swept away, long ago
            return False
        for version in versions:
            if version < record.version:
                (folder / f"{version}.json").unlink(missing_ok=True)
        return True

    def tidy(self, disk_id: str) -> None:
        """Remove versions that were being written; whoever still writes one has to write it again."""
        for left in self.folder_of(disk_id).glob(".new-*"):
            left.unlink(missing_ok=True)

    def drop(self, disk_id: str, version: int) -> None:
        """Forget a disk that was erased in this version, unless it was made again since."""
        folder = self.folder_of(disk_id)
        self.tidy(disk_id)
        for older in _versions(folder):
            if older <= version:
                (folder / f"{older}.json").unlink(missing_ok=True)
        with suppress(OSError):
            folder.rmdir()

    def all(self) -> Iterator[DiskRecord]:
        try:
            names = sorted(os.listdir(self._folder))
        except FileNotFoundError:
            return
        for name in names:
            if (record := self.newest(name)) is not None:
                yield record


def first_version() -> int:
    """Of a disk that is made. By the clock, so that one made again under an old id goes on from where that ended."""
    return time.time_ns() // 1_000_000


def _versions(folder: Path) -> list[int]:
    try:
        return [int(stem) for name in os.listdir(folder) if name.endswith(".json") and (stem := name.removesuffix(".json")).isdigit()]
    except (FileNotFoundError, NotADirectoryError):
        return []
