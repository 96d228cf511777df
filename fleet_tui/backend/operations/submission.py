"""What people ask of the engine: submit, cancel, retry. Each is one transaction."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from fleet_tui.backend import errors
from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.errors import Busy, FleetError, InvalidInput, NotFound, PermissionDenied, Problem, WrongState
from fleet_tui.backend.operations import (
    OperationRecord,
    OperationRequest,
    OperationState,
    Plan,
    Refusal,
    StepState,
    Submitted,
    queries,
    transitions,
)
from fleet_tui.backend.operations.catalogue import OperationKind, Prepared, planned
from fleet_tui.backend.operations.leases import as_json
from fleet_tui.backend.operations.rows import OperationRow, StepRow
from fleet_tui.backend.operations.states import FINAL
from fleet_tui.backend.store import Store, new_id

_PRIORITIES = range(-20, 20)
_TRIES = 5
_clock = SystemClock()


class _Answer(Exception):
    """Carries the answer out of a transaction of which nothing may be kept."""

    def __init__(self, submitted: Submitted) -> None:
        self.submitted = submitted


class Submission:
    """Accepts requests for the kinds of one catalogue."""

    def __init__(self, store: Store, kinds: Mapping[str, OperationKind]) -> None:
        self._store = store
        self._kinds = kinds

    def submit(
        self, kind_name: str, request: OperationRequest, user: str, retry_of: str | None = None
    ) -> Submitted:
        """Store the operation, or find the one that this request means already.

        Raises:
            FleetError: whatever the kind's ``prepare`` refuses with.
        """
        kind = self._kind(kind_name)
        if request.priority not in _PRIORITIES:
            raise InvalidInput(
                f"Priority {request.priority} is out of range.", hint="Lower runs first; -20 to 19.",
                problems=[Problem("priority", "must be from -20 to 19")],
            )
        for _ in range(_TRIES):
            try:
                return self._once(kind, request, user, retry_of)
            except IntegrityError:  # somebody stored the same one between our look and our commit: look again
                continue
        raise Busy(f"{kind.title} {request.target} was asked for by several at once.", hint="Ask again.")

    def cancel(self, operation_id: str, user: str) -> tuple[OperationRecord, bool]:
        """Cancel at once what has not begun; ask a running one to stop. True with it when it must stop itself.

        Raises:
            WrongState: it has ended.
        """
        with self._store.write() as tx:
            row = queries.get(tx, operation_id, lock=True)
            state = OperationState(row.state)
            if state in FINAL:
                raise WrongState(
                    f"Operation {row.id} ({row.title} {row.target}) has ended already: {state.value}.",
                    hint="Nothing is left to cancel.", state=state.value, allowed=[],
                )
            ask_to_stop(tx, row, self._kinds.get(row.kind), user)
            tx.flush()
            return queries.record(row), row.state == OperationState.CANCELLING.value

    def retry(self, operation_id: str, request_id: str, user: str) -> Submitted:
        """Submit a failed or cancelled operation again, as a new one that names it.

        Raises:
            WrongState: it succeeded, or has not ended.
            InvalidInput: it was asked for with a secret, which is not kept.
        """
        with self._store.read() as tx:
            row = queries.get(tx, operation_id)
        if row.state not in (OperationState.FAILED.value, OperationState.CANCELLED.value):
            raise WrongState(
                f"Operation {row.id} ({row.title} {row.target}) is {row.state}; only a failed or cancelled one "
                "can be retried.",
                state=row.state, allowed=[OperationState.FAILED.value, OperationState.CANCELLED.value],
            )
        request = rebuild(self._kind(row.kind), row.request, request_id)
        return self.submit(row.kind, request, user, retry_of=row.id)

    def _kind(self, name: str) -> OperationKind:
        kind = self._kinds.get(name)
        if kind is None:
            raise NotFound(f"There is no kind of operation called {name!r}.", known=sorted(self._kinds))
        return kind

    def _once(
        self, kind: OperationKind, request: OperationRequest, user: str, retry_of: str | None
    ) -> Submitted:
        try:
            with self._store.write() as tx:
                known = _same_request(tx, kind, request)
                if known is not None:
                    return Submitted(queries.record(known))
                return self._accept(tx, kind, request, user, retry_of)
        except _Answer as answer:
            return answer.submitted

    def _accept(
        self, tx: Session, kind: OperationKind, request: OperationRequest, user: str, retry_of: str | None
    ) -> Submitted:
        try:
            prepared = kind.prepare(tx, request, user)
            if prepared.plan.refusals and not request.dry_run:
                raise _as_error(prepared.plan.refusals[0])
        except (NotFound, PermissionDenied, InvalidInput):
            raise
        except FleetError as refusal:
            if request.dry_run:
                plan = _plan(kind, planned(request.target, refusals=[refusal]))
                raise _Answer(Submitted(plan=plan)) from None
            active = _active(tx, kind, request.target)
            if active is None:
                raise
            # Refused because this very operation is under way: that one is the answer (ENG-4).
            raise _Answer(Submitted(queries.record(active), deduplicated=True)) from None
        active = _active(tx, kind, prepared.target_ref)
        if request.dry_run:
            raise _Answer(Submitted(plan=_plan(kind, prepared.plan, active)))
        if active is not None:
            raise _Answer(Submitted(queries.record(active), deduplicated=True))
        row = _row(kind, request, prepared, user, retry_of)
        tx.add(row)
        tx.flush()
        transitions.changed(tx, row, "submitted", f"{kind.title} {row.target} was submitted by {user}")
        return Submitted(queries.record(row))


def ask_to_stop(tx: Session, row: OperationRow, kind: OperationKind | None, user: str) -> None:
    """Cancel in the caller's transaction, of one that has not ended and is locked: at once what has not begun; a running one is told
    by its daemon within a second, at its next look for cancels asked elsewhere."""
    state = OperationState(row.state)
    if state is OperationState.CANCELLING:
        return
    row.cancel_requested_at, row.cancel_requested_by = _clock.now(), user
    if state is OperationState.RUNNING:
        transitions.move(row, OperationState.CANCELLING)
        transitions.changed(tx, row, "cancelling")
    else:
        transitions.cancel(tx, row, kind)


def active_on(tx: Session, kind: str, target_ref: str) -> OperationRow | None:
    """The active operation of a kind on a target, locked; at most one exists (ENG-4)."""
    query = select(OperationRow).where(OperationRow.kind == kind, OperationRow.target_ref == target_ref, OperationRow.state.in_(queries.ACTIVE))
    return tx.scalar(query.with_for_update().execution_options(populate_existing=True))


def rebuild(kind: OperationKind, stored: Mapping[str, Any], request_id: str) -> OperationRequest:
    """A stored request as it was, under another request id.

    Raises:
        InvalidInput: a secret that it cannot be without was not kept.
    """
    lost = [field.name for field in dataclasses.fields(kind.request) if not field.repr and field.default is dataclasses.MISSING]
    if lost:
        raise InvalidInput(
            f"{kind.title} cannot be repeated from what is on record: its {lost[0]} is a secret and was not kept.",
            hint="Ask for it anew.", problems=[Problem(lost[0], "is not kept")],
        )
    known = {field.name for field in dataclasses.fields(kind.request)}
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in stored.items() if name in known
    }
    values.update(request_id=request_id, dry_run=False)
    return kind.request(**values)


def storable(request: OperationRequest) -> dict[str, Any]:
    """What is kept of a request. Fields declared ``repr=False`` are secrets and are left out."""
    hidden = {field.name for field in dataclasses.fields(request) if not field.repr} | {"request_id", "dry_run"}
    return {name: value for name, value in dataclasses.asdict(request).items() if name not in hidden}


def _same_request(tx: Session, kind: OperationKind, request: OperationRequest) -> OperationRow | None:
    if not request.request_id or request.dry_run:
        return None
    row = tx.scalar(select(OperationRow).where(OperationRow.request_id == request.request_id))
    if row is not None and row.kind != kind.kind:
        raise InvalidInput(
            f"Request {request.request_id} was used already, for {row.title} {row.target}.",
            hint="Make a new request id for each request.",
            problems=[Problem("request_id", "belongs to another operation")],
        )
    return row


def _active(tx: Session, kind: OperationKind, target: str) -> OperationRow | None:
    """The active operation of the kind on that target: its ref, or what a person typed (label or id)."""
    same = or_(
        OperationRow.target_ref == target, OperationRow.target == target,
        OperationRow.target_ref == f"{kind.kind.partition('.')[0]}:{target}",
    )
    query = select(OperationRow).where(
        OperationRow.kind == kind.kind, OperationRow.state.in_(queries.ACTIVE), same
    )
    rows = tx.scalars(query).all()
    return next((row for row in rows if row.target_ref == target), rows[0] if rows and ":" not in target else None)


def _plan(kind: OperationKind, plan: Plan, active: OperationRow | None = None) -> Plan:
    consequences = plan.consequences
    if active is not None:
        consequences = (*consequences, f"already under way as {active.id}: it would be joined, not started again")
    return dataclasses.replace(
        plan, kind=kind.kind, title=kind.title, steps=tuple(step.name for step in kind.steps),
        undo=plan.undo or kind.undo_text, consequences=consequences,
    )


def _row(
    kind: OperationKind, request: OperationRequest, prepared: Prepared, user: str, retry_of: str | None
) -> OperationRow:
    return OperationRow(
        id=new_id("o"), kind=kind.kind, title=kind.title, target=prepared.target, target_ref=prepared.target_ref,
        request_id=request.request_id or None, request=storable(request), parameters=dict(prepared.parameters),
        leases=as_json(prepared.leases), state=OperationState.QUEUED.value, priority=request.priority,
        rank=time.time() + 60.0 * request.priority, user=user, epoch=0, submitted_at=_clock.now(), rollback="none",
        waiting_for=[], retry_of=retry_of,
        steps=[
            StepRow(
                position=position, name=step.name, state=StepState.PENDING.value, attempt=0, failures=0, progress=""
            )
            for position, step in enumerate(kind.steps, start=1)
        ],
    )


def _as_error(refusal: Refusal) -> FleetError:
    return errors.from_json({"code": refusal.code, "message": refusal.message, "hint": refusal.hint, "details": refusal.details})


