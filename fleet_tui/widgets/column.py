"""Which columns a table shows in a given width, and how wide each is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Cell = str | tuple[str, str]
"""What a column renders: text, or text and the name of its style."""

GAP = 2
"""Blank cells between columns."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    key: str
    title: str
    width: int
    """Cells; the least a flexible column gets."""
    align: Literal["left", "right"] = "left"
    priority: int = 50
    """Where the width is short, the column with the lowest number goes first; of equals, the rightmost."""
    wide: bool = False
    """Shown only in wide mode."""
    sort: Callable[[Any], Any] | None = None
    """Row to sort key; without one the text sorts. None sorts last."""
    render: Callable[[Any], Cell] | None = None
    """Row to cell; without one, the attribute or item of the row that the key names."""
    flexible: bool = False
    """Takes the spare width. Where no column is, the last left-aligned one does."""
    roomy: int = 0
    """Cells it takes where there is room; 0 for no more than ``width``."""
    status: bool | None = None
    """Painted in the style of the row's status class; by default the columns ``state`` and ``status`` are."""

    @property
    def shows_status(self) -> bool:
        return self.key in ("state", "status") if self.status is None else self.status

    def cell(self, row: Any) -> tuple[str, str]:
        """Text and style name of this column in a row."""
        if self.render is not None:
            cell: Any = self.render(row)
        else:
            cell = row.get(self.key) if isinstance(row, dict) else getattr(row, self.key, None)
        if isinstance(cell, str):
            return cell, ""
        if isinstance(cell, tuple):
            return str(cell[0]), str(cell[1])
        return ("-" if cell is None else str(cell)), ""

    def sort_value(self, row: Any) -> Any:
        """What rows are sorted by; None comes last, whichever way round."""
        return self.sort(row) if self.sort is not None else self.cell(row)[0].lower()


def fit_columns(columns: Sequence[Column], width: int, wide: bool) -> list[tuple[Column, int]]:
    """The columns to show, each with its width; they and the gaps between them fill exactly ``width``.

    The first column names the row and is never dropped. Spare width goes to the flexible column until that is roomy, then to the others,
    leftmost first, as far as they want it; the flexible one takes the rest.
    """
    shown = [column for column in columns if wide or not column.wide]
    while len(shown) > 1 and sum(c.width for c in shown) + GAP * (len(shown) - 1) > width:
        at = min(range(1, len(shown)), key=lambda i: (shown[i].priority, -i))
        del shown[at]
    if not shown:
        return []
    spare = width - sum(c.width for c in shown) - GAP * (len(shown) - 1)
    flexible = [i for i, c in enumerate(shown) if c.flexible] or [i for i, c in enumerate(shown) if c.align == "left"]
    taker = flexible[-1] if flexible else 0
    widths = [c.width for c in shown]
    for i in (taker, *range(len(shown)), taker):
        more = min(spare, max(0, shown[i].roomy - widths[i]))
        widths[i], spare = widths[i] + more, spare - more
    widths[taker] += spare
    return [(c, max(1, cells)) for c, cells in zip(shown, widths, strict=True)]
