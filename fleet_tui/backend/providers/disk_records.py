"""Records of local data disks, changed by several daemons without a lock.

A lock would stay with a daemon that hangs, and everybody would wait for it. Instead a record has versions, each a file of its
own that ``link`` puts in place: of two that follow the same version one is first, and the other has to look again. A daemon that
wakes up after another one took its work over changes nothing behind its back.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from fleet_tui.backend.errors import Busy, InternalError
from fleet_tui.backend.providers.older_disks import OlderDisks, versions_in

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
    """Where what is on it lies, in the folder of all disks; empty once it is being erased."""
    attached_to: str | None = None
    used_bytes: int | None = None


class DiskRecords:
    """In ``.records`` of the folder of all disks a folder for each, and in that a file for each version that somebody may still be
    reading. What earlier versions kept in another way is taken over at the first look.
    """

    def __init__(self, folder: Path, older: OlderDisks) -> None:
        self._folder = folder / ".records"
        self._older = older

    def newest(self, disk_id: str) -> DiskRecord | None:
        """As it stands.

        Raises:
            Busy: it changed under every look.
            InternalError: it cannot be read.
        """
        folder = self._folder_of(disk_id)
        for _ in range(_TRIES):
            version = max(versions_in(folder), default=None)
            if version is None:
                # Looked at again: what had an older record a moment ago may have one of ours now.
                if self._older.hand_over(disk_id, folder) or versions_in(folder):
                    continue
                return None
            try:
                said = json.loads((folder / f"{version}.json").read_text(encoding="utf-8"))
                return DiskRecord(**self._older.completed(disk_id, version, said))
            except FileNotFoundError:
                continue  # replaced between the two looks
            except (ValueError, TypeError) as error:
                raise InternalError(f"the record of data disk {disk_id} cannot be read: {error}") from error
        raise Busy(f"the record of data disk {disk_id} changes all the time", hint="retry")

    def start(self, record: DiskRecord) -> bool:
        """Put the very first version of a disk in place, with its folder. False when it has a version already, whatever its number."""
        folder = self._folder_of(record.id)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in folder.glob(".new-*"):
            left.unlink(missing_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{record.id}.new-", dir=self._folder))
        try:
            with (fresh / f"{record.version}.json").open("wb") as file:
                _write(file, record)
            os.rename(fresh, folder)  # takes the place of an empty folder at most
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
                raise
            return False
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        return True

    def put(self, record: DiskRecord) -> bool:
        """Put a version in place of the one before it.

        False when one of its number, or a higher one, is there, or the disk is gone: look again. Whoever is overtaken right
        after its turn is told False as well, so a change must be one that can be made twice.
        """
        folder = self._folder_of(record.id)
        target, name = folder / f"{record.version}.json", ""
        try:
            handle, name = tempfile.mkstemp(prefix=".new-", dir=folder)
            with os.fdopen(handle, "wb") as file:
                _write(file, record)
            os.link(name, target)
        except (FileExistsError, FileNotFoundError):  # somebody was first, or it was erased meanwhile
            return False
        finally:
            if name:
                Path(name).unlink(missing_ok=True)
        versions = versions_in(folder)
        if max(versions, default=0) > record.version:
            target.unlink(missing_ok=True)  # it followed a version that was replaced, and swept away, long ago
            return False
        for version in versions:
            if version < record.version:
                (folder / f"{version}.json").unlink(missing_ok=True)
        self._older.forget(record.id, record.content)
        return True

    def tidy(self, disk_id: str) -> None:
        """Remove versions that were being written; whoever still writes one has to write it again."""
        for left in self._folder_of(disk_id).glob(".new-*"):
            left.unlink(missing_ok=True)
        for left in self._folder.glob(f".{disk_id}.new-*"):
            shutil.rmtree(left, ignore_errors=True)

    def drop(self, disk_id: str, version: int) -> None:
        """Forget a disk that was erased in this version, unless it was made again since."""
        folder = self._folder_of(disk_id)
        self.tidy(disk_id)
        for earlier in versions_in(folder):
            if earlier <= version:
                (folder / f"{earlier}.json").unlink(missing_ok=True)
        with suppress(OSError):
            folder.rmdir()

    def all(self) -> Iterator[DiskRecord]:
        try:
            names = {name for name in os.listdir(self._folder) if not name.startswith(".")}
        except FileNotFoundError:
            names = set()
        for name in sorted(names | self._older.ids()):
            if (record := self.newest(name)) is not None:
                yield record

    def _folder_of(self, disk_id: str) -> Path:
        return self._folder / disk_id


def first_version() -> int:
    """Of a disk that is made. By the clock, so that one made again under an old id goes on from where that ended."""
    return time.time_ns() // 1_000_000


def _write(file: BinaryIO, record: DiskRecord) -> None:
    file.write(json.dumps(asdict(record), indent=2).encode())
    file.flush()
    os.fsync(file.fileno())
