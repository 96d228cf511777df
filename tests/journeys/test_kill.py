"""``kill -9`` of ``fleetd`` at every step boundary and at any moment, on both back ends: nothing lost, nothing twice, nothing left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping

import pytest
from sqlalchemy import func, select

from fleet_tui.agent import processes
from fleet_tui.backend import instances as i
from fleet_tui.backend.instances.states import Health, InstanceState
from fleet_tui.backend.operations import ListOperations, OperationRecord, OperationState, ShowOperation, StepState
from fleet_tui.backend.operations.rows import LeaseRow
from tests.backend import postgres
from tests.journeys.site import Site, marked, markers, site, tasks
from tests.waiting import until

LINES = 40
"""Numbered ones that every start-up prints, over more than a second."""
KILLS = 50
FLAGS = ("--heartbeat", "0.5", "--dead-after", "2", "--timeouts", "stop_s=8,health_interval_s=0.5,health_s=30,action_s=60,start_s=30")
MAKING = ("instance.provision", "instance.reprovision")

COUNTING = (
    'echo "$FLEET_MACHINE" >> "$FLEET_DATA/boots"; n=0; '
    f'while [ $n -lt {LINES} ]; do echo "witness $FLEET_MACHINE $n"; n=$((n+1)); sleep 0.03; done'
)


@pytest.fixture(params=["sqlite", "postgresql"])
def doomed(request: pytest.FixtureRequest) -> Iterator[Site]:
    """A site whose instances are witnesses: one daemon on SQLite, two on PostgreSQL."""
    if request.param == "sqlite":
        with site(flags=FLAGS) as found:
            yield equipped(found)
        return
    server: postgres.Server = request.getfixturevalue("server")
    database = server.create()
    try:
        with site(database, slots=(1, 2), flags=FLAGS) as found:
            yield equipped(found)
    finally:
        server.drop(database)


def equipped(site: Site) -> Site:
    site.image("witness", install='echo once >> "$FLEET_DATA/installs"; sh install.sh')
    site.template("witness", tasks("count", COUNTING), application="witness")
    return site


def request(kind: str, label: str) -> i.ProvisionInstance | i.DeprovisionInstance | i.ReprovisionInstance:
    if kind == "provision":
        return i.ProvisionInstance(target=label)
    verb = i.DeprovisionInstance if kind == "deprovision" else i.ReprovisionInstance
    return verb(target=label, confirmed=True)


# --- what must hold afterwards -----------------------------------------------------------------------------------------


def check(site: Site, labels: list[str], kept: Mapping[str, Mapping[str, bytes]]) -> None:
    """Every instance runs. Nothing was lost, done twice or left over."""
    records = {label: site.show(label) for label in labels}
    operations = [one for one in reversed(site.operations()) if one.kind.startswith("instance.")]
    assert all(one.state is OperationState.SUCCEEDED for one in operations), [one for one in operations if one.state is not OperationState.SUCCEEDED]
    assert {step.state for one in operations for step in one.steps} == {StepState.DONE}
    with site.store().read() as tx:
        assert tx.scalar(select(func.count()).select_from(LeaseRow)) == 0
    assert not site.call(ListOperations(active=True))
    for label, record in records.items():
        assert (record.state, record.operation_id) == (InstanceState.RUNNING, None), site.story(label)
        until(lambda label=label: site.show(label).health is Health.OK, 20.0)  # type: ignore[misc]
        assert f"Hello from {label}" in site.get(label)
        assert markers(site.disk(label)) == kept[label]
        check_effects(site, label, [one for one in operations if one.target == label])
        check_lines(site, label)
    current = {str(record.machine) for record in records.values()}
    assert site.machines() == current, "a machine's folder is left over"
    until(lambda: set(site.processes()) <= current, 10.0, "no process without a machine")
    assert not site.complaints(), "a daemon met something it did not expect:\n" + "\n".join(site.complaints())
    for machine, group in site.processes().items():
        agents = [process for process in group if "agent.pyz" in process.command]
        assert len(agents) == 1, group
        assert len([process for process in group if "app.py" in process.command]) == 1, group
        assert machine in current


def check_effects(site: Site, label: str, operations: list[OperationRecord]) -> None:
    """Witnesses on the data disk, which no engine knows about."""
    data = site.disk(label) / "application"
    assert (data / "installs").read_text() == "once\n", "installed once in the life of the disk"
    made = [f"vm-{one.id.removeprefix('o-')}" for one in operations if one.kind in MAKING]
    assert (data / "boots").read_text().split() == made, "each machine began its start-up once, in the order of the operations"


def check_lines(site: Site, label: str) -> None:
    lines = site.lines(label)
    boots = (site.disk(label) / "application/boots").read_text().split()
    told: dict[str, list[int]] = {}
    for line in lines:
        if line.text.startswith("witness vm-"):
            _, machine, number = line.text.split()
            told.setdefault(machine, []).append(int(number))
    assert told == {machine: list(range(LINES)) for machine in boots}, "numbered lines lost, doubled or out of order"
    hellos = Counter(line.text.split()[4].rstrip(",") for line in lines if line.phase == "hello" and " boot " in line.text)
    assert hellos == dict.fromkeys(boots, 1)
    ended = [line for line in lines if line.text == "the agent ends"]
    assert len(ended) == len(boots) - 1, "the last words of every machine but the present one"
    said = Counter((line.operation_id, line.phase, line.text) for line in lines if line.source == "worker")
    assert not [words for words, times in said.items() if times > 1], "a step said something again"


def prepare(site: Site, labels: list[str]) -> dict[str, dict[str, bytes]]:
    """Instances that run, with something to lose on their disks."""
    for label in labels:
        site.create(label, network="local-tls" if label.endswith("0") else "local", template="witness")
    for operation in [site.submit(request("provision", label)) for label in labels]:
        assert site.ended(operation.id).state is OperationState.SUCCEEDED
    return {label: marked(site.disk(label)) for label in labels}


# --- at every boundary --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_killed_at_every_step_boundary(doomed: Site) -> None:
    doom, deaths = doomed.home / "doom", doomed.home / "deaths"
    deaths.touch()
    kept = prepare(doomed, ["web-0"])
    steps: dict[str, int] = {}
    # Each kind twice: at its second claim the first one's boundaries are passed, and only the dispatcher's last one is left.
    for kind in ("deprovision", "provision", "reprovision", "reprovision", "deprovision", "provision"):
        doom.write_text(kind)
        operation = doomed.ended(doomed.submit(request(kind, "web-0")).id, 180.0)
        assert operation.state is OperationState.SUCCEEDED, f"{operation}\n{doomed.story('web-0')}"
        until(lambda kind=kind: f"{kind} finished\n" in deaths.read_text(), 10.0)  # type: ignore[misc]
        doom.unlink()
        steps[kind] = len(operation.steps)
    reached = set(deaths.read_text().splitlines())
    points = {
        f"{kind} {point}" for kind, count in steps.items()
        for point in (
            "claimed", "started", "adopted", "before-finish", "finished",
            *(f"{word}:{number}" for word in ("begun", "after-body", "stored", "recorded") for number in range(1, count + 1)),
        )
    }
    assert reached == points
    print(f"killed at {len(reached)} boundaries")
    for slot in doomed.slots:
        doomed.await_door(slot)
    check(doomed, ["web-0"], kept)


# --- at any moment ------------------------------------------------------------------------------------------------------


class Traffic:
    """Keeps every instance busy: reprovision, deprovision, provision, and again."""

    def __init__(self, site: Site, labels: list[str], chance: random.Random) -> None:
        self._site, self._chance = site, chance
        self._next = {label: chance.choice(["reprovision", "deprovision"]) for label in labels}
        self._active: dict[str, str] = {}
        self.done: Counter[str] = Counter()

    def keep_up(self, seconds: float) -> None:
        """Submit what comes next wherever something ended, for so long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for label, kind in list(self._next.items()):
                if self._ended(label):
                    self._active[label] = self._site.submit(request(kind, label)).id
                    after = {"deprovision": ["provision"], "provision": ["deprovision", "reprovision"], "reprovision": ["deprovision", "reprovision"]}
                    self._next[label] = self._chance.choice(after[kind])
                    self.done[kind] += 1
            until(lambda: time.monotonic() >= deadline or any(self._ended(label) for label in self._next), seconds + 30.0)

    def settle(self) -> None:
        """Let everything end, and every instance run."""
        for label in self._next:
            if label in self._active:
                self._site.ended(self._active[label], 120.0)
            if self._site.show(label).state is InstanceState.DEPROVISIONED:
                self._active[label] = self._site.submit(request("provision", label)).id
        for operation in self._active.values():
            self._site.ended(operation, 120.0)

    def _ended(self, label: str) -> bool:
        return label not in self._active or bool(self._site.call(ShowOperation(self._active[label])).state.is_final)


@pytest.mark.slow
def test_killed_at_any_moment(doomed: Site) -> None:
    seed = int(os.environ.get("FLEET_TEST_SEED") or random.randrange(1_000_000))
    print(f"FLEET_TEST_SEED={seed}")
    chance = random.Random(seed)
    labels = [f"web-{number}" for number in range(4)]
    kept = prepare(doomed, labels)
    traffic = Traffic(doomed, labels, chance)
    away: dict[int, int] = {}
    number = 0
    while number < KILLS or (len(traffic.done) < 3 and number < 4 * KILLS):
        number += 1
        for slot in [slot for slot, until_kill in away.items() if number >= until_kill]:
            doomed.let_live(slot)
            del away[slot]
        slot = doomed.slots[number % len(doomed.slots)]
        if slot in away:
            slot = next(other for other in doomed.slots if other not in away)
        if chance.random() < 0.8:  # else it may be struck while it still begins
            doomed.await_door(slot)
        traffic.keep_up(chance.uniform(0.0, 1.5))
        stays_away = len(doomed.slots) > 1 and not away and chance.random() < 0.25
        doomed.kill(slot, stay_away=stays_away)
        if stays_away:
            away[slot] = number + 6  # long enough for the other one to take its work over
    for slot in away:
        doomed.let_live(slot)
    traffic.settle()
    for slot in doomed.slots:
        doomed.await_door(slot)
    taken_over = sum("is taken over" in line for line in doomed.log())
    print(f"{number} kills, {dict(traffic.done)}, {taken_over} operations taken over")
    assert len(traffic.done) == 3, "every verb had its turn"
    check(doomed, labels, kept)


# --- who only looks -----------------------------------------------------------------------------------------------------


def test_a_console_killed_while_it_waits_changes_nothing() -> None:
    with site(flags=FLAGS) as own:
        equipped(own)
        own.create("web-1", template="witness")
        console = subprocess.Popen(
            own.command("instance", "provision", "web-1", "--wait"), cwd=own.home, env=own.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        try:
            until(lambda: any(text.startswith("witness vm-") for text in own.texts("web-1")), 30.0)
            assert console.poll() is None
        finally:
            console.send_signal(signal.SIGKILL)
            console.wait(timeout=10)
        (operation,) = [one for one in own.operations() if one.target == "web-1"]
        assert own.ended(operation.id).state is OperationState.SUCCEEDED
        check(own, ["web-1"], {"web-1": marked(own.disk("web-1"))})
        assert processes.find(console.pid) is None


@pytest.mark.parametrize("words", [("op", "follow", "{}", "--output", "text"), ("instance", "logs", "web-1", "--follow", "--output", "text")])
def test_who_follows_is_told_the_rest_by_the_next_daemon(words: tuple[str, ...]) -> None:
    with site(flags=FLAGS) as own:
        equipped(own)
        own.create("web-1", template="witness")
        operation = own.submit(request("provision", "web-1"))
        with (own.home / "followed").open("wb") as output:
            follower = subprocess.Popen(
                own.command(*(word.format(operation.id) for word in words)), cwd=own.home, env=own.environment, stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT,
            )
        try:
            until(lambda: "witness vm-" in (own.home / "followed").read_text(), 30.0)
            own.kill()
            until(lambda: "the application answers" in (own.home / "followed").read_text(), 60.0, "it goes on")
            if words[0] == "op":
                assert follower.wait(timeout=20) == 0
        finally:
            follower.kill()
            follower.wait(timeout=10)
        followed = (own.home / "followed").read_text().splitlines()
        assert [line.split()[-1] for line in followed if "witness vm-" in line] == [str(number) for number in range(LINES)], "none lost, none twice"
