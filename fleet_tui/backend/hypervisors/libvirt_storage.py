"""Disks on the storage of a libvirt host: files, made and copied by ``qemu-img`` there; and which of them a guest has."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fleet_tui.backend.errors import Busy, NotFound, TimedOut, WrongState
from fleet_tui.backend.hypervisors import Disk, GuestInfo, GuestState, StoredDisk, domain_xml
from fleet_tui.backend.text import clean

if TYPE_CHECKING:
    from fleet_tui.backend.hypervisors.libvirt import LibvirtHost

_LOOK_S = 0.25
_COPY_S = 3600.0
_UNFINISHED = ".fleet-making"


class HostStorage:
    """Implements :class:`Storage`."""

    def __init__(self, host: LibvirtHost) -> None:
        self._host = host

    def find(self, path: str) -> StoredDisk | None:
        if self._host.shell.lacking([path]):
            return None
        return StoredDisk(path, self._host.shell.virtual_size(path), self._host.shell.used_bytes(path))

    def make(self, disk: Disk) -> StoredDisk:
        self._host.shell.make_disk(disk)
        return self._made(disk.path)

    def grow(self, path: str, size_bytes: int) -> None:
        self._host.shell.grow(path, size_bytes)

    def copy(self, source: str, target: str) -> StoredDisk:
        self._host.shell.copy(source, target)
        return self._made(target)

    def replace(self, source: str, target: str) -> None:
        self._host.shell.copy(source, target, replace=True)

    def erase(self, path: str) -> None:
        self._host.shell.erase([path])

    def put(self, path: str, content: bytes) -> None:
        self._host.shell.put(path, content)

    def fit(self, guest_id: str, disks: Sequence[Disk]) -> None:
        host = self._host
        known = host.domain(guest_id)
        if known is None or domain_xml.has_disks(host.definition(known), disks):
            return
        domain, name = host.off(guest_id, "its disks change")
        host.link.call(host.link.connection.defineXML, domain_xml.fitted(host.definition(domain), disks), what=f"fit {name} with disks")

    def grow_of_running(self, guest_id: str, path: str, size_bytes: int) -> None:
        host = self._host
        if host.shell.virtual_size(path) < size_bytes:
            domain, info, disk = self._running(guest_id, path)
            bytes_meant = host.libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES
            host.link.call(domain.blockResize, disk.target, size_bytes, bytes_meant, what=f"grow a disk of {info.name}")

    def copy_of_running(self, guest_id: str, path: str, target: str) -> StoredDisk:
        """By a backup job of libvirt, which a crash of ours does not end: one that is found is ended, and another begun."""
        host = self._host
        if (found := self.find(target)) is not None:
            return found
        domain, info, disk = self._running(guest_id, path)
        if self._is_copying(domain):
            host.link.call(domain.abortJob, what="end a copy that was left unfinished")
        self._wait(domain, info.name)
        host.shell.rub_out(target + _UNFINISHED)
        try:
            host.link.call(domain.backupBegin, domain_xml.backup(disk.target, target + _UNFINISHED), None, 0, what=f"copy a disk of {info.name}")
        except WrongState as refused:
            raise Busy(f"{info.name} cannot be copied now: {refused.message}", hint="try again when it does not move", holders=[info.name]) from None
        try:
            self._wait(domain, info.name)
        except TimedOut:
            host.shell.rub_out(target + _UNFINISHED)
            raise
        ended: dict[str, Any] = host.link.call(domain.jobStats, host.libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)
        if ended.get("operation") != host.libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP or ended.get("success") is False:
            host.shell.rub_out(target + _UNFINISHED)
            raise WrongState(f"the copy of a disk of {info.name} failed: {clean(str(ended.get('errmsg', 'it was ended')), 200)}", hint="try again")
        host.shell.settle(target + _UNFINISHED, target)
        return self._made(target)

    def _running(self, guest_id: str, path: str) -> tuple[Any, GuestInfo, domain_xml.Volume]:
        """A guest that runs here and does not move, with its disk of that path."""
        host = self._host
        domain, info = host.known(guest_id), host.find(guest_id)
        host.refuse_in_flight(info)
        if info.state not in (GuestState.RUNNING, GuestState.PAUSED):
            told = f"{info.name} is {info.state.value} on {host.link.address}"
            raise WrongState(told, hint="treat its disk as it lies there", state=info.state.value)
        disk = next((volume for volume in domain_xml.volumes(host.link.call(domain.XMLDesc, 0)) if volume.path == path), None)
        if disk is None:
            raise NotFound(f"{info.name} has no disk {clean(path, 200)}", hint="look at its disks")
        return domain, info, disk

    def _is_copying(self, domain: Any) -> bool:
        stats: dict[str, Any] = self._host.link.call(domain.jobStats, 0)
        libvirt = self._host.libvirt
        return stats.get("type") not in (None, libvirt.VIR_DOMAIN_JOB_NONE) and stats.get("operation") == libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP

    def _wait(self, domain: Any, name: str) -> None:
        deadline = time.monotonic() + _COPY_S
        while self._is_copying(domain):
            if time.monotonic() > deadline:
                self._host.link.call(domain.abortJob, what="end a copy that takes too long")
                raise TimedOut(f"the copy of a disk of {name} did not end within {_COPY_S:.0f} s", hint="look at its storage")
            time.sleep(_LOOK_S)

    def _made(self, path: str) -> StoredDisk:
        found = self.find(path)
        if found is None:
            raise NotFound(f"{self._host.link.address} has no disk {clean(path, 200)}", hint="somebody removed it at this moment")
        return found
