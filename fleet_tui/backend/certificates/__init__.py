"""Certificates: what one says, what is wrong with it, what an instance serves, and the board of all that end. The face only.

:mod:`material` judges what a person gives, :mod:`handshake` asks a running instance, :mod:`acme` has certificates issued.
"""

from __future__ import annotations

from dataclasses import field
from datetime import datetime, timedelta

from fleet_tui.backend.errors import Problem
from fleet_tui.backend.records import dataclass

SOON = timedelta(days=30)
"""A certificate that ends earlier is warned of (spec 5.3), and renewed where it can be (SSL-3)."""


@dataclass(frozen=True, slots=True)
class ChainLink:
    """One certificate of a chain after the leaf."""

    subject: str
    issuer: str
    not_after: datetime
    fingerprint: str


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What a certificate says of itself. Names are cleaned; they are foreign text all the same."""

    subject: str
    issuer: str
    sans: tuple[str, ...]
    """DNS names and IP addresses."""
    fingerprint: str
    """SHA-256, as browsers show it: ``3F:9A:…``."""
    not_before: datetime
    not_after: datetime
    key: str
    """``EC P-256`` or ``RSA 2048``."""
    signature: str
    """Hash of the signature: ``sha256``; empty where it has none of its own (Ed25519)."""
    is_self_signed: bool
    chain: tuple[ChainLink, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the checks of spec 5.3 found. ``refusals`` forbid, ``warnings`` do not; each names its field."""

    refusals: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    facts: CertificateFacts | None = None
    """``None`` where no certificate could be read."""
    certificate_pem: str = ""
    """The certificates alone, in their final form; empty when refused."""
    private_key_pem: str = field(default="", repr=False)
    """The key alone, PKCS#8; empty when refused or not given. A secret."""


@dataclass(frozen=True, slots=True)
class Served:
    """What somebody who connects is shown. ``problem`` says why nothing was; everything else is empty then."""

    at: datetime
    problem: str = ""
    facts: CertificateFacts | None = None


@dataclass(frozen=True, slots=True)
class BoardEntry:
    """One certificate of the fleet and when it ends."""

    owner: str
    """What a person calls the one that serves it."""
    ref: str
    """``instance:i-4f2a``."""
    kind: str
    """``self_signed``, ``per_instance``, ``letsencrypt``; ``authority`` and ``agent_door`` are the fleet's own."""
    subject: str
    issuer: str
    sans: tuple[str, ...]
    fingerprint: str
    not_after: datetime
    days_left: int
    """Whole days; negative when it has ended."""
    state: str
    """``expired``, ``critical`` (up to 7 days), ``soon`` (up to 14), ``due`` (up to 30) or ``well``."""
    renewal: str
    """When and how it is renewed, in a phrase; empty where nothing renews it by itself."""
    untrusted: bool
    """Of a staging directory: no browser trusts it."""
    mismatch: bool
    """What is served differs from what is on record."""
    renew_at: datetime | None = None
    """Next attempt; ``None`` where nothing renews it by itself."""
    problem: str = ""
    """Why the last attempt to renew it failed; empty after a good one."""


# What agents say. They are known by their key, as for their reports.


@dataclass(frozen=True, slots=True)
class AskMaterial:
    """A machine asks for the private key that its start-up document names."""

    machine: str
    boot: str
    key: str = field(repr=False)
    key_id: str


@dataclass(frozen=True, slots=True)
class Material:
    """One of the two."""

    private_key_pem: str = field(default="", repr=False)
    sealed: str = ""
    """As a cloud's key service sealed it: the machine opens it with its own role, and nobody else has it in clear (SSL-2)."""


@dataclass(frozen=True, slots=True)
class AskOrder:
    """A machine asks for a certificate for its domains, or how its order stands; may be repeated at any point."""

    machine: str
    boot: str
    key: str = field(repr=False)
    csr_pem: str
    ready: bool = False
    """The proofs can be read now."""
    account_key_pem: str = field(default="", repr=False)
    """The account's key as it lies on the data disk; empty where there is none."""


@dataclass(frozen=True, slots=True)
class OrderStanding:
    """How an order stands."""

    state: str
    """``challenge``, ``wait``, ``issued`` or ``refused``."""
    challenges: tuple[tuple[str, str], ...] = ()
    """(token, what is to be answered) of each."""
    account_key_pem: str = field(default="", repr=False)
    """To be kept on the data disk."""
    certificate_pem: str = ""
    problem: str = ""
    pause_s: float = 1.0


@dataclass(frozen=True, slots=True)
class ListBoard:
    """Every certificate, the one that ends first at the top. ``within_days`` > 0 limits to those that end so soon."""

    within_days: int = 0
    limit: int = 1000
