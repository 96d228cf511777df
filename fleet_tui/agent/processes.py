"""Processes of a machine, found and ended. Also used by the provider, which sees the same machine from outside.

Everything a machine runs inherits two marks in its environment: the machine's id and its OS folder. The folder is part of
it so that two sites with a machine of the same id never touch each other's. A process is known by id *and* start time, so
that a reused id is never signalled.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterable, Mapping

MACHINE = "FLEET_MACHINE"
FOLDER = "FLEET_MACHINE_FOLDER"
RUN = "FLEET_APPLICATION_RUN"
"""Marks one start of the application."""

_PROC = Path("/proc")


def marks(machine: str, folder: Path) -> dict[str, str]:
    """Environment that makes a process one of the machine's."""
    return {MACHINE: machine, FOLDER: str(folder)}


@dataclass(frozen=True)
class Process:
    """A process as /proc showed it."""

    pid: int
    started: int
    """Clock ticks after the machine's start."""
    parent: int
    session: int
    command: str

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.command})"


def find(pid: int) -> Process | None:
    """The process with that id, unless it is gone or only waits to be reaped."""
    try:
        stat = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    name, _, rest = stat.partition(b" (")[2].rpartition(b") ")
    fields = rest.split()
    if fields[0] in (b"Z", b"X"):
        return None
    return Process(pid, int(fields[19]), int(fields[1]), int(fields[3]), _command(pid) or name.decode("utf-8", "replace"))


def _command(pid: int) -> str:
    try:
        raw = (_PROC / str(pid) / "cmdline").read_bytes()[:200]
    except OSError:
        return ""
    return raw.replace(b"\0", b" ").decode("utf-8", "replace").strip()


def _marked(pid: int, wanted: Iterable[bytes]) -> bool:
    try:
        if (_PROC / str(pid)).stat().st_uid != os.getuid():
            return False
        environ = (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return all(mark in environ for mark in wanted)


def marked(environment: Mapping[str, str], roots: Mapping[int, int] | None = None) -> list[Process]:
    """Processes of this user that carry all the marks, with their descendants; never ourselves or our ancestors.

    Args:
        roots: process ids with start times that belong to them whatever their environment says, with their sessions.
    """
    wanted = [os.fsencode(f"{name}={value}") for name, value in environment.items()]
    everyone = [int(entry) for entry in os.listdir(str(_PROC)) if entry.isdigit()]
    own = _ancestry()
    found = {pid for pid in everyone if pid not in own and _marked(pid, wanted)}
    for pid, started in (roots or {}).items():
        now = find(pid)
        if now is None or now.started == started:  # dead: its session's number is not given away while one of it lives
            found.add(pid)
    if not found:
        return []
    return [process for process in _with_descendants(found, everyone) if process.pid not in own]


def _ancestry() -> set[int]:
    own, pid = set(), os.getpid()
    while pid > 0 and pid not in own:
        own.add(pid)
        process = find(pid)
        pid = process.parent if process else 0
    return own


def _with_descendants(found: set[int], everyone: Iterable[int]) -> list[Process]:
    """What a marked process started is its, even with its environment cleared; so is its session."""
    known = {process.pid: process for process in map(find, everyone) if process is not None}
    growing = True
    while growing:
        more = {p.pid for p in known.values() if p.pid not in found and (p.parent in found or p.session in found)}
        growing = bool(more)
        found |= more
    return [known[pid] for pid in sorted(found) if pid in known]


def send(process: Process, number: int) -> bool:
    """Signal exactly that process; false when it is gone."""
    handle = None
    try:
        if hasattr(os, "pidfd_open"):
            handle = os.pidfd_open(process.pid)
        now = find(process.pid)
        if now is None or now.started != process.started:
            return False
        if handle is not None and hasattr(signal, "pidfd_send_signal"):
            signal.pidfd_send_signal(handle, number)
        else:
            os.kill(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        if handle is not None:
            os.close(handle)
    return True


def end(
    look: Callable[[], list[Process]], grace_s: float, polite: Callable[[Process], bool] = lambda process: True, kill_s: float = 10.0
) -> tuple[list[Process], list[Process]]:
    """End everything ``look`` finds: SIGTERM, ``grace_s`` seconds, then SIGKILL until nothing is left.

    Args:
        polite: which processes are asked; all are waited for and, in the end, killed.

    Returns:
        Those that had to be killed, and those that are still there after ``kill_s``.
    """
    asked: set[tuple[int, int]] = set()
    deadline = time.monotonic() + grace_s
    seen: dict[tuple[int, int], Process] = {}

    def left() -> list[Process]:
        for process in look():
            seen[process.pid, process.started] = process
        return [process for process in seen.values() if _lives(process)]

    while left() or left():  # twice: a process between two programs shows no environment for a moment
        for process in left():
            if (process.pid, process.started) not in asked and polite(process):
                asked.add((process.pid, process.started))
                send(process, signal.SIGTERM)
                send(process, signal.SIGCONT)
        if time.monotonic() >= deadline:
            break
        time.sleep(0.05)
    else:
        return [], []
    killed: dict[int, Process] = {}
    deadline = time.monotonic() + kill_s
    while left() or left():
        for process in left():
            killed[process.pid] = process
            send(process, signal.SIGKILL)
        if time.monotonic() >= deadline:
            return list(killed.values()), left()
        time.sleep(0.02)
    return list(killed.values()), []


def _lives(process: Process) -> bool:
    now = find(process.pid)
    return now is not None and now.started == process.started


def holders(folder: Path, processes: Iterable[Process]) -> list[Process]:
    """Those of the processes that stand in a folder, or have a file in it open or mapped."""
    root = os.path.realpath(str(folder))
    return [process for process in processes if _uses(process.pid, root)]


def _uses(pid: int, root: str) -> bool:
    own = _PROC / str(pid)
    paths: list[str] = []
    try:
        links = [own / "cwd", own / "root", own / "exe", *(own / "fd").iterdir()]
    except OSError:
        return False
    for link in links:
        try:
            paths.append(os.readlink(str(link)))
        except OSError:
            continue
    try:
        with (own / "maps").open("rb") as maps:
            paths += [os.fsdecode(line.split(None, 5)[5].rstrip(b"\n")) for line in maps if line.count(b"/")]
    except (OSError, IndexError):
        pass  # ended while we looked
    return any(path == root or path.startswith(root + "/") for path in paths)
