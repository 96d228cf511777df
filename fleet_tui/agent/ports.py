"""Who listens where, read from the kernel's tables: asking by connecting would leave noise in the application's log."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from fleet_tui.agent.processes import Process, find

_LISTEN = "0A"


@dataclass(frozen=True)
class Listener:
    """Something that listens on a port."""

    port: int
    user: int
    process: Process | None
    """``None`` when we may not see it."""

    def __str__(self) -> str:
        return str(self.process) if self.process else f"a process of user {self.user} that this user may not see"


def is_open(port: int) -> bool:
    """Whether anything listens on the port."""
    return bool(_sockets(port))


def listener(port: int) -> Listener | None:
    """Who listens on the port, if anybody."""
    sockets = _sockets(port)
    if not sockets:
        return None
    inode, user = sockets[0]
    return Listener(port, user, _owner(f"socket:[{inode}]"))


def _sockets(port: int) -> list[tuple[str, int]]:
    suffix = f":{port:04X}"
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if fields[3] == _LISTEN and fields[1].endswith(suffix):
                found.append((fields[9], int(fields[7])))
    return found


def _owner(link: str) -> Process | None:
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with os.scandir(f"/proc/{entry}/fd") as handles:
                held = any(_target(handle.path) == link for handle in handles)
        except OSError:
            continue
        if held:
            return find(int(entry))
    return None


def _target(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
