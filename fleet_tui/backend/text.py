"""Foreign text made harmless: what an agent, a guest or a person far away sent us.

Cleaned before it is stored and again before it is painted, because no terminal widget stops an escape
sequence. Replaced, not removed, so that a reader sees that something was there.
"""

from __future__ import annotations

import re

LINE_LIMIT = 4096
"""Characters kept of one line; what was cut is said at its end."""

REPLACEMENT = "\u00b7"

_UNSAFE = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff]"
)


SECRET_NAME = re.compile(r"pass(word|wd|phrase)|secret|token|credential|private|(^|[_.-])key$|^key$", re.IGNORECASE)
"""Names of things that nobody but their user is to be told."""


def is_clean(text: str) -> bool:
    """Whether nothing in the text could reach a terminal as anything but a character."""
    return _UNSAFE.search(text) is None and "\t" not in text


def clean(text: str, limit: int = LINE_LIMIT) -> str:
    """One line of text without control characters, escapes, bidi or zero-width marks.

    Args:
        text: anything at all.
        limit: characters to keep; a longer text ends with how many were cut.
    """
    cut = len(text) - limit
    if cut > 0:
        text = text[:limit]
    if "\t" in text:
        text = text.expandtabs(4)
    text = _UNSAFE.sub(REPLACEMENT, text)
    return f"{text} [{cut} more characters cut]" if cut > 0 else text
