"""The register of virtual networks: where instances run, how they are reached, and the HTTPS strategy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import NotFound
from fleet_tui.backend.instances.images import known_names
from fleet_tui.backend.instances.network_fields import FIELDS
from fleet_tui.backend.instances.profiles import NetworkFinding, VirtualNetworkRecord
from fleet_tui.backend.instances.rows import InstanceRow, NetworkRow
from fleet_tui.backend.providers import NetworkPlace
from fleet_tui.backend.store import new_id

_COLUMNS: Mapping[str, str] = {"fleet_directory.mode": "directory_mode", "fleet_directory.event_server": "event_server"}
"""Fields whose column is named otherwise."""


def list_networks(tx: Session, limit: int = 1000) -> tuple[VirtualNetworkRecord, ...]:
    linked = dict(tx.execute(select(InstanceRow.network_id, func.count()).group_by(InstanceRow.network_id)).all())
    rows = tx.scalars(select(NetworkRow).order_by(NetworkRow.label).limit(limit))
    return tuple(_record(row, linked.get(row.id, 0)) for row in rows)


def find_network(tx: Session, label: str) -> NetworkRow:
    row = tx.scalar(select(NetworkRow).where((NetworkRow.label == label) | (NetworkRow.id == label)))
    if row is None:
        raise NotFound(f"there is no virtual network {label!r}", hint=known_names("networks", tx.scalars(select(NetworkRow.label)).all()))
    return row


def ensure_network(tx: Session, label: str, provider: str, https_strategy: str) -> NetworkRow:
    row = tx.scalar(select(NetworkRow).where(NetworkRow.label == label))
    if row is None:
        row = NetworkRow(id=new_id("n"), label=label, provider=provider, https_strategy=https_strategy)
        tx.add(row)
        tx.flush()
    return row


def values_of(row: NetworkRow) -> dict[str, Any]:
    """By field."""
    return {field.name: getattr(row, _COLUMNS.get(field.name, field.name)) for field in FIELDS}


def network_place(row: NetworkRow) -> NetworkPlace:
    """What it names, for the provider that runs its instances."""
    groups = () if row.security_groups == ["auto"] else tuple(row.security_groups)
    return NetworkPlace(
        account=row.account, region=row.region, vpc_id=row.vpc_id, subnet_id=row.subnet_id, second_subnet_id=row.second_subnet_id,
        security_groups=groups, private_zone_id=row.private_zone_id, public_zone_id=row.public_zone_id, zone=row.zone,
        guest_network=row.guest_network,
    )


def place_of(row: NetworkRow) -> str:
    """Where it is, in a few words."""
    if row.zone or row.guest_network:
        return f"{row.zone}/{row.guest_network}"
    return " ".join(part for part in (row.region, "/".join(word for word in (row.vpc_id, row.subnet_id) if word)) if part)


def _record(row: NetworkRow, instances: int) -> VirtualNetworkRecord:
    return VirtualNetworkRecord(
        id=row.id, label=row.label, provider=row.provider, https_strategy=row.https_strategy, instances=instances, version=row.version,
        values=values_of(row), place=place_of(row), checked_at=row.checked_at, findings=tuple(NetworkFinding(**found) for found in row.findings),
    )
