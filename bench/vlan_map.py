"""The map of VLANs in the console of a simulated site: from a key to the first byte, and to all of it painted again."""

from __future__ import annotations

import itertools
import sys

from bench.keys import complete, first, press
from bench.probe import Probe
from bench.sheet import Goal, Row
from bench.site import Bench, running

SIZE = (160, 48)
MOVES, REPAINTS = 60, 24
DATAGRID = (sys.executable, "-m", "bench.programs.datagrid")


def measure(bench: Bench) -> list[Row]:
    with Probe(DATAGRID, size=SIZE) as table:
        table.wait_for(r"1050", 60.0)
        table.settle(0.5, 5.0)
        spent = table.usage.cpu_s()
        their_moves = _pressed(table, ("right", "right", "down", "left", "up", "right"), MOVES // 2)
        their_cpu = (table.usage.cpu_s() - spent) * 1000 / len(their_moves)
        their_pages = _pressed(table, ("pagedown", "pageup"), REPAINTS)
    with running("--simulate", "--instances", "20", "--hosts", "24", patience=120.0) as site, site.console(size=SIZE) as console:
        console.settle(0.5, 10.0)
        console.press("4")
        console.wait_for(r"RANGES", 30.0)
        console.settle(0.5, 5.0)
        spent = console.usage.cpu_s()
        moves = _pressed(console, ("right", "right", "down", "left", "up", "j", "right", "k"), MOVES)
        cpu = (console.usage.cpu_s() - spent) * 1000 / len(moves)
        pages = _pressed(console, ("pagedown", "pageup"), REPAINTS)
        zooms = _pressed(console, ("Z",), REPAINTS)
        filters = _pressed(console, ("z",), REPAINTS // 2)
    return [
        Row("map: cursor by one ID or row, to the first byte", "ms", first(moves), "DataTable of cells", first(their_moves), Goal(10, "p95")),
        Row("  processor time of a move", "ms", [cpu], "DataTable of cells", [their_cpu], note="on a busy machine this says more than the clock"),
        Row("  bytes", "B", [float(a.bytes) for a in moves], "DataTable of cells", [float(a.bytes) for a in their_moves]),
        Row("  every cell painted again: another page", "ms", complete(pages), "DataTable of cells", complete(their_pages), Goal(50, "p95")),
        Row("  every cell painted again: zoomed", "ms", complete(zooms), goal=Goal(50, "p95")),
        Row("  problems only, and all again", "ms", complete(filters), goal=Goal(50, "p95")),
    ]


def _pressed(program: Probe, keys: tuple[str, ...], times: int) -> list:  # type: ignore[type-arg]
    return [press(program, key) for key in itertools.islice(itertools.cycle(keys), times)]
