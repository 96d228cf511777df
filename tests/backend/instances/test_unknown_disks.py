"""With a database of yesterday: a data disk that the record never made is in use, and nothing erases it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_tui.backend import instances as i
from fleet_tui.backend.instances import settings
from fleet_tui.backend.instances.rows import InstanceRow
from fleet_tui.backend.instances.states import InstanceState
from fleet_tui.backend.operations import OperationRecord, OperationState
from fleet_tui.backend.store import Store
from tests.backend.providers.yard import Yard, opened

S = OperationState


@pytest.fixture
def yard(store: Store, tmp_path: Path) -> Iterator[Yard]:
    with opened(store, tmp_path) as found:
        found.create("web")
        yield found


def row(yard: Yard) -> InstanceRow:
    with yard.store.read() as tx:
        return settings.find_row(tx, "web")


def work_of_today(yard: Yard) -> Path:
    """A disk with a day's work on it, of which the record knows nothing."""
    disk = yard.provider.ensure_disk(row(yard).disk_id, 50, "o-today:ensure-data-disk", lambda text: None)
    file = Path(disk.path) / "application" / "work"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("a day of work")
    return file


def refused(record: OperationRecord, step: str, *words: str) -> None:
    assert (record.state, record.failed_step) == (S.FAILED, step), record
    assert record.error is not None and record.error.hint
    for word in words:
        assert word in record.error.message, record.error


def test_a_deletion_erases_no_disk_that_its_plan_does_not_name(yard: Yard) -> None:
    work = work_of_today(yard)
    refused(yard.run("instance.delete", i.DeleteInstance(target="web", confirm="web")), "check-data-disk", row(yard).disk_id, "never made")
    record = yard.instance("web")
    assert (record.state, record.failure) == (InstanceState.NEW, "") and work.read_text() == "a day of work"
    assert yard.run("instance.delete", i.DeleteInstance(target="web", confirm="web", keep_disk=True)).state is S.SUCCEEDED
    assert work.read_text() == "a day of work"


def test_a_provision_that_fails_keeps_the_disk_that_it_found(yard: Yard) -> None:
    work = work_of_today(yard)
    yard.provider.faults.fail("create_machine", "web", 2)
    refused(yard.run("instance.provision", i.ProvisionInstance(target="web")), "create-machine")
    assert work.read_text() == "a day of work"
    assert row(yard).disk_made and any("never made by its record" in line.text for line in yard.log("web"))
    assert yard.run("instance.reprovision", i.ReprovisionInstance(target="web", confirmed=True)).state is S.SUCCEEDED
    assert work.read_text() == "a day of work"


def test_a_deletion_of_what_runs_in_truth_leaves_its_snapshots_too(yard: Yard) -> None:
    assert yard.run("instance.provision", i.ProvisionInstance(target="web")).state is S.SUCCEEDED
    assert yard.run("instance.snapshot", i.SnapshotDisk(target="web", reason="automatic")).state is S.SUCCEEDED
    machine = yard.instance("web").machine
    with yard.store.write() as tx:
        yesterday = settings.find_row(tx, "web")
        yesterday.state, yesterday.machine = InstanceState.DEPROVISIONED.value, None
    refused(yard.run("instance.delete", i.DeleteInstance(target="web", confirm="web")), "check-data-disk", f"attached to {machine}")
    assert yard.instance("web").state is InstanceState.DEPROVISIONED and len(yard.provider._ledger.snapshots) == 1


@pytest.mark.parametrize("lost", [0, 1])
def test_a_disk_that_this_run_made_goes_with_it(yard: Yard, lost: int) -> None:
    """If it cannot be removed, the record goes on saying that there is one."""
    yard.provider.faults.fail("create_machine", "web", 2)
    yard.provider.faults.fail("delete_disk", "*", lost)
    refused(yard.run("instance.provision", i.ProvisionInstance(target="web")), "create-machine")
    assert row(yard).disk_made is (yard.provider.find_disk(row(yard).disk_id) is not None) is bool(lost)
    assert yard.run("instance.delete", i.DeleteInstance(target="web", confirm="web")).state is S.SUCCEEDED
    assert not yard.provider._ledger.disks
