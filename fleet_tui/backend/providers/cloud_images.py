"""The register of cloud images: by name, each a file on the shared storage of a zone's hosts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import ConfirmationRequired, InUse, InvalidInput, NotFound, Problem
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.hosts.hierarchy import find_zone
from fleet_tui.backend.hosts.rows import ClusterRow, PodRow, ZoneRow
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.providers import CloudImageRecord, ListCloudImages, RegisterCloudImage, RemoveCloudImage
from fleet_tui.backend.providers.rows import CloudImageRow, OwnDiskRow, OwnMachineRow, OwnSnapshotRow
from fleet_tui.backend.store import new_id
from fleet_tui.backend.text import clean

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def list_images(tx: Session, request: ListCloudImages) -> Sequence[CloudImageRecord]:
    query = select(CloudImageRow, ZoneRow.name).join(ZoneRow, CloudImageRow.zone_id == ZoneRow.id).order_by(ZoneRow.name, CloudImageRow.name)
    return tuple(_record(row, zone) for row, zone in tx.execute(query.limit(request.limit)))


def register(tx: Session, request: RegisterCloudImage, now: datetime, user: str) -> CloudImageRecord:
    """The same request again finds what it made. Whether the file is there is seen when a machine is made from it.

    Raises:
        InvalidInput: with every field that is wrong.
        NotFound: there is no such zone.
    """
    zone = find_zone(tx, request.zone)
    problems = []
    if not _NAME.fullmatch(request.name):
        problems.append(Problem("name", "1 to 63 letters, digits, dots, dashes or underscores, beginning with a letter or digit"))
    if not request.path.startswith("/") or request.path.endswith("/") or not request.path.isprintable() or ".." in request.path.split("/"):
        problems.append(Problem("path", "must be the absolute path of a qcow2 file on the hosts"))
    elif holder := _holder(tx, request.path):
        problems.append(Problem("path", f"is {holder}, which nobody else is to read"))
    there = tx.scalar(select(CloudImageRow).where(CloudImageRow.name == request.name))
    if there is not None:
        if (there.zone_id, there.path) == (zone.id, request.path):
            return _record(there, zone.name)
        problems.append(Problem("name", "there is a cloud image of that name already"))
    if problems:
        told = f"cloud image {clean(request.name, 100)!r} was refused: {problems[0].field}: {problems[0].message}"
        raise InvalidInput(told, problems=problems)
    row = CloudImageRow(id=new_id("ci"), name=request.name, zone_id=zone.id, path=request.path, created_at=now)
    tx.add(row)
    append(tx, type="cloud-image.registered", ref=f"cloud-image:{row.id}", text=f"cloud image {row.name} was registered by {user}", user=user)
    return _record(row, zone.name)


def remove(tx: Session, request: RemoveCloudImage, user: str) -> str:
    """From the register; the file stays.

    Raises:
        InUse: it is the last of a zone where instances have machines or disks: theirs stand beside it.
        ConfirmationRequired: without its name.
    """
    row = find_image(tx, request.target)
    others = tx.scalar(select(CloudImageRow.id).where(CloudImageRow.zone_id == row.zone_id, CloudImageRow.id != row.id).limit(1))
    users = [*_in_zone(tx, OwnMachineRow, row.zone_id), *_in_zone(tx, OwnDiskRow, row.zone_id)] if others is None else []
    if users:
        told = f"cloud image {row.name} is the last of its zone, where instances have machines or disks"
        raise InUse(told, hint="register another first", users=users)
    if request.confirm != row.name:
        raise ConfirmationRequired(f"{row.name} would be taken from the register", hint=f"type its name: --confirm {row.name!r}")
    tx.delete(row)
    append(tx, type="cloud-image.removed", ref=f"cloud-image:{row.id}", text=f"cloud image {row.name} was removed by {user}", user=user)
    return row.name


def find_image(tx: Session, target: str) -> CloudImageRow:
    bare = target.removeprefix("cloud-image:")
    row = tx.scalar(select(CloudImageRow).where((CloudImageRow.id == bare) | (CloudImageRow.name == bare)).limit(1))
    if row is None:
        raise NotFound(f"there is no cloud image {clean(target, 100)!r}", hint="`fleet cloud-image list` shows them")
    return row


def choose(tx: Session, zone: ZoneRow, wanted: str) -> CloudImageRow:
    """The one wanted, or the zone's newest.

    Raises:
        NotFound: there is none.
    """
    query = select(CloudImageRow).where(CloudImageRow.zone_id == zone.id).order_by(CloudImageRow.created_at.desc(), CloudImageRow.id.desc())
    rows = tx.scalars(query).all()
    found = next((row for row in rows if wanted in (row.id, row.name)), None) if wanted else next(iter(rows), None)
    if found is None:
        what = f"no cloud image {wanted!r}" if wanted else "no cloud image"
        raise NotFound(f"zone {zone.name} has {what}", hint="put one on its hosts' shared storage and register it: `fleet cloud-image register`")
    return found


def known(tx: Session, cluster: ClusterRow, wanted: str) -> CloudImageRow | None:
    """The image on the register of a cluster's zone that has that name, id or path."""
    query = select(CloudImageRow).join(PodRow, PodRow.zone_id == CloudImageRow.zone_id).where(PodRow.id == cluster.pod_id)
    named = (CloudImageRow.id == wanted) | (CloudImageRow.name == wanted) | (CloudImageRow.path == wanted)
    return tx.scalar(query.where(named).order_by(CloudImageRow.name).limit(1))


def _holder(tx: Session, path: str) -> str:
    """What that file is already; empty for nothing that is known here."""
    if disk := tx.scalar(select(OwnDiskRow.id).where(OwnDiskRow.path == path).limit(1)):
        return f"data disk {disk}"
    if snapshot := tx.scalar(select(OwnSnapshotRow.id).where(OwnSnapshotRow.path == path).limit(1)):
        return f"snapshot {snapshot}"
    holders = (name for name, disks in tx.execute(select(VmRow.name, VmRow.disks)) if any(disk["path"] == path for disk in disks))
    return next((f"a disk of VM {name}" for name in holders), "")


def _in_zone(tx: Session, rows: type[OwnMachineRow] | type[OwnDiskRow], zone_id: str) -> Sequence[str]:
    query = select(rows.id).join(ClusterRow, rows.cluster_id == ClusterRow.id).join(PodRow, ClusterRow.pod_id == PodRow.id)
    return tx.scalars(query.where(PodRow.zone_id == zone_id).limit(10)).all()


def _record(row: CloudImageRow, zone: str) -> CloudImageRecord:
    return CloudImageRecord(row.id, row.name, zone, row.path, row.created_at)
