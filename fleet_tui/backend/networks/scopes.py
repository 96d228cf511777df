"""Whom IDs are for: the scope of ranges, and the usual scheme (spec 10.6)."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.orm import Session

from fleet_tui.backend.errors import InvalidInput, Problem
from fleet_tui.backend.networks import ApplyTemplate, SetScope
from fleet_tui.backend.networks.editing import refuse_dedicated, refuse_taken, write_ranges
from fleet_tui.backend.networks.physical import find, lock, range_rows, spans, told
from fleet_tui.backend.networks.ranges import Span, common, merged, text_of, without
from fleet_tui.backend.networks.rows import PhysicalNetworkRow
from fleet_tui.backend.networks.states import TEMPLATE, Isolation, Scope

GUESTS = frozenset({Scope.GUEST_POOL, Scope.GUEST_ASSIGNED, Scope.GUEST_SHARED})
"""Scopes that guest networks use. What they have does not become anything else under them."""


def set_scope(tx: Session, request: SetScope, user: str) -> PhysicalNetworkRow:
    """Give the IDs of a range another scope.

    Raises:
        InvalidInput: the range is none, or not wholly of the network.
        InUse: IDs that guest networks have, or that are dedicated, would be for something else than guests.
    """
    row = lock(tx, find(tx, request.target).id)
    span = whole_span(tx, row, request.first, request.last)
    changed = _rescope(tx, row, [(span, request.scope)])
    if changed:
        told(tx, row, "changed", f"{changed} IDs of physical network {row.name} are for {request.scope.value} now", user)
    return row


def apply_template(tx: Session, request: ApplyTemplate, user: str) -> PhysicalNetworkRow:
    """Give the ranges the scopes of the usual scheme: which IDs there are stays as it is.

    Raises:
        InvalidInput: the network carries no VLANs.
        InUse: as :func:`set_scope`.
    """
    row = lock(tx, find(tx, request.target).id)
    if row.isolation != Isolation.VLAN.value:
        raise InvalidInput(f"the usual scheme is for VLANs, and {row.name} is {row.isolation}", problems=[Problem("target", "carries no VLANs")])
    if _rescope(tx, row, [((first, last), scope) for first, last, scope in TEMPLATE]):
        told(tx, row, "changed", f"physical network {row.name} follows the usual scheme of scopes now", user)
    return row


def whole_span(tx: Session, row: PhysicalNetworkRow, first: int, last: int) -> Span:
    """``first``..``last`` when all of it is in the network's ranges.

    Raises:
        InvalidInput: it is not, or ends before it begins.
    """
    if last < first:
        raise InvalidInput(f"{first}-{last} ends before it begins", problems=[Problem("last", "comes before first")])
    missing = without(((first, last),), spans(tx, row.id))
    if missing:
        text = text_of(missing[:5])
        raise InvalidInput(f"{text} is in no range of {row.name}", problems=[Problem("first", f"{text} is in no range")], hint="add it first")
    return first, last


def _rescope(tx: Session, row: PhysicalNetworkRow, wanted: Sequence[tuple[Span, Scope]]) -> int:
    """How many IDs have another scope afterwards."""
    scoped, changed = [], 0
    for old in range_rows(tx, row.id):
        here = (old.first, old.last)
        for span, scope in wanted:
            for first, last in common((here,), (span,)):
                if scope.value != old.scope:
                    changed += last - first + 1
                    if scope not in GUESTS:
                        _refuse(tx, row, (first, last), scope)
                scoped.append((first, last, scope))
        scoped += [(first, last, Scope(old.scope)) for first, last in without((here,), merged(span for span, _ in wanted))]
    if changed:
        write_ranges(tx, row, scoped)
    return changed


def _refuse(tx: Session, row: PhysicalNetworkRow, span: Span, scope: Scope) -> None:
    deed = f"{text_of((span,))} cannot be {'for ' if scope is not Scope.RESERVED else ''}{scope.value}"
    refuse_taken(tx, row, (span,), deed)
    refuse_dedicated(tx, row, (span,), deed)
