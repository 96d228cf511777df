"""A cluster's password is the same everywhere or nowhere: set on all, or set back, or flagged with the hosts named."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from fleet_tui.backend.errors import AuthFailed, ConfirmationRequired, InvalidInput, WrongState
from fleet_tui.backend.hosts import SetClusterPassword, access
from fleet_tui.backend.hosts.links import Links
from fleet_tui.backend.hosts.rows import ClusterRow
from fleet_tui.backend.operations import OperationRecord, OperationState
from fleet_tui.backend.operations.rows import LeaseRow, OperationRow
from fleet_tui.backend.remote import Answer
from fleet_tui.backend.store import Store
from tests.backend.hosts.fleet import PASSWORD, Fleet, Works
from tests.waiting import until

NEW = "new secret: 2é"


@pytest.fixture
def fleet(store: Store) -> Fleet:
    return Fleet(store)


@pytest.fixture
def links(fleet: Fleet) -> Iterator[Links]:
    with fleet.links() as links:
        until(lambda: all(fleet.state(n) == ("up", "") for n in (1, 2, 3)))
        yield links


@pytest.fixture
def works(fleet: Fleet, links: Links) -> Works:
    return Works(fleet, links)


def apply(works: Works, password: str = NEW, record: bool = False) -> OperationRecord:
    return works.through("cluster.password", SetClusterPassword(target="c1", password=password, record=record, confirmed=True))


def on_hosts(fleet: Fleet) -> list[str]:
    return [fleet.reach.machine(fleet.host(n).address).users["root"] for n in (1, 2, 3)]


def stored(fleet: Fleet) -> list[str]:
    return [access.login_of(fleet.host(n), fleet.sealer).password for n in (1, 2, 3)]


def mismatch(fleet: Fleet) -> dict[str, str]:
    with fleet.store.read() as tx:
        return dict(tx.get_one(ClusterRow, "c-1").mismatch)


def test_it_is_set_on_every_host_and_then_stored(fleet: Fleet, works: Works) -> None:
    record = apply(works)
    assert record.state is OperationState.SUCCEEDED, record.error
    assert on_hosts(fleet) == stored(fleet) == [NEW] * 3 and mismatch(fleet) == {}


def test_it_is_nowhere_to_be_read(fleet: Fleet, works: Works) -> None:
    commands: list[str] = []
    fleet.reach.on("chpasswd*", lambda machine, command, given: commands.append(command) or Answer(1, "", f"BAD PASSWORD {given}"))
    record = apply(works)
    assert record.state is OperationState.FAILED and commands and set(commands) == {"chpasswd"}
    with fleet.store.read() as tx:
        op = tx.scalars(select(OperationRow)).one()
        kept = json.dumps([op.request, op.parameters, op.error_message, [step.error_message for step in op.steps]], ensure_ascii=False)
    assert NEW not in kept and not any(NEW in line for line in works.said()) and "BAD PASSWORD" in kept


@pytest.mark.parametrize("password", ["short", "x" * 129, "with\nbreak", "with\ttab", ""])
def test_a_password_is_refused_for(works: Works, password: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        apply(works, password)
    assert refused.value.problems[0].field == "password" and (not password or password not in str(refused.value))


def test_all_hosts_must_be_up_and_it_must_be_confirmed(fleet: Fleet, works: Works) -> None:
    with pytest.raises(ConfirmationRequired):
        works.submit("cluster.password", SetClusterPassword(target="c1", password=NEW))
    fleet.world.power_off("kvm-2")
    until(fleet.stands(2, "alert", "unreachable"))
    with pytest.raises(WrongState, match="kvm-2 is not"):
        apply(works)
    with pytest.raises(WrongState, match="runs no hypervisor"):
        works.submit("cluster.password", SetClusterPassword(target="local", password=NEW, confirmed=True))


def test_the_whole_cluster_is_held(fleet: Fleet, works: Works) -> None:
    works.submit("cluster.password", SetClusterPassword(target="c1", password=NEW, confirmed=True))
    works.bench.claim()
    with fleet.store.read() as tx:
        assert {(row.level, row.name, row.shared) for row in tx.scalars(select(LeaseRow))} == {("zone", "z-1", True), ("cluster", "c-1", False)}


def test_a_host_that_refuses_ends_it_before_anything_is_changed(fleet: Fleet, works: Works) -> None:
    fleet.reach.set_password(fleet.host(3).address, "root", "changed by hand")
    record = apply(works)
    assert record.error is not None and (record.failed_step, record.error.code) == ("log-in", "partial") and "kvm-3" in record.error.message
    assert on_hosts(fleet) == [PASSWORD, PASSWORD, "changed by hand"] and stored(fleet) == [PASSWORD] * 3 and mismatch(fleet) == {}


def test_hosts_that_were_changed_are_set_back(fleet: Fleet, works: Works) -> None:
    fleet.reach.on("chpasswd", Answer(1, "", "the disk is full"), machine="kvm-3")
    record = apply(works)
    assert (record.state, record.failed_step, record.rollback) == (OperationState.FAILED, "change", "done")
    assert on_hosts(fleet) == stored(fleet) == [PASSWORD] * 3 and mismatch(fleet) == {}
    assert "kvm-1: set back to the stored password" in works.said()


def test_one_that_cannot_be_set_back_flags_the_cluster_until_it_matches_again(fleet: Fleet, links: Links, works: Works) -> None:
    fleet.reach.on("chpasswd", lambda machine, command, given: _cut(fleet, machine.name), machine="kvm-2")
    fleet.reach.on("chpasswd", lambda machine, command, given: _once(fleet, machine.name, given), machine="kvm-1")
    record = apply(works)
    assert (record.state, record.rollback) == (OperationState.FAILED, "failed")
    assert set(mismatch(fleet)) == {"kvm-1"} and on_hosts(fleet)[0] == NEW and stored(fleet) == [PASSWORD] * 3
    with pytest.raises(AuthFailed, match="kvm-1"):
        links.shell("h-2")
    fleet.reach._replies.clear()
    for number in (2, 3):
        fleet.reach.set_password(fleet.host(number).address, "root", NEW)
    assert apply(works, record=True).state is OperationState.SUCCEEDED
    assert mismatch(fleet) == {} and stored(fleet) == [NEW] * 3


def _cut(fleet: Fleet, name: str) -> Answer:
    return Answer(1, "", "no")


def _once(fleet: Fleet, name: str, given: str) -> Answer:
    """Takes the new password and never another one."""
    machine = fleet.reach.machine(fleet.host(1).address)
    if machine.users["root"] == PASSWORD:
        machine.users["root"] = given.rstrip("\n").partition(":")[2]
        return Answer(0, "", "")
    return Answer(1, "", "password history")


def test_setting_it_again_heals_a_flagged_cluster(fleet: Fleet, works: Works) -> None:
    fleet.reach.set_password(fleet.host(1).address, "root", NEW)
    fleet.change("c-1", ClusterRow, mismatch={"kvm-1": "could not be set back"})
    assert apply(works).state is OperationState.SUCCEEDED
    assert on_hosts(fleet) == stored(fleet) == [NEW] * 3 and mismatch(fleet) == {}


def test_recording_changes_no_host_and_stores_only_what_all_accept(fleet: Fleet, works: Works) -> None:
    fleet.reach.set_password(fleet.host(1).address, "root", NEW)
    record = apply(works, record=True)
    assert record.error is not None and record.error.code == "partial" and "kvm-2" in record.error.message and "kvm-1" not in record.error.message
    assert on_hosts(fleet) == [NEW, PASSWORD, PASSWORD] and stored(fleet) == [PASSWORD] * 3
    for number in (2, 3):
        fleet.reach.set_password(fleet.host(number).address, "root", NEW)
    assert apply(works, record=True).state is OperationState.SUCCEEDED and stored(fleet) == [NEW] * 3


class Killed(BaseException):
    pass


@pytest.mark.parametrize("fails", [False, True])
def test_killed_anywhere_it_ends_with_one_password_everywhere(fleet: Fleet, links: Links, fails: bool) -> None:
    points: list[str] = []

    def checkpoint(point: str) -> None:
        if point not in points:
            points.append(point)
            raise Killed

    if fails:
        fleet.reach.on("chpasswd", Answer(1, "", "no"), machine="kvm-3")
    works = Works(fleet, links, checkpoint)
    operation = works.submit("cluster.password", SetClusterPassword(target="c1", password=NEW, confirmed=True)).operation
    works.bench.claim()
    for _ in range(100):
        try:
            record = works.bench.run(operation.id)
            break
        except Killed:
            continue
    expected = PASSWORD if fails else NEW
    assert record.state is (OperationState.FAILED if fails else OperationState.SUCCEEDED)
    assert on_hosts(fleet) == stored(fleet) == [expected] * 3 and mismatch(fleet) == {}


def test_a_cancel_in_between_sets_back(fleet: Fleet, works: Works) -> None:
    operation = works.submit("cluster.password", SetClusterPassword(target="c1", password=NEW, confirmed=True)).operation

    def cancel_then_do(machine: object, command: str, given: str) -> Answer:
        fleet.reach._replies.clear()
        works.bench.cancel(operation.id)
        fleet.reach.machine(fleet.host(1).address).users["root"] = given.rstrip("\n").partition(":")[2]
        return Answer(0, "", "")

    fleet.reach.on("chpasswd", cancel_then_do, machine="kvm-1")
    works.bench.claim()
    assert works.bench.run(operation.id).state is OperationState.CANCELLED
    assert on_hosts(fleet) == stored(fleet) == [PASSWORD] * 3
