"""Unix sockets at any path. The kernel takes 107 bytes of name; a longer one is reached through its directory."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LONGEST = 107


@contextmanager
def short_name(path: Path) -> Iterator[str]:
    """A name for ``path`` that fits into a socket address while the block runs."""
    if len(os.fsencode(path)) <= _LONGEST:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def connect(path: Path, timeout_s: float | None) -> socket.socket:
    """A connection to the daemon's socket. Raises ``OSError`` when nobody answers."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        connection.settimeout(timeout_s)
        with short_name(path) as name:
            connection.connect(name)
    except BaseException:
        connection.close()
        raise
    return connection


def answers(path: Path, timeout_s: float = 2.0) -> bool:
    """Whether somebody listens there and would let this user in."""
    try:
        connect(path, timeout_s).close()
    except OSError:
        return False
    return True
