"""Faults to order from the simulated parts of the world: at a named point, for an object of a name, so many times.

As text (``--faults``, ``FLEETD_FAULTS``), separated by commas; a point may carry colons itself::

    create_machine:web-3:2            fail the verb twice for web-3
    create_machine:web-3:2:timeout    ... with that error code
    after:attach_disk:*               the effect happens, then the call fails: a crash in between
    hang:boot:web-3                   do not come back
    delay:2.5:terminate               2.5 s longer, once

Which points there are, and which more effects, a :class:`Vocabulary` says: ``providers.faults`` and ``hypervisors.faults`` have theirs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from fleet_tui.backend.errors import BY_CODE, FleetError, TimedOut, Unreachable, UsageError

EFFECTS = ("fail", "after", "hang", "delay")
Reason = tuple[type[FleetError], str, str]
"""Error, message, hint: as the far side would word it."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What can go wrong, and how. Two are joined with ``|``."""

    points: tuple[str, ...] = ()
    reasons: Mapping[str, Reason] = field(default_factory=dict)
    """Of a point; it was lost on the way where none is named."""
    effects: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Word in the text -> (effect, point it is for when the text names none)."""

    def __or__(self, other: Vocabulary) -> Vocabulary:
        points = tuple(dict.fromkeys((*self.points, *other.points)))
        return Vocabulary(points, {**self.reasons, **other.reasons}, {**self.effects, **other.effects})


@dataclass(slots=True)
class Fault:
    """One thing that is to go wrong, so many times."""

    point: str
    label: str = "*"
    times: int = 1
    effect: str = "fail"
    error: FleetError | None = None
    seconds: float = 0.0
    because: Reason | None = None

    def reason(self) -> FleetError:
        """The error it makes, as the far side would word it."""
        if self.error is not None:
            return self.error
        kind, message, hint = self.because or (Unreachable, f"{self.point} was lost on the way", "try again")
        return kind(f"{message} (injected)", hint=hint)


class Faults:
    """Faults still to come. Safe to use from any thread.

    Args:
        hang_s: how long a hanging verb blocks before it gives up with ``timeout``, as a driver must.
    """

    def __init__(self, vocabulary: Vocabulary, *faults: Fault, hang_s: float = 600.0) -> None:
        self._vocabulary = vocabulary
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._faults = [self._known(fault) for fault in faults]
        self.hang_s = hang_s

    @classmethod
    def parse(cls, vocabulary: Vocabulary, text: str) -> Faults:
        """Faults from their text form.

        Raises:
            UsageError: a part of it is not understood; names the part.
        """
        return cls(vocabulary, *(_parse(part.strip(), vocabulary) for part in text.split(",") if part.strip()))

    def fail(self, point: str, label: str = "*", times: int = 1, error: FleetError | None = None, *, after: bool = False) -> None:
        """``after``: the effect happens, then the call fails."""
        self.add(Fault(point, label, times, "after" if after else "fail", error))

    def hang(self, point: str, label: str = "*", times: int = 1) -> None:
        self.add(Fault(point, label, times, "hang"))

    def delay(self, point: str, seconds: float, label: str = "*", times: int = 1) -> None:
        self.add(Fault(point, label, times, "delay", None, seconds))

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(self._known(fault))

    def take(self, point: str, *names: str) -> Fault | None:
        """The fault due at this point for an object of one of these names; it is used up by that."""
        if not self._faults:
            return None
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

    @property
    def is_released(self) -> bool:
        return self._released.is_set()

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

    def _known(self, fault: Fault) -> Fault:
        effects = (*EFFECTS, *(effect for effect, _ in self._vocabulary.effects.values()))
        if fault.point not in self._vocabulary.points:
            raise UsageError(f"there is no point {fault.point!r} to fail at", hint=f"points: {', '.join(self._vocabulary.points)}")
        if fault.effect not in effects:
            raise UsageError(f"{fault.effect!r} is not something a fault does", hint=f"effects: {', '.join(effects)}")
        return replace(fault, because=self._vocabulary.reasons.get(fault.point))


def _parse(part: str, vocabulary: Vocabulary) -> Fault:
    """One fault. Points are matched by name because they may carry colons themselves."""
    effect, rest, seconds, default = "fail", part, 0.0, ""
    word, _, after_word = part.partition(":")
    if word in vocabulary.effects:
        (effect, default), rest = vocabulary.effects[word], after_word
    elif word == "delay":
        amount, _, rest = after_word.partition(":")
        effect, seconds = "delay", _number(amount, part)
    elif word in EFFECTS:
        effect, rest = word, after_word
    point = max((p for p in vocabulary.points if rest == p or rest.startswith(f"{p}:")), key=len, default="")
    if not point and not default:
        raise UsageError(f"the fault {part!r} names no point to fail at", hint=f"points: {', '.join(vocabulary.points)}")
    label, times, code, *more = [*rest.removeprefix(point).removeprefix(":").split(":"), "", "", ""][:4]
    if (code and code not in BY_CODE) or any(more):
        raise UsageError(f"the fault {part!r} is not understood", hint="point[:label[:times[:code]]]; codes are those of errors")
    error = BY_CODE[code](f"{point or default} failed (injected)", hint="try again") if code else None
    return Fault(point or default, label or "*", int(_number(times or "1", part)), effect, error, seconds)


def _number(text: str, part: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{text!r} in the fault {part!r} is not a number", hint="for example create_machine:web-3:2") from None
