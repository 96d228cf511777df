"""Agents prove who they are once, may repeat themselves without effect, and are told each thing once."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from fleet_tui.backend.errors import AuthFailed, InvalidInput
from fleet_tui.backend.events.feed import Feed
from fleet_tui.backend.secrets.envelope import Envelope
from fleet_tui.backend.store import Store
from fleet_tui.backend.telemetry import AgentLine, CommandResult, Hello, PhaseReport, ReadLines, Report
from fleet_tui.backend.telemetry.agents import Agents
from fleet_tui.backend.telemetry.lines import Lines
from fleet_tui.backend.telemetry.masking import MASK

MACHINE = "vm-1"


@pytest.fixture
def agents(store: Store) -> Agents:
    return Agents(store, Lines(store, Feed(store)), Envelope(b"k" * 32))


def expect(agents: Agents, store: Store, by: str = "o-1:boot") -> str:
    with store.write() as tx:
        return agents.expect(tx, MACHINE, "instance:i-1", {"port": 1}, "o-1", by)


def hello(token: str, boot: str = "b1", clock: float | None = None) -> Hello:
    return Hello(machine=MACHINE, boot=boot, token=token, clock=time.time() if clock is None else clock, pid=1, agent_version="1")


def test_a_token_works_once_but_the_same_boot_may_repeat_its_hello(agents: Agents, store: Store) -> None:
    token = expect(agents, store)
    first = agents.hello(hello(token))
    assert first.document == {"port": 1}
    assert agents.hello(hello(token)).key == first.key
    with pytest.raises(AuthFailed, match="used before"):
        agents.hello(hello(token, boot="b2"))
    with pytest.raises(AuthFailed):
        agents.hello(hello("wrong"))


def test_a_step_repeated_after_a_crash_finds_the_agent_it_started(agents: Agents, store: Store) -> None:
    token = expect(agents, store)
    key = agents.hello(hello(token)).key
    assert expect(agents, store) == token
    agents.report(Report(machine=MACHINE, boot="b1", key=key))
    fresh = expect(agents, store, by="o-2:boot")
    assert fresh != token
    with pytest.raises(AuthFailed):
        agents.report(Report(machine=MACHINE, boot="b1", key=key))


def test_a_report_that_comes_late_does_not_turn_back_how_the_machine_stands(agents: Agents, store: Store) -> None:
    """A daemon that was frozen answers what it was told before, when the agent has long told another one more."""
    key = agents.hello(hello(expect(agents, store))).key
    new = Report(machine=MACHINE, boot="b1", key=key, standing=7, phases=(PhaseReport("ready", "done", 1.0, 2.0),), health="ok", disk_used_bytes=9)
    late = Report(
        machine=MACHINE, boot="b1", key=key, standing=6, phases=(PhaseReport("start", "running", 1.0),), health="app-down", disk_used_bytes=1,
        facts={"version": "0"}, lines=(AgentLine(1, 1.0, "start", "info", "late but new"),),
    )
    agents.report(new)
    assert agents.report(late).seq == 1
    with store.read() as tx:
        row = agents.find(tx, MACHINE)
    assert row is not None
    assert ([phase["name"] for phase in row.phases], row.health, row.disk_used_bytes, row.facts) == (["ready"], "ok", 9, {})
    agents.report(replace(late, standing=8))
    with store.read() as tx:
        row = agents.find(tx, MACHINE)
    assert row is not None and row.health == "app-down"


def test_a_clock_far_off_is_refused_with_how_far(agents: Agents, store: Store) -> None:
    token = expect(agents, store)
    with pytest.raises(InvalidInput, match="ahead"):
        agents.hello(hello(token, clock=time.time() + 400))


def test_lines_sent_again_are_stored_once_and_in_order(agents: Agents, store: Store) -> None:
    key = agents.hello(hello(expect(agents, store))).key
    batch = [AgentLine(n, time.time(), "start", "info", f"line {n}") for n in range(1, 11)]
    report = Report(machine=MACHINE, boot="b1", key=key, lines=tuple(batch[:6]))
    assert agents.report(report).seq == 6
    assert agents.report(report).seq == 6
    assert agents.report(replace(report, lines=tuple(batch[3:]))).seq == 10
    stored = agents._lines.read(ReadLines(target="instance:i-1")).lines
    assert [line.text for line in stored] == [line.text for line in batch]
    assert {line.operation_id for line in stored} == {"o-1"}


def test_what_an_agent_dropped_is_said(agents: Agents, store: Store) -> None:
    key = agents.hello(hello(expect(agents, store))).key
    agents.report(Report(machine=MACHINE, boot="b1", key=key, dropped=42))
    assert "42 lines were dropped" in agents._lines.read(ReadLines(target="instance:i-1")).lines[0].text


def test_a_command_reaches_a_waiting_agent_and_is_answered_once(agents: Agents, store: Store) -> None:
    key = agents.hello(hello(expect(agents, store))).key
    got: list[str] = []
    waiting = Report(machine=MACHINE, boot="b1", key=key, wait_s=10.0)
    thread = threading.Thread(target=lambda: got.extend(c.verb for c in agents.report(waiting).commands))
    thread.start()
    for _ in range(2):
        with store.write() as tx:
            agents.command(tx, MACHINE, "o-9:stop", "stop-app", {})
    agents.ring()
    thread.join(15)
    assert got == ["stop-app"]
    agents.report(replace(waiting, wait_s=0.0, results=(CommandResult("o-9:stop", "done", "stopped"),)))
    with store.read() as tx:
        assert agents.answer(tx, "o-9:stop") == ("done", "stopped")
    assert agents.report(replace(waiting, wait_s=0.0)).commands == ()


def test_what_one_life_was_told_is_not_done_by_the_next(agents: Agents, store: Store) -> None:
    key = agents.hello(hello(expect(agents, store))).key
    with store.write() as tx:
        agents.command(tx, MACHINE, "o-2:stop-application:shutdown", "shutdown", {})
    assert expect(agents, store) and agents.report(Report(machine=MACHINE, boot="b1", key=key)).commands, "the same life still is to do it"
    key = agents.hello(hello(expect(agents, store, by="o-3:boot"), boot="b2")).key
    assert agents.report(Report(machine=MACHINE, boot="b2", key=key)).commands == ()
    with store.read() as tx:
        assert agents.answer(tx, "o-2:stop-application:shutdown") == ("withdrawn", "")


def test_an_answer_that_came_first_stands_and_one_that_comes_too_late_does_not(agents: Agents, store: Store) -> None:
    key = agents.hello(hello(expect(agents, store))).key
    report = Report(machine=MACHINE, boot="b1", key=key)
    with store.write() as tx:
        for name in ("first", "late"):
            agents.command(tx, MACHINE, name, "restart-app", {})
    agents.report(replace(report, results=(CommandResult("first", "failed", "no"),)))
    with store.write() as tx:
        assert [agents.take_back(tx, name) for name in ("first", "late", "never given")] == [("failed", "no"), ("withdrawn", ""), None]
    assert agents.report(replace(report, results=(CommandResult("late", "done", "after all"),))).commands == ()
    with store.read() as tx:
        assert agents.answer(tx, "late") == ("withdrawn", "")


def test_observers_are_told_what_changed_and_only_that(agents: Agents, store: Store) -> None:
    key = agents.hello(hello(expect(agents, store))).key
    seen: list[tuple[bool, bool]] = []
    agents.observe = lambda tx, row, change: seen.append((bool(change), change.phases))
    report = Report(machine=MACHINE, boot="b1", key=key, phases=(PhaseReport("hello", "done", 1.0, 2.0),))
    agents.report(report)
    agents.report(report)
    assert seen == [(True, True), (False, False)]


def test_neither_token_nor_document_stands_in_clear_in_the_database(agents: Agents, store: Store) -> None:
    token = expect(agents, store)
    with store.read() as tx:
        row = agents.find(tx, MACHINE)
        assert row is not None
        assert token not in (row.token_hash + row.token_sealed) and "port" not in row.document


def test_lines_of_an_earlier_boot_keep_their_numbers_and_are_stored_once(agents: Agents, store: Store) -> None:
    batch = tuple(AgentLine(n, time.time(), "start", "info", f"line {n}") for n in range(1, 9))
    key = agents.hello(hello(expect(agents, store))).key
    agents.report(Report(machine=MACHINE, boot="b1", key=key, lines=batch[:5]))  # its answer got lost, and the agent was killed
    key = agents.hello(hello(expect(agents, store, by="o-2:boot"), boot="b2")).key
    late = Report(machine=MACHINE, boot="b2", key=key, lines=batch[:6], lines_of="b1")
    assert agents.report(late).seq == 6
    assert agents.report(late).seq == 6
    assert agents.report(Report(machine=MACHINE, boot="b2", key=key, lines=batch[:1], lines_of="b2")).seq == 1
    agents.salvage(MACHINE, "b1", batch)
    agents.salvage(MACHINE, "b2", batch[:2])
    agents.salvage(MACHINE, "b0", batch[:1])
    agents.salvage("vm-unknown", "b0", batch[:1])
    texts = [line.text for line in agents._lines.read(ReadLines(target="instance:i-1")).lines]
    assert texts == [f"line {n}" for n in (1, 2, 3, 4, 5, 6, 1, 7, 8, 2, 1)]


@pytest.mark.parametrize("claimed", [0.0, -1e300, 1e300, float("nan"), 253_402_300_000.0])
def test_a_line_of_a_machine_without_a_clock_is_of_when_it_came(agents: Agents, store: Store, claimed: float) -> None:
    key = agents.hello(hello(expect(agents, store))).key
    began = time.time() - 1.0
    lines = (AgentLine(1, claimed, "start", "info", "no clock"), AgentLine(2, began - 86400.0, "start", "info", "of a day ago"))
    agents.report(Report(machine=MACHINE, boot="b1", key=key, lines=lines))
    first, second = Lines(store, Feed(store)).read(ReadLines(target="instance:i-1")).lines
    assert began <= first.time.timestamp() <= time.time() + 1.0
    assert abs(second.time.timestamp() - (began - 86400.0)) < 0.01


def test_tokens_and_keys_that_are_used_up_are_not_searched_for(agents: Agents, store: Store) -> None:
    """Every line of the site is searched for each of them."""
    masker, used = agents._lines.masker, []
    for boot in range(5):
        token = expect(agents, store, by=f"o-{boot}:boot")
        used += [token, agents.hello(hello(token, boot=f"b{boot}")).key]
        assert masker.mask(" ".join(used[-2:])) == f"{MASK} {MASK}"
        assert masker.mask(" ".join(used[:-2])) == " ".join(used[:-2])
    with store.write() as tx:
        agents.forget(tx, MACHINE)
    assert masker.mask(" ".join(used)) == " ".join(used)


@pytest.mark.parametrize("huge", [2**63, 10**30, 10**5000, -1], ids=["64 bits", "100 bits", "more than is told", "negative"])
def test_numbers_that_no_database_takes_are_refused(agents: Agents, store: Store, huge: int) -> None:
    token = expect(agents, store)
    with pytest.raises(InvalidInput):
        agents.hello(replace(hello(token), pid=huge))
    key = agents.hello(hello(token)).key
    report = Report(machine=MACHINE, boot="b1", key=key)
    changes: tuple[dict[str, Any], ...] = ({"standing": huge}, {"dropped": huge})
    for change in changes:
        with pytest.raises(InvalidInput):
            agents.report(replace(report, **change))
    assert agents.report(replace(report, lines=(AgentLine(huge, 0.0, "", "info", "x"),))).seq == 0
    agents.report(replace(report, disk_used_bytes=huge, facts={"n": huge if huge > 0 else 10**400, "text": "x"}))
    with store.read() as tx:
        row = agents.find(tx, MACHINE)
    assert row is not None and row.facts == {"n": None, "text": "x"}


def test_that_lines_were_dropped_is_said_once_however_often_it_is_sent(agents: Agents, store: Store) -> None:
    key = agents.hello(hello(expect(agents, store))).key
    report = Report(machine=MACHINE, boot="b1", key=key, lines=(AgentLine(8, time.time(), "start", "info", "eight"),), dropped=7)
    agents.report(report)
    agents.report(replace(report, lines=(*report.lines, AgentLine(9, time.time(), "start", "info", "nine"))))  # the answer was lost
    agents.report(replace(report, lines=(AgentLine(17, time.time(), "start", "info", "seventeen"),)))
    texts = [line.text for line in agents._lines.read(ReadLines(target="instance:i-1")).lines]
    dropped = "7 lines were dropped by the agent: its spool was full"
    assert texts == [dropped, "eight", "nine", dropped, "seventeen"]
