"""Live migrations of the fake hypervisors: phases that follow from the time, so that they go on whoever watches, and what can go wrong in them.

Pre-copy as QEMU does it: memory is sent at the link's rate while the guest changes some of it again; it converges when the rate is
the larger, and with ``converge`` the guest is slowed down until it is. At pace 0 time is made of looks: each takes a move a step further.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleet_tui.backend.errors import Busy, FleetError, NoCapacity, TimedOut, Unreachable, WrongState
from fleet_tui.backend.hypervisors import GuestState, Moved, MoveOptions, Progress
from fleet_tui.backend.hypervisors.fake_ledger import File, Guest, Host, Move, plugged

if TYPE_CHECKING:
    from fleet_tui.backend.faults import Fault
    from fleet_tui.backend.hypervisors.fake import FakeWorld

RATE = 1.1e9
"""Bytes a second of a 10 Gbit/s link."""
SWITCH_S = 0.3
_BREAKS = ("source-off", "destination-off", "link-lost")
_STEPS = 4
"""Looks that a copy takes at pace 0."""
_PATIENCE = 8
"""Looks without an end after which a caller's time is over, at pace 0."""
INCOMING, OFF, PAUSED, RUNNING = (state.value for state in (GuestState.INCOMING, GuestState.OFF, GuestState.PAUSED, GuestState.RUNNING))


@dataclass(slots=True)
class Flight:
    """A move as this process sees it."""

    move: Move
    looks: int = 0
    is_attended: bool = False
    """Whether a caller waits for it; only then is time not made of looks."""
    moved: Moved | None = None
    error: FleetError | None = None

    @property
    def has_ended(self) -> bool:
        return self.moved is not None or self.error is not None


class Moves:
    """All of a world's. Every method is called under the world's lock."""

    def __init__(self, world: FakeWorld) -> None:
        self._world = world
        self._flights = {move.id: Flight(move) for move in world.ledger.moves.values()}

    # --- from outside ------------------------------------------------------------------------------------------------

    def check(self, guest: Guest, source: Host, destination: Host) -> None:
        """What a destination says before anything moves."""
        ledger = self._world.ledger
        if destination.id == source.id:
            raise WrongState(f"{guest.name} is on {source.id} already", hint="choose another host", state="same-host")
        if destination.kind != source.kind or destination.arch != source.arch:
            raise WrongState(
                f"{destination.id} is {destination.kind} on {destination.arch}, {source.id} is {source.kind} on {source.arch}",
                hint="choose a host of the same kind",
            )
        if destination.in_mode:
            raise WrongState(f"{destination.id} is in its own maintenance mode", hint="choose another host", state="maintenance")
        if destination.pool != source.pool:
            raise WrongState(f"{destination.id} does not have the disks of {guest.name}: it is not of {source.pool or source.id}",
                             hint="choose a host of the same cluster")
        if (there := ledger.guest(destination.id, guest.guest)) is not None and there.state != OFF:
            raise WrongState(f"{destination.id} has {guest.name} already, {there.state}", hint="remove what is left there", state=there.state)
        for other in ledger.on_host.get(destination.id, {}).values():
            if other.name == guest.name and other.guest != guest.guest:
                raise WrongState(f"{destination.id} has another guest named {guest.name}", hint="rename or remove that one", holders=[other.guest])
        self._reachable(source, destination)

    def begin(self, guest: Guest, source: Host, destination: Host, options: MoveOptions) -> Flight:
        """Start it; the caller attends to it."""
        if guest.guest in self._flights:
            raise Busy(f"{guest.name} is being migrated already", hint="wait for that, or abort it", holders=[guest.name])
        if guest.state != RUNNING:
            raise WrongState(f"{guest.name} is {guest.state} on {source.id}; only a running guest moves", hint="start it", state=guest.state)
        if guest.has_device:
            raise WrongState(f"{guest.name} has a pass-through device and cannot move while it runs", hint="stop it first", state="device")
        self.check(guest, source, destination)
        local = [disk for disk in guest.disks if disk["is_local"]]
        if local and not options.copy_local_disks:
            raise WrongState(f"{guest.name} has a disk on local storage: {local[0]['path']}", hint="move it with its disk", state="local-disk")
        sizes = sum(disk["size_bytes"] for disk in local)
        if destination.disk_used_bytes + sizes > destination.disk_bytes:
            raise NoCapacity(f"the storage of {destination.id} has no room for the disks of {guest.name}", hint="choose another host")
        nics = plugged(options.nics) or guest.nics
        destination.refuse_unplugged(nics)
        rate = min(RATE, options.bandwidth_mib_s * 1024**2) if options.bandwidth_mib_s else RATE
        move = Move(
            guest.guest, source.id, destination.id, self._world.now(), guest.memory_bytes + sizes, rate, guest.dirty_rate, options.converge
        )
        arriving = self._copy_of(guest, destination, INCOMING)
        arriving.nics = nics
        files = [File(self._world.ledger.file_id(destination, disk), disk["size_bytes"]) for disk in local]
        self._world.ledger.put(move, arriving, *files)
        self._world.say(source.id, f"{guest.name}: migration to {destination.id} begun, {move.total_bytes / 2**30:.1f} GiB")
        flight = self._flights[guest.guest] = Flight(move, is_attended=True)
        return flight

    def of(self, host: str, guest_id: str) -> Flight | None:
        """The flight away from a host."""
        flight = self._flights.get(guest_id)
        return flight if flight is not None and flight.move.source == host else None

    def arriving(self, host: str, guest_id: str) -> Flight | None:
        """The flight to a host."""
        flight = self._flights.get(guest_id)
        return flight if flight is not None and flight.move.destination == host else None

    def look(self, guest_id: str) -> None:
        """Bring the move of a guest, if there is one, up to now."""
        flight = self._flights.get(guest_id)
        if flight is not None:
            if not flight.is_attended:
                flight.looks += 1
            self.advance(flight)

    def look_all(self, host: str) -> None:
        for flight in tuple(self._flights.values()):
            if host in (flight.move.source, flight.move.destination):
                self.look(flight.move.id)

    def progress(self, flight: Flight) -> Progress:
        move = flight.move
        if move.phase == "switch":
            return Progress("switch", move.total_bytes, min(move.total_bytes, 31 * 2**20), move.rate, 0.0)
        net = move.rate - _dirt(move)
        at = min(self._elapsed(flight), self._copy_s(move))
        left = move.total_bytes - int(net * at) if net > 0 else max(move.total_bytes - int(move.rate * at), move.total_bytes // 3)
        return Progress("copy", move.total_bytes, max(0, left), move.rate, _dirt(move))

    def is_overdue(self, flight: Flight, timeout_s: float) -> bool:
        if not self._world.pace:
            return flight.looks > _PATIENCE
        return self._elapsed(flight) + flight.move.held_s > timeout_s

    def rest(self, flight: Flight) -> float:
        """Seconds of the world's time until something happens, at most half a second."""
        move = flight.move
        due = self._copy_s(move) + (SWITCH_S if move.phase == "switch" else 0.0) - self._elapsed(flight)
        return 0.5 if move.is_hung else max(0.01, min(0.5, due))

    def advance(self, flight: Flight) -> None:
        """Everything that is due has happened after this; at pace 0, one thing."""
        move = flight.move
        if move.is_hung and self._world.faults.is_released:
            move.is_hung = False
        source, destination = self._host(move.source), self._host(move.destination)
        if not flight.has_ended and not (source.can_work and destination.can_work):
            self.end(flight, Unreachable(f"the connection between {source.id} and {destination.id} broke", hint="look at both hosts"))
        if self._goes_on(flight) and not move.is_half_done and self._elapsed(flight) >= min(self._copy_s(move) / 2, 3600.0):
            move.is_half_done = True
            self._meet(flight, "copy")
        if self._goes_on(flight) and move.phase == "copy" and self._elapsed(flight) >= self._copy_s(move):
            move.phase = "switch"
            guest = self._guest(move.source, move.id)
            assert guest is not None
            guest.state = PAUSED
            self._world.ledger.put(guest, move)
            if not self._world.pace:
                return
        if self._goes_on(flight) and move.phase == "switch" and self._is_over(flight):
            self._meet(flight, "switch")
            if self._goes_on(flight):
                self._hand_over(flight)

    def end(self, flight: Flight, error: FleetError) -> None:
        """It did not come through: the guest goes on at the source, the half copy is dropped."""
        move = flight.move
        guest, arriving = self._guest(move.source, move.id), self._guest(move.destination, move.id)
        if guest is not None and guest.state == PAUSED:
            guest.state = RUNNING
            self._world.ledger.put(guest)
        if arriving is not None and arriving.state == INCOMING:
            self.drop(arriving)
        self._close(flight)
        flight.error = error
        self._world.say(move.source, f"migration to {move.destination} ended: {error.message}")

    def leave(self, flight: Flight) -> None:
        """Its caller is gone; it goes on."""
        flight.is_attended = False

    def host_ended(self, host: Host, why: str) -> None:
        """A host lost its power or its service: nothing moves from or to it any more. Called before its guests are off."""
        for flight in tuple(self._flights.values()):
            if host.id in (flight.move.source, flight.move.destination):
                self.end(flight, Unreachable(f"{host.id} {why} during the migration", hint="ask both hosts where the guest is"))

    # --- inside ------------------------------------------------------------------------------------------------------

    def _meet(self, flight: Flight, phase: str) -> None:
        """What was to go wrong in this phase goes wrong."""
        move = flight.move
        fault = self._take(move, phase)
        if fault is None:
            return
        if fault.effect == "hang" and not self._world.faults.is_released:
            move.is_hung = True
            self._world.ledger.put(move)
        elif fault.effect == "delay":
            move.held_s += fault.seconds
            self._world.ledger.put(move)
        elif fault.effect == "after" and phase == "switch":
            self._hand_over(flight, fault)
        elif fault.effect == "stuck":
            self._close(flight)
            flight.error = fault.reason()
        elif fault.effect in _BREAKS:
            self._break(move, fault)
        else:
            self.end(flight, fault.reason())

    def _goes_on(self, flight: Flight) -> bool:
        return not flight.has_ended and not flight.move.is_hung

    def _take(self, move: Move, phase: str) -> Fault | None:
        guest = self._guest(move.source, move.id) or self._guest(move.destination, move.id)
        name = guest.name if guest is not None else move.id
        return self._world.faults.take(f"move:{phase}", move.id, name, move.source, move.destination)

    def _break(self, move: Move, fault: Fault) -> None:
        if fault.effect == "link-lost":
            self._world.cut_link(move.destination)
        else:
            self._world.power_off(move.source if fault.effect == "source-off" else move.destination)

    def _hand_over(self, flight: Flight, fault: Fault | None = None) -> None:
        """The guest runs at the destination from here on. ``fault``: then the call fails, and the source keeps its definition."""
        move, ledger = flight.move, self._world.ledger
        left, arrived = self._guest(move.source, move.id), self._guest(move.destination, move.id)
        assert left is not None and arrived is not None
        left.state, arrived.state = OFF, RUNNING
        left.stopped = arrived.arrived = self._world.now()
        ledger.put(left, arrived)
        self._close(flight)
        fault = fault or self._take(move, "cleanup")
        if fault is None or not (fault.point == "move:switch" or fault.effect in ("fail", "source-off", "link-lost")):
            self.drop(left)
        if fault is None or fault.effect in ("delay", "hang"):
            flight.moved = Moved(
                int((self._copy_s(move) + SWITCH_S) * 1000), _downtime_ms(move.id),
                int(min(self._copy_s(move) * move.rate, 10 * move.total_bytes)),
            )
        else:
            flight.error = fault.reason()
            if fault.effect in _BREAKS:
                self._break(move, fault)
        self._world.say(move.destination, f"{arrived.name}: arrived from {move.source}")

    def _close(self, flight: Flight) -> None:
        self._flights.pop(flight.move.id, None)
        self._world.ledger.drop(flight.move)

    def drop(self, guest: Guest) -> None:
        """A guest's definition on one host, with the disks that only that host has."""
        ledger = self._world.ledger
        host = self._host(guest.host)
        files = [ledger.files.get(ledger.file_id(host, disk)) for disk in guest.disks if disk["is_local"]]
        ledger.drop(guest, *(file for file in files if file is not None))

    def _copy_of(self, guest: Guest, host: Host, state: str) -> Guest:
        values = {name: getattr(guest, name) for name in Guest.__slots__}
        return Guest(**{**values, "id": f"{guest.guest}@{host.id}", "host": host.id, "state": state, "disks": list(guest.disks)})

    def _elapsed(self, flight: Flight) -> float:
        move, pace = flight.move, self._world.pace
        if pace:
            return (self._world.now() - move.begun) / pace - move.held_s
        copy = self._copy_s(move)
        return flight.looks * (copy / _STEPS if math.isfinite(copy) else 1800.0)

    def _is_over(self, flight: Flight) -> bool:
        return not self._world.pace or self._elapsed(flight) >= self._copy_s(flight.move) + SWITCH_S

    def _copy_s(self, move: Move) -> float:
        net = move.rate - _dirt(move)
        return move.total_bytes / net if net > 0 else math.inf

    def _reachable(self, source: Host, destination: Host) -> None:
        if destination.is_hung:
            raise TimedOut(f"{destination.id} does not answer {source.id}", hint="look at its hypervisor", reason="no-rpc")
        for host in (source, destination):
            if not host.can_work:
                reason = host.link or "unreachable"
                raise Unreachable(f"there is no way from {source.id} to {destination.id}: {reason}", hint="look at the network", reason=reason)

    def _host(self, name: str) -> Host:
        return self._world.host(name)

    def _guest(self, host: str, guest_id: str) -> Guest | None:
        return self._world.ledger.guest(host, guest_id)


def _dirt(move: Move) -> float:
    """Bytes a second that the guest changes while it is copied; slowed down to half of what the link carries when it may be."""
    return min(move.dirty_rate, move.rate / 2) if move.converge else move.dirty_rate


def _downtime_ms(guest_id: str) -> int:
    """Between 60 and 259 ms; follows from the guest."""
    return 60 + int(hashlib.sha256(guest_id.encode()).hexdigest()[:6], 16) % 200
