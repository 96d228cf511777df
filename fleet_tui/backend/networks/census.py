"""The state of every ID of a physical network, counted without looking at each: what is special has a row, the rest follows from spans."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fleet_tui.backend.networks.physical import dedication_rows, range_rows
from fleet_tui.backend.networks.ranges import Spans, common, holds, merged, size, without
from fleet_tui.backend.networks.rows import DedicationRow, InterfaceRow, NetworkRow, PhysicalNetworkRow, VlanRangeRow, VlanRow
from fleet_tui.backend.networks.states import DriftKind, Scope, VlanState

_OWN = {Scope.MANAGEMENT: VlanState.MANAGEMENT, Scope.PUBLIC: VlanState.PUBLIC, Scope.RESERVED: VlanState.RESERVED}
"""Scopes whose IDs no guest takes are a state of their own."""


@dataclass(frozen=True, slots=True)
class Taking:
    """Who has an ID."""

    number: int
    specified: bool
    network_id: str | None
    network: str
    network_state: str
    cidr: str
    owner_kind: str
    owner: str
    reservation: str
    since: datetime

    @property
    def owned_by(self) -> str:
        """``account shop``."""
        return f"{self.owner_kind} {self.owner}" if self.owner else ""


class Census:
    """As read in one transaction."""

    def __init__(self, tx: Session, row: PhysicalNetworkRow) -> None:
        self.physical = row
        self.ranges = range_rows(tx, row.id)
        self.dedications = dedication_rows(tx, row.id)
        self.takings = _takings(tx, row)
        drift = tx.execute(
            select(InterfaceRow.number, InterfaceRow.problem, func.count())
            .where(InterfaceRow.physical_id == row.id, InterfaceRow.problem != "").group_by(InterfaceRow.number, InterfaceRow.problem)
        ).all()
        self.drift = sum(count for _, _, count in drift)
        """Interfaces that are not as they should be."""
        self.conflicts = {number for number, problem, _ in drift if problem == DriftKind.EXTRA.value and number not in self.takings}
        self._numbers = list(self.takings)
        self._firsts = [found.first for found in self.ranges]
        self._dedicated_firsts = [found.first for found in self.dedications]

    @cached_property
    def whole(self) -> Spans:
        """Every ID in a range."""
        return merged((found.first, found.last) for found in self.ranges)

    @cached_property
    def dedicated(self) -> Spans:
        return merged((found.first, found.last) for found in self.dedications)

    @cached_property
    def special(self) -> list[int]:
        """IDs whose state does not follow from their range, in order: taken or in conflict, in a range or not."""
        return sorted({*self.takings, *self.conflicts})

    def range_of(self, number: int) -> VlanRangeRow | None:
        at = bisect_right(self._firsts, number) - 1
        return self.ranges[at] if at >= 0 and number <= self.ranges[at].last else None

    def dedication_of(self, number: int) -> DedicationRow | None:
        at = bisect_right(self._dedicated_firsts, number) - 1
        return self.dedications[at] if at >= 0 and number <= self.dedications[at].last else None

    def state(self, number: int) -> VlanState:
        """Of one ID; one outside every range that nobody has counts as free."""
        taking = self.takings.get(number)
        if taking is not None:
            if taking.network_id is None:
                return VlanState.ORPHAN
            if taking.specified:
                return VlanState.SPECIFIED
            return VlanState.DEDICATED_ALLOCATED if self.dedication_of(number) is not None else VlanState.ALLOCATED
        return VlanState.CONFLICT if number in self.conflicts else self.untaken(number)

    def untaken(self, number: int) -> VlanState:
        """What it would be if nobody had it."""
        found = self.range_of(number)
        if found is not None and Scope(found.scope) in _OWN:
            return _OWN[Scope(found.scope)]
        return VlanState.DEDICATED_FREE if self.dedication_of(number) is not None else VlanState.FREE

    def spans(self, state: VlanState) -> Spans:
        """IDs that are in one of the states of what nobody has."""
        if state in _OWN.values():
            found = merged((row.first, row.last) for row in self.ranges if _OWN.get(Scope(row.scope)) is state)
        else:
            guests = merged((row.first, row.last) for row in self.ranges if Scope(row.scope) not in _OWN)
            found = common(guests, self.dedicated) if state is VlanState.DEDICATED_FREE else without(guests, self.dedicated)
        return without(found, merged((number, number) for number in self.special))

    def counts(self) -> Mapping[str, int]:
        """State -> how many, of all IDs in ranges."""
        found: Counter[str] = Counter({state.value: 0 for state in VlanState})
        found.update(self.state(number).value for number in self.special if holds(self.whole, number))
        for state in (VlanState.FREE, VlanState.DEDICATED_FREE, *_OWN.values()):
            found[state.value] += size(self.spans(state))
        return dict(found)

    def used(self, dedication: DedicationRow) -> int:
        return bisect_right(self._numbers, dedication.last) - bisect_left(self._numbers, dedication.first)

    def orphans(self) -> Iterator[int]:
        return (number for number, taking in self.takings.items() if taking.network_id is None)


def _takings(tx: Session, row: PhysicalNetworkRow) -> dict[int, Taking]:
    v, n = VlanRow, NetworkRow
    query = (
        select(v.number, v.specified, v.network_id, n.name, n.state, n.cidr, v.owner_kind, v.owner, v.reservation, v.since)
        .outerjoin(n, v.network_id == n.id).where(v.physical_id == row.id).order_by(v.number)
    )
    return {
        number: Taking(number, specified, network_id, name or "", state or "", cidr or "", kind, owner, reservation, since)
        for number, specified, network_id, name, state, cidr, kind, owner, reservation, since in tx.execute(query)
    }
