"""One run in which every kind of secret is entered, rightly and wrongly, by command, call and file; then everything that is kept, said or shown is searched.

Where a secret belongs it may be: in the files of the machine that needs it. Nowhere else is any piece of one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fleet_tui.backend import cloud
from fleet_tui.backend import instances as i
from fleet_tui.backend.api import METHODS, Summarize
from fleet_tui.backend.api.wire import dump
from fleet_tui.backend.certificates import ListBoard
from fleet_tui.backend.errors import FleetError, InvalidInput
from fleet_tui.backend.identity import ListAudit
from fleet_tui.backend.instances import profiles as p
from fleet_tui.backend.operations import ListOperations
from tests.backend import postgres
from tests.backend.certificates.authority import Authority
from tests.cloud.account import KEY_ID, REGION, SECRET, cloud_account
from tests.journeys.site import Site, site, tasks
from tests.material import private_key
from tests.terminal.terminal import Terminal

pytestmark = pytest.mark.slow

FLAGS = ("--timeouts", "stop_s=5,health_interval_s=0.2,health_s=5,action_s=30,start_s=20", "--log-level", "debug")
WORD, LICENSE = "hunter2-in-a-variable", "license-0123456789-abcdef"


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest) -> Iterator[Site]:
    if request.param == "sqlite":
        with site(flags=FLAGS) as found:
            yield found
        return
    server: postgres.Server = request.getfixturevalue("server")
    database = server.create()
    try:
        with site(database, flags=FLAGS) as found:
            yield found
    finally:
        server.drop(database)


def pieces(*secrets: str) -> set[str]:
    """What tells that a secret is there: the word itself, or of a key in PEM the lines that hold its private part."""
    found = set()
    for text in secrets:
        body = [line for line in text.splitlines() if "-----" not in line]
        found |= {body[0][-20:], body[1][:24]} if "-----" in text else {text}
    assert all(len(piece) >= 16 for piece in found)
    return found


@contextmanager
def watched() -> Iterator[set[str]]:
    """Every command line that any process of this machine had meanwhile."""
    seen: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            for pid in filter(str.isdigit, os.listdir("/proc")):
                try:
                    seen.add(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                except OSError:
                    continue  # it has ended

    looker = threading.Thread(target=look, daemon=True)
    looker.start()
    try:
        yield seen
    finally:
        over.set()
        looker.join(10)


def test_no_piece_of_a_secret_is_anywhere_but_where_it_is_needed(place: Site, moto: int, tmp_path: Path) -> None:
    ca = Authority(tmp_path / "ca")
    certificate = ca.chain(ca.issue("web", ca.key("web"), "web.example", sans="DNS:web.example,IP:127.0.0.1"))
    key, stranger = (tmp_path / "ca/web.key").read_text(), ca.key("stranger").read_text()
    secrets = pieces(WORD, LICENSE, SECRET, key, stranger, private_key())
    said: list[str] = []
    with watched() as commands, cloud_account(moto, tmp_path / "content") as account:
        said += _entered(place, account.proxy.endpoint, tmp_path, certificate, key, stranger)
        said += _shown(place)
        said.append(_painted(place))
    said += _replies(place) + sorted(commands) + [_database(place)]
    found = sorted({f"{piece}: …{text[max(0, text.index(piece) - 80):][:160]!r}" for text in said for piece in secrets if piece in text})
    assert found == []
    machine = str(place.show("web").machine)
    needed = (place.places.machines / machine, tmp_path)
    for path in place.home.rglob("*"):
        if path.is_file() and not any(path.is_relative_to(folder) for folder in needed):
            content = path.read_bytes()
            found += [f"{piece} in {path}" for piece in secrets if piece.encode() in content]
    assert found == []
    assert any(LICENSE.encode() in path.read_bytes() for path in needed[0].rglob("*") if path.is_file()), "the search would find it"


def _entered(place: Site, endpoint: str, folder: Path, certificate: str, key: str, stranger: str) -> list[str]:
    """Enter them all; gives what was said to those who entered them wrongly, and by the commands."""
    said: list[str] = []

    def refused(request: Any) -> None:
        with pytest.raises(FleetError) as error:
            place.client().call(request)
        said.append(str(error.value.as_json()))

    account = {"region": REGION, "authentication": "keypair", "access_key_id": KEY_ID, "secret_access_key": SECRET}
    refused(cloud.SetUpCloud(**account, endpoint="http://127.0.0.1:1"))
    place.call(cloud.SetUpCloud(**account, endpoint=endpoint))
    variables = i.SetupAction("add_env_variables", "env", {"variables": {"DB_PASSWORD": WORD}})
    ssh = i.SetupAction("add_ssh_key", "key", {"private_key": private_key()})
    loud = tasks("loud", "echo the password is $DB_PASSWORD; env; cat $FLEET_LICENSE; exec sh -c 'echo $DB_PASSWORD >&2'")
    refused(p.CreateTemplate("vault", {"license_override": LICENSE, "nonsense": WORD}, (variables,)))
    refused(p.CreateTemplate("vault", {"license_override": LICENSE}, (variables, i.SetupAction("add_env_variables", "other", {"nonsense": WORD}))))
    place.call(p.CreateTemplate("vault", {"license_override": LICENSE}, (variables, loud)))
    place.call(p.CreateTemplate("keys", {}, (ssh,)))
    place.call(p.CreateVirtualNetwork("given", {"provider": "local", "https_strategy": "per_instance"}))
    place.create("web", network="given", template="vault")
    files = {"ssl.certificate_pem": folder / "web.pem", "ssl.private_key_pem": folder / "web.key.pem"}
    for path, text in zip(files.values(), (certificate, stranger), strict=True):
        path.write_text(text)
    words = [word for name, path in files.items() for word in ("--set-file", f"{name}={path}")]
    wrong = place.fleet("instance", "edit", "web", *words)
    files["ssl.private_key_pem"].write_text(key)
    right = place.fleet("instance", "edit", "web", *words)
    assert wrong.returncode == 3 and right.returncode == 0, wrong.stderr + right.stderr
    version = place.call(i.ShowSettings("web")).version
    refused(i.EditInstance("web", version, {"ssl.certificate_pem": key, "ssl.private_key_pem": key}))
    refused(i.EditInstance("web", version + 50, {"ssl.private_key_pem": key, "notes": key}))
    place.do(i.ProvisionInstance(target="web"))
    place.do(i.ReprovisionInstance(target="web", confirmed=True))
    return [*said, wrong.stdout, wrong.stderr, right.stdout, right.stderr, *place.texts("web")]


def _shown(place: Site) -> list[str]:
    """What the command line prints of it all, in both forms."""
    said = []
    for words in (
        ("template", "show", "vault"), ("template", "show", "keys"), ("template", "export", "vault", "--network", "given"), ("template", "list"),
        ("vnet", "show", "given"), ("instance", "show", "web"), ("instance", "ssl", "web", "--test"), ("instance", "logs", "web"), ("cloud", "show"),
        ("cert", "board"), ("op", "list"), ("event", "list"), ("audit", "list"), ("audit", "verify"),
    ):
        for form in ("table", "json", "text"):
            done = place.fleet("--output", form, *words)
            said += [done.stdout, done.stderr]
            assert "usage" not in done.stderr, f"{words}: {done.stderr}"
    return said


def _painted(place: Site) -> str:
    """Everything that the console sends to a terminal while somebody walks through the instance."""
    terminal = Terminal(place.command(), (120, 40), **place.environment)
    try:
        terminal.wait_for(r"web")
        terminal.press("2")
        terminal.settle()
        terminal.press("\r")
        terminal.settle()
        for _ in range(8):
            terminal.press("right")
            terminal.settle()
    finally:
        terminal.close()
    return terminal.raw.decode(errors="replace")


def _replies(place: Site) -> list[str]:
    """Replies of reads, as they go over the door."""
    found = [
        dump(place.call(request)).decode()
        for request in (
            Summarize(rows=50, lines=200), i.ListInstances(), i.ShowInstance("web"), i.ShowSettings("web"), i.ShowSsl("web", test=True), p.ListTemplates(),
            p.ShowTemplate("vault"), p.ShowTemplate("keys"), p.RenderTemplate("vault", "web"), p.ExportBlueprint("vault", "given"), cloud.ShowCloud(),
            ListBoard(), ListAudit(limit=1000), ListOperations(limit=1000),
        )
    ]
    bare = [method for method in METHODS.values() if method.read and not method.stream]
    for method in bare:
        try:
            found.append(dump(place.call(method.request())).decode())
        except (TypeError, InvalidInput, FleetError):
            continue  # it needs a name
    return found


def _database(place: Site) -> str:
    """The whole database as text."""
    if place.database.startswith("sqlite"):
        return ""  # its files are searched with the others
    program = shutil.which("pg_dump") or str(max(Path("/usr/lib/postgresql").glob("*/bin/pg_dump")))
    url = place.database.replace("postgresql+psycopg://", "postgresql://")
    return subprocess.run([program, "--inserts", url], check=True, capture_output=True, text=True, timeout=120).stdout
