"""A database of each earlier release, with a row in every table and every reference set, comes to this one with all of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import JSON, Boolean, Column, DateTime, Float, Integer, LargeBinary, MetaData, Table, select, text

from fleet_tui.backend.errors import WrongState
from fleet_tui.backend.store import Store, schema, sqlite_url

pytestmark = pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
RELEASES = sorted(script.revision for script in ScriptDirectory.from_config(schema.configuration()).walk_revisions())[:-1]


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    server = None if request.param == "sqlite" else request.getfixturevalue("server")
    url = sqlite_url(tmp_path / "fleet.db") if server is None else server.create()
    store = Store(url)
    yield store
    store.close()
    if server is not None:
        server.drop(url)


def fill(store: Store, release: str) -> dict[str, dict[str, Any]]:
    """One row in each table of that release; what each holds."""
    config = schema.configuration()
    with store.engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, release)
        connection.commit()
        tables = MetaData()
        tables.reflect(connection)
        rows: dict[str, dict[str, Any]] = {}
        for table in tables.sorted_tables:
            if table.name != "alembic_version":
                rows[table.name] = row = {column.name: value(column, rows) for column in table.columns}
                connection.execute(table.insert().values(**row))
        connection.commit()
    return held(store)


def value(column: Column[Any], rows: dict[str, dict[str, Any]]) -> Any:
    for key in column.foreign_keys:
        parent = key.column.table.name
        return rows[parent][key.column.name] if parent in rows else None  # one of its own kind
    kinds = {Boolean: True, Integer: 1, Float: 1.0, DateTime: datetime(2026, 11, 20, tzinfo=UTC), JSON: [], LargeBinary: b"x"}
    found = next((kind for kind in kinds if isinstance(column.type, kind)), None)
    return kinds[found] if found is not None else column.name[: getattr(column.type, "length", None) or 40]


def held(store: Store) -> dict[str, dict[str, Any]]:
    tables = MetaData()
    with store.engine.connect() as connection:
        tables.reflect(connection)
        return {name: dict(one(connection, table)) for name, table in tables.tables.items() if name != "alembic_version"}


def one(connection: Any, table: Table) -> dict[str, Any]:
    rows = connection.execute(select(table)).mappings().all()
    assert len(rows) <= 1, f"{table.name} has {len(rows)} rows"
    return dict(rows[0]) if rows else {}


@pytest.mark.parametrize("release", RELEASES)
def test_nothing_is_lost_on_the_way(empty: Store, tmp_path: Path, release: str) -> None:
    before = fill(empty, release)
    schema.prepare(empty, tmp_path / "backups")
    after = held(empty)
    for table, row in before.items():
        assert row, f"the test has put nothing into {table}"
        assert {name: after[table].get(name) for name in row} == row, table
    if empty.is_sqlite:
        assert len(list((tmp_path / "backups").iterdir())) == 1
        with empty.engine.connect() as connection:
            assert connection.execute(text("PRAGMA foreign_keys")).scalar_one() == 1, "from here on they count again"
            assert not connection.execute(text("PRAGMA foreign_key_check")).all()


def test_a_migration_that_fails_changes_nothing_and_leaves_no_copy(tmp_path: Path) -> None:
    """Started again and again by its supervisor, it would fill the disk with them."""
    store = Store(sqlite_url(tmp_path / "fleet.db"))
    before = fill(store, RELEASES[-1])
    with store.engine.connect() as connection:
        connection.connection.execute("PRAGMA foreign_keys=OFF")  # type: ignore[attr-defined]
        connection.execute(text("DELETE FROM instance_template"))
        connection.commit()
    with pytest.raises(WrongState, match="from instance to instance_template"):
        schema.prepare(store, tmp_path / "backups")
    with store.engine.connect() as connection:
        assert schema.revision(connection) == RELEASES[-1]
    assert held(store) == {**before, "instance_template": {}}
    assert not list((tmp_path / "backups").iterdir())
    store.close()
