"""Rows of users, sessions and the audit chain."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, ForeignKey, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from fleet_tui.backend.store import Base, Utc


class UserRow(Base):
    """A person. ``user`` is a reserved word of SQL, so the table has a longer name."""

    __tablename__ = "fleet_user"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    role: Mapped[str] = mapped_column(String(20))
    uid: Mapped[int | None] = mapped_column(BigInteger, unique=True)
    display_name: Mapped[str] = mapped_column(String(200), default="")
    state: Mapped[str] = mapped_column(String(20), default="active")
    created_at: Mapped[datetime] = mapped_column(Utc)


class SessionRow(Base):
    """A console that said hello. Kept here so that a read-only one stays so when the daemon is restarted."""

    __tablename__ = "session"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    user: Mapped[str] = mapped_column(ForeignKey("fleet_user.name", ondelete="CASCADE"))
    uid: Mapped[int] = mapped_column(BigInteger)
    read_only: Mapped[bool] = mapped_column(Boolean)
    terminal: Mapped[str] = mapped_column(String(200))
    client: Mapped[str] = mapped_column(String(200))
    opened_at: Mapped[datetime] = mapped_column(Utc, index=True)


class AuditRow(Base):
    """One link of the chain. Only ever inserted, and removed from the old end by retention."""

    __tablename__ = "audit"

    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    time: Mapped[datetime] = mapped_column(Utc, index=True)
    user: Mapped[str] = mapped_column(String(64), index=True)
    role: Mapped[str] = mapped_column(String(20))
    session: Mapped[str] = mapped_column(String(64))
    source: Mapped[str] = mapped_column(String(200))
    action: Mapped[str] = mapped_column(String(64))
    object: Mapped[str] = mapped_column(String(300))
    parameters: Mapped[str] = mapped_column(Text)
    """Canonical JSON as text: what is hashed must come back byte for byte, which no JSON column promises."""
    decision: Mapped[str] = mapped_column(String(300))
    operation_id: Mapped[str | None] = mapped_column(String(64))
    result: Mapped[str] = mapped_column(Text)
    completes: Mapped[int | None] = mapped_column(BigInteger)
    hash: Mapped[str] = mapped_column(String(64))


class AuditChainRow(Base):
    """Both ends of the chain; the one row is also the lock under which it grows."""

    __tablename__ = "audit_chain"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    anchor_seq: Mapped[int] = mapped_column(BigInteger)
    """Last record that retention removed, 0 for none."""
    anchor_hash: Mapped[str] = mapped_column(String(64))
    head_seq: Mapped[int] = mapped_column(BigInteger)
    head_hash: Mapped[str] = mapped_column(String(64))
