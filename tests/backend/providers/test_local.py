"""The local provider's own promises: crashes between any two renames, nothing leaks in, nothing else is touched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from fleet_tui.agent import processes
from fleet_tui.backend import directories
from fleet_tui.backend.errors import InternalError, NoCapacity, NotFound, WrongState
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


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


@pytest.mark.parametrize("renames", range(4))
def test_restore_killed_between_any_two_renames_is_all_or_nothing(
    local: LocalProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    disk = tmp_path / "disks/d-1"
    (disk / "a").write_text("before")
    local.snapshot_disk("d-1", "s-1", quiet)
    (disk / "a").write_text("after")
    done, rename = [0], Path.rename

    def dying(self: Path, target: Path) -> Path:
        if ".d-1" in str(self) or self == disk:
            if done[0] == renames:
                monkeypatch.setattr(shutil, "rmtree", lambda *a, **k: None)  # a killed process cleans nothing up
                raise Killed
            done[0] += 1
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", dying)
    with suppress(Killed):
        local.restore_disk("d-1", "s-1", quiet)
    monkeypatch.undo()
    found = local.find_disk("d-1")
    assert found is not None
    assert (disk / "a").read_text() == ("before" if renames >= 2 else "after")
    local.restore_disk("d-1", "s-1", quiet)
    assert (disk / "a").read_text() == "before"
    assert sorted(path.name for path in disk.parent.iterdir()) == [".lock", "d-1", "d-1.json"]


def test_lost_content_is_never_replaced_by_a_blank_disk(local: LocalProvider, tmp_path: Path) -> None:
    (tmp_path / "disks/d-1").rmdir()
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
    (tmp_path / "disks/d-1/kept").write_text("x")
    (tmp_path / "machines/.m-1.gone-12345678").mkdir()  # left by a terminate that was killed
    local.terminate("m-1", quiet)
    assert (tmp_path / "disks/d-1/kept").read_text() == "x" and not list((tmp_path / "machines").iterdir())


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
    (tmp_path / "disks/d-1/a").write_bytes(b"x" * 10_000)
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
