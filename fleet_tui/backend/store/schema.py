"""Brings a database to this program's schema, and refuses one that is newer.

Before an SQLite database is changed, a copy is made beside it. A PostgreSQL server's backups are its
administrator's; the log says so when a migration is about to run.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.engine import make_url

from fleet_tui.backend.errors import NoCapacity, WrongState
from fleet_tui.backend.store import Store

MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 0x736368656D61  # "schema"
_log = logging.getLogger(__name__)


def prepare(store: Store, backups: Path) -> str:
    """Migrate to the newest schema this program knows; returns its revision. Nothing happens when it is there.

    Args:
        backups: directory for the copy of an SQLite database, made when needed.

    Raises:
        WrongState: the database was written by a newer program, or not by this one at all.
    """
    config = configuration()
    with _alone(store) as connection:
        config.attributes["connection"] = connection
        scripts = ScriptDirectory.from_config(config)
        head, here = str(scripts.get_current_head()), revision(connection)
        if here == head:
            return head
        _check(connection, scripts, here, head)
        copy = _keep_copy(store, backups, here) if here is not None else None
        _log.info("the database goes from schema %s to %s", here or "empty", head)
        try:
            command.upgrade(config, "head")
            _check_references(connection, store)
            connection.commit()
        except BaseException:
            if copy is not None:  # nothing was changed; a daemon that is started again and again would fill the disk with copies
                connection.rollback()
                copy.unlink(missing_ok=True)
            raise
    return head


def configuration() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def revision(connection: Connection) -> str | None:
    """The schema a database has; ``None`` for an empty one."""
    heads = MigrationContext.configure(connection).get_current_heads()
    return heads[0] if heads else None


@contextmanager
def _alone(store: Store) -> Iterator[Connection]:
    """One migrating daemon at a time: the writer's lock on SQLite, an advisory one on PostgreSQL."""
    if store.is_sqlite:
        with store.engine.execution_options(fleet_begin="BEGIN IMMEDIATE").connect() as connection:
            # To change a table SQLite makes it anew and drops the old one, which would take with it, or be refused for, every row that
            # refers to it (https://www.sqlite.org/lang_altertable.html, section 7). Inside a transaction this cannot be said.
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.execute("PRAGMA foreign_keys=OFF")
            try:
                yield connection
            finally:
                connection.rollback()
                driver.execute("PRAGMA foreign_keys=ON")
        return
    # The guard is in no transaction while it waits: the server ends one that says nothing for long.
    with store.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as guard, store.engine.connect() as connection:
        guard.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
        try:
            yield connection
        finally:
            guard.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})


def _check(connection: Connection, scripts: ScriptDirectory, here: str | None, head: str) -> None:
    if here is None:
        if inspect(connection).has_table("operation"):
            raise WrongState(
                "The database has tables of ours but no schema version.",
                hint="It was not made by a released program; move it away and start again.",
            )
        return
    known = {script.revision for script in scripts.walk_revisions()}
    if here not in known:
        raise WrongState(
            f"The database has schema {here}, which this program does not know; it knows up to {head}.",
            hint="A newer program wrote it: start that one, or restore the copy made before its migration.",
            database=here, program=head,
        )


def _check_references(connection: Connection, store: Store) -> None:
    """What SQLite was told not to look at meanwhile."""
    if store.is_sqlite and (broken := connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()):
        where = ", ".join(sorted({f"{row[0]} to {row[2]}" for row in broken}))
        raise WrongState(
            f"The database cannot go to this program's schema: {len(broken)} references would lead nowhere (from {where}).",
            hint="Nothing was changed: go on with the program that wrote it, and report this.",
        )


def _remove_parts(backups: Path) -> None:
    for left in backups.glob("fleet-*.part*"):  # SQLite keeps a journal beside it
        left.unlink(missing_ok=True)


def _keep_copy(store: Store, backups: Path, here: str) -> Path | None:
    if not store.is_sqlite:
        _log.info("a server's backups are its administrator's: none is made before this migration")
        return None
    backups.mkdir(mode=0o700, parents=True, exist_ok=True)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    target = backups / f"fleet-{stamp}-schema-{here}.db"
    partial = target.with_suffix(".part")
    _remove_parts(backups)  # of a daemon that was killed here; we are alone
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with closing(sqlite3.connect(str(make_url(store.url).database))) as old, closing(sqlite3.connect(partial)) as new:
            old.backup(new)
        with open(partial, "rb") as written:
            os.fsync(written.fileno())
        os.replace(partial, target)
    except sqlite3.Error as problem:
        raise NoCapacity(
            f"The database could not be copied to {backups} before it goes to this program's schema: {problem}.",
            hint="Nothing was changed: free as much space there as the database has, then start fleetd again.",
        ) from problem
    finally:
        _remove_parts(backups)
    _log.info("the database was copied to %s", target)
    return target
