"""A store that costs little: a copy of an empty one, in memory where the machine has a file system there."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleet_tui.backend.store import Store, new_id, sqlite_url
from fleet_tui.backend.store.migrations.tables import every_table
from tests.backend.maintenance.fleet import Fleet
from tests.backend.maintenance.stage import StagedStore

_MEMORY = Path("/dev/shm")


def new_store(directory: str, template: Path) -> StagedStore:
    path = Path(directory) / f"{new_id('f')}.db"
    shutil.copy(template, path)
    return StagedStore(sqlite_url(path))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("maintenance") / "empty.db"
    store = Store(sqlite_url(path))
    every_table()
    store.create_all()
    store.close()
    return path


@pytest.fixture
def make_fleet(template: Path) -> Iterator[Callable[..., Fleet]]:
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as directory:
        stores: list[StagedStore] = []

        def make(**values: object) -> Fleet:
            stores.append(new_store(directory, template))
            return Fleet(stores[-1], **values)  # type: ignore[arg-type]

        yield make
        for store in stores:
            store.close()
