"""The ledger is taken in whole or not at all, and says of each host what it lacks."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import InvalidInput
from fleet_tui.backend.hosts import CreateCluster, CreatePod, CreateZone, ImportPatches, hierarchy, patches, queries
from fleet_tui.backend.hosts.rows import HostRow
from fleet_tui.backend.store import Store

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HEAD = "hypervisor,version,patch,released,severity,note,superseded_by\n"
LEDGER = HEAD + (
    "xenserver,8.2,XS82E001,2026-01-10,important,disk,XS82E003\n"
    "xenserver,8.2,XS82E003,2026-02-10,critical,all of it,\n"
    "xenserver,8.2,XS82E004,2026-02-25,critical,network,\n"
    "xenserver,8.20,XS820E001,2020-01-01,critical,another version,\n"
    "kvm,*,KVM-1,,critical,,\n"
)


def hosts(tx: Session, **levels: str) -> None:
    hierarchy.create_zone(tx, CreateZone("z1"))
    hierarchy.create_pod(tx, CreatePod("p1", "z1"))
    cluster = hierarchy.create_cluster(tx, CreateCluster("c1", "z1", "p1", hypervisor="xenserver"))
    for name, level in levels.items():
        tx.add(HostRow(id=f"h-{name}", name=name, cluster_id=cluster.id, address=name, hypervisor_version="8.2.1", patch_level=level))
    tx.flush()


def take(tx: Session, text: str, form: str = "csv", replace: bool = False) -> str:
    return patches.import_patches(tx, ImportPatches(text, form, replace), "ada", NOW)


def test_what_a_host_lacks_is_what_nothing_installed_supersedes(store: Store) -> None:
    with store.write() as tx:
        hosts(tx, bare="", old="XS82E001", good="XS82E003, XS82E004", half="XS82E004")
        take(tx, LEDGER)
        found = {host.name: (host.patches_behind, host.patches_critical) for host in queries.find(tx)}
        assert found == {"bare": (2, 2), "old": (2, 2), "half": (1, 1), "good": (0, 0)}
        assert {row.patch: row.missing_on for row in patches.list_patches(tx, "xenserver")} == {
            "XS82E001": 0, "XS82E003": 3, "XS82E004": 2, "XS820E001": 0}


def test_a_chain_of_successors_counts_to_its_end(store: Store) -> None:
    with store.write() as tx:
        hosts(tx, kvm="C")
        take(tx, HEAD + "xenserver,8.2,A,,critical,,B\nxenserver,8.2,B,,normal,,C\n")
        assert queries.describe(tx, "kvm").patches_behind == 0


def test_a_critical_patch_that_is_missing_for_too_long_is_told(store: Store) -> None:
    with store.write() as tx:
        hosts(tx, bare="", good="XS82E003 XS82E004")
        take(tx, LEDGER)
        (late,) = patches.overdue(tx, NOW)
        assert (late.host, late.patches) == ("bare", ("XS82E003",))
        assert patches.overdue(tx, NOW + timedelta(days=30))[0].patches == ("XS82E003", "XS82E004")


def test_every_bad_line_is_named_and_nothing_is_taken_in(store: Store) -> None:
    bad = HEAD + (
        "kvm,1,GOOD,2026-01-01,normal,,\nhyperv,1,A,,normal,,\nkvm,,B,,normal,,\nkvm,1,C,yesterday,normal,,\nkvm,1,D,,urgent,,\n"
        "kvm,1,GOOD,,normal,,\nkvm,1,E,,normal,,E\nkvm,1,F,,normal,,,surplus\nkvm,1,G H,,normal,,\nkvm,1,I,,,,J\nkvm,1,J,,,,I\n"
    )
    with store.write() as tx:
        with pytest.raises(InvalidInput) as refused:
            take(tx, bad)
        assert [problem.field for problem in refused.value.problems] == [
            "line 3", "line 4", "line 5", "line 6", "line 7", "line 8", "line 9", "line 10", "I", "J"]
        assert patches.list_patches(tx) == ()


@pytest.mark.parametrize(("text", "form"), [("", "csv"), ("a,b\n1,2\n", "csv"), ("{", "json"), ("{}", "json"), ("[1]", "json"), ("x", "xml"), ("[" * 9999, "json")])
def test_what_is_no_ledger_is_refused(store: Store, text: str, form: str) -> None:
    with store.write() as tx, pytest.raises(InvalidInput):
        take(tx, text, form)


def test_json_says_the_same_as_csv_and_importing_again_updates(store: Store) -> None:
    with store.write() as tx:
        assert take(tx, LEDGER) == "patch ledger: 5 new, 0 updated"
        entry = {"hypervisor": "kvm", "version": "*", "patch": "KVM-1", "severity": "normal", "note": "\x1b[2J"}
        assert take(tx, json.dumps([entry]), "json") == "patch ledger: 0 new, 1 updated"
        (row,) = patches.list_patches(tx, "kvm")
        assert row.severity == "normal" and "\x1b" not in row.note
        assert take(tx, json.dumps([entry]), "json", replace=True).endswith("the old ones removed")
        assert len(patches.list_patches(tx)) == 1
