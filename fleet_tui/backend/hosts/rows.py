"""Rows of the hierarchy: zone > pod > cluster > host, and the ledger of patches."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, Float, ForeignKey, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from fleet_tui.backend.hosts.states import Allocation, ManagedState
from fleet_tui.backend.store import Base, Json, Utc


class ZoneRow(Base):
    __tablename__ = "zone"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), unique=True)
    allocation: Mapped[str] = mapped_column(String(20), default=Allocation.DISABLED.value)
    network_type: Mapped[str] = mapped_column(String(20), default="advanced")
    dns: Mapped[list[str]] = mapped_column(Json, default=list)
    guest_cidr: Mapped[str] = mapped_column(String(50), default="")


class PodRow(Base):
    __tablename__ = "pod"
    __table_args__ = (UniqueConstraint("zone_id", "name"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(63))
    zone_id: Mapped[str] = mapped_column(ForeignKey("zone.id"))
    allocation: Mapped[str] = mapped_column(String(20), default=Allocation.DISABLED.value)
    gateway: Mapped[str] = mapped_column(String(45), default="")
    netmask: Mapped[str] = mapped_column(String(45), default="")
    start_ip: Mapped[str] = mapped_column(String(45), default="")
    end_ip: Mapped[str] = mapped_column(String(45), default="")


class ClusterRow(Base):
    """Hosts of one kind that move VMs among each other and share one password. Ratios are kept in hundredths, so that sums are exact."""

    __tablename__ = "cluster"
    __table_args__ = (UniqueConstraint("pod_id", "name"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(63))
    pod_id: Mapped[str] = mapped_column(ForeignKey("pod.id"))
    hypervisor: Mapped[str] = mapped_column(String(20))
    arch: Mapped[str] = mapped_column(String(20), default="x86_64")
    allocation: Mapped[str] = mapped_column(String(20), default=Allocation.DISABLED.value)
    managed: Mapped[str] = mapped_column(String(24), default=ManagedState.MANAGED.value)
    cpu_hundredths: Mapped[int] = mapped_column(Integer, default=100)
    ram_hundredths: Mapped[int] = mapped_column(Integer, default=100)
    ratio_is_own: Mapped[bool] = mapped_column(Boolean, default=False)
    recalculated_by: Mapped[str | None] = mapped_column(String(40))
    """Operation that recalculates its capacity; new deployments wait for it (CAP-3)."""
    dedicated_account: Mapped[str] = mapped_column(String(100), default="")
    password_sealed: Mapped[str] = mapped_column(Text, default="")
    mismatch: Mapped[dict[str, str]] = mapped_column(Json, default=dict)
    """Hosts whose password is not the stored one, and why; empty when all agree."""


class HostRow(Base):
    """One physical machine: who may use it, how to reach it, what it said of itself, and its last measured figures."""

    __tablename__ = "host"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(253), unique=True)
    cluster_id: Mapped[str] = mapped_column(ForeignKey("cluster.id"), index=True)
    address: Mapped[str] = mapped_column(String(253))
    # The administrator's will
    resource_state: Mapped[str] = mapped_column(String(40), default="Enabled")
    state_since: Mapped[datetime | None] = mapped_column(Utc)
    came_from: Mapped[str] = mapped_column(String(40), default="Enabled")
    """Resource state its maintenance began in: where a cancel leads back to."""
    error: Mapped[str] = mapped_column(Text, default="")
    # The link
    connection_state: Mapped[str] = mapped_column(String(40), default="up")
    reason: Mapped[str] = mapped_column(String(40), default="")
    connection_since: Mapped[datetime | None] = mapped_column(Utc)
    expected_off_until: Mapped[datetime | None] = mapped_column(Utc)
    """A power-off that is planned: until then a link that breaks is no alarm."""
    health: Mapped[str] = mapped_column(String(20), default="")
    ssh_user: Mapped[str] = mapped_column(String(64), default="")
    ssh_port: Mapped[int] = mapped_column(Integer, default=22)
    key_sealed: Mapped[str] = mapped_column(Text, default="")
    password_sealed: Mapped[str] = mapped_column(Text, default="")
    host_key: Mapped[str] = mapped_column(Text, default="")
    """The key it must show, stored while it was added and never replaced by itself (DRV-3)."""
    accepted_key: Mapped[str] = mapped_column(String(80), default="")
    """Fingerprint that a person accepted for it, before the key itself was seen."""
    # What it said of itself
    hypervisor_version: Mapped[str] = mapped_column(String(60), default="")
    arch: Mapped[str] = mapped_column(String(20), default="")
    serial: Mapped[str] = mapped_column(String(120), default="")
    uuid: Mapped[str] = mapped_column(String(60), default="")
    patch_level: Mapped[str] = mapped_column(String(120), default="")
    is_accelerated: Mapped[bool] = mapped_column(Boolean, default=True)
    is_secured: Mapped[bool] = mapped_column(Boolean, default=False)
    is_master: Mapped[bool] = mapped_column(Boolean, default=False)
    facts: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    mhz: Mapped[int] = mapped_column(Integer, default=0)
    # Of it
    tags: Mapped[list[str]] = mapped_column(Json, default=list)
    location_note: Mapped[str] = mapped_column(Text, default="")
    version: Mapped[int] = mapped_column(Integer, default=1)
    # Figures
    cores: Mapped[int] = mapped_column(Integer, default=0)
    memory_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    memory_used_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    disk_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    disk_used_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    load: Mapped[float] = mapped_column(Float, default=0.0)
    measured_at: Mapped[datetime | None] = mapped_column(Utc)


class PatchRow(Base):
    """A line of the ledger: what a hypervisor of a version should have."""

    __tablename__ = "patch"
    __table_args__ = (UniqueConstraint("hypervisor", "hypervisor_version", "patch"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    hypervisor: Mapped[str] = mapped_column(String(20))
    hypervisor_version: Mapped[str] = mapped_column(String(60))
    patch: Mapped[str] = mapped_column(String(120))
    released: Mapped[str] = mapped_column(String(10), default="")
    severity: Mapped[str] = mapped_column(String(20), default="normal")
    note: Mapped[str] = mapped_column(Text, default="")
    superseded_by: Mapped[str] = mapped_column(String(120), default="")
    imported_at: Mapped[datetime] = mapped_column(Utc)
