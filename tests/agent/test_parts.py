"""Small parts of the agent on their own."""

from __future__ import annotations

import io
import socket
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from fleet_tui.agent import certificate, door, installation, ports, processes, reporter
from fleet_tui.agent.disk import used_bytes
from fleet_tui.agent.door import Door
from fleet_tui.agent.failures import DoorRefused, DoorUnreachable, Failure
from fleet_tui.agent.lines import LineSplitter
from fleet_tui.agent.pairs import Pair, names_in
from fleet_tui.agent.standing import Standing
from fleet_tui.backend.providers.archive import agent_archive
from tests.agent.stub_door import StubDoor


def split(*chunks: bytes, limit: int = 10) -> list[str]:
    found: list[str] = []
    splitter = LineSplitter(found.append, limit)
    for chunk in chunks:
        splitter.feed(chunk)
    splitter.close()
    return found


def test_lines_are_made_of_any_chunks() -> None:
    assert split(b"a\nb", b"c\n\nd") == ["a", "bc", "", "d"]
    assert split(b"a\r\nb\rc\n") == ["a", "b\rc"]
    assert split(b"0123456789abc", b"def\nx\n") == ["0123456789 [6 more bytes cut]", "x"]
    assert split(b"\xff\xc3", b"\xa9\n") == ["\ufffd\u00e9"]
    assert split() == []


@pytest.mark.parametrize("depth", [1, 12])
def test_door_is_reached_however_long_its_path(tmp_path: Path, depth: int) -> None:
    folder = tmp_path.joinpath(*["a-rather-long-name"] * depth)
    folder.mkdir(parents=True)
    stub = StubDoor(folder, {})
    stub.open()
    door = Door(stub.address, "m")
    try:
        hello = {"machine": "m", "boot": "b", "token": stub.token, "clock": 0.0, "pid": 1, "agent_version": "1"}
        assert door.call("agent.hello", hello)["key"] == "k"
        with pytest.raises(DoorRefused, match="not the one"):
            door.call("agent.hello", {**hello, "token": "x"})
        stub.shut()
        with pytest.raises(DoorUnreachable):
            door.call("agent.hello", hello)
        stub.open()
        assert door.call("agent.hello", hello)["key"] == "k"
    finally:
        door.close()
        stub.shut()


def test_what_a_later_life_of_the_agent_tells_is_newer() -> None:
    first = Standing(["hello"], lambda: None, life=1)
    for _ in range(1000):
        first.set_facts(visit=1)
    assert Standing(["hello"], lambda: None, life=2).take()[0]["standing"] > first.take()[0]["standing"] > 1000


def test_a_daemon_that_takes_calls_and_answers_none_is_asked_after_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "ANSWER_S", 0.2)
    well = StubDoor(tmp_path, {})  # door.sock, which comes after door-2.sock
    well.open()
    way = Door(f"unix:{tmp_path}/door*.sock", "m")
    hello = {"machine": "m", "boot": "b", "token": well.token, "clock": 0.0, "pid": 1, "agent_version": "1"}
    try:
        with socket.socket(socket.AF_UNIX) as frozen:
            frozen.bind(str(tmp_path / "door-2.sock"))
            frozen.listen()
            with pytest.raises(DoorUnreachable):
                way.call("agent.hello", hello)
            assert way.call("agent.hello", hello)["key"] == "k"
            well.shut()
            with pytest.raises(DoorUnreachable):
                way.call("agent.hello", hello)
    finally:
        way.close()
        well.shut()


@pytest.mark.parametrize(
    ("older", "newer"),
    [("1.0", "1.0.1"), ("1.9.0", "1.10.0"), ("2.0-rc1", "2.0"), ("2.0-rc2", "2.0-rc10"), ("1.1.0-rc2", "1.1.0"), ("1.0.9", "2.0.0-rc1")],
)
def test_versions_are_ordered(older: str, newer: str) -> None:
    assert installation.version_order(older) < installation.version_order(newer)
    assert installation.version_order("1.0") == installation.version_order("1.0.0+build7")


def bundle(path: Path, **member: Any) -> Path:
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo()
        for name, value in member.items():
            setattr(info, name, value)
        archive.addfile(info, io.BytesIO(b"x" * info.size))
    return path


@pytest.mark.parametrize(
    "member",
    [
        {"name": "../out", "size": 1}, {"name": "/etc/out", "size": 1}, {"name": "a/../../out", "size": 1},
        {"name": "l", "type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, {"name": "a/l", "type": tarfile.SYMTYPE, "linkname": "../../x"},
        {"name": "d", "type": tarfile.CHRTYPE}, {"name": "f", "type": tarfile.FIFOTYPE}, {"name": "h", "type": tarfile.LNKTYPE, "linkname": "x"},
    ],
)
def test_bundle_that_would_leave_its_folder_is_refused(tmp_path: Path, member: dict[str, Any]) -> None:
    target = tmp_path / "deep/target"
    target.mkdir(parents=True)
    with pytest.raises(Failure):
        installation._extract(bundle(tmp_path / "b.tar", **member), target)
    assert {path.name for path in tmp_path.iterdir()} == {"b.tar", "deep"} and not list(target.iterdir())


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    with tarfile.open(tmp_path / "b.tar", "w") as archive:
        link = tarfile.TarInfo("a")
        link.type, link.linkname = tarfile.SYMTYPE, "b"
        archive.addfile(link)
        file = tarfile.TarInfo("a/x")
        file.size = 1
        archive.addfile(file, io.BytesIO(b"x"))
    (tmp_path / "t").mkdir()
    with pytest.raises(OSError):
        installation._extract(tmp_path / "b.tar", tmp_path / "t")
    assert not list(outside.iterdir())


def test_interrupted_certificate_is_finished(tmp_path: Path) -> None:
    pair = Pair(tmp_path, "self-signed")
    certificate._make(pair, "it's $HOME \\ #1", frozenset({"a.example", "127.0.0.1"}))
    old = pair.certificate.read_bytes()
    certificate._make(pair, "web", frozenset({"b.example"}))
    fresh = pair.certificate.read_bytes()
    # Killed between the two renames: the key is new, the certificate old, the new one waiting.
    pair.fresh_certificate.write_bytes(fresh)
    pair.certificate.write_bytes(old)
    with pytest.raises(Failure, match="does not belong"):
        pair.check()
    pair.finish_interrupted()
    assert pair.certificate.read_bytes() == fresh and names_in(pair.certificate) == {"b.example"}
    # Killed before both: what waits is thrown away.
    pair.fresh_certificate.write_bytes(old)
    pair.fresh_key.write_bytes(b"x")
    pair.finish_interrupted()
    assert pair.certificate.read_bytes() == fresh and {p.name for p in tmp_path.iterdir()} == {"self-signed.crt", "self-signed.key"}


def test_missing_openssl_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(Failure, match="install the package openssl"):
        certificate.names_in(tmp_path / "x")


def test_disk_use_counts_each_file_once_and_follows_no_link(tmp_path: Path) -> None:
    empty = used_bytes(tmp_path)
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    once = used_bytes(tmp_path)
    assert once - empty >= 100_000
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    (tmp_path / "c").symlink_to("/usr")
    assert used_bytes(tmp_path) - once < 100_000


def test_only_marked_processes_are_found_and_a_reused_number_is_left_alone(tmp_path: Path) -> None:
    mine = subprocess.Popen(["sleep", "100"], env={"PATH": "/usr/bin:/bin", **processes.marks("m-x", tmp_path)})
    other = subprocess.Popen(["sleep", "100"], env={"PATH": "/usr/bin:/bin", **processes.marks("m-x", tmp_path / "other-site")})
    try:
        found = processes.marked(processes.marks("m-x", tmp_path))
        assert [process.pid for process in found] == [mine.pid]
        impostor = processes.Process(mine.pid, found[0].started - 1, 0, 0, "sleep")
        assert not processes.send(impostor, 9) and mine.poll() is None
        assert processes.end(lambda: processes.marked(processes.marks("m-x", tmp_path)), 5.0) == ([], [])
        assert mine.wait(5) == -15 and other.poll() is None
    finally:
        for process in (mine, other):
            process.kill()
            process.wait()


def test_port_without_listener_is_open_to_nobody() -> None:
    assert ports.listener(1) is None and not ports.is_open(1)


def test_archive_is_the_same_bytes_and_runs_on_its_own(tmp_path: Path) -> None:
    first = agent_archive()
    agent_archive.cache_clear()
    assert agent_archive() == first
    (tmp_path / "agent.pyz").write_bytes(first)
    done = subprocess.run([sys.executable, "-I", "-S", str(tmp_path / "agent.pyz")], capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 2 and "OS_FOLDER" in done.stderr


def test_one_whom_the_door_does_not_know_any_more_asks_less_often() -> None:
    patience, unknown, busy = reporter._Patience(), DoorRefused("auth_failed", "who?"), DoorRefused("invalid_input", "what?")
    assert {patience.after(unknown) for _ in range(reporter.UNKNOWN_TIMES)} == {reporter.LONGEST_PAUSE_S}
    assert patience.after(unknown) == reporter.UNKNOWN_PAUSE_S
    assert patience.after(busy) == reporter.LONGEST_PAUSE_S == patience.after(unknown)
