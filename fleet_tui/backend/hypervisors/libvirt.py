"""KVM and plain QEMU hosts, by libvirt: the driver. How it is reached is in `libvirt_link`, moving guests in `libvirt_moves`.

A guest is known to libvirt by its id as UUID, and by its name, which is unique on a host.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any
from xml.etree import ElementTree as ET

from fleet_tui.backend.errors import Busy, InvalidInput, NotFound, WrongState
from fleet_tui.backend.hypervisors import (
    GuestInfo,
    GuestSpec,
    GuestState,
    HostFacts,
    HostFigures,
    Hypervisor,
    Moved,
    MoveOptions,
    Nic,
    Progress,
    domain_xml,
)
from fleet_tui.backend.hypervisors.domain_xml import SERIAL_LOG, Tuning
from fleet_tui.backend.hypervisors.host_shell import HostShell
from fleet_tui.backend.hypervisors.libvirt_arrivals import Arrivals
from fleet_tui.backend.hypervisors.libvirt_console import LibvirtConsole
from fleet_tui.backend.hypervisors.libvirt_link import Link
from fleet_tui.backend.hypervisors.libvirt_moves import Moves
from fleet_tui.backend.hypervisors.libvirt_storage import HostStorage
from fleet_tui.backend.remote import Login
from fleet_tui.backend.remote.ssh import SshReach
from fleet_tui.backend.text import clean

KIND = "kvm"
_LOOK_S = 0.2
_START_S = 90.0
_REBOOT_S = 15.0
"""How long a guest may take to end when it is asked to reboot; then it is reset."""
_NO_SERIALS = ("", "none", "not specified", "default string", "to be filled by o.e.m.", "system serial number", "0", "123456789")
HALTED = (GuestState.OFF, GuestState.CRASHED)


class Libvirt:
    """The way to libvirt hosts: an implementation of :class:`Hypervisors` for ``kvm``."""

    def __init__(self, reach: SshReach) -> None:
        self._reach = reach

    def open(self, kind: str, login: Login, lost: Callable[[str], None]) -> LibvirtHost:
        if kind != KIND:
            raise InvalidInput(f"there is no driver for hypervisor {clean(kind, 40)!r} here", hint=f"known: {KIND}")
        return LibvirtHost(Link(self._reach, login, lost))


class LibvirtHost:
    """Implements :class:`Hypervisor`."""

    kind = KIND

    def __init__(self, link: Link) -> None:
        self.link = link
        self.libvirt = link.libvirt
        self.shell = HostShell(link.shell)
        self.moves, self.arrivals, self.storage = Moves(self), Arrivals(self), HostStorage(self)

    # --- the host ----------------------------------------------------------------------------------------------------

    def ping(self) -> None:
        self.link.call(self.link.connection.getLibVersion)

    def facts(self) -> HostFacts:
        connection, call = self.link.connection, self.link.call
        _, _, cores, mhz = call(connection.getInfo)[:4]
        memory = call(connection.getMemoryStats, self.libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)  # the node's own figure misses hot-plugged memory
        pools = sorted(pool.name() for pool in call(connection.listAllStoragePools, self.libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE))
        said = self._said
        serial = next(iter(said.get("serial", [])), "")
        return HostFacts(
            host_name=clean(call(connection.getHostname), 253), hypervisor=KIND,
            version=f"QEMU {_dotted(call(connection.getVersion))}, libvirt {_dotted(call(connection.getLibVersion))}",
            arch=self._capabilities.findtext("./host/cpu/arch", ""), serial=clean(self.identity if serial.lower() in _NO_SERIALS else serial, 120),
            cores=cores, mhz=mhz, memory_bytes=int(memory["total"]) * 1024, is_accelerated="accelerated" in said,
            patch_level=clean(", kernel ".join(said.get("system", [])[:1] + said.get("kernel", [])[:1]), 200),
            pools=tuple(clean(pool, 200) for pool in pools),
            nics=tuple(clean(nic, 40) for nic in sorted(said.get("nic", [])) if nic != "lo"), uuid=self.identity,
        )  # fmt: skip

    def figures(self) -> HostFigures:
        pools = self.link.call(self.link.connection.listAllStoragePools, self.libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE)
        paths = {ET.fromstring(self.link.call(pool.XMLDesc, 0)).findtext("./target/path", "") for pool in pools}
        return self.shell.figures(sorted(path for path in paths if path.startswith("/")))

    @property
    def identity(self) -> str:
        """The host's UUID."""
        return self._capabilities.findtext("./host/uuid", "")

    @cached_property
    def _capabilities(self) -> ET.Element:
        return ET.fromstring(self.link.call(self.link.connection.getCapabilities))

    @cached_property
    def _said(self) -> dict[str, list[str]]:
        return self.shell.facts()

    @cached_property
    def tuning(self) -> Tuning:
        info = self.link.call(self.link.connection.getInfo)
        cgroup = next(iter(self._said.get("cgroup", [])), "0")
        return Tuning("accelerated" in self._said, int(cgroup), int(info[2]), int(info[3]))

    # --- guests ------------------------------------------------------------------------------------------------------

    def guests(self) -> Sequence[GuestInfo]:
        found = []
        for domain in self.link.call(self.link.connection.listAllDomains, 0):
            try:
                found.append(self._info(domain))
            except NotFound:
                continue  # it went meanwhile
        return tuple(sorted(found, key=lambda guest: guest.name))

    def find(self, guest_id: str) -> GuestInfo:
        domain = self.domain(guest_id)
        try:
            return self._info(domain) if domain is not None else GuestInfo(guest_id, "", GuestState.ABSENT)
        except NotFound:
            return GuestInfo(guest_id, "", GuestState.ABSENT)

    def create(self, spec: GuestSpec) -> None:
        if self.domain(spec.id) is not None:
            return
        self.refuse_name(spec.name, spec.id)
        for disk in spec.disks:
            self.shell.make_disk(disk)
        self.link.call(self.link.connection.defineXML, domain_xml.defined(spec, self.tuning), what=f"define {spec.name}")

    def start(self, guest_id: str) -> None:
        domain = self.known(guest_id)
        found = self._info(domain)
        if found.state is GuestState.RUNNING:
            return
        if found.state not in HALTED:
            raise self._stands_wrong(found, "look at its migration")
        try:
            self.link.call(domain.create, what=f"start {found.name}", timeout_s=_START_S)
        except WrongState:
            if self._info(domain).state is not GuestState.RUNNING:
                raise

    def shut_down(self, guest_id: str, grace_s: float) -> bool:
        domain = self.known(guest_id)
        found = self._info(domain)
        if found.state in HALTED:
            return True
        self.refuse_in_flight(found)
        if grace_s > 0 and found.state is GuestState.RUNNING:
            self._ask_to_end(domain)
            deadline = time.monotonic() + grace_s
            while time.monotonic() < deadline:
                if self._info(domain).state in HALTED:
                    return True
                time.sleep(_LOOK_S)
        self.kill(guest_id)
        return False

    def _ask_to_end(self, domain: Any) -> None:
        try:
            self.link.call(domain.shutdownFlags, self.libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN, what="press its power button")
        except (WrongState, Busy):
            return  # it ends at this moment, or will be killed

    def kill(self, guest_id: str) -> None:
        domain = self.known(guest_id)
        found = self._info(domain)
        if found.state in HALTED:
            return
        self.refuse_in_flight(found)
        try:
            self.link.call(domain.destroyFlags, 0, what=f"kill {found.name}")
        except WrongState:
            if self._info(domain).state not in HALTED:
                raise

    def reboot(self, guest_id: str) -> None:
        domain = self.known(guest_id)
        found = self._info(domain)
        self.refuse_in_flight(found)
        if found.state is not GuestState.RUNNING:
            raise WrongState(f"{found.name} is {found.state.value}, not running", hint="start it", state=found.state.value)
        rebooted, connection = threading.Event(), self.link.connection
        event = self.link.call(
            connection.domainEventRegisterAny, domain, self.libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, lambda *about: rebooted.set(), None
        )
        try:
            self.link.call(domain.reboot, self.libvirt.VIR_DOMAIN_REBOOT_ACPI_POWER_BTN, what=f"reboot {found.name}")
            if not rebooted.wait(_REBOOT_S):
                self.link.call(domain.reset, 0, what=f"reset {found.name}")
            deadline = time.monotonic() + _REBOOT_S
            while self._info(domain).state is not GuestState.RUNNING and time.monotonic() < deadline:
                time.sleep(_LOOK_S)  # it is held for a moment between the two
        finally:
            if not self.link.is_lost:
                self.link.call(connection.domainEventDeregisterAny, event)

    def resume(self, guest_id: str) -> None:
        domain = self.known(guest_id)
        found = self._info(domain)
        if found.state is GuestState.RUNNING:
            return
        if found.state is not GuestState.PAUSED or found.is_migrating_away:
            raise self._stands_wrong(found, "look at its migration")
        self.link.call(domain.resume, what=f"let {found.name} go on")

    def resize(self, guest_id: str, cores: int, memory_bytes: int, minimum_memory_bytes: int, cpu_weight: int) -> None:
        domain, name = self.off(guest_id, "its size changes")
        xml = domain_xml.resized(self.definition(domain), cores, memory_bytes, minimum_memory_bytes, cpu_weight, self.tuning)
        self.link.call(self.link.connection.defineXML, xml, what=f"resize {name}")

    def plug(self, guest_id: str, nics: Sequence[Nic]) -> None:
        domain, name = self.off(guest_id, "its cards change")
        self.link.call(self.link.connection.defineXML, domain_xml.plugged(self.definition(domain), nics), what=f"plug in {name}")

    def off(self, guest_id: str, what: str) -> tuple[Any, str]:
        domain = self.known(guest_id)
        found = self._info(domain)
        if found.state not in HALTED:
            raise WrongState(f"{found.name} is {found.state.value}; {what} only while it is off", hint="stop it first", state=found.state.value)
        return domain, found.name

    def remove(self, guest_id: str, *, with_disks: bool) -> None:
        domain = self.domain(guest_id)
        if domain is None:
            return
        found = self._info(domain)
        if found.state not in HALTED:
            raise self._stands_wrong(found, "stop it first")
        disks = domain_xml.volumes(self.definition(domain)) if with_disks else []
        self.forget(domain, [disk.path for disk in disks if not disk.is_kept])

    def forget(self, domain: Any, paths: Sequence[str]) -> None:
        """Files first: with the definition goes the knowledge of them."""
        log = domain_xml.serial_log(self.definition(domain))
        self.shell.erase(paths)
        self.shell.rub_out(*filter(None, [log]))
        libvirt = self.libvirt
        kept = libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
        try:
            self.link.call(domain.undefineFlags, kept | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA, what="undefine it")
        except NotFound:
            return

    def console(self, guest_id: str) -> LibvirtConsole:
        domain = self.known(guest_id)
        found = self._info(domain)
        if found.state is not GuestState.RUNNING:
            raise self._stands_wrong(found, "start it")
        link = self.link.again()
        try:
            return LibvirtConsole(link, domain.UUIDString(), found.name)
        except BaseException:
            link.close()
            raise

    def log_of(self, guest_id: str, after: int, limit: int = 65_536) -> tuple[int, str]:
        return self.shell.tail(SERIAL_LOG.format(id=self._uuid(guest_id)), after, limit)

    def log(self, after: int, limit: int = 65_536) -> tuple[int, str]:
        return self.shell.log(after, limit)

    # --- moving ------------------------------------------------------------------------------------------------------

    def can_receive(self, guest_id: str, source: Hypervisor) -> None:
        self.arrivals.check(guest_id, _libvirt(source))

    def migrate(self, guest_id: str, destination: Hypervisor, options: MoveOptions, told: Callable[[Progress], None]) -> Moved:
        return self.moves.migrate(guest_id, _libvirt(destination), options, told)

    def migration(self, guest_id: str) -> Progress | None:
        return self.moves.progress(guest_id)

    def abort(self, guest_id: str) -> None:
        self.moves.abort(guest_id)

    def drop_incoming(self, guest_id: str) -> None:
        self.arrivals.drop_incoming(guest_id)

    # --- KVM has no maintenance mode of its own, and no pool ------------------------------------------------------------

    def enter_maintenance(self) -> None: ...
    def leave_maintenance(self) -> None: ...

    def in_maintenance(self) -> bool:
        return False

    def is_pool_master(self) -> bool:
        return False

    def elect_master(self) -> str:
        raise WrongState("KVM hosts have no pool master", hint="nothing needs to be done", state="no-pool")

    def close(self) -> None:
        self.link.close()

    # --- what the verbs look with --------------------------------------------------------------------------------------

    def domain(self, guest_id: str) -> Any | None:
        """libvirt's handle; ``None`` where it does not know the guest."""
        try:
            return self.link.call(self.link.connection.lookupByUUIDString, self._uuid(guest_id))
        except NotFound:
            return None

    def known(self, guest_id: str) -> Any:
        domain = self.domain(guest_id)
        if domain is None:
            raise NotFound(f"{self.link.address} has no guest {clean(guest_id, 60)}", hint="ask the other hosts of the cluster")
        return domain

    def definition(self, domain: Any) -> str:
        """As it will be at its next start."""
        return str(self.link.call(domain.XMLDesc, self.libvirt.VIR_DOMAIN_XML_INACTIVE))

    def job(self, domain: Any) -> dict[str, Any]:
        """Statistics of a migration in flight; empty when there is none. At its destination only that there is one."""
        libvirt = self.libvirt
        try:
            stats: dict[str, Any] = self.link.call(domain.jobStats, 0)
        except (NotFound, WrongState) as error:
            is_source_only = error.details.get("libvirt_code") == libvirt.VIR_ERR_OPERATION_UNSUPPORTED
            return {"operation": libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN} if is_source_only else {}
        moving = (libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN, libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT)
        is_under_way = stats.get("type") not in (None, libvirt.VIR_DOMAIN_JOB_NONE) and stats.get("operation") in moving
        return stats if is_under_way else {}

    def refuse_name(self, name: str, guest_id: str) -> None:
        """A name that another guest has here."""
        try:
            other = self.link.call(self.link.connection.lookupByName, name)
        except NotFound:
            return
        if (holder := other.UUIDString()) != self._uuid(guest_id):
            raise WrongState(
                f"{self.link.address} has another guest named {clean(name, 100)}", hint="choose another name", state="name-taken", holders=[holder]
            )

    def refuse_in_flight(self, found: GuestInfo) -> None:
        if found.is_migrating_away or found.state is GuestState.INCOMING:
            raise Busy(f"{found.name} is being migrated", hint="wait for that, or abort it", holders=[found.name])

    def _stands_wrong(self, found: GuestInfo, hint: str) -> WrongState:
        return WrongState(f"{found.name} is {found.state.value} on {self.link.address}", hint=hint, state=found.state.value)

    def _info(self, domain: Any) -> GuestInfo:
        state, reason = self.link.call(domain.state, 0)
        job = self.job(domain) if state not in (self.libvirt.VIR_DOMAIN_SHUTOFF, self.libvirt.VIR_DOMAIN_CRASHED) else {}
        operation = job.get("operation")
        shown = self._state(state, reason)
        if operation == self.libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN and shown is not GuestState.RUNNING:
            shown = GuestState.INCOMING
        info = self.link.call(domain.info)
        return GuestInfo(
            domain.UUIDString(), clean(domain.name(), 200), shown, int(info[3]), int(info[1]) * 1024,
            operation == self.libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT,
        )  # fmt: skip

    def _state(self, state: int, reason: int) -> GuestState:
        libvirt = self.libvirt
        if state == libvirt.VIR_DOMAIN_CRASHED or (state == libvirt.VIR_DOMAIN_SHUTOFF and reason == libvirt.VIR_DOMAIN_SHUTOFF_CRASHED):
            return GuestState.CRASHED
        if state in (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_NOSTATE):
            return GuestState.OFF
        return GuestState.PAUSED if state in (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PMSUSPENDED) else GuestState.RUNNING

    def _uuid(self, guest_id: str) -> str:
        """As libvirt writes it; nothing else gets into a path."""
        try:
            return str(uuid.UUID(guest_id))
        except ValueError:
            raise InvalidInput(f"{clean(guest_id, 60)!r} is no id of a guest", hint="a UUID is wanted") from None


def _libvirt(other: Hypervisor) -> LibvirtHost:
    if not isinstance(other, LibvirtHost):
        raise WrongState(f"a guest cannot move between {KIND} and {other.kind}", hint="choose a host of the same kind", state="other-kind")
    return other


def _dotted(version: int) -> str:
    """libvirt's numbers: 1,000,000 x major + 1,000 x minor + release."""
    return f"{version // 1_000_000}.{version // 1_000 % 1_000}.{version % 1_000}"
