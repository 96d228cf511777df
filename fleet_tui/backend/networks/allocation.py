"""Taking IDs and giving them back (spec 10.3). What is free has no row, so sixteen million VXLAN IDs cost nothing.

Everything here runs in the caller's transaction, under the row lock of the physical network; that no ID is ever taken twice is the key
of :class:`VlanRow`, whatever is done here. No message may say an ID but those of :func:`specify`, which only who named it ever sees.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import InUse, InvalidInput, NoCapacity, Problem, WrongState
from fleet_tui.backend.networks.physical import dedication_rows, lock, lock_zone, range_rows, sharing_problems, space_of, spans, told
from fleet_tui.backend.networks.ranges import Span, Spans, allowed, common, merged, size, without
from fleet_tui.backend.networks.rows import DedicationRow, InterfaceRow, NetworkRow, PhysicalNetworkRow, VlanRow
from fleet_tui.backend.networks.states import LIMITS, DriftKind, Isolation, PhysicalState, Scope
from fleet_tui.backend.store import new_id

LOW = 10
"""Percent of a pool that is free below which somebody should look (VLN-5)."""
_FINE = 4096
"""IDs looked at one by one; more are halved first."""
_CHUNK = 100
"""Spans in one condition."""
_NO_GUESTS = frozenset({Scope.MANAGEMENT, Scope.PUBLIC, Scope.RESERVED})


@dataclass(frozen=True, slots=True)
class Room:
    """IDs that networks of anybody can take by themselves."""

    total: int
    free: int

    @property
    def is_low(self) -> bool:
        return self.free * 100 < self.total * LOW


def take(tx: Session, network: NetworkRow, now: datetime, *, fallback: bool = True) -> int:
    """The ID a network is carried with: the one it has, or a random free one (VLN-4).

    An owner with a dedication takes from that first, and from the pool only with ``fallback`` (``vlan.dedicated.fallback``). The
    network's row must be locked; its physical network is locked here.

    Raises:
        NoCapacity: none is free (VLN-5).
        WrongState: its physical network is disabled.
    """
    physical = lock(tx, network.physical_id)
    held = tx.scalar(select(VlanRow.number).where(VlanRow.network_id == network.id))
    if held is not None:
        return held
    if physical.state != PhysicalState.ENABLED.value:
        raise WrongState(
            f"{network.name} cannot be brought up: physical network {physical.name} is disabled", hint=f"`fleet physnet enable {physical.name}`",
            state=physical.state, allowed=[PhysicalState.ENABLED.value],
        )
    own, pool, has_own = _sources(tx, physical, network)
    number, _ = _pick(tx, physical, own)
    if number is None and (fallback or not has_own):
        number, free = _pick(tx, physical, pool)
        total = size(pool)
        if Room(total, free - 1).is_low and not Room(total, free).is_low:
            told(tx, physical, "low", f"the guest pool of {physical.name} runs low: {free - 1} of {total} are free", level="warn")
    if number is None:
        where = "its owner's own ranges" if has_own and not fallback else f"the guest pool of physical network {physical.name}"
        raise NoCapacity(
            f"{network.name} cannot be brought up: {where} has nothing free", hint="extend the ranges, or shut down networks that nobody uses",
            reason="cannot_fit_now",
        )
    network.reservation = network.reservation or new_id("rv")
    _enter(tx, physical, network, number, now, specified=False)
    return number


def specify(tx: Session, network: NetworkRow, number: int, now: datetime) -> None:
    """Take the very ID that an administrator names, for the network's life (VLN-7). The network must be flushed.

    Raises:
        InvalidInput: the ID lies where networks take theirs by themselves, where no guest may, or past its owner's own ranges.
        InUse: a network of the zone has it, or it is dedicated to somebody else.
    """
    zone_id = tx.scalar(select(PhysicalNetworkRow.zone_id).where(PhysicalNetworkRow.id == network.physical_id))
    lock_zone(tx, str(zone_id))
    physical = lock(tx, network.physical_id)
    low, high = LIMITS[Isolation(physical.isolation)]
    if not low <= number <= high:
        raise _unavailable(number, physical, allowed(Isolation(physical.isolation)))
    dedications = dedication_rows(tx, physical.id)
    around = next((row for row in dedications if row.first <= number <= row.last), None)
    if around is not None and not _is_owner(around, network):
        raise InUse(
            f"VLAN {number} is not available on {physical.name}: {around.first}-{around.last} is dedicated to {around.owner_kind} {around.owner}",
            hint="release the dedication first, or name another ID", users=[f"{around.owner_kind} {around.owner}"],
        )
    scope = next((Scope(row.scope) for row in range_rows(tx, physical.id) if row.first <= number <= row.last), None)
    if scope is Scope.GUEST_POOL and around is None:
        raise _unavailable(number, physical, "networks take IDs of that range by themselves")
    if scope in _NO_GUESTS:
        raise _unavailable(number, physical, f"its range is for {scope.value}" if scope is not Scope.RESERVED else "its range is reserved")
    if scope is None and (problems := sharing_problems(tx, physical, ((number, number),))):
        raise _unavailable(number, physical, problems[0].message)
    own = merged((row.first, row.last) for row in dedications if _is_owner(row, network))
    if own and around is None and size(own) > count_taken(tx, physical, own):
        raise _unavailable(number, physical, f"{network.owner_kind} {network.owner} has ranges of its own there, with room left")
    holder = tx.scalars(
        select(VlanRow).join(PhysicalNetworkRow, VlanRow.physical_id == PhysicalNetworkRow.id)
        .where(VlanRow.number == number, PhysicalNetworkRow.zone_id == physical.zone_id).limit(1)
    ).first()
    if holder is not None:
        name = tx.scalar(select(NetworkRow.name).where(NetworkRow.id == holder.network_id)) or "a network that is gone"
        raise InUse(f"VLAN {number} is not available on {physical.name}: {name} has it", hint="name another ID", users=[name])
    network.reservation = network.reservation or new_id("rv")
    _enter(tx, physical, network, number, now, specified=True)


def give_back(tx: Session, network: NetworkRow, reservation: str, *, specified: bool = False) -> bool:
    """Free the ID that this owner's network holds under that reservation (VLN-6); whether there was one.

    Once it is free, or if it was taken again under another reservation meanwhile, nothing happens. A specified ID is its network's for
    life: it goes only with ``specified``, when the network does.
    """
    lock(tx, network.physical_id)
    row = tx.scalar(select(VlanRow).where(VlanRow.network_id == network.id).execution_options(populate_existing=True))
    if row is None or row.reservation != reservation or (row.owner_kind, row.owner) != (network.owner_kind, network.owner):
        return False
    if row.specified and not specified:
        return False
    tx.delete(row)
    tx.flush()
    return True


def free_orphans(tx: Session, physical: PhysicalNetworkRow) -> int:
    """Free the IDs of a locked physical network whose networks are gone. Returns how many there were."""
    rows = tx.scalars(select(VlanRow).where(VlanRow.physical_id == physical.id, VlanRow.network_id.is_(None))).all()
    for row in rows:
        tx.delete(row)
    tx.flush()
    return len(rows)


def room(tx: Session, physical: PhysicalNetworkRow) -> Room:
    """Of its guest pool, without what is dedicated."""
    pool = without(_usable(tx, physical), _dedicated(dedication_rows(tx, physical.id)))
    total = size(pool)
    return Room(total, total - count_taken(tx, physical, pool))


def count_taken(tx: Session, physical: PhysicalNetworkRow, within: Sequence[Span]) -> int:
    """How many of those IDs are taken."""
    query = select(func.count()).select_from(VlanRow).where(VlanRow.space == space_of(physical))
    return sum(tx.scalar(query.where(_in(chunk))) or 0 for chunk in _chunks(within))


def taken_rows(tx: Session, physical: PhysicalNetworkRow, within: Sequence[Span], limit: int | None = None) -> list[VlanRow]:
    """What takes those IDs, in their order."""
    found: list[VlanRow] = []
    for chunk in _chunks(within):
        query = select(VlanRow).where(VlanRow.space == space_of(physical), _in(chunk)).order_by(VlanRow.number)
        found += tx.scalars(query if limit is None else query.limit(limit - len(found)))
        if limit is not None and len(found) >= limit:
            break
    return found


def _sources(tx: Session, physical: PhysicalNetworkRow, network: NetworkRow) -> tuple[Spans, Spans, bool]:
    """IDs of the pool that are its owner's own, those that are anybody's, and whether its owner has ranges there at all."""
    pool = _usable(tx, physical)
    dedications = dedication_rows(tx, physical.id)
    own = merged((row.first, row.last) for row in dedications if _is_owner(row, network))
    return common(pool, own), without(pool, _dedicated(dedications)), bool(own)


def _usable(tx: Session, physical: PhysicalNetworkRow) -> Spans:
    """IDs of the pool but those that were found on a host where nothing expects them: two networks on one ID is what must not be."""
    i, v = InterfaceRow, VlanRow
    query = select(i.number).outerjoin(v, (v.space == space_of(physical)) & (v.number == i.number)).distinct()
    strange = tx.scalars(query.where(i.physical_id == physical.id, i.problem == DriftKind.EXTRA.value, v.number.is_(None)))
    return without(spans(tx, physical.id, (Scope.GUEST_POOL,)), merged((number, number) for number in strange))


def _pick(tx: Session, physical: PhysicalNetworkRow, among: Spans) -> tuple[int | None, int]:
    """One of the free IDs, all alike likely, and how many were free. The database counts; no list of free ones is ever made."""
    free = size(among) - count_taken(tx, physical, among)
    if free <= 0:
        return None, 0
    nth = secrets.randbelow(free)
    while size(among) > _FINE:
        low, high = _halves(among)
        here = size(low) - count_taken(tx, physical, low)
        among, nth = (low, nth) if nth < here else (high, nth - here)
    query = select(VlanRow.number).where(VlanRow.space == space_of(physical))
    taken = {number for chunk in _chunks(among) for number in tx.scalars(query.where(_in(chunk)))}
    left = (number for first, last in among for number in range(first, last + 1) if number not in taken)
    return next(number for at, number in enumerate(left) if at == nth), free


def _halves(among: Spans) -> tuple[Spans, Spans]:
    """The lower half of the IDs and the upper one."""
    half, low = size(among) // 2, list[Span]()
    for at, (first, last) in enumerate(among):
        if last - first + 1 >= half:
            middle = first + half - 1
            return (*low, (first, middle)), (((middle + 1, last), *among[at + 1:]) if middle < last else among[at + 1:])
        low.append((first, last))
        half -= last - first + 1
    return tuple(low), ()


def _enter(tx: Session, physical: PhysicalNetworkRow, network: NetworkRow, number: int, now: datetime, *, specified: bool) -> None:
    tx.add(VlanRow(
        space=space_of(physical), number=number, physical_id=physical.id, network_id=network.id, specified=specified,
        owner_kind=network.owner_kind, owner=network.owner, reservation=network.reservation, since=now,
    ))
    tx.flush()


def _is_owner(row: DedicationRow, network: NetworkRow) -> bool:
    return bool(network.owner) and (row.owner_kind, row.owner) == (network.owner_kind, network.owner)


def _dedicated(rows: Sequence[DedicationRow]) -> Spans:
    return merged((row.first, row.last) for row in rows)


def _chunks(within: Sequence[Span]) -> Iterator[Sequence[Span]]:
    for start in range(0, len(within), _CHUNK):
        yield within[start : start + _CHUNK]


def _in(chunk: Sequence[Span]) -> ColumnElement[bool]:
    return or_(*(VlanRow.number.between(first, last) for first, last in chunk))


def _unavailable(number: int, physical: PhysicalNetworkRow, why: str) -> InvalidInput:
    return InvalidInput(
        f"VLAN {number} is not available on {physical.name}: {why}", problems=[Problem("vlan", "is not available")], hint="name another ID",
    )
