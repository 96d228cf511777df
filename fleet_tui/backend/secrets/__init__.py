"""Everything secret is sealed before it is stored. The face only; :mod:`envelope` does it with a key of the site's own, :mod:`kms` with a cloud's."""

from __future__ import annotations

from typing import Any, Protocol

from fleet_tui.backend.records import dataclass

SEALED: dict[str, Any] = {"sealed": True}
"""``info`` of a database column whose texts a :class:`~.kms.Vault` sealed: by this mark they are found when the key changes."""


class Sealer(Protocol):
    """Seals and opens. ``context`` says what a secret belongs to (``instance:i-4f2a:password``): sealed for one, it opens for no other."""

    def seal(self, secret: bytes, context: str) -> str:
        """Text that can stand in any database column."""
        ...

    def open(self, sealed: str, context: str) -> bytes:
        """The secret again. :class:`AuthFailed` if it was changed, or sealed for something else or under another key."""
        ...


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """A key as its key service describes it."""

    id: str
    """Its full name (ARN), the same whatever it was asked for by."""
    usage: str
    spec: str
    state: str
    region: str


class KeyService(Protocol):
    """A service that keeps keys and never gives them away (a KMS). All verbs block, and raise :class:`FleetError` kinds."""

    def describe(self, key: str) -> KeyFacts:
        """``key``: id, full name or alias. ``NotFound`` if there is none."""
        ...

    def encrypt(self, key: str, secret: bytes, context: str) -> bytes:
        """At most :data:`~.kms.DIRECT_LIMIT` bytes."""
        ...

    def decrypt(self, key: str, ciphertext: bytes, context: str) -> bytes: ...

    def re_encrypt(self, key: str, ciphertext: bytes, context: str, new_key: str) -> bytes:
        """The same secret under another key, without its ever leaving the service."""
        ...
