"""A store for tests of which the back end is no concern; those of locks take both."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_tui.backend.store import Store, sqlite_url


@pytest.fixture
def sqlite_store(sqlite_template: Path, tmp_path: Path) -> Iterator[Store]:
    path = tmp_path / "fleet.db"
    shutil.copy(sqlite_template, path)
    found = Store(sqlite_url(path))
    yield found
    found.close()
