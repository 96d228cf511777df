"""Data disks of local instances: folders that are kept, with what is attached where, and their snapshots.

A disk is a folder and a record beside it. Changes of both are serialised over all daemons by a file lock, and every one is
a rename: whoever comes after a crash finds the old state or the new one, or finishes what was begun.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fleet_tui.agent.disk import used_bytes
from fleet_tui.backend.errors import Busy, InternalError, InvalidInput, NoCapacity, NotFound, Problem, WrongState
from fleet_tui.backend.providers import DiskInfo, SnapshotInfo
from fleet_tui.backend.providers.archive import place

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
        self._snapshots = snapshots
        self._has_machine = has_machine

    def ensure(self, disk_id: str, size_gb: int, token: str, say: Callable[[str], None]) -> DiskInfo:
        with self._locked():
            self._recover(disk_id)
            record = self._record(disk_id)
            path = self._folder / disk_id
            if record is None:
                self._drop(f".{disk_id}.gone-*")
                path.mkdir(mode=0o700, exist_ok=True)
                record = {"id": disk_id, "size_gb": size_gb, "attached_to": None, "used_bytes": None, "token": token}
                self._save(record)
                say(f"made data disk {disk_id}, {size_gb} GB, in {path}")
            elif not path.is_dir():
                raise NotFound(f"the content of data disk {disk_id} is gone from {path}", hint="restore it from a snapshot or a backup")
            elif holder := self._holder(record):
                raise Busy(f"data disk {disk_id} is attached to machine {holder}", holders=[holder], hint="deprovision that first")
            else:
                if size_gb > record["size_gb"]:
                    record["size_gb"] = size_gb
                    self._save(record)
                say(f"found data disk {disk_id}, {record['size_gb']} GB")
            return self._info(record)

    def find(self, disk_id: str) -> DiskInfo | None:
        with self._locked():
            self._recover(disk_id)
            record = self._record(disk_id)
            return None if record is None else self._info(record)

    def grow(self, disk_id: str, size_gb: int, say: Callable[[str], None]) -> DiskInfo:
        with self._locked():
            record = self._existing(disk_id)
            if size_gb > record["size_gb"]:
                say(f"data disk {disk_id} grows from {record['size_gb']} to {size_gb} GB")
                record["size_gb"] = size_gb
                self._save(record)
            return self._info(record)

    def delete(self, disk_id: str) -> None:
        with self._locked():
            self._recover(disk_id)
            record = self._record(disk_id)
            if record is not None:
                self._refuse_attached(record)
                if (self._folder / disk_id).exists():
                    (self._folder / disk_id).rename(self._folder / f".{disk_id}.gone-{uuid.uuid4().hex[:8]}")
                self._record_path(disk_id).unlink()
            self._drop(f".{disk_id}.gone-*")

    def attach(self, disk_id: str, machine_id: str) -> Path:
        """Note the attachment; gives the disk's path. ``Busy`` while another machine has it."""
        with self._locked():
            record = self._existing(disk_id)
            holder = self._holder(record)
            if holder not in (None, machine_id):
                raise Busy(f"data disk {disk_id} is attached to machine {holder}", holders=[holder], hint="detach it there first")
            others = [other for other in self._attached_to(machine_id) if other != disk_id]
            if others:
                raise Busy(f"machine {machine_id} has data disk {others[0]} attached", holders=others, hint="detach that first")
            if record["attached_to"] != machine_id:
                record["attached_to"] = machine_id
                self._save(record)
            return self._folder / disk_id

    def detach(self, disk_id: str, machine_id: str) -> None:
        """Note that it is free, and how much it holds now that nobody changes it."""
        used = used_bytes(self._folder / disk_id)
        with self._locked():
            record = self._record(disk_id)
            if record is not None and record["attached_to"] == machine_id:
                record["used_bytes"] = used
                record["attached_to"] = None
                self._save(record)

    def attached_to(self, machine_id: str) -> list[str]:
        with self._locked():
            return self._attached_to(machine_id)

    def snapshot(self, disk_id: str, snapshot_id: str, say: Callable[[str], None]) -> SnapshotInfo:
        with self._locked():
            self._existing(disk_id)
        target = self._snapshots / snapshot_id
        if (found := self._snapshot(snapshot_id)) is not None:
            return found
        self._snapshots.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in self._snapshots.glob(f".{snapshot_id}.new-*"):
            shutil.rmtree(left, ignore_errors=True)
        fresh = self._snapshots / f".{snapshot_id}.new-{uuid.uuid4().hex[:8]}"
        fresh.mkdir(mode=0o700)
        try:
            size = _copy(self._folder / disk_id, fresh / "content", f"snapshot {snapshot_id}")
            record = {"id": snapshot_id, "disk": disk_id, "size_bytes": size}
            place(fresh / "snapshot.json", json.dumps(record, indent=2).encode(), 0o600)
            fresh.rename(target)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
        say(f"made snapshot {snapshot_id} of data disk {disk_id}, {size} bytes")
        return SnapshotInfo(snapshot_id, disk_id, size, str(target))

    def restore(self, disk_id: str, snapshot_id: str, say: Callable[[str], None]) -> None:
        """Copy the snapshot beside the disk, then swap the folders by renames; see :meth:`_recover`."""
        snapshot = self._snapshot(snapshot_id)
        if snapshot is None:
            raise NotFound(f"there is no snapshot {snapshot_id}", hint="list the instance's snapshots")
        if snapshot.disk_id != disk_id:
            problem = Problem("snapshot", f"belongs to data disk {snapshot.disk_id}")
            raise InvalidInput(f"snapshot {snapshot_id} is not one of data disk {disk_id}", problems=[problem])
        path, new, old = self._folder / disk_id, self._folder / f".{disk_id}.new", self._folder / f".{disk_id}.old"
        with self._locked():
            self._refuse_attached(self._existing(disk_id))
            self._drop(f".{disk_id}.copy-*")
        copy = self._folder / f".{disk_id}.copy-{uuid.uuid4().hex[:8]}"
        try:
            size = _copy(Path(snapshot.path) / "content", copy, f"data disk {disk_id}")
            with self._locked():
                record = self._existing(disk_id)
                self._refuse_attached(record)
                copy.rename(new)
                path.rename(old)
                new.rename(path)
                record["used_bytes"] = size
                self._save(record)
        finally:
            shutil.rmtree(copy, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
        say(f"data disk {disk_id} is as snapshot {snapshot_id} has it, {size} bytes")

    def delete_snapshot(self, snapshot_id: str) -> None:
        if not self._snapshots.exists():
            return
        path = self._snapshots / snapshot_id
        if path.exists():
            path.rename(self._snapshots / f".{snapshot_id}.gone-{uuid.uuid4().hex[:8]}")
        for left in self._snapshots.glob(f".{snapshot_id}.gone-*"):
            shutil.rmtree(left, ignore_errors=True)

    # --- inside, under the lock --------------------------------------------------------------------------------

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _recover(self, disk_id: str) -> None:
        """Finish or take back a restore that a crash interrupted."""
        path, new, old = self._folder / disk_id, self._folder / f".{disk_id}.new", self._folder / f".{disk_id}.old"
        if old.exists() and not path.exists():
            (new if new.exists() else old).rename(path)
        if path.exists() and self._record(disk_id) is not None:
            for left in (new, old):
                if left.exists():
                    shutil.rmtree(left, ignore_errors=True)

    def _record_path(self, disk_id: str) -> Path:
        return self._folder / f"{disk_id}.json"

    def _record(self, disk_id: str) -> dict[str, Any] | None:
        try:
            record: dict[str, Any] = json.loads(self._record_path(disk_id).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise InternalError(f"the record of data disk {disk_id} cannot be read: {error}") from error
        return record

    def _existing(self, disk_id: str) -> dict[str, Any]:
        self._recover(disk_id)
        record = self._record(disk_id)
        if record is None:
            raise NotFound(f"there is no data disk {disk_id}", hint="provision the instance")
        return record

    def _save(self, record: dict[str, Any]) -> None:
        place(self._record_path(record["id"]), json.dumps(record, indent=2).encode(), 0o600)

    def _holder(self, record: dict[str, Any]) -> str | None:
        holder = record["attached_to"]
        return holder if holder and self._has_machine(holder) else None

    def _refuse_attached(self, record: dict[str, Any]) -> None:
        if holder := self._holder(record):
            raise Busy(f"data disk {record['id']} is attached to machine {holder}", holders=[holder], hint="deprovision the instance first")

    def _attached_to(self, machine_id: str) -> list[str]:
        records = (self._record(path.stem) for path in self._folder.glob("[!.]*.json"))
        return [str(record["id"]) for record in records if record and record["attached_to"] == machine_id]

    def _info(self, record: dict[str, Any]) -> DiskInfo:
        path = self._folder / record["id"]
        return DiskInfo(record["id"], record["size_gb"], record["used_bytes"], str(path), self._holder(record))

    def _snapshot(self, snapshot_id: str) -> SnapshotInfo | None:
        path = self._snapshots / snapshot_id
        try:
            record = json.loads((path / "snapshot.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return SnapshotInfo(record["id"], record["disk"], record["size_bytes"], str(path))

    def _drop(self, pattern: str) -> None:
        for left in self._folder.glob(pattern):
            shutil.rmtree(left, ignore_errors=True)


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
