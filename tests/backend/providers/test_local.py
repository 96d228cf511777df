"""The local provider's own promises: crashes between any two renames, nothing leaks in, nothing else is touched."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from fleet_tui.agent import processes
from fleet_tui.backend import directories
from fleet_tui.backend.errors import Busy, FleetError, InternalError, NoCapacity, NotFound, WrongState
from fleet_tui.backend.providers import BootConfiguration, MachineSpec, MachineState
from fleet_tui.backend.providers.local import LocalProvider


def quiet(text: str) -> None:
    pass


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalProvider]:
    provider = LocalProvider(directories.find({"FLEET_HOME": str(tmp_path)}))
    provider.create_machine(MachineSpec("m-1", "i-1", "web", "t"), quiet)
    provider.ensure_disk("d-1", 10, "t", quiet)
    yield provider
    provider.terminate("m-1", quiet)


def content(local: LocalProvider) -> Path:
    found = local.find_disk("d-1")
    assert found is not None
    return Path(found.path)


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


EFFECTS = ("mkdir", "unlink", "link", "rmdir", "rename")


@pytest.mark.parametrize("effects", range(14))
def test_restore_killed_between_any_two_effects_is_all_or_nothing(
    local: LocalProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, effects: int
) -> None:
    (content(local) / "a").write_text("before")
    local.snapshot_disk("d-1", "s-1", quiet)
    (content(local) / "a").write_text("after")
    killed = kill_after(monkeypatch, effects)
    with suppress(Killed):
        local.restore_disk("d-1", "s-1", quiet)
    monkeypatch.undo()
    assert killed or effects > 5, "the test killed it"
    assert (content(local) / "a").read_text() in ("before", "after")
    local.restore_disk("d-1", "s-1", quiet)
    assert (content(local) / "a").read_text() == "before"
    assert sorted(path.name for path in tmp_path.glob("disks/*")) == [".records", content(local).name], "nothing is left over"


@pytest.mark.parametrize("effects", range(8))
def test_erasing_killed_between_any_two_effects_can_be_repeated(
    local: LocalProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, effects: int
) -> None:
    (content(local) / "a").write_text("x")
    kill_after(monkeypatch, effects)
    with suppress(Killed):
        local.delete_disk("d-1")
    monkeypatch.undo()
    local.delete_disk("d-1")
    assert local.find_disk("d-1") is None and [path.name for path in tmp_path.glob("disks/**/*")] == [".records"]
    local.ensure_disk("d-1", 10, "t", quiet)
    assert not list(content(local).iterdir()), "made again, it is blank"


def kill_after(monkeypatch: pytest.MonkeyPatch, effects: int) -> list[str]:
    """Everything that changes the file system works ``effects`` times, then the process is gone."""
    done: list[str] = []
    killed: list[str] = []

    def dying(name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def acting(*arguments: Any, **named: Any) -> Any:
            if killed or len(done) == effects:
                killed.append(name)
                raise Killed
            done.append(name)
            return act(*arguments, **named)

        return acting

    for name in EFFECTS:
        monkeypatch.setattr(os, name, dying(name, getattr(os, name)))
    monkeypatch.setattr(shutil, "rmtree", dying("rmtree", shutil.rmtree))
    return killed


def stale(local: LocalProvider, monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any], meanwhile: Callable[[], Any]) -> None:
    """``act`` hangs right before its first version is put in place, and goes on when ``meanwhile`` is over."""
    link, hung = os.link, [True]

    def hanging(*arguments: Any, **named: Any) -> None:
        if hung.pop() if hung else False:
            meanwhile()
        link(*arguments, **named)

    monkeypatch.setattr(os, "link", hanging)
    with suppress(FleetError):
        act()
    monkeypatch.undo()


def test_one_that_hung_while_attaching_takes_no_disk_from_another_machine(local: LocalProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    local.create_machine(MachineSpec("m-2", "i-1", "web", "t2"), quiet)
    stale(local, monkeypatch, lambda: local.attach_disk("m-1", "d-1"), lambda: local.attach_disk("m-2", "d-1"))
    found = local.find_disk("d-1")
    assert found is not None and found.attached_to == "m-2"
    local.terminate("m-2", quiet)


def test_one_that_hung_while_restoring_sets_nothing_back_under_a_running_machine(local: LocalProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    (content(local) / "a").write_text("before")
    local.snapshot_disk("d-1", "s-1", quiet)

    def another() -> None:
        local.restore_disk("d-1", "s-1", quiet)
        local.attach_disk("m-1", "d-1")
        (content(local) / "a").write_text("written since")

    stale(local, monkeypatch, lambda: local.restore_disk("d-1", "s-1", quiet), another)
    assert (content(local) / "a").read_text() == "written since"


def test_one_that_hung_while_erasing_leaves_a_disk_that_was_made_again(local: LocalProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    def another() -> None:
        local.delete_disk("d-1")
        local.ensure_disk("d-1", 10, "t", quiet)
        (content(local) / "a").write_text("new")

    stale(local, monkeypatch, lambda: local.delete_disk("d-1"), another)
    assert local.find_disk("d-1") is None or (content(local) / "a").read_text() == "new"


def test_of_many_who_attach_at_once_one_has_it(local: LocalProvider) -> None:
    machines = [f"m-{number}" for number in range(2, 10)]
    for machine in machines:
        local.create_machine(MachineSpec(machine, "i-1", "web", machine), quiet)
    taken: list[str] = []

    def attach(machine: str) -> None:
        with suppress(Busy):
            local.attach_disk(machine, "d-1")
            taken.append(machine)

    with ThreadPoolExecutor(len(machines)) as pool:
        list(pool.map(attach, machines))
    found = local.find_disk("d-1")
    assert found is not None and taken == [found.attached_to]
    for machine in machines:
        local.terminate(machine, quiet)


def test_lost_content_is_never_replaced_by_a_blank_disk(local: LocalProvider, tmp_path: Path) -> None:
    content(local).rmdir()
    with pytest.raises(NotFound, match="is gone"):
        local.ensure_disk("d-1", 10, "t", quiet)


def test_detach_names_who_uses_the_disk(local: LocalProvider, tmp_path: Path) -> None:
    local.attach_disk("m-1", "d-1")
    marks = processes.marks("m-1", tmp_path / "machines/m-1")
    user = subprocess.Popen(["sleep", "100"], cwd=tmp_path / "machines/m-1/data", env={"PATH": os.environ["PATH"], **marks})
    try:
        with pytest.raises(WrongState) as refused:
            local.detach_disk("m-1", "d-1")
        assert f"pid {user.pid} (sleep 100)" in refused.value.details["holders"]
        assert local.find_machine("m-1").state is MachineState.BROKEN
    finally:
        user.kill()
        user.wait()
    local.detach_disk("m-1", "d-1")
    found = local.find_disk("d-1")
    assert found is not None and found.attached_to is None and found.used_bytes is not None
    assert not (tmp_path / "machines/m-1/data").is_symlink()


def test_terminate_does_not_follow_the_link_to_the_disk(local: LocalProvider, tmp_path: Path) -> None:
    local.attach_disk("m-1", "d-1")
    (content(local) / "kept").write_text("x")
    (tmp_path / "machines/.m-1.gone-12345678").mkdir()  # left by a terminate that was killed
    local.terminate("m-1", quiet)
    assert (content(local) / "kept").read_text() == "x" and not list((tmp_path / "machines").iterdir())


def test_disk_of_a_machine_that_vanished_is_free(local: LocalProvider, tmp_path: Path) -> None:
    local.attach_disk("m-1", "d-1")
    shutil.rmtree(tmp_path / "machines/m-1")
    found = local.find_disk("d-1")
    assert found is not None and found.attached_to is None
    assert local.ensure_disk("d-1", 10, "t", quiet).id == "d-1"


def test_agent_that_cannot_start_is_said(local: LocalProvider, tmp_path: Path) -> None:
    (tmp_path / "bundle.tar").write_bytes(b"x")
    order = BootConfiguration("m-1", "token", "unix:/nowhere")
    for python in ("/bin/false", str(tmp_path / "missing")):
        broken = LocalProvider(directories.find({"FLEET_HOME": str(tmp_path)}), python)
        with pytest.raises(InternalError, match="start"):
            broken.boot("m-1", order, str(tmp_path / "bundle.tar"), quiet)
    with pytest.raises(NotFound, match="bundle"):
        local.boot("m-1", order, str(tmp_path / "gone.tar"), quiet)


def test_a_bundle_that_does_not_fit_leaves_no_half(local: LocalProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(source: Path, target: Path) -> None:
        target.write_bytes(b"ha")
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "bundle.tar").write_bytes(b"half")
    monkeypatch.setattr(shutil, "copyfile", fill)
    with pytest.raises(OSError, match="No space"):
        local.boot("m-1", BootConfiguration("m-1", "token", "unix:/nowhere"), str(tmp_path / "bundle.tar"), quiet)
    assert not list((tmp_path / "machines/m-1").glob("*bundle*"))


def test_secrets_of_the_daemon_stay_with_the_daemon(local: LocalProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_DATABASE", "postgresql://user:hunter2@db/x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    (tmp_path / "bundle.tar").write_bytes(b"x")
    local.boot("m-1", BootConfiguration("m-1", "one-time", f"unix:{tmp_path}/no-door"), str(tmp_path / "bundle.tar"), quiet)
    pid = local.find_machine("m-1").pid
    proc = Path(f"/proc/{pid}")
    assert b"hunter2" not in (proc / "environ").read_bytes() and b"one-time" not in (proc / "cmdline").read_bytes()
    assert (tmp_path / "machines/m-1/agent.json").stat().st_mode & 0o777 == 0o600
    assert os.getsid(pid or 0) == pid != os.getsid(0), "it has a session of its own"
    assert os.readlink(proc / "fd/0") == "/dev/null"
    process = processes.find(pid or 0)
    assert process is not None and process.parent != os.getpid(), "no zombie of ours when it ends"


def test_snapshot_that_does_not_fit_is_refused(local: LocalProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (content(local) / "a").write_bytes(b"x" * 10_000)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100))
    with pytest.raises(NoCapacity):
        local.snapshot_disk("d-1", "s-1", quiet)
    assert not list((tmp_path / "snapshots").iterdir())


def test_output_of_the_agent_is_bounded(local: LocalProvider, tmp_path: Path) -> None:
    output = tmp_path / "machines/m-1/agent.out"
    output.write_bytes(b"x" * 2_000_000)
    (tmp_path / "bundle.tar").write_bytes(b"x")
    local.boot("m-1", BootConfiguration("m-1", "one-time", f"unix:{tmp_path}/no-door"), str(tmp_path / "bundle.tar"), quiet)
    assert output.stat().st_size < 10_000


def test_figures_of_this_machine(local: LocalProvider) -> None:
    figures = local.measure_host()
    assert figures["cores"] >= 1 and figures["memory_bytes"] > figures["memory_used_bytes"] > 0
    assert figures["disk_bytes"] > figures["disk_used_bytes"] > 0 and figures["load"] >= 0
    json.dumps(figures)


def test_what_lies_beside_snapshots_is_none(tmp_path: Path) -> None:
    local = LocalProvider(directories.find({"FLEET_HOME": str(tmp_path)}))
    local.ensure_disk("d-1", 10, "t", quiet)
    local.snapshot_disk("d-1", "s-1", quiet)
    snapshots = tmp_path / "snapshots"
    (snapshots / "notes.txt").write_text("by hand")
    for name, record in (("lost+found", None), ("s-2", "{}"), ("s-3", "not json"), ("s-4", "[]")):
        (snapshots / name).mkdir()
        if record is not None:
            (snapshots / name / "snapshot.json").write_text(record)
    assert [snapshot.id for snapshot in local.snapshots()] == ["s-1"]
