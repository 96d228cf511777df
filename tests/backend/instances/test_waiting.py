"""Operations that waited for one another: each looks again when it begins, and what never began leaves the instance to the one at work."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from fleet_tui.backend import instances as i
from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.instances import settings
from fleet_tui.backend.instances.states import Health, InstanceState
from fleet_tui.backend.operations import OperationRecord, OperationRequest, OperationState
from fleet_tui.backend.telemetry.rows import AgentRow
from tests.backend.providers.yard import Yard
from tests.waiting import until

S = OperationState


@contextmanager
def held_at(yard: Yard, verb: str) -> Iterator[threading.Event]:
    """While this lasts, whoever comes to a verb of the provider stays there; the event says that somebody has."""
    original, reached, go_on = getattr(yard.provider, verb), threading.Event(), threading.Event()

    def held(*args: Any, **named: Any) -> Any:
        reached.set()
        assert go_on.wait(60.0)
        return original(*args, **named)

    setattr(yard.provider, verb, held)
    try:
        yield reached
    finally:
        go_on.set()
        setattr(yard.provider, verb, original)


def submit(yard: Yard, action: str, request: OperationRequest) -> str:
    operation = yard.engine.submit(f"instance.{action}", request, "tester").operation
    assert operation is not None
    return operation.id


def waiting(yard: Yard, action: str, request: OperationRequest) -> str:
    operation = submit(yard, action, request)
    until(lambda: yard.engine.show(operation).state is S.WAITING, 30.0, f"{action} waits")
    return operation


def refused(yard: Yard, operation: str, *words: str) -> None:
    record: OperationRecord = yard.finish(operation)
    assert record.state is S.FAILED and record.error is not None and record.error.code == "wrong_state", record
    assert not record.failed_step and not [step for step in record.steps if step.attempt], "no step of it was begun"
    for word in words:
        assert word in record.error.message, record.error


@pytest.mark.parametrize("keep_disk", [True, False])
def test_an_instance_that_came_up_meanwhile_is_not_deleted(yard: Yard, keep_disk: bool) -> None:
    assert yard.run("instance.deprovision", i.DeprovisionInstance(target="web", confirmed=True)).state is S.SUCCEEDED
    assert yard.run("instance.snapshot", i.SnapshotDisk(target="web", reason="automatic")).state is S.SUCCEEDED
    with held_at(yard, "snapshot_disk") as reached:
        snapshot = submit(yard, "snapshot", i.SnapshotDisk(target="web"))
        assert reached.wait(30.0)
        provision = waiting(yard, "provision", i.ProvisionInstance(target="web"))
        deletion = waiting(yard, "delete", i.DeleteInstance(target="web", confirm="web", keep_disk=keep_disk))
    assert yard.finish(snapshot).state is S.SUCCEEDED and yard.finish(provision).state is S.SUCCEEDED
    refused(yard, deletion, "delete of web is refused", "it is running")
    record = yard.instance("web")
    assert (record.state, record.failure, record.health) == (InstanceState.RUNNING, "", Health.OK)
    assert record.machine in [machine.id for machine in yard.provider.machines()]
    with yard.store.read() as tx:
        assert settings.find_row(tx, "web").disk_made
    assert len(yard.provider._ledger.snapshots) == 2, "its automatic snapshots too are kept"


def test_one_that_was_protected_meanwhile_is_not_deleted(yard: Yard) -> None:
    assert yard.run("instance.deprovision", i.DeprovisionInstance(target="web", confirmed=True)).state is S.SUCCEEDED
    with held_at(yard, "snapshot_disk") as reached:
        submit(yard, "snapshot", i.SnapshotDisk(target="web"))
        assert reached.wait(30.0)
        deletion = waiting(yard, "delete", i.DeleteInstance(target="web", confirm="web"))
        with yard.store.write() as tx:
            settings.edit(tx, i.EditInstance("web", settings.find_row(tx, "web").version, {"deletion_protection": True}), SystemClock())
    refused(yard, deletion, "protected from deletion")
    assert yard.instance("web").state is InstanceState.DEPROVISIONED


def test_what_was_deprovisioned_meanwhile_does_not_come_up_again(yard: Yard) -> None:
    with held_at(yard, "snapshot_disk") as reached:
        submit(yard, "snapshot", i.SnapshotDisk(target="web"))
        assert reached.wait(30.0)
        deprovision = waiting(yard, "deprovision", i.DeprovisionInstance(target="web", confirmed=True))
        reprovision = waiting(yard, "reprovision", i.ReprovisionInstance(target="web", confirmed=True))
    assert yard.finish(deprovision).state is S.SUCCEEDED
    refused(yard, reprovision, "it is deprovisioned")
    assert yard.instance("web").state is InstanceState.DEPROVISIONED and not yard.provider.machines()


def test_what_is_allowed_in_either_state_still_happens(yard: Yard) -> None:
    """Stop, then snapshot: of a stopped instance a snapshot is taken as well."""
    with held_at(yard, "snapshot_disk") as reached:
        first = submit(yard, "snapshot", i.SnapshotDisk(target="web"))
        assert reached.wait(30.0)
        stop = waiting(yard, "stop", i.StopInstance(target="web", confirmed=True))
        deprovision = waiting(yard, "deprovision", i.DeprovisionInstance(target="web", confirmed=True))
    assert [yard.finish(one).state for one in (first, stop, deprovision)] == [S.SUCCEEDED] * 3
    assert yard.instance("web").state is InstanceState.DEPROVISIONED


def test_one_that_is_cancelled_while_it_waits_leaves_the_other_one_alone(yard: Yard) -> None:
    with held_at(yard, "shut_down") as shut_down:
        with held_at(yard, "snapshot_disk") as reached:
            submit(yard, "snapshot", i.SnapshotDisk(target="web"))
            assert reached.wait(30.0)
            stop = waiting(yard, "stop", i.StopInstance(target="web", confirmed=True))
            reprovision = waiting(yard, "reprovision", i.ReprovisionInstance(target="web", confirmed=True))
        assert shut_down.wait(30.0)
        assert yard.engine.cancel(reprovision, "tester").state is S.CANCELLED
        record = yard.instance("web")
        assert (record.state, record.failure) == (InstanceState.STOPPING, "")
        with yard.store.read() as tx:
            agent = tx.get(AgentRow, record.machine)
            assert agent is not None and agent.operation_id == stop, "its lines go on belonging to the one at work"
    assert yard.finish(stop).state is S.SUCCEEDED
    assert yard.instance("web").state is InstanceState.STOPPED


@pytest.mark.parametrize(("action", "request_"), [
    ("stop", i.StopInstance(target="web", confirmed=True)), ("deprovision", i.DeprovisionInstance(target="web", confirmed=True)),
    ("reprovision", i.ReprovisionInstance(target="web", confirmed=True)),
], ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_one_that_is_cancelled_while_it_waits_for_the_agent_leaves_the_instance_as_it_was(yard: Yard, action: str, request_: OperationRequest) -> None:
    yard.provider.faults.hang("command:shutdown", "web")
    machine = yard.instance("web").machine
    operation = submit(yard, action, request_)
    until(lambda: not yard.provider.faults.pending(), 30.0, "the agent is told")
    yard.engine.cancel(operation, "tester")
    assert yard.finish(operation).state is S.CANCELLED
    record = yard.instance("web")
    assert (record.state, record.failure, record.failed_stage, record.machine) == (InstanceState.RUNNING, "", None, machine)
    assert not yard.agents.called(), "and it goes on running"
    assert yard.run("instance.restart-app", i.RestartApplication(target="web", confirmed=True)).state is S.SUCCEEDED
    assert yard.instance("web").health is Health.OK
    assert yard.run(f"instance.{action}", request_).state is S.SUCCEEDED, "and can be asked again"


def test_one_that_is_cancelled_after_the_machine_was_touched_says_so(yard: Yard) -> None:
    with held_at(yard, "shut_down") as reached:
        operation = submit(yard, "deprovision", i.DeprovisionInstance(target="web", confirmed=True))
        assert reached.wait(30.0)
        yard.engine.cancel(operation, "tester")
    assert yard.finish(operation).state is S.CANCELLED
    record = yard.instance("web")
    assert (record.state, record.failed_stage) == (InstanceState.FAILED, "deprovision")
