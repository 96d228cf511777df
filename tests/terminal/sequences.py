"""A strict reader of what a program sends to a terminal: text, and escape sequences of a short list of known ones.

Whatever is not on the list is named, so a sequence that got through needs not be known beforehand. One exception is data:
OSC 52 (the clipboard), which is given back decoded, for the test to say whether a copy was asked for.
"""

from __future__ import annotations

import base64
import re
import unicodedata
from dataclasses import dataclass, field

TEXTUAL = re.compile(
    r"""
      \[ [0-9;]* m                                                     # colours
    | \[ [0-9]{1,4} ; [0-9]{1,4} H                                     # cursor to a place
    | \[ \? (?: 7 | 25 | 1000 | 1003 | 1004 | 1006 | 1015 | 1016 | 1049 | 2004 | 2026 | 2048 ) [hl]   # modes, on and off
    | \[ \? (?: 2026 | 2048 ) \$ p                                     # is there such a mode
    | \[ > [0-9]{1,2} u | \[ < u                                                # keyboard protocol, on and off
    | \] 22 ; (?: default | pointer | text ) \x07                      # shape of the mouse pointer
    """,
    re.VERBOSE,
)
"""What Textual sends by itself, after the ESC."""
STARTING_QUERIES = re.compile(r"P\+q[0-9a-f]+\x1b\\ | \[c", re.VERBOSE)
CLIPBOARD = re.compile(r"\]52;c;([A-Za-z0-9+/=]*)\x07")
HIDDEN = re.compile(
    "[\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
"""Characters nobody sees, or that turn the text around them."""


@dataclass
class Reading:
    """What was found in a stream."""

    text: str = ""
    """Everything printed, without the sequences."""
    foreign: list[str] = field(default_factory=list)
    """Every sequence or character that has no business there, with what followed it."""
    copied: list[str] = field(default_factory=list)
    """What was put into the clipboard."""


def read(raw: bytes, known: re.Pattern[str] = TEXTUAL) -> Reading:
    """Take a stream apart. It has to be valid UTF-8 to its end."""
    found = Reading()
    try:
        stream = raw.decode("utf-8")
    except UnicodeDecodeError as problem:
        found.foreign.append(f"not UTF-8: {raw[max(0, problem.start - 20) : problem.end + 20]!r}")
        stream = raw.decode("utf-8", "replace")
    parts: list[str] = []
    at = 0
    for escape in re.finditer("\x1b", stream):
        if escape.start() < at:
            continue
        parts.append(stream[at : escape.start()])
        after = escape.end()
        if match := CLIPBOARD.match(stream, after):
            found.copied.append(base64.b64decode(match[1]).decode("utf-8", "surrogateescape"))
        elif not (match := known.match(stream, after)):
            found.foreign.append(ascii(stream[escape.start() : after + 30]))
        at = match.end() if match else after
    parts.append(stream[at:])
    found.text = "".join(parts)
    found.foreign += [ascii(c) for c in dict.fromkeys(found.text) if is_foreign(c)]
    return found


def is_foreign(character: str) -> bool:
    """Whether it is anything but a character one can see: a control, a format mark, a surrogate."""
    if character in "\r\n":
        return False
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or HIDDEN.match(character) is not None


NOTHING = re.compile("(?!)")
"""No sequence at all: a command line that prints text."""
