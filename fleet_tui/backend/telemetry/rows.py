"""Rows of lines, agents and the commands agents are given."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from fleet_tui.backend.store import Base, Json, Utc

Serial = BigInteger().with_variant(Integer, "sqlite")
"""64 bits on a server; on SQLite the row id, which already is."""
_SAID = text("once IS NOT NULL")


class StreamRow(Base):
    """A named log and the number of its newest line."""

    __tablename__ = "stream"

    ref: Mapped[str] = mapped_column(String(80), primary_key=True)
    label: Mapped[str] = mapped_column(String(120), default="")
    last_seq: Mapped[int] = mapped_column(Serial, default=0)
    pruned_seq: Mapped[int] = mapped_column(Serial, default=0)
    """Lines up to this number were removed by retention."""


class LineRow(Base):
    """One line. Never changed after it is stored."""

    __tablename__ = "line"
    __table_args__ = (
        UniqueConstraint("stream", "seq"),
        Index("line_by_operation", "operation_id", "id"),
        Index("line_by_time", "time"),
        Index("line_said_once", "once", unique=True, sqlite_where=_SAID, postgresql_where=_SAID),
    )

    id: Mapped[int] = mapped_column(Serial, primary_key=True, autoincrement=True)
    stream: Mapped[str] = mapped_column(ForeignKey("stream.ref"))
    seq: Mapped[int] = mapped_column(Serial)
    time: Mapped[datetime] = mapped_column(Utc)
    source: Mapped[str] = mapped_column(String(20))
    phase: Mapped[str] = mapped_column(String(60))
    level: Mapped[str] = mapped_column(String(8))
    text: Mapped[str] = mapped_column(Text)
    operation_id: Mapped[str | None] = mapped_column(String(40))
    once: Mapped[str | None] = mapped_column(String(64))
    """Names what is said at most once, whoever repeats it: lines of a step that ran again after a crash."""


class AgentRow(Base):
    """What is known of one machine's agent. The machine's id is chosen per provisioning, so this is also its boot record."""

    __tablename__ = "agent"

    machine: Mapped[str] = mapped_column(String(60), primary_key=True)
    ref: Mapped[str] = mapped_column(String(80), index=True)
    """Whose agent it is: ``instance:i-4f2a``."""
    expected_by: Mapped[str] = mapped_column(String(120), default="")
    """Client token of the step that boots it: the same step finds the same one-time token again."""
    token_hash: Mapped[str] = mapped_column(String(64))
    token_sealed: Mapped[str] = mapped_column(Text, default="")
    """The token itself, sealed, until it has been used."""
    document: Mapped[str] = mapped_column(Text)
    """Start-up document, sealed: it may hold secrets."""
    operation_id: Mapped[str | None] = mapped_column(String(40))
    """Operation its lines belong to now; ``None`` between operations."""
    boot: Mapped[str | None] = mapped_column(String(60))
    key_hash: Mapped[str | None] = mapped_column(String(64))
    hello_at: Mapped[datetime | None] = mapped_column(Utc)
    last_seen: Mapped[datetime | None] = mapped_column(Utc)
    acknowledged: Mapped[int] = mapped_column(Serial, default=0)
    """Number of the newest stored line of this boot: what makes a resent batch harmless."""
    earlier: Mapped[dict[str, int]] = mapped_column(Json, default=dict)
    """The same of earlier boots of this machine, whose unsent lines a later one sends."""
    standing: Mapped[int] = mapped_column(Serial, default=0)
    """Number of the newest report on how it stands; a late older one is ignored."""
    phases: Mapped[list[Any]] = mapped_column(Json, default=list)
    health: Mapped[str] = mapped_column(String(20), default="")
    health_detail: Mapped[str] = mapped_column(Text, default="")
    disk_used_bytes: Mapped[int | None] = mapped_column(Serial)
    facts: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    version: Mapped[str] = mapped_column(String(20), default="")
    pid: Mapped[int | None] = mapped_column(Integer)


class CommandRow(Base):
    """Something an agent was told to do. The id is the client token of the step that asked."""

    __tablename__ = "agent_command"

    id: Mapped[str] = mapped_column(String(120), primary_key=True)
    machine: Mapped[str] = mapped_column(ForeignKey("agent.machine", ondelete="CASCADE"), index=True)
    verb: Mapped[str] = mapped_column(String(40))
    arguments: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    created_at: Mapped[datetime] = mapped_column(Utc)
    state: Mapped[str] = mapped_column(String(10), default="given")
    """``given``, ``done``, ``failed`` or ``withdrawn``."""
    detail: Mapped[str] = mapped_column(Text, default="")
    data: Mapped[dict[str, Any] | None] = mapped_column(Json)
