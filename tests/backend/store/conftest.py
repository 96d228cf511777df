"""Databases of earlier releases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import text

from fleet_tui.backend.store import Store, schema, sqlite_url


@pytest.fixture(params=["sqlite", "postgresql"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A database as an earlier release left it: at the module's ``REVISION``, with what its statements ``SITE`` wrote."""
    server = None if request.param == "sqlite" else request.getfixturevalue("server")
    url = sqlite_url(tmp_path / "fleet.db") if server is None else server.create()
    store = Store(url)
    config = schema.configuration()
    with store.engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, request.module.REVISION)
        for statement in request.module.SITE:
            connection.execute(text(statement))
        connection.commit()
    yield store
    store.close()
    if server is not None:
        server.drop(url)
