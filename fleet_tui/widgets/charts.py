"""Bars with the number beside them. No bar is ever the only way to read a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fleet_tui.widgets.glyphs import UNICODE, Glyphs, bar
from fleet_tui.widgets.paint import Lines, Span, fit, width_of
from fleet_tui.widgets.safety import plain

NEARLY_FULL = 0.8
FULL = 0.92
"""From here on a bar is `attention`, and from here on `failed`."""


def status_of_fraction(fraction: float) -> str:
    """Status class of how full something is."""
    return "failed" if fraction >= FULL else "attention" if fraction >= NEARLY_FULL else "well"


def percent(fraction: float) -> str:
    """Five cells: `` 58 %``. Only what is really full says 100, only what is empty 0."""
    whole = round(fraction * 100)
    whole = min(whole, 99) if fraction < 1 else whole
    return f"{max(whole, 1) if fraction > 0 else whole:>3} %"


def meter(fraction: float | None, width: int = 16, glyphs: Glyphs = UNICODE) -> Span:
    """``██████░░░░  58 %`` in ``width`` cells, as a table cell; ``-`` where there is nothing to measure."""
    if fraction is None:
        return "-", "muted"
    fraction = min(1.0, max(0.0, fraction))
    cells = max(0, width - 6)
    drawn = f"{bar(fraction, cells, glyphs)} " if cells >= 3 else ""
    return f"{drawn}{percent(fraction)}".rjust(width), status_of_fraction(fraction)


@dataclass(frozen=True, slots=True)
class Capacity:
    """One resource of one place, as fractions of the whole."""

    label: str
    used: float
    reserved: float = 0.0
    note: str = ""
    """Such as whether it survives the loss of a host."""
    note_status: str = ""

    @property
    def free(self) -> float:
        return max(0.0, 1.0 - self.used - self.reserved)


def capacity_line(
    capacity: Capacity, width: int, label_cells: int = 12, note_cells: int = 6, glyphs: Glyphs = UNICODE
) -> list[Span]:
    """``cpu  ██████████▒▒░░░░  61 %   9 %  30 %  yes``: used, reserved, free; narrow panels drop the bar."""
    numbers = f" {percent(capacity.used)}  {percent(capacity.reserved)}  {percent(capacity.free)}"
    cells = _bar_cells(width, label_cells, note_cells)
    used = min(cells, round(capacity.used * cells))
    reserved = min(cells - used, round(capacity.reserved * cells))
    status = status_of_fraction(capacity.used + capacity.reserved)
    return [
        (fit(capacity.label, label_cells, ellipsis=glyphs.ellipsis) + " ", ""),
        (glyphs.full * used, status),
        (glyphs.reserved * reserved + glyphs.empty * (cells - used - reserved), "muted"),
        (numbers, "" if status == "well" else status),
        (f"  {capacity.note}", capacity.note_status),
    ]


def _bar_cells(width: int, label_cells: int, note_cells: int) -> int:
    cells = width - label_cells - 1 - len(_HEADS) - note_cells
    return cells if cells >= 4 else 0


_HEADS = "  used   resv   free"


class CapacityBars(Lines):
    """A panel of capacity lines under their headings."""

    capacities: Sequence[Capacity] = ()

    def update(self, capacities: Sequence[Capacity]) -> None:
        """Show these; lines that did not change are not repainted."""
        self.capacities = tuple(capacities)
        width = self.size.width or 60
        label = min(20, max((width_of(plain(c.label, 40)) for c in self.capacities), default=8))
        note = min(20, max((width_of(plain(c.note, 40)) for c in self.capacities), default=0)) + 2
        heads = " " * (label + 1 + _bar_cells(width, label, note)) + _HEADS
        lines = [capacity_line(c, width, label, note, self.glyphs) for c in self.capacities]
        self.show([[(heads, "title")], *lines])

    def on_resize(self) -> None:
        self.update(self.capacities)
