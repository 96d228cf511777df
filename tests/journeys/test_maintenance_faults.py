"""What may go wrong while real guests leave a real host: each runs on exactly one host afterwards, or is reported lost with its restart offered;
none is stopped, and a host with a guest on it is never ready."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from fleet_tui.backend import hosts as h
from fleet_tui.backend import machines as v
from fleet_tui.backend import maintenance as m
from fleet_tui.backend.operations import OperationRecord, OperationState
from tests.journeys.real_hosts import counts_on, create, moving, real_fleet, show, where
from tests.journeys.site import Site
from tests.lab.fixtures import REAL_HOSTS
from tests.lab.host import IMAGES, Host
from tests.lab.lab import Lab
from tests.waiting import until

pytestmark = REAL_HOSTS
GUESTS = ("db-1", "web-1")
FLAGS = ("--maintenance", "retry_s=3,watch_s=1,silence_s=60,attempts=3,local_storage=migrate")
ASK = m.MaintainHost(target="kvm1", reason="replace DIMM A3", confirmed=True)
Strike = Callable[[Host], None]


@pytest.fixture
def fleet(lab: Lab) -> Iterator[Site]:
    with real_fleet(lab, *FLAGS) as found:
        yield found


def begin(fleet: Site, lab: Lab, *guests: str, words: str = "dirty=12", disk_mib: int = 0) -> tuple[OperationRecord, m.Evacuee, dict[str, int]]:
    """The operation, the first VM that is being copied, and how far each had counted before."""
    for name in guests:
        create(fleet, lab, name, "kvm1", words, disk_mib=disk_mib)
    counted = {name: counts_on(lab, name, 0) for name in guests}
    operation = fleet.submit(ASK)
    copied = until(lambda: [vm for vm in moving(fleet) if vm.phase == "copy"], 90, "a VM is copied")
    return operation, copied[0], counted


def nobody_was_hurt(fleet: Site, lab: Lab, counted: dict[str, int]) -> None:
    """Each counts on, on one host, and the host that was to be emptied is not ready while one of them is there."""
    for name, number in counted.items():
        until(lambda name=name: len(where(lab, name)) == 1, 90, f"{name} runs on one host")  # type: ignore[misc]
        counts_on(lab, name, number)
    if show(fleet).resource_state == "Maintenance":
        assert not any(where(lab, name) == ["kvm1"] for name in counted)


def _on(host: Host) -> None:
    host.on()
    host.wait()


@pytest.mark.parametrize(
    ("strike", "mend"), [(Host.off, _on), (Host.hang_libvirtd, Host.resume_libvirtd), (Host.unplug, Host.plug)],
    ids=["its power is cut", "its libvirtd hangs", "its cable is out"],
)  # fmt: skip
def test_the_destination(fleet: Site, lab: Lab, strike: Strike, mend: Strike) -> None:
    operation, copied, counted = begin(fleet, lab, *GUESTS)
    victim = next(host for host in lab.hosts if host.name == copied.destination)
    arrived = {name for name in GUESTS if where(lab, name) == [victim.name]}
    strike(victim)
    ended = fleet.ended(operation.id, 600)
    assert ended.state in (OperationState.SUCCEEDED, OperationState.FAILED), ended
    ready = show(fleet).resource_state == "Maintenance"
    mend(victim)
    until(lambda: fleet.call(h.ShowHost(victim.name)).connection_state == "up", 120, f"{victim.name} is back")
    nobody_was_hurt(fleet, lab, {name: number for name, number in counted.items() if strike is not Host.off or name not in arrived})
    assert not ready or all(where(lab, name) != ["kvm1"] for name in GUESTS)


def test_somebody_aborts_a_move(fleet: Site, lab: Lab) -> None:
    operation, copied, counted = begin(fleet, lab, *GUESTS)
    until(lambda: lab.hosts[0].says("virsh", "domjobabort", copied.vm), 60, "it is aborted")
    assert fleet.ended(operation.id, 600).state is OperationState.SUCCEEDED
    nobody_was_hurt(fleet, lab, counted)
    assert show(fleet).resource_state == "Maintenance"


def test_a_guest_that_changes_memory_faster_than_the_link_carries_it(fleet: Site, lab: Lab) -> None:
    shape = "tc qdisc replace dev eth0 root tbf rate 60mbit burst 64k latency 200ms"
    create(fleet, lab, "db-1", "kvm1", "dirty=24")
    number = counts_on(lab, "db-1", 0)
    lab.hosts[0].run("sh", "-c", shape)
    ended = fleet.ended(fleet.submit(ASK).id, 600)
    lab.hosts[0].run("tc", "qdisc", "del", "dev", "eth0", "root")
    nobody_was_hurt(fleet, lab, {"db-1": number})
    assert (ended.state is OperationState.SUCCEEDED) is (show(fleet).resource_state == "Maintenance")


def test_the_disk_of_every_destination_is_full(fleet: Site, lab: Lab) -> None:
    create(fleet, lab, "db-1", "kvm1", disk_mib=64)
    number = counts_on(lab, "db-1", 0)
    for host in lab.hosts[1:]:
        host.run("mount", "-t", "tmpfs", "-o", "size=64k", "none", IMAGES)
    try:
        ended = fleet.ended(fleet.submit(ASK).id, 600)
    finally:
        for host in lab.hosts[1:]:
            host.run("umount", IMAGES)
    assert ended.state is OperationState.FAILED and show(fleet).resource_state == "ErrorInMaintenance"
    stuck = show(fleet).vms[0]
    assert stuck.state is m.MoveState.FAILED and stuck.error and stuck.hint, stuck
    assert where(lab, "db-1") == ["kvm1"]
    nobody_was_hurt(fleet, lab, {"db-1": number})


def test_the_source_loses_its_power(fleet: Site, lab: Lab) -> None:
    operation, _, _ = begin(fleet, lab, *GUESTS)
    lab.hosts[0].off()
    died = {name for name in GUESTS if not where(lab, name)}
    assert died, "at least the one that was copied"
    until(lambda: fleet.call(h.ShowHost("kvm1")).connection_state != "up", 120, "it is missed")
    _on(lab.hosts[0])
    assert fleet.ended(operation.id, 600).state in (OperationState.FAILED, OperationState.SUCCEEDED)
    for name in died:
        row = until(lambda name=name: next((vm for vm in show(fleet).vms if vm.vm == name and vm.state is m.MoveState.LOST), None), 120, f"{name} is lost")  # type: ignore[misc]
        assert f"fleet vm start {name}" in row.hint
        assert fleet.call(v.ShowVm(name)).state.value == "crashed" and not where(lab, name)
        fleet.do(v.StartVm(target=name), timeout=120)
        assert len(where(lab, name)) == 1 and where(lab, name) != ["kvm1"]
    assert all(len(where(lab, name)) == 1 for name in GUESTS)
