"""A data disk that grows while its instance runs, on the fake provider with the real engine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleet_tui.backend.errors import InvalidInput, WrongState
from fleet_tui.backend.instances import GrowDisk, ProvisionInstance, StopInstance
from fleet_tui.backend.instances.rows import InstanceRow
from fleet_tui.backend.instances.settings import find_row
from fleet_tui.backend.operations import OperationState
from tests.backend.providers.yard import Yard


def running(yard: Yard, label: str) -> InstanceRow:
    yard.create(label)
    with yard.store.write() as tx:
        row = find_row(tx, label)
        row.settings = {**row.settings, "data_disk.size_max_gb": 80}
    assert yard.run("instance.provision", ProvisionInstance(target=label)).state is OperationState.SUCCEEDED
    with yard.store.read() as tx:
        return find_row(tx, label)


def test_it_grows_for_good_and_nothing_waits_for_a_reprovision(yard: Yard) -> None:
    before = running(yard, "grow-1")
    ended = yard.run("instance.grow", GrowDisk(target="grow-1", size_gb=70))
    assert ended.state is OperationState.SUCCEEDED and [step.name for step in ended.steps] == ["grow-disk", "grow-file-system"]
    disk = yard.provider.find_disk(before.disk_id)
    assert disk is not None and disk.size_gb == 70
    record = yard.instance("grow-1")
    assert record.data_disk.size_gb == 70 and not record.pending_changes and record.version == before.version + 1
    assert any("grows from 50 to 70" in line.text for line in yard.log("grow-1"))


@pytest.mark.parametrize(("size", "word"), [(50, "only grows"), (10, "only grows"), (81, "size_max_gb")])
def test_smaller_and_larger_than_allowed_are_refused(yard: Yard, size: int, word: str) -> None:
    label = f"grow-refused-{size}"
    running(yard, label)
    with pytest.raises(InvalidInput, match=word):
        yard.engine.submit("instance.grow", GrowDisk(target=label, size_gb=size), "tester")


def test_what_does_not_run_is_grown_by_its_settings(yard: Yard) -> None:
    running(yard, "grow-3")
    yard.run("instance.stop", StopInstance(target="grow-3", confirmed=True))
    with pytest.raises(WrongState, match="running"):
        yard.engine.submit("instance.grow", GrowDisk(target="grow-3", size_gb=60), "tester")


def test_a_file_system_that_does_not_follow_is_said_and_the_disk_has_grown(yard: Yard) -> None:
    row = running(yard, "grow-4")
    yard.provider.faults.fail("command:grow-disk", "grow-4")
    ended = yard.run("instance.grow", replace(GrowDisk(target="grow-4"), size_gb=60))
    assert ended.state is OperationState.SUCCEEDED and yard.instance("grow-4").data_disk.size_gb == 60
    disk = yard.provider.find_disk(row.disk_id)
    assert disk is not None and disk.size_gb == 60
    assert any(line.level == "warn" and "grow-disk" in line.text for line in yard.log("grow-4"))
