"""Steps that copy data disks, set them back, let them grow, and remove them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from fleet_tui.backend.clock import Clock
from fleet_tui.backend.errors import Busy, ConfirmationRequired, FleetError, NotFound, WrongState
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.instances import DeleteSnapshot, SnapshotDisk
from fleet_tui.backend.instances.drivers import Drivers
from fleet_tui.backend.instances.rows import InstanceRow, SnapshotRow
from fleet_tui.backend.instances.steps import Result, how_to_free, instance_of, tell_agent
from fleet_tui.backend.instances.stillness import Still, moving_machine
from fleet_tui.backend.instances.virtual_networks import find_network
from fleet_tui.backend.operations import schedule
from fleet_tui.backend.operations.catalogue import LEFT, Lease, OperationFacts, Prepared, StepContext, planned
from fleet_tui.backend.operations.queries import ACTIVE
from fleet_tui.backend.operations.rows import OperationRow, ScheduleRow
from fleet_tui.backend.providers import Provider
from fleet_tui.backend.text import clean

AUTOMATIC = "automatic"
"""Reason given by the schedule. Snapshots that it took for that are pruned to the number kept; a person's stay, whatever their reason."""

_SCHEDULE = "snapshot:"
"""Before the instance's id, in the name of its schedule."""

thaw = tell_agent("thaw", lambda drivers: 30.0, needed=False, lasting=True)
"""Also the undo of freezing: the application goes on whatever failed."""


def _places(ctx: StepContext) -> tuple[Provider, str, str]:
    """(provider, disk id, label) of the operation's instance."""
    with ctx.read() as tx:
        row = instance_of(tx, ctx.operation.target_ref)
        provider = ctx.use(Drivers).providers.named(find_network(tx, row.settings["virtual_network"]).provider)
        return provider, row.disk_id, row.label


def snapshot_of(operation_id: str) -> str:
    """Id of the snapshot that an operation makes; it follows from the operation's, so a repeat finds it."""
    return f"s-{operation_id.removeprefix('o-')}"


def copy_disk(ctx: StepContext) -> Result:
    """The copy, and its record."""
    provider, disk_id, label = _places(ctx)
    snapshot_id = snapshot_of(ctx.operation.id)
    with ctx.read() as tx:
        is_kept = tx.get(SnapshotRow, snapshot_id) is not None
    ctx.progress("copying")
    if not is_kept and (machine := moving_machine(ctx)):
        provider.delete_snapshot(snapshot_id)  # made before a crash: nobody knows whether the application kept still to its end
        with Still(ctx, machine):
            info = provider.snapshot_disk(disk_id, snapshot_id, ctx.say)
    else:
        info = provider.snapshot_disk(disk_id, snapshot_id, ctx.say)
    reason = clean(str(ctx.operation.parameters.get("reason", "")))[:200]
    with ctx.write() as tx:
        if tx.get(SnapshotRow, snapshot_id) is None:
            row = instance_of(tx, ctx.operation.target_ref)
            tx.add(SnapshotRow(
                id=snapshot_id, instance_id=row.id, instance_label=label, disk_id=disk_id, provider=provider.name, reason=reason,
                automatic=reason == AUTOMATIC and ctx.operation.user == schedule.USER, size_bytes=info.size_bytes, region=info.region,
                created_at=ctx.use(Drivers).clock.now(),
            ))
    ctx.say(f"snapshot {snapshot_id}: {info.size_bytes / 1024**2:.1f} MiB")
    return {"snapshot": snapshot_id, "size_bytes": info.size_bytes}


def remove_unfinished(ctx: StepContext) -> Result:
    """Undo: what a copy that failed left where the disk is. One that is whole and on record is a snapshot, whatever failed after it."""
    snapshot_id = snapshot_of(ctx.operation.id)
    with ctx.read() as tx:
        if tx.get(SnapshotRow, snapshot_id) is not None:
            return LEFT
    provider, _, _ = _places(ctx)
    provider.delete_snapshot(snapshot_id)
    ctx.say("removed what there was of the snapshot")
    return None


def grow_disk(ctx: StepContext) -> Result:
    """Larger for the machine that has it; its file system follows when the agent is told."""
    provider, disk_id, _ = _places(ctx)
    size = int(ctx.operation.parameters["size_gb"])
    ctx.progress(f"to {size} GiB")
    disk = provider.grow_disk(disk_id, size, ctx.say)
    return {"size_gb": disk.size_gb}


def prune_automatic(ctx: StepContext) -> Result:
    """Keep only as many automatic snapshots as the settings say; 0 keeps all."""
    with ctx.read() as tx:
        row = instance_of(tx, ctx.operation.target_ref)
        keep = int(row.settings.get("auto_snapshot.keep", 0))
        query = select(SnapshotRow).where(SnapshotRow.instance_id == row.id, SnapshotRow.automatic).order_by(SnapshotRow.created_at.desc())
        old = [snapshot for snapshot in tx.scalars(query).all()[keep:] if not restoring(tx, snapshot)] if keep else []
    _delete(ctx, old)
    return {"removed": len(old)}


def restore_disk(ctx: StepContext) -> Result:
    """Set the detached disk back to a snapshot, if the operation names one."""
    if snapshot := ctx.operation.parameters.get("snapshot"):
        provider, disk_id, _ = _places(ctx)
        ctx.progress(f"setting the disk back to {snapshot}")
        provider.restore_disk(disk_id, str(snapshot), ctx.say, ctx.token)
        ctx.say(f"data disk set back to snapshot {snapshot}")
    return None


def check_disk(ctx: StepContext) -> Result:
    """Whether the disk to be erased is the one that the record, and so the plan, tells of: a record from a backup may be older than the disk.

    Raises:
        WrongState: there is one although it was never made.
        Busy: a machine has it, though the record has none.
    """
    if ctx.operation.parameters.get("keep_disk"):
        return None
    provider, disk_id, label = _places(ctx)
    with ctx.read() as tx:
        is_made = instance_of(tx, ctx.operation.target_ref).disk_made
    found = provider.find_disk(disk_id)
    if found is not None and not is_made:
        raise WrongState(
            f"there is a data disk {disk_id} that {label} never made by its record; nothing was deleted", state="unknown-disk",
            hint="provision takes it into use; with --keep-disk the record alone is deleted",
        )
    if found is not None and found.attached_to is not None:
        raise Busy(
            f"the data disk {disk_id} of {label} is attached to {found.attached_to}; nothing was deleted", holders=[found.attached_to],
            hint=f"{how_to_free(ctx, provider, found.attached_to)}. With --keep-disk the record alone is deleted",
        )
    return None


def delete_snapshots(ctx: StepContext) -> Result:
    """The automatic ones; those a person took stay until a person removes them."""
    if ctx.operation.parameters.get("keep_snapshots"):
        return None
    with ctx.read() as tx:
        row = instance_of(tx, ctx.operation.target_ref)
        found = tx.scalars(select(SnapshotRow).where(SnapshotRow.instance_id == row.id, SnapshotRow.automatic)).all()
    _delete(ctx, found)
    return {"removed": len(found)}


def delete_disk(ctx: StepContext) -> Result:
    if ctx.operation.parameters.get("keep_disk"):
        ctx.say("the data disk is kept; `fleet orphan list` shows it from now on")
        return None
    check_disk(ctx)
    provider, disk_id, _ = _places(ctx)
    provider.delete_disk(disk_id)
    ctx.say(f"data disk {disk_id} erased")
    return None


def _delete(ctx: StepContext, found: Sequence[SnapshotRow]) -> None:
    for snapshot in found:
        ctx.use(Drivers).providers.named(snapshot.provider).delete_snapshot(snapshot.id, snapshot.region)
        with ctx.write() as tx:
            if (row := tx.get(SnapshotRow, snapshot.id)) is not None:
                tx.delete(row)
        ctx.say(f"snapshot {snapshot.id} removed")


# --- one that a person chose -------------------------------------------------------------------------------------------


def prepare_deletion(tx: Session, request: DeleteSnapshot, user: str) -> Prepared:
    """Checks in the submit transaction. Its row is locked, as a restore locks it: of the two the second sees the first.

    Raises:
        NotFound: there is no such snapshot, or it is another instance's.
    """
    snapshot_id = request.target.removeprefix("snapshot:")
    row = tx.get(SnapshotRow, snapshot_id, with_for_update=True)
    instance = tx.get(InstanceRow, row.instance_id) if row is not None else None
    if row is None or not _is_of(row, instance, request.instance):
        hint = f"`fleet snapshot list {shlex.quote(request.instance or 'NAME')}` shows them"
        raise NotFound(f"{request.instance or 'this site'} has no snapshot {clean(snapshot_id, 60)!r}", hint=hint)
    label = instance.label if instance is not None else row.instance_label
    of = f"{label}, which is deleted" if instance is None else label
    told = f"the snapshot {row.id} of {of}, taken {row.created_at:%Y-%m-%d %H:%M} UTC{f' ({row.reason})' if row.reason else ''}"
    return Prepared(
        target=row.id, target_ref=f"snapshot:{row.id}",
        plan=planned(
            row.id, changes=(told,), consequences=(f"{told}: nobody can set the data disk back to it any more",),
            refusals=_against(tx, row, label, request),
        ),
        leases=(Lease("zone", row.provider, shared=True), Lease("instance", row.instance_id)),
        parameters={"instance": row.instance_id, "label": label},
    )


def _is_of(row: SnapshotRow, instance: InstanceRow | None, name: str) -> bool:
    label = instance.label if instance is not None else row.instance_label
    return not name or name.removeprefix("instance:") == row.instance_id or name.lower() == label.lower()


def _against(tx: Session, row: SnapshotRow, label: str, request: DeleteSnapshot) -> Iterator[FleetError]:
    making = _active(tx, "instance.snapshot", f"instance:{row.instance_id}")
    if making is not None and snapshot_of(making.id) == row.id:
        yield Busy(f"snapshot {row.id} of {label} is still being made ({making.id})", hint="wait for its end", holders=[making.id])
    if (restore := restoring(tx, row)) is not None:
        hint = "wait for its end, or cancel it"
        yield Busy(f"the data disk of {label} is being set back to snapshot {row.id} ({restore.id})", hint=hint, holders=[restore.id])
    if request.confirm != row.id and not request.dry_run:
        yield ConfirmationRequired(f"deleting snapshot {row.id} of {label} cannot be undone", hint=f"type its id: --confirm {row.id}")


def restoring(tx: Session, row: SnapshotRow) -> OperationRow | None:
    """The operation, begun or still waiting, that sets the disk back to a snapshot."""
    found = _active(tx, "instance.reprovision", f"instance:{row.instance_id}")
    return found if found is not None and found.parameters.get("snapshot") == row.id else None


def leaving(tx: Session, row: SnapshotRow) -> OperationRow | None:
    """The operation, begun or still waiting, that deletes a snapshot."""
    return _active(tx, "snapshot.delete", f"snapshot:{row.id}")


def _active(tx: Session, kind: str, ref: str) -> OperationRow | None:
    return tx.scalar(select(OperationRow).where(OperationRow.kind == kind, OperationRow.target_ref == ref, OperationRow.state.in_(ACTIVE)))


def delete_chosen(ctx: StepContext) -> Result:
    with ctx.read() as tx:
        row = tx.get(SnapshotRow, ctx.operation.target_ref.removeprefix("snapshot:"))
    _delete(ctx, [row] if row is not None else [])
    return None


def chosen_deleted(tx: Session, op: OperationFacts, results: Mapping[str, Mapping[str, Any]]) -> None:
    """Told as of its instance, whose list it was in."""
    text = f"snapshot {op.target} of {op.parameters['label']} deleted"
    append(tx, type="snapshot.deleted", ref=f"instance:{op.parameters['instance']}", operation_id=op.id, text=text)


# --- automatic ones ------------------------------------------------------------------------------------------------------


def follow_schedule(tx: Session, row: InstanceRow, clock: Clock) -> None:
    """Make the schedule of automatic snapshots agree with the settings."""
    settings: Mapping[str, Any] = row.settings
    name = _schedule_of(row.id)
    if settings.get("auto_snapshot.enabled"):
        schedule.ensure(
            tx, name=name, kind="instance.snapshot", target_ref=f"instance:{row.id}", every_s=int(settings["auto_snapshot.period_h"]) * 3600,
            request=SnapshotDisk(target=f"instance:{row.id}", reason=AUTOMATIC), now=clock.now(),
        )
    else:
        end_schedule(tx, row.id)


def end_schedule(tx: Session, instance_id: str) -> None:
    """No more automatic snapshots of it, whether there were any or not."""
    if tx.get(ScheduleRow, _schedule_of(instance_id)) is not None:
        schedule.remove(tx, _schedule_of(instance_id))


def end_schedules_of_none(tx: Session) -> None:
    """Earlier programs left an instance's schedule behind when it was deleted; it would be refused, and warn of that, for ever."""
    ids = select(_SCHEDULE + InstanceRow.id)
    tx.execute(delete(ScheduleRow).where(ScheduleRow.name.startswith(_SCHEDULE), ScheduleRow.name.not_in(ids)))


def _schedule_of(instance_id: str) -> str:
    return f"{_SCHEDULE}{instance_id}"
