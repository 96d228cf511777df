"""Leases: who may touch what. All of an operation's or none, in one transaction.

They are the truth for "one operation at a time per host, instance, …". Rows are deleted in the transaction that
ends the operation, never at the moment of a cancel.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.orm import Session

from fleet_tui.backend.operations.catalogue import LEVELS, Lease
from fleet_tui.backend.operations.rows import LeaseRow, OperationRow

_CLAIM_LOCK = 0x6C65617365  # "lease"


def in_order(leases: Iterable[Lease]) -> tuple[Lease, ...]:
    """By level, then name; of two claims on one thing the exclusive one counts."""
    strongest: dict[tuple[str, str], Lease] = {}
    for lease in leases:
        key = (lease.level, lease.name)
        if key not in strongest or not lease.shared:
            strongest[key] = lease
    return tuple(sorted(strongest.values(), key=lambda lease: (LEVELS.index(lease.level), lease.name)))


def as_json(leases: Iterable[Lease]) -> list[list[Any]]:
    return [[lease.level, lease.name, lease.shared] for lease in in_order(leases)]


def from_json(stored: Iterable[Sequence[Any]]) -> tuple[Lease, ...]:
    return tuple(Lease(str(level), str(name), bool(shared)) for level, name, shared in stored)


def conflict(one: Lease, other: Lease) -> bool:
    return (one.level, one.name) == (other.level, other.name) and not (one.shared and other.shared)


def one_claimer(tx: Session) -> None:
    """From here to the end of the transaction nobody else takes leases. SQLite's writer is alone anyway."""
    if tx.get_bind().dialect.name == "postgresql":
        tx.execute(select(func.pg_advisory_xact_lock(_CLAIM_LOCK)))


def holders(tx: Session, wanted: Sequence[Lease], operation_id: str) -> tuple[OperationRow, ...]:
    """The operations whose leases stand against those, oldest first."""
    if not wanted:
        return ()
    keys = tuple_(LeaseRow.level, LeaseRow.name)
    held = tx.scalars(
        select(LeaseRow).where(
            keys.in_([(lease.level, lease.name) for lease in wanted]), LeaseRow.operation_id != operation_id
        )
    ).all()
    against = {
        row.operation_id for row in held
        if any(conflict(lease, Lease(row.level, row.name, row.shared)) for lease in wanted)
    }
    if not against:
        return ()
    query = select(OperationRow).where(OperationRow.id.in_(against)).order_by(OperationRow.started_at, OperationRow.id)
    return tuple(tx.scalars(query))


def acquire(tx: Session, operation_id: str, wanted: Sequence[Lease]) -> tuple[OperationRow, ...]:
    """Take all, or none and say who holds. Call :func:`one_claimer` before. Repeating it is harmless."""
    against = holders(tx, wanted, operation_id)
    if against:
        return against
    have = {(row.level, row.name) for row in tx.scalars(select(LeaseRow).where(LeaseRow.operation_id == operation_id))}
    tx.add_all(
        LeaseRow(level=lease.level, name=lease.name, operation_id=operation_id, shared=lease.shared)
        for lease in in_order(wanted)
        if (lease.level, lease.name) not in have
    )
    tx.flush()
    return ()


def release(tx: Session, operation_id: str) -> None:
    tx.execute(delete(LeaseRow).where(LeaseRow.operation_id == operation_id))
