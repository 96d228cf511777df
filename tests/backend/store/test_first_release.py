"""A database that the first release wrote goes on, with all that is in it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from fleet_tui.backend.hosts.rows import ClusterRow, HostRow, PodRow, ZoneRow
from fleet_tui.backend.store import Store, schema
from fleet_tui.backend.store.migrations.tables import every_table

_HOST = "INSERT INTO host (id, name, cluster_id, address, resource_state, connection_state, cores, memory_bytes, memory_used_bytes," \
        " disk_bytes, disk_used_bytes, load, measured_at) VALUES "
REVISION = "0001"
SITE = (
    "INSERT INTO zone (id, name) VALUES ('z-1', 'local')",
    "INSERT INTO pod (id, name, zone_id) VALUES ('p-1', 'local', 'z-1')",
    "INSERT INTO cluster (id, name, pod_id, hypervisor) VALUES ('c-1', 'local', 'p-1', 'none')",
    _HOST + "('h-1', 'localhost', 'c-1', '127.0.0.1', 'Enabled', 'Up', 2, 8, 4, 10, 5, 0.5, '2026-01-02 03:04:05')",
    _HOST + "('h-2', 'kvm-2', 'c-1', '10.0.0.2', 'Maintenance', 'Disconnected', 2, 8, 4, 10, 5, 0.5, NULL)",
)


def test_a_site_of_the_first_release_is_upgraded_with_its_rows(old: Store, tmp_path: Path) -> None:
    every_table()
    schema.prepare(old, tmp_path / "backups")
    with old.read() as tx:
        zone, pod, cluster = tx.get(ZoneRow, "z-1"), tx.get(PodRow, "p-1"), tx.get(ClusterRow, "c-1")
        assert zone is not None and pod is not None and cluster is not None
        assert [zone.allocation, pod.allocation, cluster.allocation] == ["Enabled"] * 3
        assert (zone.network_type, zone.dns, cluster.arch, cluster.managed) == ("advanced", [], "x86_64", "Managed")
        assert (cluster.cpu_hundredths, cluster.ratio_is_own, cluster.mismatch) == (100, False, {})
        host, other = tx.get(HostRow, "h-1"), tx.get(HostRow, "h-2")
        assert host is not None and other is not None
        assert (host.connection_state, other.connection_state, other.resource_state) == ("up", "disconnected", "Maintenance")
        assert (host.ssh_port, host.tags, host.facts, host.version, host.is_accelerated, host.came_from) == (22, [], {}, 1, True, "Enabled")
        assert host.measured_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_what_is_made_afterwards_starts_disabled(old: Store, tmp_path: Path) -> None:
    schema.prepare(old, tmp_path / "backups")
    with old.write() as tx:
        tx.add(ZoneRow(id="z-2", name="new"))
    with old.read() as tx:
        made = tx.get(ZoneRow, "z-2")
        assert made is not None and made.allocation == "Disabled"
