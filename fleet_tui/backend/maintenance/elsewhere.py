"""VMs that cannot be moved while they run: stopped where that was allowed, restarted elsewhere, or made anew (spec 8.4).

Every body looks before it acts, so one that a crash cut short is simply done again.
"""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import FleetError, NoCapacity
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow, PodRow
from fleet_tui.backend.hypervisors import GuestSpec, GuestState, Hypervisor
from fleet_tui.backend.machines import cards, vms
from fleet_tui.backend.machines.drivers import Machines
from fleet_tui.backend.machines.placement import Wanted
from fleet_tui.backend.machines.room import take
from fleet_tui.backend.machines.rows import OfferingRow, VmRow
from fleet_tui.backend.machines.settling import settle
from fleet_tui.backend.machines.states import VmState
from fleet_tui.backend.operations.catalogue import StepContext

STOP_GRACE_S = 60.0


def stop(ctx: StepContext, vm_id: str, why: str) -> None:
    """Ask it to end, kill it when it does not, and say so. Only ever called where stopping was allowed.

    Raises:
        FleetError: it could not be stopped; its row says how it stands.
    """
    machines = ctx.use(Machines)
    host_id, spec = _stopping(ctx, machines, vm_id)
    if host_id is None:
        return
    ctx.say(f"{spec.name} is stopped, which was allowed: {why}", "warn")
    try:
        machines.links.hypervisor(host_id).shut_down(spec.id, STOP_GRACE_S)
    except FleetError as error:
        settle(ctx, machines, vm_id, error.message)
        raise
    with ctx.write() as tx:
        vm, now = vms.locked(tx, vm_id), machines.clock.now()
        vms.settle_at(vm, VmState.STOPPED, now, host_id=host_id)
        vm.stopped_at = None  # its room here is not kept for it
        vms.changed(tx, vm, now, f"{vm.name} was stopped for maintenance: {why}", "warn", ctx.operation.id)
    cards.leave(ctx, machines, vm_id, host_id)


def restart(ctx: StepContext, vm_id: str, destination_id: str) -> None:
    """A container: stopped here, started there. What cannot be started there is started here again.

    Raises:
        FleetError: it is not there; its row says where it is.
    """
    machines = ctx.use(Machines)
    with ctx.read() as tx:
        row = tx.get_one(VmRow, vm_id)
        source_id, is_claimed = row.host_id, row.destination_id == destination_id
    if source_id is None or source_id == destination_id:
        return
    if not is_claimed:
        take(ctx, machines, vm_id, lambda vm: _wanted(vm, leaves=vm.host_id or ""), _claim, host_id=destination_id)
    try:
        source, destination = machines.links.hypervisor(source_id), machines.links.hypervisor(destination_id)
    except FleetError:
        _unclaim(ctx, vm_id)
        raise
    _, spec = _stopping(ctx, machines, vm_id)
    try:
        if destination.find(spec.id).state is not GuestState.RUNNING:
            ctx.say(f"{spec.name} is a container: it is stopped here and started there")
            _define(ctx, machines, vm_id, destination_id, spec)  # what fails here leaves it running where it is
            _halt(source, spec)
            with cards.discreetly(ctx, vm_id):
                destination.start(spec.id)
    except FleetError:
        _start_again(ctx, machines, vm_id, source, destination, spec)
        cards.leave(ctx, machines, vm_id, destination_id)
        raise
    _lives(ctx, machines, vm_id, destination_id)
    source.remove(spec.id, with_disks=False)
    cards.leave(ctx, machines, vm_id, source_id)


def recreate(ctx: StepContext, vm_id: str, why: str) -> None:
    """A system VM that holds nothing: destroyed here, and made anew in another cluster of the zone that has room for it.

    Raises:
        NoCapacity: it is destroyed, and no cluster has room; it can be started once there is.
    """
    machines = ctx.use(Machines)
    host_id, spec = _stopping(ctx, machines, vm_id)
    if host_id is not None:
        ctx.say(f"{spec.name} is destroyed and made anew elsewhere: {why}", "warn")
        source = machines.links.hypervisor(host_id)
        if source.find(spec.id).state not in (GuestState.ABSENT, GuestState.OFF, GuestState.CRASHED):
            source.kill(spec.id)
        source.remove(spec.id, with_disks=True)
        with ctx.write() as tx:
            vm, now = vms.locked(tx, vm_id), machines.clock.now()
            vms.settle_at(vm, VmState.STOPPED, now, host_id=None)
            vm.last_host_id = vm.stopped_at = None
            vms.changed(tx, vm, now, f"{vm.name} was destroyed with its host's maintenance", "warn", ctx.operation.id)
        cards.leave(ctx, machines, vm_id, host_id)
    for cluster_id in _clusters(ctx, vm_id):
        with ctx.write() as tx:
            vms.locked(tx, vm_id).cluster_id = cluster_id
        try:
            taken = take(ctx, machines, vm_id, _wanted, _claim_start)
        except NoCapacity:
            continue
        destination, (_, spec) = machines.links.hypervisor(taken.host_id), _spec(ctx, vm_id)
        try:
            _define(ctx, machines, vm_id, taken.host_id, spec)
            with cards.discreetly(ctx, vm_id):
                destination.start(spec.id)
        except FleetError as error:
            settle(ctx, machines, vm_id, error.message)
            cards.leave(ctx, machines, vm_id, taken.host_id)
            raise
        _lives(ctx, machines, vm_id, taken.host_id)
        ctx.say(f"{spec.name} runs again, on {taken.host}")
        return
    raise NoCapacity(
        f"{spec.name} is destroyed, and no cluster of its zone has room for a new one", hint=f"`fleet vm start {spec.name}` once one has",
        reason="cannot_fit_now", verdicts=[],
    )


def _define(ctx: StepContext, machines: Machines, vm_id: str, host_id: str, spec: GuestSpec) -> None:
    """On a host where it is about to start, with its cards plugged in there."""
    hypervisor, nics = machines.links.hypervisor(host_id), cards.plug_in(ctx, machines, vm_id, host_id)
    with cards.discreetly(ctx, vm_id):
        hypervisor.create(replace(spec, nics=nics))
        if nics:
            hypervisor.plug(spec.id, nics)


def _stopping(ctx: StepContext, machines: Machines, vm_id: str) -> tuple[str | None, GuestSpec]:
    """Put on record that it is being stopped. Its host, ``None`` when it runs nowhere."""
    with ctx.write() as tx:
        vm = vms.locked(tx, vm_id)
        if vm.state in (VmState.RUNNING.value, VmState.DEBUGGING.value):
            vm.state = VmState.STOPPING.value
            vms.changed(tx, vm, machines.clock.now(), operation_id=ctx.operation.id)
    return _spec(ctx, vm_id)


def _spec(ctx: StepContext, vm_id: str) -> tuple[str | None, GuestSpec]:
    with ctx.read() as tx:
        vm = tx.get_one(VmRow, vm_id)
        spec = vms.spec_of(vm, tx.get_one(OfferingRow, vm.offering_id), tx.get_one(ClusterRow, vm.cluster_id))
        return (None if vm.state == VmState.STOPPED.value else vm.host_id), spec


def _wanted(vm: VmRow, leaves: str = "") -> Wanted:
    return Wanted(vm.cluster_id, vms.size_of(vm, starts=True), vm.name, frozenset(vm.exclusion_tags), vm.account, leaves=leaves, vm_id=vm.id)


def _claim(tx: Session, vm: VmRow, host: HostRow) -> None:
    vm.destination_id = host.id


def _unclaim(ctx: StepContext, vm_id: str) -> None:
    """Nothing was begun: it runs where it is, and its place elsewhere is free for whoever goes next."""
    with ctx.write() as tx:
        vm = vms.locked(tx, vm_id)
        if vm.state in (VmState.RUNNING.value, VmState.DEBUGGING.value):
            vm.destination_id = None


def _claim_start(tx: Session, vm: VmRow, host: HostRow) -> None:
    vm.host_id, vm.state = host.id, VmState.STARTING.value


def _halt(source: Hypervisor, spec: GuestSpec) -> None:
    if source.find(spec.id).state not in (GuestState.ABSENT, GuestState.OFF):
        source.shut_down(spec.id, STOP_GRACE_S)


def _start_again(ctx: StepContext, machines: Machines, vm_id: str, source: Hypervisor, destination: Hypervisor, spec: GuestSpec) -> None:
    """It did not come up there: nothing of it stays there, and it goes on here. What its row says is found out from both."""
    try:
        if destination.find(spec.id).state is GuestState.OFF:
            destination.remove(spec.id, with_disks=False)
        if destination.find(spec.id).state is GuestState.ABSENT and source.find(spec.id).state is GuestState.OFF:
            source.start(spec.id)
    except FleetError as error:
        ctx.say(f"{spec.name} could not be started again where it was: {error.message}", "error")
    settle(ctx, machines, vm_id)
    with ctx.write() as tx:
        vm, now = vms.locked(tx, vm_id), machines.clock.now()
        if vm.state == VmState.STOPPED.value:  # nobody wanted that
            vms.settle_at(vm, VmState.FAILED_TO_START, now, host_id=vm.host_id, error=f"{vm.name} was to be restarted elsewhere, and starts nowhere")
            vms.changed(tx, vm, now, vm.error, "error", ctx.operation.id)


def _lives(ctx: StepContext, machines: Machines, vm_id: str, host_id: str) -> None:
    with ctx.write() as tx:
        vm, now = vms.locked(tx, vm_id), machines.clock.now()
        cluster = tx.get_one(ClusterRow, vm.cluster_id)
        vm.cpu_hundredths, vm.ram_hundredths = cluster.cpu_hundredths, cluster.ram_hundredths
        vms.settle_at(vm, VmState.RUNNING, now, host_id=host_id)
        vms.changed(tx, vm, now, f"{vm.name} was restarted on {vms.host_name(tx, host_id)}", operation_id=ctx.operation.id)


def _clusters(ctx: StepContext, vm_id: str) -> list[str]:
    """Clusters of the same zone and kind, its own first."""
    with ctx.read() as tx:
        own = tx.get_one(ClusterRow, tx.get_one(VmRow, vm_id).cluster_id)
        zone_id = tx.get_one(PodRow, own.pod_id).zone_id
        query = select(ClusterRow.id).join(PodRow, ClusterRow.pod_id == PodRow.id).where(PodRow.zone_id == zone_id, ClusterRow.id != own.id)
        return [own.id, *tx.scalars(query.where(ClusterRow.hypervisor == own.hypervisor).order_by(ClusterRow.name))]
