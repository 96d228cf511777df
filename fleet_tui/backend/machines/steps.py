"""Bodies of the steps of VM operations. Each looks at the hypervisor first, then acts, so it can be repeated after any crash.

A body that fails asks where the VM is and writes that down before it fails: no state of a VM outlives the operation it belonged to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import wraps
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import FleetError, NoCapacity, NotFound, Unreachable, WrongState
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow
from fleet_tui.backend.hypervisors import GuestSpec, GuestState, Hypervisor, Nic
from fleet_tui.backend.machines import cards, files, moves, vms
from fleet_tui.backend.machines.capacity import MIB, minimum_memory, reserves
from fleet_tui.backend.machines.cold import carry
from fleet_tui.backend.machines.drivers import Machines
from fleet_tui.backend.machines.room import take
from fleet_tui.backend.machines.rows import MoveRow, OfferingRow, VmRow
from fleet_tui.backend.machines.settling import Outcome, settle
from fleet_tui.backend.machines.states import VmState
from fleet_tui.backend.operations.catalogue import OperationCancelled, StepContext
from fleet_tui.backend.operations.overview import outcome

Result = Mapping[str, Any] | None
HALTED = (GuestState.OFF, GuestState.CRASHED)
Body = Callable[[StepContext], Result]


def settles(body: Body) -> Body:
    """A body whose failure is followed by a look at where the VM is."""

    @wraps(body)
    def settled(ctx: StepContext) -> Result:
        try:
            return body(ctx)
        except OperationCancelled:
            raise
        except Exception as error:
            settle(ctx, ctx.use(Machines), ctx.operation.target_ref, error.message if isinstance(error, FleetError) else "")
            raise

    return settled


# --- coming up ---------------------------------------------------------------------------------------------------------


def ensure_it_runs_nowhere(ctx: StepContext) -> Result:
    """Two copies of a VM would ruin its disks: before a start, every host that may still have it must say that it does not run there."""
    drivers = ctx.use(Machines)
    with ctx.read() as tx:
        vm = vms.get(tx, ctx.operation.target_ref)
        if vm.state == VmState.STARTING.value:
            return None  # this operation has looked already
        places = {host_id: (vms.host_name(tx, host_id), vms.is_dead(tx, host_id)) for host_id in _may_have_it(tx, vm)}
        guest_id, name = vm.guest_id, vm.name
    for host_id, (host, is_dead) in places.items():
        try:
            state = drivers.links.hypervisor(host_id).find(guest_id).state
        except FleetError as error:
            if is_dead:
                ctx.say(f"{host} does not answer and counts as dead; {name} is started without its word", "warn")
                continue
            raise Unreachable(
                f"{host} may still run {name} and does not answer: {error.message}",
                hint=f"bring {host} back, or declare it degraded once its power is off", reason=error.details.get("reason", ""),
            ) from None
        if state is GuestState.RUNNING:
            with ctx.write() as tx:
                row = vms.locked(tx, ctx.operation.target_ref)
                vms.settle_at(row, VmState.RUNNING, drivers.clock.now(), host_id=host_id)
                vms.changed(tx, row, drivers.clock.now(), f"{name} was found running on {host}", "warn", ctx.operation.id)
        if state not in (GuestState.ABSENT, *HALTED):
            raise WrongState(f"{name} is {state.value} on {host} already", hint="nothing was done", state=state.value)
    return None


def _may_have_it(tx: Session, vm: VmRow) -> set[str]:
    """Hosts that had the VM last, or were about to."""
    last = tx.scalars(select(MoveRow).where(MoveRow.vm_id == vm.id).order_by(MoveRow.started_at.desc()).limit(1)).first()
    moved = {last.source_id, last.destination_id} if last is not None and last.outcome in ("", "lost", "unknown") else set()
    places = {vm.host_id, vm.last_host_id, vm.destination_id, *moved} - {None}
    return {host for host in places if host is not None and tx.get(HostRow, host) is not None}


def place(ctx: StepContext) -> Result:
    """Room for a VM that is to start, on its last host if that is kept for it, else where placement says."""
    drivers, asked = ctx.use(Machines), ctx.operation.parameters
    vm_id = ctx.operation.target_ref.removeprefix("vm:")
    is_new = bool(asked.get("is_new"))
    with ctx.read() as tx:
        vm = vms.get(tx, vm_id)
        if vm.state == VmState.STARTING.value and vm.host_id is not None:
            return {"host": vm.host_id, "previous": vm.last_host_id}
        previous = vm.host_id or vm.last_host_id
        kept = vm.last_host_id if reserves(vm, drivers.rules, drivers.clock.now()) else None

    def claim(tx: Session, row: VmRow, host: HostRow) -> None:
        cluster = tx.get(ClusterRow, row.cluster_id)
        assert cluster is not None
        row.state, row.host_id, row.last_host_id, row.error = VmState.STARTING.value, host.id, previous, ""
        row.cpu_hundredths, row.ram_hundredths = cluster.cpu_hundredths, cluster.ram_hundredths
        vms.changed(tx, row, drivers.clock.now(), operation_id=ctx.operation.id)

    def wants(row: VmRow) -> Any:
        return vms.wanted_start(row, is_new=is_new, in_disabled_zone=bool(asked.get("in_disabled_zone")))

    host_id, policy = str(asked.get("host", "")), str(asked.get("placement") or "balanced")
    taken = None
    if kept is not None and not host_id and policy == "balanced":
        try:
            taken = take(ctx, drivers, vm_id, wants, claim, host_id=kept)
        except NoCapacity:
            ctx.say("the room kept for it on its last host is of no use now; another host is looked for")
    if taken is None:
        taken = take(ctx, drivers, vm_id, wants, claim, policy=policy, host_id=host_id)
    ctx.say(f"its room is on {taken.host}")
    return {"host": taken.host_id, "previous": previous}


def give_room_back(ctx: StepContext) -> Result:
    """Undo of :func:`place`: where it is decides. A start that was cancelled before it began leaves it stopped."""
    drivers = ctx.use(Machines)
    if _vm(ctx).state != VmState.STARTING.value:
        return None
    settled = settle(ctx, drivers, ctx.operation.target_ref)
    with ctx.read() as tx:
        is_cancelled = outcome(tx, ctx.operation.id).cancelled
    if settled.outcome is Outcome.LOST and is_cancelled:
        with ctx.write() as tx:
            vm = vms.locked(tx, ctx.operation.target_ref)
            vms.settle_at(vm, VmState.STOPPED, drivers.clock.now(), host_id=vm.host_id)
            vms.changed(tx, vm, drivers.clock.now(), operation_id=ctx.operation.id)
    return None


@settles
def define(ctx: StepContext) -> Result:
    """Its disks and its definition on its host, for the ratios it is started with."""
    hypervisor, spec = _at_its_host(ctx)
    vm, nics = _vm(ctx), tuple[Nic, ...]()
    if ctx.operation.parameters.get("start", True):
        nics = cards.plug_in(ctx, ctx.use(Machines), vm.id, vm.host_id or "")
    with cards.discreetly(ctx, vm.id):
        if hypervisor.find(spec.id).state is GuestState.ABSENT:
            hypervisor.create(replace(spec, nics=nics))
            ctx.say("defined on its host")
        elif hypervisor.find(spec.id).state in HALTED:
            hypervisor.resize(spec.id, spec.cores, spec.memory_bytes, spec.minimum_memory_bytes, spec.cpu_weight)
            hypervisor.storage.fit(spec.id, spec.disks)
            if nics:
                hypervisor.plug(spec.id, nics)
    return None


def unplug(ctx: StepContext) -> Result:
    """Undo of a start: where it does not run after all, its networks' interfaces go with the last VM that needs them."""
    vm = _vm(ctx)
    cards.leave(ctx, ctx.use(Machines), vm.id, vm.host_id)
    return None


def remove_definition(ctx: StepContext) -> Result:
    """Undo of a creation: guest and disks go, unless it came as far as a start that failed; that is kept to be looked at."""
    with ctx.read() as tx:
        how = outcome(tx, ctx.operation.id)
        vm = vms.get(tx, ctx.operation.target_ref)
    unplug(ctx)
    if how.failed_step == "start" and not how.cancelled:
        ctx.say("the VM is kept: look at its log, start it again, or destroy it", "warn")
        return None
    hypervisor, spec = _at_its_host(ctx)
    if hypervisor.find(spec.id).state not in (GuestState.ABSENT, *HALTED):
        hypervisor.kill(spec.id)
    hypervisor.remove(spec.id, with_disks=True)
    for disk in spec.disks:
        if files.is_own(vm, disk.path):
            hypervisor.storage.erase(disk.path)  # made, though its guest was not defined
    ctx.say("what had been made of it was removed")
    return None


@settles
def start(ctx: StepContext) -> Result:
    if not ctx.operation.parameters.get("start", True):
        return None
    hypervisor, spec = _at_its_host(ctx)
    try:
        with cards.discreetly(ctx, ctx.operation.target_ref):
            hypervisor.start(spec.id)
    except FleetError:
        if hypervisor.find(spec.id).state is not GuestState.RUNNING:
            raise
    state = hypervisor.find(spec.id).state
    if state is not GuestState.RUNNING:
        raise WrongState(f"{spec.name} was started and is {state.value}", hint=f"`fleet vm logs {spec.name}` shows its console", state=state.value)
    ctx.say("it runs")
    return None


def tidy(ctx: StepContext) -> Result:
    """The definition on the host where it ran before goes; not being able to costs nothing but tidiness."""
    host_id, previous = ctx.results["place"].get("host"), ctx.results["place"].get("previous")
    if previous is None or previous == host_id:
        return None
    with ctx.read() as tx:
        guest_id = vms.get(tx, ctx.operation.target_ref).guest_id
    try:
        hypervisor = ctx.use(Machines).links.hypervisor(previous)
        if hypervisor.find(guest_id).state in HALTED:
            hypervisor.remove(guest_id, with_disks=False)
    except FleetError as error:
        ctx.say(f"its old definition could not be removed: {error.message}", "warn")
    cards.leave(ctx, ctx.use(Machines), ctx.operation.target_ref, previous)
    return None


# --- going down --------------------------------------------------------------------------------------------------------


@settles
def stop(ctx: StepContext) -> Result:
    """Ask the guest to end, and end it when it does not."""
    vm = _vm(ctx)
    if vm.host_id is not None and vm.state == VmState.STOPPING.value:
        _end(ctx, vm, ctx.use(Machines).links.hypervisor(vm.host_id))
    cards.leave(ctx, ctx.use(Machines), vm.id, vm.host_id)
    return None


def _end(ctx: StepContext, vm: VmRow, hypervisor: Hypervisor) -> None:
    if hypervisor.find(vm.guest_id).state in (GuestState.ABSENT, *HALTED):
        return
    grace_s = float(ctx.operation.parameters.get("grace_s", 15.0))
    if hypervisor.shut_down(vm.guest_id, grace_s):
        ctx.say("it shut down")
    else:
        ctx.say(f"it did not shut down within {grace_s:.0f} s and was switched off", "warn")
    state = hypervisor.find(vm.guest_id).state
    if state not in (GuestState.ABSENT, *HALTED):
        raise WrongState(f"{vm.name} is {state.value} after all", hint="look at its host", state=state.value)


def reboot(ctx: StepContext) -> Result:
    """Not resumable: whether a crash came before or after it cannot be seen, and twice would interrupt twice."""
    vm = _vm(ctx)
    ctx.use(Machines).links.hypervisor(vm.host_id or "").reboot(vm.guest_id)
    ctx.say("it was told to start anew")
    return None


@settles
def kill(ctx: StepContext) -> Result:
    vm, drivers = _vm(ctx), ctx.use(Machines)
    if vm.state == VmState.STOPPING.value and vm.host_id is not None:
        drivers.links.hypervisor(vm.host_id).kill(vm.guest_id)
        ctx.say("switched off")
        with ctx.write() as tx:
            row = vms.locked(tx, vm.id)
            row.state = VmState.DESTROYING.value
            vms.changed(tx, row, drivers.clock.now(), operation_id=ctx.operation.id)
    return None


@settles
def remove(ctx: StepContext) -> Result:
    """Its definition goes from every host that may have it, its disks with the last one."""
    drivers, vm = ctx.use(Machines), _vm(ctx)
    with_disks = not ctx.operation.parameters.get("keep_disks")
    with ctx.read() as tx:
        places = _may_have_it(tx, vm)
        dead = {host_id for host_id in places if vms.is_dead(tx, host_id)}
    home = vm.host_id or vm.last_host_id
    for host_id in sorted(places, key=lambda one: (one == home, one)):
        try:
            drivers.links.hypervisor(host_id).remove(vm.guest_id, with_disks=with_disks and host_id == home)
        except FleetError as error:
            if host_id not in dead:
                raise
            ctx.say(f"a host that counts as dead was not asked to forget it: {error.message}", "warn")
        else:
            cards.leave(ctx, drivers, vm.id, host_id)
    ctx.say("it is gone" if with_disks else "it is gone; its disks were kept")
    return None


# --- changing place and size -------------------------------------------------------------------------------------------


def migrate(ctx: StepContext) -> Result:
    """While it runs by :func:`moves.move`; a stopped one by defining it elsewhere."""
    vm, asked = _vm(ctx), ctx.operation.parameters
    host_id = str(asked.get("host", ""))
    if vm.state == VmState.STOPPED.value:
        return carry(ctx, vm.id, host_id)
    found = moves.move(
        ctx, vm.id, destination_id=host_id, copy_local_disks=bool(asked.get("copy_local_disks")),
        bandwidth_mib_s=int(asked.get("bandwidth_mib_s", 0)),
    )
    if found.outcome == Outcome.MOVED.value:
        return {"host": found.destination, "elapsed_ms": found.elapsed_ms, "downtime_ms": found.downtime_ms}
    if found.outcome == Outcome.FAILED.value:
        raise WrongState(f"{vm.name} did not move to {found.destination}: {found.error}", hint=f"it runs on {found.source} as before", state="failed")
    raise Unreachable(f"{vm.name} did not move to {found.destination}: {found.error}", hint="look at both hosts", reason=found.outcome)


def resize(ctx: StepContext) -> Result:
    """To another offering: on its hypervisor, then on record."""
    drivers, vm = ctx.use(Machines), _vm(ctx)
    with ctx.read() as tx:
        offering = tx.get(OfferingRow, str(ctx.operation.parameters["offering"]))
        if offering is None:
            raise NotFound("the offering is gone", hint="`fleet offering list` shows those there are")
        cores, mhz, memory_mib, offering_id = offering.cores, offering.mhz, offering.memory_mib, offering.id
    if vm.host_id is not None:
        hypervisor = drivers.links.hypervisor(vm.host_id)
        if hypervisor.find(vm.guest_id).state in HALTED:
            memory = memory_mib * MIB
            hypervisor.resize(vm.guest_id, cores, memory, minimum_memory(memory, vm.ram_hundredths), cores * mhz)
    with ctx.write() as tx:
        row = vms.locked(tx, vm.id)
        row.offering_id, row.cores, row.mhz, row.memory_mib = offering_id, cores, mhz, memory_mib
        vms.changed(tx, row, drivers.clock.now(), operation_id=ctx.operation.id)
    return None


# --- tools -------------------------------------------------------------------------------------------------------------


def _vm(ctx: StepContext) -> VmRow:
    with ctx.read() as tx:
        return vms.get(tx, ctx.operation.target_ref)


def _at_its_host(ctx: StepContext) -> tuple[Hypervisor, GuestSpec]:
    with ctx.read() as tx:
        vm = vms.get(tx, ctx.operation.target_ref)
        host_id, spec = vm.host_id, vms.spec(tx, vm)
    if host_id is None:
        raise WrongState(f"{spec.name} has no host", hint="start it")
    return ctx.use(Machines).links.hypervisor(host_id), spec
