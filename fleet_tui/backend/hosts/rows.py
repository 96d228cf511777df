"""Rows of the hierarchy: zone > pod > cluster > host."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Float, ForeignKey, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from fleet_tui.backend.store import Base, Utc


class ZoneRow(Base):
    __tablename__ = "zone"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), unique=True)


class PodRow(Base):
    __tablename__ = "pod"
    __table_args__ = (UniqueConstraint("zone_id", "name"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(63))
    zone_id: Mapped[str] = mapped_column(ForeignKey("zone.id"))


class ClusterRow(Base):
    __tablename__ = "cluster"
    __table_args__ = (UniqueConstraint("pod_id", "name"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(63))
    pod_id: Mapped[str] = mapped_column(ForeignKey("pod.id"))
    hypervisor: Mapped[str] = mapped_column(String(20))


class HostRow(Base):
    """One physical machine and its last measured figures."""

    __tablename__ = "host"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(253), unique=True)
    cluster_id: Mapped[str] = mapped_column(ForeignKey("cluster.id"))
    address: Mapped[str] = mapped_column(String(253))
    resource_state: Mapped[str] = mapped_column(String(40), default="Enabled")
    connection_state: Mapped[str] = mapped_column(String(40), default="Up")
    cores: Mapped[int] = mapped_column(Integer, default=0)
    memory_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    memory_used_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    disk_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    disk_used_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    load: Mapped[float] = mapped_column(Float, default=0.0)
    measured_at: Mapped[datetime | None] = mapped_column(Utc)
