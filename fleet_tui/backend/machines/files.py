"""Whose the files are that VMs have their disks in.

A disk that is made for a VM has the VM's id in its name. Nothing else is called so: what is found there was made by the very operation that
looks, and what is erased is nobody else's. VMs of before have disks of their bare name, which may be somebody else's file too.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import FleetError, InUse
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.text import clean


def own_path(folder: str, name: str, vm_id: str) -> str:
    """Where the disk stands that is made for a VM."""
    return f"{folder}/{name}.{vm_id}.qcow2"


def is_own(vm: VmRow, path: str) -> bool:
    """Whether that file was made for this VM and can be nothing else's."""
    return path.endswith(f".{vm.id}.qcow2")


def refusals(tx: Session, vm: VmRow) -> Iterable[FleetError]:
    """What speaks against erasing a VM's disks: one is also what it, or another VM, was made from, or another VM's disk."""
    doubtful = {disk["path"] for disk in vm.disks if not disk.get("is_kept") and disk.get("source") and not is_own(vm, disk["path"])}
    if not doubtful:
        return
    for name, disks in tx.execute(select(VmRow.name, VmRow.disks).where(VmRow.cluster_id == vm.cluster_id).order_by(VmRow.name)):
        for disk in disks:
            used = doubtful & ({disk["source"]} if name == vm.name else {disk["path"], disk.get("source", "")})
            for path in sorted(used):
                what = "the image" if path == disk.get("source") else "a disk"
                told = f"the disk {clean(path, 200)} of {vm.name} is also {what} of {name}: it would be erased"
                yield InUse(told, hint="keep it: --keep-disks", users=[name])
