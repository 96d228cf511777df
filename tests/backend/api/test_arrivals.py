"""How a machine far away is brought in: the program of its user data, run as it is, through the real door."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_tui.agent import arrival, processes
from fleet_tui.backend.api import arrivals
from fleet_tui.backend.api.arrivals import fetch
from fleet_tui.backend.errors import AuthFailed, InvalidInput, NotFound
from fleet_tui.backend.providers import BootConfiguration
from fleet_tui.backend.providers.archive import agent_archive
from fleet_tui.backend.providers.user_data import orders_in, user_data
from fleet_tui.backend.telemetry import Fetch
from tests.backend.api.test_agent_door import Site, made, site  # noqa: F401
from tests.waiting import until

BUNDLE = os.urandom(3 * 1024 * 1024 + 17)
DIGEST = hashlib.sha256(BUNDLE).hexdigest()


@pytest.fixture
def arriving(site: Site, tmp_path: Path) -> Iterator[Site]:  # noqa: F811
    """A door that brings a bundle of a few pieces."""
    (tmp_path / f"{DIGEST}.tar").write_bytes(BUNDLE)
    site.fetching = lambda caller, request: fetch(site.agents, tmp_path, request)
    yield site.open()


def expected(site: Site, machine: str) -> str:  # noqa: F811
    return site.expect(machine, {"instance": {"id": "i-1"}, "application": {"bundle_sha256": DIGEST}})


def run(site: Site, folder: Path, machine: str, token: str, pem: str = "") -> subprocess.CompletedProcess[str]:  # noqa: F811
    """Its first boot, until its program ends; it would try for a quarter of an hour."""
    text = user_data(BootConfiguration(machine, token, site.address, pem or site.pem), "vol-1").replace("PATIENCE_S = 900.0", "PATIENCE_S = 1.0")
    folder.mkdir(exist_ok=True)
    (folder / "user-data").write_text(text)
    command = [sys.executable, "-I", "-S", str(folder / "user-data")]
    return subprocess.run(command, env={"PATH": os.environ["PATH"], "FLEET_MACHINE_ROOT": str(folder)}, capture_output=True, text=True, timeout=60, check=False)


def test_it_brings_agent_and_bundle_and_the_agent_says_hello(arriving: Site, tmp_path: Path) -> None:
    folder = tmp_path / "machine"
    token = expected(arriving, "vm-a1")
    text = user_data(BootConfiguration("vm-a1", token, arriving.address, arriving.pem), "vol-1")
    folder.mkdir()
    (folder / "user-data").write_text(text)
    environment = {"PATH": os.environ["PATH"], "FLEET_MACHINE_ROOT": str(folder)}
    program = subprocess.Popen([sys.executable, "-I", "-S", str(folder / "user-data")], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: arriving.seen("vm-a1"), 60.0, "the agent says hello")
        assert (folder / "agent.pyz").read_bytes() == agent_archive() and (folder / "bundle.tar").read_bytes() == BUNDLE
        until(lambda: "token" not in json.loads((folder / "agent.json").read_text()), 10.0, "the token is used up")
        assert token not in " ".join(process.command for process in processes.marked(processes.marks("vm-a1", folder)))
    finally:
        program.kill()
        program.wait(timeout=10)
    assert not [name for name in os.listdir(folder) if name.startswith(".")], "nothing half is left"


def test_what_has_come_is_not_asked_for_again(arriving: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A door that is busy for a while, a piece that never comes, and at the first go a bundle that is another's."""
    asked: list[int] = []
    told = iter(["", "busy", "", "busy", "", "another", "", "", "", ""])

    def ask(orders: dict[str, str], part: str, offset: int) -> dict[str, object]:
        asked.append(offset)
        given = fetch(arriving.agents, tmp_path, Fetch("vm-a5", token, part, offset))
        if (fault := next(told)) == "busy":
            raise OSError(fault)
        return {"content": given.content, "size": given.size, "sha256": fault or given.sha256}

    token = expected(arriving, "vm-a5")
    monkeypatch.setattr(arrival, "ask", ask)
    monkeypatch.setattr(arrival, "PLACE", str(tmp_path))
    monkeypatch.setattr(arrival.time, "sleep", lambda seconds: None)
    arrival.fetch({}, "bundle", str(tmp_path / "bundle.tar"))
    piece = arrivals.PIECE
    assert asked == [0, piece, piece, 2 * piece, 2 * piece, 3 * piece, 0, piece, 2 * piece, 3 * piece]
    assert (tmp_path / "bundle.tar").read_bytes() == BUNDLE and not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_it_says_whose_it_is_so_that_its_failures_are_its_own(site: Site, tmp_path: Path) -> None:  # noqa: F811
    site.fetching = lambda caller, request: fetch(site.agents, tmp_path, request)
    site.open(failures=1)
    expected(site, "vm-a6")
    assert "refuses" in run(site, tmp_path / "machine", "vm-a6", "guessed").stderr
    assert "too many calls" in run(site, tmp_path / "machine", "vm-a6", "guessed").stderr
    assert "refuses" in run(site, tmp_path / "other", "vm-a7", "guessed").stderr


def test_a_token_that_is_not_the_machines_brings_nothing(arriving: Site, tmp_path: Path) -> None:
    expected(arriving, "vm-a2")
    ended = run(arriving, tmp_path / "machine", "vm-a2", "guessed")
    assert ended.returncode == 1 and "refuses" in ended.stderr
    assert sorted(os.listdir(tmp_path / "machine")) == ["user-data"] and "guessed" not in ended.stderr + ended.stdout


def test_a_door_of_another_fleet_is_told_nothing(arriving: Site, tmp_path: Path) -> None:
    from fleet_tui.backend.authority import Rules
    from fleet_tui.backend.authority.root import Authority
    from fleet_tui.backend.secrets.envelope import Envelope
    from fleet_tui.backend.store import Store, sqlite_url

    other = Store(sqlite_url(tmp_path / "other.db"))
    other.create_all()
    pem = Authority(other, Envelope(b"o" * 32), "other", rules=Rules()).certificate_pem()
    other.close()
    token = expected(arriving, "vm-a3")
    ended = run(arriving, tmp_path / "machine", "vm-a3", token, pem)
    assert ended.returncode == 1 and "did not arrive" in ended.stderr
    assert not (tmp_path / "machine" / "agent.json").exists() and not arriving.seen("vm-a3")


def test_pieces_make_the_whole_and_nobody_else_gets_one(arriving: Site, tmp_path: Path) -> None:
    token = expected(arriving, "vm-a4")
    for part, whole in (("agent", agent_archive()), ("bundle", BUNDLE)):
        first = fetch(arriving.agents, tmp_path, Fetch("vm-a4", token, part))
        assert first.size == len(whole) and first.sha256 == hashlib.sha256(whole).hexdigest()
        assert fetch(arriving.agents, tmp_path, Fetch("vm-a4", token, part, len(whole))).content == ""
    assert len(BUNDLE) > 3 * arrivals.PIECE
    for request, refusal in (
        (Fetch("vm-a4", "guessed", "agent"), AuthFailed), (Fetch("vm-none", token, "agent"), AuthFailed), (Fetch("vm-a4", token, "../master.key"), InvalidInput),
        (Fetch("vm-a4", token, "bundle", -1), InvalidInput),
    ):
        with pytest.raises(refusal):
            fetch(arriving.agents, tmp_path, request)
    (tmp_path / f"{DIGEST}.tar").unlink()
    with pytest.raises(NotFound, match="register"):
        fetch(arriving.agents, tmp_path, Fetch("vm-a4", token, "bundle"))


def test_orders_are_read_as_they_were_given() -> None:
    hard = BootConfiguration("vm-1", 'quote " and \\ and é', "https://[::1]:1 https://b:2", "-----BEGIN\nX\n-----END\n")
    found = orders_in(user_data(hard, "vol-1"))
    assert found == {"machine": "vm-1", "token": hard.token, "door": hard.door, "ca_pem": hard.ca_pem, "volume": "vol-1"}
    compile(user_data(hard, "vol-1"), "user-data", "exec")
