"""A daemon that cannot start says why in a sentence, and makes nothing in the place of what is gone."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from fleet_tui.backend.errors import UsageError
from fleet_tui.backend.events.feed import Feed
from fleet_tui.backend.options import parse
from fleet_tui.backend.secrets.envelope import Envelope
from fleet_tui.backend.store import Store, sqlite_url
from fleet_tui.backend.store.schema import prepare
from fleet_tui.backend.telemetry.agents import Agents
from fleet_tui.backend.telemetry.lines import Lines


def refused(home: Path, *flags: str, program: tuple[str, ...] = ("-m", "fleet_tui.backend.daemon")) -> str:
    """What ``fleetd`` says when it ends at once."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FLEET")}
    command = [sys.executable, *program, "--state-dir", str(home), *flags]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode not in (0, None) and "Traceback" not in done.stderr, done
    (line,) = done.stderr.splitlines()
    return line


def test_a_site_without_a_cloud_loads_no_sdk_of_one() -> None:
    program = "import sys, fleet_tui.backend.daemon; print(sorted({'boto3', 'botocore', 'acme'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("file", ["fleet.db", "engine.db"])
def test_a_database_that_is_none(tmp_path: Path, file: str) -> None:
    (tmp_path / file).write_bytes(os.urandom(50_000))
    said = refused(tmp_path)
    assert str(tmp_path / file) in said and "not a database" in said and "backup" in said


def test_a_database_whose_server_is_away_is_not_to_be_restored(tmp_path: Path) -> None:
    with socket.socket() as held:  # bound, and nobody listens
        held.bind(("127.0.0.1", 0))
        said = refused(tmp_path, "--database", f"postgresql+psycopg://fleet@127.0.0.1:{held.getsockname()[1]}/fleet")
    assert "refused" in said and "backup" not in said and "start fleetd again" in said


def test_a_database_on_a_full_disk_is_not_to_be_restored(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "fleet.db") as database:
        database.execute("PRAGMA journal_mode = WAL")
    database.close()
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); from fleet_tui.backend import daemon; sys.exit(daemon.main())"
    said = refused(tmp_path, program=("-c", limit))
    assert "cannot be used" in said and "backup" not in said and "free space" in said


def test_a_folder_where_a_file_should_be(tmp_path: Path) -> None:
    (tmp_path / "master.key").mkdir(mode=0o700)
    assert str(tmp_path / "master.key") in refused(tmp_path)


@pytest.mark.parametrize("key", [b"", b"another key that has 32 bytes...."[:32]], ids=["gone", "another"])
def test_a_master_key_that_does_not_belong_to_the_database(tmp_path: Path, key: bytes) -> None:
    store = Store(sqlite_url(tmp_path / "fleet.db"))
    prepare(store, tmp_path / "backups")
    feed = Feed(store)
    with store.write() as tx:
        Agents(store, Lines(store, feed), Envelope(os.urandom(32))).expect(tx, "vm-1", "instance:i-1", {}, None, "o-1:boot")
    feed.close()
    store.close()
    file = tmp_path / "master.key"
    if key:
        file.write_bytes(key)
        file.chmod(0o600)
    said = refused(tmp_path)
    assert "master key" in said and "back" in said
    assert file.exists() == bool(key), "none was made in its place"


def test_a_place_to_listen_for_agents_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = refused(tmp_path, "--agent-listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert "cannot start" in said and "in use" in said


@pytest.mark.parametrize("flags", [("--agent-listen", "127.0.0.1:port"), ("--agent-names", "fleet.example.org"), ("--agent-listen", "127.0.0.1:99999")])
def test_a_door_for_agents_that_is_none(tmp_path: Path, flags: tuple[str, ...]) -> None:
    assert "--agent-listen" in refused(tmp_path, *flags) or "no address and port" in refused(tmp_path, *flags)


@pytest.mark.parametrize(("listen", "names", "told", "hosts"), [
    ("10.0.0.5", "", "https://10.0.0.5:6978", ("10.0.0.5",)),
    ("0.0.0.0:7000", "fleet.example.org,10.0.0.5", "https://fleet.example.org:7000 https://10.0.0.5:7000", ("fleet.example.org", "10.0.0.5")),
    ("10.0.0.5", "10.0.0.5, 10.0.0.6:7001", "https://10.0.0.5:6978 https://10.0.0.6:7001", ("10.0.0.5", "10.0.0.6")),
    ("[2001:db8::5]:7000", "", "https://[2001:db8::5]:7000", ("2001:db8::5",)),
    ("2001:db8::5", "2001:db8::5", "https://[2001:db8::5]:6978", ("2001:db8::5",)),
])
def test_what_agents_of_other_machines_are_told(listen: str, names: str, told: str, hosts: tuple[str, ...]) -> None:
    door = parse(["--agent-listen", listen, "--agent-names", names])[0].agent_door
    assert door is not None and (door.address(door.port), door.hosts) == (told, hosts)


def test_how_many_agents_may_call_can_be_said() -> None:
    door = parse(["--agent-listen", "10.0.0.5", "--agent-limits", "most=9000"])[0].agent_door
    assert door is not None and (door.most, door.each) == (9000, 2048)
    for wrong in ("most=many", "all=1", "most", "each=0"):
        with pytest.raises(UsageError, match="no limit"):
            parse(["--agent-listen", "10.0.0.5", "--agent-limits", wrong])
    with pytest.raises(UsageError):
        parse(["--agent-limits", "most=9000"])


def test_nobody_listens_on_the_network_unless_it_is_said() -> None:
    assert parse([])[0].agent_door is None
