"""VMs as the tenants of guest networks: what ``networks.tenants.Tenants`` asks for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fleet_tui.backend.hosts.rows import ClusterRow, HostRow
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.machines.states import ON_HOST
from fleet_tui.backend.networks.rows import NicRow

_ON_HOST = tuple(state.value for state in ON_HOST)
_WHOLE_CLUSTER = "vsphere"
"""Its hosts have the segments of their whole cluster (spec 10.5)."""


class NetworkTenants:
    """Implements ``Tenants``."""

    def running(self, tx: Session, network_ids: Collection[str]) -> Mapping[str, int]:
        query = (
            select(NicRow.network_id, func.count(VmRow.id.distinct())).join(VmRow, NicRow.vm_id == VmRow.id)
            .where(NicRow.network_id.in_(network_ids), VmRow.state.in_(_ON_HOST)).group_by(NicRow.network_id)
        )
        return dict(tx.execute(query).tuples().all())

    def hosts(self, tx: Session, network_ids: Collection[str]) -> Mapping[str, Collection[str]]:
        query = (
            select(NicRow.network_id, VmRow.host_id, VmRow.destination_id, VmRow.cluster_id, ClusterRow.hypervisor)
            .join(VmRow, NicRow.vm_id == VmRow.id).join(ClusterRow, VmRow.cluster_id == ClusterRow.id)
            .where(NicRow.network_id.in_(network_ids), VmRow.state.in_(_ON_HOST)).distinct()
        )
        found: dict[str, set[str]] = {}
        clusters: dict[str, set[str]] = {}
        for network_id, host_id, destination_id, cluster_id, hypervisor in tx.execute(query):
            found.setdefault(network_id, set()).update(filter(None, (host_id, destination_id)))
            if hypervisor == _WHOLE_CLUSTER:
                clusters.setdefault(cluster_id, set()).add(network_id)
        for host_id, cluster_id in tx.execute(select(HostRow.id, HostRow.cluster_id).where(HostRow.cluster_id.in_(clusters))):
            for network_id in clusters[cluster_id]:
                found[network_id].add(host_id)
        return found

    def names(self, tx: Session, network_id: str) -> Sequence[str]:
        query = select(VmRow.name).join(NicRow, NicRow.vm_id == VmRow.id).where(NicRow.network_id == network_id).distinct()
        return list(tx.scalars(query.order_by(VmRow.name)))
