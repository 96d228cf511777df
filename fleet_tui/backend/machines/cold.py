"""A stopped VM to another host of its cluster: defined there, on record there, gone here, in this order."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import FleetError, WrongState
from fleet_tui.backend.hosts.rows import HostRow
from fleet_tui.backend.machines import vms
from fleet_tui.backend.machines.drivers import Machines
from fleet_tui.backend.machines.placement import Wanted
from fleet_tui.backend.machines.room import take
from fleet_tui.backend.machines.rows import MoveRow, VmRow
from fleet_tui.backend.machines.settling import Outcome, end, settle
from fleet_tui.backend.machines.states import MovePhase, VmState
from fleet_tui.backend.operations.catalogue import StepContext
from fleet_tui.backend.store import new_id


def carry(ctx: StepContext, vm_id: str, host_id: str) -> dict[str, Any]:
    """Blocks shortly; may be repeated after any crash. Empty ``host_id``: placement chooses.

    Raises:
        WrongState: its disk is on its host's own storage, or it is not stopped.
        NoCapacity: no host takes it.
    """
    drivers = ctx.use(Machines)
    attempt = _of_this_operation(ctx, vm_id) or _begin(ctx, drivers, vm_id, host_id)
    try:
        with ctx.read() as tx:
            vm = vms.get(tx, vm_id)
            spec, guest_id, destination = vms.spec(tx, vm), vm.guest_id, vms.host_name(tx, attempt.destination_id)
        drivers.links.hypervisor(attempt.destination_id).create(spec)
        with ctx.write() as tx:
            row = vms.locked(tx, vm_id)
            row.host_id, row.destination_id, row.last_host_id, row.stopped_at = attempt.destination_id, None, attempt.destination_id, None
            _close(tx, drivers, attempt.id, row, f"{row.name} moved to {destination}")
    except FleetError as error:
        settle(ctx, drivers, vm_id, error.message)
        raise
    try:
        drivers.links.hypervisor(attempt.source_id).remove(guest_id, with_disks=False)
    except FleetError as error:
        ctx.say(f"its old definition could not be removed: {error.message}", "warn")
    return {"host": destination}


def _of_this_operation(ctx: StepContext, vm_id: str) -> MoveRow | None:
    with ctx.read() as tx:
        return tx.scalar(select(MoveRow).where(MoveRow.vm_id == vm_id, MoveRow.operation_id == ctx.operation.id).limit(1))


def _begin(ctx: StepContext, drivers: Machines, vm_id: str, host_id: str) -> MoveRow:
    made: list[MoveRow] = []

    def wants(vm: VmRow) -> Wanted:
        if vm.state != VmState.STOPPED.value or vm.host_id is None:
            raise WrongState(f"{vm.name} is {vm.state}", hint="look again", state=vm.state)
        if vm.has_local_disk:
            raise WrongState(f"the disk of {vm.name} is on its host's own storage", hint="start it, and move it with its disk", state="local-disk")
        return Wanted(vm.cluster_id, vms.size_of(vm, starts=True), vm.name, frozenset(vm.exclusion_tags), vm.account, leaves=vm.host_id, vm_id=vm.id)

    def claim(tx: Session, vm: VmRow, host: HostRow) -> None:
        assert vm.host_id is not None
        made[:] = [MoveRow(
            id=new_id("mv"), vm_id=vm.id, source_id=vm.host_id, destination_id=host.id, phase=MovePhase.COPY.value, percent=0, detail="", attempt=1,
            outcome="", error="", operation_id=ctx.operation.id, started_at=drivers.clock.now(),
        )]
        tx.add(made[0])
        vm.destination_id = host.id
        vms.changed(tx, vm, drivers.clock.now(), operation_id=ctx.operation.id)

    take(ctx, drivers, vm_id, wants, claim, host_id=host_id)
    return made[0]


def _close(tx: Session, drivers: Machines, move_id: str, vm: VmRow, text: str) -> None:
    now = drivers.clock.now()
    move = tx.get(MoveRow, move_id)
    if move is not None and not move.outcome:
        move.phase = MovePhase.DONE.value
        end(move, Outcome.MOVED, "", now)
    vms.changed(tx, vm, now, text, operation_id=move.operation_id if move is not None else None)
