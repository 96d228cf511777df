"""Faults to order: every verb of the fake provider, every phase and command of a simulated agent can be made to fail.

As text (``--faults``, ``FLEETD_FAULTS``), separated by commas::

    create_machine:web-3:2            fail the verb twice for web-3
    create_machine:web-3:2:timeout    ... with that error code
    after:attach_disk:*               the effect happens, then the call fails: a crash in between
    hang:boot:web-3                   do not come back
    delay:2.5:terminate               2.5 s longer, once
    phase:certificate:*:1             fail an agent's phase; also ``command:restart-app`` and ``health``
    hang:phase:start:ci-*             the phase never ends
    agent-killed:db-1                 its agent dies as soon as it runs
    agent-killed:phase:install-or-upgrade:db-1   ... at that phase
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase

from fleet_tui.backend.errors import BY_CODE, Busy, FleetError, NoCapacity, TimedOut, Unreachable, UsageError

PHASES = (
    "hello", "data-disk", "internal-setup", "certificate", "actions:before_install", "install-or-upgrade",
    "actions:after_install", "start", "actions:after_startup", "ready",
)
"""What an agent goes through, in order (spec 4.7)."""
VERBS = (
    "ensure_disk", "find_disk", "delete_disk", "create_machine", "find_machine", "attach_disk", "detach_disk", "boot", "shut_down",
    "terminate", "snapshot_disk", "restore_disk", "delete_snapshot", "machines", "measure_host",
)
COMMANDS = ("stop-app", "start-app", "restart-app", "replay-actions", "retry-startup", "freeze", "thaw", "shutdown")
POINTS = (*VERBS, *(f"phase:{name}" for name in PHASES), *(f"command:{name}" for name in COMMANDS), "health", "agent")
EFFECTS = ("fail", "after", "hang", "delay", "kill")

_REASONS: dict[str, tuple[type[FleetError], str, str]] = {
    "ensure_disk": (NoCapacity, "the storage pool has no room for the disk", "free some, or choose a smaller size"),
    "create_machine": (NoCapacity, "no host of the cluster has room for the machine", "free a host, or choose another cluster"),
    "attach_disk": (Busy, "the disk is being moved by the storage", "try again in a minute"),
    "boot": (Unreachable, "the host does not answer on its management address", "look at the host, then try again"),
    "snapshot_disk": (NoCapacity, "the snapshot pool is full", "delete old snapshots"),
}


@dataclass(slots=True)
class Fault:
    """One thing that is to go wrong, so many times."""

    point: str
    label: str = "*"
    times: int = 1
    effect: str = "fail"
    error: FleetError | None = None
    seconds: float = 0.0

    def reason(self) -> FleetError:
        """The error it makes, as the far side would word it."""
        if self.error is not None:
            return self.error
        kind, message, hint = _REASONS.get(self.point, (Unreachable, f"{self.point} was lost on the way", "try again"))
        return kind(f"{message} (injected)", hint=hint)


class Faults:
    """Faults still to come. Safe to use from any thread.

    Args:
        hang_s: how long a hanging verb blocks before it gives up with ``timeout``, as a driver must.
    """

    def __init__(self, *faults: Fault, hang_s: float = 600.0) -> None:
        self._faults = [_known(fault) for fault in faults]
        self._lock = threading.Lock()
        self._released = threading.Event()
        self.hang_s = hang_s

    @classmethod
    def parse(cls, text: str) -> Faults:
        """Faults from their text form.

        Raises:
            UsageError: a part of it is not understood; names the part.
        """
        return cls(*(_parse(part.strip()) for part in text.split(",") if part.strip()))

    def fail(self, point: str, label: str = "*", times: int = 1, error: FleetError | None = None, *, after: bool = False) -> None:
        """``after``: the effect happens, then the call fails."""
        self.add(Fault(point, label, times, "after" if after else "fail", error))

    def hang(self, point: str, label: str = "*", times: int = 1) -> None:
        self.add(Fault(point, label, times, "hang"))

    def delay(self, point: str, seconds: float, label: str = "*", times: int = 1) -> None:
        self.add(Fault(point, label, times, "delay", None, seconds))

    def kill_agent(self, label: str = "*", phase: str = "", times: int = 1) -> None:
        """The agent dies at that phase, or as soon as it runs."""
        self.add(Fault(f"phase:{phase}" if phase else "agent", label, times, "kill"))

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(_known(fault))

    def take(self, point: str, *names: str) -> Fault | None:
        """The fault due at this point for an object of one of these names; it is used up by that."""
        with self._lock:
            for fault in self._faults:
                if fault.point == point and fault.times > 0 and any(fnmatchcase(name, fault.label) for name in (*names, "")):
                    fault.times -= 1
                    return fault
        return None

    def pending(self) -> tuple[Fault, ...]:
        with self._lock:
            return tuple(fault for fault in self._faults if fault.times > 0)

    def clear(self) -> None:
        """Nothing goes wrong any more; what hangs goes on."""
        with self._lock:
            self._faults.clear()
        self.release()

    def release(self) -> None:
        """Let everything that hangs go on, and keep nothing hanging from now on."""
        self._released.set()

    @contextmanager
    def at(self, verb: str, *names: str, pause: Callable[[float], None]) -> Iterator[None]:
        """Around the effect of a verb: what is to go wrong goes wrong before or after it."""
        fault = self.take(verb, *names)
        if fault is not None and fault.effect == "fail":
            raise fault.reason()
        if fault is not None and fault.effect == "delay":
            pause(fault.seconds)
        if fault is not None and fault.effect == "hang" and not self._released.wait(self.hang_s):
            raise TimedOut(f"{verb} did not come back within {self.hang_s:.0f} s", hint="look at the far side, then try again")
        yield
        if fault is not None and fault.effect == "after":
            raise fault.reason()


def _known(fault: Fault) -> Fault:
    if fault.point not in POINTS:
        raise UsageError(f"there is no point {fault.point!r} to fail at", hint=f"points: {', '.join(POINTS)}")
    if fault.effect not in EFFECTS:
        raise UsageError(f"{fault.effect!r} is not something a fault does", hint=f"effects: {', '.join(EFFECTS)}")
    return fault


def _parse(part: str) -> Fault:
    """One fault. Points are matched by name because phases carry colons themselves."""
    effect, rest, seconds = "fail", part, 0.0
    if rest.startswith("agent-killed"):
        effect, rest = "kill", rest.removeprefix("agent-killed").removeprefix(":")
        rest = rest if rest.startswith("phase:") else f"agent:{rest}"
    elif rest.startswith("delay:"):
        amount, _, rest = rest.removeprefix("delay:").partition(":")
        effect, seconds = "delay", _number(amount, part)
    else:
        for prefix in ("hang", "after", "fail"):
            if rest.startswith(f"{prefix}:"):
                effect, rest = prefix, rest.removeprefix(f"{prefix}:")
                break
    point = max((p for p in POINTS if rest == p or rest.startswith(f"{p}:")), key=len, default="")
    if not point:
        raise UsageError(f"the fault {part!r} names no point to fail at", hint=f"points: {', '.join(POINTS)}")
    label, times, code, *more = [*rest.removeprefix(point).removeprefix(":").split(":"), "", "", ""][:4]
    if (code and code not in BY_CODE) or any(more):
        raise UsageError(f"the fault {part!r} is not understood", hint="point[:label[:times[:code]]]; codes are those of errors")
    error = BY_CODE[code](f"{point} failed (injected)", hint="try again") if code else None
    return Fault(point, label or "*", int(_number(times or "1", part)), effect, error, seconds)


def _number(text: str, part: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{text!r} in the fault {part!r} is not a number", hint="for example create_machine:web-3:2") from None
