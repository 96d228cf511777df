"""What an agent was told to do and nobody waits for any more is not done later."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from fleet_tui.backend import instances as i
from fleet_tui.backend.faults import Fault
from fleet_tui.backend.instances.drivers import Timeouts
from fleet_tui.backend.operations import OperationState
from fleet_tui.backend.store import Store
from fleet_tui.backend.telemetry.rows import CommandRow
from tests.backend.providers.yard import Yard, opened
from tests.waiting import until

S = OperationState
HASTY = Timeouts(hello_s=20.0, start_s=0.2, stop_s=0.2, action_s=3.0, health_s=1.0)


@pytest.fixture
def yard(store: Store, tmp_path: Path) -> Iterator[Yard]:
    with opened(store, tmp_path, timeouts=HASTY) as found:
        found.create("web")
        assert found.run("instance.provision", i.ProvisionInstance(target="web")).state is S.SUCCEEDED
        yield found


def commands(yard: Yard) -> dict[str, str]:
    with yard.store.read() as tx:
        return {row.verb: row.state for row in tx.scalars(select(CommandRow))}


def test_what_took_too_long(yard: Yard) -> None:
    yard.provider.faults.hang("command:restart-app", "web")
    ended = yard.run("instance.restart-app", i.RestartApplication(target="web", confirmed=True))
    assert ended.state is S.FAILED and ended.error is not None and "did not finish restart-app" in ended.error.message
    assert commands(yard) == {"restart-app": "withdrawn"} and not yard.agents.called()


def test_what_was_cancelled(yard: Yard) -> None:
    yard.provider.faults.hang("command:restart-app", "web")
    operation = yard.engine.submit("instance.restart-app", i.RestartApplication(target="web", confirmed=True), "tester").operation
    assert operation is not None
    until(lambda: not yard.provider.faults.pending())
    yard.engine.cancel(operation.id, "tester")
    assert yard.finish(operation.id).state is S.CANCELLED
    assert commands(yard) == {"restart-app": "withdrawn"} and not yard.agents.called()


def test_what_an_agent_was_told_that_is_gone(yard: Yard) -> None:
    yard.provider.faults.add(Fault("command:shutdown", "web", effect="kill"))
    assert yard.run("instance.stop", i.StopInstance(target="web", confirmed=True)).state is S.SUCCEEDED
    assert commands(yard) == {"shutdown": "withdrawn"}
    assert yard.run("instance.start", i.StartInstance(target="web")).state is S.SUCCEEDED


def test_an_application_is_let_go_when_its_snapshot_fails(yard: Yard) -> None:
    """The undo of freezing has the token of the step that froze, and is another command all the same."""
    yard.provider.faults.fail("snapshot_disk")
    assert yard.run("instance.snapshot", i.SnapshotDisk(target="web")).state is S.FAILED
    assert commands(yard) == {"freeze": "done", "thaw": "done"}
