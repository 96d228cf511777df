"""A real host out of service and back, with guests whose counters never stop: prepared, emptied, worked on, let back, its guests brought home."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from fleet_tui.backend import hosts as h
from fleet_tui.backend import machines as v
from fleet_tui.backend import maintenance as m
from fleet_tui.backend.errors import ConfirmationRequired, WrongState
from fleet_tui.backend.operations import OperationState
from tests.journeys.site import Site, site
from tests.lab.fixtures import REAL_HOSTS
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.waiting import until

pytestmark = REAL_HOSTS
GUESTS = ("db-1", "web-1", "web-2")
FLAGS = ("--maintenance", "retry_s=3,watch_s=1,silence_s=60")


@pytest.fixture
def fleet(lab: Lab) -> Iterator[Site]:
    """Three real hosts in an enabled cluster, and an offering."""
    with site(flags=FLAGS) as found:
        found.call(h.CreateZone("z1", request_id="z"))
        found.call(h.CreatePod("p1", "z1", request_id="p"))
        found.call(h.CreateCluster("c1", "z1", "p1", request_id="c"))
        for kind, name in (("zone", "z1"), ("pod", "p1"), ("cluster", "c1")):
            found.call(h.SetAllocation(kind, name, True))
        for host in lab.hosts:
            add(found, lab, host)
        for host in lab.hosts:
            until(lambda name=host.name: found.call(h.ShowHost(name)).connection_state == "up", 90, f"{host.name} is up")  # type: ignore[misc]
        found.call(v.CreateOffering("tiny", cores=1, mhz=100, memory_mib=128, request_id="o"))
        yield found


def add(fleet: Site, lab: Lab, host: Host) -> None:
    asked = h.AddHost(target=host.address, cluster="c1", user="root", private_key=lab.key)
    with pytest.raises(ConfirmationRequired) as refused:
        fleet.client().call(replace(asked, request_id=f"look-{host.name}"))
    fleet.do(replace(asked, accept_fingerprint=refused.value.details["fingerprint"]), timeout=90)


def create(fleet: Site, lab: Lab, name: str, host: str) -> None:
    fleet.do(v.CreateVm(
        target=name, cluster="c1", offering="tiny", host=host, kernel=str(lab.boot.kernel), initrd=str(lab.boot.initrd), owners=("ada",),
        cmdline="console=ttyS0 quiet",
    ), timeout=120)
    counts_on(fleet, name, 0)


def ticks(fleet: Site, name: str) -> list[int]:
    """What it counted on the host where it is now; a host keeps the serial log of a guest no longer than the guest."""
    return [int(number) for number in re.findall(r"TICK (\d+) [^\n]*\n", fleet.call(v.ReadGuestLog(name)).text)]


def counts_on(fleet: Site, name: str, after: int) -> int:
    """It goes on counting where it is, from where it was: not a number is left out, and it never began anew. The last number."""
    until(lambda: (ticks(fleet, name) or [0])[-1] > after + 3, 90, f"{name} counts on from {after}")
    seen = ticks(fleet, name)
    assert seen == list(range(seen[0], seen[-1] + 1)), f"{name} lost ticks: {seen}"
    return seen[-1]


def where(lab: Lab, name: str) -> list[str]:
    return [host.name for host in lab.hosts if host.guests().get(name) == "running"]


def show(fleet: Site, host: str = "kvm1") -> m.MaintenanceRecord:
    record: m.MaintenanceRecord = fleet.call(m.ShowMaintenance(host))
    return record


def test_a_host_goes_out_of_service_and_comes_back_without_its_guests_noticing(fleet: Site, lab: Lab, capsys: Any) -> None:
    for name in GUESTS:
        create(fleet, lab, name, "kvm1")
    counted = {name: counts_on(fleet, name, 0) for name in GUESTS}
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

    counted = {name: counts_on(fleet, name, counted[name]) for name in GUESTS}

    lab.hosts[0].off()  # the work
    lab.hosts[0].on()
    lab.hosts[0].wait()
    until(lambda: fleet.call(h.ShowHost("kvm1")).connection_state == "up", 120, "kvm1 is back")
    fleet.do(m.CancelMaintenance(target="kvm1", confirmed=True), timeout=120)
    assert fleet.call(h.ShowHost("kvm1")).resource_state == "Enabled" and not any(where(lab, name) == ["kvm1"] for name in GUESTS)

    fleet.do(m.MigrateBack(target="kvm1", confirmed=True), timeout=300)
    assert all(where(lab, name) == ["kvm1"] for name in GUESTS)
    for name in GUESTS:
        counts_on(fleet, name, counted[name])
    fleet.call(m.CloseMaintenance("kvm1"))
    with pytest.raises(WrongState):
        fleet.client().call(m.CloseMaintenance("kvm1"))
    assert not fleet.complaints()


def test_the_daemon_is_killed_in_the_middle_of_it(fleet: Site, lab: Lab) -> None:
    for name in GUESTS:
        create(fleet, lab, name, "kvm1")
    operation = fleet.submit(m.MaintainHost(target="kvm1", reason="replace DIMM A3", confirmed=True))
    until(lambda: any(vm.state is m.MoveState.MOVING for vm in show(fleet).vms), 60, "a VM moves")
    fleet.kill()
    fleet.await_door()
    assert fleet.ended(operation.id, 300).state is OperationState.SUCCEEDED
    assert show(fleet).resource_state == "Maintenance"
    assert all(len(where(lab, name)) == 1 and where(lab, name) != ["kvm1"] for name in GUESTS)


def test_a_destination_that_dies_on_the_way_costs_no_guest(fleet: Site, lab: Lab) -> None:
    for name in GUESTS:
        create(fleet, lab, name, "kvm1")
    operation = fleet.submit(m.MaintainHost(target="kvm1", reason="replace DIMM A3", confirmed=True))
    moving = until(lambda: [vm for vm in show(fleet).vms if vm.state is m.MoveState.MOVING and vm.phase == "copy"], 60, "a VM is copied")
    victim = next(host for host in lab.hosts if host.name == moving[0].destination)
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
