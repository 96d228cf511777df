"""Local data disks as earlier versions kept them, which are taken over where they lie.

    <disks>/<id>.json, <disks>/<id>/                            one record, replaced by renames under a lock; the folder is what is on it
    <disks>/<id>/<version>.json, <disks>/<id>/<version>-<hex>/  records with versions in the folder of the disk, beside what is on it

What is on a disk is never moved, for a running machine has a link to it. Its record is: the file itself is linked to where records
are kept now, under a version that everybody who does so finds alike. So it is taken over once, whoever tries it and however often, and one
who comes too late for that, after the disk was erased even, has nothing left to link.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fleet_tui.backend.providers.ids import FORM

_UNVERSIONED = 1
"""The version that a record without one counts as; every version by the clock is higher."""
_BESIDE_ITS_RECORD = re.compile(r"\d+-[0-9a-f]{6}\Z")


class OlderDisks:
    """What there is of both kinds in the folder of all disks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def ids(self) -> set[str]:
        """Of disks that have an older record still."""
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return set()
        candidates = {name.removesuffix(".json") for name in names}
        return {name for name in candidates if FORM.match(name) and self._records(name)}

    def hand_over(self, disk_id: str, folder: Path) -> bool:
        """Link the record to where it belongs now, then remove it here. False when there is none; else what is there now is to be looked at."""
        records = self._records(disk_id)
        if not records:
            return False
        if not self._plain(disk_id).exists() and versions_in(folder):
            return True  # handed over a moment ago: what looks like records lies on the disk, and is the application's own
        version = max(records)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            os.link(records[version], folder / f"{version}.json")
        except FileExistsError:
            pass  # another daemon was first
        except FileNotFoundError:
            return True  # it did more than that since
        for record in records.values():
            record.unlink(missing_ok=True)
        return True

    def completed(self, disk_id: str, version: int, said: Mapping[str, Any]) -> dict[str, Any]:
        """What a record says, in today's words."""
        content = said["content"] if "content" in said else self._plain_content(disk_id)
        if _BESIDE_ITS_RECORD.match(content):
            content = f"{disk_id}/{content}"
        return {**said, "version": version, "content": content}

    def is_without_record(self, disk_id: str) -> bool:
        """Whether there is a folder with files that no record speaks of."""
        return any(files for _, _, files in os.walk(self._folder / disk_id))

    def forget(self, disk_id: str, content: str) -> None:
        """Remove records that were handed over, when whoever did it could not. What looks like one in what is on a disk is left alone."""
        self._plain(disk_id).unlink(missing_ok=True)
        if content.startswith(f"{disk_id}/"):
            for version in versions_in(self._folder / disk_id):
                (self._folder / disk_id / f"{version}.json").unlink(missing_ok=True)

    def sweep(self, disk_id: str, content: str) -> None:
        """Remove everything here that is of that disk and not what it holds; it can never count again."""
        self.forget(disk_id, content)
        for left in self._folder.glob(f".{disk_id}.*"):
            if left.name != content:
                _remove(left)
        folder = self._folder / disk_id
        if content == disk_id:
            return
        if content.startswith(f"{disk_id}/"):
            for left in folder.glob("*"):
                if left.name != content.partition("/")[2]:
                    _remove(left)
        else:
            _remove(folder)

    def _records(self, disk_id: str) -> dict[int, Path]:
        if (plain := self._plain(disk_id)).exists():
            return {_UNVERSIONED: plain}
        return {version: self._folder / disk_id / f"{version}.json" for version in versions_in(self._folder / disk_id)}

    def _plain(self, disk_id: str) -> Path:
        return self._folder / f"{disk_id}.json"

    def _plain_content(self, disk_id: str) -> str:
        """A restore put the copy and the old content in place of each other by renames; one that was interrupted left them under these names."""
        names = (disk_id, f".{disk_id}.new", f".{disk_id}.old")
        return next((name for name in names if (self._folder / name).is_dir()), disk_id)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        path.unlink()


def versions_in(folder: Path) -> list[int]:
    """Numbers of the versions that a folder has records of."""
    try:
        return [int(stem) for name in os.listdir(folder) if name.endswith(".json") and (stem := name.removesuffix(".json")).isdigit()]
    except (FileNotFoundError, NotADirectoryError):
        return []
