"""What is kept in a transaction is sealed before it, because the key may be with a service far away."""

from __future__ import annotations

import traceback

import pytest

from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.errors import InternalError, Unreachable
from fleet_tui.backend.identity.rows import UserRow
from fleet_tui.backend.secrets.beforehand import Beforehand
from fleet_tui.backend.secrets.envelope import Envelope
from fleet_tui.backend.store import Store


class Far:
    """A sealer that is asked from somewhere else. It writes itself, which the store refuses to whoever is writing already."""

    def __init__(self, store: Store) -> None:
        self.store, self.own, self.asked = store, Envelope(b"k" * 32), 0
        self.is_away = False

    def seal(self, secret: bytes, context: str) -> str:
        self.asked += 1
        if self.is_away:
            raise Unreachable("the key service does not answer")
        with self.store.write():
            return self.own.seal(secret, context)

    def open(self, sealed: str, context: str) -> bytes:
        return self.own.open(sealed, context)


def keep(store: Store, sealer: Beforehand) -> None:
    with store.write() as tx:
        for name, secret in (("ada", b"her PRIVATE KEY"), ("bob", b"his")):
            tx.add(UserRow(name=name, role="admin", display_name=sealer.seal(secret, name), created_at=SystemClock().now()))
            tx.flush()


def test_each_is_sealed_once_and_while_nothing_is_locked(store: Store) -> None:
    far = Far(store)
    sealer = Beforehand(far)
    sealer.through(lambda: keep(store, sealer))
    with store.read() as tx:
        found = {row.name: far.own.open(row.display_name, row.name) for row in tx.query(UserRow)}
    assert found == {"ada": b"her PRIVATE KEY", "bob": b"his"} and far.asked == 2


def test_a_service_that_is_away_leaves_nothing_behind(store: Store) -> None:
    far = Far(store)
    far.is_away = True
    sealer = Beforehand(far)
    with pytest.raises(Unreachable) as problem:
        sealer.through(lambda: keep(store, sealer))
    assert "PRIVATE KEY" not in "".join(traceback.format_exception(problem.value))
    with store.read() as tx:
        assert tx.query(UserRow).count() == 0


def test_work_that_wants_something_else_each_time_ends(store: Store) -> None:
    sealer, wanted = Beforehand(Far(store)), iter(range(100))
    with pytest.raises(InternalError):
        sealer.through(lambda: sealer.seal(str(next(wanted)).encode(), "context"))
