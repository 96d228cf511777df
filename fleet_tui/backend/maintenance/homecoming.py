"""VMs of a session moved back to the host they came from (MNT-4): never by itself, under the same rules as the way out."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import ConfirmationRequired, FleetError, NotFound, Partial, WrongState
from fleet_tui.backend.hosts.rows import HostRow
from fleet_tui.backend.hosts.states import ConnectionState, ResourceState
from fleet_tui.backend.machines import moves
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.machines.states import VmState
from fleet_tui.backend.machines.vms import open_move
from fleet_tui.backend.maintenance import MigrateBack, MoveState, Step, comeback, sessions
from fleet_tui.backend.maintenance.carrying import InFlight, find
from fleet_tui.backend.maintenance.comeback import host_id_of
from fleet_tui.backend.maintenance.destinations import Destinations
from fleet_tui.backend.maintenance.drivers import Drivers
from fleet_tui.backend.maintenance.preconditions import place_of
from fleet_tui.backend.maintenance.rows import EvacueeRow, SessionRow
from fleet_tui.backend.operations.catalogue import (
    Lease,
    OperationCancelled,
    OperationFacts,
    OperationKind,
    Prepared,
    StepContext,
    planned,
)
from fleet_tui.backend.operations.catalogue import Step as OperationStep
from fleet_tui.backend.operations.ownership import Fenced, ShuttingDown

WAITING, MOVING, BACK, FAILED = "waiting", "moving", "back", "failed: "
"""What ``back`` of an evacuee says; empty when nobody asked."""
_OPEN = (WAITING, MOVING)
_GLANCE_S = 1.0
_log = logging.getLogger(__name__)


def operations(drivers: Drivers) -> tuple[OperationKind, ...]:
    def prepare(tx: Session, request: MigrateBack, user: str) -> Prepared:
        session, host = sessions.find(tx, request.target)
        if session.closed_at is not None:
            raise WrongState(
                f"the maintenance of {host.name} is closed, and with it what it remembered", hint="move VMs by hand: `fleet vm migrate`",
                state="closed", allowed=["open"],
            )
        rows = _selected(tx, session, host, request.vms)
        vms = [vm for row in rows if (vm := tx.get(VmRow, row.vm_id)) is not None]
        refusals = list(_refusals(host, rows))
        if not request.confirmed and not request.dry_run:
            refusals.append(ConfirmationRequired(f"this moves {len(rows)} VMs back to {host.name}", hint="confirm in the dialog, or give --yes"))
        sources = {vm.host_id for vm in vms if vm.host_id is not None} - {host.id}
        return Prepared(
            target=host.name, target_ref=f"host:{host.id}",
            plan=planned(host.name, changes=[f"{row.name} moves back to {host.name}" for row in rows], refusals=refusals,
                         consequences=[f"{drivers.rules.moves_in} migrations at once"]),
            leases=(
                Lease("cluster", host.cluster_id, shared=True), Lease("host", host.id, shared=True), *(Lease("vm", vm.id) for vm in vms),
                *(Lease("host", source, shared=True) for source in sorted(sources)),
            ),
            parameters={"session": session.id, "vms": [row.vm_id for row in rows]},
        )

    return (OperationKind(
        kind="host.migrate-back", title="migrate back", request=MigrateBack, danger="disruptive", prepare=prepare,
        steps=(OperationStep("migrate-back", _body),), began=_began, succeeded=lambda tx, op, results: _ended(tx, op),
        failed=lambda tx, op, error, step: _ended(tx, op), cancelled=_ended,
    ),)


def _selected(tx: Session, session: SessionRow, host: HostRow, wanted: Sequence[str]) -> Sequence[EvacueeRow]:
    """Those that the session moved and that are not back; with ``wanted``, of them these, by name, id or ref."""
    away = [row for row in sessions.evacuees(tx, session.id) if row.state == MoveState.MOVED.value and row.back != BACK]
    if not wanted:
        return away
    names = {one.removeprefix("vm:") for one in wanted}
    found = [row for row in away if row.name in names or row.vm_id in names]
    if missing := names - {row.name for row in found} - {row.vm_id for row in found}:
        raise NotFound(f"this maintenance of {host.name} moved no VM {', '.join(sorted(missing))}, or it is back already",
                       hint="its session lists those it moved")
    return found


def _refusals(host: HostRow, rows: Sequence[EvacueeRow]) -> Sequence[FleetError]:
    found: list[FleetError] = []
    if host.resource_state != ResourceState.ENABLED.value:
        found.append(WrongState(
            f"{host.name} is {host.resource_state}; nothing is moved to it", hint="cancel its maintenance, or enable it, first",
            state=host.resource_state, allowed=[ResourceState.ENABLED.value],
        ))
    elif host.connection_state != ConnectionState.UP.value:
        found.append(WrongState(f"the link of {host.name} is {host.connection_state}", hint="reconnect it first", state=host.connection_state,
                                allowed=[ConnectionState.UP.value]))
    if not rows:
        found.append(NotFound(f"no VM is away from {host.name} that its maintenance moved", hint="nothing is left to do"))
    return found


def _began(tx: Session, op: OperationFacts) -> None:
    session = tx.get(SessionRow, op.parameters["session"])
    if session is None or session.closed_at is not None:
        raise WrongState(f"the maintenance of {op.target} was closed meanwhile", state="closed", allowed=["open"])
    session.operation_id, session.step = op.id, Step.MIGRATE_BACK.value
    for row in sessions.evacuees(tx, session.id):
        if row.vm_id in op.parameters["vms"]:
            row.back, row.attempt, row.granted, row.next_try_at = WAITING, 0, 0, None
    sessions.changed(tx, session, operation_id=op.id)


def _ended(tx: Session, op: OperationFacts) -> None:
    session = comeback.forget_operation(tx, op.id)
    if session is None:
        return
    rows = sessions.evacuees(tx, session.id)
    for row in rows:
        if row.back in _OPEN:
            row.back = ""
    if not any(row.state == MoveState.MOVED.value and row.back != BACK for row in rows):
        session.step = Step.CLOSE.value


def _body(ctx: StepContext) -> Mapping[str, Any]:
    """Raises:
        Partial: some did not come back; they run where they were.
    """
    return Homecoming(ctx).run()


class Homecoming:
    """Of one host's VMs, by one attempt of the step."""

    def __init__(self, ctx: StepContext) -> None:
        self._ctx, self._drivers = ctx, ctx.use(Drivers)
        self._hands = self._drivers.hands()
        self._host_id, self._session_id = host_id_of(ctx), str(ctx.operation.parameters["session"])

    def run(self) -> Mapping[str, Any]:
        try:
            while self._round():
                self._hands.rest(_GLANCE_S, self._ctx.check)
        except OperationCancelled:
            with self._ctx.read() as tx:
                adrift = [row for row in self._mine(tx) if row.back == MOVING and row.vm_id not in self._hands.busy()]
            for row in adrift:  # a crash had cut this step short before
                self._hands.start(row.vm_id, partial(self._carry, row.vm_id, row.name, 0))
            while self._hands.busy():  # what flies lands (ENG-6)
                self._hands.rest(_GLANCE_S, self._unless_stopping)
            raise
        with self._ctx.read() as tx:
            rows = self._mine(tx)
        failed = {row.name: row.back.removeprefix(FAILED) for row in rows if row.back.startswith(FAILED)}
        if failed:
            told = "; ".join(f"{name}: {why}" for name, why in list(failed.items())[:5])
            raise Partial(f"{len(failed)} of {len(rows)} VMs did not come back to {self._ctx.operation.target} ({told})",
                          hint="they run where they were; ask again, or leave them there", table=failed)
        return {"back": len(rows)}

    def _round(self) -> bool:
        """Begin what is due; whether something is left."""
        self._ctx.check()
        now, busy, begun = self._drivers.clock.now(), self._hands.busy(), list[tuple[str, str, int]]()
        with self._ctx.read() as tx:
            rows = self._mine(tx)
            left = [row for row in rows if row.back in _OPEN]
            due = [row.vm_id for row in left if row.vm_id not in busy and (row.next_try_at is None or row.next_try_at <= now)]
        self._ctx.progress(f"back {sum(row.back == BACK for row in rows)}/{len(rows)}")
        if due:
            with self._ctx.write() as tx:
                begun, said = self._decide(tx, due)
            for text in said:
                self._ctx.say(text, "warn")
        for vm_id, name, attempt in begun:
            self._hands.start(vm_id, partial(self._carry, vm_id, name, attempt))
        return bool(left) or bool(busy)

    def _decide(self, tx: Session, due: Sequence[str]) -> tuple[list[tuple[str, str, int]], list[str]]:
        now, begun, said = self._drivers.clock.now(), list[tuple[str, str, int]](), list[str]()
        destinations = Destinations(tx, self._drivers, place_of(tx, tx.get_one(HostRow, self._host_id)), now)
        leaving = Counter(tx.scalars(select(VmRow.host_id).where(VmRow.destination_id.is_not(None))).all())
        for row in self._mine(tx):
            vm = tx.get(VmRow, row.vm_id, populate_existing=True) if row.vm_id in due else None
            if row.vm_id not in due:
                continue
            if vm is None or vm.state in (VmState.STOPPED.value, VmState.CRASHED.value):
                row.back = f"{FAILED}it is {vm.state if vm is not None else 'gone'}"
            elif row.back == MOVING and open_move(tx, vm.id) is not None:
                begun.append((vm.id, vm.name, 0))  # it may be here by now: then only its end is missing
            elif vm.host_id == self._host_id and vm.state == VmState.RUNNING.value:
                row.back = BACK
            elif row.back == MOVING or vm.state != VmState.RUNNING.value:
                row.back = MOVING
                begun.append((vm.id, vm.name, 0))
            elif leaving[vm.host_id] < self._drivers.rules.moves_out:
                found = destinations.find(vm, self._host_id)
                if found.host_id is not None:
                    leaving[vm.host_id] += 1
                    row.back, row.attempt = MOVING, row.attempt + 1
                    begun.append((vm.id, vm.name, row.attempt))
                elif not found.must_wait:
                    row.attempt += 1
                    said.append(self._fail(row, found.why))
        return begun, said

    def _carry(self, vm_id: str, name: str, attempt: int) -> None:
        """Move it, or with attempt 0 find out what became of an attempt that a crash cut off; then store where it is."""
        ctx, why = InFlight(self._ctx, name), ""
        try:
            try:
                if attempt:
                    why = moves.move(ctx, vm_id, destination_id=self._host_id, attempt=attempt, may_stop=ctx.is_cancelled).error
                else:
                    find(ctx, vm_id)
            except OperationCancelled:
                why = "cancelled"
            except FleetError as error:
                why = error.message
            with self._ctx.write() as tx:
                row, vm = tx.get_one(EvacueeRow, (self._session_id, vm_id), populate_existing=True), tx.get(VmRow, vm_id, populate_existing=True)
                if vm is not None and vm.host_id == self._host_id and vm.state == VmState.RUNNING.value:
                    row.back, said = BACK, ""
                else:
                    said = self._fail(row, why or "it is where it was")
                sessions.changed(tx, tx.get_one(SessionRow, self._session_id), operation_id=self._ctx.operation.id)
            if said:
                ctx.say(said, "warn")
        except (Fenced, ShuttingDown):
            _log.info("%s goes on its way without this daemon", name)
        except Exception:
            _log.warning("the way back of %s is looked at again", name, exc_info=True)

    def _fail(self, row: EvacueeRow, why: str) -> str:
        """What is to be said of it."""
        policy = self._drivers.policy
        if row.attempt < policy.attempts:
            row.back, row.next_try_at = WAITING, self._drivers.clock.now() + timedelta(seconds=policy.retry_s)
            return f"{row.name} did not come back (attempt {row.attempt} of {policy.attempts}): {why}"
        row.back, row.next_try_at = f"{FAILED}{why}", None
        return f"{row.name} did not come back, and every attempt was used: {why}"

    def _mine(self, tx: Session) -> Sequence[EvacueeRow]:
        wanted = set(self._ctx.operation.parameters["vms"])
        return [row for row in sessions.evacuees(tx, self._session_id) if row.vm_id in wanted]

    def _unless_stopping(self) -> None:
        with suppress(OperationCancelled):
            self._ctx.check()
