"""The authority's row: there is at most one."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from fleet_tui.backend.store import Base, Utc


class AuthorityRow(Base):
    __tablename__ = "authority"

    id: Mapped[str] = mapped_column(String(20), primary_key=True)
    """``root``."""
    certificate_pem: Mapped[str] = mapped_column(Text)
    key_sealed: Mapped[str] = mapped_column(Text)
    """The private key, PKCS #8, sealed under the site's master key."""
    created_at: Mapped[datetime] = mapped_column(Utc)
