"""Disks that a stopped VM gets and gives back: things for themselves, which outlive it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from fleet_tui.backend.errors import FleetError, InvalidInput, Problem
from fleet_tui.backend.hypervisors import Disk
from fleet_tui.backend.machines import AttachDisk, DetachDisk, refusals, vms
from fleet_tui.backend.machines.drivers import Machines
from fleet_tui.backend.operations.catalogue import Lease, Prepared, StepContext, planned

_MOST = 8
_LONGEST_SERIAL = 20
"""Characters that virtio carries."""
_FORMATS = ("qcow2", "raw")


def prepare_attach(tx: Session, request: AttachDisk, user: str) -> Prepared:
    vm = vms.find(tx, request.target)
    problems = _problems(request)
    if len(vm.disks) >= _MOST and all(disk["path"] != request.path for disk in vm.disks):
        problems.append(Problem("path", f"{vm.name} has {_MOST} disks already"))
    if problems:
        raise InvalidInput(f"the disk for {vm.name} was refused: {problems[0].field}: {problems[0].message}", problems=problems)
    disk = Disk(request.path, format=request.format, is_kept=request.kept, serial=request.serial)
    return _prepared(tx, "attach-disk", vm.id, {"attach": dataclasses.asdict(disk)}, f"{vm.name} gets the disk {request.path}")


def prepare_detach(tx: Session, request: DetachDisk, user: str) -> Prepared:
    vm = vms.find(tx, request.target)
    if any(disk["path"] == request.path and not disk.get("is_kept") for disk in vm.disks):
        problem = Problem("path", "is its own disk, which it does not give back")
        raise InvalidInput(f"{vm.name} keeps {request.path}: {problem.message}", problems=[problem])
    return _prepared(tx, "detach-disk", vm.id, {"detach": request.path}, f"{vm.name} gives the disk {request.path} back")


def _prepared(tx: Session, action: str, vm_id: str, parameters: Mapping[str, Any], change: str) -> Prepared:
    vm = vms.get(tx, vm_id)
    refused: list[FleetError] = list(refusals.of_state(tx, action, vm))
    leases = [Lease("cluster", vm.cluster_id, shared=True), Lease("vm", vm.id)]
    if vm.host_id is not None:
        leases.append(Lease("host", vm.host_id, shared=True))
    return Prepared(
        target=vm.name, target_ref=f"vm:{vm.id}", leases=tuple(leases), parameters=parameters,
        plan=planned(vm.name, changes=(change,), refusals=refused),
    )


def _problems(request: AttachDisk) -> list[Problem]:
    found = []
    if not request.path.startswith("/") or not request.path.isprintable() or ".." in request.path.split("/"):
        found.append(Problem("path", "must be an absolute path on the hosts"))
    if request.format not in _FORMATS:
        found.append(Problem("format", f"must be one of {', '.join(_FORMATS)}"))
    if len(request.serial) > _LONGEST_SERIAL or not all(letter.isascii() and (letter.isalnum() or letter in "-_") for letter in request.serial):
        found.append(Problem("serial", f"must be at most {_LONGEST_SERIAL} letters, digits, dashes or underscores"))
    return found


def fit(ctx: StepContext) -> Mapping[str, Any] | None:
    """On record first, which is what it starts with wherever it starts; then in the definition it has on its host."""
    drivers = ctx.use(Machines)
    with ctx.write() as tx:
        vm = vms.locked(tx, ctx.operation.target_ref)
        for refused in refusals.of_state(tx, ctx.operation.kind.partition(".")[2], vm):
            raise refused
        attach, detach = ctx.operation.parameters.get("attach"), ctx.operation.parameters.get("detach")
        path = str(attach["path"] if attach else detach)
        others = [disk for disk in vm.disks if disk["path"] != path]
        wanted = [*others, dict(attach)] if attach else others
        if wanted != vm.disks:
            vm.disks = wanted
            vms.changed(tx, vm, drivers.clock.now(), operation_id=ctx.operation.id)
        host_id, guest_id = vm.host_id or vm.last_host_id, vm.guest_id
    if host_id is not None:
        drivers.links.hypervisor(host_id).storage.fit(guest_id, [Disk(**disk) for disk in wanted])
    ctx.say(f"it has {len(wanted)} disks")
    return None
