"""Operations, their steps, leases, the daemons that execute them, and schedules."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, Double, ForeignKey, Index, Integer, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from fleet_tui.backend.store import Base, Json, Utc

_ACTIVE = text("state IN ('queued', 'waiting', 'running', 'cancelling')")
_EXCLUSIVE = text("NOT shared")


class OperationRow(Base):
    """One operation. The partial index is ENG-4: one active operation of a kind on a target."""

    __tablename__ = "operation"
    __table_args__ = (
        Index("uq_operation_active", "kind", "target_ref", unique=True, sqlite_where=_ACTIVE, postgresql_where=_ACTIVE),
        Index("ix_operation_rank", "rank", sqlite_where=_ACTIVE, postgresql_where=_ACTIVE),
        Index("ix_operation_submitted_at", "submitted_at", "id"),
        Index("ix_operation_target_ref", "target_ref", "submitted_at"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    kind: Mapped[str] = mapped_column(String(80))
    title: Mapped[str] = mapped_column(String(200))
    target: Mapped[str] = mapped_column(String(200))
    target_ref: Mapped[str] = mapped_column(String(200))
    request_id: Mapped[str | None] = mapped_column(String(200), unique=True)
    request: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    """Fields of the request, for a retry."""
    parameters: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    leases: Mapped[list[Any]] = mapped_column(Json, default=list)
    """``[level, name, shared]`` each: what it must hold while it runs."""
    state: Mapped[str] = mapped_column(String(16))
    priority: Mapped[int] = mapped_column(Integer, default=0)
    rank: Mapped[float] = mapped_column(Double)
    """Order of starting, smallest first: submit time in seconds plus a minute for each point of priority.
    All waiting operations gain a point a minute alike, so ageing needs no updates."""
    user: Mapped[str] = mapped_column(String(200))
    executor: Mapped[str | None] = mapped_column(String(200))
    """The daemon that owns it; only that one may write, and only under its ``epoch``."""
    epoch: Mapped[int] = mapped_column(Integer, default=0)
    submitted_at: Mapped[datetime] = mapped_column(Utc)
    waiting_since: Mapped[datetime | None] = mapped_column(Utc)
    started_at: Mapped[datetime | None] = mapped_column(Utc)
    ended_at: Mapped[datetime | None] = mapped_column(Utc)
    error_code: Mapped[str | None] = mapped_column(String(40))
    error_message: Mapped[str | None] = mapped_column(Text)
    error_hint: Mapped[str | None] = mapped_column(Text)
    failed_step: Mapped[str | None] = mapped_column(String(80))
    rollback: Mapped[str] = mapped_column(String(8), default="none")
    waiting_for: Mapped[list[str]] = mapped_column(Json, default=list)
    cancel_requested_at: Mapped[datetime | None] = mapped_column(Utc)
    cancel_requested_by: Mapped[str | None] = mapped_column(String(200))
    retry_of: Mapped[str | None] = mapped_column(String(40))
    result: Mapped[dict[str, Any] | None] = mapped_column(Json)

    steps: Mapped[list[StepRow]] = relationship(order_by="StepRow.position", cascade="all, delete-orphan")


class StepRow(Base):
    """One step of one operation, made when the operation is submitted."""

    __tablename__ = "operation_step"

    operation_id: Mapped[str] = mapped_column(ForeignKey("operation.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    """From 1."""
    name: Mapped[str] = mapped_column(String(80))
    state: Mapped[str] = mapped_column(String(16))
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    failures: Mapped[int] = mapped_column(Integer, default=0)
    """Attempts that failed; a crash makes a new attempt but is not a failure."""
    undo_failed: Mapped[bool] = mapped_column(Boolean, default=False)
    started_at: Mapped[datetime | None] = mapped_column(Utc)
    ended_at: Mapped[datetime | None] = mapped_column(Utc)
    error_code: Mapped[str | None] = mapped_column(String(40))
    error_message: Mapped[str | None] = mapped_column(Text)
    error_hint: Mapped[str | None] = mapped_column(Text)
    progress: Mapped[str] = mapped_column(String(200), default="")
    result: Mapped[dict[str, Any] | None] = mapped_column(Json)


class LeaseRow(Base):
    """A lease that is held now. Gone with its operation's last transaction."""

    __tablename__ = "lease"
    __table_args__ = (
        Index("uq_lease_exclusive", "level", "name", unique=True, sqlite_where=_EXCLUSIVE, postgresql_where=_EXCLUSIVE),
    )

    level: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    operation_id: Mapped[str] = mapped_column(ForeignKey("operation.id", ondelete="CASCADE"), primary_key=True)
    shared: Mapped[bool] = mapped_column(Boolean)


class WorkerRow(Base):
    """A daemon that executes operations. ``seen`` is by the database's clock."""

    __tablename__ = "worker"

    executor_id: Mapped[str] = mapped_column(String(200), primary_key=True)
    seen: Mapped[datetime] = mapped_column(Utc)
    pid: Mapped[int] = mapped_column(Integer)
    host: Mapped[str] = mapped_column(String(200))
    version: Mapped[str] = mapped_column(String(40))
    started: Mapped[datetime] = mapped_column(Utc)


class ScheduleRow(Base):
    """Something submitted by the clock."""

    __tablename__ = "schedule"

    name: Mapped[str] = mapped_column(String(80), primary_key=True)
    kind: Mapped[str] = mapped_column(String(80))
    target_ref: Mapped[str] = mapped_column(String(200))
    request: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    user: Mapped[str] = mapped_column(String(200))
    every_s: Mapped[int] = mapped_column(Integer)
    next_at: Mapped[datetime] = mapped_column(Utc)
    last_operation: Mapped[str | None] = mapped_column(String(40))
    enabled: Mapped[bool] = mapped_column(Boolean, default=True)
