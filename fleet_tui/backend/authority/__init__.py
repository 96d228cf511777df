"""The fleet's own certificate authority: made once for a site, and what it issues for the daemon's doors (spec 12.2)."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime

from fleet_tui.backend.records import dataclass


@dataclass(frozen=True, slots=True)
class Rules:
    """Settings of the authority, with the defaults of spec 12.2."""

    key_bits: int = 2048
    """Of issued certificates; the authority's own key has twice as many."""
    valid_days: int = 365
    ca_valid_days: int = 30 * 365
    renew_days: int = 15
    """Before its end a certificate of ours is issued anew."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with the key that belongs to it, both PEM. The key is never stored."""

    certificate_pem: str
    key_pem: str = field(repr=False)
    not_after: datetime
    names: tuple[str, ...]
    serial: str
    """Hexadecimal."""
