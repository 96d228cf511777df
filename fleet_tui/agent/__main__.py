"""``agent.pyz [--detach] OS_FOLDER``: one agent a machine, ever."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from pathlib import Path

from fleet_tui.agent.failures import Fatal
from fleet_tui.agent.journal import notice
from fleet_tui.agent.layout import Layout
from fleet_tui.agent.life import Life

_LOCK_TRIES = 20
"""A provider that looks whether we live holds the lock for an instant: that is no second agent."""


def main(arguments: list[str]) -> int:
    detach = arguments[:1] == ["--detach"]
    rest = arguments[1:] if detach else arguments
    if len(rest) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    layout = Layout(Path(os.path.abspath(rest[0])))
    if detach:
        # The child belongs to nobody: it outlives whoever booted the machine and leaves no zombie there.
        if os.fork():
            return 0
        os.setsid()
    lock = _lock(layout)
    if lock is None:
        notice("another agent of this machine runs already")
        return 0
    try:
        Life(layout).run()
    except Fatal as error:
        notice(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _lock(layout: Layout) -> int | None:
    """Take the machine's lock and write our pid in it; ``None`` when somebody has it."""
    handle = os.open(str(layout.lock), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(0.05)
            continue
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        return handle
    os.close(handle)
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
