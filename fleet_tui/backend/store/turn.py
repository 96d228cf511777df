"""Being the one among several daemons that does something, for as long as one lives."""

from __future__ import annotations

import threading

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from fleet_tui.backend.store import Store


class Turn:
    """On PostgreSQL a lock held by an open connection: it goes to another daemon when this one dies. On SQLite there is one daemon."""

    def __init__(self, store: Store, key: int) -> None:
        self._store, self._key = store, key
        self._connection: Connection | None = None
        self._lock = threading.Lock()

    def held(self) -> bool:
        """Whether it is ours now; takes it when it is free."""
        if self._store.is_sqlite:
            return True
        with self._lock:
            if self._connection is not None:
                try:
                    self._connection.execute(text("SELECT 1"))
                    return True
                except DBAPIError:
                    self._let_go()
            return self._take()

    def close(self) -> None:
        with self._lock:
            self._let_go()

    def _take(self) -> bool:
        connection = self._store.engine.execution_options(isolation_level="AUTOCOMMIT").connect()
        try:
            if connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": self._key}).scalar():
                self._connection = connection
                return True
        except DBAPIError:
            connection.invalidate()
            raise
        connection.close()
        return False

    def _let_go(self) -> None:
        """Invalidated, not returned: a pooled connection would keep the lock."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None
