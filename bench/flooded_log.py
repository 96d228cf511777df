"""The log panel with 100,000 lines a second arriving: keys still answer, what was skipped is said, memory is bounded."""

from __future__ import annotations

import re
import sys

from bench.busy_log import pressed, strain
from bench.probe import Probe
from bench.sheet import Goal, Row
from bench.site import Bench

RATE, KEPT = 100_000, 100_000
PANEL = 20_000
"""Lines kept by the console's log screen."""


def measure(bench: Bench) -> list[Row]:
    keys, said = _flooded()
    theirs = strain("bench.programs.textlog", RATE, keep=PANEL, seconds=4.0, presses=20)
    memory, empty = _full(KEPT), _full(0)
    their_memory = _full(KEPT, "bench.programs.textlog")
    return [
        Row("log with 100,000 lines/s arriving: keys", "ms", keys, "Log", theirs.keys, Goal(50, "p95")),
        Row("  lines neither shown nor stated as skipped", "", [float(said["unstated"])], goal=Goal(0),
            note=f"{said['skipped']:,} skipped, in {said['gaps']} gaps still in the panel"),
        Row("  100,000 lines kept: the whole program, PSS", "MB", [memory], "Log", [their_memory], Goal(60), note=f"{empty:.0f} MB when empty"),
    ]


def _flooded() -> tuple[list[float], dict[str, int]]:
    with Probe([sys.executable, "-m", "bench.programs.log", "--rate", str(RATE), "--keep", str(PANEL)]) as log:
        log.wait_for_bytes(rb"keys=0")
        log.leave_alone(3.0)
        keys = pressed(log, 30)
        log.press("v")
        log.wait_for(r"unstated=\d+\.", 30.0)
        return keys, {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", log.text)}


def _full(lines: int, program: str = "bench.programs.log") -> float:
    """Megabytes of the program with so many lines in a panel that keeps 100,000."""
    with Probe([sys.executable, "-m", program, "--lines", str(lines), "--keep", str(KEPT)]) as log:
        log.wait_for(rf"line {lines - 1:08d}" if lines else "keys=0", 60.0)
        log.settle(0.5, 3.0)
        return log.usage.memory_mb()[0]
