"""IDs kept out of texts that everybody may read."""

from __future__ import annotations

import re

MASK = "••••"
"""As the audit masks secrets."""


def without_ids(text: str, *numbers: int | None) -> str:
    """The text with those IDs masked, wherever a number of exactly that value stands in it: ``eth1.500``, ``breth1-500``, ``id 500``."""
    for number in numbers:
        if number is not None:
            text = re.sub(rf"(?<![0-9])0*{number}(?![0-9])", MASK, text)
    return text
