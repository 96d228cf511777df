"""What a provider is told to make: settings, template and virtual network of an instance, in a provider's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.instances.links import NETWORK_COPY, TEMPLATE_COPY, coming_up
from fleet_tui.backend.instances.network_fields import CLOUD_PROVIDER
from fleet_tui.backend.instances.rows import InstanceRow, NetworkRow, SnapshotRow
from fleet_tui.backend.instances.serving import answers_http
from fleet_tui.backend.instances.virtual_networks import find_network, placement_of, values_of
from fleet_tui.backend.operations.overview import active_by_target
from fleet_tui.backend.providers import DiskSpec, MachineSpec
from fleet_tui.backend.store import Store

HTTP = 80


def disk_spec(tx: Session, row: InstanceRow) -> DiskSpec:
    settings: Mapping[str, Any] = row.settings
    return DiskSpec(
        placement=placement_of(values_of(find_network(tx, settings["virtual_network"]))), kind=settings.get("data_disk.type", ""),
        iops=settings.get("data_disk.iops") or None, encryption=settings.get("data_disk.encryption", "default_key"),
        encryption_key=settings.get("data_disk.encryption_key", ""), tags=_tags(settings), instance_id=row.id, label=row.label,
    )


def machine_spec(tx: Session, row: InstanceRow, machine: str, token: str) -> MachineSpec:
    """``machine`` is on the row already; asked again for it, the same is told, whatever was saved meanwhile."""
    settings = coming_up(tx, row)
    network, template = settings[NETWORK_COPY], settings[TEMPLATE_COPY]
    ports = (row.port or 0, HTTP if answers_http(network["https_strategy"], network["http_mode"]) else 0)
    return MachineSpec(
        id=machine, instance_id=row.id, label=row.label, token=token, machine_type=settings.get("machine_type") or template["machine_type"],
        root_disk_gb=settings.get("root_disk.size_gb", 50), placement=placement_of(network), disk_id=row.disk_id,
        ports=tuple(port for port in ports if port), host_name=row.label, public_ip_allocation=settings.get("public_ip_allocation", ""),
        profile=template["runtime_profile_arn"] or template["startup_profile_arn"], restrict_metadata=template["restrict_metadata_access"],
        key_pair=template["ssh_key_pair"], tags=_tags(settings),
    )


def uses_of_cloud(tx: Session) -> Sequence[str]:
    """What is in the site's cloud account, or about to be, as a person calls it: instances, data disks that are kept, snapshots."""
    query = select(InstanceRow).join(NetworkRow, NetworkRow.id == InstanceRow.network_id).where(NetworkRow.provider == CLOUD_PROVIDER)
    rows = tx.scalars(query.order_by(InstanceRow.label)).all()
    busy = active_by_target(tx, [f"instance:{row.id}" for row in rows])
    found = []
    for row in rows:
        if row.machine is not None or f"instance:{row.id}" in busy:
            found.append(f"instance {row.label}")
        if row.disk_made:
            found.append(f"data disk of {row.label}")
    kept = tx.scalars(select(SnapshotRow).where(SnapshotRow.provider == CLOUD_PROVIDER).order_by(SnapshotRow.instance_label, SnapshotRow.id))
    return [*found, *(f"snapshot {row.id} of {row.instance_label}" for row in kept)]


def regions_of_cloud(store: Store) -> Sequence[str]:
    """Regions that virtual networks of the cloud name."""
    with store.read() as tx:
        return tx.scalars(select(NetworkRow.region).where(NetworkRow.provider == CLOUD_PROVIDER, NetworkRow.region != "").distinct()).all()


def _tags(settings: Mapping[str, Any]) -> dict[str, str]:
    return dict(tag.split("=", 1) for tag in settings.get("cloud_tags", ()) if "=" in tag)
