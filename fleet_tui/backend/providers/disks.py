"""Data disks of local instances: folders that are kept, with what is attached where, and their snapshots.

What is on a disk lies in a folder whose name says which version of the record it was made for, and the record of that version is
what makes it count. So nothing is ever swapped in place, nobody waits for anybody, and whatever belongs to no record and to no
version still to come is a leftover.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from fleet_tui.agent.disk import used_bytes
from fleet_tui.backend.errors import Busy, InvalidInput, NoCapacity, NotFound, Problem, WrongState
from fleet_tui.backend.providers import DiskInfo, SnapshotInfo
from fleet_tui.backend.providers.archive import place
from fleet_tui.backend.providers.disk_records import DiskRecord, DiskRecords, first_version
from fleet_tui.backend.providers.ids import FORM
from fleet_tui.backend.providers.older_disks import OlderDisks

_TRIES = 50
_SET_DEATH_SIGNAL = 1
_prctl = ctypes.CDLL(None).prctl
"""Found beforehand: between fork and exec nothing is loaded."""


class Disks:
    """All data disks and snapshots of a site.

    Args:
        folder: holds the disks.
        snapshots: holds the snapshots.
        has_machine: whether a machine exists; what a vanished one had attached is free.
    """

    def __init__(self, folder: Path, snapshots: Path, has_machine: Callable[[str], bool]) -> None:
        self._folder = folder
        self._older = OlderDisks(folder)
        self._records = DiskRecords(folder, self._older)
        self._snapshots = snapshots
        self._has_machine = has_machine

    def ensure(self, disk_id: str, size_gb: int, token: str, say: Callable[[str], None]) -> DiskInfo:
        record = self._record(disk_id)
        if record is None:
            record, said = self._make(disk_id, size_gb, token), "made"
        else:
            said = "found"

        def grow(record: DiskRecord) -> DiskRecord:
            if not self._path(record).is_dir():
                raise NotFound(f"the content of data disk {disk_id} is gone from {self._path(record)}", hint="restore it from a snapshot or a backup")
            if holder := self._holder(record):
                raise Busy(f"data disk {disk_id} is attached to machine {holder}", holders=[holder], hint="deprovision that first")
            return replace(record, size_gb=max(size_gb, record.size_gb))

        record = self._change(record, grow)
        say(f"{said} data disk {disk_id}, {record.size_gb} GB, in {self._path(record)}")
        return self._info(record)

    def find(self, disk_id: str) -> DiskInfo | None:
        record = self._record(disk_id)
        return None if record is None else self._info(record)

    def all(self) -> tuple[DiskInfo, ...]:
        return tuple(self._info(record) for record in self._records.all() if record.content)

    def all_snapshots(self) -> tuple[SnapshotInfo, ...]:
        """Those that can be read; what else lies there is nobody's snapshot."""
        found: list[SnapshotInfo] = []
        for name in sorted(entry.name for entry in self._snapshots.iterdir()) if self._snapshots.exists() else ():
            with suppress(OSError, ValueError, KeyError, TypeError):
                if FORM.match(name) and (one := self._snapshot(name)) is not None:
                    found.append(one)
        return tuple(found)

    def grow(self, disk_id: str, size_gb: int, say: Callable[[str], None]) -> DiskInfo:
        before = self._existing(disk_id)
        record = self._change(before, lambda now: replace(now, size_gb=max(size_gb, now.size_gb)))
        if record.size_gb > before.size_gb:
            say(f"data disk {disk_id} grows from {before.size_gb} to {record.size_gb} GB")
        return self._info(record)

    def delete(self, disk_id: str) -> None:
        record = self._records.newest(disk_id)
        if record is None:
            self._older.sweep(disk_id, "")
            self._records.drop(disk_id, 0)
            return

        def erase(record: DiskRecord) -> DiskRecord:
            self._refuse_attached(record)
            return replace(record, content="", attached_to=None)

        try:
            erased: DiskRecord | None = self._change(record, erase)
        except NotFound:
            erased = self._records.newest(disk_id)  # another daemon was first; what it left is removed all the same
        if erased is not None:
            self._sweep(erased)
            self._records.drop(disk_id, erased.version)

    def attach(self, disk_id: str, machine_id: str) -> Path:
        """Note the attachment; gives the disk's path. ``Busy`` while another machine has it."""
        others = [other for other in self.attached_to(machine_id) if other != disk_id]
        if others:
            raise Busy(f"machine {machine_id} has data disk {others[0]} attached", holders=others, hint="detach that first")

        def take(record: DiskRecord) -> DiskRecord:
            holder = self._holder(record)
            if holder not in (None, machine_id):
                raise Busy(f"data disk {disk_id} is attached to machine {holder}", holders=[holder], hint="detach it there first")
            return replace(record, attached_to=machine_id)

        return self._path(self._change(self._existing(disk_id), take))

    def detach(self, disk_id: str, machine_id: str) -> None:
        """Note that it is free, and how much it holds now that nobody changes it."""
        record = self._record(disk_id)
        if record is None or record.attached_to != machine_id:
            return
        used = used_bytes(self._path(record))
        self._change(record, lambda now: replace(now, used_bytes=used, attached_to=None) if now.attached_to == machine_id else now)

    def attached_to(self, machine_id: str) -> list[str]:
        return [record.id for record in self._records.all() if record.attached_to == machine_id]

    def snapshot(self, disk_id: str, snapshot_id: str, say: Callable[[str], None]) -> SnapshotInfo:
        source = self._path(self._existing(disk_id))
        target = self._snapshots / snapshot_id
        if (found := self._snapshot(snapshot_id)) is not None:
            return found
        self._snapshots.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in self._snapshots.glob(f".{snapshot_id}.new-*"):
            shutil.rmtree(left, ignore_errors=True)
        fresh = self._snapshots / f".{snapshot_id}.new-{uuid.uuid4().hex[:8]}"
        fresh.mkdir(mode=0o700)
        try:
            size = _copy(source, fresh / "content", f"snapshot {snapshot_id}")
            record = {"id": snapshot_id, "disk": disk_id, "size_bytes": size}
            place(fresh / "snapshot.json", json.dumps(record, indent=2).encode(), 0o600)
            fresh.rename(target)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
        say(f"made snapshot {snapshot_id} of data disk {disk_id}, {size} bytes")
        return SnapshotInfo(snapshot_id, disk_id, size, str(target))

    def restore(self, disk_id: str, snapshot_id: str, say: Callable[[str], None]) -> None:
        """Copy the snapshot beside what is on the disk; the next version of the record then has it for its content.

        Raises:
            Busy: it is attached, or somebody changed it while it was copied.
            InvalidInput, NotFound: the snapshot is another disk's, or there is none.
            NoCapacity: both do not fit.
        """
        snapshot = self._snapshot(snapshot_id)
        if snapshot is None:
            raise NotFound(f"there is no snapshot {snapshot_id}", hint="list the instance's snapshots")
        if snapshot.disk_id != disk_id:
            problem = Problem("snapshot", f"belongs to data disk {snapshot.disk_id}")
            raise InvalidInput(f"snapshot {snapshot_id} is not one of data disk {disk_id}", problems=[problem])
        record = self._existing(disk_id)
        self._refuse_attached(record)
        record = self._touch(record)
        self._sweep(record)  # what others were copying can count no more
        fresh = replace(record, version=record.version + 1)
        fresh = replace(fresh, content=_content(disk_id, fresh.version))
        try:
            size = _copy(Path(snapshot.path) / "content", self._path(fresh), f"data disk {disk_id}")
            if not self._records.put(replace(fresh, used_bytes=size)):
                raise Busy(f"data disk {disk_id} was changed while snapshot {snapshot_id} was copied", hint="retry")
        except BaseException:
            if self._records.newest(disk_id) == record:
                shutil.rmtree(self._path(fresh), ignore_errors=True)
            raise
        self._sweep(fresh)
        say(f"data disk {disk_id} is as snapshot {snapshot_id} has it, {size} bytes")

    def delete_snapshot(self, snapshot_id: str) -> None:
        if not self._snapshots.exists():
            return
        path = self._snapshots / snapshot_id
        if path.exists():
            path.rename(self._snapshots / f".{snapshot_id}.gone-{uuid.uuid4().hex[:8]}")
        for left in self._snapshots.glob(f".{snapshot_id}.gone-*"):
            shutil.rmtree(left, ignore_errors=True)

    # --- inside ------------------------------------------------------------------------------------------------

    def _make(self, disk_id: str, size_gb: int, token: str) -> DiskRecord:
        if (erased := self._records.newest(disk_id)) is not None and not erased.content:
            self._sweep(erased)
            self._records.drop(disk_id, erased.version)
        if self._older.is_without_record(disk_id):
            folder = self._folder / disk_id
            raise WrongState(
                f"there are files in {folder}, where an earlier version kept data disk {disk_id}, but no record of it; nothing was changed",
                hint=f"move {folder} elsewhere, then retry; once the instance is stopped they can be copied onto its new disk", state="unrecorded",
            )
        version = first_version()
        record = DiskRecord(disk_id, version, size_gb, token, _content(disk_id, version))
        path = self._path(record)
        path.mkdir(mode=0o700, parents=True)
        if not self._records.start(record):
            with suppress(OSError):
                path.rmdir()
            if (first := self._record(disk_id)) is None:
                raise Busy(f"data disk {disk_id} is being changed by another daemon", hint="retry")
            record = first
        self._sweep(record)
        return record

    def _record(self, disk_id: str) -> DiskRecord | None:
        record = self._records.newest(disk_id)
        return record if record is not None and record.content else None

    def _existing(self, disk_id: str) -> DiskRecord:
        record = self._record(disk_id)
        if record is None:
            raise NotFound(f"there is no data disk {disk_id}", hint="provision the instance")
        return record

    def _change(self, record: DiskRecord, change: Callable[[DiskRecord], DiskRecord]) -> DiskRecord:
        """Store what ``change`` makes of the newest version; it is asked again when somebody else was first."""
        for _ in range(_TRIES):
            wanted = change(record)
            if wanted == record:
                return record
            wanted = replace(wanted, version=record.version + 1)
            if self._records.put(wanted):
                return wanted
            record = self._existing(record.id)
        raise Busy(f"data disk {record.id} is changed by others all the time", hint="retry")

    def _touch(self, record: DiskRecord) -> DiskRecord:
        """A version that changes nothing, after which nobody can build on the ones before."""
        touched = replace(record, version=record.version + 1)
        if not self._records.put(touched):
            raise Busy(f"data disk {record.id} is being changed by another daemon", hint="retry")
        return touched

    def _sweep(self, record: DiskRecord) -> None:
        """Remove what was made for this version or an earlier one and is not what the disk holds: it can never count again."""
        self._records.tidy(record.id)
        for path in self._folder.glob(f"{record.id}.*-*"):
            version = path.name.partition(".")[2].partition("-")[0]
            if version.isdigit() and int(version) <= record.version and path.name != record.content:
                shutil.rmtree(path, ignore_errors=True)
        self._older.sweep(record.id, record.content)

    def _path(self, record: DiskRecord) -> Path:
        return self._folder / record.content

    def _holder(self, record: DiskRecord) -> str | None:
        holder = record.attached_to
        return holder if holder and self._has_machine(holder) else None

    def _refuse_attached(self, record: DiskRecord) -> None:
        if holder := self._holder(record):
            raise Busy(f"data disk {record.id} is attached to machine {holder}", holders=[holder], hint="deprovision the instance first")

    def _info(self, record: DiskRecord) -> DiskInfo:
        return DiskInfo(record.id, record.size_gb, record.used_bytes, str(self._path(record)), self._holder(record))

    def _snapshot(self, snapshot_id: str) -> SnapshotInfo | None:
        path = self._snapshots / snapshot_id
        try:
            record = json.loads((path / "snapshot.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return SnapshotInfo(record["id"], record["disk"], record["size_bytes"], str(path))


def _content(disk_id: str, version: int) -> str:
    """Name of the folder for what a version of the record is to hold; two that make the same version are not in each other's way."""
    return f"{disk_id}.{version}-{uuid.uuid4().hex[:6]}"


def _die_with_us() -> None:
    _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)


def _copy(source: Path, target: Path, what: str) -> int:
    """Copy a folder with everything that makes it what it is, sharing blocks where the file system can. Gives its bytes."""
    needed, free = used_bytes(source), shutil.disk_usage(target.parent).free
    if needed > free:
        complaint = f"{what} needs {needed} bytes, {free} are free in {target.parent}"
        raise NoCapacity(complaint, hint="free space, then retry", needed=needed, free=free)
    command = ["cp", "-a", "--reflink=auto", "--", str(source), str(target)]
    # Left alone by a daemon that was killed it would write on, under the hands of the next one, which removes the part it made.
    done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "LC_ALL": "C"}, preexec_fn=_die_with_us)
    if done.returncode != 0:
        words = done.stderr.decode("utf-8", "replace").strip().splitlines()
        why = words[-1] if words else f"cp ended with {done.returncode}"
        raise WrongState(f"{what} could not be copied: {why}", hint="retry; if the application writes much, stop it first")
    return used_bytes(target)
