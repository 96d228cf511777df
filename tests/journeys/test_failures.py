"""Whatever goes wrong: the right phase, a sentence that names the cause, the log kept, the data untouched, and a way back."""

from __future__ import annotations

import json
import os
import signal
import socket
from dataclasses import replace
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from sqlalchemy import select

from fleet_tui import session as sessions
from fleet_tui import settings as preferences
from fleet_tui.backend import instances as i
from fleet_tui.backend.api import DescribeSite, embedded
from fleet_tui.backend.instances.rows import ImageRow
from fleet_tui.backend.instances.states import Health, InstanceState
from fleet_tui.backend.operations import OperationRecord, StepState
from tests.journeys.site import Site, marked, markers, site, tasks
from tests.journeys.test_first_instance import application_pid
from tests.waiting import until


def prepared(site: Site, label: str, *, network: str = "local", application: str = "hello-app") -> dict[str, bytes]:
    """An instance whose data disk has been used, and which is to be provisioned once more; what its disk holds."""
    site.template(label, application=application)
    site.create(label, network=network, template=label)
    site.do(i.ProvisionInstance(target=label))
    left = marked(site.disk(label))
    site.do(i.DeprovisionInstance(target=label, confirmed=True))
    return left


def failed(site: Site, operation: OperationRecord, stage: str, *words: str) -> i.InstanceRecord:
    """The instance after a failure, having looked at what everybody is told."""
    record = site.show(operation.target)
    assert (record.state, record.failed_stage) == (InstanceState.FAILED, stage), record
    assert operation.error is not None and operation.error.hint
    assert operation.rollback == "none" and record.machine in site.machines(), "the machine is kept, and so it is said"
    assert not [step.name for step in operation.steps if step.state is StepState.UNDONE]
    for word in words:
        assert word in operation.error.message, operation.error
        assert word in record.failure, record
    phase = stage.removeprefix("startup:")
    assert any(line.level == "error" and words[0] in line.text for line in site.lines(operation.target)), site.story(operation.target)
    assert any(line.phase == phase for line in site.lines(operation.target)), "the log of the phase is kept"
    return record


def retried(site: Site, label: str, left: dict[str, bytes]) -> None:
    """After the cause was mended the same machine comes up."""
    machine = site.show(label).machine
    site.do(i.RetryStartup(target=label))
    record = site.show(label)
    assert (record.state, record.machine, record.failed_stage, record.failure) == (InstanceState.RUNNING, machine, None, "")
    assert f"Hello from {label}" in site.get(label)
    assert markers(site.disk(label)) == left


def test_a_port_that_somebody_else_has(shared: Site) -> None:
    left = prepared(shared, "ported")
    port = int(shared.call(i.ShowInstance("ported")).url.rsplit(":", 1)[1].strip("/")) if shared.show("ported").url else _port(shared, "ported")
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        operation = shared.fails(i.ProvisionInstance(target="ported"))
        failed(shared, operation, "startup:start", f"port {port} is taken by", f"pid {os.getpid()}")
    assert markers(shared.disk("ported")) == left
    retried(shared, "ported", left)


def _port(site: Site, label: str) -> int:
    """The port an instance keeps while it has no machine, as its log tells."""
    words = next(text for text in reversed(site.texts(label)) if ", port " in text and "data disk" in text)
    return int(words.partition(", port ")[2].partition(",")[0])


@pytest.mark.parametrize("stage", ["before_install", "after_install", "after_startup"])
def test_a_setup_action_that_fails(shared: Site, stage: str) -> None:
    label = f"acts-{stage}"
    left = prepared(shared, label)
    shared.template(label, tasks("luckless", "echo about to fail; exit 7", stage), tasks("never", "echo never", stage))
    operation = shared.fails(i.ProvisionInstance(target=label))
    failed(shared, operation, f"startup:actions:{stage}", "luckless", "exit status 7")
    texts = shared.texts(label)
    assert "about to fail" in texts and "never" not in texts
    assert markers(shared.disk(label)) == left
    shared.template(label, tasks("luckless", "echo better now", stage))
    retried(shared, label, left)
    assert "better now" in shared.texts(label)


def test_an_application_that_is_never_healthy(shared: Site) -> None:
    shared.image("sickly", "1.0.0")
    left = prepared(shared, "sick", application="sickly")
    shared.image("sickly", "1.0.1", health="/nowhere")
    operation = shared.fails(i.ProvisionInstance(target="sick"))
    failed(shared, operation, "startup:ready", "health check did not pass within 3 s", "HTTP status 404")
    assert markers(shared.disk("sick")) == left
    shared.image("sickly", "1.0.2")
    retried(shared, "sick", left)
    assert "1.0.2" in shared.get("sick") and shared.show("sick").image == "sickly 1.0.2"


def test_an_application_that_ends(shared: Site) -> None:
    shared.image("mayfly", "1.0.0")
    left = prepared(shared, "fleeting", application="mayfly")
    shared.image("mayfly", "1.0.1", start="echo I cannot stay; exit 4")
    operation = shared.fails(i.ProvisionInstance(target="fleeting"))
    failed(shared, operation, "startup:start", "ended before it opened port", "exit status 4", "I cannot stay")
    record = shared.show("fleeting")
    assert markers(shared.disk("fleeting")) == left
    shared.do(i.DeprovisionInstance(target="fleeting", confirmed=True))
    assert shared.show("fleeting").state is InstanceState.DEPROVISIONED
    assert record.machine not in shared.machines() and record.machine not in shared.processes()
    assert "I cannot stay" in shared.texts("fleeting") and markers(shared.disk("fleeting")) == left
    shared.image("mayfly", "1.0.2")
    shared.do(i.ProvisionInstance(target="fleeting"))
    assert "1.0.2" in shared.get("fleeting") and markers(shared.disk("fleeting")) == left


def test_an_install_script_that_fails_on_a_new_disk(shared: Site) -> None:
    shared.image("picky", "1.0.0", install="echo no; exit 5")
    shared.template("picky", application="picky")
    shared.create("picky", template="picky")
    operation = shared.fails(i.ProvisionInstance(target="picky"))
    record = failed(shared, operation, "startup:install-or-upgrade", "install script", "exit status 5")
    assert (shared.disk("picky") / ".fleet-disk").exists(), "mounted once, the disk stays"
    assert record.machine in shared.machines()
    shared.image("picky", "1.0.1")
    retried(shared, "picky", marked(shared.disk("picky")))


@pytest.mark.parametrize("way_back", ["retry", "deprovision", "reprovision"])
def test_an_agent_killed_in_the_middle_of_its_start_up(shared: Site, tmp_path: Path, way_back: str) -> None:
    label = f"struck-{way_back}"
    left = prepared(shared, label)
    words = [f"before the blow {number}" for number in range(40)]
    shared.template(label, tasks("long", "for n in $(seq 0 39); do echo before the blow $n; done; sleep 300", "after_install"))
    operation = shared.submit(i.ProvisionInstance(target=label))
    until(lambda: words[-1] in shared.texts(label), 30.0)
    os.kill(shared.agent(label), signal.SIGKILL)
    failed(shared, shared.ended(operation.id), "startup:actions:after_install", "the agent's process ended")
    machine = shared.show(label).machine
    assert machine is not None
    assert markers(shared.disk(label)) == left
    shared.template(label)
    if way_back == "retry":
        retried(shared, label, left)
    elif way_back == "deprovision":
        shared.do(i.DeprovisionInstance(target=label, confirmed=True))
        assert shared.show(label).state is InstanceState.DEPROVISIONED
    else:
        shared.do(i.ReprovisionInstance(target=label, confirmed=True))
        assert f"Hello from {label}" in shared.get(label)
    assert [text for text in shared.texts(label) if text.startswith("before the blow")] == words, "none lost, none twice"
    if way_back != "retry":
        assert machine not in shared.machines() and machine not in shared.processes()
    assert markers(shared.disk(label)) == left


def test_images_of_a_state_directory_that_was_moved(shared: Site) -> None:
    shared.create("moved")
    with shared.store().write() as tx:
        for image in tx.scalars(select(ImageRow)):
            image.path = f"/elsewhere/images/{image.sha256}.tar"
    shared.do(i.ProvisionInstance(target="moved"))
    assert "Hello from moved" in shared.get("moved")


def test_who_comes_from_another_session_finds_the_same_daemon(shared: Site, tmp_path: Path) -> None:
    """Cron, ``su`` and a service have no ``XDG_RUNTIME_DIR``, or another. An agent looks where both find it."""
    elsewhere = replace(shared.places, runtime=tmp_path / "run")
    settings = replace(preferences.load(), directories=elsewhere, site="", isolated=True, start_daemon=False)
    found = sessions.connect(settings)
    assert found.fetch(DescribeSite()).pid == shared.pid()
    found.close()
    assert embedded.start(elsewhere, timeout_s=5.0) is None, "it is there already"
    shared.create("moored")
    shared.do(i.ProvisionInstance(target="moored"))
    orders = json.loads((shared.places.machines / str(shared.show("moored").machine) / "agent.json").read_text())
    assert orders["door"] == f"unix:{shared.places.state}/fleetd*.sock"


def test_an_agent_killed_while_its_instance_runs() -> None:
    with site(flags=("--timeouts", "silent_s=2,health_interval_s=0.2,stop_s=5")) as own:
        own.create("mute")
        own.do(i.ProvisionInstance(target="mute"))
        left, machine = marked(own.disk("mute")), own.show("mute").machine
        os.kill(own.agent("mute"), signal.SIGKILL)
        until(lambda: own.show("mute").health is Health.AGENT_SILENT, 30.0)
        record = own.show("mute")
        assert record.state is InstanceState.RUNNING and "no word from its agent" in record.health_detail
        assert "Hello from mute" in own.get("mute"), "the application goes on"
        refused = own.fails(i.SnapshotDisk(target="mute"))
        assert refused.error is not None and "no agent runs" in refused.error.message, "a copy of what is written to is no snapshot"
        assert own.call(i.ListSnapshots("mute")) == () and not list(own.places.snapshots.glob("*"))
        own.do(i.StopInstance(target="mute", confirmed=True))
        assert machine not in own.processes()
        own.do(i.SnapshotDisk(target="mute"))
        own.do(i.StartInstance(target="mute"))
        assert own.show("mute").health is Health.OK and markers(own.disk("mute")) == left


@pytest.mark.parametrize("way", ["deprovision", "another boot"])
def test_lines_that_a_killed_agent_could_not_send_are_not_lost(shared: Site, way: str) -> None:
    label = f"unsent-{way.replace(' ', '-')}"
    shared.create(label)
    shared.do(i.ProvisionInstance(target=label))
    record, agent = shared.show(label), shared.agent(label)
    spool = shared.places.machines / str(record.machine) / "spool"
    shared.kill(stay_away=True)
    try:
        for number in range(5):
            with pytest.raises(HTTPError):
                urlopen(f"{record.url}visit-{number}", timeout=10)
        until(lambda: b"visit-4" in b"".join(path.read_bytes() for path in spool.glob("*/*.lines")), 10.0)
        os.kill(agent, signal.SIGKILL)
    finally:
        shared.let_live()
    shared.await_door()
    assert not any("visit" in text for text in shared.texts(label))
    if way == "deprovision":
        shared.do(i.DeprovisionInstance(target=label, confirmed=True))
    else:
        shared.do(i.StopInstance(target=label, confirmed=True))
        shared.do(i.StartInstance(target=label))
    until(lambda: any("visit-4" in text for text in shared.texts(label)), 10.0)
    assert [text for text in shared.texts(label) if "visit" in text] == [f"127.0.0.1 GET /visit-{number} 404" for number in range(5)]
    assert shared.texts(label, "install-or-upgrade").count("installing hello-app 1.0.0") == 1, "what had arrived is not there twice"


def test_an_agent_that_does_not_call_in_time() -> None:
    with site(flags=("--timeouts", "hello_s=1,stop_s=5")) as own:
        own.create("late")
        door, aside = own.socket(), own.places.runtime / "aside"
        door.rename(aside)  # calls of ours go on over the connection we have
        door.touch()  # were nothing there, the daemon would listen there again
        operation = own.fails(i.ProvisionInstance(target="late"))
        assert own.show("late").failed_stage == "startup:hello"
        assert operation.error is not None and "the agent did not call within 1 s" in operation.error.message
        assert own.disk("late").is_dir(), "the machine is kept for inspection, its disk too"
        assert own.show("late").machine in own.processes()
        aside.rename(door)
        own.do(i.RetryStartup(target="late"))
        own.do(i.DeprovisionInstance(target="late", confirmed=True))
        assert own.machines() == set() and own.processes() == {}
        assert own.show("late").state is InstanceState.DEPROVISIONED and own.disk("late").is_dir()


def test_an_application_that_goes_down_and_comes_back(shared: Site) -> None:
    shared.image("fragile", "1.0.0", start='[ -e "$FLEET_DATA/broken" ] && exit 9; exec sh start.sh')
    shared.template("fragile", application="fragile")
    shared.create("fragile", template="fragile")
    shared.do(i.ProvisionInstance(target="fragile"))
    broken = shared.disk("fragile") / "application/broken"
    broken.touch()
    os.kill(application_pid(shared, "fragile"), signal.SIGKILL)
    until(lambda: shared.show("fragile").health is Health.APP_DOWN, 20.0)
    assert shared.show("fragile").state is InstanceState.RUNNING
    broken.unlink()
    until(lambda: shared.show("fragile").health is Health.OK, 40.0)
    assert "Hello from fragile" in shared.get("fragile")
