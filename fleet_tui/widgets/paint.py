"""How a line is put together: styles by name, text fitted to cells, and widgets that repaint only changed lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.dom import DOMNode
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from fleet_tui.widgets.glyphs import STATUS_STYLE, UNICODE, Glyphs
from fleet_tui.widgets.safety import plain

Span = tuple[str, str]
"""A piece of a line: text, and the name of its style (``""`` for the line's own)."""


def width_of(text: str) -> int:
    """Cells the text takes."""
    return len(text) if text.isascii() else cell_len(text)


def fit(text: str, width: int, align: str = "left", ellipsis: str = UNICODE.ellipsis) -> str:
    """Foreign text in exactly ``width`` cells: cleaned, cut with an ellipsis, padded."""
    if width <= 0:
        return ""
    if len(text) > 4 * width + 16:
        text = text[: 4 * width + 16]
    if not text.isprintable():
        text = plain(text)
    cells = len(text) if text.isascii() else cell_len(text)
    if cells > width:
        text = set_cell_size(text, width - 1) + ellipsis if width > 1 else set_cell_size(text, width)
        return text
    return text.rjust(width - cells + len(text)) if align == "right" else text + " " * (width - cells)


WORDS = ("muted", "strong", "title", "focused", "heading", "cursor", "cursor-idle", "match", "key")
CLASSES = frozenset({*STATUS_STYLE.values(), *(f"paint--{word}" for word in WORDS)})
"""Every style class there is to paint with; ``styles/tokens.tcss`` says how each looks."""

_looks: WeakKeyDictionary[App[Any], dict[tuple[str, str], Style]] = WeakKeyDictionary()


def look_of(app: App[Any], style_class: str) -> Style:
    """How a style class looks in the app's present theme, without the background it is painted on.

    Found once for the whole app. As component classes of each widget they would be looked up anew for every widget,
    each time its classes change: half of what a start costs.
    """
    looks = _looks.setdefault(app, {})
    look = looks.get((app.theme, style_class))
    if look is None:
        node = DOMNode(classes=style_class)
        node._attach(app)
        app.stylesheet.apply(node, animate=False)
        look = looks[app.theme, style_class] = node.styles.partial_rich_style
    return look


class Painted(Widget):
    """A widget that paints its own lines with styles looked up by name.

    A style name is a status class (``failed``), one of `WORDS`, or a style class with its prefix
    (``status--failed``). Without the sheet of tokens everything is plain text.
    """

    glyphs: Glyphs = UNICODE

    def __init__(
        self, *, glyphs: Glyphs = UNICODE, name: str | None = None, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.glyphs = glyphs
        self._styles_by_name: dict[str, Style] = {}

    def style_of(self, name: str) -> Style:
        """The full style, background included, for a style name; unknown names are the line's own style."""
        style = self._styles_by_name.get(name)
        if style is None:
            known = STATUS_STYLE.get(name) or (name if "--" in name else f"paint--{name}")
            style = self.rich_style
            if name and known in CLASSES:
                style = style + look_of(self.app, known)
            self._styles_by_name[name] = style
        return style

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles_by_name.clear()

    def strip(self, spans: Iterable[Span], width: int, over: str = "") -> Strip:
        """One line of exactly ``width`` cells, cut with an ellipsis. ``over`` names a style laid over every span, such as the cursor's."""
        runs: list[tuple[str, str]] = []
        run, run_name = "", over
        for text, name in spans:
            if over or name == run_name:
                run += text
            else:
                runs.append((run, run_name))
                run, run_name = text, name
        runs.append((run, run_name))
        segments: list[Segment] = []
        left = width
        for text, name in runs:
            if left == 0 and segments and text.strip():
                # The pieces before just fill the line; what follows is left out and is shown to be.
                last = segments.pop()
                cells = width_of(last.text) - width_of(self.glyphs.ellipsis)
                segments.append(Segment(set_cell_size(last.text, max(0, cells)) + self.glyphs.ellipsis, last.style))
                break
            if text:
                text = text[: 4 * width + 16]
                if not text.isprintable():
                    text = plain(text)
                cells = width_of(text)
                if cells > left:
                    # Blanks that do not fit are no loss; anything else that is left out is shown to be.
                    dots = self.glyphs.ellipsis if width_of(text.rstrip()) > left > 0 else ""
                    text, cells = set_cell_size(text, left - width_of(dots)) + dots, left
                left -= cells
                segments.append(Segment(text, self.style_of(name)))
        if left > 0:
            segments.append(Segment(" " * left, self.style_of(over)))
        return Strip(segments, width)


def whole(line: Sequence[Span], width: int) -> Sequence[Span]:
    """As many of the pieces as fit, the first whatever its length; half a count would be another number."""
    kept: list[Span] = []
    for span in line:
        width -= width_of(span[0])
        if width < 0 and any(text.strip() for text, _ in kept):
            break
        kept.append(span)
    return kept


class Lines(Painted):
    """A small panel of ready-made lines. Setting the same lines again paints nothing.

    With ``by_pieces`` a line that does not fit loses pieces at its end, rather than a part of one.
    """

    DEFAULT_CSS = "Lines { height: auto; }"

    def __init__(self, lines: Sequence[Sequence[Span]] = (), *, by_pieces: bool = False, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self._by_pieces = by_pieces
        self._lines: list[tuple[Span, ...]] = [tuple(line) for line in lines]

    def show(self, lines: Iterable[Sequence[Span]]) -> None:
        """Replace the lines; only those that differ are repainted."""
        before, self._lines = self._lines, [tuple(line) for line in lines]
        if len(before) != len(self._lines) and self.styles.is_auto_height:
            self.refresh(layout=True)
            return
        for y in range(max(len(before), len(self._lines))):
            if before[y : y + 1] != self._lines[y : y + 1]:
                self.refresh(Region(0, y, self.size.width, 1))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return max(1, len(self._lines))

    def get_content_width(self, container: Size, viewport: Size) -> int:
        return max((sum(width_of(text) for text, _ in line) for line in self._lines), default=0)

    def render_line(self, y: int) -> Strip:
        line, width = self._lines[y] if y < len(self._lines) else (), self.size.width
        return self.strip(whole(line, width) if self._by_pieces else line, width)


_NAME = 12
"""Cells that a name in a title keeps, however much stands beside it."""


def titled_rule(left: Sequence[str], right: Sequence[str], width: int, glyphs: Glyphs = UNICODE) -> str:
    """A rule with words in it: ``─ agent log · warn+ ───── 12 new · paused ─``. The first, a name, gives way to the others."""
    dot = f" {glyphs.dot} "
    end = f" {dot.join(right)} {glyphs.rule}" if right else ""
    room = width - width_of(end)
    start = f"{glyphs.rule} {dot.join(left)} "
    if len(left) > 1 and width_of(start) > room:
        name = fit(left[0], max(_NAME, width_of(left[0]) + room - width_of(start) - 1), ellipsis=glyphs.ellipsis).rstrip()
        start = f"{glyphs.rule} {dot.join((name, *left[1:]))} "
    if width_of(start) > room:
        start = fit(start, max(0, room - 1), ellipsis=glyphs.ellipsis) + " "
    line = start + glyphs.rule * max(0, room - width_of(start)) + end
    return line if width_of(line) <= width else fit(line, width, ellipsis=glyphs.ellipsis)


def differing_cells(before: Strip, after: Strip) -> tuple[int, int]:
    """The first cell in which two painted lines of the same width differ, and the one after the last.

    Equal lines give an empty range. Lines with wide characters are compared piece by piece only.
    """
    old, new = list(before), list(after)
    if old == new:
        return 0, 0
    start = _common_cells(old, new)
    end = after.cell_length - _common_cells(old[::-1], new[::-1], from_end=True)
    return min(start, end), max(start, end)


def _common_cells(old: list[Segment], new: list[Segment], from_end: bool = False) -> int:
    """Cells that two lines have in common at their start, or at their end when given reversed."""
    cells = 0
    for a, b in zip(old, new, strict=False):
        if a == b:
            cells += a.cell_length
            continue
        if a.style == b.style and a.text.isascii() and b.text.isascii():
            pairs = zip(a.text[::-1], b.text[::-1], strict=False) if from_end else zip(a.text, b.text, strict=False)
            for x, y in pairs:
                if x != y:
                    break
                cells += 1
        break
    return cells
