"""Ids that providers take: they become names of files, folders and VMs."""

from __future__ import annotations

import re

from fleet_tui.backend.errors import InvalidInput, Problem

FORM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,100}\Z")


def checked_id(name: str) -> str:
    """The id itself.

    Raises:
        InvalidInput: it could lead elsewhere.
    """
    if not FORM.match(name):
        raise InvalidInput(f"{name!r} cannot be an id here", problems=[Problem("id", "letters, digits, dash, underscore")])
    return name
