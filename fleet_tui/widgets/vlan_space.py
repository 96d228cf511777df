"""What each ID of a physical network is, as stretches of like IDs: ranges, over them dedications, over those what is taken.

Only stretches are kept, never an ID that is like its neighbour: sixteen million IDs cost as much as the few thousand that are taken.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from fleet_tui.backend.networks import DedicationRecord, MapRecord, PhysicalNetworkRecord, RangeRecord, TakenRecord
from fleet_tui.backend.networks.states import LIMITS, PROBLEMS, Scope, VlanState

OF_SCOPE: Mapping[Scope, VlanState] = {
    Scope.MANAGEMENT: VlanState.MANAGEMENT, Scope.PUBLIC: VlanState.PUBLIC, Scope.RESERVED: VlanState.RESERVED,
}  # fmt: skip
"""What a free ID of these scopes is; of all others it is free."""
ALLOCATABLE = frozenset({
    VlanState.FREE, VlanState.ALLOCATED, VlanState.SPECIFIED, VlanState.DEDICATED_FREE, VlanState.DEDICATED_ALLOCATED, VlanState.CONFLICT,
    VlanState.ORPHAN,
})  # fmt: skip
FREE = frozenset({VlanState.FREE, VlanState.DEDICATED_FREE})


@dataclass(frozen=True, slots=True)
class Stretch:
    """IDs ``first``..``last`` that are all the same."""

    first: int
    last: int
    state: VlanState
    scope: Scope | None
    """``None`` outside every range: a conflict found there, or an ID that its range has left."""
    network: str = ""
    owner: str = ""
    """Who took it, or whom it is dedicated to: ``account shop``."""

    @property
    def count(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class Spot:
    """What a verb on IDs works on: those marked, or the one under the cursor with what it belongs to."""

    id: str
    """Of the physical network."""
    name: str
    first: int
    last: int
    state: VlanState | None
    """Of the first."""
    scope: Scope | None = None
    dedication: DedicationRecord | None = None

    @property
    def text(self) -> str:
        return interval(self.first, self.last)

    @property
    def label(self) -> str:
        """What a question or an answer calls it."""
        return self.text if self.dedication is None else interval(self.dedication.first, self.dedication.last)


class VlanSpace:
    """All IDs of one physical network. Read-only; a new record makes a new space."""

    def __init__(self, record: MapRecord, stretches: Sequence[Stretch] | None = None, drifted: Iterable[int] = ()) -> None:
        self.record = record
        self.first, self.last = LIMITS[record.physical.isolation]
        self.stretches = tuple(_laid(record)) if stretches is None else tuple(stretches)
        self._firsts = [one.first for one in self.stretches]
        self._ranges = record.physical.ranges
        self._range_firsts = [one.first for one in self._ranges]
        self.drifted = frozenset(drifted)
        """IDs that hosts have otherwise than they should: interface missing or in a wrong bridge."""
        states = {one.first for one in self.stretches if one.state in PROBLEMS}
        self.problems = sorted(states | self.drifted)
        self._drifted = sorted(self.drifted - states)

    @property
    def physical(self) -> PhysicalNetworkRecord:
        return self.record.physical

    def with_drift(self, drifted: Iterable[int]) -> VlanSpace:
        """The same, with what the last check of the hosts found."""
        return VlanSpace(self.record, self.stretches, drifted)

    def narrowed(self, wanted: Callable[[Stretch], bool]) -> VlanSpace:
        """Only the stretches that are wanted; all else is as outside every range."""
        kept = VlanSpace(self.record, [one for one in self.stretches if wanted(one)])
        return kept.with_drift(n for n in self.drifted if kept.at(n) is not None)

    def problems_alone(self) -> VlanSpace:
        """Only IDs that are a problem."""
        kept = [replace(one, first=n, last=n) for n in self.problems if (one := self.at(n)) is not None]
        return VlanSpace(self.record, kept, self.drifted)

    # One ID

    def at(self, number: int) -> Stretch | None:
        """The stretch an ID is in; ``None`` outside every range, when nothing is there."""
        place = bisect_right(self._firsts, number) - 1
        return self.stretches[place] if place >= 0 and number <= self.stretches[place].last else None

    def range_at(self, number: int) -> RangeRecord | None:
        place = bisect_right(self._range_firsts, number) - 1
        return self._ranges[place] if place >= 0 and number <= self._ranges[place].last else None

    def dedication_at(self, number: int) -> DedicationRecord | None:
        return next((one for one in self.physical.dedications if one.first <= number <= one.last), None)

    def spot(self, first: int, last: int) -> Spot:
        """What a verb would work on. Of a single ID that is dedicated, with its dedication."""
        there = self.at(first)
        return Spot(
            self.physical.id, self.physical.name, first, last, there.state if there else None, there.scope if there else None,
            self.dedication_at(first),
        )  # fmt: skip

    # Several

    def between(self, first: int, last: int) -> Iterator[Stretch]:
        """Stretches in ``first``..``last``, clipped to it."""
        place = max(0, bisect_right(self._firsts, first) - 1)
        while place < len(self.stretches) and (one := self.stretches[place]).first <= last:
            if one.last >= first:
                inside = one.first >= first and one.last <= last
                yield one if inside else replace(one, first=max(first, one.first), last=min(last, one.last))
            place += 1

    def count(self, first: int, last: int) -> dict[VlanState, int]:
        """How many IDs of ``first``..``last`` are in each state; what is outside every range only when it is taken."""
        found: dict[VlanState, int] = {}
        place = max(0, bisect_right(self._firsts, first) - 1)
        while place < len(self.stretches) and (one := self.stretches[place]).first <= last:
            if (many := min(last, one.last) - max(first, one.first) + 1) > 0:
                found[one.state] = found.get(one.state, 0) + many
            place += 1
        return found

    @property
    def counts(self) -> dict[VlanState, int]:
        """How many IDs that are in ranges are in each state, as `PhysicalNetworkRecord.counts` has it."""
        found: dict[VlanState, int] = {}
        for one in self.stretches:
            if one.scope is not None:
                found[one.state] = found.get(one.state, 0) + one.count
        return found

    def has_drift(self, first: int, last: int) -> bool:
        place = bisect_left(self._drifted, first)
        return place < len(self._drifted) and self._drifted[place] <= last

    def drifted_in(self, first: int, last: int) -> list[int]:
        return self._drifted[bisect_left(self._drifted, first) : bisect_right(self._drifted, last)]

    def pool(self) -> tuple[int, int]:
        """(free, all) IDs that dynamic allocation takes from."""
        free = total = 0
        for one in self.stretches:
            if one.scope is Scope.GUEST_POOL:
                total += one.count
                free += one.count if one.state in FREE else 0
        return free, total

    # Going about

    def start(self) -> int:
        """Where a person begins: the first problem, else the first ID of the pool, else of any range."""
        if self.problems:
            return self.problems[0]
        pool = next((one.first for one in self._ranges if one.scope is Scope.GUEST_POOL), None)
        return pool if pool is not None else self._ranges[0].first if self._ranges else self.first

    def next_problem(self, number: int) -> int | None:
        """The next problem after an ID, from the beginning again after the last."""
        if not self.problems:
            return None
        return self.problems[bisect_right(self.problems, number) % len(self.problems)]

    def previous_problem(self, number: int) -> int | None:
        return self.problems[bisect_left(self.problems, number) - 1] if self.problems else None


def interval(first: int, last: int) -> str:
    """``600`` or ``600-799``."""
    return str(first) if first == last else f"{first}-{last}"


def _laid(record: MapRecord) -> Iterator[Stretch]:
    """What is taken, laid over what is dedicated, laid over the ranges."""
    taken = iter(sorted(record.taken, key=lambda one: one.number))
    now = next(taken, None)
    for under in _dedicated(record.physical):
        at = under.first
        while now is not None and now.number <= under.last:
            if now.number >= at:
                if now.number > at:
                    yield replace(under, first=at, last=now.number - 1)
                yield _taken(now, under.scope)
                at = now.number + 1
            elif now.number < under.first:
                yield _taken(now, None)
            now = next(taken, None)
        if at <= under.last:
            yield replace(under, first=at)
    while now is not None:
        yield _taken(now, None)
        now = next(taken, None)


def _taken(row: TakenRecord, scope: Scope | None) -> Stretch:
    return Stretch(row.number, row.number, row.state, scope, row.network, row.owner)


def _dedicated(physical: PhysicalNetworkRecord) -> Iterator[Stretch]:
    """Ranges, cut where a dedication begins or ends."""
    dedications = sorted(physical.dedications, key=lambda one: one.first)
    for span in sorted(physical.ranges, key=lambda one: one.first):
        state = OF_SCOPE.get(span.scope, VlanState.FREE)
        at = span.first
        for one in dedications:
            if one.last < at or one.first > span.last:
                continue
            if one.first > at:
                yield Stretch(at, one.first - 1, state, span.scope)
            last = min(one.last, span.last)
            yield Stretch(max(at, one.first), last, VlanState.DEDICATED_FREE, span.scope, "", f"{one.owner_kind.value} {one.owner}")
            at = last + 1
        if at <= span.last:
            yield Stretch(at, span.last, state, span.scope)


def matching(text: str) -> Callable[[Stretch], bool]:
    """What a filter wants: words that must all hold, such as ``state:free``, ``owner:shop``, ``account:shop``, ``scope:public``, ``!x``."""
    words = [word for word in text.lower().split() if word.strip("!") and not word.endswith(":")]

    def wanted(one: Stretch) -> bool:
        return all(_holds(one, word.removeprefix("!")) is not word.startswith("!") for word in words)

    return wanted


def _holds(one: Stretch, word: str) -> bool:
    field, colon, value = word.partition(":")
    owner, scope = one.owner.lower(), one.scope.value if one.scope else ""
    if not colon:
        return any(word in part for part in (one.state.value, owner, scope, one.network.lower()))
    if field in ("account", "project", "domain"):
        return owner.startswith(f"{field} {value}")
    if field == "owner":
        return any(part.startswith(value) for part in (owner, owner.partition(" ")[2]) if part)
    if field == "state" and value == "problem":
        return one.state in PROBLEMS
    return {"state": one.state.value, "scope": scope, "network": one.network.lower()}.get(field, "").startswith(value)
