"""An agent that was held up does not do, once it is back, what nobody waits for any more."""

from __future__ import annotations

import os
import signal
from datetime import datetime, timedelta, timezone

from sqlalchemy import select

from fleet_tui.agent.reporter import FRESH_S
from fleet_tui.backend import instances as i
from fleet_tui.backend.instances.states import InstanceState
from fleet_tui.backend.operations import CancelOperation, OperationState
from fleet_tui.backend.telemetry.rows import CommandRow
from tests.journeys.site import Site
from tests.waiting import until


def told(site: Site, label: str) -> bool:
    """Whether an instance's agent was given something that it has not done."""
    machine, store = site.show(label).machine, site.store()
    try:
        with store.read() as tx:
            return tx.scalar(select(CommandRow.id).where(CommandRow.machine == machine, CommandRow.state == "given")) is not None
    finally:
        store.close()


def held_up(site: Site, label: str) -> int:
    """The instance runs, and its agent is stopped in the middle of asking for commands."""
    site.create(label)
    site.do(i.ProvisionInstance(target=label))
    agent = site.agent(label)
    os.kill(agent, signal.SIGSTOP)
    seen = site.show(label).agent.last_seen
    assert seen is not None
    until(lambda: datetime.now(timezone.utc) - seen > timedelta(seconds=FRESH_S + 0.1), 30.0, "it has asked for a while")
    return agent


def test_a_cancelled_stop_stops_nothing(shared: Site) -> None:
    agent = held_up(shared, "stays")
    stop = shared.submit(i.StopInstance(target="stays", confirmed=True))
    until(lambda: told(shared, "stays"), 30.0, "the agent is told")
    shared.call(CancelOperation(stop.id))
    assert shared.ended(stop.id).state is OperationState.CANCELLED
    assert shared.show("stays").state is InstanceState.RUNNING
    os.kill(agent, signal.SIGCONT)
    shared.do(i.RestartApplication(target="stays", confirmed=True))
    assert shared.agent("stays") == agent and "Hello from stays" in shared.get("stays")


def test_an_agent_that_died_before_it_answered_leaves_nothing_to_the_next_one(shared: Site) -> None:
    agent = held_up(shared, "again")
    stop = shared.submit(i.StopInstance(target="again", confirmed=True))
    until(lambda: told(shared, "again"), 30.0, "the agent is told")
    os.kill(agent, signal.SIGKILL)
    assert shared.ended(stop.id).state is OperationState.SUCCEEDED
    shared.do(i.StartInstance(target="again"))
    assert "Hello from again" in shared.get("again")
