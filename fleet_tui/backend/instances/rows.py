"""Rows of instances, their registers (templates, networks, images) and snapshots."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, ForeignKey, Index, Integer, String, Text, event, func, inspect
from sqlalchemy.orm import Mapped, mapped_column

from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.store import Base, Json, Utc

_clock = SystemClock()


class TemplateRow(Base):
    """A template. Columns of fields have the fields' names, those of secrets end in ``_sealed`` (see :mod:`template_fields`)."""

    __tablename__ = "instance_template"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    label: Mapped[str] = mapped_column(String(63), unique=True)
    application: Mapped[str] = mapped_column(String(63))
    setup_actions: Mapped[list[Any]] = mapped_column(Json, default=list)
    """Secrets in their parameters are sealed, each for its action."""
    machine_type: Mapped[str] = mapped_column(String(63), default="")
    license_sealed: Mapped[str] = mapped_column(Text, default="")
    ssh_key_pair: Mapped[str] = mapped_column(String(255), default="")
    authorized_keys: Mapped[str] = mapped_column(Text, default="")
    """One a line."""
    startup_profile_arn: Mapped[str] = mapped_column(Text, default="")
    runtime_profile_arn: Mapped[str] = mapped_column(Text, default="")
    restrict_metadata_access: Mapped[bool] = mapped_column(Boolean, default=True)
    api_access_mode: Mapped[str] = mapped_column(String(20), default="none")
    api_key_storage: Mapped[str] = mapped_column(String(20), default="none")
    api_key_id: Mapped[str] = mapped_column(String(128), default="")
    api_key_sealed: Mapped[str] = mapped_column(Text, default="")
    api_secret_id: Mapped[str] = mapped_column(Text, default="")
    stamps: Mapped[dict[str, str]] = mapped_column(Json, default=dict)
    """Of each sealed field: another one with every secret that is entered. Tells whether a secret is the one it was."""
    version: Mapped[int] = mapped_column(Integer, default=1)


class NetworkRow(Base):
    """A virtual network: where instances run and how they are reached. ``provider`` names what runs them (see :mod:`network_fields`)."""

    __tablename__ = "virtual_network"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    label: Mapped[str] = mapped_column(String(63), unique=True)
    provider: Mapped[str] = mapped_column(String(20))
    https_strategy: Mapped[str] = mapped_column(String(20), default="none")
    account: Mapped[str] = mapped_column(String(63), default="")
    region: Mapped[str] = mapped_column(String(40), default="")
    vpc_id: Mapped[str] = mapped_column(String(40), default="")
    subnet_id: Mapped[str] = mapped_column(String(40), default="")
    second_subnet_id: Mapped[str] = mapped_column(String(40), default="")
    security_groups: Mapped[list[str]] = mapped_column(Json, default=lambda: ["auto"])
    zone: Mapped[str] = mapped_column(String(63), default="")
    """Of own hosts, by name."""
    guest_network: Mapped[str] = mapped_column(String(63), default="")
    """Of own hosts, by name."""
    internet_access: Mapped[str] = mapped_column(String(12), default="yes")
    assign_public_ip: Mapped[bool] = mapped_column(Boolean, default=True)
    dns_strategy: Mapped[str] = mapped_column(String(12), default="none")
    private_zone_id: Mapped[str] = mapped_column(String(40), default="")
    public_zone_id: Mapped[str] = mapped_column(String(40), default="")
    http_mode: Mapped[str] = mapped_column(String(12), default="disabled")
    contact_mail: Mapped[str] = mapped_column(String(320), default="")
    acme_directory: Mapped[str] = mapped_column(Text, default="production")
    """``production``, ``staging``, or the URL of an ACME directory."""
    directory_mode: Mapped[str] = mapped_column(String(12), default="none")
    event_server: Mapped[str] = mapped_column(String(63), default="")
    version: Mapped[int] = mapped_column(Integer, default=1)
    checked_at: Mapped[datetime | None] = mapped_column(Utc)
    findings: Mapped[list[Any]] = mapped_column(Json, default=list)
    """What the last check found."""


class ImageRow(Base):
    """A registered application bundle; the file is named by its hash."""

    __tablename__ = "image"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(63))
    version: Mapped[str] = mapped_column(String(40))
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    path: Mapped[str] = mapped_column(Text)
    manifest: Mapped[dict[str, Any]] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(Utc)


class InstanceRow(Base):
    """An instance. ``settings`` is what was saved, ``applied`` what its machine was made with."""

    __tablename__ = "instance"
    __table_args__ = (
        Index("instance_by_state", "state"), Index("instance_by_http_port", "http_port", unique=True),
        Index("instance_by_certificate_end", "certificate_not_after"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    label: Mapped[str] = mapped_column(String(63))
    kind: Mapped[str] = mapped_column(String(20))
    state: Mapped[str] = mapped_column(String(20), default="new")
    came_from: Mapped[str] = mapped_column(String(20), default="", server_default="")
    """State before the operation that runs, which a refusal goes back to that touched nothing."""
    failed_stage: Mapped[str | None] = mapped_column(String(80))
    failure: Mapped[str] = mapped_column(Text, default="")
    health: Mapped[str | None] = mapped_column(String(20))
    health_detail: Mapped[str] = mapped_column(Text, default="")
    template_id: Mapped[str] = mapped_column(ForeignKey("instance_template.id"))
    network_id: Mapped[str] = mapped_column(ForeignKey("virtual_network.id"))
    settings: Mapped[dict[str, Any]] = mapped_column(Json)
    applied: Mapped[dict[str, Any] | None] = mapped_column(Json)
    pending: Mapped[list[str]] = mapped_column(Json, default=list)
    machine: Mapped[str | None] = mapped_column(String(60), index=True)
    host: Mapped[str | None] = mapped_column(String(253))
    port: Mapped[int | None] = mapped_column(Integer, unique=True)
    """Port of this machine its application was given; kept while the instance exists, so its URL stays."""
    http_port: Mapped[int | None] = mapped_column(Integer)
    """Where plain HTTP is answered, when machines share the ports of one; ``None`` is 80."""
    private_ip: Mapped[str | None] = mapped_column(String(45))
    public_ip: Mapped[str | None] = mapped_column(String(45))
    host_name: Mapped[str | None] = mapped_column(String(253))
    url: Mapped[str | None] = mapped_column(Text)
    image: Mapped[str] = mapped_column(String(120), default="")
    disk_id: Mapped[str] = mapped_column(String(40))
    disk_made: Mapped[bool] = mapped_column(Boolean, default=False)
    disk_path: Mapped[str] = mapped_column(Text, default="")
    disk_used_bytes: Mapped[int | None] = mapped_column(BigInteger)
    disk_days: Mapped[list[list[int]]] = mapped_column(Json, default=list, server_default="[]")
    """What was used on the last days: see :mod:`growth`."""
    certificate_not_after: Mapped[datetime | None] = mapped_column(Utc)
    certificate_fingerprint: Mapped[str | None] = mapped_column(String(100))
    version: Mapped[int] = mapped_column(Integer, default=1)
    request_id: Mapped[str | None] = mapped_column(String(80), unique=True)
    created_at: Mapped[datetime] = mapped_column(Utc)
    updated_at: Mapped[datetime] = mapped_column(Utc)


@event.listens_for(InstanceRow, "before_update")
def _note_the_change(_mapper: Any, _connection: Any, row: InstanceRow) -> None:
    """What a person would call a change, whoever makes it: the attention list tells by this how long something has been wrong."""
    told = inspect(row).attrs
    if any(told[name].history.has_changes() for name in ("state", "failure", "health")):
        row.updated_at = _clock.now()


Index("instance_by_label", func.lower(InstanceRow.label), unique=True)
"""Labels are unique whatever their case."""


class SnapshotRow(Base):
    __tablename__ = "disk_snapshot"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    instance_id: Mapped[str] = mapped_column(String(40), index=True)
    """Not a foreign key: snapshots may be kept when the instance is deleted."""
    instance_label: Mapped[str] = mapped_column(String(63))
    disk_id: Mapped[str] = mapped_column(String(40))
    provider: Mapped[str] = mapped_column(String(20))
    region: Mapped[str] = mapped_column(String(40), default="", server_default="")
    """Of a cloud; kept here, for no virtual network may name it any more when it is to be deleted."""
    reason: Mapped[str] = mapped_column(String(200), default="")
    automatic: Mapped[bool] = mapped_column(Boolean, default=False)
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(Utc)
