"""Making a VM: what is asked of a request for one, and what is left of one that could not be made."""

from __future__ import annotations

import dataclasses
import posixpath
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.errors import FleetError, InUse, InvalidInput, Problem, WrongState
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.hosts.hierarchy import find_cluster, find_host
from fleet_tui.backend.hypervisors import Disk
from fleet_tui.backend.machines import CreateVm, cards, files, hooks, refusals, vms, waiting
from fleet_tui.backend.machines.editing import word_problems
from fleet_tui.backend.machines.offerings import KINDS, NAME, find_offering
from fleet_tui.backend.machines.placement import check_policy
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.machines.states import VmState
from fleet_tui.backend.operations import ErrorRecord
from fleet_tui.backend.operations.catalogue import Lease, OperationFacts, Prepared, planned
from fleet_tui.backend.operations.rows import OperationRow
from fleet_tui.backend.store import new_id

STORAGE = "/var/lib/libvirt/images"
"""Where a disk stands that comes from no image; one that does stands beside it."""
_MOST_DISK_MIB = 2**26
_MADE = ("start",)
"""Steps after which a VM exists, though it may not run."""
_clock = SystemClock()


def prepare(tx: Session, request: CreateVm, user: str) -> Prepared:
    """The VM's row is made here, so that its name is taken and it can be watched from the first moment on."""
    cluster, offering = find_cluster(tx, request.cluster), find_offering(tx, request.offering)
    if problems := _problems(request, offering.system_kind):
        raise InvalidInput(f"VM {request.target!r} was refused: {problems[0].field}: {problems[0].message}", problems=problems)
    if tx.scalar(select(VmRow.id).where(VmRow.name == request.target)) is not None:
        raise InUse(f"there is a VM {request.target} already", hint="choose another name", users=[request.target])
    now = _clock.now()
    vm_id, guest_id = new_id("v"), str(uuid.uuid4())
    vm = VmRow(
        id=vm_id, guest_id=guest_id, name=request.target, kind=request.kind, cluster_id=cluster.id, offering_id=offering.id,
        state=VmState.STARTING.value, cores=offering.cores, mhz=offering.mhz, memory_mib=offering.memory_mib,
        cpu_hundredths=cluster.cpu_hundredths, ram_hundredths=cluster.ram_hundredths,
        boot={"kernel": request.kernel, "initrd": request.initrd, "cmdline": request.cmdline} if request.kernel else {},
        disks=_disks(request, vm_id), tags=list(request.tags), exclusion_tags=list(request.exclusion_tags), owners=list(request.owners) or [user],
        account=request.account, ips=list(request.ips), destroy_protected=request.destroy_protected, ha=offering.ha,
        has_local_disk=request.local_disk, version=0, created_at=now, updated_at=now, error="",
    )
    tx.add(vm)
    tx.flush()
    networks = cards.make(tx, vm, cluster, request.networks)
    zone = refusals.disabled_zone(tx, cluster.id)
    found: list[FleetError] = list(refusals.of_zone(tx, zone, user))
    parameters: dict[str, Any] = {"placement": request.placement, "start": request.start, "is_new": True, "in_disabled_zone": bool(zone)}
    parameters |= waiting.deadline(request.room_s, now)
    leases = [Lease("cluster", cluster.id, shared=True), Lease("vm", vm.id)]
    if request.host:
        host = find_host(tx, request.host)
        found.extend(refusals.of_host(tx, vm, host))
        parameters["host"] = host.id
        leases.append(Lease("host", host.id, shared=True))
    if found and not request.dry_run:
        raise found[0]
    told = f"{offering.cores} cores of {offering.mhz} MHz, {offering.memory_mib} MiB of RAM"
    starts_as = f"a disk that starts as {request.image}" if request.image else f"an empty disk of {request.disk_mib:,} MiB"
    disk = starts_as if vm.disks else "no disk"
    blank = () if request.image or request.kernel else (f"nothing is on the disk of {vm.name} yet: it will find nothing to boot",)
    made = f"{vm.name} in {cluster.name}, {told}, {disk}" + (f", on {', '.join(networks)}" if networks else "")
    vms.changed(tx, vm, now)
    return Prepared(
        target=vm.name, target_ref=f"vm:{vm.id}", leases=tuple(leases), parameters=parameters,
        plan=planned(
            vm.name, changes=(made,), consequences=(*blank, *refusals.on_trial(zone)), refusals=found,
        ),
    )


def _problems(request: CreateVm, system_kind: str) -> Sequence[Problem]:
    found: list[Problem] = []
    if not NAME.fullmatch(request.target):
        found.append(Problem("target", "1 to 63 letters, digits, dots, dashes or underscores, beginning with a letter or digit"))
    if request.kind not in KINDS:
        found.append(Problem("kind", f"must be one of {', '.join(KINDS)}"))
    elif (system_kind or "guest") != request.kind:
        found.append(Problem("offering", f"is for {system_kind or 'guests'}"))
    for name in ("image", "kernel", "initrd"):
        path = getattr(request, name)
        if path and (not path.startswith("/") or not path.isprintable() or ".." in path.split("/")):
            where = "must be an absolute path on the hosts"
            found.append(Problem(name, f"{where}, or the name of a cloud image in the cluster's zone" if name == "image" else where))
    if not (request.image or request.kernel or request.disk_mib):
        found.append(Problem("image", "is needed, or a kernel, or the size of an empty disk"))
    if request.initrd and not request.kernel:
        found.append(Problem("initrd", "needs a kernel"))
    if not request.cmdline.isprintable() or len(request.cmdline) > 2000:
        found.append(Problem("cmdline", "must be one line of at most 2,000 characters"))
    if not 0 <= request.disk_mib <= _MOST_DISK_MIB:
        found.append(Problem("disk_mib", f"must be from 0 to {_MOST_DISK_MIB:,}"))
    if request.local_disk and not (request.image or request.disk_mib):
        found.append(Problem("local_disk", "needs a disk"))
    found.extend(waiting.problems(request.room_s))
    account = (request.account,) if request.account else ()
    found += word_problems(tags=request.tags, owners=request.owners, exclusion_tags=request.exclusion_tags, account=account)
    try:
        check_policy(request.placement)
    except InvalidInput as refused:
        found.extend(refused.problems)
    return found


def _disks(request: CreateVm, vm_id: str) -> list[dict[str, Any]]:
    """At the same path on every host of the cluster, unless it is on the host's own storage; a path that no other file has."""
    if not (request.image or request.disk_mib):
        return []
    folder = posixpath.dirname(request.image) if request.image else STORAGE
    path = files.own_path(folder, request.target, vm_id)
    disk = Disk(path, request.disk_mib * 1024**2, request.image, "qcow2", request.local_disk)
    return [dataclasses.asdict(disk)]


# --- how it ends -------------------------------------------------------------------------------------------------------


def _began(tx: Session, op: OperationFacts) -> None:
    vm = vms.locked(tx, op.target_ref)
    if vm.state != VmState.STARTING.value:
        raise WrongState(f"{vm.name} is {vm.state}", hint="look again", state=vm.state)


def _succeeded(tx: Session, op: OperationFacts, results: Mapping[str, Mapping[str, Any]]) -> None:
    vm, now = vms.locked(tx, op.target_ref), _clock.now()
    state = VmState.RUNNING if op.parameters.get("start", True) else VmState.STOPPED
    vms.settle_at(vm, state, now, host_id=vm.host_id)
    if state is VmState.STOPPED:
        vm.stopped_at = None  # it never ran, so there is nothing to keep room for
    vms.changed(tx, vm, now, operation_id=op.id)


def _failed(tx: Session, op: OperationFacts, error: ErrorRecord, step: str) -> None:
    """One that was never made leaves nothing; one that does not start, or that could not be removed again, stays to be looked at."""
    row = tx.get(OperationRow, op.id)
    if step in _MADE or (row is not None and row.rollback == "failed"):
        hooks.failed(tx, op, error, step)
    else:
        _forget(tx, op)


def _cancelled(tx: Session, op: OperationFacts) -> None:
    row = tx.get(OperationRow, op.id)
    if row is not None and row.rollback == "failed":
        hooks.cancelled(tx, op)
    else:
        _forget(tx, op)


def _forget(tx: Session, op: OperationFacts) -> None:
    vm = vms.locked(tx, op.target_ref)
    append(tx, type="vm.removed", ref=f"vm:{vm.id}", operation_id=op.id)
    vms.changed(tx, vm, _clock.now(), operation_id=op.id)
    tx.delete(vm)


ENDS = hooks.Ends(_began, _succeeded, _failed, _cancelled)
