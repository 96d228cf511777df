"""Where a process kills itself, for tests of recovery.

``FLEET_KILL_AT`` names a checkpoint of the engine (the docstring of :mod:`fleet_tui.backend.operations.runner` lists
them), and optionally which time it is reached: ``after-body:2`` or ``after-body:2#3``. The checkpoint given to the
engine (or to the daemon, which passes it on) is :func:`checkpoint`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping

POINTS = (
    "claimed", "started", "adopted", "begun:1", "after-body:1", "stored:1", "recorded:1", "after-body:2", "stored:3",
    "recorded:3", "after-undo:2", "undone:1", "before-finish", "finished",
)


def checkpoint(environ: Mapping[str, str] = os.environ) -> Callable[[str], None]:
    wanted, _, times = environ.get("FLEET_KILL_AT", "").partition("#")
    left = int(times or 1)

    def reached(point: str) -> None:
        nonlocal left
        if point == wanted:
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return reached
