"""The feed's table."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, Integer, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from fleet_tui.backend.store import Base, Utc


class EventRow(Base):
    """One event. ``seq`` is never used twice, also not after the newest rows were pruned."""

    __tablename__ = "event"
    __table_args__ = (
        Index("ix_event_audible", "seq", sqlite_where=text("text <> ''"), postgresql_where=text("text <> ''")),
        Index("ix_event_ref", "ref", "seq"),
        {"sqlite_autoincrement": True},
    )

    seq: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    time: Mapped[datetime] = mapped_column(Utc)
    level: Mapped[str] = mapped_column(String(8))
    type: Mapped[str] = mapped_column(String(80))
    ref: Mapped[str] = mapped_column(String(200))
    operation_id: Mapped[str | None] = mapped_column(String(40))
    user: Mapped[str | None] = mapped_column(String(200))
    text: Mapped[str] = mapped_column(Text)
