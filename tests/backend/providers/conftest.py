"""A store for what does not depend on the back end: SQLite, copied from a template."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_tui.backend.store import Store, sqlite_url


@pytest.fixture
def light_store(sqlite_template: Path, tmp_path: Path) -> Iterator[Store]:
    path = tmp_path / "light.db"
    shutil.copy(sqlite_template, path)
    found = Store(sqlite_url(path))
    yield found
    found.close()
