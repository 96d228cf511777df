"""What is known to keep a new machine from coming up is said while the old one still runs."""

from __future__ import annotations

import pytest

from fleet_tui.backend import instances as i
from fleet_tui.backend.errors import InvalidInput, Unreachable
from fleet_tui.backend.instances import settings
from fleet_tui.backend.instances.rows import ImageRow, NetworkRow, TemplateRow
from fleet_tui.backend.instances.states import Health, InstanceState
from fleet_tui.backend.operations import OperationState
from tests.backend.providers.yard import Yard

S = OperationState
REBUILD = i.ReprovisionInstance(target="web", confirmed=True)


def refused(yard: Yard, *words: str) -> None:
    """At once, in the dry run too, and nothing has begun."""
    planned = yard.engine.submit("instance.reprovision", i.ReprovisionInstance(target="web", confirmed=True, dry_run=True), "tester").plan
    assert planned is not None and planned.refusals
    with pytest.raises(InvalidInput) as error:
        yard.engine.submit("instance.reprovision", REBUILD, "tester")
    for word in words:
        assert word in error.value.message and word in planned.refusals[0].message
    assert yard.instance("web").state is InstanceState.RUNNING


def goes_on(yard: Yard, *words: str, request: i.ReprovisionInstance = REBUILD) -> None:
    """Refused by the step that looks, and the same machine goes on."""
    machine = yard.instance("web").machine
    ended = yard.run("instance.reprovision", request)
    assert (ended.state, ended.failed_step) == (S.FAILED, "check-settings") and ended.error is not None
    for word in words:
        assert word in ended.error.message
    record = yard.instance("web")
    assert (record.state, record.health, record.machine) == (InstanceState.RUNNING, Health.OK, machine)
    assert machine in [one.id for one in yard.provider.machines()]


def test_an_image_that_is_older_than_the_data(yard: Yard) -> None:
    with yard.store.write() as tx:
        tx.add(ImageRow(
            id="m-old", name="hello-app", version="1.0.0", sha256="1" * 64, size_bytes=0, path=str(yard.folder / "bundle.tar"),
            manifest={"name": "hello-app", "version": "1.0.0", "start": "true", "port": 8080}, created_at=yard.clock.now(),
        ))
        tx.flush()
        settings.edit(tx, i.EditInstance("web", settings.find_row(tx, "web").version, {"image": "hello-app 1.0.0"}), yard.clock)
    refused(yard, "hello-app 1.0.0 is older than 1.4.0")


def test_a_port_that_another_instance_has(yard: Yard) -> None:
    yard.create("db")
    with yard.store.write() as tx:
        settings.find_row(tx, "db").port = 20777
        template = tx.query(TemplateRow).one()
        template.setup_actions = [{
            "kind": "application_port", "name": "port", "stage": "before_install", "enabled": True, "parameters": {"port": 20777},
        }]
    refused(yard, "fixes port 20777, which db has")


def test_a_bundle_that_is_gone(yard: Yard) -> None:
    (yard.folder / "bundle.tar").rename(yard.folder / "elsewhere.tar")
    goes_on(yard, "bundle.tar is gone")
    (yard.folder / "elsewhere.tar").rename(yard.folder / "bundle.tar")
    assert yard.run("instance.reprovision", REBUILD).state is S.SUCCEEDED


def test_a_door_that_is_not_there_any_more(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yard.provider, "is_elsewhere", True)
    goes_on(yard, "could not call home")


def test_a_failed_one_is_failed_as_before_and_its_start_up_can_still_be_retried(yard: Yard) -> None:
    assert yard.run("instance.stop", i.StopInstance(target="web", confirmed=True)).state is S.SUCCEEDED
    yard.provider.faults.fail("phase:certificate", "web")
    assert yard.run("instance.start", i.StartInstance(target="web")).state is S.FAILED
    failed = yard.instance("web")
    assert (failed.state, failed.failed_stage) == (InstanceState.FAILED, "startup:certificate") and failed.failure
    (yard.folder / "bundle.tar").rename(yard.folder / "elsewhere.tar")
    assert yard.run("instance.reprovision", REBUILD).failed_step == "check-settings"
    record = yard.instance("web")
    assert (record.state, record.failed_stage, record.failure) == (failed.state, failed.failed_stage, failed.failure)
    (yard.folder / "elsewhere.tar").rename(yard.folder / "bundle.tar")
    assert yard.run("instance.retry", i.RetryStartup(target="web")).state is S.SUCCEEDED
    record = yard.instance("web")
    assert (record.state, record.failed_stage, record.failure) == (InstanceState.RUNNING, None, "")


def test_what_the_virtual_network_names_and_is_gone(yard: Yard) -> None:
    yard.provider.gone["subnet-1"] = "is gone"
    with yard.store.write() as tx:
        tx.query(NetworkRow).filter_by(label="local").one().subnet_id = "subnet-1"
    goes_on(yard, "no machine can be made on virtual network local now", "subnet-1 is gone")
    yard.provider.gone.clear()
    assert yard.run("instance.reprovision", REBUILD).state is S.SUCCEEDED


def test_a_snapshot_that_is_gone(yard: Yard) -> None:
    assert yard.run("instance.snapshot", i.SnapshotDisk(target="web")).state is S.SUCCEEDED
    (snapshot,) = yard.provider.snapshots()
    back = i.ReprovisionInstance(target="web", confirmed=True, snapshot=snapshot.id)
    assert yard.run("instance.reprovision", back).state is S.SUCCEEDED
    yard.provider.delete_snapshot(snapshot.id)
    goes_on(yard, f"{snapshot.id} is not at fake any more", request=back)


def test_a_place_that_does_not_answer_refuses_nothing(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_placement: object) -> None:
        raise Unreachable("nobody answers there")

    monkeypatch.setattr(yard.provider, "survey", away)
    assert yard.run("instance.reprovision", REBUILD).state is S.SUCCEEDED
    assert any("not known: nobody answers there" in line.text for line in yard.log("web"))
