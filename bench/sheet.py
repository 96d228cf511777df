"""The table: one row a figure, with goal and verdict."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

Of = Literal["median", "p95", "ratio"]


@dataclass(frozen=True, slots=True)
class Goal:
    """What is not to be exceeded: the median, the 95th percentile, or how many times the yardstick's median ours is."""

    limit: float
    of: Of = "median"

    def words(self, unit: str) -> str:
        if self.of == "ratio":
            return f"<= {self.limit:g} x"
        return f"{'p95 ' * (self.of == 'p95')}<= {self.limit:g} {unit}".strip()


@dataclass(frozen=True, slots=True)
class Row:
    """One figure."""

    name: str
    unit: str = ""
    ours: Sequence[float] = ()
    yardstick: str = ""
    theirs: Sequence[float] = ()
    goal: Goal | None = None
    note: str = ""
    verdict: str = field(default="")
    """Said instead of the goal's own verdict."""

    @property
    def ratio(self) -> float | None:
        if not self.ours or not self.theirs or not (theirs := statistics.median(self.theirs)):
            return None
        return statistics.median(self.ours) / theirs

    @property
    def reached(self) -> bool | None:
        """None where there is nothing to reach, or nothing was measured."""
        if self.goal is None or not self.ours:
            return None
        found = self.ratio if self.goal.of == "ratio" else p95(self.ours) if self.goal.of == "p95" else statistics.median(self.ours)
        return found is not None and found <= self.goal.limit

    def cells(self) -> tuple[str, ...]:
        said = self.verdict or {True: "ok", False: "MISS", None: "-"}[self.reached]
        return (
            self.name, f"{_spread(self.ours)} {self.unit}".strip() if self.ours else "-",
            f"{_spread(self.theirs)}  {self.yardstick}".strip() if self.theirs else self.yardstick or "-",
            f"{self.ratio:.2f}" if self.ratio is not None else "-", self.goal.words(self.unit) if self.goal else "-", said, self.note,
        )  # fmt: skip


class Sheet:
    """Rows, printed together."""

    TITLES = ("figure", "ours: median / p95", "yardstick: median / p95", "ratio", "goal", "", "")

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def add(self, rows: Iterable[Row]) -> None:
        self.rows.extend(rows)

    @property
    def all_reached(self) -> bool:
        return not any(row.reached is False or row.verdict == "FAILED" for row in self.rows)

    def text(self) -> str:
        lines = [self.TITLES, *(row.cells() for row in self.rows)]
        widths = [max(len(line[at]) for line in lines) for at in range(len(self.TITLES))]
        printed = [
            "  ".join(cell.rjust(width) if at == 3 else cell.ljust(width) for at, (cell, width) in enumerate(zip(line, widths, strict=True)))
            for line in lines
        ]
        printed.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join(line.rstrip() for line in printed)


def skipped(name: str, why: str, *, failed: bool = False) -> Row:
    """A row for what was not measured."""
    return Row(name, verdict="FAILED" if failed else "skipped", note=why[:160])


def p95(values: Sequence[float]) -> float:
    """The smallest value that at most one in twenty exceeds."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]


def _spread(values: Sequence[float]) -> str:
    if len(values) == 1:
        return _short(values[0])
    return f"{_short(statistics.median(values))} / {_short(p95(values))}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
