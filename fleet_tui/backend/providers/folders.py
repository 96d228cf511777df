"""The small real folders behind simulated disks, so that what is kept can be looked at, byte by byte."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from fleet_tui.backend.errors import NotFound
from fleet_tui.backend.providers.ledger import Disk

PARTS = ("application", "containers", "certificates")
"""The three kinds of content of a data disk (spec 4.1)."""


def furnish(disk: Disk, folder: Path) -> None:
    """What a simulated agent leaves on the disk. What is there already stays byte for byte."""
    if not disk.facts.get("formatted"):
        return
    disk.folder_made = True
    for part in PARTS:
        (folder / part).mkdir(mode=0o700, parents=True, exist_ok=True)
    marker = folder / "application" / "marker"
    if not marker.exists():
        marker.write_text(f"data of {disk.id}\n", encoding="utf-8")
    certificate = folder / "certificates" / "instance.pem"
    if (fingerprint := disk.facts.get("certificate_fingerprint")) and not certificate.exists():
        certificate.write_text(f"simulated certificate {fingerprint}\n", encoding="utf-8")


def make(disk: Disk, folder: Path) -> None:
    """The disk's folder. One that was made before must still be there.

    Raises:
        NotFound: somebody removed it.
    """
    if disk.folder_made and not folder.is_dir():
        raise NotFound(f"the content of data disk {disk.id} is gone from {folder}", hint="restore it from a snapshot or a backup")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    disk.folder_made = True
    furnish(disk, folder)


def replace(source: Path, target: Path) -> None:
    """Make ``target`` a copy of ``source``, all of it or nothing: what was there stays until the copy is whole."""
    settle(target)
    part, old = _beside(target, "part"), _beside(target, "old")
    part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copytree(source, part, symlinks=True)
    if target.exists():
        os.replace(target, old)
    os.replace(part, target)
    shutil.rmtree(old, ignore_errors=True)


def settle(target: Path) -> None:
    """Finish or take back a replacement that a crash interrupted."""
    shutil.rmtree(_beside(target, "part"), ignore_errors=True)
    old = _beside(target, "old")
    if old.exists() and not target.exists():
        os.replace(old, target)
    shutil.rmtree(old, ignore_errors=True)


def drop(target: Path) -> None:
    """Remove a folder; half a removal is never mistaken for the folder."""
    gone = _beside(target, "gone")
    if target.exists():
        shutil.rmtree(gone, ignore_errors=True)
        os.replace(target, gone)
    shutil.rmtree(gone, ignore_errors=True)


def size(folder: Path) -> int:
    """Bytes of the files in it."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() or path.is_symlink())


def _beside(target: Path, suffix: str) -> Path:
    return target.with_name(f".{target.name}.{suffix}")
