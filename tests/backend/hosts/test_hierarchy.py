"""Zones, pods, clusters: every rule of their fields, what disabling one does below it, and that nothing full is deleted."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import ConfirmationRequired, InUse, InvalidInput, NotFound, WrongState
from fleet_tui.backend.hosts import CreateCluster, CreatePod, CreateZone, DeleteBranch, SetAllocation, hierarchy, queries
from fleet_tui.backend.hosts.register import ensure_host
from fleet_tui.backend.hosts.rows import HostRow
from fleet_tui.backend.store import Store

NOW = datetime(2026, 3, 1, tzinfo=UTC)
RANGE = {"gateway": "10.1.0.1", "netmask": "255.255.255.0", "start_ip": "10.1.0.10", "end_ip": "10.1.0.99"}


def site(tx: Session) -> HostRow:
    """z1/p1/c1 with one connected host, nothing enabled above it."""
    hierarchy.create_zone(tx, CreateZone("z1"))
    hierarchy.create_pod(tx, CreatePod("p1", "z1", **RANGE))
    cluster = hierarchy.create_cluster(tx, CreateCluster("c1", "z1", "p1"))
    host = HostRow(id="h-1", name="kvm-1", cluster_id=cluster.id, address="10.1.0.10")
    tx.add(host)
    tx.flush()
    return host


def allocate(tx: Session, kind: str, target: str, enabled: bool) -> str:
    return hierarchy.set_allocation(tx, SetAllocation(kind, target, enabled), "ada", NOW)


def test_branches_start_disabled_and_the_cause_is_named_from_far_to_near(store: Store) -> None:
    with store.write() as tx:
        host = site(tx)
        seen = []
        for kind, name in (("zone", "z1"), ("pod", "p1"), ("cluster", "c1")):
            seen.append(queries.describe(tx, "kvm-1").why_not)
            allocate(tx, kind, name, True)
        assert seen == ["zone z1 is disabled", "pod p1 is disabled", "cluster c1 is disabled"]
        assert queries.describe(tx, "kvm-1").allocatable
        allocate(tx, "host", "kvm-1", False)
        assert queries.describe(tx, "kvm-1").why_not == "the host is Disabled"
        allocate(tx, "host", "kvm-1", True)
        host.connection_state, host.reason = "alert", "unreachable"
        assert queries.describe(tx, "kvm-1").why_not == "its link is alert (unreachable)"


def test_enabling_tells_what_is_still_disabled_above(store: Store) -> None:
    with store.write() as tx:
        site(tx)
        assert allocate(tx, "cluster", "c1", True) == "cluster c1 enabled; pod p1 above it is still disabled; zone z1 above it is still disabled"
        assert allocate(tx, "cluster", "c1", True) == "cluster c1 is enabled already"


def test_a_host_in_maintenance_is_not_enabled_by_the_way(store: Store) -> None:
    with store.write() as tx:
        site(tx).resource_state = "Maintenance"
        with pytest.raises(WrongState, match="Maintenance"):
            allocate(tx, "host", "kvm-1", True)


@pytest.mark.parametrize(("changes", "field"), [
    ({"name": "-a"}, "name"), ({"name": ""}, "name"), ({"name": "a" * 64}, "name"), ({"name": "a/b"}, "name"), ({"name": "z1"}, "name"),
    ({"network_type": "flat"}, "network_type"), ({"dns": ("1.1.1.1", "nine")}, "dns"), ({"dns": ("1.1.1.1",) * 4}, "dns"),
    ({"guest_cidr": "10.1.0.1/16"}, "guest_cidr"), ({"guest_cidr": "10.1.0.0"}, "guest_cidr"),
])
def test_a_zone_is_refused_for(store: Store, changes: dict[str, object], field: str) -> None:
    with store.write() as tx:
        hierarchy.create_zone(tx, CreateZone("z1"))
        with pytest.raises(InvalidInput) as refused:
            hierarchy.create_zone(tx, CreateZone(**{"name": "z2", **changes}))  # type: ignore[arg-type]
        assert {problem.field for problem in refused.value.problems} == {field}


@pytest.mark.parametrize(("changes", "field"), [
    ({"gateway": ""}, "gateway"), ({"netmask": "255.0.255.0"}, "netmask"), ({"start_ip": "10.2.0.1"}, "start_ip"),
    ({"end_ip": "10.2.0.9"}, "end_ip"), ({"start_ip": "10.1.0.100"}, "end_ip"), ({"start_ip": "10.1.0.1"}, "start_ip"),
    ({"end_ip": "10.1.0.255"}, "end_ip"), ({"gateway": "10.1.0.20"}, "start_ip"), ({"start_ip": "fe80::1"}, "start_ip"), ({"name": "p1"}, "name"),
])
def test_a_pod_is_refused_for(store: Store, changes: dict[str, str], field: str) -> None:
    with store.write() as tx:
        hierarchy.create_zone(tx, CreateZone("z1"))
        hierarchy.create_pod(tx, CreatePod("p1", "z1"))
        with pytest.raises(InvalidInput) as refused:
            hierarchy.create_pod(tx, CreatePod(**{"name": "p2", "zone": "z1", **RANGE, **changes}))
        assert field in {problem.field for problem in refused.value.problems}


def test_ranges_of_one_zone_do_not_overlap_those_of_two_may(store: Store) -> None:
    with store.write() as tx:
        for zone in ("z1", "z2"):
            hierarchy.create_zone(tx, CreateZone(zone))
            hierarchy.create_pod(tx, CreatePod("p1", zone, **RANGE))
        with pytest.raises(InvalidInput, match=r"overlaps the range of pod p1, 10\.1\.0\.10 to 10\.1\.0\.99"):
            hierarchy.create_pod(tx, CreatePod("p2", "z1", **{**RANGE, "start_ip": "10.1.0.99", "end_ip": "10.1.0.120"}))
        hierarchy.create_pod(tx, CreatePod("p2", "z1", **{**RANGE, "start_ip": "10.1.0.100", "end_ip": "10.1.0.120"}))


@pytest.mark.parametrize(("changes", "field"), [
    ({"hypervisor": "none"}, "hypervisor"), ({"hypervisor": "hyperv"}, "hypervisor"), ({"arch": "z80"}, "arch"), ({"pod": ""}, "pod"),
    ({"dedicated_account": "a b"}, "dedicated_account"), ({"zone": "z2"}, "pod"), ({"name": "c1"}, "name"),
])
def test_a_cluster_is_refused_for(store: Store, changes: dict[str, str], field: str) -> None:
    with store.write() as tx:
        site(tx)
        hierarchy.create_zone(tx, CreateZone("z2"))
        with pytest.raises(InvalidInput) as refused:
            hierarchy.create_cluster(tx, CreateCluster(**{"name": "c2", "zone": "z1", "pod": "p1", **changes}))
        assert {problem.field for problem in refused.value.problems} == {field}


def test_a_name_that_stands_twice_needs_its_path(store: Store) -> None:
    with store.write() as tx:
        for zone in ("z1", "z2"):
            hierarchy.create_zone(tx, CreateZone(zone))
            hierarchy.create_pod(tx, CreatePod("p1", zone))
            hierarchy.create_cluster(tx, CreateCluster("c1", zone, "p1"))
        with pytest.raises(InvalidInput, match="several clusters"):
            hierarchy.find_cluster(tx, "c1")
        found = hierarchy.find_cluster(tx, "z2/p1/c1")
        assert hierarchy.find_cluster(tx, f"cluster:{found.id}") is found
        with pytest.raises(NotFound):
            hierarchy.find_cluster(tx, "z1/p1/c9")


def test_asking_twice_with_one_request_makes_one(store: Store) -> None:
    with store.write() as tx:
        first = hierarchy.create_zone(tx, CreateZone("z1", request_id="r-1"))
        assert hierarchy.create_zone(tx, CreateZone("z1", request_id="r-1")) is first
        with pytest.raises(InvalidInput, match="already"):
            hierarchy.create_zone(tx, CreateZone("z1", request_id="r-2"))


def test_nothing_full_is_deleted_and_the_contents_are_named(store: Store) -> None:
    with store.write() as tx:
        host = site(tx)
        for kind, name, inside in (("zone", "z1", "pod p1"), ("pod", "p1", "cluster c1"), ("cluster", "c1", "host kvm-1")):
            with pytest.raises(InUse, match=inside):
                hierarchy.delete_branch(tx, DeleteBranch(kind, name, confirm=name), "ada")
        tx.delete(host)
        tx.flush()
        with pytest.raises(ConfirmationRequired):
            hierarchy.delete_branch(tx, DeleteBranch("cluster", "c1", confirm="c2"), "ada")
        for kind, name in (("cluster", "c1"), ("pod", "p1"), ("zone", "z1")):
            hierarchy.delete_branch(tx, DeleteBranch(kind, name, confirm=name), "ada")
        assert queries.list_zones(tx) == ()


def test_counts_go_up_the_tree(store: Store) -> None:
    with store.write() as tx:
        site(tx)
        ensure_host(tx, "localhost", "local/local/local", "none", "127.0.0.1")
        zones = {zone.name: zone for zone in queries.list_zones(tx)}
        assert [(z.pods, z.clusters, z.hosts) for z in (zones["z1"], zones["local"])] == [(1, 1, 1), (1, 1, 1)]
        (pod,) = queries.list_pods(tx, "z1")
        (cluster,) = queries.list_clusters(tx, "z1")
        assert (pod.clusters, pod.hosts, cluster.hosts, cluster.ratio_origin, cluster.cpu_ratio) == (1, 1, 1, "inherited", 1.0)


def test_the_sites_own_machine_is_up_at_once(store: Store) -> None:
    with store.write() as tx:
        ensure_host(tx, "localhost", "local/local/local", "none", "127.0.0.1")
        record = queries.describe(tx, "localhost")
        assert (record.allocatable, record.connection_state, record.hypervisor) == (True, "up", "none")
