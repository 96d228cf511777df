"""The main job from end to end: an instance is made, seen, taken away, brought back, changed and deleted."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import ssl
from pathlib import Path

import pytest

from fleet_tui.agent import processes
from fleet_tui.backend import instances as i
from fleet_tui.backend.errors import ConfirmationRequired, NotFound, WrongState
from fleet_tui.backend.instances.states import Health, InstanceState
from fleet_tui.backend.operations import CancelOperation, OperationState
from tests.journeys.site import Site, marked, markers, tasks
from tests.waiting import until

PHASES = (
    "hello", "data-disk", "internal-setup", "certificate", "actions:before_install", "install-or-upgrade", "actions:after_install", "start",
    "actions:after_startup", "ready",
)


def provision(site: Site, label: str) -> None:
    site.do(i.ProvisionInstance(target=label))


def deprovision(site: Site, label: str) -> None:
    site.do(i.DeprovisionInstance(target=label, confirmed=True))


def settings(site: Site, label: str, **changes: object) -> i.InstanceRecord:
    version = site.call(i.ShowSettings(label)).version
    record: i.InstanceRecord = site.call(i.EditInstance(label, version, {name.replace("__", "."): value for name, value in changes.items()}))
    return record


@pytest.mark.parametrize(("network", "scheme"), [("local", "http"), ("local-tls", "https")])
def test_an_instance_comes_up_with_every_phase_in_its_log(shared: Site, network: str, scheme: str) -> None:
    label = f"first-{scheme}"
    assert shared.create(label, network=network).state is InstanceState.NEW
    operation = shared.do(i.ProvisionInstance(target=label))
    record = shared.show(label)
    assert (record.state, record.health, record.pending_changes) == (InstanceState.RUNNING, Health.OK, ())
    assert record.url is not None and record.url.startswith(f"{scheme}://127.0.0.1:")
    page = shared.get(label)
    assert f"Hello from {label}" in page and "hello-app" in page and "1.0.0" in page and "Uptime" in page
    states = {name: state for name, state, _ in record.agent.phases}
    assert tuple(states) == PHASES and set(states.values()) <= {"done", "skipped"}
    assert {name for name, state in states.items() if state == "done"} >= {"hello", "data-disk", "install-or-upgrade", "start", "ready"}
    lines = shared.lines(label)
    told = [line.phase for line in lines if line.source == "instance-agent"]
    assert [phase for phase in PHASES if phase in told] == list(dict.fromkeys(phase for phase in told if phase in PHASES))
    assert {line.operation_id for line in lines if line.phase in PHASES} == {operation.id}
    of_operation = shared.lines("", operation.id)
    assert {"worker", "instance-agent"} <= {line.source for line in of_operation}
    assert all(step.state.value == "done" for step in operation.steps)


def test_lines_arrive_while_the_start_up_still_runs(shared: Site, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    shared.template("gated", tasks("gate", f"for n in 1 2 3; do echo number $n; done; until [ -e {gate} ]; do sleep 0.02; done"))
    shared.create("gated", template="gated")
    operation = shared.submit(i.ProvisionInstance(target="gated"))
    until(lambda: "number 3" in shared.texts("gated", "actions:before_install"), 30.0)
    until(lambda: shared.show("gated").state is InstanceState.STARTING_UP)
    assert shared.show("gated").agent.phase == "actions:before_install"
    gate.touch()
    assert shared.ended(operation.id).state is OperationState.SUCCEEDED


def test_data_and_certificate_outlive_the_machine(shared: Site) -> None:
    shared.create("kept", network="local-tls")
    provision(shared, "kept")
    disk, before, agent = shared.disk("kept"), shared.show("kept"), shared.agent("kept")
    left = marked(disk)
    certificate, key = disk / "certificates/self-signed.crt", disk / "certificates/self-signed.key"
    pair = certificate.read_bytes(), key.read_bytes()
    shared.get("kept")
    deprovision(shared, "kept")
    gone = shared.show("kept")
    assert (gone.state, gone.machine, gone.url) == (InstanceState.DEPROVISIONED, None, None)
    assert before.machine not in shared.machines() and before.machine not in shared.processes()
    assert markers(disk) == left
    provision(shared, "kept")
    after = shared.show("kept")
    assert after.state is InstanceState.RUNNING and after.machine != before.machine
    assert markers(disk) == left and shared.disk("kept") == disk
    assert shared.agent("kept") != agent and processes.find(agent) is None
    assert (certificate.read_bytes(), key.read_bytes()) == pair
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text())).hexdigest().upper()
    assert before.certificate_fingerprint == after.certificate_fingerprint == ":".join(digest[n:n + 2] for n in range(0, 64, 2))
    assert "Visits</dt><dd>2<" in shared.get("kept"), "the application remembers"
    assert shared.texts("kept").count("installing hello-app 1.0.0 for kept") == 1


def test_reprovision_makes_another_machine_on_the_same_disk(shared: Site) -> None:
    shared.create("again")
    provision(shared, "again")
    left, before = marked(shared.disk("again")), shared.show("again")
    with pytest.raises(ConfirmationRequired):
        shared.submit(i.ReprovisionInstance(target="again"))
    shared.do(i.ReprovisionInstance(target="again", confirmed=True))
    after = shared.show("again")
    assert after.state is InstanceState.RUNNING and after.machine != before.machine and after.url == before.url
    assert markers(shared.disk("again")) == left
    assert before.machine not in shared.machines() and before.machine not in shared.processes()
    assert "Hello from again" in shared.get("again")


def test_stop_and_start_keep_the_machine(shared: Site) -> None:
    shared.create("rests")
    provision(shared, "rests")
    before, agent = shared.show("rests"), shared.agent("rests")
    shared.do(i.StopInstance(target="rests", confirmed=True))
    stopped = shared.show("rests")
    assert (stopped.state, stopped.machine, stopped.health) == (InstanceState.STOPPED, before.machine, None)
    assert before.machine not in shared.processes() and before.machine in shared.machines()
    shared.do(i.StartInstance(target="rests"))
    after = shared.show("rests")
    assert (after.state, after.machine, after.url) == (InstanceState.RUNNING, before.machine, before.url)
    assert shared.agent("rests") != agent
    assert "Hello from rests" in shared.get("rests")
    texts = shared.texts("rests")
    assert texts.count("the agent ends") == 1 and sum(" boot " in text for text in shared.texts("rests", "hello")) == 2


def test_restarting_the_application_leaves_the_agent_alone(shared: Site) -> None:
    shared.create("restarts")
    provision(shared, "restarts")
    agent, app = shared.agent("restarts"), application_pid(shared, "restarts")
    shared.do(i.RestartApplication(target="restarts", confirmed=True))
    assert shared.agent("restarts") == agent and application_pid(shared, "restarts") != app and processes.find(app) is None
    assert "Hello from restarts" in shared.get("restarts")
    assert shared.show("restarts").state is InstanceState.RUNNING


def application_pid(site: Site, label: str) -> int:
    machine = site.show(label).machine
    assert machine is not None
    return int(json.loads((site.places.machines / machine / "run/application.json").read_text())["pid"])


def test_replay_runs_the_enabled_actions_of_today(shared: Site) -> None:
    shared.template("replayed", tasks("first", 'echo one >> "$FLEET_DATA/ran"'))
    shared.create("replayed", template="replayed")
    provision(shared, "replayed")
    ran = shared.disk("replayed") / "application/ran"
    assert ran.read_text() == "one\n"
    shared.template(
        "replayed", tasks("first", 'echo one >> "$FLEET_DATA/ran"'), tasks("off", 'echo off >> "$FLEET_DATA/ran"', enabled=False),
        tasks("late", 'echo late >> "$FLEET_DATA/ran"', "after_startup"),
    )
    machine = shared.show("replayed").machine
    shared.do(i.ReplayActions(target="replayed"))
    assert ran.read_text() == "one\none\nlate\n"
    assert shared.show("replayed").machine == machine
    shared.template("replayed", tasks("bad", "echo no luck; exit 3"), tasks("never", 'echo never >> "$FLEET_DATA/ran"'))
    failed = shared.fails(i.ReplayActions(target="replayed"))
    assert failed.error is not None and "'bad'" in failed.error.message and "exit status 3" in failed.error.message
    assert "never" not in ran.read_text() and shared.show("replayed").state is InstanceState.RUNNING


def test_a_snapshot_brings_the_content_back(shared: Site) -> None:
    shared.create("turned back")
    provision(shared, "turned back")
    disk = shared.disk("turned back")
    left = marked(disk, "before")
    shared.do(i.SnapshotDisk(target="turned back", reason="before the change"))
    (snapshot,) = shared.call(i.ListSnapshots("turned back"))
    assert snapshot.reason == "before the change" and snapshot.size_bytes
    assert "Hello from" in shared.get("turned back"), "it was thawed"
    assert marked(disk, "after") != left
    (disk / "application/new-file").touch()
    shared.do(i.ReprovisionInstance(target="turned back", snapshot=snapshot.id, confirmed=True))
    disk = shared.disk("turned back")
    assert markers(disk) == left and not (disk / "application/new-file").exists()
    assert "Hello from" in shared.get("turned back")


def test_a_change_waits_for_a_reprovision_and_says_so(shared: Site) -> None:
    shared.create("changed", network="local-tls")
    provision(shared, "changed")
    assert settings(shared, "changed", notes="live").pending_changes == ()
    assert settings(shared, "changed", ssl__sans=["changed.example.com"]).pending_changes == ("ssl.sans",)
    assert shared.show("changed").pending_changes == ("ssl.sans",)
    before = shared.show("changed").certificate_fingerprint
    shared.do(i.StopInstance(target="changed", confirmed=True))
    shared.do(i.StartInstance(target="changed"))
    rested = shared.show("changed")
    assert rested.pending_changes == ("ssl.sans",) and rested.certificate_fingerprint == before
    shared.do(i.ReprovisionInstance(target="changed", confirmed=True))
    record = shared.show("changed")
    assert record.pending_changes == () and record.certificate_fingerprint != before
    assert "Hello from changed" in shared.get("changed")


def test_a_deleted_instance_leaves_its_log_and_nothing_else(shared: Site) -> None:
    shared.create("gone")
    provision(shared, "gone")
    disk, identity = shared.disk("gone"), shared.show("gone").id
    with pytest.raises(WrongState):
        shared.submit(i.DeleteInstance(target="gone", confirm="gone"))
    deprovision(shared, "gone")
    with pytest.raises(ConfirmationRequired):
        shared.submit(i.DeleteInstance(target="gone", confirm="wrong"))
    assert disk.exists()
    shared.do(i.DeleteInstance(target="gone", confirm="gone"))
    with pytest.raises(NotFound):
        shared.show("gone")
    name = disk.name.partition(".")[0]
    assert not [left for left in disk.parent.rglob("*") if left.name.startswith(name)], "neither content nor record"
    assert "installing hello-app 1.0.0 for gone" in shared.texts(f"instance:{identity}")


@pytest.mark.parametrize("first", [True, False], ids=["new", "deprovisioned"])
def test_a_start_up_that_is_cancelled_leaves_nothing_over(shared: Site, first: bool) -> None:
    label = f"cancelled-{first}".lower()
    slow = tasks("slow", "echo begun; sleep 300", "before_install" if first else "after_startup")
    shared.template(label)
    shared.create(label, template=label)
    if not first:
        provision(shared, label)
        left = marked(shared.disk(label))
        deprovision(shared, label)
    shared.template(label, slow)
    operation = shared.submit(i.ProvisionInstance(target=label))
    until(lambda: "begun" in shared.texts(label), 30.0)
    machine = shared.show(label).machine
    assert machine in shared.processes()
    shared.call(CancelOperation(operation.id))
    ended = shared.ended(operation.id)
    assert (ended.state, ended.rollback) == (OperationState.CANCELLED, "done")
    record = shared.show(label)
    assert (record.machine, record.url, record.failed_stage) == (None, None, None)
    assert record.state is (InstanceState.DEPROVISIONED if record.data_disk.path else InstanceState.NEW)
    assert machine not in shared.machines() and machine not in shared.processes()
    if not first:
        assert markers(shared.disk(label)) == left
    shared.template(label)
    provision(shared, label)
    assert "Hello from" in shared.get(label)


def test_an_agent_lives_on_without_its_daemon(shared: Site) -> None:
    shared.create("orphan")
    provision(shared, "orphan")
    agent = shared.agent("orphan")
    shared.kill(stay_away=True)
    try:
        os.kill(agent, 0)
    finally:
        shared.let_live()
    shared.await_door()
    assert shared.agent("orphan") == agent and "Hello from orphan" in shared.get("orphan")
    os.kill(application_pid(shared, "orphan"), signal.SIGKILL)
    until(lambda: any("ended by itself" in text for text in shared.texts("orphan")), 20.0)
    until(lambda: shared.show("orphan").health is Health.OK, 20.0)
