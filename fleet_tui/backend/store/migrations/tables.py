"""Every table of the product, wherever its slice is. For drafts and tests; a daemon has imported its slices."""

from __future__ import annotations

import importlib
from pathlib import Path

from sqlalchemy import MetaData

from fleet_tui.backend.store import Base

_BACKEND = "fleet_tui.backend"


def every_table() -> MetaData:
    """The metadata after all ``rows`` modules were imported, found by name: the store knows no slice above it."""
    for directory in importlib.import_module(_BACKEND).__path__:
        for rows in sorted(Path(directory).glob("*/rows.py")):
            importlib.import_module(f"{_BACKEND}.{rows.parent.name}.rows")
    return Base.metadata
