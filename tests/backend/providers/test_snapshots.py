"""Snapshots of data disks on the fake provider with the real engine: what a failure leaves, and deleting one."""

from __future__ import annotations

from fleet_tui.backend.errors import Unreachable
from fleet_tui.backend.instances import ProvisionInstance, SnapshotDisk, SnapshotRecord, queries
from fleet_tui.backend.instances.settings import find_row
from fleet_tui.backend.instances.snapshots import AUTOMATIC
from fleet_tui.backend.operations import OperationState
from tests.backend.providers.yard import Yard


def running(yard: Yard, label: str) -> str:
    """Id of the data disk of a new instance."""
    disk = f"d-{yard.create(label).removeprefix('i-')}"
    assert yard.run("instance.provision", ProvisionInstance(target=label)).state is OperationState.SUCCEEDED
    return disk


def taken(yard: Yard, label: str, reason: str = "") -> str:
    """Id of a new snapshot."""
    ended = yard.run("instance.snapshot", SnapshotDisk(target=label, reason=reason))
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
    ended = yard.run("instance.snapshot", SnapshotDisk(target="whole-copy", reason=AUTOMATIC))
    assert (ended.state, ended.failed_step) == (OperationState.FAILED, "prune")
    assert {record.id for record in listed(yard, "whole-copy")} == {first, f"s-{ended.id.removeprefix('o-')}"} <= kept(yard)
