"""Hosts through the door: the key is shown before it is trusted, rights are kept apart, and what stands on a host comes with it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select

from fleet_tui.backend.api.hosts_answers import HostAnswers
from fleet_tui.backend.errors import AuthFailed, ConfirmationRequired, InvalidInput, NotFound, PermissionDenied, Unreachable, WrongState
from fleet_tui.backend.hosts import (
    AddHost,
    CreateCluster,
    CreatePod,
    CreateZone,
    DeleteBranch,
    EditHost,
    ImportPatches,
    ListClusters,
    ListHosts,
    ListPatches,
    ListPods,
    ListZones,
    ManageCluster,
    ProbeHostKey,
    SetAllocation,
    ShowHost,
    access,
)
from fleet_tui.backend.hosts.drivers import Drivers
from fleet_tui.backend.hosts.rows import HostRow
from fleet_tui.backend.identity import Role
from fleet_tui.backend.identity.caller import Caller
from fleet_tui.backend.machines.rows import OfferingRow, VmRow
from fleet_tui.backend.operations import OperationState
from fleet_tui.backend.store import Store
from tests.backend.hosts.fleet import PASSWORD, Fleet, Works
from tests.waiting import until

ADA = Caller(user="ada", role=Role.ROOT_ADMIN, uid=1)
OPERATOR = Caller(user="op", role=Role.OPERATOR, uid=2)
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n-----END OPENSSH PRIVATE KEY-----\n"


@pytest.fixture
def fleet(store: Store) -> Fleet:
    return Fleet(store, 1)


@pytest.fixture
def works(fleet: Fleet) -> Iterator[Works]:
    with fleet.links() as links:
        until(fleet.stands(1, "up"))
        yield Works(fleet, links)


@pytest.fixture
def ask(fleet: Fleet, works: Works) -> Any:
    """``ask("zones.list", request)`` as root-admin, or as somebody else."""
    engine: Any = SimpleNamespace(submit=lambda kind, request, user: works.bench.submission.submit(kind, request, user))
    drivers = works.bench.runner._resources[Drivers]
    table = HostAnswers(fleet.store, engine, drivers).table()  # type: ignore[arg-type]
    return lambda name, request, caller=ADA: table[name](caller, request)


def add(**changes: Any) -> AddHost:
    return AddHost(**{"target": "10.0.0.3", "cluster": "c1", "user": "root", "password": PASSWORD, **changes})


def test_a_new_hosts_key_is_shown_and_nothing_is_stored(fleet: Fleet, ask: Any) -> None:
    fleet.stand(2)
    shown = fleet.reach.machine("10.0.0.3").host_key
    assert ask("hosts.key", ProbeHostKey("10.0.0.3")).fingerprint == shown.fingerprint
    with pytest.raises(ConfirmationRequired) as asked:
        ask("host.add", add())
    assert shown.fingerprint in asked.value.message
    assert asked.value.details == {"fingerprint": shown.fingerprint, "host_key": shown.text}
    plan = ask("host.add", add(dry_run=True)).plan
    assert shown.fingerprint in plan.consequences[0]
    with fleet.store.read() as tx:
        assert tx.scalar(select(HostRow).where(HostRow.address == "10.0.0.3")) is None
    assert ask("host.add", add(accept_fingerprint=shown.fingerprint)).operation.kind == "host.add"


def test_fields_are_looked_at_before_anybody_is_asked_for_a_key(fleet: Fleet, ask: Any) -> None:
    with pytest.raises(InvalidInput):
        ask("host.add", add(user="No Body"))
    with pytest.raises(Unreachable):
        ask("host.add", add())
    assert ask("host.add", add(dry_run=True)).plan.refusals[0].code == "unreachable"


def test_a_tree_is_built_by_methods(ask: Any) -> None:
    ask("zones.create", CreateZone("z2"))
    ask("pods.create", CreatePod("p2", "z2"))
    made = ask("clusters.create", CreateCluster("c2", "z2", "p2"))
    assert (made.zone, made.pod, made.allocation.value) == ("z2", "p2", "Disabled")
    assert [zone.name for zone in ask("zones.list", ListZones())] == ["local", "z1", "z2"]
    assert [pod.name for pod in ask("pods.list", ListPods("z2"))] == ["p2"] and len(ask("clusters.list", ListClusters())) == 3
    assert ask("branches.delete", DeleteBranch("cluster", "c2", confirm="c2")).text == "cluster c2 deleted"


def test_operators_enable_hosts_and_nothing_above_them(fleet: Fleet, ask: Any) -> None:
    assert "no new one is put there" in ask("branches.allocate", SetAllocation("host", "kvm-1", False), OPERATOR).text
    for kind, name in (("zone", "z1"), ("pod", "p1"), ("cluster", "c1")):
        with pytest.raises(PermissionDenied):
            ask("branches.allocate", SetAllocation(kind, name, False), OPERATOR)
    assert ask("branches.allocate", SetAllocation("zone", "z1", False)).text.startswith("zone z1 disabled")


def test_what_stands_on_a_host_comes_with_it(fleet: Fleet, ask: Any) -> None:
    now = fleet.clock.now()
    with fleet.store.write() as tx:
        tx.add(OfferingRow(id="of-1", name="small", cores=2, mhz=1300, memory_mib=64 * 1024))
        tx.flush()
        tx.add(VmRow(id="v-1", guest_id="g-1", name="web-1", cluster_id="c-1", offering_id="of-1", state="running", host_id="h-1", cores=2, mhz=1300,
                     memory_mib=64 * 1024, created_at=now - timedelta(days=1), updated_at=now))
    until(lambda: fleet.host(1).cores == 32)
    host = ask("hosts.show", ShowHost("kvm-1"))
    assert (host.vms, host.cpu_used, host.ram_used) == (1, 2600 / (32 * 2600), 0.25)
    assert {h.name: h.vms for h in ask("hosts.list", ListHosts())} == {"kvm-1": 1, "localhost": 0}
    with pytest.raises(NotFound):
        ask("hosts.show", ShowHost("kvm-9"))


def test_a_ledger_is_taken_in(ask: Any) -> None:
    text = ask("patches.import", ImportPatches("hypervisor,version,patch,severity\nkvm,9.0,P1,critical\n")).text
    assert text == "patch ledger: 1 new, 0 updated"
    assert ask("patches.list", ListPatches())[0].missing_on == 1 and ask("hosts.show", ShowHost("kvm-1")).patches_critical == 1


def test_a_host_is_edited_live(fleet: Fleet, ask: Any) -> None:
    version = ask("hosts.show", ShowHost("kvm-1")).version_number
    edited = ask("hosts.edit", EditHost("kvm-1", tags=("rack=a1",), location_note="row 3\x1b[2J", version=version))
    assert (edited.tags, edited.version_number) == (("rack=a1",), version + 1) and "\x1b" not in edited.location_note
    with pytest.raises(WrongState, match="changed meanwhile"):
        ask("hosts.edit", EditHost("kvm-1", tags=(), version=version))
    with pytest.raises(InvalidInput):
        ask("hosts.edit", EditHost("kvm-1", tags=("a b",), ssh_port=0))


def test_credentials_that_a_host_refuses_are_not_saved(fleet: Fleet, ask: Any) -> None:
    with pytest.raises(AuthFailed):
        ask("hosts.edit", EditHost("kvm-1", ssh_user="nobody"))
    assert fleet.host(1).ssh_user == "root"
    fleet.reach.machine("10.0.0.2").keys.append(KEY)
    ask("hosts.edit", EditHost("kvm-1", private_key=KEY))
    assert access.login_of(fleet.host(1), fleet.sealer).private_key == KEY and "BEGIN" not in fleet.host(1).key_sealed
    until(fleet.stands(1, "up"))
    fleet.world.power_off("kvm-1")
    ask("hosts.edit", EditHost("kvm-1", ssh_user="admin"))
    assert any("were not tried" in text for _, text in fleet.told("host:h-1"))


def test_a_cluster_is_let_go_and_taken_back(fleet: Fleet, works: Works) -> None:
    with pytest.raises(ConfirmationRequired):
        works.submit("cluster.manage", ManageCluster(target="c1", managed=False))
    record = works.through("cluster.manage", ManageCluster(target="c1", managed=False, confirmed=True))
    assert record.state is OperationState.SUCCEEDED and fleet.state(1)[0] == "disconnected"
    with pytest.raises(WrongState, match="Unmanaged already"):
        works.submit("cluster.manage", ManageCluster(target="c1", managed=False, confirmed=True))
    assert works.through("cluster.manage", ManageCluster(target="c1", managed=True)).state is OperationState.SUCCEEDED
    until(fleet.stands(1, "up"))
