"""One small site for all tests of a file: ending an engine takes seconds. Each test has instances and faults of its own names."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_tui.backend.store import Store, sqlite_url
from tests.backend.providers.yard import Yard, opened


@pytest.fixture(scope="module")
def light_store(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """On SQLite alone: nothing here depends on the back end."""
    path = tmp_path_factory.mktemp("light") / "fleet.db"
    shutil.copy(sqlite_template, path)
    found = Store(sqlite_url(path))
    yield found
    found.close()


@pytest.fixture(scope="module")
def yard(light_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with opened(light_store, tmp_path_factory.mktemp("yard")) as found:
        yield found
