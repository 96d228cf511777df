"""A database that the second release wrote gets its networks, and keeps what is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import inspect, text

from fleet_tui.backend.store import Store, schema

REVISION = "0002"
SITE = (
    "INSERT INTO zone (id, name) VALUES ('z-1', 'local')",
    "INSERT INTO pod (id, name, zone_id) VALUES ('p-1', 'local', 'z-1')",
    "INSERT INTO cluster (id, name, pod_id, hypervisor) VALUES ('c-1', 'local', 'p-1', 'kvm')",
    "INSERT INTO offering (id, name, cores, mhz, memory_mib, limit_cpu, ha, tags, system_kind) VALUES ('of-1', 's', 1, 100, 64, false, false, '[]', '')",
    "INSERT INTO vm (id, guest_id, name, kind, cluster_id, offering_id, state, cores, mhz, memory_mib, cpu_hundredths, ram_hundredths, boot, disks,"
    " tags, exclusion_tags, owners, account, ips, destroy_protected, ha, has_device, has_local_disk, error, version, created_at, updated_at) VALUES"
    " ('v-1', 'g-1', 'web', 'guest', 'c-1', 'of-1', 'stopped', 1, 100, 64, 100, 100, '{}', '[]', '[]', '[]', '[]', '', '[]', true, false, false,"
    " false, '', 1, '2026-01-02 03:04:05', '2026-01-02 03:04:05')",
)

def test_a_site_of_the_second_release_gets_networks_and_keeps_its_vms(old: Store, tmp_path: Path) -> None:
    def vms() -> tuple[list[dict[str, Any]], list[str]]:
        with old.engine.connect() as connection:
            rows = [dict(row) for row in connection.execute(text("SELECT * FROM vm")).mappings()]
            return rows, [column["name"] for column in inspect(connection).get_columns("vm")]

    before = vms()
    schema.prepare(old, tmp_path / "backups")
    assert vms() == before
    with old.write() as tx:
        tx.execute(text("INSERT INTO physical_network (id, name, zone_id, isolation, state, nic_labels, version) VALUES"
                        " ('pn-1', 'guest', 'z-1', 'VLAN', 'Enabled', '{}', 1)"))
        tx.execute(text("INSERT INTO network_offering VALUES ('no-1', 'isolated', 'isolated', false, false)"))
        tx.execute(text("INSERT INTO guest_network (id, name, offering_id, physical_id, state, cidr, gateway, owner_kind, owner, reservation, error,"
                        " version, created_at, updated_at) VALUES ('gn-1', 'shop', 'no-1', 'pn-1', 'Allocated', '', '', '', '', '', '', 1,"
                        " '2026-01-02 03:04:05', '2026-01-02 03:04:05')"))
        tx.execute(text("INSERT INTO nic VALUES ('nic-1', 'v-1', 'gn-1', '52:54:00:00:00:01', 0)"))
    with old.write() as tx:
        tx.execute(text("DELETE FROM vm"))
        assert tx.execute(text("SELECT count(*) FROM nic")).scalar_one() == 0, "a VM takes its cards with it"
