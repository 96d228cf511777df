"""Bars with the number beside them. No bar is ever the only way to read a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fleet_tui.widgets.glyphs import UNICODE, Glyphs, bar
from fleet_tui.widgets.paint import Lines, Span, fit

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


def capacity_line(capacity: Capacity, width: int, label_width: int = 12, glyphs: Glyphs = UNICODE) -> list[Span]:
    """``cpu  ██████████▒▒░░░░  61 %   9 %  30 %  yes``: used, reserved, free; narrow panels drop the bar."""
    numbers = f" {percent(capacity.used)}  {percent(capacity.reserved)}  {percent(capacity.free)}"
    note = f"  {capacity.note}" if capacity.note else ""
    cells = width - label_width - 1 - len(numbers) - max(5, len(note))
    status = status_of_fraction(capacity.used + capacity.reserved)
    spans: list[Span] = [(fit(capacity.label, label_width, ellipsis=glyphs.ellipsis) + " ", "")]
    if cells >= 4:
        used = min(cells, round(capacity.used * cells))
        reserved = min(cells - used, round(capacity.reserved * cells))
        spans += [(glyphs.full * used, status), (glyphs.reserved * reserved, "muted")]
        spans.append((glyphs.empty * (cells - used - reserved), "muted"))
    return [*spans, (numbers, "" if status == "well" else status), (note, capacity.note_status)]


class CapacityBars(Lines):
    """A panel of capacity lines under their headings."""

    capacities: Sequence[Capacity] = ()

    def update(self, capacities: Sequence[Capacity]) -> None:
        """Show these; lines that did not change are not repainted."""
        self.capacities = tuple(capacities)
        self.show([self._heading(), *(self._line(capacity) for capacity in self.capacities)])

    def _line(self, capacity: Capacity) -> list[Span]:
        return capacity_line(capacity, self.size.width or 60, self._label_width, self.glyphs)

    @property
    def _label_width(self) -> int:
        return min(20, max((len(capacity.label) for capacity in self.capacities), default=8))

    def _heading(self) -> list[Span]:
        width = self.size.width or 60
        note = max(5, max((len(c.note) + 2 for c in self.capacities), default=0))
        words = "   used   resv   free"
        return [("".ljust(max(0, width - note - len(words) + 1)) + words.lstrip().rjust(len(words) - 1), "title")]

    def on_resize(self) -> None:
        self.update(self.capacities)
