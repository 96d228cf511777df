"""The lines around a screen: header, crumbs, banner, footer. Each is one line and never wraps.

None of them ticks. Setting what is shown already paints nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from fleet_tui.widgets.glyphs import UNICODE, Glyphs
from fleet_tui.widgets.paint import Lines, Span, fit, width_of
from fleet_tui.widgets.safety import plain

__all__ = ["Banner", "Crumbs", "Footer", "Header"]


class _Line(Lines):
    """One line, arranged anew when the width changes."""

    DEFAULT_CSS = "_Line { height: 1; }"

    def __init__(
        self, *, glyphs: Glyphs = UNICODE, name: str | None = None, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(glyphs=glyphs, name=name, id=id, classes=classes)

    def arranged(self, width: int) -> list[Span]:
        """The pieces of the line for a width."""
        raise AssertionError("each line arranges itself")

    def rearrange(self) -> None:
        self.show([self.arranged(self.size.width)])

    def on_resize(self) -> None:
        self.rearrange()

    def on_mount(self) -> None:
        self.rearrange()


def spread(left: Sequence[Span], right: Sequence[Span], width: int, ellipsis: str) -> list[Span]:
    """Pieces at both ends of a line.

    Where it gets narrow the gaps shrink first, then pieces go: the last on the right, then the last on the
    left, never the first. Both sides are therefore given most important first.
    """
    left, right = [_made_plain(s) for s in left if s[0]], [_made_plain(s) for s in right if s[0]]
    gap = next((gap for gap in (3, 2, 1) if _cells(left, gap) + _cells(right, gap) + gap + 2 <= width), 1)
    while right and _cells(left, gap) + _cells(right, gap) + gap + 2 > width:
        right.pop()
    while len(left) > 1 and _cells(left, gap) + 1 > width:
        left.pop()
    if left and _cells(left, gap) + 1 > width > 2:
        left = [(left[0][0][: width - 2] + ellipsis, left[0][1])]
    middle = width - _cells(left, gap) - _cells(right, gap) - (2 if right else 1)
    return [(" ", ""), *_joined(left, gap), (" " * max(0, middle), ""), *_joined(right, gap), (" ", "")]


def _made_plain(span: Span) -> Span:
    return plain(span[0], 300), span[1]


def _cells(spans: Sequence[Span], gap: int) -> int:
    return sum(width_of(text) for text, _ in spans) + gap * max(0, len(spans) - 1)


def _joined(spans: Sequence[Span], gap: int) -> list[Span]:
    pieces: list[Span] = []
    for index, span in enumerate(spans):
        pieces += [(" " * gap, ""), span] if index else [span]
    return pieces


class Header(_Line):
    """Site, what is wrong, what runs; who you are and what you may do; the data's age only when it is old."""

    left: Sequence[Span] = ()
    right: Sequence[Span] = ()
    read_only = False
    simulated = False
    stale = ""
    """Age of the data when it is too old to trust, such as ``20s``."""

    def update(
        self,
        left: Sequence[Span],
        right: Sequence[Span] | str = (),
        *,
        read_only: bool = False,
        simulated: bool = False,
        stale: str = "",
    ) -> None:
        """Show pieces of text with their status classes, most important first on either side."""
        self.left = tuple(left)
        self.right = ((right, ""),) if isinstance(right, str) else tuple(right)
        self.read_only, self.simulated, self.stale = read_only, simulated, stale
        self.rearrange()

    def arranged(self, width: int) -> list[Span]:
        badges: list[Span] = []
        if self.stale:
            badges.append((f"{self.glyphs.attention} stale {self.stale}", "attention"))
        if self.read_only:
            badges.append((" READ-ONLY ", "focused"))
        if self.simulated:
            badges.append((" SIMULATED ", "focused"))
        named = [(text, style or "strong") for text, style in self.left[:1]]
        return spread([*named, *badges, *self.left[1:]], self.right, width, self.glyphs.ellipsis)


class Crumbs(_Line):
    """Where one is: ``paris › instances › web-20``, and chips for what narrows the view."""

    parts: Sequence[str] = ()
    chips: Sequence[Span] = ()

    def update(self, parts: Sequence[str], chips: Sequence[Span] = ()) -> None:
        """Show a path, its last part strong, and chips such as the filter."""
        self.parts, self.chips = tuple(parts), tuple(chips)
        self.rearrange()

    def arranged(self, width: int) -> list[Span]:
        parts = [plain(part, 120) for part in self.parts]
        chips = list(self.chips)
        between = f" {self.glyphs.crumb} "
        kept = len(parts) - 1
        # What narrows the view must be seen: a long path gives way to it, down to half of the line.
        held = min(sum(width_of(text) + 3 for text, _ in chips), width // 2)
        while kept > 1 and width_of(between.join(parts)) + 2 > width - held:
            # The first part and the last ones stay: where everything hangs, and where one is.
            kept -= 1
            parts = [parts[0], self.glyphs.ellipsis, *(plain(part, 120) for part in self.parts[-kept:])]
        over = width_of(between.join(parts)) + 2 - (width - held)
        if parts and over > 0:
            parts[-1] = fit(parts[-1], max(12, width_of(parts[-1]) - over), ellipsis=self.glyphs.ellipsis).rstrip()
        path: list[Span] = []
        for index, part in enumerate(parts):
            if index:
                path.append((between, "muted"))
            path.append((part, "strong" if index == len(parts) - 1 else "muted"))
        room = width - 1 - sum(width_of(text) for text, _ in path)
        for text, style in chips:
            if room > 8:
                said = fit(text, min(width_of(text), room - 3), ellipsis=self.glyphs.ellipsis)
                path.append((f"   {said}", style or "moving"))
                room -= width_of(said) + 3
        return [(" ", ""), *path]


class Footer(_Line):
    """The five keys that matter here and now."""

    keys: Sequence[tuple[str, str]] = ()

    def update(self, keys: Sequence[tuple[str, str]]) -> None:
        """Show keys with what they do, most important first; those that do not fit are left out."""
        self.keys = tuple(keys)
        self.rearrange()

    def arranged(self, width: int) -> list[Span]:
        line: list[Span] = []
        room = width - 1
        for key, text in self.keys:
            key, text = plain(key, 40), plain(text, 80)
            gap = 3 if line else 0
            cells = gap + width_of(key) + 1 + width_of(text)
            if cells > room:
                break
            line += [(" " * gap, ""), (key, "key"), (f" {text}", "muted")]
            room -= cells
        return [(" ", ""), *line]


class Banner(_Line):
    """One line that says something is wrong with the console itself, such as a lost link. Hidden when empty.

    Clauses are told most important first, set apart by dots: the last ones go where it gets narrow.
    """

    DEFAULT_CSS = "Banner { display: none; }"

    text = ""
    status = "failed"

    def update(self, text: str, status: str = "failed") -> None:
        """Show a line, or hide with empty text."""
        self.text, self.status = text, status
        if self.display != bool(text):
            self.display = bool(text)
        self.rearrange()

    def arranged(self, width: int) -> list[Span]:
        text = f"{self.glyphs.status(self.status)} {plain(self.text, 300)}"
        while text.count(" · ") > 1 and width_of(text) + 2 > width:
            text = text.rpartition(" · ")[0]
        return spread([(text, self.status)], (), width, self.glyphs.ellipsis)
