"""Operations on the fake provider: every verb and phase that can fail gives the right error, and agents outlive the daemon."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from fleet_tui.backend.errors import Unreachable
from fleet_tui.backend.faults import Fault
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
from fleet_tui.backend.telemetry.rows import AgentRow
from tests.backend.providers.yard import Yard
from tests.waiting import until


@pytest.fixture(autouse=True)
def nothing_goes_wrong_by_itself(yard: Yard) -> Iterator[None]:
    yield
    assert yard.provider.faults.pending() == ()
    yard.provider.faults.clear()


def provision(yard: Yard, label: str) -> OperationState:
    return yard.run("instance.provision", ProvisionInstance(target=label)).state


def test_a_whole_life(yard: Yard) -> None:
    yard.create("whole", "local-tls")
    assert provision(yard, "whole") is OperationState.SUCCEEDED
    first = yard.instance("whole")
    assert first.state is InstanceState.RUNNING and first.health is Health.OK and first.agent.phase == "ready"
    assert [name for name, _, _ in first.agent.phases] == list(PHASES)
    marker = Path(first.data_disk.path) / "application" / "mine"
    marker.write_bytes(b"\0kept\xff")
    for kind, request in (
        ("restart-app", RestartApplication(target="whole", confirmed=True)), ("replay-actions", ReplayActions(target="whole")),
        ("snapshot", SnapshotDisk(target="whole", reason="test")), ("stop", StopInstance(target="whole", confirmed=True)),
        ("start", StartInstance(target="whole")), ("reprovision", ReprovisionInstance(target="whole", confirmed=True)),
        ("deprovision", DeprovisionInstance(target="whole", confirmed=True)), ("provision", ProvisionInstance(target="whole")),
    ):
        done = yard.run(f"instance.{kind}", request)
        assert done.state is OperationState.SUCCEEDED, (kind, done.error)
    last = yard.instance("whole")
    assert marker.read_bytes() == b"\0kept\xff"
    assert (last.certificate_fingerprint, last.certificate_not_after) == (first.certificate_fingerprint, first.certificate_not_after)
    assert last.certificate_fingerprint and last.machine != first.machine
    lines = yard.log("whole")
    assert [line.seq for line in lines] == list(range(1, len(lines) + 1))


@pytest.mark.parametrize(("verb", "step", "code"), [
    ("ensure_disk", "ensure-data-disk", "capacity"), ("create_machine", "create-machine", "capacity"), ("attach_disk", "attach-data-disk", "busy"),
    ("find_machine", "assign-address", "unreachable"), ("boot", "boot", "unreachable"),
])
def test_a_provision_fails_at_the_verb_that_fails(yard: Yard, verb: str, step: str, code: str) -> None:
    label = f"fails at {verb}"
    disk = f"d-{yard.create(label)[2:]}"
    yard.provider.faults.fail(verb, disk if verb == "ensure_disk" else label, times=2 if step in ("ensure-data-disk", "create-machine") else 1)
    done = yard.run("instance.provision", ProvisionInstance(target=label))
    assert (done.state, done.failed_step) == (OperationState.FAILED, step)
    assert done.error is not None and done.error.code == code and done.error.hint
    after = yard.instance(label)
    assert after.state is InstanceState.FAILED
    if step == "boot":
        assert after.machine and yard.provider.find_machine(after.machine).state is MachineState.OFF
    else:
        assert after.machine is None and yard.provider.find_disk(disk) is None
        assert yard.provider.find_machine(f"vm-{done.id[2:]}").state is MachineState.ABSENT


@pytest.mark.parametrize("verb", ["ensure_disk", "create_machine"])
def test_an_effect_whose_answer_was_lost_is_found_by_the_second_attempt(yard: Yard, verb: str) -> None:
    label = f"lost {verb}"
    disk, before = f"d-{yard.create(label)[2:]}", len(yard.provider.machines())
    yard.provider.faults.fail(verb, disk if verb == "ensure_disk" else label, error=Unreachable("the answer was lost"), after=True)
    assert provision(yard, label) is OperationState.SUCCEEDED
    assert len(yard.provider.machines()) == before + 1


@pytest.mark.parametrize(("verb", "step"), [("shut_down", "unmount"), ("detach_disk", "detach-data-disk"), ("terminate", "terminate-machine")])
def test_a_deprovision_fails_at_the_verb_that_fails_and_keeps_the_disk(yard: Yard, verb: str, step: str) -> None:
    label = f"stays at {verb}"
    yard.create(label)
    provision(yard, label)
    yard.provider.faults.fail(verb, label, times=2)
    done = yard.run("instance.deprovision", DeprovisionInstance(target=label, confirmed=True))
    assert (done.state, done.failed_step) == (OperationState.FAILED, step)
    assert yard.instance(label).failed_stage == "deprovision"
    assert (Path(yard.instance(label).data_disk.path) / "application" / "marker").exists()


def test_a_start_up_fails_at_each_phase_with_its_cause_in_the_log(yard: Yard) -> None:
    labels = {phase: f"at {phase.replace(':', ' ')}" for phase in PHASES[1:]}
    for phase, label in labels.items():
        yard.create(label, "local-tls")
        yard.provider.faults.fail(f"phase:{phase}", label)
    started = {
        phase: yard.engine.submit("instance.provision", ProvisionInstance(target=label), "tester").operation for phase, label in labels.items()
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
    yard.provider.faults.add(Fault("agent", "dead", effect="kill"))
    yard.provider.faults.add(Fault("phase:install-or-upgrade", "dead later", effect="kill"))
    submitted = [yard.engine.submit("instance.provision", ProvisionInstance(target=t), "tester").operation for t in ("refused", "dead", "dead later")]
    refused, dead, later = [yard.finish(operation.id) for operation in submitted if operation is not None]
    assert refused.failed_step == "boot" and refused.error is not None and "before it said hello" in refused.error.message
    assert dead.failed_step == "start-up" and dead.error is not None and "process ended" in dead.error.message
    assert later.error is not None and later.error.message == "start-up failed at actions:before_install: the agent's process ended"
    states = {machine.id: machine.state for machine in yard.provider.machines()}
    assert states[yard.instance("dead").machine or ""] is MachineState.BROKEN
    assert yard.run("instance.retry", RetryStartup(target="dead")).state is OperationState.SUCCEEDED


def test_an_application_that_never_answers_fails_the_health_check(yard: Yard) -> None:
    yard.create("unhealthy")
    yard.provider.faults.fail("health", "unhealthy")
    done = yard.run("instance.provision", ProvisionInstance(target="unhealthy"))
    assert done.failed_step == "health-check" and done.error is not None and "503" in done.error.message


def test_a_command_that_fails(yard: Yard) -> None:
    yard.create("disobedient")
    provision(yard, "disobedient")
    yard.provider.faults.fail("command:restart-app", "disobedient")
    done = yard.run("instance.restart-app", RestartApplication(target="disobedient", confirmed=True))
    assert done.error is not None and "restart-app failed: restart-app: exit code 1" in done.error.message
    assert yard.instance("disobedient").state is InstanceState.RUNNING


def test_an_outage_is_seen_and_heals(yard: Yard) -> None:
    yard.create("outage")
    provision(yard, "outage")
    machine = yard.instance("outage").machine or ""
    yard.provider.disturb(machine, 0.3)
    until(lambda: yard.instance("outage").health is Health.APP_DOWN)
    until(lambda: yard.instance("outage").health is Health.OK)
    assert any("answers again" in line.text for line in yard.log("outage"))


def test_an_agent_whose_machine_was_replaced_ends(yard: Yard) -> None:
    yard.create("replaced")
    provision(yard, "replaced")
    machine = yard.instance("replaced").machine or ""
    with yard.store.write() as tx:
        yard.agents.forget(tx, machine)
    yard.provider.disturb(machine, 5.0)
    until(lambda: yard.provider.find_machine(machine).state is MachineState.OFF)


def test_many_agents_are_heard_of_at_once(yard: Yard) -> None:
    for label in ("touched", "forgotten"):
        yard.create(label)
        provision(yard, label)
    machine = {label: yard.instance(label).machine or "" for label in ("touched", "forgotten")}
    long_ago = yard.clock.now() - timedelta(hours=1)
    with yard.store.write() as tx:
        tx.execute(update(AgentRow).where(AgentRow.machine.in_(machine.values())).values(last_seen=long_ago))
    yard.agents.touch([machine["touched"]])
    seen = {label: yard.instance(label).agent.last_seen for label in machine}
    assert seen["forgotten"] == long_ago and seen["touched"] is not None and seen["touched"] > long_ago


def test_a_command_is_found_without_asking_every_agent(yard: Yard) -> None:
    yard.create("called")
    provision(yard, "called")
    machine = yard.instance("called").machine or ""
    yard.provider.faults.hang("command:freeze", "called")
    with yard.store.write() as tx:
        yard.agents.command(tx, machine, "test:freeze", "freeze", {})
    yard.agents.ring()
    assert yard.agents.called() == (machine,)
    until(lambda: not yard.provider.faults.pending())
    with yard.store.write() as tx:
        yard.agents.withdraw(tx, machine)
    assert yard.agents.called() == ()
