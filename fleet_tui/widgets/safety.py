"""The last line of defence: nothing foreign leaves for the terminal as anything but a character.

No Textual widget stops an escape sequence, and a link or a ``[/nope]`` in a plain string is markup to most.
So foreign text goes in as `safe` or `plain`, and `install` puts a filter under every segment that any
widget paints, ours or the framework's.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.segment import Segment
from rich.text import Text
from textual.filter import LineFilter

from fleet_tui.backend.text import LINE_LIMIT, clean

if TYPE_CHECKING:
    from textual.app import App
    from textual.color import Color

_DRAWN = str.maketrans(
    "●▲✗◌■⟳█▌▐░▒▓─━│┃…▼✓›·•┌┐└┘├┤┬┴┼╭╮╰╯▔▁▎▊▕▏⏎▂▃▄▅▆▇▀", "o^x.#@##|.++--||~v*>-*+++++++++++++-_||||<_______"
)


def plain(text: str, limit: int = LINE_LIMIT) -> str:
    """The text as one harmless line. Text that is harmless already, nearly all of it, costs one look."""
    return text if len(text) <= limit and text.isprintable() else clean(text, limit)


def safe(text: str, limit: int = LINE_LIMIT) -> Text:
    """Foreign text for a framework widget (``Static``, a label, a toast): cleaned, and never read as markup."""
    return Text(plain(text, limit))


@lru_cache(4096)
def _in_ascii(text: str) -> str:
    """The same number of cells in ASCII; what has no likeness becomes question marks."""
    return "".join(c if c < "\x80" else "?" * cell_len(c) for c in text.translate(_DRAWN))


class SafeFilter(LineFilter):
    """Cleans each painted segment, drops hyperlinks, and on request leaves only ASCII.

    `str.isprintable` is true of no control, bidi, zero-width or surrogate character, so it sorts out the
    segments that need a closer look at the cost of one call each.
    """

    def __init__(self, ascii_only: bool = False) -> None:
        super().__init__()
        self._ascii_only = ascii_only

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        if self._ascii_only:
            return [self._mend(segment) for segment in segments if segment.control is None]
        for text, style, control in segments:
            if control is not None or not text.isprintable() or (style is not None and style.link):
                return [self._mend(segment) for segment in segments if segment.control is None]
        return segments

    def _mend(self, segment: Segment) -> Segment:
        text, style, _ = segment
        if not text.isprintable():
            # Tabs would be expanded and change the width of a line that has been measured already.
            text = clean(text.replace("\t", " "), len(text))
        if self._ascii_only and not text.isascii():
            text = _in_ascii(text)
        if style is not None and style.link:
            style = style.update_link(None)
        return Segment(text, style)


def install(app: App[object], ascii_only: bool = False) -> None:
    """Put the filter under everything the app paints.

    Textual keeps its filters in a private list; `tests/terminal` proves on raw bytes that it still works.
    """
    app._filters[:] = [SafeFilter(ascii_only), *(f for f in app._filters if not isinstance(f, SafeFilter))]
