"""The other side of a live migration: what a host says before a guest comes, the disks it comes with, and what is left when it did not."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from fleet_tui.backend.errors import Busy, FleetError, NoCapacity, NotFound, Unreachable, WrongState
from fleet_tui.backend.hypervisors import Disk, GuestState, domain_xml
from fleet_tui.backend.hypervisors.domain_xml import Volume

if TYPE_CHECKING:
    from fleet_tui.backend.hypervisors.libvirt import LibvirtHost

MARK = ".fleet-incoming"
"""Beside a disk that is being received: whose it is. A file without it is somebody else's, and is not written over."""


class Arrivals:
    """Guests that come to one host."""

    def __init__(self, host: LibvirtHost) -> None:
        self._host = host
        self._libvirt = host.libvirt

    # --- before ------------------------------------------------------------------------------------------------------

    def check(self, guest_id: str, source: LibvirtHost) -> None:
        host, domain = self._host, source.known(guest_id)
        name, here = str(domain.name()), host.link.address
        if source.identity == host.identity:
            raise WrongState(f"{name} is on {here} already", hint="choose another host", state="same-host")
        there = host.find(guest_id)
        if there.state not in (GuestState.ABSENT, GuestState.OFF):
            raise WrongState(f"{here} has {name} already, {there.state.value}", hint="remove what is left there", state=there.state.value)
        host.refuse_name(name, guest_id)
        xml = str(source.link.call(domain.XMLDesc, self._libvirt.VIR_DOMAIN_XML_MIGRATABLE))
        self._refuse_cpu(name, xml)
        if lacking := host.shell.lacking(domain_xml.boot_files(xml)):
            raise WrongState(f"{here} lacks what {name} starts from: {lacking[0]}", hint="put it there, or choose another host", state="lacking")
        for disk in domain_xml.volumes(xml):
            if disk.is_local:
                if source.shell.used_bytes(disk.path) > host.shell.free_bytes(disk.path):
                    raise NoCapacity(f"the storage of {here} has no room for {disk.path} of {name}", hint="choose another host, or free some")
            elif not self._is_shared(disk, guest_id, source):
                raise WrongState(
                    f"{here} does not have the disk {disk.path} of {name}, or another one by that name", state="not-shared",
                    hint="choose a host with the same storage",
                )  # fmt: skip
        if not source.moves.has_way_to(host) and not source.shell.sees(here, host.link.login.port):
            raise Unreachable(f"there is no way from {source.link.address} to {here}", hint="look at the network between them", reason="unreachable")

    def _is_shared(self, disk: Volume, guest_id: str, source: LibvirtHost) -> bool:
        """Whether both hosts mean the same by a path: what one writes beside the disk, the other sees."""
        if self._host.shell.lacking([disk.path]):
            return False
        mark = f"{disk.path}.fleet-shared-{guest_id[:8]}-{time.monotonic_ns():x}"
        source.shell.put_mark(mark)
        try:
            return not self._host.shell.lacking([mark])
        finally:
            source.shell.rub_out(mark)

    def _refuse_cpu(self, name: str, xml: str) -> None:
        emulator, arch, machine, kind, cpu = domain_xml.cpu(xml)
        link, libvirt = self._host.link, self._libvirt
        if kind != "kvm" or not cpu:
            return  # an emulated CPU is the same everywhere
        try:
            fits = link.call(link.connection.compareHypervisorCPU, emulator or None, arch, machine, kind, cpu, 0)
        except WrongState:
            return  # that libvirt cannot compare: the migration itself will
        if fits == libvirt.VIR_CPU_COMPARE_INCOMPATIBLE:
            raise WrongState(f"the CPU of {link.address} lacks what {name} was started with", hint="choose a host with as new a CPU", state="cpu")

    # --- disks that go along ---------------------------------------------------------------------------------------------

    def prepare_disks(self, guest_id: str, disks: list[Volume], source: LibvirtHost) -> None:
        """Empty ones of the right size to copy into: then no storage pool is needed at that place."""
        shell = self._host.shell
        for disk in disks:
            mark = disk.path + MARK
            if not shell.lacking([disk.path]) and shell.lacking([mark]):
                words = f"{self._host.link.address} has another file {disk.path}"
                raise WrongState(words, hint="look whose it is, and move it away", state="disk-taken")
            shell.put_mark(mark)
            shell.erase([disk.path])
            try:
                shell.make_disk(Disk(disk.path, source.shell.virtual_size(disk.path), format=disk.format))
            except FleetError:
                self.drop_disks(guest_id, disks)
                raise

    def keep_disks(self, disks: list[Volume]) -> None:
        """The guest has arrived: they are no half copies any more."""
        self._host.shell.rub_out(*[disk.path + MARK for disk in disks])

    def drop_disks(self, guest_id: str, disks: list[Volume]) -> None:
        """Half copies, if the guest is not here after all. What cannot be done now is done before the next attempt."""
        try:
            for disk in disks:
                if not self._host.shell.lacking([disk.path + MARK]) and self._host.find(guest_id).state is GuestState.ABSENT:
                    self._host.shell.erase([disk.path])
                    self._host.shell.rub_out(disk.path + MARK)
        except FleetError:
            return

    # --- what is left -------------------------------------------------------------------------------------------------

    def drop_incoming(self, guest_id: str) -> None:
        """Also what is left at a source: a guest that is off, with the disks that only this host has."""
        domain = self._host.domain(guest_id)
        if domain is None:
            return
        found = self._host.find(guest_id)
        if found.state is GuestState.INCOMING or found.is_migrating_away:
            raise Busy(f"{found.name} is being migrated", hint="abort that first", holders=[found.name])
        if found.state is GuestState.RUNNING:
            raise WrongState(f"{found.name} runs on {self._host.link.address}", hint="it arrived; leave it alone", state=found.state.value)
        if found.state is GuestState.PAUSED:
            with contextlib.suppress(NotFound, WrongState):
                self._host.link.call(domain.destroyFlags, 0, what="end the half guest")
        self.drop_leftover(guest_id)

    def drop_leftover(self, guest_id: str) -> None:
        """The definition of a guest that is off, and its local disks."""
        domain = self._host.domain(guest_id)
        if domain is None:
            return
        local = [disk.path for disk in domain_xml.volumes(self._host.definition(domain)) if disk.is_local]
        self._host.forget(domain, local)
        self._host.shell.rub_out(*[path + MARK for path in local])
