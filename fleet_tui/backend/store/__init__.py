"""The database: declarative base, column types, and transactions. SQLite by default, PostgreSQL when grown.

Everything is synchronous and used from threads. Rows and constraints live in each slice's ``rows.py``.
"""

from __future__ import annotations

import secrets
import sqlite3
import stat
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    Connection,
    DateTime,
    Dialect,
    Engine,
    MetaData,
    create_engine,
    event,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.types import TypeDecorator

__all__ = [
    "Base", "Json", "Store", "Utc", "database_lost", "database_now", "end_transactions_of", "in_turn", "new_id", "session_name", "sqlite_url",
]

_ALPHABET = "0123456789bcdfghjkmnpqrstvwxyz"
_BUSY_MS = 30_000
_STUCK_S = 10.0
"""Shorter than a call may last, so that a change asked of another daemon meanwhile is still made."""
_SQLITE_PASSES = frozenset({
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN,
})  # fmt: skip
_POSTGRES_PASSES = ("08", "25006", "25P03", "40", "53", "55P03", "57", "58")
"""SQLSTATEs or their classes: connection, read-only, ended for its silence, serialisation, resources, lock, operator, system."""

Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""Column type for JSON: text on SQLite, JSONB on PostgreSQL; ``None`` is SQL NULL.

Assign a new value to change it: changes inside one are not seen."""


class Base(DeclarativeBase):
    """Every row class of the product. Constraint names are fixed, so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Utc(TypeDecorator[datetime]):
    """An aware datetime, kept to the millisecond, always UTC when read back on either back end."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without a zone cannot be stored: {value!r}")
        value = value.astimezone(UTC)
        value = value.replace(microsecond=value.microsecond // 1000 * 1000)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def new_id(prefix: str, length: int = 8) -> str:
    """A short random id that a person can read aloud: ``i-4f2a71kq``. No vowels, so no words."""
    return f"{prefix}-{''.join(secrets.choice(_ALPHABET) for _ in range(length))}"


def sqlite_url(path: Path) -> str:
    return f"sqlite:///{path}"


class Store:
    """One database and the transactions on it.

    Args:
        url: ``sqlite:////absolute/path`` or ``postgresql+psycopg://user@host/name``. An SQLite file is made
            with mode 0600 and WAL when absent; its directory must exist.
        name: who this is, to other daemons of the same database: see :func:`end_transactions_of`.
        stuck_s: after so long without a word inside a transaction PostgreSQL ends it, so that a daemon that was frozen there
            (or whose machine vanished without a farewell) holds no lock that the others need.
    """

    def __init__(self, url: str, *, name: str = "", stuck_s: float = _STUCK_S) -> None:
        self.url = url
        self.is_sqlite = make_url(url).get_backend_name() == "sqlite"
        self.on_commit: list[Callable[[Session], None]] = []
        """Called after each committed write, outside the transaction; must be quick and must not write."""
        self._one_writer = threading.Lock()
        self._writing = threading.local()
        self.engine = _sqlite_engine(url) if self.is_sqlite else _postgres_engine(url, name, stuck_s)
        if self.is_sqlite:
            self._writer: Engine = self.engine.execution_options(fleet_begin="BEGIN IMMEDIATE")
            self._reader: Engine = self.engine
        else:
            self._writer = self.engine
            self._reader = self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A consistent view; nothing done in it is kept."""
        with Session(self._reader, expire_on_commit=False) as tx:
            yield tx

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction: committed when the block ends, rolled back when it raises.

        Keep it short and act on nothing outside: on SQLite every other writer waits for it. Not re-entrant.
        """
        if getattr(self._writing, "now", False):
            raise RuntimeError("a write transaction was begun inside another one of the same thread")
        self._writing.now = True
        try:
            with self._turn(), Session(self._writer, expire_on_commit=False) as tx:
                if self.is_sqlite:
                    tx.connection()
                yield tx
                tx.commit()
                hooks = tuple(self.on_commit)
                for hook in hooks:
                    hook(tx)
        finally:
            self._writing.now = False

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """On SQLite writers of this process queue here: fair and immediate, where the file lock only polls."""
        if not self.is_sqlite:
            yield
            return
        with self._one_writer:
            yield

    def create_all(self) -> None:
        """Make every table known so far, without migrations. For tests and drafts."""
        Base.metadata.create_all(self.engine)

    def close(self) -> None:
        """Give up every connection. The store can be used again afterwards, as if new."""
        self.engine.dispose()


def database_now(tx: Session) -> datetime:
    """The database's own clock: the only one that several daemons share."""
    if tx.get_bind().dialect.name == "sqlite":
        text = tx.execute(select(func.strftime("%Y-%m-%d %H:%M:%f", "now"))).scalar_one()
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    found: datetime = tx.execute(select(func.clock_timestamp())).scalar_one()
    return found.astimezone(UTC)


def database_lost(error: BaseException) -> bool:
    """Whether the database cannot work now: it went away, is full, locked or read-only. Not our mistake, and it may pass."""
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated or error.statement is None:
        return True
    if isinstance(error.orig, sqlite3.Error):
        return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in _SQLITE_PASSES
    return str(getattr(error.orig, "sqlstate", None) or "").startswith(_POSTGRES_PASSES)


def database_damaged(error: DBAPIError) -> bool:
    """Whether what SQLite found in its file is no database, or not a whole one."""
    return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def in_turn(tx: Session, key: int) -> None:
    """From here to its end this transaction is the only one of its ``key`` among all daemons. SQLite has one writer anyway."""
    if tx.get_bind().dialect.name == "postgresql":
        tx.execute(select(func.pg_advisory_xact_lock(key)))


def session_name(name: str) -> str:
    """What the database calls the connections of that daemon."""
    return f"fleetd {name}"[:63]


def end_transactions_of(tx: Session, names: Collection[str]) -> int:
    """Cut the connections on which daemons of these names are inside a transaction: they are given up, and what they lock is needed.

    Gives how many. A daemon that lives on after all makes new ones, and finds nothing of the transaction done.
    """
    if not names or tx.get_bind().dialect.name != "postgresql":
        return 0
    cut = text(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = ANY(:names) AND xact_start IS NOT NULL"
    )
    return int(tx.execute(cut, {"names": [session_name(name) for name in names]}).scalar_one())


def _sqlite_engine(url: str) -> Engine:
    file = make_url(url).database
    if not file or file == ":memory:":
        raise ValueError(f"the database must be a file, not {url!r}: several threads use it")
    path = Path(file)
    path.touch(mode=0o600)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        path.chmod(0o600)
    engine = create_engine(url, pool_size=16, max_overflow=112, pool_timeout=60)

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, below; the driver's own guess is too late
        for pragma in (f"busy_timeout={_BUSY_MS}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("fleet_begin", "BEGIN"))

    return engine


def _postgres_engine(url: str, name: str, stuck_s: float) -> Engine:
    named = {"application_name": session_name(name)} if name else {}
    engine = create_engine(url, pool_size=8, max_overflow=24, pool_timeout=60, pool_pre_ping=True, connect_args=named)
    # Several rows go as one statement, not through the driver's pipeline, inside which PostgreSQL's clock of silence stands still.
    engine.dialect.use_insertmanyvalues_wo_returning = True

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.execute(f"SET idle_in_transaction_session_timeout = {round(stuck_s * 1000)}")
        connection.commit()

    return engine
