"""``kill -9`` of ``fleetd`` in the verbs that :mod:`test_kill` has not: copies of data disks, stop, start, retry, delete."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from fleet_tui.agent import processes
from fleet_tui.backend import instances as i
from fleet_tui.backend.api import embedded
from fleet_tui.backend.api.sockets import answers
from fleet_tui.backend.errors import NotFound
from fleet_tui.backend.instances.states import Health, InstanceState
from fleet_tui.backend.operations import ListOperations, OperationRecord, OperationRequest, OperationState, ShowOperation
from fleet_tui.backend.operations.rows import LeaseRow
from fleet_tui.backend.providers import ListOrphans
from tests.backend import postgres
from tests.journeys.site import Site, marked, markers, site, tasks
from tests.journeys.test_kill import FLAGS
from tests.waiting import until

FRAIL = '[ -e "$FLEET_DATA/broken" ] && exit 7; echo "start-up $FLEET_MACHINE"'
CP = """#!/bin/sh
# Stops for ever in the first copy of each kind of thing, with a part of it made.
for last; do :; done
case "$last" in */snapshots/*) kind=snapshot ;; *) kind=restore ;; esac
if [ -e "{folder}/$kind" ]; then while [ -e "{folder}/hold" ]; do /bin/sleep 0.02; done; exec /bin/cp "$@"; fi
mkdir -p "$last"; echo half > "$last/half"; echo $$ > "{folder}/$kind.new"; mv "{folder}/$kind.new" "{folder}/$kind"
exec sleep 300
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def doomed(request: pytest.FixtureRequest) -> Iterator[Site]:
    """One daemon on SQLite, two on PostgreSQL, and one instance whose start-up can be made to fail."""
    server: postgres.Server | None = request.getfixturevalue("server") if request.param == "postgresql" else None
    database = server.create() if server else ""
    try:
        with site(database, slots=(1, 2) if server else (1,), flags=FLAGS) as found:
            found.template("frail", tasks("frail", FRAIL))
            found.create("web-1", template="frail")
            found.do(i.ProvisionInstance(target="web-1"))
            yield found
    finally:
        if server:
            server.drop(database)


def killed_in(site: Site, word: str, request: OperationRequest, steps: int, *only: int) -> OperationRecord:
    """Run a verb to success while daemons die at the beginning and at the end of each of its steps, or of some."""
    doom, deaths = site.home / "doom", site.home / "deaths"
    deaths.touch()
    points = [f"{when}:{number}" for number in only or range(1, steps + 1) for when in ("begun", "after-body")]
    doom.write_text(" ".join([word, *points]))
    operation = site.ended(site.submit(request).id, 120.0)
    assert operation.state is OperationState.SUCCEEDED, f"{operation}\n{site.story(operation.target)}"
    doom.unlink()
    assert len(operation.steps) == steps
    assert {line for line in deaths.read_text().splitlines() if line.startswith(f"{word} ")} == {f"{word} {point}" for point in points}
    for slot in site.slots:
        site.await_door(slot)
    return operation


def check(site: Site, *, runs: bool) -> None:
    """Nothing held, nothing said twice, nothing unexpected; one agent and one application when it runs."""
    with site.store().read() as tx:
        assert tx.scalar(select(func.count()).select_from(LeaseRow)) == 0
    assert not site.call(ListOperations(active=True))
    said = Counter((line.operation_id, line.phase, line.text) for line in site.lines("web-1") if line.source == "worker")
    assert not [words for words, times in said.items() if times > 1], "a step said something again"
    assert not site.complaints(), "\n".join(site.complaints())
    record = site.show("web-1")
    assert record.operation_id is None
    assert site.machines() == ({record.machine} if record.machine else set())
    if runs:
        assert record.state is InstanceState.RUNNING
        until(lambda: site.show("web-1").health is Health.OK, 20.0)
        assert "Hello from web-1" in site.get("web-1")
        (group,) = site.processes().values()
        assert [sum(program in process.command for process in group) for program in ("agent.pyz", "app.py")] == [1, 1], group
    else:
        until(lambda: not site.processes(), 10.0, "no process is left")


@pytest.mark.slow
def test_killed_inside_each_step_of_the_other_verbs(doomed: Site) -> None:
    kept = marked(doomed.disk("web-1"))
    killed_in(doomed, "snapshot", i.SnapshotDisk(target="web-1", reason="before"), 4)
    (snapshot,) = doomed.call(i.ListSnapshots("web-1"))
    assert {entry.name for entry in doomed.places.snapshots.iterdir()} == {snapshot.id}, "one copy, and no part of another"
    check(doomed, runs=True)

    assert marked(doomed.disk("web-1"), "spoilt") != kept
    killed_in(doomed, "restore", i.ReprovisionInstance(target="web-1", confirmed=True, snapshot=snapshot.id), 15, 7)
    assert markers(doomed.disk("web-1")) == kept
    check(doomed, runs=True)

    killed_in(doomed, "restart", i.RestartApplication(target="web-1", confirmed=True), 2)
    killed_in(doomed, "replay", i.ReplayActions(target="web-1"), 1)
    check(doomed, runs=True)

    killed_in(doomed, "stop", i.StopInstance(target="web-1", confirmed=True), 2)
    check(doomed, runs=False)
    killed_in(doomed, "start", i.StartInstance(target="web-1"), 3)
    check(doomed, runs=True)

    doomed.do(i.StopInstance(target="web-1", confirmed=True))
    broken = doomed.disk("web-1") / "application/broken"
    broken.touch()
    doomed.fails(i.StartInstance(target="web-1"))
    broken.unlink()
    killed_in(doomed, "retry", i.RetryStartup(target="web-1"), 5)
    assert markers(doomed.disk("web-1")) == kept
    check(doomed, runs=True)

    doomed.do(i.DeprovisionInstance(target="web-1", confirmed=True))
    disk = doomed.disk("web-1")
    killed_in(doomed, "delete", i.DeleteInstance(target="web-1", confirm="web-1"), 3)
    with pytest.raises(NotFound):
        doomed.show("web-1")
    assert not list(doomed.places.disks.glob(f"*{disk.name}*")) and doomed.machines() == set() and doomed.processes() == {}
    assert {entry.name for entry in doomed.places.snapshots.iterdir()} == {snapshot.id}, "one that a person took stays"
    killed_in(doomed, "forget", i.DeleteSnapshot(target=snapshot.id, instance="web-1", confirm=snapshot.id), 1)
    assert not list(doomed.places.snapshots.iterdir()), "until a person deletes it"

    doomed.create("web-2")
    doomed.do(i.ProvisionInstance(target="web-2"))
    doomed.do(i.DeprovisionInstance(target="web-2", confirmed=True))
    doomed.do(i.DeleteInstance(target="web-2", confirm="web-2", keep_disk=True))
    (orphan,) = doomed.call(ListOrphans()).orphans
    killed_in(doomed, "orphan", i.RemoveOrphan(target=orphan.id, kind=orphan.kind, provider=orphan.provider, confirm=orphan.id), 1)
    assert not doomed.call(ListOrphans()).orphans and not list(doomed.places.disks.glob(f"*{orphan.id}*"))
    assert not doomed.complaints()


def test_killed_in_the_middle_of_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program that copies ends with the daemon, and the part it made goes."""
    program = tmp_path / "cp"
    program.write_text(CP.format(folder=tmp_path))
    program.chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        with site(flags=FLAGS) as own:
            own.create("web-1")
            own.do(i.ProvisionInstance(target="web-1"))
            kept = marked(own.disk("web-1"))
            struck(own, tmp_path / "snapshot", i.SnapshotDisk(target="web-1"))
            (snapshot,) = own.call(i.ListSnapshots("web-1"))
            assert {entry.name for entry in own.places.snapshots.iterdir()} == {snapshot.id}
            marked(own.disk("web-1"), "spoilt")
            struck(own, tmp_path / "restore", i.ReprovisionInstance(target="web-1", confirmed=True, snapshot=snapshot.id))
            assert markers(own.disk("web-1")) == kept
            content = own.disk("web-1")
            assert {entry.name for entry in own.places.disks.iterdir()} == {content.name, ".records"}, "the one before is gone"
            check(own, runs=True)


def test_a_daemon_told_to_stop_takes_no_more_calls_while_a_step_comes_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, hold = tmp_path / "cp", tmp_path / "hold"
    program.write_text(CP.format(folder=tmp_path))
    program.chmod(0o755)
    for file in (hold, tmp_path / "snapshot"):
        file.touch()
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        with site(flags=FLAGS) as own:
            own.create("web-1")
            own.do(i.ProvisionInstance(target="web-1"))
            operation = own.submit(i.SnapshotDisk(target="web-1")).id
            until(lambda: own.call(ShowOperation(operation)).steps[1].progress == "copying")
            pid = own.pid()
            os.kill(pid, signal.SIGTERM)
            until(lambda: not answers(own.socket()), 15.0, "the door is shut")
            assert embedded.holder(own.places) == pid, "it still lets the step come to its end"
            hold.unlink()
            until(lambda: embedded.holder(own.places) is None, 20.0, "then it ends")
            own.start(1)
            assert own.ended(operation).state is OperationState.SUCCEEDED
            check(own, runs=True)


def struck(site: Site, copying: Path, request: OperationRequest) -> None:
    operation = site.submit(request).id
    copier = int(until(lambda: copying.exists() and copying.read_text(), 30.0, "the copy begins"))
    site.kill()
    until(lambda: processes.find(copier) is None, 10.0, "who copied for the dead ends too")
    assert site.ended(operation).state is OperationState.SUCCEEDED
