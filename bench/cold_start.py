"""From the command to the first frame that is of use, with 10,000 instances on a running daemon."""

from __future__ import annotations

import sys

from bench.probe import Probe
from bench.sheet import Goal, Row
from bench.site import SIZE, Bench

RUNS = 9
LABEL = (sys.executable, "-m", "bench.programs.label")


def measure(bench: Bench) -> list[Row]:
    """The dashboard counts as useful when it shows how many instances there are, and the first of them. Runs alternate."""
    ours, first, theirs = [], [], []
    for run in range(RUNS + 1):
        with Probe(LABEL, size=SIZE) as label:
            ready = label.wait_for_bytes(rb"one label is ready") - label.started_at
        with bench.many.console() as console:
            useful = console.wait_for_bytes(rb"\d,\d{3} instances.*AGENT") - console.started_at
            first_byte = (console.first_at or 0.0) - console.started_at
        if run:  # the first one of each fills the page cache
            ours.append(useful * 1000)
            first.append(first_byte * 1000)
            theirs.append(ready * 1000)
    return [
        Row("cold start to the first useful frame, 10,000 instances", "ms", ours, "one label", theirs, Goal(2, "ratio")),
        Row("  to its first byte", "ms", first),
    ]
