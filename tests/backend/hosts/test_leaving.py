"""Hosts leave empty, or by force with everybody named; a degraded one gives its VMs away and comes back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fleet_tui.backend.errors import ConfirmationRequired, WrongState
from fleet_tui.backend.hosts import CancelDegraded, DeclareDegraded, RemoveHost
from fleet_tui.backend.hosts.rows import HostRow
from fleet_tui.backend.operations import OperationState
from fleet_tui.backend.store import Store
from tests.backend.hosts.fleet import Fleet, Works
from tests.waiting import until


@pytest.fixture
def fleet(store: Store) -> Fleet:
    return Fleet(store, 2)


@pytest.fixture
def works(fleet: Fleet) -> Iterator[Works]:
    with fleet.links() as links:
        until(lambda: fleet.state(1) == fleet.state(2) == ("up", ""))
        yield Works(fleet, links)


def exists(fleet: Fleet, number: int) -> bool:
    with fleet.store.read() as tx:
        return tx.get(HostRow, f"h-{number}") is not None


@pytest.mark.parametrize("state", ["Maintenance", "Degraded"])
def test_an_empty_host_out_of_service_is_removed_and_let_go(fleet: Fleet, works: Works, state: str) -> None:
    fleet.change("h-1", resource_state=state)
    with pytest.raises(ConfirmationRequired):
        works.submit("host.remove", RemoveHost(target="kvm-1", confirm="kvm-2"))
    assert works.through("host.remove", RemoveHost(target="kvm-1", confirm="kvm-1")).state is OperationState.SUCCEEDED
    assert not exists(fleet, 1) and works.vms.asked == ["forget h-1"]
    until(lambda: not fleet.connections("kvm-1"))
    assert ("info", "host kvm-1 removed") in fleet.told("host:h-1")


@pytest.mark.parametrize("state", ["Enabled", "Disabled", "PrepareForMaintenance", "ErrorInMaintenance"])
def test_a_host_in_service_is_not(fleet: Fleet, works: Works, state: str) -> None:
    fleet.change("h-1", resource_state=state)
    with pytest.raises(WrongState, match=f"{state}; removing it needs Maintenance or Degraded"):
        works.submit("host.remove", RemoveHost(target="kvm-1", confirm="kvm-1"))


def test_a_host_with_vms_is_not_and_they_are_named(fleet: Fleet, works: Works) -> None:
    fleet.change("h-1", resource_state="Maintenance")
    works.vms.on["h-1"] = ["web-1", "db-1"]
    with pytest.raises(WrongState, match="web-1, db-1") as refused:
        works.submit("host.remove", RemoveHost(target="kvm-1", confirm="kvm-1"))
    assert refused.value.details == {"state": "Maintenance", "allowed": ["Maintenance", "Degraded"], "vms": ["web-1", "db-1"]}


def test_a_vm_that_came_meanwhile_keeps_the_record(fleet: Fleet, works: Works) -> None:
    fleet.change("h-1", resource_state="Maintenance")
    operation = works.submit("host.remove", RemoveHost(target="kvm-1", confirm="kvm-1")).operation
    works.vms.on["h-1"] = ["web-1"]
    assert works.bench.claim().started
    record = works.bench.run(operation.id)
    assert record.error is not None and record.error.code == "wrong_state" and exists(fleet, 1)


@pytest.mark.parametrize("state", ["Enabled", "Disabled", "PrepareForMaintenance", "ErrorInPrepareForMaintenance", "ErrorInMaintenance"])
@pytest.mark.parametrize("dead", [True, False])
def test_by_force_from_anywhere_with_everybody_named(fleet: Fleet, works: Works, state: str, dead: bool) -> None:
    fleet.change("h-1", resource_state=state)
    works.vms.on["h-1"] = ["web-1", "db-1"]
    if dead:
        fleet.world.power_off("kvm-1")
        until(fleet.stands(1, "alert", "unreachable"))
    plan = works.submit("host.remove", RemoveHost(target="kvm-1", force=True, dry_run=True)).plan
    assert any("web-1, db-1" in text for text in plan.consequences)
    assert any("switched off" in text for text in plan.consequences) is dead
    with pytest.raises(ConfirmationRequired):
        works.submit("host.remove", RemoveHost(target="kvm-1", force=True))
    record = works.through("host.remove", RemoveHost(target="kvm-1", force=True, confirm="kvm-1"))
    assert record.state is OperationState.SUCCEEDED and not exists(fleet, 1)
    assert works.vms.asked == ["abandon h-1", "forget h-1"] and "web-1 stopped" in works.said()


def test_only_a_silent_host_is_declared_degraded(fleet: Fleet, works: Works) -> None:
    with pytest.raises(WrongState, match="only a host that does not answer"):
        works.submit("host.degrade", DeclareDegraded(target="kvm-1", confirmed=True))
    fleet.world.power_off("kvm-1")
    until(fleet.stands(1, "alert", "unreachable"))
    with pytest.raises(ConfirmationRequired):
        works.submit("host.degrade", DeclareDegraded(target="kvm-1"))
    works.vms.on["h-1"] = ["web-1"]
    assert works.through("host.degrade", DeclareDegraded(target="kvm-1", confirmed=True)).state is OperationState.SUCCEEDED
    assert fleet.host(1).resource_state == "Degraded" and works.vms.asked == ["restart h-1"] and "web-1 restarted on kvm-9" in works.said()
    assert works.through("host.cancel-degraded", CancelDegraded(target="kvm-1")).state is OperationState.SUCCEEDED
    assert fleet.host(1).resource_state == "Enabled"
    with pytest.raises(WrongState):
        works.submit("host.cancel-degraded", CancelDegraded(target="kvm-1"))
