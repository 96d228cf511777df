"""A real host out of service and back, with guests whose counters never stop: prepared, emptied, worked on, let back, its guests brought home."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from fleet_tui.backend import hosts as h
from fleet_tui.backend import machines as v
from fleet_tui.backend import maintenance as m
from fleet_tui.backend.errors import ConfirmationRequired, NotFound, WrongState
from fleet_tui.backend.hypervisors.domain_xml import SERIAL_LOG
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
    counts_on(lab, name, 0)


def ticks(lab: Lab, name: str) -> list[int]:
    """Every number it counted, on whichever host its serial line was written then."""
    found: set[int] = set()
    for host in lab.hosts:
        if host.pid and name in host.virsh("list", "--name", "--state-running").split():
            log = SERIAL_LOG.format(id=host.virsh("domuuid", name).strip())
    for host in lab.hosts:
        text = host.run("sh", "-c", f"cat {log} 2>/dev/null || true")
        found |= {int(number) for number in re.findall(r"TICK (\d+) [^\n]*\n", text)}
    return sorted(found)


def counts_on(lab: Lab, name: str, after: int) -> int:
    """It goes on counting from where it was: it never began anew, and at most a line broken by a switch-over is missing. The last number."""
    until(lambda: (ticks(lab, name) or [0])[-1] > after + 3, 90, f"{name} counts on from {after}")
    seen = ticks(lab, name)
    missing = sorted(set(range(1, seen[-1] + 1)) - set(seen))
    assert len(missing) <= 2, f"{name} lost ticks: {missing}"
    return seen[-1]


def where(lab: Lab, name: str) -> list[str]:
    """Hosts whose libvirt says that it runs there; one without power says nothing, and runs nothing."""
    return [host.name for host in lab.hosts if host.pid and name in host.virsh("list", "--name", "--state-running").split()]


def show(fleet: Site, host: str = "kvm1") -> m.MaintenanceRecord:
    record: m.MaintenanceRecord = fleet.call(m.ShowMaintenance(host))
    return record


def moving(fleet: Site) -> list[m.Evacuee]:
    """VMs on their way; none before the session is there."""
    with contextlib.suppress(NotFound):
        return [vm for vm in fleet.client().call(m.ShowMaintenance("kvm1")).vms if vm.state is m.MoveState.MOVING]
    return []


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
