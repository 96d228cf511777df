"""VMs as the tenants of hosts that leave: what ``hosts.tenants.Tenants`` asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import FleetError
from fleet_tui.backend.hosts import transitions
from fleet_tui.backend.hypervisors import GuestState, Hypervisor
from fleet_tui.backend.machines import StartVm, vms
from fleet_tui.backend.machines.drivers import Machines
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.machines.states import ON_HOST, VmState
from fleet_tui.backend.operations import OperationRequest, Submitted
from fleet_tui.backend.operations.catalogue import StepContext

GRACE_S = 15.0
"""VMs of a host that is removed by force while it answers are asked to end before they are killed."""


class Engine(Protocol):
    """What is asked of the operations engine."""

    def submit(self, kind_name: str, request: OperationRequest, user: str) -> Submitted: ...


class VmTenants:
    """Implements ``Tenants``. A restart elsewhere is an operation of its own, submitted once whatever happens here."""

    def __init__(self, drivers: Machines, engine: Callable[[], Engine]) -> None:
        self._drivers, self._engine = drivers, engine

    def names(self, tx: Session, host_id: str) -> Sequence[str]:
        return [vm.name for vm in _assigned(tx, host_id)]

    def abandon(self, ctx: StepContext, host_id: str) -> Sequence[str]:
        return list(self._abandoned(ctx, host_id))

    def restart_elsewhere(self, ctx: StepContext, host_id: str) -> Sequence[str]:
        return list(self._restarted(ctx, host_id))

    def forget(self, tx: Session, host_id: str) -> None:
        for column in (VmRow.host_id, VmRow.last_host_id, VmRow.destination_id):
            tx.execute(update(VmRow).where(column == host_id).values({column: None}).execution_options(synchronize_session="fetch"))

    def _abandoned(self, ctx: StepContext, host_id: str) -> Iterator[str]:
        with ctx.read() as tx:
            found, name = _assigned(tx, host_id), vms.host_name(tx, host_id)
        why = f"its host {name} was removed"
        hypervisor: Hypervisor | None = None
        try:
            hypervisor = self._drivers.links.hypervisor(host_id) if found else None
        except FleetError as error:
            ctx.say(f"its VMs cannot be stopped there: {error.message}", "warn")
        for known in found:
            ctx.check()
            if hypervisor is not None:
                _end(hypervisor, known.guest_id)
            with ctx.write() as tx:
                transitions.lock(tx, host_id)
                vm, now = vms.locked(tx, known.id), self._drivers.clock.now()
                if vm.host_id not in (host_id, None):  # it was on its way here
                    vms.settle_at(vm, VmState.UNKNOWN, now, host_id=vm.host_id, error=f"its move to {name} ended: that host was removed")
                else:
                    vms.settle_at(vm, VmState.STOPPED, now, host_id=None, error=why)
                    vm.last_host_id = None
                vms.changed(tx, vm, now, f"VM {vm.name} is {vm.state}: {vm.error}", "warn", ctx.operation.id)
            if not vm.ha:
                yield f"{vm.name} is {vm.state}"
        yield from self._start(ctx, VmState.STOPPED, why)

    def _restarted(self, ctx: StepContext, host_id: str) -> Iterator[str]:
        with ctx.read() as tx:
            found, name = _assigned(tx, host_id), vms.host_name(tx, host_id)
        why = f"its host {name} was declared degraded"
        for known in found:
            ctx.check()
            with ctx.write() as tx:
                transitions.lock(tx, host_id)
                vm = vms.locked(tx, known.id)
                if vm.host_id != host_id or VmState(vm.state) not in ON_HOST:
                    continue
                now, is_lost = self._drivers.clock.now(), vm.ha and not vm.has_local_disk
                state = VmState.CRASHED if is_lost else VmState.UNKNOWN
                vms.settle_at(vm, state, now, host_id=None if is_lost else host_id, error=why)
                vms.changed(tx, vm, now, f"VM {vm.name} is {state.value}: {why}", "warn", ctx.operation.id)
        yield from self._start(ctx, VmState.CRASHED, why)

    def _start(self, ctx: StepContext, state: VmState, why: str) -> Iterator[str]:
        """Every highly available VM that was set down for that reason, also before a crash of ours; asked twice it is one operation."""
        with ctx.read() as tx:
            down = (VmRow.ha.is_(True), VmRow.state == state.value, VmRow.error == why, VmRow.host_id.is_(None))
            found = tx.scalars(select(VmRow).where(*down).order_by(VmRow.name)).all()
        for vm in found:
            if vm.has_local_disk:
                yield f"{vm.name} cannot be restarted elsewhere: its disk is on the host that left"
                continue
            try:
                asked = self._engine().submit("vm.start", StartVm(target=vm.id, request_id=f"{ctx.token}:{vm.id}"), ctx.operation.user)
            except FleetError as error:
                yield f"{vm.name} cannot be restarted elsewhere: {error.message}"
            else:
                yield f"{vm.name} restarts elsewhere: operation {asked.operation.id if asked.operation else '?'}"


def _assigned(tx: Session, host_id: str) -> Sequence[VmRow]:
    """On it, on the way to it, or with its disk there."""
    on_it = VmRow.state.in_([state.value for state in ON_HOST]) | VmRow.has_local_disk
    return tx.scalars(select(VmRow).where(or_((VmRow.host_id == host_id) & on_it, VmRow.destination_id == host_id)).order_by(VmRow.name)).all()


def _end(hypervisor: Hypervisor, guest_id: str) -> None:
    """Off, and unknown there: so that nobody starts it there again beside its successor. Its disks stay."""
    state = hypervisor.find(guest_id).state
    if state is GuestState.INCOMING:
        hypervisor.drop_incoming(guest_id)
        return
    if state in (GuestState.RUNNING, GuestState.PAUSED):
        hypervisor.shut_down(guest_id, GRACE_S)
    hypervisor.remove(guest_id, with_disks=False)
