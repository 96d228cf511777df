"""Ranges replaced, extended and cut (VLN-1 to VLN-3): looked at, checked and saved in one transaction under the network's row lock."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import ConfirmationRequired, InUse, InvalidInput, WrongState
from fleet_tui.backend.networks import PlanRanges, RangeDiff, SetRanges, ranges
from fleet_tui.backend.networks.allocation import count_taken, taken_rows
from fleet_tui.backend.networks.physical import (
    dedication_rows,
    find,
    lock,
    lock_zone,
    range_rows,
    sharing_problems,
    spans,
    told,
)
from fleet_tui.backend.networks.ranges import Spans, common, merged, size, text_of, without
from fleet_tui.backend.networks.rows import NetworkRow, PhysicalNetworkRow, VlanRangeRow, VlanRow
from fleet_tui.backend.networks.states import Isolation, Scope

_LISTED = 100
"""IDs in use that a refusal lists in its details; its sentence names some."""
_NAMED = 5


def plan(tx: Session, request: PlanRanges) -> RangeDiff:
    """What an edit would do. Raises what :func:`set_ranges` would refuse, but for its confirmation."""
    row = find(tx, request.target)
    before = spans(tx, row.id)
    return ranges.diff(before, _checked(tx, row, before, request.text, request.how))


def set_ranges(tx: Session, request: SetRanges, user: str) -> PhysicalNetworkRow:
    """Save an edit. IDs that stay keep their scope, new ones are of the guest pool; the same ranges again change nothing.

    Raises:
        InvalidInput: a token is wrong, or IDs belong to another physical network on the same NIC.
        InUse: an ID that would go is taken or dedicated.
        WrongState: the ranges are no longer those that the caller saw.
        ConfirmationRequired: IDs would go and that was not confirmed.
    """
    found = find(tx, request.target)
    lock_zone(tx, found.zone_id)
    row = lock(tx, found.id)
    before = spans(tx, row.id)
    if request.expected is not None and ranges.parse(request.expected, Isolation(row.isolation), "expected") != before:
        raise WrongState(
            f"the ranges of {row.name} were changed meanwhile", hint="look at them again and repeat the change", state=row.state, version=row.version,
        )
    after = _checked(tx, row, before, request.text, request.how)
    made = ranges.diff(before, after)
    if made.is_unchanged:
        return row
    if made.removed_count and not request.confirmed:
        raise ConfirmationRequired(
            f"{made.removed_count} IDs of {row.name} would be removed: {made.removed}", hint="confirm it with --yes", removed=made.removed,
            added=made.added,
        )
    scoped = [(first, last, Scope(old.scope)) for old in range_rows(tx, row.id) for first, last in common(((old.first, old.last),), after)]
    scoped += [(first, last, Scope.GUEST_POOL) for first, last in without(after, before)]
    write_ranges(tx, row, scoped)
    words = [f"{count} IDs {word}" for count, word in ((made.added_count, "added"), (made.removed_count, "removed")) if count]
    told(tx, row, "changed", f"ranges of physical network {row.name} were changed: {', '.join(words)}", user)
    return row


def write_ranges(tx: Session, row: PhysicalNetworkRow, scoped: list[tuple[int, int, Scope]]) -> None:
    """Put these in place of the ranges there are; neighbours of one scope become one."""
    tx.execute(delete(VlanRangeRow).where(VlanRangeRow.physical_id == row.id))
    for scope in Scope:
        tx.add_all(
            VlanRangeRow(physical_id=row.id, first=first, last=last, scope=scope.value)
            for first, last in merged((first, last) for first, last, of in scoped if of is scope)
        )
    row.version += 1
    tx.flush()


def refuse_taken(tx: Session, row: PhysicalNetworkRow, cut: Spans, deed: str) -> None:
    """Nothing that a network has may leave where it is.

    Raises:
        InUse: naming IDs with their networks and owners.
    """
    total = count_taken(tx, row, cut)
    if not total:
        return
    users = [holder(tx, taken) for taken in taken_rows(tx, row, cut, _LISTED)]
    more = f" and {total - _NAMED} more" if total > _NAMED else ""
    raise InUse(
        f"{deed}: {total} of those IDs {'are' if total > 1 else 'is'} in use: {'; '.join(users[:_NAMED])}{more}",
        hint="delete or shut down those networks first", users=users, count=total,
    )


def refuse_dedicated(tx: Session, row: PhysicalNetworkRow, cut: Spans, deed: str) -> None:
    """Raises InUse with the ranges that are dedicated and their owners."""
    hit = [found for found in dedication_rows(tx, row.id) if common(((found.first, found.last),), cut)]
    if hit:
        users = [f"{text_of(((found.first, found.last),))} of {found.owner_kind} {found.owner}" for found in hit]
        raise InUse(f"{deed}: dedicated are {'; '.join(users[:_NAMED])}", hint="release the dedication first", users=users)


def _checked(tx: Session, row: PhysicalNetworkRow, before: Spans, text: str, how: str) -> Spans:
    """The ranges afterwards, when nothing stands against them."""
    isolation = Isolation(row.isolation)
    after = ranges.changed(before, ranges.parse(text, isolation, "text"), how)
    added, removed = without(after, before), without(before, after)
    if (problems := sharing_problems(tx, row, added)):
        raise InvalidInput(f"the ranges of {row.name} were refused: {problems[0].message}", problems=problems)
    if removed:
        if not after and (total := count_taken(tx, row, removed)):
            raise InUse(
                f"{row.name} cannot be left without ranges: {total} of its IDs {'are' if total > 1 else 'is'} in use",
                hint="delete or shut down its networks first", users=[holder(tx, taken) for taken in taken_rows(tx, row, removed, _LISTED)],
                count=total,
            )
        deed = f"{text_of(removed[:_NAMED])}{f' and {len(removed) - _NAMED} more ranges' if len(removed) > _NAMED else ''} cannot be removed"
        refuse_taken(tx, row, removed, deed)
        refuse_dedicated(tx, row, removed, deed)
    assert size(after) == size(before) + size(added) - size(removed)
    return after


def holder(tx: Session, taken: VlanRow) -> str:
    """``612 shop-net (account shop)``."""
    name = tx.scalar(select(NetworkRow.name).where(NetworkRow.id == taken.network_id)) or "a network that is gone"
    return f"{taken.number} {name}{f' ({taken.owner_kind} {taken.owner})' if taken.owner else ''}"
