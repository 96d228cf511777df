"""The data disk: recognised, formatted when blank, measured. Never touched when it is somebody else's."""

from __future__ import annotations

import os
import time
from pathlib import Path

from fleet_tui.agent import volume
from fleet_tui.agent.failures import Failure
from fleet_tui.agent.layout import read_json, write_json
from fleet_tui.agent.machine import Machine

_OURS_UNFINISHED = "..fleet-disk."
"""Start of the temporary names a signature is written under."""


def check_disk(machine: Machine) -> None:
    """Phase ``data-disk``: the attached disk carries our signature and id, or it is blank and gets them.

    Raises:
        Failure: no disk, or one with foreign content, which is named and left as it is.
    """
    say = machine.sayer("data-disk")
    disk, wanted = machine.disk, str(machine.section("disk").get("id", ""))
    if machine.data_serial:
        volume.settle(machine.data_serial, disk.folder, say, machine.pause)
    if not disk.folder.is_dir():
        raise Failure(f"no data disk is attached at {disk.folder}; attach disk {wanted}, then retry the start-up")
    if disk.signature.exists():
        try:
            found = str(read_json(disk.signature).get("id", ""))
        except (OSError, ValueError) as error:
            raise Failure(f"the signature {disk.signature} cannot be read ({error}); nothing was changed") from error
        if found != wanted:
            raise Failure(f"the data disk is signed as {found!r}, but this instance's is {wanted!r}; nothing was changed")
        say(f"data disk {wanted} recognised")
    else:
        content = sorted(name for name in os.listdir(str(disk.folder)) if not name.startswith(_OURS_UNFINISHED) and name != "lost+found")
        if content:
            named = ", ".join(content[:5]) + (f" and {len(content) - 5} more" if len(content) > 5 else "")
            raise Failure(
                f"the data disk has no fleet signature but foreign content: {named}; nothing was changed. "
                "Move the content away or attach the right disk, then retry the start-up"
            )
        say(f"data disk {wanted} is blank, formatting it")
        write_json(disk.signature, {"id": wanted, "formatted_at": int(time.time())})
    for folder in (disk.application, disk.containers, disk.certificates):
        folder.mkdir(mode=0o700, exist_ok=True)
    size = use_of(disk.folder)
    machine.standing.set_disk_used(size)
    say(f"{size} bytes of {machine.section('disk').get('size_gb', '?')} GB used")


def use_of(folder: Path) -> int:
    """Bytes taken on the data disk, whether it is a file system or a folder of one."""
    mounted = volume.used_bytes(folder)
    return used_bytes(folder) if mounted is None else mounted


def used_bytes(folder: Path) -> int:
    """Bytes a folder's content occupies, each file once, links not followed. What vanishes meanwhile is not counted."""
    total = 0
    linked: set[tuple[int, int]] = set()
    waiting = [str(folder)]
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:
            continue
        for entry in entries:
            try:
                stat = entry.stat(follow_symlinks=False)
                if stat.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
                    if (stat.st_dev, stat.st_ino) in linked:
                        continue
                    linked.add((stat.st_dev, stat.st_ino))
                total += stat.st_blocks * 512
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
            except OSError:
                continue
    return total
