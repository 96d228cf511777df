"""What an agent is told to do may carry secrets: it stands in the database sealed, and the agent has it in the clear."""

from __future__ import annotations

from sqlalchemy import select

from fleet_tui.backend.events.feed import Feed
from fleet_tui.backend.secrets.envelope import Envelope
from fleet_tui.backend.store import Store
from fleet_tui.backend.telemetry import Hello, Report
from fleet_tui.backend.telemetry.agents import Agents
from fleet_tui.backend.telemetry.lines import Lines
from fleet_tui.backend.telemetry.rows import CommandRow

SECRET = "hunter2-and-some-more"


def test_arguments_are_sealed_in_the_database_and_open_for_the_agent(store: Store) -> None:
    feed = Feed(store)
    agents = Agents(store, Lines(store, feed), Envelope(b"k" * 32))
    with store.write() as tx:
        token = agents.expect(tx, "m-1", "instance:i-1", {}, None, "t")
    key = agents.hello(Hello(machine="m-1", boot="b", token=token, clock=agents._clock.now().timestamp(), pid=1, agent_version="1")).key
    with store.write() as tx:
        agents.command(tx, "m-1", "c-1", "replay-actions", {"actions": [{"password": SECRET}]})
        agents.command(tx, "m-1", "c-2", "thaw", {})
        tx.add(CommandRow(id="c-3", machine="m-1", verb="freeze", arguments={"limit_s": 3}, created_at=agents._clock.now(), state="given", detail=""))
    with store.read() as tx:
        assert SECRET not in repr([row.arguments for row in tx.scalars(select(CommandRow))])
    told = agents.report(Report(machine="m-1", boot="b", key=key, lines=(), standing=1)).commands
    assert {command.id: command.arguments for command in told} == {
        "c-1": {"actions": [{"password": SECRET}]}, "c-2": {}, "c-3": {"limit_s": 3},
    }, "the last is as an earlier program gave it"
    feed.close()
