"""How one line of a log looks: time, label, phase and text, wrapped or cut, with what search found."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.cells import chop_cells, set_cell_size
from textual.strip import Strip

from fleet_tui.widgets.log_reader import Row
from fleet_tui.widgets.log_ring import LogRing
from fleet_tui.widgets.paint import Painted, Span, fit, width_of
from fleet_tui.widgets.safety import plain

LABEL_CELLS = 16
PHASE_CELLS = 22
"""The most that the label and phase columns take; each is as wide as the longest word seen so far. The longest phase just fits."""

NARROW = 60
"""Panels narrower than this show no phase, and up to `ROOMY` no more of it than half."""

ROOMY = 90

KEPT_STRIPS = 500

LEVEL_STYLES = {"debug": "muted", "info": "", "warn": "attention", "error": "failed", "gap": "attention"}


def clock(seconds: float) -> str:
    """Time of day, UTC."""
    whole = int(seconds) % 86400
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"


def wrapped(text: str, cells: int) -> list[str]:
    """A line in pieces of at most so many cells, broken between words unless that would leave half a row empty."""
    if width_of(text) != len(text):
        return chop_cells(text, cells) or [""]
    pieces, at = [], 0
    while len(text) - at > cells:
        end = text.rfind(" ", at + cells // 2, at + cells + 1)
        end = end if end >= 0 else at + cells
        pieces.append(text[at:end])
        at = end + text.startswith(" ", end)
    return [*pieces, text[at:]]


class LogLines:
    """Draws the lines of a ring in the width of a widget; keeps what it drew."""

    def __init__(self, widget: Painted, ring: LogRing) -> None:
        self._widget = widget
        self._ring = ring
        self.wrap = False
        self.timestamps = True
        self.labels = True
        self.offset = 0
        """Cells that unwrapped text is shifted to the left."""
        self.needle = ""
        self.hit: int | None = None
        self._label_cells = self._phase_cells = self._measured = 0
        self._strips: dict[Row, Strip] = {}

    def measure(self) -> bool:
        """Widen the label and phase columns for new words. True when that changes every line."""
        kinds = self._ring.kinds
        if len(kinds) == self._measured:
            return False
        new = kinds[self._measured :] if len(kinds) > self._measured else kinds
        self._measured = len(kinds)
        label = min(LABEL_CELLS, max([self._label_cells, *(width_of(plain(kind.label)) for kind in new)]))
        phase = min(PHASE_CELLS, max([self._phase_cells, *(width_of(plain(kind.phase)) for kind in new)]))
        if (label, phase) == (self._label_cells, self._phase_cells):
            return False
        self._label_cells, self._phase_cells = label, phase
        self._strips.clear()
        return True

    def forget(self) -> None:
        """The log was cleared."""
        self._label_cells = self._phase_cells = self._measured = 0
        self.repaint()

    def repaint(self) -> None:
        """Draw everything anew when next asked."""
        self._strips.clear()

    # Measures

    @property
    def _width(self) -> int:
        return max(1, self._widget.size.width)

    def _shown_widths(self) -> tuple[int, int]:
        """Cells of the label and the phase column, 0 for one that is not shown."""
        label = self._label_cells if self.labels else 0
        phase = self._phase_cells if self._width >= ROOMY else min(self._phase_cells, PHASE_CELLS // 2)
        return label, phase if self._width >= NARROW else 0

    def _lead_cells(self) -> int:
        """Cells before the text."""
        label, phase = self._shown_widths()
        return 1 + (9 if self.timestamps else 0) + (label + 2 if label else 0) + (phase + 2 if phase else 0)

    @property
    def _text_cells(self) -> int:
        return max(8, self._width - self._lead_cells())

    def rows_of(self, number: int) -> int:
        """Rows a line takes."""
        if not self.wrap or self._ring.kind(number).level in ("gap", "mark"):
            return 1
        return len(wrapped(self._text(number), self._text_cells))

    # Drawing

    def _text(self, number: int) -> str:
        level = self._ring.kind(number).level
        text = plain(self._ring.text(number), 1 << 20)
        if level == "error":
            return f"{self._widget.glyphs.failed} {text}"
        return f"{self._widget.glyphs.attention} {text}" if level == "warn" else text

    def plain_line(self, number: int) -> str:
        kind = self._ring.kind(number)
        moment = datetime.fromtimestamp(self._ring.time(number), UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        text = plain(self._ring.text(number), 1 << 20)
        return " ".join(plain(word) for word in (f"{moment}Z", kind.level, kind.label, kind.phase, text) if word)

    def strip(self, row: Row) -> Strip:
        """One row on screen."""
        strip = self._strips.get(row)
        if strip is None:
            if len(self._strips) >= KEPT_STRIPS:
                self._strips.clear()
            strip = self._strips[row] = self._draw(*row)
        return strip

    def _draw(self, number: int, row: int) -> Strip:
        kind = self._ring.kind(number)
        if kind.level in ("gap", "mark"):
            return self._draw_note(kind.level, plain(self._ring.text(number)))
        style = LEVEL_STYLES.get(kind.level, "")
        lead = self._widget.glyphs.pointer if number == self.hit and not row else " "
        spans: list[Span] = [(lead, "strong")]
        if row:
            spans.append((" " * (self._lead_cells() - 1), ""))
        else:
            label, phase = self._shown_widths()
            dots = self._widget.glyphs.ellipsis
            if self.timestamps:
                spans.append((clock(self._ring.time(number)) + " ", "muted"))
            if label:
                spans.append((fit(kind.label, label, ellipsis=dots) + "  ", ""))
            if phase:
                spans.append((fit(kind.phase, phase, ellipsis=dots) + "  ", "muted"))
        spans.extend(self._found(self._piece(self._text(number), row), style))
        return self._widget.strip(spans, self._width)

    def _draw_note(self, level: str, text: str) -> Strip:
        rule = self._widget.glyphs.rule
        if level == "mark":
            text = f"{rule * 2} {text} "
            text += rule * max(0, self._width - width_of(text) - 1)
        return self._widget.strip([(f" {text}", "attention" if level == "gap" else "muted")], self._width)

    def _piece(self, text: str, row: int) -> str:
        """The part of the text that a row shows."""
        cells = self._text_cells
        if self.wrap:
            pieces = wrapped(text, cells)
            return pieces[row] if row < len(pieces) else ""
        if self.offset:
            text = text[self.offset :]
        if width_of(text) > cells:
            return set_cell_size(text[: 4 * cells], cells - 1) + self._widget.glyphs.ellipsis
        return text

    def _found(self, text: str, style: str) -> list[Span]:
        """The text, with what is searched for set apart."""
        needle, lower = self.needle, text.lower()
        if not needle or len(lower) != len(text) or needle not in lower:
            return [(text, style)]
        spans: list[Span] = []
        at = 0
        while (found := lower.find(needle, at)) >= 0:
            spans += [(text[at:found], style), (text[found : found + len(needle)], "match")]
            at = found + len(needle)
        return [*spans, (text[at:], style)]
