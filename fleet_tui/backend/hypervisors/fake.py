"""Hosts that are not there: any number of them, with guests that move, fail and come back as on real ones.

A `FakeWorld` stands for the machines themselves, so it outlives the daemon: with a directory in a journal, without one in memory, for
tests that throw their daemon away and keep the world. A contract suite runs over it and over libvirt alike. It ships, for
``fleet demo`` and for tests at scale: 2,000 hosts with 20,000 guests cost a few hundred bytes each.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fleet_tui.backend.clock import Clock, SystemClock
from fleet_tui.backend.errors import AuthFailed, InvalidInput, NotFound, Unreachable, WrongState
from fleet_tui.backend.faults import Faults
from fleet_tui.backend.hypervisors import GuestSpec, GuestState
from fleet_tui.backend.hypervisors import faults as hypervisors
from fleet_tui.backend.hypervisors.fake_host import FakeHypervisor
from fleet_tui.backend.hypervisors.fake_ledger import MASTER_KINDS, File, Guest, Host, WorldLedger, made
from fleet_tui.backend.hypervisors.fake_moves import Moves
from fleet_tui.backend.remote import Login
from fleet_tui.backend.remote import fake as remote
from fleet_tui.backend.remote.fake import FakeReach, Machine

VOCABULARY = hypervisors.VOCABULARY | remote.VOCABULARY
KINDS = ("kvm", "xenserver", "vsphere", "lxc")
KEEPALIVE_S = 8.0
"""After which a silent connection is given up, at pace 1."""
_LOG_LINES = 500
_HALTED = (GuestState.OFF.value, GuestState.CRASHED.value)


class FakeWorld:
    """The hosts, and the way to them: an implementation of :class:`Hypervisors`. Safe to use from any thread.

    Args:
        directory: where it keeps its journal; in memory when there is none.
        pace: factor on every delay. At 0 nothing takes time, but a move goes through all its phases, one at each look.
        clock: moves and serial logs follow its wall clock.

    ``reach`` is the way to the same machines' shells: power, network, passwords and host keys are theirs in common.
    """

    def __init__(self, directory: Path | None = None, faults: Faults | None = None, *, pace: float = 1.0, clock: Clock | None = None) -> None:
        self.faults = faults or Faults(VOCABULARY)
        self.pace = pace
        self.clock = clock or SystemClock()
        self._lock = threading.RLock()
        self._depth = 0
        self._due: list[Callable[[], None]] = []
        """Losses to be told once nobody holds the lock: who is told may ask something back."""
        self.ledger = WorldLedger(directory)
        self.reach = FakeReach(self.faults, self.ledger, self._lock)
        self.moves = Moves(self)
        self.double_starts: list[str] = []
        """Guests that were started while they ran elsewhere: what must never be."""
        self.missing: set[str] = set()
        """Images that are not there, although somebody may ask for them; all others are."""
        self.contents: Path | None = None
        """Where disks apart from guests have real folders; nowhere when ``None``."""
        self._connections: set[FakeHypervisor] = set()
        self._logs: dict[str, tuple[int, deque[str]]] = {}
        """What each hypervisor said last, and how many bytes before that are forgotten."""
        self._by_address = {host.address: host.id for host in self.ledger.hosts.values()}
        self._closed = threading.Event()

    # --- the protocol ------------------------------------------------------------------------------------------------

    def open(self, kind: str, login: Login, lost: Callable[[str], None]) -> FakeHypervisor:
        if kind not in KINDS:
            raise InvalidInput(f"there is no driver for hypervisor {kind!r}", hint=f"known: {', '.join(KINDS)}")
        name = self._by_address.get(login.address, "")
        with self.faults.at("host:open", name, login.address, pause=self.pause):
            self.reach.admit(login)
            with self.locked():
                host = self.host(name)
                if host.kind != kind:
                    raise Unreachable(f"{name} runs no {kind} but {host.kind}", hint="choose the right hypervisor", reason="no-service")
                if host.link == "access-denied":
                    raise AuthFailed(f"{name} refuses user {login.user}", hint="look at user, key and password", reason=host.link)
                if host.is_hung or not host.can_work:
                    reason = "no-rpc" if host.is_hung else host.link or "unreachable"
                    raise Unreachable(f"the hypervisor of {name} does not answer", hint="look at the host", reason=reason)
                connection = FakeHypervisor(self, host, lost)
                self._connections.add(connection)
                return connection

    def close(self) -> None:
        """Let go of everything that hangs. What is on stays on, for the next one."""
        self._closed.set()
        self.faults.release()
        self.drop_connections()
        with self.locked():
            self.ledger.close()

    # --- what stands there -------------------------------------------------------------------------------------------

    def add_host(self, host: Host, machine: Machine | None = None) -> Host:
        """Put a host up; the first XenServer of a pool becomes its master. ``machine``: how its shell behaves."""
        with self.locked():
            peers = [other for other in self.ledger.hosts.values() if other.pool == host.pool]
            if host.kind in MASTER_KINDS and not any(other.is_master for other in peers):
                host.is_master = True
            self.adopt([host], machines=[machine or Machine(host.address, host.id)])
        return host

    def adopt(self, hosts: Iterable[Host] = (), guests: Iterable[Guest] = (), machines: Iterable[Machine] = (), files: Iterable[File] = ()) -> None:
        """Take over a ready-made fleet: everything with one sync."""
        with self.locked():
            found = list(hosts)
            self.ledger.put(*found, *guests, *machines, *files)
            self._by_address.update((host.address, host.id) for host in found)

    def add_guest(self, host: str, spec: GuestSpec, *, is_running: bool = True) -> Guest:
        """A guest without any ceremony."""
        with self.locked():
            guest = made(spec, host)
            if is_running:
                guest.state, guest.booted, guest.arrived = GuestState.RUNNING.value, self.now(), self.now()
            self.ledger.put(guest)
            return guest

    def host(self, name: str) -> Host:
        try:
            return self.ledger.hosts[name]
        except KeyError:
            raise NotFound(f"there is no host {name!r}") from None

    def at(self, address: str) -> Host:
        """The host with that address."""
        return self.host(self._by_address.get(address, ""))

    def login(self, name: str) -> Login:
        """One that this host lets in."""
        host = self.host(name)
        return Login(host.address, "root", password="-", host_key=self.reach.machine(host.address).host_key.text)

    def connect(self, name: str, lost: Callable[[str], None] = lambda reason: None) -> FakeHypervisor:
        """Open a host by its name."""
        return self.open(self.host(name).kind, self.login(name), lost)

    def running_on(self, guest_id: str) -> tuple[str, ...]:
        """Hosts on which the guest runs, or is held in a switch-over: exactly one, if all is well. Does not take moves further."""
        alive = (GuestState.RUNNING.value, GuestState.PAUSED.value)
        with self.locked():
            return tuple(sorted(guest.host for guest in self.ledger.places(guest_id) if guest.state in alive))

    def places(self, guest_id: str) -> dict[str, GuestState]:
        """The guest's state on every host that knows it."""
        with self.locked():
            return {guest.host: GuestState(guest.state) for guest in self.ledger.places(guest_id)}

    # --- what can happen to it ---------------------------------------------------------------------------------------

    def power_off(self, name: str) -> None:
        """A power cut: guests stop at once, definitions and disks stay; segments are gone."""
        with self.locked():
            host = self.host(name)
            host.is_on, host.interfaces = False, []
            self.moves.host_ended(host, "lost its power")
            for guest in tuple(self.ledger.on_host.get(name, {}).values()):
                if guest.state == GuestState.INCOMING.value:
                    self.ledger.drop(guest)
                elif guest.state not in _HALTED:
                    guest.state, guest.stopped = GuestState.OFF.value, self.now()
                    self.ledger.put(guest)
            self.ledger.put(host)
            self.reach.cut(host.address)
        self._lose(name, "unreachable")

    def power_on(self, name: str) -> None:
        """Guests are there, and off. What was changed about its network while it was off, holds."""
        with self.locked():
            host = self.host(name)
            host.is_on, host.is_hung = True, False
            self.ledger.put(host)
            self._mend(host)

    def cut_link(self, name: str, reason: str = "unreachable") -> None:
        """Its hypervisor cannot be reached any more; guests run on, moves end. ``unreachable``: its shell neither; ``no-service``: only that."""
        with self.locked():
            host = self.host(name)
            host.link = reason
            self.ledger.put(host)
            if reason != "access-denied":
                self.moves.host_ended(host, "lost its network" if reason == "unreachable" else "lost its hypervisor's service")
            if reason in ("unreachable", "access-denied"):
                self.reach.cut(host.address, reason)
        if reason != "access-denied":
            self._lose(name, reason, after_s=KEEPALIVE_S if reason == "unreachable" else 0.0)

    def mend_link(self, name: str) -> None:
        with self.locked():
            host = self.host(name)
            host.link = ""
            self.ledger.put(host)
            self._mend(host)

    def hang(self, name: str) -> None:
        """Its hypervisor takes calls and answers none; guests run on, moves to and from it break."""
        with self.locked():
            host = self.host(name)
            host.is_hung = True
            self.ledger.put(host)
            self.moves.host_ended(host, "did not answer any more")
        self._lose(name, "no-rpc", after_s=KEEPALIVE_S)

    def wake(self, name: str) -> None:
        with self.locked():
            host = self.host(name)
            host.is_hung = False
            self.ledger.put(host)

    def change_guest(self, guest_id: str, **values: object) -> None:
        """Any field of :class:`Guest`, wherever it is: ``dirty_rate``, ``has_device``, ``is_deaf``, ``state="crashed"``."""
        with self.locked():
            for guest in self.ledger.places(guest_id):
                for name, value in values.items():
                    setattr(guest, name, value)
                self.ledger.put(guest)

    def change_host(self, name: str, **values: object) -> None:
        """Any field of :class:`Host`: ``in_mode`` (as somebody in vCenter would), ``patch_level``, ``can_be_master``."""
        with self.locked():
            host = self.host(name)
            for field, value in values.items():
                setattr(host, field, value)
            self.ledger.put(host)

    def drop_connections(self) -> None:
        """As when the daemon is killed: nobody is told, moves that somebody waited for go on by themselves."""
        with self.locked():
            for connection in self._connections:
                connection.forget()
            self._connections.clear()

    # --- for the connections -----------------------------------------------------------------------------------------

    def elect(self, host: Host) -> str:
        """Make another host of the pool its master."""
        others = (other for other in self.ledger.hosts.values() if other.pool == host.pool and other.id != host.id)
        fit = sorted(other.id for other in others if other.can_be_master and other.can_work and not other.in_mode)
        if not fit:
            raise WrongState(f"no other host of {host.pool} can be its master", hint="bring one of them back first", state="only-master")
        chosen = self.host(fit[0])
        host.is_master, chosen.is_master = False, True
        self.ledger.put(host, chosen)
        self.say(chosen.id, f"is master of {host.pool} now")
        return chosen.id

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone with the world; who lost a connection meanwhile is told afterwards."""
        due: list[Callable[[], None]] = []
        try:
            with self._lock:
                self._depth += 1
                try:
                    yield
                finally:
                    self._depth -= 1
                    if not self._depth:
                        due, self._due = self._due, due
        finally:
            for tell in due:
                tell()

    def tell(self, what: Callable[[], None]) -> None:
        self._due.append(what)

    def now(self) -> float:
        return self.clock.now().timestamp()

    def pause(self, seconds: float) -> None:
        """Let time pass; none at pace 0."""
        if seconds > 0 and self.pace and not self._closed.is_set():
            self.clock.sleep(seconds * self.pace)

    def say(self, host: str, text: str) -> None:
        """A line of a hypervisor's own log."""
        forgotten, log = self._logs.get(host, (0, deque[str]()))
        log.append(f"{self.clock.now():%Y-%m-%d %H:%M:%S}.000+0000: 1: info : {text}\n")
        if len(log) > _LOG_LINES:
            forgotten += len(log.popleft())
        self._logs[host] = (forgotten, log)

    def log_of(self, host: str, after: int, limit: int) -> tuple[int, str]:
        """A hypervisor's own log from byte ``after`` on; from its beginning where that is past its end, for then it was begun anew."""
        forgotten, log = self._logs.get(host, (0, deque[str]()))
        text = "".join(log)
        begin = max(0, after - forgotten) if after <= forgotten + len(text) else 0
        found = text[begin:begin + limit]
        return forgotten + begin + len(found), found

    def await_keepalive(self) -> None:
        self.pause(KEEPALIVE_S)

    def forget(self, connection: FakeHypervisor) -> None:
        with self.locked():
            self._connections.discard(connection)

    def _mend(self, host: Host) -> None:
        if host.is_on and host.link in ("", "no-service", "no-rpc"):
            self.reach.mend(host.address)

    def _lose(self, name: str, reason: str, after_s: float = 0.0) -> None:
        """Tell the open connections to a host that they broke, once a keepalive would have found out."""
        if after_s * self.pace > 0:
            timer = threading.Timer(after_s * self.pace, self._lose, (name, reason))
            timer.daemon = True
            timer.start()
            return
        with self.locked():
            for connection in [connection for connection in self._connections if connection.host.id == name]:
                connection.lose(reason)
