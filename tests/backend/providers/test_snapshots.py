"""Snapshots of data disks on the fake provider with the real engine: what a failure leaves, and deleting one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from fleet_tui.backend.errors import Busy, ConfirmationRequired, NotFound, Unreachable
from fleet_tui.backend.instances import (
    DeleteInstance,
    DeleteSnapshot,
    DeprovisionInstance,
    ProvisionInstance,
    ReprovisionInstance,
    SnapshotDisk,
    SnapshotRecord,
    queries,
)
from fleet_tui.backend.instances.rows import SnapshotRow
from fleet_tui.backend.instances.settings import find_row
from fleet_tui.backend.instances.snapshots import AUTOMATIC, end_schedules_of_none, follow_schedule
from fleet_tui.backend.operations import OperationRecord, OperationRequest, OperationState, schedule
from tests.backend.providers.yard import Yard


def running(yard: Yard, label: str) -> str:
    """Id of the data disk of a new instance."""
    disk = f"d-{yard.create(label).removeprefix('i-')}"
    assert yard.run("instance.provision", ProvisionInstance(target=label)).state is OperationState.SUCCEEDED
    return disk


def taken(yard: Yard, label: str, reason: str = "", user: str = "") -> str:
    """Id of a new snapshot; the schedule takes what is for its reason, unless somebody else does."""
    user = user or (schedule.USER if reason == AUTOMATIC else "tester")
    ended = yard.run("instance.snapshot", SnapshotDisk(target=label, reason=reason), user=user)
    assert ended.state is OperationState.SUCCEEDED, ended.error
    return f"s-{ended.id.removeprefix('o-')}"


def listed(yard: Yard, label: str) -> tuple[SnapshotRecord, ...]:
    with yard.store.read() as tx:
        return queries.list_snapshots(tx, label)


def kept(yard: Yard) -> set[str]:
    """Where the disks are."""
    return set(yard.provider._ledger.snapshots)


def test_a_copy_that_fails_leaves_nothing_where_the_disk_is(yard: Yard) -> None:
    disk, before = running(yard, "half"), kept(yard)
    yard.provider.faults.fail("snapshot_disk", disk, error=Unreachable("the answer was lost"), after=True)
    ended = yard.run("instance.snapshot", SnapshotDisk(target="half"))
    assert (ended.state, ended.failed_step, ended.rollback) == (OperationState.FAILED, "copy", "done")
    assert kept(yard) == before and listed(yard, "half") == ()


def test_a_whole_copy_stays_whatever_fails_after_it(yard: Yard) -> None:
    running(yard, "whole-copy")
    with yard.store.write() as tx:
        row = find_row(tx, "whole-copy")
        row.settings = {**row.settings, "auto_snapshot.keep": 1}
    first = taken(yard, "whole-copy", AUTOMATIC)
    yard.provider.faults.fail("delete_snapshot", first)
    ended = yard.run("instance.snapshot", SnapshotDisk(target="whole-copy", reason=AUTOMATIC), user=schedule.USER)
    assert (ended.state, ended.failed_step) == (OperationState.FAILED, "prune")
    assert {record.id for record in listed(yard, "whole-copy")} == {first, f"s-{ended.id.removeprefix('o-')}"} <= kept(yard)


# --- deleting one ------------------------------------------------------------------------------------------------------


def deleted(yard: Yard, snapshot: str, instance: str = "") -> OperationRecord:
    return yard.run("snapshot.delete", DeleteSnapshot(target=snapshot, instance=instance, confirm=snapshot))


@contextmanager
def held(yard: Yard, verb: str, kind: str, request: OperationRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An operation that stands in the middle of a verb of the provider while the block runs; gives its id."""
    entered, go_on = threading.Event(), threading.Event()
    really: Callable[..., object] = getattr(yard.provider, verb)

    def wait(*given: object, **named: object) -> object:
        entered.set()
        assert go_on.wait(60.0)
        return really(*given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(yard.provider, verb, wait)
        submitted = yard.engine.submit(kind, request, schedule.USER if getattr(request, "reason", "") == AUTOMATIC else "tester").operation
        assert submitted is not None
        try:
            assert entered.wait(60.0)
            yield submitted.id
        finally:
            go_on.set()
            yard.finish(submitted.id)


def test_it_goes_with_its_record_once_its_id_is_typed(yard: Yard) -> None:
    running(yard, "weeded")
    first, second = taken(yard, "weeded", "before the change"), taken(yard, "weeded")
    for typed in ("", "weeded", second):
        with pytest.raises(ConfirmationRequired, match="cannot be undone"):
            yard.engine.submit("snapshot.delete", DeleteSnapshot(target=first, confirm=typed), "tester")
    plan = yard.engine.submit("snapshot.delete", DeleteSnapshot(target=first, dry_run=True), "tester").plan
    assert plan is not None and not plan.refusals and "before the change" in plan.changes[0]
    assert first in kept(yard)
    ended = deleted(yard, first, "weeded")
    assert (ended.state, ended.target_ref) == (OperationState.SUCCEEDED, f"snapshot:{first}")
    assert [record.id for record in listed(yard, "weeded")] == [second] and first not in kept(yard) and second in kept(yard)
    with pytest.raises(NotFound):
        deleted(yard, first)


def test_another_instances_is_not_found(yard: Yard) -> None:
    running(yard, "mine")
    snapshot = taken(yard, "mine")
    running(yard, "theirs")
    with pytest.raises(NotFound, match="theirs has no snapshot"):
        deleted(yard, snapshot, "theirs")
    assert snapshot in kept(yard)
    assert deleted(yard, snapshot, "MINE").state is OperationState.SUCCEEDED


def test_those_of_a_deleted_instance_can_still_be_listed_and_deleted(yard: Yard) -> None:
    running(yard, "departed")
    snapshot = taken(yard, "departed")
    yard.run("instance.deprovision", DeprovisionInstance(target="departed", confirmed=True))
    assert yard.run("instance.delete", DeleteInstance(target="departed", confirm="departed")).state is OperationState.SUCCEEDED
    assert [record.id for record in listed(yard, "departed")] == [snapshot] and snapshot in kept(yard)
    assert deleted(yard, snapshot, "departed").state is OperationState.SUCCEEDED
    assert snapshot not in kept(yard)
    with pytest.raises(NotFound):
        listed(yard, "departed")


def test_a_restore_and_a_deletion_exclude_each_other(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    running(yard, "back")
    snapshot, other = taken(yard, "back"), taken(yard, "back")
    restore = ReprovisionInstance(target="back", snapshot=snapshot, confirmed=True)
    with held(yard, "restore_disk", "instance.reprovision", restore, monkeypatch):
        with pytest.raises(Busy, match="being set back"):
            deleted(yard, snapshot)
        waiting = yard.engine.submit("snapshot.delete", DeleteSnapshot(target=other, confirm=other), "tester").operation
        assert waiting is not None
    assert yard.finish(waiting.id).state is OperationState.SUCCEEDED, "of another one it waits for its turn"
    with held(yard, "delete_snapshot", "snapshot.delete", DeleteSnapshot(target=snapshot, confirm=snapshot), monkeypatch):
        with pytest.raises(Busy, match="being deleted"):
            yard.engine.submit("instance.reprovision", restore, "tester")
    assert listed(yard, "back") == ()


def test_one_that_is_being_made_is_refused(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    running(yard, "made-now")
    with yard.store.write() as tx:
        row = find_row(tx, "made-now")
        row.settings = {**row.settings, "auto_snapshot.keep": 1}
    taken(yard, "made-now", AUTOMATIC)
    making = SnapshotDisk(target="made-now", reason=AUTOMATIC)
    with held(yard, "delete_snapshot", "instance.snapshot", making, monkeypatch) as operation:  # whole, and the older one is pruned
        with pytest.raises(Busy, match="still being made"):
            deleted(yard, f"s-{operation.removeprefix('o-')}")
    assert [record.id for record in listed(yard, "made-now")] == [f"s-{operation.removeprefix('o-')}"]


def test_two_of_one_instance_are_two_operations(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    running(yard, "both")
    first, second = taken(yard, "both"), taken(yard, "both")
    with held(yard, "delete_snapshot", "snapshot.delete", DeleteSnapshot(target=first, confirm=first), monkeypatch) as operation:
        again = yard.engine.submit("snapshot.delete", DeleteSnapshot(target=first, confirm=first), "tester")
        assert again.deduplicated and again.operation is not None and again.operation.id == operation
        other = yard.engine.submit("snapshot.delete", DeleteSnapshot(target=second, confirm=second), "tester")
        assert not other.deduplicated and other.operation is not None and other.operation.id != operation
    assert yard.finish(other.operation.id).state is OperationState.SUCCEEDED
    assert listed(yard, "both") == ()


def test_a_lost_answer_is_asked_for_again(yard: Yard) -> None:
    running(yard, "lost-answer")
    snapshot = taken(yard, "lost-answer")
    yard.provider.faults.fail("delete_snapshot", snapshot, error=Unreachable("the answer was lost"), after=True)
    assert deleted(yard, snapshot).state is OperationState.SUCCEEDED
    assert listed(yard, "lost-answer") == () and snapshot not in kept(yard)


def test_one_that_a_restore_waits_for_is_not_pruned(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    running(yard, "pruned")
    with yard.store.write() as tx:
        row = find_row(tx, "pruned")
        row.settings = {**row.settings, "auto_snapshot.keep": 1}
    oldest = taken(yard, "pruned", AUTOMATIC)
    with held(yard, "snapshot_disk", "instance.snapshot", SnapshotDisk(target="pruned", reason=AUTOMATIC), monkeypatch):
        restore = ReprovisionInstance(target="pruned", snapshot=oldest, confirmed=True)
        waiting = yard.engine.submit("instance.reprovision", restore, "tester").operation
        assert waiting is not None
    assert yard.finish(waiting.id).state is OperationState.SUCCEEDED
    assert len(listed(yard, "pruned")) == 2


def test_it_is_deleted_in_the_region_where_it_was_made(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    running(yard, "abroad")
    snapshot = taken(yard, "abroad")
    with yard.store.write() as tx:
        tx.get_one(SnapshotRow, snapshot).region = "eu-west-3"
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(yard.provider, "delete_snapshot", lambda *given: asked.append(given))
    assert deleted(yard, snapshot).state is OperationState.SUCCEEDED
    assert asked == [(snapshot, "eu-west-3")]


# --- automatic ones ------------------------------------------------------------------------------------------------------


def schedules(yard: Yard) -> set[str]:
    with yard.store.read() as tx:
        return {record.name for record in schedule.find(tx)}


def scheduled(yard: Yard, label: str) -> str:
    """Name of the schedule of a new instance that wants automatic snapshots."""
    yard.create(label)
    with yard.store.write() as tx:
        row = find_row(tx, label)
        row.settings = {**row.settings, "auto_snapshot.enabled": True, "auto_snapshot.period_h": 1}
        follow_schedule(tx, row, yard.clock)
        return f"snapshot:{row.id}"


def test_the_schedule_goes_with_its_instance(yard: Yard) -> None:
    gone, stays = scheduled(yard, "scheduled-1"), scheduled(yard, "scheduled-2")
    assert {gone, stays} <= schedules(yard)
    assert yard.run("instance.delete", DeleteInstance(target="scheduled-1", confirm="scheduled-1")).state is OperationState.SUCCEEDED
    assert gone not in schedules(yard) and stays in schedules(yard)


def test_what_a_person_took_is_not_pruned_whatever_they_call_it(yard: Yard) -> None:
    running(yard, "named")
    with yard.store.write() as tx:
        row = find_row(tx, "named")
        row.settings = {**row.settings, "auto_snapshot.keep": 1}
    theirs, old = taken(yard, "named", AUTOMATIC, "ada"), taken(yard, "named", AUTOMATIC)
    new = taken(yard, "named", AUTOMATIC)
    assert {record.id: record.automatic for record in listed(yard, "named")} == {theirs: False, new: True} and old not in kept(yard)


def test_schedules_that_were_left_behind_go_at_the_start(yard: Yard) -> None:
    stays = scheduled(yard, "scheduled-3")
    with yard.store.write() as tx:
        for name in ("snapshot:i-gone", "snapshots", "retention"):
            schedule.ensure(tx, name=name, kind="instance.snapshot", target_ref="instance:i-gone", every_s=3600, now=yard.clock.now())
        before = {record.name for record in schedule.find(tx)}
        end_schedules_of_none(tx)
        end_schedules_of_none(tx)
    assert before - schedules(yard) == {"snapshot:i-gone"} and stays in schedules(yard)
