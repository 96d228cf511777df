"""The data disk of a machine that has disks: found by its serial, formatted only when it carries no signature at all, mounted, grown.

On the control plane's own machine the data disk is a folder, and none of this is asked for.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Callable, Dict, List, Optional

from fleet_tui.agent.failures import Failure

LABEL = "fleet-data"
"""Of the file systems that we make."""
_KIND = "ext4"
_APPEAR_S = 60.0
"""How long the disk may take to be seen."""
_TOOL_S = 600.0
_LOOK_BYTES = 1024 * 1024
_SUPERBLOCK = 1024


def settle(
    serial: str, folder: Path, say: Callable[[str], None], pause: Callable[[float], None] = time.sleep, blocks: Path = Path("/sys/block"),
) -> None:
    """Have the disk of that serial mounted at ``folder``. What is on it stays; only one without any signature is formatted.

    Raises:
        Failure: it is not there, cannot be read, or carries something that is not ours, which is named and left as it is.
    """
    device = _awaited(serial, pause, blocks)
    if os.path.ismount(str(folder)):
        say(f"data disk {serial} is mounted already")
    else:
        found = signature_of(device)
        if not found:
            say(f"data disk {serial} carries no signature, formatting it ({device}, {_KIND})")
            _run("mkfs.ext4", "-q", "-F", "-L", LABEL, "-m", "0", device)
        elif not _is_ours(found):
            raise Failure(
                f"the data disk {serial} ({device}) carries a foreign signature: {_named(found)}; nothing was changed. "
                "Attach the right disk, or erase that one by hand, then retry the start-up"
            )
        folder.mkdir(mode=0o700, exist_ok=True)
        _run("mount", "-t", _KIND, "-o", "noatime", device, str(folder))
        say(f"data disk {serial} mounted ({device})")
    grow(folder, device)


def grow(folder: Path, device: str = "") -> None:
    """Let the file system take what its device has become larger; nothing happens when it has all of it, or ``folder`` is no mount.

    Raises:
        Failure: it could not.
    """
    if not os.path.ismount(str(folder)):
        return
    device = device or _device_at(folder)
    if device and is_smaller(device):
        _run("resize2fs", device)


def is_smaller(device: str) -> bool:
    """Whether the ext4 on a device could be larger, by what its superblock says (block count and block size; Linux, fs/ext4/ext4.h)."""
    with open(device, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(_SUPERBLOCK)
        block = file.read(1024)
    if len(block) < 1024 or block[0x38:0x3A] != b"\x53\xef":
        return False
    blocks = int.from_bytes(block[0x4:0x8], "little") + (int.from_bytes(block[0x150:0x154], "little") << 32)
    return size - (blocks << (10 + int.from_bytes(block[0x18:0x1C], "little"))) >= _LOOK_BYTES


def used_bytes(folder: Path) -> Optional[int]:
    """Bytes taken on the file system mounted there; ``None`` where none is."""
    if not os.path.ismount(str(folder)):
        return None
    stat = os.statvfs(str(folder))
    return (stat.f_blocks - stat.f_bfree) * stat.f_frsize


def signature_of(device: str) -> Dict[str, str]:
    """Everything that says what a disk is for, as ``blkid`` finds it; empty when there is nothing.

    Raises:
        Failure: it cannot be read, or carries several signatures that contradict each other.
    """
    _readable(device)
    done = _ran(["blkid", "--probe", "--output", "export", device])
    if done.returncode == 2:
        return {}
    if done.returncode == 8:
        return {"SIGNATURES": _all_of(device)}
    if done.returncode:
        raise Failure(f"what is on {device} cannot be told: {_words(done)}; nothing was changed")
    wanted = ("TYPE", "LABEL", "PTTYPE", "USAGE", "UUID")
    found = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    return {name: found[name] for name in wanted if name in found} or {"SIGNATURES": "something that blkid does not name"}


def device_of(serial: str, blocks: Path = Path("/sys/block")) -> str:
    """The device that says it has that serial: virtio disks say it themselves, others by their controller. Empty when none does."""
    for block in sorted(blocks.iterdir()) if blocks.is_dir() else []:
        for place in (block / "serial", block / "device" / "serial"):
            try:
                said = place.read_text(encoding="ascii", errors="replace").strip()
            except OSError:
                continue
            if said and said.replace("-", "") == serial.replace("-", ""):
                return f"/dev/{block.name}"
    return ""


def _is_ours(found: Dict[str, str]) -> bool:
    return found.get("TYPE") == _KIND and found.get("LABEL") == LABEL


def _awaited(serial: str, pause: Callable[[float], None], blocks: Path) -> str:
    deadline = time.monotonic() + _APPEAR_S
    while not (device := device_of(serial, blocks)):
        if time.monotonic() >= deadline:
            raise Failure(f"no data disk with serial {serial} is attached; attach it, then retry the start-up")
        pause(0.5)
    return device


def _named(found: Dict[str, str]) -> str:
    if "SIGNATURES" in found:
        return found["SIGNATURES"]
    what = found.get("TYPE") or (f"a partition table ({found['PTTYPE']})" if "PTTYPE" in found else found.get("USAGE", "something"))
    return f"{what}, label {found['LABEL']!r}" if found.get("LABEL") else what


def _all_of(device: str) -> str:
    done = _ran(["wipefs", "--no-act", "--noheadings", "--output", "TYPE", device])
    return " and ".join(dict.fromkeys(done.stdout.split())) or "several signatures"


def _readable(device: str) -> None:
    try:
        with open(device, "rb") as file:
            file.read(_LOOK_BYTES)
            file.seek(-min(_LOOK_BYTES, file.seek(0, os.SEEK_END)), os.SEEK_END)
            file.read(_LOOK_BYTES)
    except OSError as error:
        raise Failure(f"the data disk {device} cannot be read: {error.strerror or error}; nothing was changed") from error


def _device_at(folder: Path) -> str:
    with open("/proc/self/mounts", encoding="utf-8", errors="replace") as mounts:
        rows = [line.split() for line in mounts]
    places = [row[0] for row in rows if row[1].replace("\\040", " ") == str(folder) and row[2] == _KIND]
    return places[-1] if places else ""


def _run(*command: str) -> None:
    done = _ran(list(command))
    if done.returncode:
        raise Failure(f"{command[0]} failed: {_words(done)}")


def _ran(command: List[str]) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin", "LC_ALL": "C"}
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, errors="replace",
            env=environment, timeout=_TOOL_S, check=False,
        )
    except FileNotFoundError:
        raise Failure(f"the program {command[0]} is missing on this machine; install it, then retry the start-up") from None
    except subprocess.TimeoutExpired:
        raise Failure(f"{command[0]} did not end within {_TOOL_S:.0f} s") from None


def _words(done: "subprocess.CompletedProcess[str]") -> str:
    lines = (done.stderr or done.stdout).strip().splitlines()
    return lines[-1][:200] if lines else f"it ended with {done.returncode}"
