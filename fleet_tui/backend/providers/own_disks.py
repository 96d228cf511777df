"""Data disks of instances on our own hosts: qcow2 files beside the zone's cloud image, attached by record, copied and set back as wholes."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import Busy, InvalidInput, NotFound, Problem
from fleet_tui.backend.hypervisors import Disk
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.machines.states import ON_HOST, VmState
from fleet_tui.backend.providers import DiskInfo, DiskSpec, SnapshotInfo
from fleet_tui.backend.providers.own_ground import Ground, Say
from fleet_tui.backend.providers.rows import OwnDiskRow, OwnMachineRow, OwnSnapshotRow

_GIB = 1024**3


class OwnDisks:
    """All data disks and snapshots of instances on our hosts."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def ensure(self, disk_id: str, size_gb: int, token: str, say: Say, spec: DiskSpec) -> DiskInfo:
        """Its row first, so that a crash leaves none that nobody knows."""
        with self._ground.store.write() as tx:
            row = tx.get(OwnDiskRow, disk_id)
            is_new = row is None
            if row is None:
                zone, network = self._ground.place(tx, spec.placement)
                image = self._ground.image(tx, zone, "")
                row = OwnDiskRow(
                    id=disk_id, cluster_id=self._ground.cluster(tx, zone, network).id, path=f"{image.rpartition('/')[0]}/{disk_id}.qcow2",
                    size_gb=size_gb, token=token, attached_to=None, created_at=self._ground.clock.now(),
                )
                tx.add(row)
            elif holder := _holder(tx, row):
                raise Busy(f"data disk {disk_id} is attached to machine {holder}", holders=[holder], hint="deprovision that first")
        storage = self._ground.storage(row.cluster_id)
        if not is_new and row.token != token and storage.find(row.path) is None:
            raise NotFound(f"the content of data disk {disk_id} is gone from {row.path}", hint="restore it from a snapshot or a backup")
        storage.make(Disk(row.path, row.size_gb * _GIB))
        say(f"{'made' if is_new else 'found'} data disk {disk_id}, {row.size_gb} GB, at {row.path}")
        return self.grow(disk_id, size_gb, say)

    def grow(self, disk_id: str, size_gb: int, say: Say) -> DiskInfo:
        row = self.existing(disk_id)
        if size_gb > row.size_gb:
            vm = self._running_on(row)
            if vm is not None:
                self._ground.machines.links.hypervisor(vm.host_id or "").storage.grow_of_running(vm.guest_id, row.path, size_gb * _GIB)
            else:
                self._ground.storage(row.cluster_id).grow(row.path, size_gb * _GIB)
            say(f"data disk {disk_id} grows from {row.size_gb} to {size_gb} GB")
            with self._ground.store.write() as tx:
                row = tx.get_one(OwnDiskRow, disk_id)
                row.size_gb = max(row.size_gb, size_gb)
        return self._info(row)

    def find(self, disk_id: str) -> DiskInfo | None:
        """As it is on record; ``None`` also when its file is gone."""
        row = self.row(disk_id)
        if row is None or self._ground.storage(row.cluster_id).find(row.path) is None:
            return None
        return self._info(row)

    def all(self) -> Sequence[DiskInfo]:
        """Those on record, also where the hosts do not answer."""
        with self._ground.store.read() as tx:
            rows = tx.scalars(select(OwnDiskRow).order_by(OwnDiskRow.id)).all()
            return tuple(DiskInfo(row.id, row.size_gb, None, row.path, _holder(tx, row)) for row in rows)

    def all_snapshots(self) -> Sequence[SnapshotInfo]:
        with self._ground.store.read() as tx:
            return tuple(_told(row) for row in tx.scalars(select(OwnSnapshotRow).order_by(OwnSnapshotRow.id)))

    def delete(self, disk_id: str) -> None:
        row = self.row(disk_id)
        if row is None:
            return
        self._refuse_attached(row)
        self._sweep(disk_id)
        self._ground.storage(row.cluster_id).erase(row.path)
        with self._ground.store.write() as tx:
            if (gone := tx.get(OwnDiskRow, disk_id)) is not None:
                tx.delete(gone)

    # --- attaching -----------------------------------------------------------------------------------------------------

    def claim(self, disk_id: str, machine_id: str) -> OwnDiskRow:
        """Put the attachment on record.

        Raises:
            NotFound: there is no such disk.
            Busy: another machine has it, or this one another disk.
        """
        with self._ground.store.write() as tx:
            row = tx.get(OwnDiskRow, disk_id, with_for_update=True)
            if row is None:
                raise _absent(disk_id)
            holder = _holder(tx, row)
            if holder not in (None, machine_id):
                raise Busy(f"data disk {disk_id} is attached to machine {holder}", holders=[holder], hint="detach it there first")
            other = tx.scalar(select(OwnDiskRow.id).where(OwnDiskRow.attached_to == machine_id, OwnDiskRow.id != disk_id))
            if other is not None:
                raise Busy(f"machine {machine_id} has data disk {other} attached", holders=[other], hint="detach that first")
            row.attached_to = machine_id
            return row

    def release(self, disk_id: str, machine_id: str) -> None:
        with self._ground.store.write() as tx:
            tx.execute(update(OwnDiskRow).where(OwnDiskRow.id == disk_id, OwnDiskRow.attached_to == machine_id).values(attached_to=None))

    def attached_to(self, machine_id: str) -> Sequence[str]:
        with self._ground.store.read() as tx:
            return tx.scalars(select(OwnDiskRow.id).where(OwnDiskRow.attached_to == machine_id)).all()

    # --- snapshots -----------------------------------------------------------------------------------------------------

    def snapshot(self, disk_id: str, snapshot_id: str, say: Say) -> SnapshotInfo:
        """Of a disk that a running VM has, as it is at one moment; of another, as it lies there."""
        disk = self.existing(disk_id)
        self._sweep(disk_id, but=snapshot_id)
        path = f"{disk.path.rpartition('/')[0]}/{snapshot_id}.qcow2"
        with self._ground.store.write() as tx:
            row = tx.get(OwnSnapshotRow, snapshot_id)
            if row is None:
                row = OwnSnapshotRow(id=snapshot_id, disk_id=disk_id, cluster_id=disk.cluster_id, path=path, size_bytes=0)
                tx.add(row)
        if row.size_bytes:
            return _told(row)
        vm = self._running_on(disk)
        if vm is not None:
            copied = self._ground.machines.links.hypervisor(vm.host_id or "").storage.copy_of_running(vm.guest_id, disk.path, row.path)
        else:
            copied = self._ground.storage(disk.cluster_id).copy(disk.path, row.path)
        with self._ground.store.write() as tx:
            row = tx.get_one(OwnSnapshotRow, snapshot_id)
            row.size_bytes = max(1, copied.used_bytes)
        say(f"made snapshot {snapshot_id} of data disk {disk_id}, {copied.used_bytes} bytes")
        return _told(row)

    def restore(self, disk_id: str, snapshot_id: str, say: Say) -> None:
        with self._ground.store.read() as tx:
            snapshot = tx.get(OwnSnapshotRow, snapshot_id)
        if snapshot is None or not snapshot.size_bytes:
            raise NotFound(f"there is no snapshot {snapshot_id}", hint="list the instance's snapshots")
        if snapshot.disk_id != disk_id:
            problem = Problem("snapshot", f"belongs to data disk {snapshot.disk_id}")
            raise InvalidInput(f"snapshot {snapshot_id} is not one of data disk {disk_id}", problems=[problem])
        disk = self.existing(disk_id)
        self._refuse_attached(disk)
        storage = self._ground.storage(disk.cluster_id)
        storage.replace(snapshot.path, disk.path)
        storage.grow(disk.path, disk.size_gb * _GIB)  # it may have grown since
        say(f"data disk {disk_id} is as snapshot {snapshot_id} has it")

    def delete_snapshot(self, snapshot_id: str) -> None:
        with self._ground.store.read() as tx:
            row = tx.get(OwnSnapshotRow, snapshot_id)
        if row is None:
            return
        self._ground.storage(row.cluster_id).erase(row.path)
        with self._ground.store.write() as tx:
            if (gone := tx.get(OwnSnapshotRow, snapshot_id)) is not None:
                tx.delete(gone)

    def _sweep(self, disk_id: str, but: str = "") -> None:
        """Remove what snapshots of it left that never became whole: one is made at a time."""
        query = select(OwnSnapshotRow.id).where(OwnSnapshotRow.disk_id == disk_id, OwnSnapshotRow.size_bytes == 0, OwnSnapshotRow.id != but)
        with self._ground.store.read() as tx:
            left = tx.scalars(query).all()
        for snapshot_id in left:
            self.delete_snapshot(snapshot_id)

    # --- inside --------------------------------------------------------------------------------------------------------

    def row(self, disk_id: str) -> OwnDiskRow | None:
        with self._ground.store.read() as tx:
            return tx.get(OwnDiskRow, disk_id)

    def existing(self, disk_id: str) -> OwnDiskRow:
        row = self.row(disk_id)
        if row is None:
            raise _absent(disk_id)
        return row

    def _refuse_attached(self, row: OwnDiskRow) -> None:
        with self._ground.store.read() as tx:
            holder = _holder(tx, row)
        if holder is not None:
            raise Busy(f"data disk {row.id} is attached to machine {holder}", holders=[holder], hint="deprovision that first")

    def _running_on(self, row: OwnDiskRow) -> VmRow | None:
        """The VM that has it and may run."""
        with self._ground.store.read() as tx:
            vm = tx.scalar(select(VmRow).where(VmRow.name == row.attached_to)) if row.attached_to else None
        return vm if vm is not None and VmState(vm.state) in ON_HOST and any(disk["path"] == row.path for disk in vm.disks) else None

    def _info(self, row: OwnDiskRow) -> DiskInfo:
        with self._ground.store.read() as tx:
            return DiskInfo(row.id, row.size_gb, None, row.path, _holder(tx, row))


def _holder(tx: Session, row: OwnDiskRow) -> str | None:
    """The machine it is attached to; what a vanished one had is free."""
    return row.attached_to if row.attached_to and tx.get(OwnMachineRow, row.attached_to) is not None else None


def _told(row: OwnSnapshotRow) -> SnapshotInfo:
    return SnapshotInfo(row.id, row.disk_id, row.size_bytes, row.path)


def _absent(disk_id: str) -> NotFound:
    return NotFound(f"there is no data disk {disk_id}", hint="provision the instance")
