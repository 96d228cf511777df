"""What no instance has: it is found at every provider, and removed; what one has is neither."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleet_tui.backend import instances as i
from fleet_tui.backend.errors import ConfirmationRequired, InUse, InvalidInput, Unreachable
from fleet_tui.backend.events import ListEvents
from fleet_tui.backend.instances import orphans, settings
from fleet_tui.backend.instances.rows import SnapshotRow
from fleet_tui.backend.instances.states import InstanceState
from fleet_tui.backend.operations import OperationState
from fleet_tui.backend.providers import MachineSpec, Orphan, Providers
from fleet_tui.backend.providers.fake import FakeProvider
from tests.backend.providers.yard import Yard

S = OperationState


def found(yard: Yard) -> tuple[Orphan, ...]:
    listed = orphans.find(yard.store, yard.drivers.providers)
    assert not listed.unseen
    return listed.orphans


def removal(orphan: Orphan, **more: Any) -> i.RemoveOrphan:
    return i.RemoveOrphan(**{"target": orphan.id, "kind": orphan.kind, "provider": orphan.provider, "confirm": orphan.id, **more})


def remove(yard: Yard, orphan: Orphan) -> None:
    assert yard.run("orphan.remove", removal(orphan)).state is S.SUCCEEDED


def test_a_disk_that_was_kept_is_found_and_removed_when_its_id_is_typed(yard: Yard) -> None:
    assert not found(yard)
    assert yard.run("instance.deprovision", i.DeprovisionInstance(target="web", confirmed=True)).state is S.SUCCEEDED
    assert yard.run("instance.delete", i.DeleteInstance(target="web", confirm="web", keep_disk=True)).state is S.SUCCEEDED
    (disk,) = found(yard)
    assert (disk.kind, disk.provider, disk.detail) == ("disk", "fake", "free") and disk.size_bytes
    with pytest.raises(ConfirmationRequired, match="cannot be undone"):
        yard.engine.submit("orphan.remove", removal(disk, confirm="yes"), "tester")
    with pytest.raises(InvalidInput, match="nothing that can be removed"):
        yard.engine.submit("orphan.remove", removal(disk, kind="host"), "tester")
    plan = yard.engine.submit("orphan.remove", removal(disk, confirm="", dry_run=True), "tester").plan
    assert plan is not None and disk.id in plan.changes[0] and "everything on it is erased" in plan.consequences[0] and not plan.refusals
    assert found(yard) == (disk,)
    remove(yard, disk)
    assert not found(yard) and yard.provider.find_disk(disk.id) is None
    remove(yard, disk)  # which changes nothing, and says so
    assert any("was not there any more" in event.text for event in yard.feed.list(ListEvents(limit=3)))
    with pytest.raises(InvalidInput, match="is no id"):
        yard.engine.submit("orphan.remove", removal(disk, target="../x", confirm="../x"), "tester")


def test_a_disk_that_an_orphan_has_goes_after_it(yard: Yard) -> None:
    yard.provider.create_machine(MachineSpec("vm-lost", "i-lost", "lost", "t"), print)
    yard.provider.ensure_disk("d-lost", 7, "t", print)
    yard.provider.attach_disk("vm-lost", "d-lost")
    machine, disk = found(yard)
    refused = yard.run("orphan.remove", removal(disk))
    assert refused.error is not None and refused.error.code == "busy" and "fleet orphan remove" in refused.error.hint
    remove(yard, machine)
    remove(yard, disk)
    assert not found(yard)


def test_a_disk_that_something_elses_machine_has_is_to_be_freed_there(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    assert yard.run("instance.deprovision", i.DeprovisionInstance(target="web", confirmed=True)).state is S.SUCCEEDED
    find_disk = yard.provider.find_disk
    monkeypatch.setattr(yard.provider, "find_disk", lambda name: (disk := find_disk(name)) and replace(disk, attached_to="i-0abc"))
    for action, request in (("delete", i.DeleteInstance(target="web", confirm="web")), ("provision", i.ProvisionInstance(target="web"))):
        refused = yard.run(f"instance.{action}", request)
        assert refused.error is not None and "i-0abc is no machine of ours" in refused.error.hint, refused


def test_a_machine_that_a_restored_database_does_not_know_lets_the_disk_go(yard: Yard) -> None:
    machine = yard.instance("web").machine
    with yard.store.write() as tx:  # as of yesterday
        row = settings.find_row(tx, "web")
        row.machine, row.state, row.disk_made, row.applied = None, InstanceState.NEW.value, False, None
        disk = row.disk_id
    (orphan,) = found(yard)
    assert (orphan.kind, orphan.id, orphan.detail) == ("machine", machine, "on")
    refused = yard.run("instance.provision", i.ProvisionInstance(target="web"))
    assert refused.error is not None and machine in refused.error.message and "fleet orphan remove" in refused.error.hint
    remove(yard, orphan)
    assert not found(yard) and not yard.provider.machines()
    kept = yard.provider.find_disk(disk)
    assert kept is not None and kept.attached_to is None, "it is the instance's, and goes with nobody"
    for action, request in (("deprovision", i.DeprovisionInstance(target="web", confirmed=True)), ("provision", i.ProvisionInstance(target="web"))):
        assert yard.run(f"instance.{action}", request).state is S.SUCCEEDED
    assert yard.instance("web").state is InstanceState.RUNNING


def test_a_snapshot_without_a_record(yard: Yard) -> None:
    assert yard.run("instance.snapshot", i.SnapshotDisk(target="web")).state is S.SUCCEEDED and not found(yard)
    with yard.store.write() as tx:
        tx.delete(tx.query(SnapshotRow).one())
    (orphan,) = found(yard)
    assert (orphan.kind, orphan.detail) == ("snapshot", f"of {yard.provider.disks()[0].id}")
    remove(yard, orphan)
    assert not found(yard) and not yard.provider.snapshots()


def test_what_an_instance_has_is_not_removed(yard: Yard) -> None:
    assert yard.run("instance.snapshot", i.SnapshotDisk(target="web")).state is S.SUCCEEDED
    (disk,), (snapshot,), machine = yard.provider.disks(), yard.provider.snapshots(), yard.instance("web").machine
    assert machine is not None
    for kind, target in (("machine", machine), ("disk", disk.id), ("snapshot", snapshot.id)):
        with pytest.raises(InUse, match="belongs to web"):
            yard.engine.submit("orphan.remove", i.RemoveOrphan(target=target, kind=kind, provider="fake", confirm=target), "tester")
    assert yard.instance("web").state is InstanceState.RUNNING


def test_one_that_is_being_made_is_not_taken_for_one(yard: Yard) -> None:
    original = yard.provider.snapshot_disk

    def made(*args: Any) -> Any:
        told = original(*args)
        assert not found(yard), "it is there, and its record is not"
        return told

    yard.provider.snapshot_disk = made  # type: ignore[method-assign]
    assert yard.run("instance.snapshot", i.SnapshotDisk(target="web")).state is S.SUCCEEDED


def test_a_provider_that_does_not_answer_hides_nothing_of_the_others(yard: Yard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    silent = FakeProvider(tmp_path / "silent", pace=0)
    silent.name = "far"

    def away() -> Any:
        raise Unreachable("nobody answers there")

    monkeypatch.setattr(silent, "disks", away)
    yard.provider.ensure_disk("d-lost", 7, "t", lambda text: None)
    listed = orphans.find(yard.store, Providers(silent, yard.provider))
    silent.close()
    assert [one.id for one in listed.orphans] == ["d-lost"] and listed.unseen == ("far: nobody answers there",)
