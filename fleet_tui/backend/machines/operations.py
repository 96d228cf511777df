"""The verbs of VMs, as operations of named steps (spec 7.8), and the change of a cluster's ratios (spec 9.3).

Leases follow ENG-3: the VM alone, its host, a named destination and its cluster shared; a maintenance, which has its host alone, keeps them off.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy.orm import Session

from fleet_tui.backend import machines as face
from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.errors import ConfirmationRequired, FleetError, InvalidInput, Problem, WrongState
from fleet_tui.backend.hosts.hierarchy import find_host
from fleet_tui.backend.machines import creation, files, hooks, ratios, refusals, steps, vms, volumes, waiting
from fleet_tui.backend.machines.drivers import Machines
from fleet_tui.backend.machines.offerings import find_offering
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.machines.states import ON_HOST, VmState
from fleet_tui.backend.operations.catalogue import Lease, OperationKind, Prepared, Step, planned

Rule = Callable[[Session, VmRow, Any], Iterable[FleetError]]
Words = Callable[[VmRow, Any], Iterable[str]]
_clock = SystemClock()


def _prepare(
    action: str, changes: Words, consequences: Words = lambda vm, request: (), rule: Rule = lambda tx, vm, request: (), keep: tuple[str, ...] = (),
    names_host: bool = False,
) -> Callable[[Session, Any, str], Prepared]:
    """Checks of a verb inside the submit transaction. ``keep`` names request fields that the steps need."""

    def prepare(tx: Session, request: Any, user: str) -> Prepared:
        vm = vms.find(tx, request.target)
        found = [*refusals.of_state(tx, action, vm), *rule(tx, vm, request)]
        zone = refusals.disabled_zone(tx, vm.cluster_id) if action == "start" else ""
        found.extend(refusals.of_zone(tx, zone, user))
        parameters = {name: getattr(request, name) for name in keep} | ({"in_disabled_zone": True} if zone else {})
        if action == "start":
            parameters |= waiting.deadline(request.room_s, _clock.now())
        leases = [Lease("cluster", vm.cluster_id, shared=True), Lease("vm", vm.id)]
        if vm.host_id is not None:
            leases.append(Lease("host", vm.host_id, shared=True))
        if names_host and request.host:
            host = find_host(tx, request.host)
            found.extend(refusals.of_host(tx, vm, host))
            parameters["host"] = host.id
            leases.append(Lease("host", host.id, shared=True))
        if found and not request.dry_run:
            raise found[0]  # with its details, which a plan does not keep
        return Prepared(
            target=vm.name, target_ref=f"vm:{vm.id}", leases=tuple(leases), parameters=parameters,
            plan=planned(
                vm.name, changes=changes(vm, request), consequences=(*consequences(vm, request), *refusals.on_trial(zone)), refusals=found,
            ),
        )

    return prepare


def _patient(tx: Session, vm: VmRow, request: face.StartVm) -> Iterable[FleetError]:
    yield from waiting.refusals(request.room_s)


def _confirmed(tx: Session, vm: VmRow, request: Any) -> Iterable[FleetError]:
    if not request.confirmed and not request.dry_run and VmState(vm.state) in ON_HOST:
        yield ConfirmationRequired(f"this interrupts {vm.name}", hint="confirm in the dialog, or give --yes")


def _typed(tx: Session, vm: VmRow, request: face.DestroyVm) -> Iterable[FleetError]:
    if request.confirm != vm.name and not request.dry_run:
        yield ConfirmationRequired(f"destroying {vm.name} cannot be undone", hint=f"type its name: --confirm {shlex.quote(vm.name)}")
    if not request.keep_disks:
        yield from files.refusals(tx, vm)


def _grace(tx: Session, vm: VmRow, request: face.StopVm) -> Iterable[FleetError]:
    yield from _confirmed(tx, vm, request)
    if not 0 <= request.grace_s <= 3600:
        yield InvalidInput("the time to shut down is out of range", problems=[Problem("grace_s", "must be from 0 to 3,600 seconds")])


def _movable(tx: Session, vm: VmRow, request: face.MigrateVm) -> Iterable[FleetError]:
    if vm.has_device and vm.state == VmState.RUNNING.value:
        yield WrongState(f"a device is passed through to {vm.name}: it cannot move while it runs", hint="stop it, start it elsewhere", state="device")
    if vm.has_local_disk and not (request.copy_local_disks and vm.state == VmState.RUNNING.value):
        yield WrongState(f"{vm.name} has a disk on its host's own storage", hint="move it while it runs, with its disk", state="local-disk")
    if request.host and find_host(tx, request.host).id == vm.host_id:
        yield WrongState(f"{vm.name} is on {request.host} already", hint="nothing is left to do", state="same-host")
    if request.bandwidth_mib_s < 0:
        yield InvalidInput("the bandwidth is out of range", problems=[Problem("bandwidth_mib_s", "must not be negative")])


def _prepare_resize(tx: Session, request: face.ResizeVm, user: str) -> Prepared:
    offering = find_offering(tx, request.offering)
    told = f"{offering.cores} cores of {offering.mhz} MHz, {offering.memory_mib} MiB of RAM"
    prepared = _prepare("resize", lambda vm, r: (f"{vm.name} becomes {offering.name}: {told}",), rule=_same_kind)(tx, request, user)
    return Prepared(
        target=prepared.target, target_ref=prepared.target_ref, plan=prepared.plan, leases=prepared.leases, parameters={"offering": offering.id}
    )


def _same_kind(tx: Session, vm: VmRow, request: face.ResizeVm) -> Iterable[FleetError]:
    offering = find_offering(tx, request.offering)
    if (offering.system_kind or "guest") != vm.kind:
        problem = Problem("offering", f"is for {offering.system_kind or 'guests'}")
        yield InvalidInput(f"{offering.name} is no offering for a {vm.kind}", problems=[problem])


def _erased(vm: VmRow, request: face.DestroyVm) -> Iterable[str]:
    yield f"{vm.name} and its record"
    if vm.disks:
        yield f"its {len(vm.disks)} disks are {'kept' if request.keep_disks else 'erased'}"


def _says(template: str) -> Words:
    return lambda vm, request: (template.format(vm.name),)


def _goes(vm: VmRow, request: face.MigrateVm) -> Iterable[str]:
    yield f"{vm.name} moves to {request.host or 'the host that placement chooses'}"


def _kind(
    kind: str, body: tuple[Step, ...], request: type, prepare: Callable[[Session, Any, str], Prepared], ends: hooks.Ends, danger: str = "changes",
    undo_text: str = "",
) -> OperationKind:
    return OperationKind(
        kind, kind.partition(".")[2], body, prepare, ends.began, ends.succeeded, ends.failed, ends.cancelled, danger, undo_text, request
    )


def _firm(name: str, body: steps.Body, **options: Any) -> Step:
    """A step that a cancel does not interrupt: what it began at a hypervisor is brought to its end."""
    return Step(name, body, cancellable=False, **options)


_UP = (
    _firm("place", steps.place, undo=steps.give_room_back, undo_begun=True),
    _firm("define", steps.define, undo=steps.unplug, undo_begun=True),
    _firm("start", steps.start),
)

OPERATIONS: tuple[OperationKind, ...] = (
    _kind("vm.create", (
              _firm("place", steps.place), _firm("define", steps.define, undo=steps.remove_definition, undo_begun=True), _firm("start", steps.start)),
          face.CreateVm, creation.prepare, creation.ENDS),
    _kind("vm.start", (_firm("check", steps.ensure_it_runs_nowhere), *_UP, _firm("tidy", steps.tidy)), face.StartVm,
          _prepare("start", _says("{} starts"), rule=_patient, names_host=True), hooks.ends("start", VmState.RUNNING), undo_text="stop it again"),
    _kind("vm.stop", (_firm("stop", steps.stop),), face.StopVm,
          _prepare("stop", _says("{} is asked to shut down, and switched off if it does not"), _says("what runs on {} ends"), _grace, ("grace_s",)),
          hooks.ends("stop", VmState.STOPPED, VmState.STOPPING), "disruptive", "start it again"),
    _kind("vm.reboot", (_firm("reboot", steps.reboot, resumable=False),), face.RebootVm,
          _prepare("reboot", _says("{} starts anew"), _says("what runs on {} is interrupted"), _confirmed), hooks.ends("reboot"), "disruptive"),
    _kind("vm.destroy", (_firm("kill", steps.kill), _firm("remove", steps.remove)), face.DestroyVm,
          _prepare("destroy", _erased, _says("{} is gone for good"), _typed, ("keep_disks",)), hooks.DESTROYED, "destructive"),
    _kind("vm.migrate", (_firm("move", steps.migrate),), face.MigrateVm,
          _prepare("migrate", _goes, rule=_movable, keep=("copy_local_disks", "bandwidth_mib_s"), names_host=True), hooks.ends("migrate"),
          undo_text="move it back"),
    _kind("vm.resize", (_firm("resize", steps.resize),), face.ResizeVm, _prepare_resize, hooks.ends("resize")),
    _kind("vm.attach-disk", (_firm("fit", volumes.fit),), face.AttachDisk, volumes.prepare_attach, hooks.ends("attach-disk"),
          undo_text="detach it again"),
    _kind("vm.detach-disk", (_firm("fit", volumes.fit),), face.DetachDisk, volumes.prepare_detach, hooks.ends("detach-disk"),
          undo_text="attach it again"),
    ratios.OPERATION,
)
"""Every kind this slice adds to the catalogue, but for what :func:`operations` adds to them."""


def operations(drivers: Machines) -> tuple[OperationKind, ...]:
    """The catalogue, where what makes and starts VMs may wait for room."""
    waits = waiting.RoomWaits(drivers.rules)
    return tuple(replace(kind, ready=waits) if kind.kind in ("vm.create", "vm.start") else kind for kind in OPERATIONS)

