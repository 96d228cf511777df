"""Live migration between libvirt hosts.

Where the source's root gets a shell at the destination without a person, the two hosts do it among themselves (peer to peer): then a
death of ours, or of our links, interrupts nothing, and is found again by `Moves.progress`. Elsewhere we lead it; then it ends with us
and the guest stays where it was. Memory goes straight from host to host in both.

libvirt alone can end up with two running guests: a destination that hangs at the switch-over is given up, the guest goes on at the source,
and when the destination wakes it finds "start it" still in its socket. Hence a guest arrives paused, and is let go only when
the source is known to have ended its own: by us, or, when we died, by a watch left on the source (`docs/decisions/0008`).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fleet_tui.backend.errors import Busy, FleetError, InternalError, NoCapacity, NotFound, TimedOut, Unreachable, WrongState
from fleet_tui.backend.hypervisors import Disk, GuestInfo, GuestState, Moved, MoveOptions, Progress, domain_xml
from fleet_tui.backend.hypervisors.domain_xml import Volume

if TYPE_CHECKING:
    from fleet_tui.backend.hypervisors.libvirt import LibvirtHost

_TELL_S = 0.5
_SETTLE_S = 30.0
"""How long the source may take to let a guest go on after a migration that failed."""
_ABORT_S = 40.0
"""How long one that was aborted may take to end. libvirt waits up to 30 s for a destination that hangs."""
_CUT_S = 5.0
_TRUST_S = 600.0
"""How long it is believed that one host reaches another."""
_MARK = ".fleet-incoming"
"""Beside a disk that is being received: whose it is. A file without it is somebody else's, and is not written over."""


class Moves:
    """Those from and to one host."""

    def __init__(self, host: LibvirtHost) -> None:
        self._host = host
        self._libvirt = host.libvirt
        self._ways: dict[str, float] = {}

    # --- before ------------------------------------------------------------------------------------------------------

    def can_receive(self, guest_id: str, source: LibvirtHost) -> None:
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
        if not source.moves.has_way_to(host) and not source.shell.sees(here, host.link.shell.login.port):
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

    def has_way_to(self, destination: LibvirtHost) -> bool:
        """Whether this host's root reaches that host's without a person."""
        login = destination.link.shell.login
        known = self._ways.get(login.address, 0.0)
        if known > time.monotonic():
            return True
        if self._host.shell.reaches(login.user, login.address, login.port):
            self._ways[login.address] = time.monotonic() + _TRUST_S
            return True
        return False

    # --- the move itself -----------------------------------------------------------------------------------------------

    def migrate(self, guest_id: str, destination: LibvirtHost, options: MoveOptions, told: Callable[[Progress], None]) -> Moved:
        host, domain = self._host, self._host.known(guest_id)
        found = host.find(guest_id)
        host.refuse_in_flight(found)
        if found.state is not GuestState.RUNNING:
            raise WrongState(
                f"{found.name} is {found.state.value} on {host.link.address}; only a running guest moves", hint="start it", state=found.state.value
            )
        xml = str(host.link.call(domain.XMLDesc, 0))
        if domain_xml.has_device(xml):
            raise WrongState(f"{found.name} has a pass-through device and cannot move while it runs", hint="stop it first", state="device")
        local = [disk for disk in domain_xml.volumes(xml) if disk.is_local]
        if local and not options.copy_local_disks:
            raise WrongState(f"{found.name} has a disk on local storage: {local[0].path}", hint="move it with its disk", state="local-disk")
        destination.moves.can_receive(guest_id, host)
        destination.moves.prepare_disks(guest_id, local, host)
        try:
            with self._watched(domain) as held:
                flight = _Flight(self._call(domain, destination, local, options), found.name)
                self._attend(domain, found, destination, flight, options, told)
                self._let_go(guest_id, destination)
                held.ended = time.monotonic()
        except BaseException:
            destination.moves.drop_disks(guest_id, local)
            raise
        return self._arrived(guest_id, destination, local, flight, held)

    def _call(self, domain: Any, destination: LibvirtHost, local: list[Volume], options: MoveOptions) -> Callable[[], object]:
        """The one call of libvirt that does it all, ready to be made."""
        libvirt, login = self._libvirt, destination.link.shell.login
        address = f"[{login.address}]" if ":" in login.address else login.address
        parameters: dict[str, Any] = {libvirt.VIR_MIGRATE_PARAM_URI: f"tcp://{address}"}
        # The disks were seen to be shared, which libvirt cannot know of a plain folder, and none is cached: that is what "unsafe" is about.
        flags = libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PERSIST_DEST | libvirt.VIR_MIGRATE_ABORT_ON_ERROR | libvirt.VIR_MIGRATE_UNSAFE
        flags |= libvirt.VIR_MIGRATE_PAUSED
        if options.bandwidth_mib_s:
            parameters[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH] = options.bandwidth_mib_s
        if options.converge:
            flags |= libvirt.VIR_MIGRATE_AUTO_CONVERGE
        if local:
            flags |= libvirt.VIR_MIGRATE_NON_SHARED_DISK
            parameters[libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS] = [disk.target for disk in local]
        else:
            flags |= libvirt.VIR_MIGRATE_UNDEFINE_SOURCE  # with local disks the definition is kept until they are erased: it names them
        limit = options.timeout_s + _ABORT_S + 30.0
        link = self._host.link
        if self.has_way_to(destination):
            uri = f"qemu+ssh://{quote(login.user, safe='')}@{address}:{login.port}/system?no_tty=1"
            flags |= libvirt.VIR_MIGRATE_PEER2PEER
            self._host.shell.watch_over(domain.UUIDString(), uri, options.timeout_s + 2 * _ABORT_S)
            return lambda: link.call(domain.migrateToURI3, uri, parameters, flags, what="migrate it", timeout_s=limit)
        return lambda: link.call(domain.migrate3, destination.link.connection, parameters, flags, what="migrate it", timeout_s=limit)

    def _attend(
        self, domain: Any, guest: GuestInfo, destination: LibvirtHost, flight: _Flight, options: MoveOptions, told: Callable[[Progress], None]
    ) -> None:
        """Watch it to its end."""
        deadline = time.monotonic() + options.timeout_s
        stop: BaseException | None = None
        while not flight.ended.wait(_TELL_S):
            try:
                progress = self._progress(domain)
                if progress is not None:
                    told(progress)
                if time.monotonic() > deadline:
                    raise TimedOut(
                        f"the migration of {guest.name} did not end within {options.timeout_s:.0f} s",
                        hint="let it converge, give it more bandwidth, or stop the guest", reason="no-rpc",
                    )  # fmt: skip
                if destination.link.is_lost:
                    raise Unreachable(
                        f"{destination.link.address} does not answer any more", hint="ask both hosts where the guest is",
                        reason=destination.link.why(),
                    )  # fmt: skip
            except BaseException as error:
                if self._host.link.is_lost:
                    break  # the call says why
                stop = error
                break
        if stop is not None:
            self._stop(guest.id, destination, flight)
        elif not flight.ended.is_set():
            flight.ended.wait(_ABORT_S)
        if not flight.ended.is_set():
            raise TimedOut(f"the migration of {guest.name} does not end", hint="ask both hosts where the guest is", reason="no-rpc") from stop
        if flight.error is None:
            return  # it came through, perhaps just before it was to be stopped
        self._settle(guest, destination)
        if stop is not None:
            raise stop
        raise flight.error

    def _stop(self, guest_id: str, destination: LibvirtHost, flight: _Flight) -> None:
        """Ask for its end until it ends: at its very beginning there may be nothing to abort yet.

        A source that still waits for a hanging destination to let it in cannot be stopped, and would begin when that wakes: then
        its way there is cut.
        """
        begun = time.monotonic()
        has_cut = False
        while time.monotonic() < begun + _ABORT_S and not flight.ended.wait(0.2):
            try:
                self.abort(guest_id)
                if destination.link.is_lost and time.monotonic() > begun + _CUT_S and not has_cut:
                    self._host.shell.cut_ssh_of_libvirt(destination.link.address)
                    has_cut = True
            except FleetError:
                if self._host.link.is_lost:
                    return

    def _settle(self, guest: GuestInfo, destination: LibvirtHost) -> None:
        """After a failure: until the guest is known to go on here, if that can be known at all. What cannot, the caller asks."""
        deadline = time.monotonic() + _SETTLE_S
        try:
            while time.monotonic() < deadline:
                here = self._host.find(guest.id)
                if here.state is GuestState.RUNNING and not here.is_migrating_away:
                    return
                if here.state is GuestState.PAUSED and not here.is_migrating_away and destination.find(guest.id).state is GuestState.ABSENT:
                    self._host.resume(guest.id)
                elif here.state not in (GuestState.PAUSED, GuestState.RUNNING):
                    return
                time.sleep(0.2)
        except FleetError:
            return

    def _let_go(self, guest_id: str, destination: LibvirtHost) -> None:
        """It has arrived, paused. The call has ended well, so the source ended its own; that is looked at all the same."""
        if (left := self._host.find(guest_id).state) not in (GuestState.ABSENT, GuestState.OFF):
            raise WrongState(
                f"the guest is {left.value} on {self._host.link.address} although it moved", hint="ask both hosts where it is", state=left.value
            )
        destination.resume(guest_id)

    @contextlib.contextmanager
    def _watched(self, domain: Any) -> Iterator[_Held]:
        """Hear when the source holds the guest for its switch-over."""
        libvirt, link, held = self._libvirt, self._host.link, _Held()

        def happened(connection: Any, which: Any, event: int, detail: int, nothing: Any) -> None:
            if event == libvirt.VIR_DOMAIN_EVENT_SUSPENDED and detail == libvirt.VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED:
                held.begun = time.monotonic()

        number = link.call(link.connection.domainEventRegisterAny, domain, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, happened, None)
        try:
            yield held
        finally:
            with contextlib.suppress(FleetError):
                link.call(link.connection.domainEventDeregisterAny, number)

    def _arrived(self, guest_id: str, destination: LibvirtHost, local: list[Volume], flight: _Flight, held: _Held) -> Moved:
        statistics: dict[str, Any] = {}
        try:
            domain = destination.known(guest_id)
            statistics = destination.link.call(domain.jobStats, self._libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)
        except (NotFound, WrongState):
            pass  # statistics only
        destination.shell.rub_out(*[disk.path + _MARK for disk in local])
        if local:
            self.drop_leftover(guest_id)
        return Moved(
            flight.elapsed_ms, held.ms or int(statistics.get("downtime", 0)),
            int(statistics.get("data_processed", 0) or statistics.get("memory_processed", 0)),
        )  # fmt: skip

    # --- disks that go along ---------------------------------------------------------------------------------------------

    def prepare_disks(self, guest_id: str, disks: list[Volume], source: LibvirtHost) -> None:
        """Empty ones of the right size to copy into: then no storage pool is needed at that place."""
        shell = self._host.shell
        for disk in disks:
            mark = disk.path + _MARK
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

    def drop_disks(self, guest_id: str, disks: list[Volume]) -> None:
        """Half copies, if the guest is not here after all. What cannot be done now is done before the next attempt."""
        try:
            for disk in disks:
                if not self._host.shell.lacking([disk.path + _MARK]) and self._host.find(guest_id).state is GuestState.ABSENT:
                    self._host.shell.erase([disk.path])
                    self._host.shell.rub_out(disk.path + _MARK)
        except FleetError:
            return

    # --- seen from outside -----------------------------------------------------------------------------------------------

    def progress(self, guest_id: str) -> Progress | None:
        domain = self._host.domain(guest_id)
        return self._progress(domain) if domain is not None else None

    def _progress(self, domain: Any) -> Progress | None:
        job = self._host.job(domain)
        if job.get("operation") != self._libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT:
            return None
        try:
            state = self._host.link.call(domain.state, 0)[0]
            total = int(job.get("data_total", 0)) or int(self._host.link.call(domain.maxMemory)) * 1024
        except NotFound:
            return None
        remaining = min(int(job.get("data_remaining", 0)), total) if job.get("data_total") else total
        page = int(job.get("memory_page_size", 4096))
        phase = "switch" if state == self._libvirt.VIR_DOMAIN_PAUSED else "copy"
        rate = float(job.get("memory_bps", 0)) + float(job.get("disk_bps", 0))
        return Progress(phase, total, remaining, rate, float(job.get("memory_dirty_rate", 0)) * page)

    def abort(self, guest_id: str) -> None:
        domain = self._host.domain(guest_id)
        if domain is None or self._host.job(domain).get("operation") != self._libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT:
            return
        try:
            self._host.link.call(domain.abortJob, what="abort the migration")
        except (NotFound, WrongState):
            if self._progress(domain) is not None:
                raise

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
        self._host.shell.rub_out(*[path + _MARK for path in local])


@dataclass(slots=True)
class _Held:
    """When a guest was held for its switch-over, as far as we heard."""

    begun: float = 0.0
    ended: float = 0.0

    @property
    def ms(self) -> int:
        return int((self.ended - self.begun) * 1000) if 0.0 < self.begun < self.ended else 0


class _Flight:
    """A migration's call, waiting in a thread of its own."""

    def __init__(self, call: Callable[[], object], name: str) -> None:
        self._call = call
        self.ended = threading.Event()
        self.error: BaseException | None = None
        self._begun = time.monotonic()
        self.elapsed_ms = 0
        threading.Thread(target=self._fly, name=f"migrate-{name}"[:15], daemon=True).start()

    def _fly(self) -> None:
        try:
            self._call()
        except FleetError as error:
            self.error = error
        except BaseException as error:
            self.error = InternalError(f"the migration ended with {type(error).__name__}")
        finally:
            self.elapsed_ms = int((time.monotonic() - self._begun) * 1000)
            self.ended.set()
