"""The log panel with 1,000 lines a second: a core's share, bytes, and how long a key waits meanwhile."""

from __future__ import annotations

import random
import sys
import time
from dataclasses import dataclass

from bench.probe import Probe
from bench.sheet import Goal, Row
from bench.site import Bench

RATE, SECONDS, PRESSES = 1000, 6.0, 30


@dataclass(frozen=True, slots=True)
class Strain:
    """How a log program fared under a stream."""

    cpu_percent: float
    kb_per_s: float
    keys: list[float]
    memory_mb: float


def measure(bench: Bench) -> list[Row]:
    ours = strain("bench.programs.log", RATE, keep=10_000)
    theirs = strain("bench.programs.richlog", RATE, keep=10_000)
    return [
        Row("log at 1,000 lines/s", "% core", [ours.cpu_percent], "RichLog", [theirs.cpu_percent], Goal(8)),
        Row("  bytes", "KB/s", [ours.kb_per_s], "RichLog", [theirs.kb_per_s], Goal(60)),
        Row("  keys meanwhile", "ms", ours.keys, "RichLog", theirs.keys, Goal(50, "p95")),
    ]


def strain(program: str, rate: int, *, keep: int, seconds: float = SECONDS, presses: int = PRESSES) -> Strain:
    """Run a log program under a stream: first left alone, then with keys pressed."""
    with Probe([sys.executable, "-m", program, "--rate", str(rate), "--keep", str(keep)]) as log:
        log.wait_for_bytes(rb"keys=0")
        log.leave_alone(1.5)
        alone = log.leave_alone(seconds)
        keys = pressed(log, presses)
        return Strain(alone.cpu_percent, alone.bytes_per_s / 1024, keys, log.usage.memory_mb()[0])


def pressed(log: Probe, presses: int) -> list[float]:
    """Milliseconds from each press to its count on the terminal; a press that is not seen in time counts as the time it had."""
    times = []
    for number in range(1, presses + 1):
        pause = time.monotonic() + random.uniform(0.02, 0.15)
        while (left := pause - time.monotonic()) > 0:
            log.leave_alone(left)
        answer = log.key("k", b"keys=%d." % number, timeout=3.0)
        times.append(answer.complete if answer.complete is not None else 3000.0)
        if answer.complete is None and len([t for t in times if t >= 3000.0]) >= 3:
            break
    return times
