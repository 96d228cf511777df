"""What a console holds with 10,000 instances, after the dashboard and the whole list were looked at."""

from __future__ import annotations

from bench.keys import whole_list
from bench.sheet import Goal, Row
from bench.site import Bench


def measure(bench: Bench) -> list[Row]:
    with bench.many.console() as console:
        console.wait_for_bytes(rb"\d,\d{3} instances")
        whole_list(bench, console)
        for key in ("1", "2", "1", "2"):
            console.press(key)
            console.settle(0.3, 3.0)
        pss, rss = console.usage.memory_mb()
    return [
        Row("console memory with 10,000 instances, RSS", "MB", [rss], goal=Goal(80)),
        Row("  the same, PSS", "MB", [pss], goal=Goal(80)),
    ]
