"""A real host out of service and back, with guests whose counters never stop: prepared, emptied, worked on, let back, its guests brought home."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fleet_tui.backend import hosts as h
from fleet_tui.backend import maintenance as m
from fleet_tui.backend.errors import WrongState
from fleet_tui.backend.operations import OperationState
from tests.journeys.real_hosts import counts_on, create, moving, real_fleet, show, where
from tests.journeys.site import Site
from tests.lab.fixtures import REAL_HOSTS
from tests.lab.lab import Lab
from tests.waiting import until

pytestmark = REAL_HOSTS
GUESTS = ("db-1", "web-1", "web-2")
FLAGS = ("--maintenance", "retry_s=3,watch_s=1,silence_s=60")


@pytest.fixture
def fleet(lab: Lab) -> Iterator[Site]:
    with real_fleet(lab, *FLAGS) as found:
        yield found


def test_a_host_goes_out_of_service_and_comes_back_without_its_guests_noticing(fleet: Site, lab: Lab, capsys: Any) -> None:
    for name in GUESTS:
        create(fleet, lab, name, "kvm1")
    counted = {name: counts_on(lab, name, 0) for name in GUESTS}
    plan = fleet.call(m.ForecastHost("kvm1"))
    assert not plan.refusals and all(move.destination for move in plan.moves)
    done = fleet.do(m.MaintainHost(target="kvm1", reason="replace DIMM A3", confirmed=True), timeout=300)
    assert done.state is OperationState.SUCCEEDED
    record = show(fleet)
    assert record.resource_state == "Maintenance" and {vm.state.value for vm in record.vms} == {"moved"}
    with capsys.disabled():
        for vm in record.vms:
            print(f"\n  {vm.vm} moved to {vm.destination} in {vm.elapsed_ms} ms, held for {vm.downtime_ms} ms", end="")
    assert all(len(where(lab, name)) == 1 and where(lab, name) != ["kvm1"] for name in GUESTS)

    counted = {name: counts_on(lab, name, counted[name]) for name in GUESTS}

    lab.hosts[0].off()  # the work
    lab.hosts[0].on()
    lab.hosts[0].wait()
    until(lambda: fleet.call(h.ShowHost("kvm1")).connection_state == "up", 120, "kvm1 is back")
    fleet.do(m.CancelMaintenance(target="kvm1", confirmed=True), timeout=120)
    assert fleet.call(h.ShowHost("kvm1")).resource_state == "Enabled" and not any(where(lab, name) == ["kvm1"] for name in GUESTS)

    fleet.do(m.MigrateBack(target="kvm1", confirmed=True), timeout=300)
    assert all(where(lab, name) == ["kvm1"] for name in GUESTS)
    for name in GUESTS:
        counts_on(lab, name, counted[name])
    fleet.call(m.CloseMaintenance("kvm1"))
    with pytest.raises(WrongState):
        fleet.client().call(m.CloseMaintenance("kvm1"))
    assert not fleet.complaints()


def test_the_daemon_is_killed_in_the_middle_of_it(fleet: Site, lab: Lab) -> None:
    for name in GUESTS:
        create(fleet, lab, name, "kvm1")
    operation = fleet.submit(m.MaintainHost(target="kvm1", reason="replace DIMM A3", confirmed=True))
    until(lambda: moving(fleet), 60, "a VM moves")
    fleet.kill()
    fleet.await_door()
    assert fleet.ended(operation.id, 300).state is OperationState.SUCCEEDED
    assert show(fleet).resource_state == "Maintenance"
    assert all(len(where(lab, name)) == 1 and where(lab, name) != ["kvm1"] for name in GUESTS)


def test_a_destination_that_dies_on_the_way_costs_no_guest(fleet: Site, lab: Lab) -> None:
    for name in GUESTS:
        create(fleet, lab, name, "kvm1")
    operation = fleet.submit(m.MaintainHost(target="kvm1", reason="replace DIMM A3", confirmed=True))
    copied = until(lambda: [vm for vm in moving(fleet) if vm.phase == "copy"], 60, "a VM is copied")
    victim = next(host for host in lab.hosts if host.name == copied[0].destination)
    arrived = {name for name in GUESTS if where(lab, name) == [victim.name]}
    victim.unplug()
    ended = fleet.ended(operation.id, 600)
    victim.plug()
    assert ended.state in (OperationState.SUCCEEDED, OperationState.FAILED)
    ready = show(fleet).resource_state == "Maintenance"
    for name in GUESTS:
        assert len(where(lab, name)) == 1, f"{name} runs on {where(lab, name)}"
        assert not ready or where(lab, name) != ["kvm1"]
    assert arrived <= set(GUESTS)
