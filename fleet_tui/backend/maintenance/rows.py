"""Rows of maintenance sessions and of the VMs they move."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from fleet_tui.backend.store import Base, Json, Utc


class SessionRow(Base):
    """One maintenance of one host. At most one is open per host: ``open_host_id`` is unique and emptied when it is closed."""

    __tablename__ = "maintenance"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    host_id: Mapped[str] = mapped_column(ForeignKey("host.id", ondelete="CASCADE"), index=True)
    open_host_id: Mapped[str | None] = mapped_column(String(40), unique=True)
    step: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str] = mapped_column(Text)
    ticket: Mapped[str] = mapped_column(String(100), default="")
    owner: Mapped[str] = mapped_column(String(64))
    allow_stop: Mapped[bool] = mapped_column(Boolean, default=False)
    started_at: Mapped[datetime] = mapped_column(Utc)
    planned_end: Mapped[datetime | None] = mapped_column(Utc)
    overrun_told: Mapped[bool] = mapped_column(Boolean, default=False)
    closed_at: Mapped[datetime | None] = mapped_column(Utc)
    checklist: Mapped[list[dict[str, Any]]] = mapped_column(Json, default=list)
    notes: Mapped[list[dict[str, Any]]] = mapped_column(Json, default=list)
    announced_at: Mapped[datetime | None] = mapped_column(Utc)
    announced_to: Mapped[list[str]] = mapped_column(Json, default=list)
    operation_id: Mapped[str | None] = mapped_column(String(40))
    own_mode: Mapped[str] = mapped_column(String(8), default="")
    """XenServer and vSphere: whether the hypervisor's own maintenance mode was on (``on``, ``off``) when it was last asked."""
    version: Mapped[int] = mapped_column(Integer, default=1)


class EvacueeRow(Base):
    """One VM that was on the host when its maintenance began, or came to be found there."""

    __tablename__ = "evacuee"
    __table_args__ = (Index("evacuee_by_session", "session_id", "position"),)

    session_id: Mapped[str] = mapped_column(ForeignKey("maintenance.id", ondelete="CASCADE"), primary_key=True)
    vm_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    position: Mapped[int] = mapped_column(Integer)
    name: Mapped[str] = mapped_column(String(63))
    state: Mapped[str] = mapped_column(String(12))
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    """Attempts begun. Within one operation a number is never used twice: it names the attempt."""
    granted: Mapped[int] = mapped_column(Integer, default=0)
    """Attempts that were begun when a person last had it tried anew: the allowance counts from there."""
    next_try_at: Mapped[datetime | None] = mapped_column(Utc)
    destination_id: Mapped[str | None] = mapped_column(String(40))
    error: Mapped[str] = mapped_column(Text, default="")
    hint: Mapped[str] = mapped_column(Text, default="")
    elapsed_ms: Mapped[int | None] = mapped_column(Integer)
    downtime_ms: Mapped[int | None] = mapped_column(Integer)
    back: Mapped[str] = mapped_column(Text, default="")


class AnnouncementRow(Base):
    """One mail of one announcement. Written before it is handed over and again after, so that none is sent twice whatever dies in between."""

    __tablename__ = "announcement"

    operation_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    recipient: Mapped[str] = mapped_column(String(254), primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("maintenance.id", ondelete="CASCADE"), index=True)
    state: Mapped[str] = mapped_column(String(12))
    """``sending``, ``sent`` or ``refused``."""
    error: Mapped[str] = mapped_column(Text, default="")
    time: Mapped[datetime] = mapped_column(Utc)
