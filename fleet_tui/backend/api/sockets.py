"""Unix sockets at any path. The kernel takes 107 bytes of name; a longer one is reached through its directory."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LONGEST = 107
_PATIENCE_S = 5.0


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
            _connect(connection, name, timeout_s)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(connection: socket.socket, name: str, timeout_s: float | None) -> None:
    """Where too many wait to be let in, the kernel does not wait but says so at once: so we do."""
    deadline = time.monotonic() + (_PATIENCE_S if timeout_s is None else timeout_s)
    while True:
        try:
            connection.connect(name)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def answers(path: Path, timeout_s: float = 2.0) -> bool:
    """Whether somebody listens there and would let this user in."""
    try:
        connect(path, timeout_s).close()
    except OSError:
        return False
    return True
