"""The marks the console draws with, in two sets: one for UTF-8 terminals, one in plain ASCII.

A state is always a glyph and a word; colour only repeats it. Textual writes in the encoding of standard
error and turns what does not fit into backslash escapes, so the set is chosen once, at start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

STATUSES = ("well", "moving", "attention", "failed", "off", "maintenance")
"""Every status class. A screen maps its own states onto these six."""

STATUS_STYLE: Mapping[str, str] = {
    "well": "status--well",
    "moving": "status--moving",
    "attention": "status--attention",
    "failed": "status--failed",
    "off": "status--off",
    "maintenance": "status--maintenance",
}
"""Status class to the style class that ``styles/tokens.tcss`` gives a look. Widgets take either name."""

PROBLEMS = frozenset({"attention", "failed"})
"""Status classes a person should look at."""


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One set of marks, each one cell wide."""

    well: str
    moving: str
    attention: str
    failed: str
    off: str
    maintenance: str
    pending: str
    """Waits for a restart or a reprovision."""
    full: str
    half: str
    """Half a cell of a bar, or nothing where there is no such character."""
    empty: str
    reserved: str
    rule: str
    ellipsis: str
    ascending: str
    descending: str
    mark: str
    pointer: str
    """Beside the cursor row, so that the cursor shows without colour or reverse."""
    crumb: str
    dot: str

    def status(self, status: str) -> str:
        """The glyph of a status class; a blank for one that is not known."""
        return str(getattr(self, status)) if status in STATUS_STYLE else " "


UNICODE = Glyphs(*("●", "▲", "!", "✗", "◌", "■", "⟳"), *("█", "▌", "░", "▒"), *("─", "…", "▲", "▼", "✓", "›", "›", "·"))
ASCII = Glyphs(*("o", "^", "!", "x", ".", "#", "@"), *("#", "", ".", "+"), *("-", "~", "^", "v", "*", ">", ">", "-"))


def choose(environ: Mapping[str, str], encoding: str | None = None) -> Glyphs:
    """The set this terminal can show.

    Args:
        environ: ``FLEET_GLYPHS`` (``ascii`` or ``unicode``) decides; then ``TERM`` and the locale.
        encoding: what standard error writes in, when known; it is what the console is printed in.
    """
    wish = environ.get("FLEET_GLYPHS", "").lower()
    if wish in ("ascii", "unicode"):
        return ASCII if wish == "ascii" else UNICODE
    if environ.get("TERM", "") in ("linux", "dumb", "vt100", "vt220"):
        return ASCII
    if encoding is None:
        locale = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
        encoding = locale.partition(".")[2] or "ascii"
    return UNICODE if encoding.lower().replace("-", "").startswith("utf8") else ASCII


def bar(fraction: float, width: int, glyphs: Glyphs = UNICODE) -> str:
    """A bar of exactly ``width`` cells. Something is never drawn as nothing, nor nearly full as full."""
    fraction = min(1.0, max(0.0, fraction)) if fraction == fraction else 0.0
    steps = 2 if glyphs.half else 1
    filled = round(fraction * width * steps)
    if 0.0 < fraction < 1.0 and width > 1:
        filled = min(max(filled, 1), width * steps - 1)
    whole, half = divmod(filled, steps)
    drawn = glyphs.full * whole + glyphs.half * half
    return drawn + glyphs.empty * (width - whole - half)


def age(seconds: float) -> str:
    """How long ago in the two or three cells a column has: ``now``, ``41s``, ``3m``, ``2h``, ``6d``, ``3y``."""
    whole = int(seconds)
    if whole < 1:
        return "now"
    for limit, size, unit in ((60, 1, "s"), (3600, 60, "m"), (86400, 3600, "h"), (86400 * 730, 86400, "d")):
        if whole < limit:
            return f"{whole // size}{unit}"
    return f"{whole // (86400 * 365)}y"
