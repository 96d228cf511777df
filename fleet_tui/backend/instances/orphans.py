"""What is at a provider and nobody's here: after a delete that kept the disk, or a database that was put back from a backup.

It is billed, it may still serve, and a machine among it may hold the data disk of an instance that cannot be provisioned for that reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import Busy, ConfirmationRequired, FleetError, InUse, InvalidInput, Problem
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.instances import RemoveOrphan
from fleet_tui.backend.instances.drivers import Drivers
from fleet_tui.backend.instances.rows import InstanceRow, SnapshotRow
from fleet_tui.backend.instances.snapshots import snapshot_of
from fleet_tui.backend.instances.steps import how_to_free
from fleet_tui.backend.operations.catalogue import Lease, OperationFacts, OperationKind, Prepared, Step, StepContext, planned
from fleet_tui.backend.operations.queries import ACTIVE
from fleet_tui.backend.operations.rows import OperationRow
from fleet_tui.backend.providers import MachineState, Orphan, OrphanList, Provider, Providers
from fleet_tui.backend.providers.ids import FORM
from fleet_tui.backend.store import Store
from fleet_tui.backend.text import clean

MACHINE, DISK, SNAPSHOT = KINDS = ("machine", "disk", "snapshot")
_WORDS = {MACHINE: "machine", DISK: "data disk", SNAPSHOT: "snapshot"}
_LOST = {
    MACHINE: "what runs on it ends, and its OS disk is erased; data disks are let go, and stay", DISK: "everything on it is erased",
    SNAPSHOT: "nobody can set a data disk back to it any more",
}
_GIB = 1024**3
_GRACE_S = 30.0


def find(store: Store, providers: Providers) -> OrphanList:
    """All there are. The record is read after the providers: what is made meanwhile is on record before it exists."""
    seen: list[Orphan] = []
    unseen: list[str] = []
    for provider in providers.all():
        try:
            seen += _all_of(provider)
        except FleetError as error:
            unseen.append(f"{provider.name}: {error.message}")
    with store.read() as tx:
        owners = _owners(tx)
    return OrphanList(tuple(one for one in seen if (one.kind, one.id) not in owners), tuple(unseen))


def _all_of(provider: Provider) -> Iterator[Orphan]:
    for machine in provider.machines():
        where = machine.host or machine.host_name or machine.path
        yield Orphan(MACHINE, machine.id, provider.name, clean(where), None, machine.state.value)
    for disk in provider.disks():
        has = f"attached to {disk.attached_to}" if disk.attached_to else "free"
        yield Orphan(DISK, disk.id, provider.name, clean(disk.path), disk.size_gb * _GIB, clean(has))
    for snapshot in provider.snapshots():
        of = clean(f"of {snapshot.disk_id}")
        yield Orphan(SNAPSHOT, snapshot.id, provider.name, clean(snapshot.region or snapshot.path), snapshot.size_bytes, of, snapshot.region)


def _owners(tx: Session) -> dict[tuple[str, str], str]:
    """Kind and id of everything on record -> whose it is. What is being made counts as there."""
    owners: dict[tuple[str, str], str] = {}
    for label, machine, disk in tx.execute(select(InstanceRow.label, InstanceRow.machine, InstanceRow.disk_id)):
        owners[DISK, disk] = label
        if machine:
            owners[MACHINE, machine] = label
    for snapshot, label in tx.execute(select(SnapshotRow.id, SnapshotRow.instance_label)):
        owners[SNAPSHOT, snapshot] = label
    making = select(OperationRow.id, OperationRow.target).where(OperationRow.kind == "instance.snapshot", OperationRow.state.in_(ACTIVE))
    for operation, label in tx.execute(making):
        owners[SNAPSHOT, snapshot_of(operation)] = label
    return owners


# --- removing one ------------------------------------------------------------------------------------------------------


def _prepare(tx: Session, request: RemoveOrphan, user: str) -> Prepared:
    if request.kind not in KINDS:
        raise InvalidInput(f"{clean(request.kind, 40)!r} is nothing that can be removed", problems=[Problem("kind", f"one of {', '.join(KINDS)}")])
    for field, word in (("target", request.target), ("provider", request.provider)):
        if not FORM.match(word):
            raise InvalidInput(f"{clean(word, 101)!r} is no id", problems=[Problem(field, "as `fleet orphan list` shows it")])
    name = f"the {_WORDS[request.kind]} {request.target} at {request.provider}"
    refusals: list[FleetError] = list(_owned(tx, request.kind, request.target))
    if request.confirm != request.target and not request.dry_run:
        refusals.append(ConfirmationRequired(f"removing {name} cannot be undone", hint=f"type its id: --confirm {request.target}"))
    consequences = (_LOST[request.kind], "nothing on record here has it: make sure that no other copy of this site's database is in use")
    return Prepared(
        target=request.target, target_ref=f"{request.kind}:{request.target}",
        plan=planned(request.target, changes=(name,), consequences=consequences, refusals=refusals),
        leases=(Lease("zone", request.provider, shared=True),),
        parameters={"kind": request.kind, "provider": request.provider, "region": request.region},
    )


def _owned(tx: Session, kind: str, target: str) -> Iterator[FleetError]:
    if owner := _owners(tx).get((kind, target)):
        yield InUse(f"the {_WORDS[kind]} {target} belongs to {owner}", hint="it goes with the verbs of that instance", users=[owner])


def _remove(ctx: StepContext) -> Mapping[str, bool]:
    """Nobody comes to own it meanwhile: ids are never given twice."""
    drivers, target, said = ctx.use(Drivers), ctx.operation.target, ctx.operation.parameters
    kind, provider = str(said["kind"]), drivers.providers.named(str(said["provider"]))
    with ctx.read() as tx:
        for refused in _owned(tx, kind, target):
            raise refused
    if kind == MACHINE:
        was_there = _end(ctx, provider, target)
        with ctx.write() as tx:
            drivers.agents.forget(tx, target)
    elif kind == DISK:
        was_there = _erase(ctx, provider, target)
    else:
        was_there = any(snapshot.id == target for snapshot in provider.snapshots())
        provider.delete_snapshot(target, str(said["region"]))
    ctx.say(f"{_WORDS[kind]} {target} {'is gone from' if was_there else 'was not there any more, at'} {provider.name}")
    return {"was_there": was_there}


def _erase(ctx: StepContext, provider: Provider, disk: str) -> bool:
    found = provider.find_disk(disk)
    if found is not None and found.attached_to is not None:
        hint = how_to_free(ctx, provider, found.attached_to)
        raise Busy(f"data disk {disk} is attached to {found.attached_to}", holders=[found.attached_to], hint=hint)
    provider.delete_disk(disk)
    return found is not None


def _end(ctx: StepContext, provider: Provider, machine: str) -> bool:
    is_there = provider.find_machine(machine).state is not MachineState.ABSENT
    if is_there:
        provider.shut_down(machine, _GRACE_S, ctx.say)
        for disk in provider.disks():
            if disk.attached_to == machine:
                provider.detach_disk(machine, disk.id)
                ctx.say(f"data disk {disk.id} let go")
    provider.terminate(machine, ctx.say)
    return is_there


def _removed(tx: Session, op: OperationFacts, results: Mapping[str, Mapping[str, Any]]) -> None:
    how = f"was removed by {op.user}" if results["remove"].get("was_there") else f"was not there any more when {op.user} asked to remove it"
    text = f"{_WORDS[str(op.parameters['kind'])]} {op.target} at {op.parameters['provider']}, which no instance had, {how}"
    append(tx, type="orphan.removed", ref=op.target_ref, operation_id=op.id, text=text, user=op.user)


OPERATIONS: tuple[OperationKind, ...] = (
    OperationKind(
        kind="orphan.remove", title="remove orphan", steps=(Step("remove", _remove, attempts=2),), prepare=_prepare, request=RemoveOrphan,
        danger="destructive", succeeded=_removed,
    ),
)
