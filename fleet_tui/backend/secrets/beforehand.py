"""Sealing for work that is done in a transaction, where the key is with a service: nobody waits for that while the database is locked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from fleet_tui.backend.errors import InternalError
from fleet_tui.backend.secrets import Sealer

T = TypeVar("T")
_MOST = 8
"""Secrets of one piece of work."""


class _NotYet(Exception):
    """Breaks work off. Says nothing of the secret."""


class Beforehand:
    """A sealer for one piece of work that may be done again from its beginning.

    What is to be sealed for the first time breaks the work off, its transaction with it; then it is sealed, and the work is done anew.
    """

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._sealed: dict[tuple[bytes, str], str] = {}
        self._wanted: tuple[bytes, str] | None = None

    def seal(self, secret: bytes, context: str) -> str:
        found = self._sealed.get((secret, context))
        if found is None:
            self._wanted = (secret, context)
            raise _NotYet
        return found

    def open(self, sealed: str, context: str) -> bytes:
        raise InternalError("what is opened within a transaction would be asked of a service meanwhile")

    def through(self, work: Callable[[], T]) -> T:
        """What the work gives, once it went through with everything sealed. It wants the same each time."""
        for _ in range(_MOST + 1):
            try:
                return work()
            except _NotYet:
                assert self._wanted is not None
                self._sealed[self._wanted] = self._sealer.seal(*self._wanted)
        raise InternalError("a piece of work wants another secret sealed each time")
