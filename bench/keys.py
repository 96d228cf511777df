"""From a key to the first byte and to the complete frame, in the list of 10,000 instances; filter and sort of all of them."""

from __future__ import annotations

import itertools
import random
import sys
import time

from bench.probe import Answer, Probe
from bench.sheet import Goal, Row, skipped
from bench.site import Bench, until
from fleet_tui.backend.instances import ListInstances

MOVES = 60
PAUSE_S = 0.06
FILTERS = ("web-1", "db-03", "state", "10.20", "nothi")
DATATABLE = (sys.executable, "-m", "bench.programs.datatable")


def measure(bench: Bench) -> list[Row]:
    with Probe(DATATABLE, size=(120, 40)) as table:
        table.wait_for(r"web-00010", 60.0)
        table.settle(0.5, 5.0)
        their_moves = [press(table, key) for key in itertools.islice(itertools.cycle(("down", "down", "up")), 30)]
        their_sorts = [press(table, "s", quiet=0.3) for _ in range(8)]
        their_filters = [press(table, key, quiet=0.5) for key in "ff"]
    with bench.many.console() as console:
        console.wait_for_bytes(rb"\d,\d{3} instances")
        shown, loaded = whole_list(bench, console)
        moves = [press(console, key) for key in itertools.islice(itertools.cycle(("down", "down", "up", "j", "k", "down")), MOVES)]
        pages = [press(console, key) for key in itertools.islice(itertools.cycle(("pagedown", "pagedown", "pageup", "G", "g")), 30)]
        filters = list(_filtered(console))
        sorts = [press(console, key) for key in ">>r>r>r<r<<r>>>r>r<<"]
        ended = [skipped("the console ended meanwhile", console.last_words, failed=True)] if console.is_over else []
    return [
        Row("list key to the first byte, 10,000 rows", "ms", first(moves + pages), "DataTable", first(their_moves), Goal(10, "p95")),
        Row("  to the complete frame", "ms", complete(moves + pages), "DataTable", complete(their_moves), Goal(50, "p95")),
        Row("  cursor by one row: bytes", "B", [float(a.bytes) for a in moves], "DataTable", [float(a.bytes) for a in their_moves]),
        Row("filter 10,000 rows, each letter typed", "ms", complete(filters), "DataTable", complete(their_filters), Goal(50, "p95")),
        Row("sort 10,000 rows", "ms", complete(sorts), "DataTable", complete(their_sorts), Goal(50, "p95")),
        Row("the list opened: first rows", "ms", [shown]),
        Row("  all 10,000 rows", "ms", [loaded]),
        *ended,
    ]


def whole_list(bench: Bench, console: Probe) -> tuple[float, float]:
    """Go to the list and wait until it holds everything. Milliseconds to the first rows, and to the last."""
    console.settle(0.3, 3.0)
    console.drain()
    begun = console.press("2")
    shown = console.wait_for_bytes(rb"cache-0001.*cache-0002")
    last = _last_label(bench)

    def is_whole() -> bool:
        console.press("G")
        console.settle(0.1, 0.6)
        return last in console.text

    until(is_whole, 45.0, f"{last} is in the list")
    loaded = time.monotonic()
    console.press("g")
    console.settle(0.3, 2.0)
    return (shown - begun) * 1000, (loaded - begun) * 1000


def _last_label(bench: Bench) -> str:
    label = after = ""
    while True:
        page = bench.many.client.call(ListInstances(after=after or "web-3", limit=500))
        if page.instances:
            label = page.instances[-1].label
        if not page.next:
            return label
        after = page.next


def press(console: Probe, key: str, quiet: float = 0.05) -> Answer:
    """One key, after a pause as a person makes."""
    time.sleep(PAUSE_S * random.uniform(0.5, 1.5))
    return console.key(key, quiet=quiet)


def _filtered(console: Probe) -> list[Answer]:
    """Type a few filters letter by letter; only letters are timed."""
    answers: list[Answer] = []
    for word in FILTERS:
        console.key("/", quiet=0.15)
        answers += [press(console, letter) for letter in word]
        console.key("enter", quiet=0.15)
        console.key("escape", quiet=0.15)  # once: without a filter it would leave the console
    return answers


def first(answers: list[Answer]) -> list[float]:
    """Times to the first byte. A key that brought nothing (the end of the list) says nothing."""
    return [a.first for a in answers if a.first is not None]


def complete(answers: list[Answer]) -> list[float]:
    return [a.complete for a in answers if a.complete is not None]
