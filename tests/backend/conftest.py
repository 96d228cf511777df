"""An empty store with every table, on both back ends."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_tui.backend.store import Store, sqlite_url
from fleet_tui.backend.store.migrations.tables import every_table
from tests.backend import postgres


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Server]:
    """A PostgreSQL server for this session's tests."""
    with postgres.server() as found:
        yield found


@pytest.fixture(scope="session")
def postgres_database(server: postgres.Server) -> Iterator[str]:
    """URL of the database with every table that the tests of this session use one after the other."""
    url = server.create()
    _fill(url)
    yield url
    server.drop(url)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "fleet.db"
    _fill(sqlite_url(path))
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a fresh database with every table, once for each back end."""
    if request.param == "sqlite":
        path = tmp_path / "fleet.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield sqlite_url(path)
        return
    url: str = request.getfixturevalue("postgres_database")
    server: postgres.Server = request.getfixturevalue("server")
    server.empty(url)
    yield url


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    """A store on :func:`database`."""
    found = Store(database)
    yield found
    found.close()


def _fill(url: str) -> None:
    store = Store(url)
    every_table()
    store.create_all()
    store.close()
