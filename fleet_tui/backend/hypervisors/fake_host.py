"""One connection to one fake host: the protocol's verbs on what the world has there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import NAMESPACE_DNS, uuid5

from fleet_tui.backend.errors import Busy, FleetError, NotFound, TimedOut, Unreachable, WrongState
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
)
from fleet_tui.backend.hypervisors.fake_console import FakeConsole, serial_log
from fleet_tui.backend.hypervisors.fake_ledger import File, Guest, Host, made, plugged
from fleet_tui.backend.hypervisors.fake_moves import Flight
from fleet_tui.backend.hypervisors.fake_storage import FakeStorage

if TYPE_CHECKING:
    from fleet_tui.backend.hypervisors.fake import FakeWorld

_SECONDS: Mapping[str, float] = {
    "open": 0.3, "create": 0.8, "start": 0.7, "shut_down": 2.0, "kill": 0.2, "reboot": 0.6, "remove": 0.3, "resize": 0.3,
    "enter_maintenance": 1.5, "leave_maintenance": 1.0, "elect_master": 3.0,
}
"""How long each verb takes at pace 1."""
_BASE_MEMORY = 2 * 1024**3
"""What a hypervisor needs for itself."""
HALTED = (GuestState.OFF.value, GuestState.CRASHED.value)
RUNNING, PAUSED, OFF = GuestState.RUNNING.value, GuestState.PAUSED.value, GuestState.OFF.value


class FakeHypervisor:
    """Implements :class:`Hypervisor`."""

    def __init__(self, world: FakeWorld, host: Host, lost: Callable[[str], None]) -> None:
        self.world, self.host = world, host
        self.kind = host.kind
        self._lost, self._reason, self.storage = lost, "", FakeStorage(self)

    # --- the connection itself ---------------------------------------------------------------------------------------

    def lose(self, reason: str) -> None:
        """It broke: every verb fails from now on, and who opened it is told, once."""
        with self.world.locked():
            if not self._reason:
                self._reason = reason
                self.world.forget(self)
                self.world.tell(lambda: self._lost(reason))

    def forget(self) -> None:
        """Its owner is gone."""
        self._reason = "closed"

    def close(self) -> None:
        self.world.forget(self)
        self.forget()

    def ping(self) -> None:
        with self.verb("ping"):
            pass

    def facts(self) -> HostFacts:
        with self.verb("facts"):
            host = self.host
            return HostFacts(
                host.id, host.kind, host.version, host.arch, host.serial, host.cores, host.mhz, host.memory_bytes, host.is_accelerated,
                host.patch_level, tuple(host.storage), tuple(host.nics), host.uuid or str(uuid5(NAMESPACE_DNS, host.id)),
            )

    def figures(self) -> HostFigures:
        with self.verb("figures"):
            used = sum(guest.memory_bytes for guest in self._all() if guest.state not in HALTED) + _BASE_MEMORY
            return HostFigures(max(0, self.host.memory_bytes - used), self.host.load, self.host.disk_bytes, self.host.disk_used_bytes)

    # --- guests ------------------------------------------------------------------------------------------------------

    def guests(self) -> Sequence[GuestInfo]:
        with self.verb("guests"):
            self.world.moves.look_all(self.host.id)
            return tuple(self._info(guest) for guest in sorted(self._all(), key=lambda guest: guest.name))

    def find(self, guest_id: str) -> GuestInfo:
        with self.verb("find", guest_id):
            self.world.moves.look(guest_id)
            guest = self._guest(guest_id)
            return self._info(guest) if guest is not None else GuestInfo(guest_id, "", GuestState.ABSENT)

    def create(self, spec: GuestSpec) -> None:
        with self.verb("create", spec.id, spec.name):
            if self._guest(spec.id) is not None:
                return
            self._refuse_in_mode(f"create {spec.name}")
            for other in self._all():
                if other.name == spec.name:
                    raise WrongState(f"{self.host.id} has another guest named {spec.name}", hint="choose another name", holders=[other.guest])
            guest, files = made(spec, self.host.id), []
            for disk in guest.disks:
                identity = self.world.ledger.file_id(self.host, disk)
                if identity not in self.world.ledger.files:
                    if not (disk["size_bytes"] or disk["source"]):
                        raise NotFound(f"{self.host.id} has no disk {disk['path']}", hint="give its size, or an image, to have it made")
                    if disk["source"] in self.world.missing:
                        raise NotFound(f"{self.host.id} has no image {disk['source']}", hint="look at the path")
                    files.append(File(identity, disk["size_bytes"], disk["source"]))
            self.world.ledger.put(guest, *files)
            self.world.say(self.host.id, f"{spec.name}: defined")

    def start(self, guest_id: str) -> None:
        with self.verb("start", guest_id):
            guest = self._known(guest_id)
            if guest.state == RUNNING:
                return
            self._refuse_in_mode(f"start {guest.name}")
            if guest.state not in HALTED:
                raise WrongState(f"{guest.name} is {guest.state} on {self.host.id}", hint="look at its migration", state=guest.state)
            self.host.refuse_unplugged(guest.nics)
            if any(place.state in (RUNNING, PAUSED) for place in self.world.ledger.places(guest_id)):
                self.world.double_starts.append(guest_id)
            guest.state, guest.booted = RUNNING, self.world.now()
            guest.arrived = guest.booted
            self._put(guest, "started")

    def shut_down(self, guest_id: str, grace_s: float) -> bool:
        with self.verb("shut_down", guest_id):
            guest = self._known(guest_id)
            if guest.state in HALTED:
                return True
            self._refuse_in_flight(guest)
            listens = not guest.is_deaf and grace_s > 0 and guest.state == RUNNING
            guest.state = OFF
            self._put(guest, "shut down" if listens else "killed")
            return listens

    def kill(self, guest_id: str) -> None:
        with self.verb("kill", guest_id):
            guest = self._known(guest_id)
            if guest.state not in HALTED:
                self._refuse_in_flight(guest)
                guest.state = OFF
                self._put(guest, "killed")

    def reboot(self, guest_id: str) -> None:
        with self.verb("reboot", guest_id):
            guest = self._known(guest_id)
            self._refuse_in_flight(guest)
            if guest.state != RUNNING:
                raise WrongState(f"{guest.name} is {guest.state}, not running", hint="start it", state=guest.state)
            guest.booted = guest.arrived = self.world.now()
            self._put(guest, "rebooted")

    def resume(self, guest_id: str) -> None:
        with self.verb("resume", guest_id):
            guest = self._known(guest_id)
            if guest.state == RUNNING:
                return
            if guest.state != PAUSED or self._flight(guest_id) is not None:
                raise WrongState(f"{guest.name} is {guest.state} on {self.host.id}", hint="look at its migration", state=guest.state)
            guest.state = RUNNING
            self._put(guest, "resumed")

    def resize(self, guest_id: str, cores: int, memory_bytes: int, minimum_memory_bytes: int, cpu_weight: int) -> None:
        with self.verb("resize", guest_id):
            guest = self._known(guest_id)
            if guest.state not in HALTED:
                raise WrongState(f"{guest.name} is {guest.state}; its size changes only while it is off", hint="stop it first", state=guest.state)
            guest.cores, guest.memory_bytes = cores, memory_bytes
            guest.minimum_memory_bytes, guest.cpu_weight = minimum_memory_bytes, cpu_weight
            self._put(guest, "resized")

    def plug(self, guest_id: str, nics: Sequence[Nic]) -> None:
        with self.verb("plug", guest_id):
            guest = self._known(guest_id)
            if guest.nics == plugged(nics):
                return
            if guest.state not in HALTED:
                raise WrongState(f"{guest.name} is {guest.state}; its cards change only while it is off", hint="stop it first", state=guest.state)
            guest.nics = plugged(nics)
            self._put(guest, "plugged in anew")

    def remove(self, guest_id: str, *, with_disks: bool) -> None:
        with self.verb("remove", guest_id):
            guest = self._guest(guest_id)
            if guest is None:
                return
            if guest.state not in HALTED:
                raise WrongState(f"{guest.name} is {guest.state} on {self.host.id}", hint="stop it first", state=guest.state)
            ledger = self.world.ledger
            files = [ledger.files.get(ledger.file_id(self.host, disk)) for disk in guest.disks if with_disks and not disk.get("is_kept")]
            ledger.drop(guest, *(file for file in files if file is not None))
            self.world.say(self.host.id, f"{guest.name}: undefined")

    def console(self, guest_id: str) -> FakeConsole:
        with self.verb("console", guest_id):
            guest = self._known(guest_id)
            if guest.state != RUNNING:
                raise WrongState(f"{guest.name} is {guest.state} on {self.host.id}", hint="start it", state=guest.state)
            return FakeConsole(guest, self.world.now, lambda: guest.state in (RUNNING, PAUSED) and not self._reason)

    def log_of(self, guest_id: str, after: int, limit: int = 65_536) -> tuple[int, str]:
        with self.verb("log_of", guest_id):
            guest = self._guest(guest_id)
            if guest is None or not guest.booted:
                return after, ""
            now = self.world.now() if guest.state == RUNNING else guest.stopped or guest.arrived
            return serial_log(guest, now, after, limit)

    def log(self, after: int, limit: int = 65_536) -> tuple[int, str]:
        with self.verb("log"):
            return self.world.log_of(self.host.id, after, limit)

    # --- moving ------------------------------------------------------------------------------------------------------

    def can_receive(self, guest_id: str, source: Hypervisor) -> None:
        self._check()
        origin = self._ours(source)
        guest = self.world.ledger.guest(origin.id, guest_id)
        with self.world.faults.at("move:check", guest_id, guest.name if guest else "", self.host.id, origin.id, pause=self.world.pause):
            with self.world.locked():
                self._check(waits=False)
                if guest is None:
                    raise NotFound(f"{origin.id} has no guest {guest_id}", hint="ask the other hosts of the cluster")
                self.world.moves.check(guest, origin, self.host)

    def migrate(self, guest_id: str, destination: Hypervisor, options: MoveOptions, told: Callable[[Progress], None]) -> Moved:
        self._check()
        with self.world.locked():
            self._check(waits=False)
            flight = self.world.moves.begin(self._known(guest_id), self.host, self._ours(destination), options)
        try:
            return self._attend(flight, options, told)
        except FleetError:
            raise
        except Exception:
            with self.world.locked():
                self._give_up(flight, WrongState("the migration was aborted", hint="it runs on at the source", state="aborted"))
            if flight.moved is not None:
                return flight.moved  # it had arrived before
            raise
        finally:
            with self.world.locked():
                self.world.moves.leave(flight)

    def _attend(self, flight: Flight, options: MoveOptions, told: Callable[[Progress], None]) -> Moved:
        moves = self.world.moves
        while True:
            with self.world.locked():
                moves.advance(flight)
                if not flight.has_ended and moves.is_overdue(flight, options.timeout_s):
                    late = TimedOut(f"the migration did not end within {options.timeout_s:.0f} s", hint="allow it to converge, or stop the guest")
                    self._give_up(flight, late)
                if flight.error is not None:
                    raise flight.error
                if flight.moved is not None:
                    return flight.moved
                self._check(waits=False)
                progress, rest = moves.progress(flight), moves.rest(flight)
            try:
                told(progress)
            except FleetError as stop:
                with self.world.locked():
                    self._give_up(flight, stop)
            flight.looks += 1
            self.world.pause(rest)

    def _give_up(self, flight: Flight, error: FleetError) -> None:
        if not flight.has_ended:
            self.world.moves.end(flight, error)

    def migration(self, guest_id: str) -> Progress | None:
        with self.verb("migration", guest_id):
            self.world.moves.look(guest_id)
            flight = self._flight(guest_id)
            return self.world.moves.progress(flight) if flight is not None else None

    def abort(self, guest_id: str) -> None:
        with self.verb("abort", guest_id):
            flight = self._flight(guest_id)
            if flight is not None:
                self._give_up(flight, WrongState("the migration was aborted", hint="it runs on at the source", state="aborted"))

    def drop_incoming(self, guest_id: str) -> None:
        with self.verb("drop_incoming", guest_id):
            guest = self._guest(guest_id)
            if guest is None:
                return
            flight = self.world.moves.arriving(self.host.id, guest_id)
            if flight is not None:
                raise Busy(f"{guest.name} is being received from {flight.move.source}", hint="abort that first", holders=[flight.move.source])
            if guest.state == RUNNING:
                raise WrongState(f"{guest.name} runs on {self.host.id}", hint="it arrived; leave it alone", state=guest.state)
            self.world.moves.drop(guest)

    # --- the hypervisor's own mode (spec 8.6) ------------------------------------------------------------------------

    def enter_maintenance(self) -> None:
        with self.verb("enter_maintenance"):
            if self.kind != "xenserver" or self.host.in_mode:
                return
            if self.host.is_master:
                raise WrongState(f"{self.host.id} is master of {self.host.pool}", hint="have another host become master first", state="master")
            self.host.in_mode = True
            self.world.ledger.put(self.host)
            self.world.say(self.host.id, "maintenance mode is on")

    def leave_maintenance(self) -> None:
        with self.verb("leave_maintenance"):
            if self.kind == "xenserver" and self.host.in_mode:
                self.host.in_mode = False
                self.world.ledger.put(self.host)
                self.world.say(self.host.id, "maintenance mode is off")

    def in_maintenance(self) -> bool:
        self._check()
        return self.host.in_mode

    def is_pool_master(self) -> bool:
        self._check()
        return self.host.is_master

    def elect_master(self) -> str:
        with self.verb("elect_master"):
            return self.world.elect(self.host)

    # --- inside ------------------------------------------------------------------------------------------------------

    @contextmanager
    def verb(self, verb: str, guest_id: str = "", name: str = "") -> Iterator[None]:
        self._check()
        self.world.pause(_SECONDS.get(verb, 0.0))
        guest = self._guest(guest_id) if guest_id else None
        names = (guest_id, name or (guest.name if guest is not None else ""), self.host.id)
        point = f"guest:{verb}" if guest_id else f"host:{verb}"
        with self.world.faults.at(point, *filter(None, names), pause=self.world.pause):
            with self.world.locked():
                self._check(waits=False)
                yield

    def _check(self, *, waits: bool = True) -> None:
        """Whether the host can be asked at all now. A hypervisor that hangs is given up once the keepalive is over."""
        if self._reason:
            reason = "unreachable" if self._reason == "closed" else self._reason
            raise Unreachable(f"the connection to {self.host.id} is gone", hint="connect again", reason=reason)
        if self.host.is_hung:
            if waits:
                self.world.await_keepalive()
            if self.host.is_hung:
                self.lose("no-rpc")
                raise TimedOut(f"{self.host.id} did not answer", hint="look at its hypervisor", reason="no-rpc")

    def _ours(self, other: Hypervisor) -> Host:
        if not isinstance(other, FakeHypervisor) or other.world is not self.world:
            raise WrongState(f"{self.host.id} is of another world", hint="choose a host of the same kind")
        return other.host

    def _all(self) -> Sequence[Guest]:
        return tuple(self.world.ledger.on_host.get(self.host.id, {}).values())

    def _guest(self, guest_id: str) -> Guest | None:
        return self.world.ledger.guest(self.host.id, guest_id)

    def _known(self, guest_id: str) -> Guest:
        guest = self._guest(guest_id)
        if guest is None:
            raise NotFound(f"{self.host.id} has no guest {guest_id}", hint="ask the other hosts of the cluster")
        return guest

    def _flight(self, guest_id: str) -> Flight | None:
        return self.world.moves.of(self.host.id, guest_id)

    def _put(self, guest: Guest, did: str) -> None:
        if guest.state in HALTED:
            guest.stopped = self.world.now()
        self.world.ledger.put(guest)
        self.world.say(self.host.id, f"{guest.name}: {did}")

    def _refuse_in_mode(self, what: str) -> None:
        if self.host.in_mode:
            told = f"{self.host.id} is in its own maintenance mode and refuses to {what}"
            raise WrongState(told, hint="leave that mode first", state="maintenance")

    def _refuse_in_flight(self, guest: Guest) -> None:
        if self._flight(guest.guest) is not None:
            raise Busy(f"{guest.name} is being migrated", hint="wait for that, or abort it", holders=[guest.name])

    def _info(self, guest: Guest) -> GuestInfo:
        return GuestInfo(
            guest.guest, guest.name, GuestState(guest.state), guest.cores, guest.memory_bytes,
            is_migrating_away=self._flight(guest.guest) is not None,
        )
