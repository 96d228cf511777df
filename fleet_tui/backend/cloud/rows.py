"""Row of the site's cloud account."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from fleet_tui.backend.store import Base, Utc


class CloudAccountRow(Base):
    """There is one, ``aws``. Its own secret key stays under the site's master key: it is what leads to the cloud's keys."""

    __tablename__ = "cloud_account"

    id: Mapped[str] = mapped_column(String(20), primary_key=True)
    site: Mapped[str] = mapped_column(String(40))
    """Tag of everything the site makes there; never changes."""
    region: Mapped[str] = mapped_column(String(40))
    authentication: Mapped[str] = mapped_column(String(24))
    role_arn: Mapped[str] = mapped_column(String(2048), default="")
    access_key_id: Mapped[str] = mapped_column(String(128), default="")
    secret_key_sealed: Mapped[str] = mapped_column(Text, default="")
    endpoint: Mapped[str] = mapped_column(Text, default="")
    aws_cmk_id: Mapped[str] = mapped_column(String(2048), default="")
    cmk_arn: Mapped[str] = mapped_column(String(2048), default="")
    machine_image: Mapped[str] = mapped_column(String(2048), default="")
    machine_type: Mapped[str] = mapped_column(String(40), default="")
    account: Mapped[str] = mapped_column(String(20), default="")
    identity: Mapped[str] = mapped_column(String(2048), default="")
    tested_at: Mapped[datetime | None] = mapped_column(Utc)
    version: Mapped[int] = mapped_column(Integer, default=1)
