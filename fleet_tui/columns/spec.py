"""What a column is, and how ages, lengths of time, sizes and counts are told in one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """One column.

    ``text`` gets the row and the present time. ``priority`` 0 is never dropped; higher ones go first when the
    terminal is narrow. ``fraction`` makes the interface draw a bar before the text.
    """

    name: str
    title: str
    width: int
    text: Callable[[Any, datetime], str]
    sort: Callable[[Any], Any] | None = None
    right: bool = False
    wide: bool = False
    """Only shown with wide columns."""
    priority: int = 0
    fraction: Callable[[Any], float | None] | None = None
    grow: bool = False
    """Takes what width is left."""
    roomy: int = 0
    """Cells it takes where there is room; 0 for no more than ``width``."""


def ago(then: datetime | None, now: datetime) -> str:
    """An age: ``now``, ``41s``, ``3m``, ``2h``, ``6d``; ``-`` for never."""
    return "-" if then is None else span((now - then).total_seconds())


def span(seconds: float) -> str:
    """A length of time in its largest whole unit."""
    if seconds < 5:
        return "now"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s"


def took(seconds: float | None) -> str:
    """How long something took, to the precision a person wants: ``0.4 s``, ``12 s``, ``2m 10s``."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    if seconds < 120:
        return f"{int(seconds)} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}h {minutes % 60:02}m" if minutes >= 120 else f"{minutes}m {rest:02}s"


def size(count: int | None) -> str:
    """Bytes with a unit: ``14 GiB``."""
    if count is None:
        return "?"
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"


def plural(count: int, noun: str) -> str:
    """``1 VM``, ``2 VMs``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def percent(fraction: float | None) -> str:
    return "?" if fraction is None else f"{fraction * 100:.0f} %"
