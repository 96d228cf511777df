"""Rows of VMs: sizes, machines, and their moves."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from fleet_tui.backend.store import Base, Json, Utc


class OfferingRow(Base):
    __tablename__ = "offering"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), unique=True)
    cores: Mapped[int] = mapped_column(Integer)
    mhz: Mapped[int] = mapped_column(Integer)
    memory_mib: Mapped[int] = mapped_column(Integer)
    limit_cpu: Mapped[bool] = mapped_column(Boolean, default=False)
    ha: Mapped[bool] = mapped_column(Boolean, default=False)
    tags: Mapped[list[str]] = mapped_column(Json, default=list)
    system_kind: Mapped[str] = mapped_column(String(20), default="")


class VmRow(Base):
    """One VM.

    Its room is taken on ``host_id`` while its state is one of ``states.ON_HOST``, on ``destination_id`` too while it moves, and stays
    reserved on ``last_host_id`` for a while after it stopped. Those three columns are all there is to capacity: it is
    counted from them under the host's row lock, so it cannot drift.
    """

    __tablename__ = "vm"
    __table_args__ = (Index("vm_by_host", "host_id", "state"), Index("vm_by_destination", "destination_id"))

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    guest_id: Mapped[str] = mapped_column(String(36), unique=True)
    """The UUID it has on its hypervisor."""
    name: Mapped[str] = mapped_column(String(63), unique=True)
    kind: Mapped[str] = mapped_column(String(20), default="guest")
    cluster_id: Mapped[str] = mapped_column(ForeignKey("cluster.id"), index=True)
    offering_id: Mapped[str] = mapped_column(ForeignKey("offering.id"))
    state: Mapped[str] = mapped_column(String(20))
    host_id: Mapped[str | None] = mapped_column(ForeignKey("host.id"))
    destination_id: Mapped[str | None] = mapped_column(ForeignKey("host.id"))
    last_host_id: Mapped[str | None] = mapped_column(ForeignKey("host.id"))
    stopped_at: Mapped[datetime | None] = mapped_column(Utc)
    cores: Mapped[int] = mapped_column(Integer)
    mhz: Mapped[int] = mapped_column(Integer)
    memory_mib: Mapped[int] = mapped_column(Integer)
    cpu_hundredths: Mapped[int] = mapped_column(Integer, default=100)
    """CPU ratio of its cluster when it was started (spec 9.3)."""
    ram_hundredths: Mapped[int] = mapped_column(Integer, default=100)
    boot: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    """``kernel``, ``initrd``, ``cmdline``."""
    disks: Mapped[list[dict[str, Any]]] = mapped_column(Json, default=list)
    tags: Mapped[list[str]] = mapped_column(Json, default=list)
    exclusion_tags: Mapped[list[str]] = mapped_column(Json, default=list)
    owners: Mapped[list[str]] = mapped_column(Json, default=list)
    account: Mapped[str] = mapped_column(String(100), default="")
    ips: Mapped[list[str]] = mapped_column(Json, default=list)
    destroy_protected: Mapped[bool] = mapped_column(Boolean, default=True)
    ha: Mapped[bool] = mapped_column(Boolean, default=False)
    has_device: Mapped[bool] = mapped_column(Boolean, default=False)
    has_local_disk: Mapped[bool] = mapped_column(Boolean, default=False)
    has_balloon: Mapped[bool | None] = mapped_column(Boolean)
    error: Mapped[str] = mapped_column(Text, default="")
    version: Mapped[int] = mapped_column(Integer, default=1)
    created_at: Mapped[datetime] = mapped_column(Utc)
    updated_at: Mapped[datetime] = mapped_column(Utc)


class MoveRow(Base):
    """One attempt to move a VM from host to host. Written before the effect, so that a crash leaves a trace to follow."""

    __tablename__ = "move"
    __table_args__ = (Index("move_by_vm", "vm_id", "started_at"), Index("move_by_operation", "operation_id"))

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    vm_id: Mapped[str] = mapped_column(ForeignKey("vm.id", ondelete="CASCADE"))
    source_id: Mapped[str] = mapped_column(ForeignKey("host.id", ondelete="CASCADE"))
    destination_id: Mapped[str] = mapped_column(ForeignKey("host.id", ondelete="CASCADE"))
    phase: Mapped[str] = mapped_column(String(12))
    percent: Mapped[int] = mapped_column(Integer, default=0)
    detail: Mapped[str] = mapped_column(String(120), default="")
    attempt: Mapped[int] = mapped_column(Integer, default=1)
    outcome: Mapped[str] = mapped_column(String(12), default="")
    error: Mapped[str] = mapped_column(Text, default="")
    downtime_ms: Mapped[int | None] = mapped_column(Integer)
    elapsed_ms: Mapped[int | None] = mapped_column(Integer)
    operation_id: Mapped[str | None] = mapped_column(String(40))
    started_at: Mapped[datetime] = mapped_column(Utc)
    ended_at: Mapped[datetime | None] = mapped_column(Utc)
