"""Rows of networks. An ID is taken by a row whose key is the ID itself, so that the database cannot hold two takers."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from fleet_tui.backend.networks.states import PhysicalState, Scope
from fleet_tui.backend.store import Base, Json, Utc


class PhysicalNetworkRow(Base):
    """One fabric. Whoever changes anything of its IDs locks this row first (VLN-2)."""

    __tablename__ = "physical_network"
    __table_args__ = (UniqueConstraint("zone_id", "name"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(63))
    zone_id: Mapped[str] = mapped_column(ForeignKey("zone.id"))
    isolation: Mapped[str] = mapped_column(String(8))
    state: Mapped[str] = mapped_column(String(12), default=PhysicalState.DISABLED.value)
    nic_labels: Mapped[dict[str, str]] = mapped_column(Json, default=dict)
    checked_at: Mapped[datetime | None] = mapped_column(Utc)
    version: Mapped[int] = mapped_column(Integer, default=1)


class VlanRangeRow(Base):
    __tablename__ = "vlan_range"

    physical_id: Mapped[str] = mapped_column(ForeignKey("physical_network.id", ondelete="CASCADE"), primary_key=True)
    first: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    last: Mapped[int] = mapped_column(BigInteger)
    scope: Mapped[str] = mapped_column(String(20), default=Scope.GUEST_POOL.value)


class DedicationRow(Base):
    __tablename__ = "vlan_dedication"
    __table_args__ = (UniqueConstraint("physical_id", "first"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    physical_id: Mapped[str] = mapped_column(ForeignKey("physical_network.id", ondelete="CASCADE"))
    first: Mapped[int] = mapped_column(BigInteger)
    last: Mapped[int] = mapped_column(BigInteger)
    owner_kind: Mapped[str] = mapped_column(String(12))
    owner: Mapped[str] = mapped_column(String(100))


class VlanRow(Base):
    """An ID that is taken. ``space`` is where IDs are unique: the physical network; for VXLAN the zone."""

    __tablename__ = "vlan"
    __table_args__ = (Index("vlan_by_physical", "physical_id", "number"),)

    space: Mapped[str] = mapped_column(String(60), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    physical_id: Mapped[str] = mapped_column(ForeignKey("physical_network.id"))
    network_id: Mapped[str | None] = mapped_column(ForeignKey("guest_network.id", ondelete="SET NULL"), unique=True)
    """``None``: its network is gone (orphan)."""
    specified: Mapped[bool] = mapped_column(Boolean, default=False)
    owner_kind: Mapped[str] = mapped_column(String(12), default="")
    owner: Mapped[str] = mapped_column(String(100), default="")
    reservation: Mapped[str] = mapped_column(String(40))
    since: Mapped[datetime] = mapped_column(Utc)


class NetworkOfferingRow(Base):
    __tablename__ = "network_offering"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), unique=True)
    guest_type: Mapped[str] = mapped_column(String(12))
    specify_vlan: Mapped[bool] = mapped_column(Boolean, default=False)
    persistent: Mapped[bool] = mapped_column(Boolean, default=False)


class NetworkRow(Base):
    __tablename__ = "guest_network"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), unique=True)
    offering_id: Mapped[str] = mapped_column(ForeignKey("network_offering.id"))
    physical_id: Mapped[str] = mapped_column(ForeignKey("physical_network.id"))
    state: Mapped[str] = mapped_column(String(14))
    cidr: Mapped[str] = mapped_column(String(50), default="")
    gateway: Mapped[str] = mapped_column(String(45), default="")
    owner_kind: Mapped[str] = mapped_column(String(12), default="")
    owner: Mapped[str] = mapped_column(String(100), default="")
    reservation: Mapped[str] = mapped_column(String(40), default="")
    """Of the VLAN it holds or is taking: made before it is taken, so that a crash neither loses nor doubles one."""
    unused_since: Mapped[datetime | None] = mapped_column(Utc)
    """When garbage collection first saw no running VM on it."""
    error: Mapped[str] = mapped_column(Text, default="")
    version: Mapped[int] = mapped_column(Integer, default=1)
    created_at: Mapped[datetime] = mapped_column(Utc)
    updated_at: Mapped[datetime] = mapped_column(Utc)


class NicRow(Base):
    """A VM's card. ``vm_id`` names a row of a slice above this one; it goes with that row."""

    __tablename__ = "nic"
    __table_args__ = (UniqueConstraint("vm_id", "device"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    vm_id: Mapped[str] = mapped_column(ForeignKey("vm.id", ondelete="CASCADE"))
    network_id: Mapped[str] = mapped_column(ForeignKey("guest_network.id"), index=True)
    mac: Mapped[str] = mapped_column(String(17), unique=True)
    device: Mapped[int] = mapped_column(Integer)


class InterfaceRow(Base):
    """A segment on a host, as it was last seen or made there."""

    __tablename__ = "host_interface"

    host_id: Mapped[str] = mapped_column(ForeignKey("host.id", ondelete="CASCADE"), primary_key=True)
    physical_id: Mapped[str] = mapped_column(ForeignKey("physical_network.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    technique: Mapped[str] = mapped_column(String(12))
    device: Mapped[str] = mapped_column(String(40), default="")
    bridge: Mapped[str] = mapped_column(String(40), default="")
    present: Mapped[bool] = mapped_column(Boolean, default=True)
    problem: Mapped[str] = mapped_column(String(16), default="")
    detail: Mapped[str] = mapped_column(String(200), default="")
    seen_at: Mapped[datetime] = mapped_column(Utc)
