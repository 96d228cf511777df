"""IDs kept for one account, project or domain (VLN-9, VLN-10)."""

from __future__ import annotations

import re

from sqlalchemy.orm import Session

from fleet_tui.backend.errors import InUse, InvalidInput, NotFound, Problem
from fleet_tui.backend.networks import Dedicate, ReleaseDedication
from fleet_tui.backend.networks.allocation import taken_rows
from fleet_tui.backend.networks.editing import holder
from fleet_tui.backend.networks.physical import dedication_rows, find, lock, spans, told
from fleet_tui.backend.networks.ranges import common, merged, size, text_of, without
from fleet_tui.backend.networks.rows import DedicationRow, PhysicalNetworkRow
from fleet_tui.backend.networks.scopes import GUESTS, whole_span
from fleet_tui.backend.networks.states import Scope
from fleet_tui.backend.store import new_id

OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@/-]{0,99}\Z")
OWNER_RULE = "use 1 to 100 letters, digits, '.', '_', '@', '/' or '-', beginning with a letter or digit"


def dedicate(tx: Session, request: Dedicate, user: str) -> PhysicalNetworkRow:
    """Keep ``first``..``last`` for an owner; what adjoins a range the owner has becomes one with it.

    Raises:
        InvalidInput: an ID is in no range, or not one for guests; or the owner's name is none.
        InUse: an ID is dedicated already, or a network of somebody else has it.
    """
    row = lock(tx, find(tx, request.target).id)
    if not OWNER.match(request.owner):
        raise InvalidInput(f"nothing can be dedicated: {OWNER_RULE}", problems=[Problem("owner", OWNER_RULE)])
    span = whole_span(tx, row, request.first, request.last)
    text = text_of((span,))
    foreign = common((span,), spans(tx, row.id, tuple(scope for scope in Scope if scope not in GUESTS)))
    if foreign:
        raise InvalidInput(
            f"{text} cannot be dedicated: {text_of(foreign[:5])} is not for guests", problems=[Problem("first", "is not for guests")],
        )
    rows = dedication_rows(tx, row.id)
    for known in rows:
        if known.first <= span[1] and span[0] <= known.last:
            raise InUse(
                f"{text} cannot be dedicated: {text_of(((known.first, known.last),))} is {known.owner_kind} {known.owner}'s already",
                hint="release the dedication first", users=[f"{known.owner_kind} {known.owner}"],
            )
    owner = (request.owner_kind.value, request.owner)
    others = [taken for taken in taken_rows(tx, row, (span,)) if (taken.owner_kind, taken.owner) != owner]
    if others:
        users = [holder(tx, taken) for taken in others[:100]]
        raise InUse(
            f"{text} cannot be dedicated to {request.owner_kind.value} {request.owner}: others use {'; '.join(users[:5])}"
            f"{f' and {len(others) - 5} more' if len(others) > 5 else ''}",
            hint="shut those networks down first, or dedicate other IDs", users=users, count=len(others),
        )
    own = [known for known in rows if (known.owner_kind, known.owner) == owner and (known.last + 1 == span[0] or span[1] + 1 == known.first)]
    whole = merged([span, *((known.first, known.last) for known in own)])[0]
    for known in own:
        tx.delete(known)
    tx.flush()
    identity = own[0].id if own else new_id("vd")
    tx.add(DedicationRow(id=identity, physical_id=row.id, first=whole[0], last=whole[1], owner_kind=owner[0], owner=owner[1]))
    row.version += 1
    tx.flush()
    told(tx, row, "changed", f"{size((span,))} IDs of physical network {row.name} were dedicated to {owner[0]} {owner[1]}", user)
    return row


def release(tx: Session, request: ReleaseDedication, user: str) -> PhysicalNetworkRow:
    """What of ``first``..``last`` is dedicated is so no more. Networks keep what they have (VLN-10).

    Raises:
        InvalidInput: the range ends before it begins.
        NotFound: nothing of it is dedicated.
    """
    row = lock(tx, find(tx, request.target).id)
    span = (request.first, request.last)
    if span[1] < span[0]:
        raise InvalidInput(f"{span[0]}-{span[1]} ends before it begins", problems=[Problem("last", "comes before first")])
    freed = 0
    for known in dedication_rows(tx, row.id):
        here = (known.first, known.last)
        if not (cut := common((here,), (span,))):
            continue
        freed += size(cut)
        tx.delete(known)
        tx.flush()
        for at, (first, last) in enumerate(without((here,), cut)):
            tx.add(DedicationRow(
                id=new_id("vd") if at else known.id, physical_id=row.id, first=first, last=last, owner_kind=known.owner_kind, owner=known.owner,
            ))
        tx.flush()
    if not freed:
        raise NotFound(f"nothing of {text_of((span,))} is dedicated on {row.name}", hint=f"`fleet physnet show {row.name}` shows what is")
    row.version += 1
    told(tx, row, "changed", f"{freed} IDs of physical network {row.name} are dedicated no more", user)
    return row
