"""Migrations make exactly the tables that the rows describe, and look before they touch anything."""

from __future__ import annotations

import sqlite3
import stat
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from fleet_tui.backend.errors import NoCapacity, WrongState
from fleet_tui.backend.store import Store, schema, sqlite_url
from fleet_tui.backend.store.migrations.tables import every_table


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A database without tables."""
    if request.param == "sqlite":
        store = Store(sqlite_url(tmp_path / "fleet.db"))
        yield store
        store.close()
        return
    server = request.getfixturevalue("server")
    url = server.create()
    store = Store(url)
    yield store
    store.close()
    server.drop(url)


def test_migrations_and_rows_agree(empty: Store, tmp_path: Path) -> None:
    schema.prepare(empty, tmp_path / "backups")
    with empty.engine.connect() as connection, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SQLite cannot reflect indexes over expressions, and says so
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, every_table()) == [], "write a migration: see store/migrations/draft.py"


def test_preparing_again_does_nothing(empty: Store, tmp_path: Path) -> None:
    first = schema.prepare(empty, tmp_path / "backups")
    assert schema.prepare(empty, tmp_path / "backups") == first
    assert not (tmp_path / "backups").exists()


def test_several_daemons_prepare_at_once(empty: Store, tmp_path: Path) -> None:
    results: list[object] = []

    def prepare() -> None:
        store = Store(empty.url)
        try:
            results.append(schema.prepare(store, tmp_path / "backups"))
        except Exception as error:
            results.append(error)
        store.close()

    threads = [threading.Thread(target=prepare) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(results) == 3 and len(set(map(str, results))) == 1, results


def test_a_newer_schema_is_refused_and_both_are_named(empty: Store, tmp_path: Path) -> None:
    head = schema.prepare(empty, tmp_path / "backups")
    with empty.write() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(WrongState, match="9999") as refused:
        schema.prepare(empty, tmp_path / "backups")
    assert refused.value.details == {"database": "9999", "program": head}
    assert not (tmp_path / "backups").exists()


def test_tables_of_unknown_making_are_refused(empty: Store, tmp_path: Path) -> None:
    every_table()
    empty.create_all()
    with pytest.raises(WrongState, match="no schema version"):
        schema.prepare(empty, tmp_path / "backups")


def test_an_existing_sqlite_database_is_copied_before_it_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(sqlite_url(tmp_path / "fleet.db"))
    head = schema.prepare(store, tmp_path / "backups")
    with store.write() as tx:
        tx.execute(text("CREATE TABLE keepsake (word TEXT)"))
        tx.execute(text("INSERT INTO keepsake VALUES ('kept')"))
    migrations = tmp_path / "migrations"
    _with_one_more(migrations, head)
    monkeypatch.setattr(schema, "MIGRATIONS", migrations)
    (tmp_path / "backups").mkdir()
    (tmp_path / "backups" / f"fleet-20260101T000000Z-schema-{head}.part").write_bytes(b"of a daemon that was killed")
    assert schema.prepare(store, tmp_path / "backups") == "next"
    store.close()
    (copy,) = (tmp_path / "backups").iterdir()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with sqlite3.connect(copy) as old:
        assert old.execute("SELECT word FROM keepsake").fetchall() == [("kept",)]
        assert old.execute("SELECT version_num FROM alembic_version").fetchall() == [(head,)]


def test_a_copy_that_has_no_room_is_said_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(sqlite_url(tmp_path / "fleet.db"))
    head = schema.prepare(store, tmp_path / "backups")
    _with_one_more(tmp_path / "migrations", head)
    monkeypatch.setattr(schema, "MIGRATIONS", tmp_path / "migrations")

    def backup(new: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    half = SimpleNamespace(backup=backup, close=lambda: None)
    monkeypatch.setattr(schema, "sqlite3", SimpleNamespace(connect=lambda place: half, Error=sqlite3.Error))
    with pytest.raises(NoCapacity, match="disk is full"):
        schema.prepare(store, tmp_path / "backups")
    assert not list((tmp_path / "backups").iterdir())
    with store.engine.connect() as connection:
        assert schema.revision(connection) == head
    store.close()


def test_a_migration_that_fails_changes_nothing(empty: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = schema.prepare(empty, tmp_path / "backups")
    _with_one_more(tmp_path / "migrations", head, "op.execute('CREATE TABLE half (a INTEGER)')\n    raise RuntimeError('no')")
    monkeypatch.setattr(schema, "MIGRATIONS", tmp_path / "migrations")
    with pytest.raises(RuntimeError):
        schema.prepare(empty, tmp_path / "backups")
    with empty.engine.connect() as connection:
        assert schema.revision(connection) == head
        assert not connection.dialect.has_table(connection, "half")


def _with_one_more(target: Path, head: str, act: str = "pass") -> None:
    versions = target / "versions"
    versions.mkdir(parents=True)
    for name in ("env.py", "script.py.mako"):
        (target / name).write_bytes((schema.MIGRATIONS / name).read_bytes())
    for old in (schema.MIGRATIONS / "versions").glob("[0-9]*.py"):
        (versions / old.name).write_bytes(old.read_bytes())
    (versions / "next_.py").write_text(
        f"from alembic import op\nrevision = 'next'\ndown_revision = {head!r}\n\n\ndef upgrade():\n    {act}\n"
    )
