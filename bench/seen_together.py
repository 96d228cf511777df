"""From a change made by the command line until two open consoles and a command line that follows all show it."""

from __future__ import annotations

import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from bench.probe import Probe
from bench.sheet import Goal, Row
from bench.site import FLEET, ROOT, Bench, Site, running
from fleet_tui.backend.events import ListEvents

CHANGES = 20


def measure(bench: Bench) -> list[Row]:
    with running() as site, ExitStack() as stack:
        viewers = [stack.enter_context(site.console()) for _ in range(2)]
        for console in viewers:
            console.settle(0.5, 10.0)
            console.press("2")
            console.settle(0.5, 10.0)
        viewers.append(stack.enter_context(site.console("event", "list", "--follow", "--output", "text")))
        pool = stack.enter_context(ThreadPoolExecutor(len(viewers)))
        _change(site, viewers, pool, "first")  # which each viewer shows once it is ready
        times = [_change(site, viewers, pool, f"seen-{number}") for number in range(CHANGES)]
    note = f"{CHANGES} changes; and by a follower"
    return [Row("changed by the command line to shown by two consoles", "ms", times, goal=Goal(1000, "p95"), note=note)]


def _change(site: Site, viewers: list[Probe], pool: ThreadPoolExecutor, label: str) -> float:
    """Milliseconds from the moment that is on record for the change to the last of all that show it."""
    watching = [pool.submit(viewer.wait_for, rf"\b{label}\b", 20.0) for viewer in viewers]
    subprocess.run(
        [*FLEET, "instance", "create", label, "--no-start"], env={**os.environ, **site.environ}, cwd=ROOT, check=True, capture_output=True,
        timeout=30,
    )
    offset = time.time() - time.monotonic()
    shown = max(each.result() for each in watching) + offset
    made = next(event for event in site.client.call(ListEvents(limit=50)) if label in event.text.split())
    return float(shown - made.time.timestamp()) * 1000
