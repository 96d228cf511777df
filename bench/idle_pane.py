"""A pane while nothing happens, and through a simulated week."""

from __future__ import annotations

import re
import sys
import time

from bench.cold_start import LABEL
from bench.probe import Probe
from bench.sheet import Goal, Row
from bench.site import Bench, Site, running
from fleet_tui.backend.instances import CreateInstance

SIZE = (100, 30)
INSTANCES = 200
RUNS = 5
QUIET_S = 5.0
MINUTES = 7 * 24 * 60
LIMIT_S = 30.0


def measure(bench: Bench) -> list[Row]:
    with running() as site:
        for n in range(INSTANCES):
            site.client.call(CreateInstance(label=f"web-{n:03d}", request_id=f"bench-{n}"))
        ours, theirs = _starts(site)
        with Probe(LABEL, size=SIZE) as label, site.console("pane", "instances", size=SIZE) as pane:
            with site.console("pane", "dashboard", size=SIZE) as board:
                for probe in (label, pane, board):
                    probe.settle(2.0, 10.0)
                alone, boards = pane.leave_alone(2 * QUIET_S), board.leave_alone(QUIET_S)
                labels = label.leave_alone(QUIET_S / 2)
                memory, board_memory, label_memory = (probe.usage.memory_mb()[0] for probe in (pane, board, label))
    grown, minutes = _week()
    return [
        Row("idle pane of instances: bytes", "B/s", [alone.bytes_per_s], "one label", [labels.bytes_per_s], Goal(0)),
        Row("  a core's share", "% core", [alone.cpu_percent], "one label", [labels.cpu_percent], Goal(0.5)),
        Row("  start to its rows", "ms", ours, "one label", theirs, Goal(250)),
        Row("  memory, PSS", "MB", [memory], "one label", [label_memory], Goal(40)),
        Row("  growth over a simulated week, PSS", "MB", [grown], goal=Goal(5), note=f"{minutes:,} of {MINUTES:,} minutes, a change in each"),
        Row("idle pane of the dashboard: bytes", "B/s", [boards.bytes_per_s], note="this machine's own load changes on it"),
        Row("  a core's share", "% core", [boards.cpu_percent], goal=Goal(0.5)),
        Row("  memory, PSS", "MB", [board_memory], goal=Goal(40)),
    ]


def _starts(site: Site) -> tuple[list[float], list[float]]:
    ours, theirs = [], []
    for run in range(RUNS + 1):
        with Probe(LABEL, size=SIZE) as label:
            ready = label.wait_for_bytes(rb"one label is ready") - label.started_at
        with site.console("pane", "instances", size=SIZE) as pane:
            rows = pane.wait_for_bytes(rb"web-00\d") - pane.started_at
        if run:
            ours.append(rows * 1000)
            theirs.append(ready * 1000)
    return ours, theirs


def _week() -> tuple[float, int]:
    """Megabytes that a pane grew by since the end of the first day, or of what there was time for, and the minutes it lived through."""
    with Probe([sys.executable, "-m", "bench.programs.week", "--rows", str(INSTANCES)], size=SIZE) as pane:
        pane.wait_for(r"[\d,]+ to look at", 20.0)
        begun = time.monotonic()
        pane.leave_alone(LIMIT_S / 7)
        first = pane.usage.memory_mb()[0]
        while time.monotonic() - begun < LIMIT_S and _minute(pane) < MINUTES:
            pane.leave_alone(1.0)
        return pane.usage.memory_mb()[0] - first, _minute(pane)


def _minute(pane: Probe) -> int:
    found = re.search(r"([\d,]+) to look at", pane.text)
    return int(found[1].replace(",", "")) if found else 0
