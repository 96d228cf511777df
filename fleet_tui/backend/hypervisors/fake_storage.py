"""Disks on a fake host's storage: entries of the world's ledger, with what they hold as a word that copies carry on.

Where a world has a folder for contents, each disk has a real folder there too, so that what is kept can be looked at, byte by byte.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fleet_tui.backend.errors import Busy, NotFound, WrongState
from fleet_tui.backend.hypervisors import Disk, GuestState, StoredDisk
from fleet_tui.backend.hypervisors.fake_ledger import File, Guest, kept

if TYPE_CHECKING:
    from fleet_tui.backend.hypervisors.fake_host import FakeHypervisor

_HALTED = (GuestState.OFF.value, GuestState.CRASHED.value)


class FakeStorage:
    """Implements :class:`Storage`. All of it is shared in a pool."""

    def __init__(self, host: FakeHypervisor) -> None:
        self._on = host

    def find(self, path: str) -> StoredDisk | None:
        with self._on.verb("find_disk"):
            file = self._file(path)
            return None if file is None else _told(path, file)

    def make(self, disk: Disk) -> StoredDisk:
        with self._on.verb("make_disk"):
            file = self._file(disk.path)
            if file is None:
                if not (disk.size_bytes or disk.source):
                    raise NotFound(f"{self._on.host.id} has no disk {disk.path}", hint="give its size, or an image, to have it made")
                if disk.source in self._on.world.missing:
                    raise NotFound(f"{self._on.host.id} has no image {disk.source}", hint="look at the path")
                file = File(self._id(disk.path), disk.size_bytes, disk.source)
                self._on.world.ledger.put(file)
                if (folder := self.content(disk.path)) is not None:
                    folder.mkdir(parents=True)
            return _told(disk.path, file)

    def grow(self, path: str, size_bytes: int) -> None:
        with self._on.verb("grow_disk"):
            file = self._known(path)
            self._refuse_used(path)
            file.size_bytes = max(file.size_bytes, size_bytes)
            self._on.world.ledger.put(file)

    def copy(self, source: str, target: str) -> StoredDisk:
        with self._on.verb("copy_disk"):
            return self._copied(source, target)

    def copy_of_running(self, guest_id: str, path: str, target: str) -> StoredDisk:
        with self._on.verb("copy_disk", guest_id):
            if self._file(target) is None:
                self._refuse_halted(guest_id, path)
            return self._copied(path, target, is_running=True)

    def grow_of_running(self, guest_id: str, path: str, size_bytes: int) -> None:
        with self._on.verb("grow_disk", guest_id):
            file = self._known(path)
            if file.size_bytes < size_bytes:
                self._refuse_halted(guest_id, path)
                file.size_bytes = size_bytes
                self._on.world.ledger.put(file)

    def replace(self, source: str, target: str) -> None:
        with self._on.verb("replace_disk"):
            self._refuse_used(target)
            original = self._known(source)
            self._on.world.ledger.put(File(self._id(target), original.size_bytes, original.content))
            self._fill(source, target)

    def erase(self, path: str) -> None:
        with self._on.verb("erase_disk"):
            file = self._file(path)
            if file is not None:
                self._refuse_used(path)
                self._on.world.ledger.drop(file)
                if (folder := self.content(path)) is not None:
                    shutil.rmtree(folder, ignore_errors=True)

    def put(self, path: str, content: bytes) -> None:
        with self._on.verb("put_file"):
            self._on.world.ledger.put(File(self._id(path), len(content), content.hex()))

    def fit(self, guest_id: str, disks: Sequence[Disk]) -> None:
        with self._on.verb("fit", guest_id):
            guest = self._on.world.ledger.guest(self._on.host.id, guest_id)
            if guest is None:
                return
            wanted = [kept(disk) for disk in disks]
            if guest.disks == wanted:
                return
            if guest.state not in _HALTED:
                raise WrongState(f"{guest.name} is {guest.state}; its disks change only while it is off", hint="stop it first", state=guest.state)
            guest.disks = wanted
            self._on.world.ledger.put(guest)

    # --- inside, under the world's lock --------------------------------------------------------------------------------

    def _refuse_halted(self, guest_id: str, path: str) -> None:
        guest = self._on.world.ledger.guest(self._on.host.id, guest_id)
        if guest is None or guest.state in _HALTED:
            raise WrongState(f"guest {guest_id} does not run on {self._on.host.id}", hint="treat its disk as it lies there", state="off")
        if self._on.world.moves.of(self._on.host.id, guest_id) is not None:
            raise Busy(f"{guest.name} is being migrated", hint="try again when it does not move", holders=[guest.name])
        if not any(disk["path"] == path for disk in guest.disks):
            raise NotFound(f"{guest.name} has no disk {path}", hint="look at its disks")

    def _copied(self, source: str, target: str, is_running: bool = False) -> StoredDisk:
        made = self._file(target)
        if made is None:
            if not is_running:
                self._refuse_used(source)
            original = self._known(source)
            made = File(self._id(target), original.size_bytes, original.content)
            self._on.world.ledger.put(made)
            self._fill(source, target)
        return _told(target, made)

    def content(self, path: str) -> Path | None:
        """The folder that stands for what is on a disk."""
        root = self._on.world.contents
        return None if root is None else root / self._id(path).replace("/", "_")

    def _fill(self, source: str, target: str) -> None:
        original, copy = self.content(source), self.content(target)
        if original is not None and copy is not None:
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(original, copy, symlinks=True)

    def _id(self, path: str) -> str:
        return self._on.world.ledger.file_id(self._on.host, {"path": path, "is_local": False})

    def _file(self, path: str) -> File | None:
        return self._on.world.ledger.files.get(self._id(path))

    def _known(self, path: str) -> File:
        file = self._file(path)
        if file is None:
            raise NotFound(f"{self._on.host.id} has no disk {path}", hint="look at the path")
        return file

    def _refuse_used(self, path: str) -> None:
        for host, guests in self._on.world.ledger.on_host.items():
            if self._on.world.host(host).pool == self._on.host.pool and any(_uses(guest, path) for guest in guests.values()):
                raise WrongState(f"the disk {path} is in use", hint="a guest runs on it, perhaps on another host", state="in-use")


def _uses(guest: Guest, path: str) -> bool:
    return guest.state not in _HALTED and any(disk["path"] == path for disk in guest.disks)


def _told(path: str, file: File) -> StoredDisk:
    return StoredDisk(path, file.size_bytes, min(file.size_bytes, 200 * 1024))
