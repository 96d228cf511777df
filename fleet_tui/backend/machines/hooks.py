"""What becomes of a VM's row when an operation on it begins and ends, in the transaction that changes the operation's own state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.errors import NotFound
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.machines import refusals, vms
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.machines.settling import Outcome, end
from fleet_tui.backend.machines.states import VmState
from fleet_tui.backend.operations import ErrorRecord
from fleet_tui.backend.operations.catalogue import OperationFacts

Results = Mapping[str, Mapping[str, Any]]
_OURS = (VmState.STARTING, VmState.STOPPING, VmState.DESTROYING)
"""States that only an operation which holds the VM puts it into."""
_clock = SystemClock()


class Ends(NamedTuple):
    """The hooks of one kind."""

    began: Callable[[Session, OperationFacts], None] | None
    succeeded: Callable[[Session, OperationFacts, Results], None]
    failed: Callable[[Session, OperationFacts, ErrorRecord, str], None]
    cancelled: Callable[[Session, OperationFacts], None]


def ends(action: str, end_state: VmState | None = None, during: VmState | None = None) -> Ends:
    """Hooks of a verb.

    Args:
        action: name in the table of what each state allows; looked at again at the beginning, when the leases are held.
        end_state: after a success; ``None`` where the steps say.
        during: of a VM that ran, while the operation does.
    """

    def began(tx: Session, op: OperationFacts) -> None:
        vm = vms.locked(tx, op.target_ref)
        for refused in refusals.of_state(tx, action, vm):
            raise refused
        if during is not None and vm.state in (VmState.RUNNING.value, VmState.DEBUGGING.value):
            vm.state = during.value
        vms.changed(tx, vm, _clock.now(), operation_id=op.id)

    def succeeded(tx: Session, op: OperationFacts, results: Results) -> None:
        vm = _row(tx, op)
        if vm is None:
            return
        if end_state is not None:
            vms.settle_at(vm, end_state, _clock.now(), host_id=vm.host_id)
        vms.changed(tx, vm, _clock.now(), operation_id=op.id)

    return Ends(began, succeeded, failed, cancelled)


def failed(tx: Session, op: OperationFacts, error: ErrorRecord, step: str) -> None:
    """The steps have settled it. What they could not (a bug, a daemon of another version) is unknown until the watch has asked."""
    vm = _row(tx, op)
    if vm is None:
        return
    _unsettle(tx, vm, op, error.message)
    if vm.state == VmState.FAILED_TO_START.value:
        vm.error = error.message
    vms.changed(tx, vm, _clock.now(), operation_id=op.id)


def cancelled(tx: Session, op: OperationFacts) -> None:
    vm = _row(tx, op)
    if vm is not None:
        _unsettle(tx, vm, op, f"{op.kind.partition('.')[2]} was cancelled")
        vms.changed(tx, vm, _clock.now(), operation_id=op.id)


def _unsettle(tx: Session, vm: VmRow, op: OperationFacts, why: str) -> None:
    move = vms.open_move(tx, vm.id)
    mine = move is not None and move.operation_id == op.id
    if VmState(vm.state) in _OURS or (mine and vm.state == VmState.MIGRATING.value):
        vm.state, vm.error = VmState.UNKNOWN.value, why
    if move is not None and mine:
        end(move, Outcome.UNKNOWN, why, _clock.now())


def _destroyed(tx: Session, op: OperationFacts, results: Results) -> None:
    vm = _row(tx, op)
    if vm is not None:
        append(tx, type="vm.removed", ref=f"vm:{vm.id}", text=f"{vm.name} was destroyed by {op.user}", operation_id=op.id, user=op.user)
        vms.changed(tx, vm, _clock.now(), operation_id=op.id)
        tx.delete(vm)


def _destroy_began(tx: Session, op: OperationFacts) -> None:
    vm = vms.locked(tx, op.target_ref)
    for refused in refusals.of_state(tx, "destroy", vm):
        raise refused
    vm.state = (VmState.STOPPING if vm.state == VmState.RUNNING.value else VmState.DESTROYING).value
    vms.changed(tx, vm, _clock.now(), operation_id=op.id)


def _row(tx: Session, op: OperationFacts) -> VmRow | None:
    try:
        return vms.locked(tx, op.target_ref)
    except NotFound:
        return None


DESTROYED = Ends(_destroy_began, _destroyed, failed, cancelled)
