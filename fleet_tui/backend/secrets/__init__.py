"""Everything secret is sealed before it is stored. The face only; :mod:`envelope` does it."""

from __future__ import annotations

from typing import Protocol


class Sealer(Protocol):
    """Seals and opens. ``context`` says what a secret belongs to (``instance:i-4f2a:password``): sealed for one, it opens for no other."""

    def seal(self, secret: bytes, context: str) -> str:
        """Text that can stand in any database column."""
        ...

    def open(self, sealed: str, context: str) -> bytes:
        """The secret again. :class:`AuthFailed` if it was changed, or sealed for something else or under another key."""
        ...
