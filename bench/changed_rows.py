"""What a change costs in a table of 10,000 rows: the bytes of one, and a core's share of 200 a second."""

from __future__ import annotations

import sys

from bench.keys import press
from bench.probe import Probe
from bench.sheet import Goal, Row
from bench.site import Bench

OURS, DATATABLE = "bench.programs.table", "bench.programs.datatable"
SECONDS = 5.0
SPREAD, VISIBLE = 1000, 36


def measure(bench: Bench) -> list[Row]:
    one, their_one = (_one_row(program) for program in (OURS, DATATABLE))
    (spread, sent), (their_spread, their_sent) = (_stream(program, SPREAD) for program in (OURS, DATATABLE))
    visible, _ = _stream(OURS, VISIBLE)
    return [
        Row("one changed row in 10,000", "B", one, "DataTable", their_one, Goal(2048, "p95")),
        Row("200 changed cells/s in 1,000 of 10,000 rows", "% core", [spread], "DataTable", [their_spread], Goal(3)),
        Row("  bytes", "B/s", [sent], "DataTable", [their_sent]),
        Row("  all of them in the rows on screen", "% core", [visible]),
    ]


def _one_row(program: str) -> list[float]:
    with Probe([sys.executable, "-m", program]) as table:
        table.wait_for(r"web-00010", 60.0)
        table.settle(0.5, 5.0)
        return [float(press(table, "u").bytes) for _ in range(12)]


def _stream(program: str, among: int) -> tuple[float, float]:
    """(percent of a core, bytes a second)."""
    with Probe([sys.executable, "-m", program, "--updates", "200", "--among", str(among)]) as table:
        table.wait_for(r"web-00010", 60.0)
        table.leave_alone(2.0)
        found = table.leave_alone(SECONDS)
        return found.cpu_percent, found.bytes_per_s
