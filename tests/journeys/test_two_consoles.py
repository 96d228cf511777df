"""Several people at one site: they see the same, at the same time, and what two ask for at once is done once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from fleet_tui.agent import processes
from fleet_tui.backend import instances as i
from fleet_tui.backend.api import DescribeSite, embedded
from fleet_tui.backend.api.client import Client
from fleet_tui.backend.errors import Unreachable, WrongState
from fleet_tui.backend.events import EventsAfter
from fleet_tui.backend.instances.states import InstanceState
from fleet_tui.backend.operations import ListOperations, OperationRecord, Submitted
from fleet_tui.backend.telemetry import ReadLines
from tests.journeys.site import ROOT, Site, tasks
from tests.waiting import until


class Console:
    """What a console does: it waits for events, fetches what they name, and notes when it knew what."""

    def __init__(self, site: Site, label: str) -> None:
        self._client = Client(site.socket(), client="console")
        self._label = label
        self.states: dict[str, float] = {}
        """When each state of the instance was first seen."""
        self._cursor = self._client.call(EventsAfter()).cursor
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.is_set():
            batch = self._client.call(EventsAfter(cursor=self._cursor, wait_s=0.5))
            self._cursor = batch.cursor
            if any(event.ref.startswith("instance:") for event in batch.events):
                state = self._client.call(i.ShowInstance(self._label)).state.value
                self.states.setdefault(state, time.monotonic())
        self._client.close()

    def close(self) -> None:
        self._ended.set()
        self._thread.join(timeout=20)
        assert not self._thread.is_alive()


class Follower:
    """``fleet event list --follow`` in a process of its own, and when each line came."""

    def __init__(self, site: Site) -> None:
        self._process = subprocess.Popen(
            site.command("event", "list", "--follow", "--output", "json"), cwd=ROOT, env=site.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        self.events: list[tuple[float, dict[str, Any]]] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.events.append((time.monotonic(), json.loads(line)))

    def when(self, words: str) -> float | None:
        return next((at for at, event in self.events if words in event["text"]), None)

    def close(self) -> None:
        self._process.kill()
        self._process.wait(timeout=10)
        self._thread.join(timeout=10)
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextmanager
def closing(*things: Any) -> Iterator[None]:
    try:
        yield
    finally:
        for thing in things:
            thing.close()


def test_two_consoles_and_a_command_line_see_the_same_together(shared: Site) -> None:
    shared.create("watched")
    first, second, follower = Console(shared, "watched"), Console(shared, "watched"), Follower(shared)
    with closing(first, second, follower):
        shared.create("sign")
        until(lambda: follower.when("instance sign saved"), 30.0, "the command line follows")
        operation = shared.do(i.ProvisionInstance(target="watched"))
        done = "provision watched succeeded"
        until(lambda: follower.when(done) and "running" in first.states and "running" in second.states, 20.0)
        assert list(first.states)[-1] == list(second.states)[-1] == "running"
        at = follower.when(done)
        assert at is not None
        seen = [at, first.states["running"], second.states["running"]]
        print(f"seen within {(max(seen) - min(seen)) * 1000:.0f} ms of each other")  # how long is measured by the bench: seen_together
    told = json.loads(shared.fleet("instance", "show", "watched", "--output", "json").stdout)
    record = shared.show("watched")
    assert (told["state"], told["url"]) == (record.state.value, record.url)
    listed = json.loads(shared.fleet("op", "list", "--output", "json").stdout)
    assert operation.id in [one["id"] for one in listed]


def test_two_readers_of_one_log_get_the_same_lines(shared: Site) -> None:
    shared.template("talker", tasks("talk", "n=0; while [ $n -lt 500 ]; do echo word $n; n=$((n+1)); done"))
    shared.create("talks", template="talker")
    operation = shared.submit(i.ProvisionInstance(target="talks"))
    with ThreadPoolExecutor(3) as readers:
        logs = list(readers.map(lambda _: follow(shared, "talks", "ready: http"), range(3)))
    assert logs[0] == logs[1] == logs[2]
    assert [seq for seq, _ in logs[0]] == list(range(1, len(logs[0]) + 1))
    assert [text for _, text in logs[0] if text.startswith("word ")] == [f"word {number}" for number in range(500)]
    shared.ended(operation.id)


def follow(site: Site, label: str, last: str) -> list[tuple[int, str]]:
    """Lines as a log panel reads them, until one that ends the story."""
    client = Client(site.socket(), client="reader")
    found: list[tuple[int, str]] = []
    deadline = time.monotonic() + 40
    with closing(client):
        while time.monotonic() < deadline:
            batch = client.call(ReadLines(target=label, after=found[-1][0] if found else 0, wait_s=1.0, limit=70))
            found += [(line.seq, line.text) for line in batch.lines]
            ends = next((number for number, (_, text) in enumerate(found) if text.startswith(last)), None)
            if ends is not None:
                return found[: ends + 1]
    raise AssertionError(f"{last!r} never came; the last was {found[-1:]}")


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What each returns or raises, all begun together."""
    gate = threading.Barrier(len(calls))

    def one(call: Callable[[], Any]) -> Any:
        gate.wait(timeout=20)
        try:
            return call()
        except (WrongState, Unreachable) as refusal:
            return refusal

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))


def operations(site: Site, label: str) -> list[OperationRecord]:
    return list(site.call(ListOperations(target_ref=f"instance:{site.show(label).id}")))


def test_the_same_request_sent_twice_is_one_operation(shared: Site) -> None:
    shared.create("once")
    request = i.ProvisionInstance(target="once", request_id=uuid.uuid4().hex)
    clients = [Client(shared.socket(), client=f"console-{number}") for number in range(4)]
    with closing(*clients):
        answers: list[Submitted] = at_once(*(lambda client=client: client.call(request) for client in clients))  # type: ignore[misc]
        ids = {answer.operation.id for answer in answers if answer.operation}
        assert len(ids) == 1 and len(operations(shared, "once")) == 1
        shared.ended(ids.pop())
        late = clients[0].call(request)
        assert late.operation is not None and late.operation.state.is_final and len(operations(shared, "once")) == 1
    assert shared.show("once").state is InstanceState.RUNNING


def test_the_same_verb_from_two_people_is_one_operation(shared: Site) -> None:
    shared.create("joined")
    clients = [Client(shared.socket(), client=f"console-{number}") for number in range(4)]
    with closing(*clients):
        answers = at_once(*(
            lambda client=client: client.call(i.ProvisionInstance(target="joined", request_id=uuid.uuid4().hex))  # type: ignore[misc]
            for client in clients
        ))
        ids = {answer.operation.id for answer in answers if answer.operation}
        assert len(ids) == 1 and sorted(answer.deduplicated for answer in answers) == [False, True, True, True]
        ended = shared.ended(ids.pop())
    assert [one.id for one in operations(shared, "joined")] == [ended.id]
    assert [text for text in shared.texts("joined") if text.startswith("made machine")] == [
        f"made machine vm-{ended.id[2:]} in {shared.places.machines}/vm-{ended.id[2:]}"
    ]


def test_another_verb_meanwhile_is_refused_with_the_reason(shared: Site) -> None:
    shared.template("slow", tasks("slow", "sleep 2"))
    shared.create("busy", template="slow")
    operation = shared.submit(i.ProvisionInstance(target="busy"))
    until(lambda: shared.show("busy").state is InstanceState.STARTING_UP, 20.0)
    with pytest.raises(WrongState, match="starting-up"):
        shared.submit(i.StopInstance(target="busy", confirmed=True))
    told = shared.fleet("instance", "deprovision", "busy", "--yes", "--output", "json")
    assert told.returncode != 0 and "starting-up" in told.stdout + told.stderr
    shared.ended(operation.id)
    assert shared.show("busy").state is InstanceState.RUNNING


def test_two_consoles_that_start_a_daemon_at_once_get_the_same_one() -> None:
    """Real ones: ``fleet`` finds nobody and starts ``fleetd`` in the background."""
    site = Site()
    try:
        consoles = [
            subprocess.Popen(
                site.command("instance", "list", "--output", "json"), cwd=ROOT, env=site.environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for _ in range(3)
        ]
        told = [console.communicate(timeout=60) for console in consoles]
        assert [console.returncode for console in consoles] == [0, 0, 0], told
        assert [json.loads(out) for out, _ in told] == [[], [], []]
        pid = int(site.places.lock.read_text())
        assert site.client().call(DescribeSite()).pid == pid
        serving = [line for line in site.log() if " answers at " in line]
        assert len(serving) == 1 and serving[0].endswith(f"pid {pid}")
        assert site.fleet("daemon", "stop").returncode == 0
        until(lambda: not _alive(pid), 30.0, "the daemon ends")
    finally:
        if (holder := embedded.holder(site.places)) and _alive(holder):
            os.kill(holder, signal.SIGKILL)
        site.close()


def _alive(pid: int) -> bool:
    found = processes.find(pid)
    return found is not None and "fleet_tui.backend.daemon" in found.command
