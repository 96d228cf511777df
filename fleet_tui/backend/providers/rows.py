"""Rows of what instances have on the fleet's own hosts: images, machines with their addresses, disks, snapshots."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from fleet_tui.backend.store import Base, Utc


class CloudImageRow(Base):
    """A cloud image on the shared storage of a zone's hosts. What is made from it, and data disks beside it, stand in the same folder."""

    __tablename__ = "cloud_image"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), unique=True)
    zone_id: Mapped[str] = mapped_column(ForeignKey("zone.id", ondelete="CASCADE"), index=True)
    path: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Utc)


class OwnMachineRow(Base):
    """A machine of an instance. Its VM has its name; the row is there before the VM, and goes after it."""

    __tablename__ = "own_machine"
    __table_args__ = (UniqueConstraint("network_id", "address"),)

    id: Mapped[str] = mapped_column(String(101), primary_key=True)
    instance_id: Mapped[str] = mapped_column(String(40))
    label: Mapped[str] = mapped_column(String(63))
    token: Mapped[str] = mapped_column(String(120))
    cluster_id: Mapped[str] = mapped_column(ForeignKey("cluster.id"))
    folder: Mapped[str] = mapped_column(Text)
    """Where its seed is, on every host of the cluster."""
    network_id: Mapped[str] = mapped_column(ForeignKey("guest_network.id"))
    address: Mapped[str] = mapped_column(String(45))
    """On that guest network; its own until it is terminated."""
    created_at: Mapped[datetime] = mapped_column(Utc)


class OwnDiskRow(Base):
    """A data disk."""

    __tablename__ = "own_disk"

    id: Mapped[str] = mapped_column(String(101), primary_key=True)
    cluster_id: Mapped[str] = mapped_column(ForeignKey("cluster.id"))
    path: Mapped[str] = mapped_column(Text)
    size_gb: Mapped[int] = mapped_column(Integer)
    token: Mapped[str] = mapped_column(String(120))
    attached_to: Mapped[str | None] = mapped_column(String(101), index=True)
    """A machine; one that is gone has let it go."""
    created_at: Mapped[datetime] = mapped_column(Utc)


class OwnSnapshotRow(Base):
    """A copy of a data disk."""

    __tablename__ = "own_snapshot"

    id: Mapped[str] = mapped_column(String(101), primary_key=True)
    disk_id: Mapped[str] = mapped_column(String(101))
    cluster_id: Mapped[str] = mapped_column(ForeignKey("cluster.id"))
    path: Mapped[str] = mapped_column(Text)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    """What it takes; 0 while it is being made."""
