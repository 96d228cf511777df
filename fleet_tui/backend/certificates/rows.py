"""Rows of certificates in use, of keys entered by hand, and of accounts with ACME directories."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Boolean, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from fleet_tui.backend.secrets import SEALED
from fleet_tui.backend.store import Base, Utc


class CertificateRow(Base):
    """What one object serves with: as its agent told it, as a handshake saw it, and when it is renewed."""

    __tablename__ = "certificate"

    ref: Mapped[str] = mapped_column(String(80), primary_key=True)
    """``instance:i-4f2a``; not a foreign key, for objects of any kind have certificates."""
    kind: Mapped[str] = mapped_column(String(20), default="")
    """The strategy it comes from."""
    pem: Mapped[str] = mapped_column(Text, default="")
    """Leaf and chain as the agent set them up; empty until it has."""
    not_after: Mapped[datetime | None] = mapped_column(Utc)
    untrusted: Mapped[bool] = mapped_column(Boolean, default=False)
    served_at: Mapped[datetime | None] = mapped_column(Utc, index=True)
    """When it was last looked at."""
    served_pem: Mapped[str] = mapped_column(Text, default="")
    served_problem: Mapped[str] = mapped_column(Text, default="")
    mismatch: Mapped[bool] = mapped_column(Boolean, default=False, index=True)
    renew_at: Mapped[datetime | None] = mapped_column(Utc, index=True)
    """Next attempt; ``None`` where nothing renews it."""
    renewal_problem: Mapped[str] = mapped_column(Text, default="")
    """Why the last attempt failed; empty after a good one."""
    retry_at: Mapped[datetime | None] = mapped_column(Utc)
    """Until then the directory wants no requests (rate limit)."""
    order_url: Mapped[str] = mapped_column(Text, default="")
    """An order that is not through yet, and for which request."""
    order_for: Mapped[str] = mapped_column(String(64), default="")


class CertificateKeyRow(Base):
    """A private key entered by a person, sealed. Named by its public half, so that a certificate finds its own."""

    __tablename__ = "certificate_key"

    ref: Mapped[str] = mapped_column(String(80), primary_key=True)
    key_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    sealed: Mapped[str] = mapped_column(Text, info=SEALED)
    created_at: Mapped[datetime] = mapped_column(Utc)


class AcmeAccountRow(Base):
    """An account with a directory, one for each virtual network (SSL-3). A copy of its key lies on the data disks of its instances."""

    __tablename__ = "acme_account"

    network_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    directory: Mapped[str] = mapped_column(String(500), primary_key=True)
    key_sealed: Mapped[str] = mapped_column(Text)
    uri: Mapped[str] = mapped_column(Text, default="")
    """Empty until the directory knows it."""
    mail: Mapped[str] = mapped_column(String(320), default="")
    created_at: Mapped[datetime] = mapped_column(Utc)
