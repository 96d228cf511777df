"""Machines that are not there: scripted shells, with files, passwords and host keys that can change, and links that break.

A command is answered by what was scripted for it (`FakeReach.on`), else by the few that every machine knows: ``echo``,
``cat``, ``rm -f``, ``test -e``, ``hostname``, ``sleep``, ``true``, ``false``, ``exit N``, ``sudo -n``, and ``chpasswd``, which changes passwords
(``user:password`` lines on standard input). Anything else is "not found", exit code 127.
"""

from __future__ import annotations

import base64
import hashlib
import shlex
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from fleet_tui.backend.errors import AuthFailed, FleetError, NotFound, TimedOut, Unreachable
from fleet_tui.backend.faults import Faults, Vocabulary
from fleet_tui.backend.journal import Journal
from fleet_tui.backend.remote import Answer, HostKey, Login

VOCABULARY = Vocabulary(
    points=("shell:key", "shell:open", "shell:run", "shell:read", "shell:write"),
    reasons={
        "shell:open": (Unreachable, "the machine does not answer", "look at its network, then try again"),
        "shell:run": (Unreachable, "the link broke in mid-command", "connect again, and look whether the command was done"),
    },
)
"""By name or address of the machine, or by the command: ``after:shell:run:chpasswd*`` does it, and then the link breaks."""
ANY = "*"
"""As a password or key: whatever is offered is accepted."""

Reply = Answer | str | Callable[["Machine", str, str], Answer]
"""What a command gets back: an answer, its output alone, or a function of (machine, command, input)."""


@dataclass(slots=True)
class Machine:
    """One machine as its SSH server shows it."""

    id: str
    """Address."""
    name: str = ""
    key_seed: str = ""
    """What its host key follows from; its address when empty."""
    users: dict[str, str] = field(default_factory=lambda: {"root": ANY})
    """Passwords by user."""
    keys: list[str] = field(default_factory=lambda: [ANY])
    """Private keys that are let in."""
    files: dict[str, str] = field(default_factory=dict)
    """Content by path, base64."""
    link: str = ""
    """Reason code (spec 7.4) why it cannot be reached; empty while it can."""

    @property
    def host_key(self) -> HostKey:
        secret = hashlib.sha256((self.key_seed or self.id).encode()).digest()
        blob = b"".join(len(part).to_bytes(4, "big") + part for part in (b"ssh-ed25519", secret))
        digest = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
        return HostKey(f"ssh-ed25519 {base64.b64encode(blob).decode()}", f"SHA256:{digest}")

    def read(self, path: str) -> bytes:
        """Raises :class:`NotFound`."""
        if path not in self.files:
            raise NotFound(f"{self.name or self.id} has no file {path}", hint="look at the path")
        return base64.b64decode(self.files[path])

    def write(self, path: str, data: bytes) -> None:
        self.files[path] = base64.b64encode(data).decode()


class FakeReach:
    """The way to them. Safe to use from any thread.

    Args:
        journal: where machines are kept; in memory only when there is none. Its kinds must include :class:`Machine`.
        lock: guards the journal, when it is shared.
    """

    def __init__(self, faults: Faults | None = None, journal: Journal | None = None, lock: threading.RLock | None = None) -> None:
        self.faults = faults or Faults(VOCABULARY)
        self.lock = lock or threading.RLock()
        self._journal = journal or Journal(None, Machine)
        self._machines = self._journal.of(Machine)
        self._replies: list[tuple[str, str, Reply]] = []
        self._open: set[FakeShell] = set()

    # --- what tests and the simulation do to machines ----------------------------------------------------------------

    def add(self, *machines: Machine) -> None:
        with self.lock:
            self._journal.put(*machines)

    def machine(self, address: str) -> Machine:
        with self.lock:
            try:
                return self._machines[address]
            except KeyError:
                raise NotFound(f"there is no machine at {address}") from None

    def on(self, command: str, reply: Reply, machine: str = "*") -> None:
        """Answer a command (a pattern as of ``fnmatch``) on a machine (name or address, likewise). The last word counts."""
        self._replies.insert(0, (command, machine, reply))

    def change_key(self, address: str, seed: str) -> None:
        """As a fresh installation, or somebody in between, would."""
        with self.lock:
            machine = self.machine(address)
            machine.key_seed = seed
            self._journal.put(machine)

    def set_password(self, address: str, user: str, password: str) -> None:
        with self.lock:
            machine = self.machine(address)
            machine.users[user] = password
            self._journal.put(machine)

    def cut(self, address: str, reason: str = "unreachable") -> None:
        """No new connections, and open ones break, in mid-command too. ``access-denied`` leaves open ones alone."""
        with self.lock:
            machine = self.machine(address)
            machine.link = reason
            self._journal.put(machine)
            if reason != "access-denied":
                for shell in [shell for shell in self._open if shell.machine is machine]:
                    shell.broken.set()

    def mend(self, address: str) -> None:
        with self.lock:
            machine = self.machine(address)
            machine.link = ""
            self._journal.put(machine)

    # --- the protocol ------------------------------------------------------------------------------------------------

    def host_key(self, address: str, port: int = 22, *, timeout_s: float = 15.0) -> HostKey:
        with self.faults.at("shell:key", *self._names(address), pause=_pause):
            return self._reached(address).host_key

    def open(self, login: Login, *, timeout_s: float = 15.0) -> FakeShell:
        with self.faults.at("shell:open", *self._names(login.address), pause=_pause):
            machine = self.admit(login)
            with self.lock:
                shell = FakeShell(self, machine, login)
                self._open.add(shell)
                return shell

    def admit(self, login: Login) -> Machine:
        """The machine of a log-in, if it lets it in: what every connection that goes through SSH begins with."""
        with self.lock:
            machine = self._reached(login.address)
            if machine.host_key.text != login.host_key:
                raise AuthFailed(
                    f"{login.address} shows another host key than the one on record: {machine.host_key.fingerprint}",
                    hint="find out why before you trust it", reason="access-denied", host_key=machine.host_key.text,
                )
            password = machine.users.get(login.user)
            by_password = bool(login.password) and password is not None and password in (ANY, login.password)
            by_key = bool(login.private_key) and login.user in machine.users and (ANY in machine.keys or login.private_key in machine.keys)
            if machine.link == "access-denied" or not (by_password or by_key):
                raise AuthFailed(f"{login.address} refuses user {login.user}", hint="look at user, key and password", reason="access-denied")
            return machine

    # --- inside ------------------------------------------------------------------------------------------------------

    def _reached(self, address: str) -> Machine:
        with self.lock:
            machine = self._machines.get(address)
        if machine is None or machine.link not in ("", "access-denied"):
            reason = machine.link if machine is not None else "unreachable"
            raise Unreachable(f"{address} cannot be reached: {reason}", hint="look at its power and its network", reason=reason)
        return machine

    def _names(self, address: str) -> tuple[str, ...]:
        machine = self._machines.get(address)
        return (address, machine.name) if machine is not None and machine.name else (address,)

    def reply(self, machine: Machine, command: str, given: str) -> Answer | None:
        """What was scripted for it; ``None`` when nothing was."""
        for pattern, where, reply in self._replies:
            if fnmatchcase(command, pattern) and (fnmatchcase(machine.id, where) or fnmatchcase(machine.name, where)):
                if callable(reply):
                    return reply(machine, command, given)
                return Answer(0, reply, "") if isinstance(reply, str) else reply
        return None

    def store(self, machine: Machine) -> None:
        with self.lock:
            self._journal.put(machine)

    def forget(self, shell: FakeShell) -> None:
        with self.lock:
            self._open.discard(shell)


class FakeShell:
    """One open connection."""

    def __init__(self, reach: FakeReach, machine: Machine, login: Login) -> None:
        self._reach, self.machine, self._login = reach, machine, login
        self.broken = threading.Event()

    @property
    def login(self) -> Login:
        return self._login

    def run(self, command: str, *, input: str = "", timeout_s: float = 30.0) -> Answer:
        with self._verb("shell:run", command):
            scripted = self._reach.reply(self.machine, command, input)
            if scripted is not None:
                return scripted
            words = shlex.split(command) or [""]
            if words[0] == "sleep":
                return self._sleep(float(words[1]), timeout_s)
            return _builtin(self._reach, self.machine, words, input)

    def read(self, path: str, *, limit: int = 10_000_000) -> bytes:
        with self._verb("shell:read", path):
            return self.machine.read(path)[:limit]

    def write(self, path: str, data: bytes, *, mode: int = 0o600) -> None:
        with self._verb("shell:write", path), self._reach.lock:
            self.machine.write(path, data)
            self._reach.store(self.machine)

    def close(self) -> None:
        self.broken.set()
        self._reach.forget(self)

    @contextmanager
    def _verb(self, point: str, what: str) -> Iterator[None]:
        self._check()
        try:
            with self._reach.faults.at(point, self.machine.id, self.machine.name, what, pause=_pause):
                self._check()
                yield
        except Unreachable:
            self.close()
            raise

    def _check(self) -> None:
        if self.broken.is_set():
            raise self._lost()

    def _lost(self) -> FleetError:
        reason = self.machine.link or "unreachable"
        return Unreachable(f"the link to {self._login.address} broke", hint="connect again", reason=reason)

    def _sleep(self, seconds: float, timeout_s: float) -> Answer:
        if self.broken.wait(min(seconds, timeout_s)):
            raise self._lost()
        if timeout_s < seconds:
            raise TimedOut(f"the command did not end within {timeout_s:.0f} s", hint="look at the machine, then try again")
        return Answer(0, "", "")


def _builtin(reach: FakeReach, machine: Machine, words: list[str], given: str) -> Answer:
    """The few commands that every machine knows."""
    match words:
        case ["true"] | [":"]:
            return Answer(0, "", "")
        case ["false"]:
            return Answer(1, "", "")
        case ["exit", code]:
            return Answer(int(code) & 0xFF, "", "")
        case ["echo", *rest]:
            return Answer(0, " ".join(rest) + "\n", "")
        case ["hostname"]:
            return Answer(0, f"{machine.name or machine.id}\n", "")
        case ["cat"]:
            return Answer(0, given, "")
        case ["cat", path]:
            if path not in machine.files:
                return Answer(1, "", f"cat: {path}: No such file or directory\n")
            return Answer(0, machine.read(path).decode(errors="replace"), "")
        case ["test", "-e" | "-f", path]:
            return Answer(0 if path in machine.files else 1, "", "")
        case ["rm", "-f", *paths]:
            for path in paths:
                machine.files.pop(path, None)
            reach.store(machine)
            return Answer(0, "", "")
        case ["sudo", "-n", *rest] if rest:
            return _builtin(reach, machine, rest, given)
        case ["chpasswd"] | ["/usr/sbin/chpasswd"]:
            return _chpasswd(reach, machine, given)
    return Answer(127, "", f"sh: 1: {words[0]}: not found\n")


def _chpasswd(reach: FakeReach, machine: Machine, given: str) -> Answer:
    pairs = [line.partition(":")[::2] for line in given.splitlines() if line]
    for number, (user, _) in enumerate(pairs, 1):
        if user not in machine.users:
            return Answer(1, "", f"chpasswd: line {number}: user '{user}' does not exist\nchpasswd: error detected, changes ignored\n")
    for user, password in pairs:
        machine.users[user] = password
    reach.store(machine)
    return Answer(0, "", "")


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)
