"""The audit: an append-only chain in which every record carries the hash of itself and the one before.

A record is written before the action starts and a second one completes it; an action that cannot be
recorded is refused by the caller of :meth:`Audit.record`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from fleet_tui.backend.clock import Clock
from fleet_tui.backend.identity import AuditRecord, AuditVerdict, ListAudit
from fleet_tui.backend.identity.caller import Caller
from fleet_tui.backend.identity.permissions import WHOLE_AUDIT
from fleet_tui.backend.identity.rows import AuditChainRow, AuditRow
from fleet_tui.backend.store import Store
from fleet_tui.backend.text import clean

GENESIS = "0" * 64
"""Stands before the first record."""

_HASHED = (
    "seq", "time", "user", "role", "session", "source", "action", "object", "parameters", "decision", "operation_id", "result", "completes",
)


def link(before: str, row: AuditRow) -> str:
    """Hash of a record: SHA-256 over the hash before it and the canonical JSON of its fields."""
    facts = {name: getattr(row, name) for name in _HASHED}
    facts["time"] = facts["time"].astimezone(timezone.utc).isoformat(timespec="milliseconds")
    return hashlib.sha256(before.encode("ascii") + canonical(facts).encode("ascii")).hexdigest()


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


class Audit:
    """Appends to the chain, reads it, and proves it.

    Appends are serialised by a row lock, so that two daemons on one PostgreSQL grow one chain.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def record(
        self,
        caller: Caller,
        action: str,
        object_name: str,
        parameters: Mapping[str, Any],
        decision: str,
        *,
        operation_id: str | None = None,
        result: str = "",
        completes: int | None = None,
    ) -> int:
        """Append one record and return its number. The database's own errors come through: the caller refuses the action.

        What completes a record does so once: a repeat after a commit whose answer was lost finds it.
        """
        row = AuditRow(
            time=self._clock.now(), user=clean(caller.user, 40), role=caller.role.value, session=clean(caller.session, 40),
            source=clean(caller.source, 150), action=action, object=clean(object_name, 250), parameters=canonical(parameters),
            decision=clean(decision, 250), operation_id=operation_id, result=clean(result, 1000), completes=completes,
        )
        with self._store.write() as tx:
            chain = _lock(tx)
            if completes is not None:
                found = tx.scalar(select(AuditRow.seq).where(AuditRow.seq > completes, AuditRow.completes == completes))
                if found is not None:
                    return found
            row.seq = chain.head_seq + 1
            row.hash = link(chain.head_hash, row)
            tx.add(row)
            chain.head_seq, chain.head_hash = row.seq, row.hash
        return row.seq

    def find(self, request: ListAudit, caller: Caller) -> tuple[AuditRecord, ...]:
        """Records, newest first. Roles that may not see everybody's get their own."""
        query = select(AuditRow).order_by(AuditRow.seq.desc()).limit(max(1, min(request.limit, 10_000)))
        user = request.user if caller.role in WHOLE_AUDIT else caller.user
        if user:
            query = query.where(AuditRow.user == user)
        if request.before is not None:
            query = query.where(AuditRow.seq < request.before)
        if request.object:
            query = query.where(AuditRow.object == request.object)
        with self._store.read() as tx:
            return tuple(_record(row) for row in tx.scalars(query))

    def verify(self) -> AuditVerdict:
        """Recompute the chain from its anchor to its head; names the first record that does not fit."""
        with self._store.read() as tx:
            chain = tx.get(AuditChainRow, 1)
            seq, before = (chain.anchor_seq, chain.anchor_hash) if chain else (0, GENESIS)
            count = 0
            for row in tx.scalars(select(AuditRow).order_by(AuditRow.seq).execution_options(yield_per=1000)):
                if row.seq != seq + 1:
                    return _broken(count, seq + 1, f"record {seq + 1} is missing; the next one there is {row.seq}")
                if link(before, row) != row.hash:
                    return _broken(count, row.seq, f"record {row.seq} was changed after it was written")
                seq, before, count = row.seq, row.hash, count + 1
            if chain is not None and (chain.head_seq, chain.head_hash) != (seq, before):
                return _broken(count, seq + 1, f"record {seq + 1} is missing at the end; {chain.head_seq} were written")
        return AuditVerdict(True, count, None, f"{count} records, the chain is intact")

    def forget(self, before: datetime) -> int:
        """Remove records older than ``before`` from the old end; the anchor keeps the rest provable. Returns how many."""
        with self._store.write() as tx:
            chain = _lock(tx)
            kept = select(AuditRow.seq).where(AuditRow.time >= before).order_by(AuditRow.seq).limit(1)
            first = tx.scalar(kept) or chain.head_seq + 1
            last = tx.get(AuditRow, first - 1)
            if last is None or last.seq <= chain.anchor_seq:
                return 0
            removed = last.seq - chain.anchor_seq
            chain.anchor_seq, chain.anchor_hash = last.seq, last.hash
            tx.execute(delete(AuditRow).where(AuditRow.seq <= last.seq))
        return removed


def _lock(tx: Session) -> AuditChainRow:
    """The chain's one row, held until the transaction ends. Made on first use, by whoever comes first."""
    query = select(AuditChainRow).where(AuditChainRow.id == 1).with_for_update()
    if found := tx.scalars(query).one_or_none():
        return found
    first = {"id": 1, "anchor_seq": 0, "anchor_hash": GENESIS, "head_seq": 0, "head_hash": GENESIS}
    if tx.get_bind().dialect.name == "sqlite":
        tx.execute(sqlite.insert(AuditChainRow).values(first).on_conflict_do_nothing())
    else:
        tx.execute(postgresql.insert(AuditChainRow).values(first).on_conflict_do_nothing())
    return tx.scalars(query).one()


def _broken(count: int, seq: int, message: str) -> AuditVerdict:
    return AuditVerdict(False, count, seq, f"the chain is broken: {message}")


def _record(row: AuditRow) -> AuditRecord:
    return AuditRecord(
        seq=row.seq, time=row.time, user=row.user, role=row.role, session=row.session, source=row.source, action=row.action,
        object=row.object, parameters=json.loads(row.parameters), decision=row.decision, operation_id=row.operation_id,
        result=row.result, completes=row.completes, hash=row.hash,
    )
