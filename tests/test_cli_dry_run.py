"""`--dry-run` changes nothing, of every command there is: the whole tree is walked, each once for real and once dry, before a door that notes what it is asked."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from fleet_tui.backend import instances as i
from fleet_tui.backend import networks as n
from fleet_tui.backend.api import METHODS, embedded
from fleet_tui.backend.errors import Busy
from fleet_tui.backend.instances import profiles as p
from fleet_tui.backend.networks.states import Isolation, PhysicalState
from fleet_tui.backend.operations import Plan, Submitted
from fleet_tui.backend.providers import Orphan, OrphanList
from fleet_tui.backend.store import Base, Store, sqlite_url
from fleet_tui.backend.store.migrations.tables import every_table
from fleet_tui.cli import console, main
from fleet_tui.cli.parser import build
from tests.doors import Door
from tests.fleet_stub import operation

ALSO = {
    "instance edit": ["--set", "a=b"], "host add": ["--ssh-key", "FILE", "--accept-fingerprint", "SHA256:x"], "host edit": ["--tags", "a"],
    "vm edit": ["--tags", "a"], "cluster set-ratio": ["--cpu", "2"], "host session": ["--reason", "later"], "vm create": ["--kernel", "/k"],
    "vm console": ["--output", "text"], "maintain rolling": ["--work", "none"], "physnet edit": ["--nic-label", "kvm=eth1"],
    "vlan dedicate": ["--account", "shop"], "template edit": ["--set", "machine_type=m"], "vnet edit": ["--set", "region=eu-west-1"],
    "cloud setup": ["--region", "eu-west-1"],
}  # fmt: skip
"""Without these they would be refused before anything is asked."""
ENDLESS = ("op follow", "pane")
"""They look until somebody ends them."""


FABRIC = n.PhysicalNetworkRecord("p-1", "x", "zone", Isolation.VLAN, PhysicalState.ENABLED, {}, (), (), {}, 0, 0)


def leaves(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for name, child in (pair for group in groups for pair in group.choices.items()):
        yield from leaves(child, (*path, name))
    if not groups:
        yield path, parser


LEAVES = {" ".join(path): parser for path, parser in leaves(build())}


def typed(command: str, file: str) -> list[str]:
    """The command with something for all that it needs."""
    words = command.split()
    for action in LEAVES[command]._actions:
        value = str(next(iter(action.choices))) if action.choices else "3" if action.type is not None else file if action.metavar == "FILE" else "x"
        if not action.option_strings and action.nargs not in ("?", "*"):
            words.append(value)
        elif action.option_strings and action.required:
            words += [action.option_strings[0], value]
    return [*words, *(file if word == "FILE" else word for word in ALSO.get(command, ()))]


class Asked:
    """A door, and every change that reached a handler or went past the door."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(sqlite_url(folder / "fleet.db"))
        every_table()
        self.store.create_all()
        self.door = Door(self.store, folder / "run" / "fleetd.sock")
        self.changes: list[Any] = []
        for name, method in METHODS.items():
            if not method.read and not name.startswith("users."):
                self.door.handlers[name] = self._note
        self.door.handlers |= {
            "templates.list": lambda caller, request: (),
            "templates.show": lambda caller, request: p.TemplateSheet(p.TemplateRecord("t-1", "x", "a", (), 0, 1), (), {}, {}),
            "virtual-networks.show": lambda caller, request: p.VirtualNetworkSheet(p.VirtualNetworkRecord("n-1", "x", "fake", "none", 0), (), {}, {}),
            "vlans.plan": lambda caller, request: n.RangeDiff("", "1", "1", "", 1, 0, False),
            "vlans.map": lambda caller, request: n.MapRecord(FABRIC, ()),
            "instances.settings": lambda caller, request: i.InstanceSettings(request.target, 1, {}, {}, {}, {}),
            "orphans.list": lambda caller, request: OrphanList((Orphan("disk", "x", "fake", "", 1, "free"),), ()),
            "operations.show": lambda caller, request: operation(request.id, "x", "failed"),
            **dict.fromkeys(("zones.list", "pods.list", "clusters.list"), lambda caller, request: ()),
        }
        self.door.open()

    def _note(self, _caller: Any, request: Any) -> Any:
        if getattr(request, "dry_run", False):
            return Submitted(plan=Plan("k", "title", "x", ("one",), ("x changes",), ()))
        self.changes.append(request)
        raise Busy("noted")

    def outside(self, *what: Any, **more: Any) -> Any:
        self.changes.append(what)
        return 4711

    def kept(self) -> dict[str, list[Any]]:
        """Everything in the store."""
        with self.store.read() as tx:
            return {table.name: tx.execute(select(table)).all() for table in Base.metadata.sorted_tables}

    def close(self) -> None:
        self.door.close()
        self.store.close()


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    found = Asked(tmp_path)
    monkeypatch.setenv("FLEET_HOME", str(tmp_path))
    monkeypatch.setattr(console, "_need_terminal", lambda: None)
    monkeypatch.setattr(console, "_run", found.outside)
    monkeypatch.setattr(console, "end_with_terminal", lambda: None)
    for name in ("start", "stop"):
        monkeypatch.setattr(embedded, name, found.outside)
    monkeypatch.setattr(embedded, "holder", lambda directories: 0)
    yield found
    found.close()


def run(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> int | str | None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("secret1234\n"))
    try:
        return main(words)
    except SystemExit as left:
        return left.code


def test_the_walk_knows_every_command() -> None:
    assert len(LEAVES) > 90 and {"user remove", "vm destroy", "host maintain", "daemon stop", "vm console"} <= LEAVES.keys()
    assert ALSO.keys() <= LEAVES.keys()


@pytest.mark.parametrize("command", [name for name in LEAVES if name not in ENDLESS])
def test_a_dry_run_changes_nothing(asked: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str) -> None:
    file = tmp_path / "file.json"
    file.write_text("[]")
    words = typed(command, str(file))
    before = asked.kept()
    dry = run(monkeypatch, [*words, "--dry-run", "--yes", "--confirm", "x"])
    said = capsys.readouterr().out
    assert not asked.changes and asked.kept() == before, words
    real = run(monkeypatch, [*words, "--yes", "--confirm", "x", "--no-wait"])
    assert real != 2 or dry == 2, (words, capsys.readouterr().err)
    if asked.changes or asked.kept() != before:
        assert dry == 0 or (dry, command) == (2, "demo"), words
        assert dry == 2 or words[-2:] == ["--output", "text"] or {"changes", "added"} & json.loads(said).keys(), said
    else:
        assert command in QUIET, f"{command} changed nothing when it was meant to: has the walk the right words for it?"


QUIET = {
    *(name for name in LEAVES if name.rpartition(" ")[2] in ("list", "show", "capacity", "logs", "keys", "completion", "status", "verify", "forecast", "export", "render", "ssl", "board")),
}
"""Those that only look."""


def test_the_console_itself_has_none(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--dry-run"]) == 2 and not asked.changes
    assert "--read-only" in capsys.readouterr().err


def test_what_is_done_at_once_is_told_with_its_danger_and_without_its_secrets(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path,
) -> None:
    (tmp_path / "key").write_text("BEGIN PRIVATE\n")
    assert main(["user", "put", "ann", "--role", "operator", "--uid", "7", "--dry-run", "--output", "table"]) == 0
    said = capsys.readouterr().out
    assert "would change  users.put ann: role operator, uid 7" in said and "nothing was checked" in said
    assert main(["user", "remove", "ann", "--dry-run", "--output", "table"]) == 0
    assert "destructive and will want --confirm ann" in capsys.readouterr().out
    assert main(["host", "edit", "h", "--ssh-key", str(tmp_path / "key"), "--note", "\x1b[31mrack 3", "--dry-run", "--output", "table"]) == 0
    said = capsys.readouterr().out
    assert "PRIVATE" not in said and "\x1b" not in said and "rack 3" in said
