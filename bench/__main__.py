"""``python -m bench [NAME…]``."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import time
import traceback

from bench import FIGURES
from bench.sheet import Row, Sheet, skipped
from bench.site import Bench

LIMIT_S = 600.0
"""Figures not begun by then are left out, and said to be."""


def main(arguments: list[str] | None = None) -> int:
    """Measure and print. 0 when every goal was reached, 1 when one was missed or could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Prints the product's figures beside their yardsticks.")
    parser.add_argument("figures", nargs="*", metavar="NAME", help=f"of {', '.join(FIGURES)}; all when none is given")
    wanted = parser.parse_args(arguments).figures
    if unknown := [name for name in wanted if name not in FIGURES]:
        parser.error(f"there is no figure {unknown[0]!r}; there are {', '.join(FIGURES)}")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or every start of ours would compile its modules anew, as on no machine of a user
    sheet, begun = Sheet(), time.monotonic()
    with Bench() as bench:
        for name in FIGURES:
            if not wanted or name in wanted:
                late = time.monotonic() - begun > LIMIT_S
                sheet.add([skipped(_words(name), f"no time was left after {LIMIT_S:.0f} s")] if late else _measure(name, bench))
    print(sheet.text())
    print(f"\n{time.monotonic() - begun:.0f} s on {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end")
    return 0 if sheet.all_reached else 1


def _measure(name: str, bench: Bench) -> list[Row]:
    """The rows of one figure; a figure that cannot be measured is a row that says why."""
    print(f"{_words(name)} …", end="", file=sys.stderr, flush=True)
    begun = time.monotonic()
    try:
        rows: list[Row] = importlib.import_module(f"bench.{name}").measure(bench)
        print(f" {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
        return rows
    except Exception as problem:
        print(file=sys.stderr)
        traceback.print_exc()
        return [skipped(_words(name), f"{type(problem).__name__}: {str(problem).splitlines()[0] if str(problem) else ''}", failed=True)]


def _words(name: str) -> str:
    return name.replace("_", " ")


def _leave(number: int, _frame: object) -> None:
    """Told to end: unwind, so that everything started is stopped."""
    sys.exit(128 + number)


if __name__ == "__main__":
    raise SystemExit(main())
