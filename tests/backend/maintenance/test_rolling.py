"""A whole cluster in groups: planned so that every VM keeps a destination, masters last, one group at a time, stopped by the first failure."""

from __future__ import annotations

import pytest

from fleet_tui.backend.errors import ConfirmationRequired, InvalidInput, NoCapacity
from fleet_tui.backend.maintenance import MaintainRolling, RollingPlan, rolling
from fleet_tui.backend.operations import OperationRecord, OperationState
from tests.backend.maintenance.fleet import Fleet
from tests.backend.maintenance.test_evacuation import Make

ROLL = "cluster.maintain"


def plan(fleet: Fleet, size: int = 0) -> RollingPlan:
    with fleet.store.read() as tx:
        return rolling.plan(tx, rolling.find_cluster(tx, "c"), fleet.life.drivers, size)


def roll(fleet: Fleet, **values: object) -> OperationRecord:
    operation = fleet.submit(ROLL, MaintainRolling(**{"target": "c", "reason": "kernel", "confirmed": True, **values})).operation  # type: ignore[arg-type]
    assert operation is not None
    return operation


def rounds(fleet: Fleet, operation: OperationRecord, each: object = None, limit: int = 4000) -> OperationRecord:
    """Let everybody go on until the operation has ended."""
    for _ in range(limit):
        fleet.claim()
        for actor in list(fleet.stage.alive()):
            actor.step()
        if callable(each):
            each()
        if fleet.show(operation.id).state.is_final:
            break
    return fleet.show(operation.id)


def test_groups_are_as_large_as_the_rest_can_hold_unused_first_masters_last(make_fleet: Make) -> None:
    fleet = make_fleet(hosts=4, memory_gib=4, hypervisor="xenserver")
    for host in ("h0", "h1", "h2"):
        fleet.add_vm(f"v-{host}", host, gib=2)
    found = plan(fleet)
    assert not found.impossible
    assert found.groups[-1].hosts == ("h0",), "the master, last and alone"
    assert found.groups[0].hosts[0] == "h3", "unused hosts first"
    assert sorted(host for group in found.groups for host in group.hosts) == ["h0", "h1", "h2", "h3"]
    assert all(len(group.hosts) == 1 for group in plan(fleet, 1).groups)


def test_each_group_leaves_every_vm_a_destination(make_fleet: Make) -> None:
    fleet = make_fleet(hosts=3, memory_gib=4)
    for number, host in enumerate(("h0", "h1", "h2")):
        fleet.add_vm(f"v{number}", host, gib=3)
    found = plan(fleet)
    assert not found.groups and {blocker.subject for blocker in found.impossible} == {"h0", "h1", "h2"}
    with pytest.raises(NoCapacity):
        roll(fleet)
    fleet = make_fleet(hosts=4, memory_gib=8)
    for number in range(8):
        fleet.add_vm(f"v{number}", f"h{number % 4}", gib=2)
    found = plan(fleet)
    assert sum(len(group.hosts) for group in found.groups) == 4
    assert max(len(group.hosts) for group in found.groups) == 2, "16 GiB of VMs need two hosts of 8 GiB"


def test_a_large_cluster_is_planned_with_few_plans(make_fleet: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = make_fleet(hosts=24, memory_gib=8)
    for number in range(48):
        fleet.add_vm(f"v{number}", f"h{number % 24}", gib=1)
    asked = []
    real = rolling.plan_evacuation
    monkeypatch.setattr(rolling, "plan_evacuation", lambda *args, **named: asked.append(args) or real(*args, **named))
    found = plan(fleet)
    assert sum(len(group.hosts) for group in found.groups) == 24 and len(found.groups) <= 4
    assert len(asked) < 24 + 60


def test_it_rolls_through_and_comes_back_by_itself_when_nobody_works_on_the_hosts(make_fleet: Make) -> None:
    fleet = make_fleet(hosts=3)
    for number in range(3):
        fleet.add_vm(f"v{number}", f"h{number}")
    record = rounds(fleet, roll(fleet, work="none", group_size=1))
    assert record.state is OperationState.SUCCEEDED, record.error
    assert [fleet.host(name).resource_state for name in ("h0", "h1", "h2")] == ["Enabled"] * 3
    assert all(len(fleet.where(f"v{number}")) == 1 for number in range(3))


def test_it_waits_for_a_person_and_is_found_again_after_a_kill(make_fleet: Make) -> None:
    fleet = make_fleet(hosts=2)
    fleet.add_vm("a", "h0")
    operation = roll(fleet, group_size=1)
    out: list[str] = []

    def work() -> None:
        for name in ("h0", "h1"):
            if fleet.host(name).resource_state == "Maintenance" and name not in out:
                out.append(name)
                fleet.crash()
                submitted = fleet.submit("host.cancel-maintenance", rolling.CancelMaintenance(target=name, confirmed=True))
                assert submitted.operation is not None

    assert rounds(fleet, operation, work).state is OperationState.SUCCEEDED
    assert sorted(out) == ["h0", "h1"]


def test_the_first_failure_stops_it(make_fleet: Make) -> None:
    fleet = make_fleet(hosts=3)
    fleet.add_vm("a", "h0")
    fleet.add_vm("b", "h1")
    fleet.world.faults.fail("move:copy", "*", times=99)
    record = rounds(fleet, roll(fleet, work="none", group_size=1))
    assert record.state is OperationState.FAILED and record.error is not None and record.error.message.startswith("h0: ")
    assert fleet.host("h1").resource_state == "Enabled" and fleet.where("b") == ("h1",), "no further host was begun"


def test_nonsense_is_refused(make_fleet: Make) -> None:
    fleet = make_fleet()
    with pytest.raises(InvalidInput):
        roll(fleet, reason="", work="sleep", group_size=-1)
    with pytest.raises(ConfirmationRequired):
        roll(fleet, confirmed=False)


