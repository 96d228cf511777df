"""Operations on the fake provider: every verb and phase that can fail gives the right error, and agents outlive the daemon."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fleet_tui.backend.errors import Unreachable
from fleet_tui.backend.instances import (
    DeprovisionInstance,
    ProvisionInstance,
    ReplayActions,
    ReprovisionInstance,
    RestartApplication,
    RetryStartup,
    SnapshotDisk,
    StartInstance,
    StopInstance,
)
from fleet_tui.backend.instances.states import Health, InstanceState
from fleet_tui.backend.operations import OperationState
from fleet_tui.backend.providers import MachineState
from fleet_tui.backend.providers.faults import PHASES
from fleet_tui.backend.providers.rehearsal import FAILURES
from fleet_tui.backend.store import Store
from fleet_tui.backend.telemetry.rows import AgentRow
from tests.backend.providers.yard import QUICK, Yard, opened
from tests.waiting import until


@pytest.fixture
def yard(light_store: Store, tmp_path: Path) -> Iterator[Yard]:
    with opened(light_store, tmp_path) as found:
        yield found


def provision(yard: Yard, label: str) -> OperationState:
    return yard.run("instance.provision", ProvisionInstance(target=label)).state


def test_a_whole_life(yard: Yard) -> None:
    yard.create("web-1", "local-tls")
    assert provision(yard, "web-1") is OperationState.SUCCEEDED
    first = yard.instance("web-1")
    assert first.state is InstanceState.RUNNING and first.health is Health.OK and first.agent.phase == "ready"
    assert [name for name, _, _ in first.agent.phases] == list(PHASES)
    marker = Path(first.data_disk.path) / "application" / "mine"
    marker.write_bytes(b"\0kept\xff")
    for kind, request in (
        ("restart-app", RestartApplication(target="web-1", confirmed=True)), ("replay-actions", ReplayActions(target="web-1")),
        ("snapshot", SnapshotDisk(target="web-1", reason="test")), ("stop", StopInstance(target="web-1", confirmed=True)),
        ("start", StartInstance(target="web-1")), ("reprovision", ReprovisionInstance(target="web-1", confirmed=True)),
        ("deprovision", DeprovisionInstance(target="web-1", confirmed=True)), ("provision", ProvisionInstance(target="web-1")),
    ):
        done = yard.run(f"instance.{kind}", request)
        assert done.state is OperationState.SUCCEEDED, (kind, done.error)
    last = yard.instance("web-1")
    assert marker.read_bytes() == b"\0kept\xff"
    assert (last.certificate_fingerprint, last.certificate_not_after) == (first.certificate_fingerprint, first.certificate_not_after)
    assert last.certificate_fingerprint and last.machine != first.machine
    lines = yard.log("web-1")
    assert [line.seq for line in lines] == list(range(1, len(lines) + 1))


@pytest.mark.parametrize(("verb", "step", "code"), [
    ("ensure_disk", "ensure-data-disk", "capacity"), ("create_machine", "create-machine", "capacity"), ("attach_disk", "attach-data-disk", "busy"),
    ("find_machine", "assign-address", "unreachable"), ("boot", "boot", "unreachable"),
])
def test_a_provision_fails_at_the_verb_that_fails(yard: Yard, verb: str, step: str, code: str) -> None:
    yard.create("web-3")
    yard.provider.label_of = lambda disk: "web-3"
    yard.provider.faults.fail(verb, "web-3", times=2 if step in ("ensure-data-disk", "create-machine") else 1)
    done = yard.run("instance.provision", ProvisionInstance(target="web-3"))
    assert (done.state, done.failed_step) == (OperationState.FAILED, step)
    assert done.error is not None and done.error.code == code and done.error.hint
    after = yard.instance("web-3")
    assert after.state is InstanceState.FAILED
    if step == "boot":
        assert [machine.state for machine in yard.provider.machines()] == [MachineState.OFF]
    else:
        assert after.machine is None and not yard.provider.machines()
        assert yard.provider.find_disk(f"d-{after.id[2:]}") is None


@pytest.mark.parametrize("verb", ["ensure_disk", "create_machine"])
def test_an_effect_whose_answer_was_lost_is_found_by_the_second_attempt(yard: Yard, verb: str) -> None:
    yard.create("web-3")
    yard.provider.faults.fail(verb, "*", error=Unreachable("the answer was lost"), after=True)
    assert provision(yard, "web-3") is OperationState.SUCCEEDED
    assert len(yard.provider.machines()) == 1


@pytest.mark.parametrize(("verb", "step"), [("shut_down", "unmount"), ("detach_disk", "detach-data-disk"), ("terminate", "terminate-machine")])
def test_a_deprovision_fails_at_the_verb_that_fails_and_keeps_the_disk(yard: Yard, verb: str, step: str) -> None:
    yard.create("web-3")
    provision(yard, "web-3")
    yard.provider.faults.fail(verb, "web-3", times=2)
    done = yard.run("instance.deprovision", DeprovisionInstance(target="web-3", confirmed=True))
    assert (done.state, done.failed_step) == (OperationState.FAILED, step)
    assert yard.instance("web-3").failed_stage == "deprovision"
    assert (Path(yard.instance("web-3").data_disk.path) / "application" / "marker").exists()


def test_a_start_up_fails_at_each_phase_with_its_cause_in_the_log(yard: Yard) -> None:
    later = PHASES[1:]
    for phase in later:
        label = f"at {phase.replace(':', ' ')}"
        yard.create(label, "local-tls")
        yard.provider.faults.fail(f"phase:{phase}", label)
    started = {
        phase: yard.engine.submit("instance.provision", ProvisionInstance(target=f"at {phase.replace(':', ' ')}"), "tester").operation for phase in later
    }
    for phase, submitted in started.items():
        assert submitted is not None
        done = yard.finish(submitted.id)
        assert done.state is OperationState.FAILED and done.failed_step == "start-up" and done.error is not None
        assert done.error.message == f"start-up failed at {phase}: {FAILURES[phase][0]}"
        after = yard.instance(done.target)
        assert after.failed_stage == f"startup:{phase}" and after.agent.phase == phase
        texts = [line.text for line in yard.log(done.target) if line.level == "error"]
        assert FAILURES[phase][1][-1][1] in texts and f"phase {phase} failed: {FAILURES[phase][0]}" in texts
        again = yard.run("instance.retry", RetryStartup(target=done.target))
        assert again.state is OperationState.SUCCEEDED, again.error


def test_an_agent_that_is_refused_or_dies_is_noticed(yard: Yard) -> None:
    for label in ("refused", "dead", "dead later"):
        yard.create(label)
    yard.provider.faults.fail("phase:hello", "refused")
    yard.provider.faults.kill_agent("dead")
    yard.provider.faults.kill_agent("dead later", "install-or-upgrade")
    submitted = [yard.engine.submit("instance.provision", ProvisionInstance(target=t), "tester").operation for t in ("refused", "dead", "dead later")]
    refused, dead, later = [yard.finish(operation.id) for operation in submitted if operation is not None]
    assert refused.failed_step == "boot" and refused.error is not None and "before it said hello" in refused.error.message
    assert dead.failed_step == "start-up" and dead.error is not None and "process ended" in dead.error.message
    assert later.error is not None and later.error.message == "start-up failed at actions:before_install: the agent's process ended"
    states = {machine.id: machine.state for machine in yard.provider.machines()}
    assert states[yard.instance("dead").machine or ""] is MachineState.BROKEN
    assert yard.run("instance.retry", RetryStartup(target="dead")).state is OperationState.SUCCEEDED


def test_an_application_that_never_answers_fails_the_health_check(yard: Yard) -> None:
    yard.create("web-3")
    yard.provider.faults.fail("health", "web-3")
    done = yard.run("instance.provision", ProvisionInstance(target="web-3"))
    assert done.failed_step == "health-check" and done.error is not None and "503" in done.error.message


def test_a_command_that_fails_or_is_never_answered(light_store: Store, tmp_path: Path) -> None:
    with opened(light_store, tmp_path, timeouts=replace(QUICK, stop_s=0.3, start_s=0.3)) as yard:
        yard.create("web-3")
        provision(yard, "web-3")
        yard.provider.faults.fail("command:restart-app")
        done = yard.run("instance.restart-app", RestartApplication(target="web-3", confirmed=True))
        assert done.error is not None and "restart-app failed: restart-app: exit code 1" in done.error.message
        yard.provider.faults.hang("command:restart-app")
        done = yard.run("instance.restart-app", RestartApplication(target="web-3", confirmed=True))
        assert done.error is not None and done.error.code == "timeout"
        assert yard.instance("web-3").state is InstanceState.RUNNING


def test_an_outage_is_seen_and_heals(yard: Yard) -> None:
    yard.create("web-3")
    provision(yard, "web-3")
    machine = yard.instance("web-3").machine or ""
    yard.provider.disturb(machine, 0.3)
    until(lambda: yard.instance("web-3").health is Health.APP_DOWN)
    until(lambda: yard.instance("web-3").health is Health.OK)
    assert any("answers again" in line.text for line in yard.log("web-3"))


@pytest.mark.parametrize("phase", ["certificate", "install-or-upgrade", "ready"])
def test_agents_go_on_where_they_were_when_the_daemon_died(light_store: Store, tmp_path: Path, phase: str) -> None:
    """A new provider on the same folder takes the boot up: the same lines under the same numbers, none twice, none missing."""
    with opened(light_store, tmp_path) as yard:
        yard.create("web-1", "local-tls")
        yard.provider.faults.hang(f"phase:{phase}")
        submitted = yard.engine.submit("instance.provision", ProvisionInstance(target="web-1"), "tester").operation
        assert submitted is not None
        until(lambda: yard.instance("web-1").agent.phase == phase)
        with light_store.read() as tx:
            boot, said = tx.query(AgentRow.boot, AgentRow.acknowledged).one()
    again = Yard(light_store, tmp_path)
    again.engine.start()
    try:
        assert again.finish(submitted.id).state is OperationState.SUCCEEDED
        with light_store.read() as tx:
            row = tx.query(AgentRow).one()
        assert row.boot == boot and row.acknowledged > said
        texts = [line.text for line in again.log("web-1") if line.source == "instance-agent"]
        assert len(texts) == row.acknowledged and len(texts) == len(set(texts))
        assert texts[0].startswith("agent 1.0 on") and "200 in" in texts[-1]
    finally:
        again.close()


def test_a_settled_agent_is_still_there_after_a_restart(light_store: Store, tmp_path: Path) -> None:
    with opened(light_store, tmp_path) as yard:
        yard.create("web-1")
        provision(yard, "web-1")
    again = Yard(light_store, tmp_path)
    again.engine.start()
    try:
        assert again.run("instance.restart-app", RestartApplication(target="web-1", confirmed=True)).state is OperationState.SUCCEEDED
        lines = again.log("web-1")
        assert [line.seq for line in lines] == list(range(1, len(lines) + 1))
    finally:
        again.close()


def test_an_agent_whose_machine_was_replaced_ends(yard: Yard) -> None:
    yard.create("web-1")
    provision(yard, "web-1")
    machine = yard.instance("web-1").machine or ""
    with yard.store.write() as tx:
        yard.agents.forget(tx, machine)
    yard.provider.disturb(machine, 5.0)
    until(lambda: yard.provider.find_machine(machine).state is MachineState.OFF)
