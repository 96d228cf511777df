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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fleet_tui.backend.errors import FleetError, InternalError, NotFound, TimedOut, Unreachable, WrongState
from fleet_tui.backend.hypervisors import GuestInfo, GuestState, Moved, MoveOptions, Nic, Progress, domain_xml
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


class Moves:
    """Those from and to one host."""

    def __init__(self, host: LibvirtHost) -> None:
        self._host = host
        self._libvirt = host.libvirt
        self._ways: dict[str, float] = {}

    # --- the way there -----------------------------------------------------------------------------------------------

    def has_way_to(self, destination: LibvirtHost) -> bool:
        """Whether this host's root reaches that host's without a person."""
        login = destination.link.login
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
        destination.arrivals.check(guest_id, host)
        destination.arrivals.prepare_disks(guest_id, local, host)
        try:
            with self._watched(domain) as held:
                flight = _Flight(self._call(found.id, destination, local, options, held), found.name)
                self._attend(domain, found, destination, flight, options, told)
                self._let_go(guest_id, destination)
                held.ended = time.monotonic()
                if held.watch:
                    self._host.shell.relieve(held.watch)
        except BaseException:
            self._ways.pop(destination.link.address, None)  # perhaps that is what was wrong
            destination.arrivals.drop_disks(guest_id, local)
            raise
        return self._arrived(guest_id, destination, local, flight, held)

    def _call(
        self, guest_id: str, destination: LibvirtHost, local: list[Volume], options: MoveOptions, held: _Held
    ) -> Callable[[], object]:
        """The one call of libvirt that does it all, ready to be made, on connections of its own."""
        libvirt, login = self._libvirt, destination.link.login
        address = f"[{login.address}]" if ":" in login.address else login.address
        parameters: dict[str, Any] = {libvirt.VIR_MIGRATE_PARAM_URI: f"tcp://{address}"}
        # The disks were seen to be shared, which libvirt cannot know of a plain folder, and none is cached: that is what "unsafe" is about.
        flags = libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PERSIST_DEST | libvirt.VIR_MIGRATE_ABORT_ON_ERROR | libvirt.VIR_MIGRATE_UNSAFE
        flags |= libvirt.VIR_MIGRATE_PAUSED
        if options.bandwidth_mib_s:
            parameters[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH] = options.bandwidth_mib_s
        if options.nics:
            parameters.update(self._replugged(guest_id, options.nics))
        if options.converge:
            flags |= libvirt.VIR_MIGRATE_AUTO_CONVERGE
        if local:
            flags |= libvirt.VIR_MIGRATE_NON_SHARED_DISK
            parameters[libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS] = [disk.target for disk in local]
        else:
            flags |= libvirt.VIR_MIGRATE_UNDEFINE_SOURCE  # with local disks the definition is kept until they are erased: it names them
        limit = options.timeout_s + _ABORT_S + 30.0
        is_theirs = self.has_way_to(destination)
        if is_theirs:
            flags |= libvirt.VIR_MIGRATE_PEER2PEER
        uri = f"qemu+ssh://{quote(login.user, safe='')}@{address}:{login.port}/system?no_tty=1"

        def call() -> None:
            with contextlib.closing(self._host.link.again()) as here:
                domain = here.call(here.connection.lookupByUUIDString, guest_id)
                if is_theirs:
                    held.watch = self._host.shell.watch_over(guest_id, uri, options.timeout_s + 2 * _ABORT_S)
                    here.call(domain.migrateToURI3, uri, parameters, flags, what="migrate it", timeout_s=limit)
                else:
                    with contextlib.closing(destination.link.again()) as there:
                        here.call(domain.migrate3, there.connection, parameters, flags, what="migrate it", timeout_s=limit)

        return call

    def _replugged(self, guest_id: str, nics: Sequence[Nic]) -> dict[str, Any]:
        """The guest as it is to be there, now and after its next start: with its cards where that host has their networks."""
        libvirt, host = self._libvirt, self._host
        domain = host.known(guest_id)
        live = str(host.link.call(domain.XMLDesc, libvirt.VIR_DOMAIN_XML_MIGRATABLE))
        return {
            libvirt.VIR_MIGRATE_PARAM_DEST_XML: domain_xml.plugged(live, nics),
            libvirt.VIR_MIGRATE_PARAM_PERSIST_XML: domain_xml.plugged(host.definition(domain), nics),
        }

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
        raise stop or self._in_truth(flight.error, destination)

    def _in_truth(self, error: BaseException, destination: LibvirtHost) -> BaseException:
        """Who aborts from elsewhere may make libvirt say that a connection broke: when both hosts answer, none is unreachable."""
        if not isinstance(error, Unreachable) or self._host.link.is_lost or destination.link.is_lost:
            return error
        try:
            self._host.ping()
            destination.ping()
        except FleetError:
            return error
        return WrongState(f"the migration was broken off: {error.message}", hint="look at both hosts' libvirt logs", state="aborted")

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
        if local:
            destination.arrivals.keep_disks(local)
            self._host.arrivals.drop_leftover(guest_id)
        return Moved(
            flight.elapsed_ms, held.ms or int(statistics.get("downtime", 0)),
            int(statistics.get("data_processed", 0) or statistics.get("memory_processed", 0)),
        )  # fmt: skip

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

@dataclass(slots=True)
class _Held:
    """When a guest was held for its switch-over, as far as we heard; and who would let it go in our place."""

    begun: float = 0.0
    ended: float = 0.0
    watch: str = ""
    """Process number of the watch that was left at the source."""

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
