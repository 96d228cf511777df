"""``fleet template|vnet …`` over a real door: what is asked for, what is said, what never stands on a command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet_tui.backend import instances as i
from fleet_tui.backend.api import METHODS, Done
from fleet_tui.backend.instances import profiles as p
from fleet_tui.backend.store import Store, sqlite_url
from fleet_tui.cli import main
from tests.doors import Door

ACTIONS = (
    i.SetupAction("application_port", "port", {"port": 8081}, "before_install", True, "a-1"),
    i.SetupAction("add_ssh_key", "key", {"private_key": p.KEPT, "file": "id_x"}, "before_install", True, "a-2"),
)
TEMPLATE = p.TemplateRecord("t-1", "web", "hello-app", ACTIONS, 3, 7, {"machine_type": "m7.large", "license_override": p.KEPT}, 2, ("here-1",), ("x",))
NETWORK = p.VirtualNetworkRecord(
    "n-1", "net", "aws", "letsencrypt", 3, 4, {"assign_public_ip": True, "internet_access": "yes"}, "eu-west-1", 1,
    findings=(p.NetworkFinding("subnet_id", "the subnet is gone"),),
)
LINKED = (p.LinkedInstance("i-1", "web-1", "running", True, "web was changed: Machine type was none, is m7.large"),)


class Registers:
    """A door that notes what it is asked."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(sqlite_url(folder / "fleet.db"))
        self.store.create_all()
        self.asked: list[Any] = []
        self.answers: dict[str, Any] = {
            "templates.list": (TEMPLATE,), "templates.show": p.TemplateSheet(TEMPLATE, LINKED, {}, {}), "virtual-networks.list": (NETWORK,),
            "virtual-networks.show": p.VirtualNetworkSheet(NETWORK, LINKED, {}, {}), "blueprints.export": p.BlueprintFile("a: 1\nb: \x1b[31m\n", ("password",)),
            "blueprints.import": p.ImportedBlueprint(TEMPLATE, NETWORK, ("password of the action driver",)),
            "templates.render": p.RenderedTemplate("web", "", "", (
                p.RenderedAction("before_install", "application_port", "port", True, ("FLEET_PORT=8081",), ""),
                p.RenderedAction("after_startup", "run_tasks", "late", False, ("by the agent itself", "1. run x"), "no"),
            )),
        }
        for name in METHODS:
            if name.startswith("templates."):
                self.answers.setdefault(name, Done("template web deleted") if name.endswith("delete") else TEMPLATE)
            elif name.startswith("virtual-networks."):
                self.answers.setdefault(name, Done("virtual network net deleted") if name.endswith("delete") else NETWORK)
        self.door = Door(self.store, folder / "run" / "fleetd.sock", {name: self._noting(name) for name in self.answers}).open()

    def _noting(self, name: str) -> Any:
        def handle(_caller: Any, request: Any) -> Any:
            self.asked.append(request)
            return self.answers[name]

        return handle


@pytest.fixture
def registers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registers]:
    monkeypatch.setenv("FLEET_HOME", str(tmp_path))
    found = Registers(tmp_path)
    yield found
    found.door.close()
    found.store.close()


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(words)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_lists_and_sheets(registers: Registers, capsys: pytest.CaptureFixture[str]) -> None:
    head, row = run(capsys, "template", "list", "--output", "table")[1].splitlines()
    assert head.split() == ["LABEL", "APPLICATION", "ACTIONS", "INSTANCES", "WAITING", "VERSION", "PROBLEM"]
    assert row.split(maxsplit=6) == ["web", "hello-app", "2", "3", "2", "7", "lacks x; not for here-1"]
    row = run(capsys, "vnet", "list", "--output", "table")[1].splitlines()[1]
    assert row.split(maxsplit=8) == ["net", "aws", "eu-west-1", "letsencrypt", "yes", "yes", "3", "1", "the subnet is gone"]
    shown = run(capsys, "template", "show", "web", "--output", "table")[1]
    assert "machine_type" in shown and "web was changed: Machine type" in shown and p.KEPT in shown
    assert json.loads(run(capsys, "vnet", "show", "net")[1])["record"]["place"] == "eu-west-1"


def test_creating_and_editing(registers: Registers, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "license").write_text("L-1\n")
    (tmp_path / "actions.yaml").write_text("- kind: application_port\n  parameters: {port: 8082}\n")
    words = ["--set", "machine_type=m", "--set-file", f"license_override={tmp_path / 'license'}", "--actions", str(tmp_path / "actions.yaml")]
    assert run(capsys, "template", "create", "web", "--application", "shop", *words)[0] == 0
    created: p.CreateTemplate = registers.asked[-1]
    assert created.values == {"machine_type": "m", "license_override": "L-1", "application": "shop"}
    assert created.setup_actions == (i.SetupAction("application_port", "", {"port": 8082}),)
    code, out, _ = run(capsys, "template", "edit", "web", "--set", "machine_type=", "--output", "table")
    assert (code, out) == (0, "template web saved; 2 instances wait for a reprovision; here-1 cannot be provisioned with it: they share their machine\n")
    assert registers.asked[-1] == p.EditTemplate("web", 7, {"machine_type": ""}, None)
    run(capsys, "template", "edit", "web", "--disable", "key", "--version", "5")
    edited: p.EditTemplate = registers.asked[-1]
    assert edited.version == 5 and edited.setup_actions is not None
    assert [(action.id, action.enabled, action.parameters.get("private_key")) for action in edited.setup_actions] == [("a-1", True, None), ("a-2", False, p.KEPT)]
    assert run(capsys, "template", "edit", "web", "--enable", "nothing")[0] == 4
    assert run(capsys, "template", "edit", "web")[0] == 2
    assert run(capsys, "vnet", "create", "net", "--provider", "aws", "--set", "region=eu-west-1")[0] == 0
    assert registers.asked[-1] == p.CreateVirtualNetwork("net", {"region": "eu-west-1", "provider": "aws"})
    assert "saved; 1 instance waits for a reprovision" in run(capsys, "vnet", "edit", "net", "--set", "https_strategy=none", "--output", "table")[1]
    assert registers.asked[-1] == p.EditVirtualNetwork("net", 4, {"https_strategy": "none"})


def test_what_show_gives_can_be_given_back(registers: Registers, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "sheet.json"
    file.write_text(run(capsys, "template", "show", "web", "--output", "json")[1])
    assert run(capsys, "template", "edit", "web", "--actions", str(file))[0] == 0
    assert registers.asked[-1].setup_actions == ACTIONS


def test_a_secret_never_stands_on_a_command_line_and_no_dry_run_shows_it(registers: Registers, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    before = len(registers.asked)
    code, _, err = run(capsys, "template", "create", "web", "--set", "license_override=L-1")
    assert code == 2 and "--set-file license_override=FILE" in err and len(registers.asked) == before
    (tmp_path / "secret").write_text("hunter2\n")
    (tmp_path / "actions.json").write_text(json.dumps([{"kind": "add_ssh_key", "name": "k", "parameters": {"private_key": "hunter2"}}]))
    words = ["--set-file", f"api_key_secret={tmp_path / 'secret'}", "--set-file", f"license_override={tmp_path / 'secret'}", "--set", "machine_type=m"]
    for verb in ("create", "edit"):
        code, out, err = run(capsys, "template", verb, "web", *words, "--actions", str(tmp_path / "actions.json"), "--dry-run", "--output", "table")
        assert code == 0 and "machine_type=m" in out and "hunter2" not in out + err, out


def test_cloning_deleting_and_checking(registers: Registers, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "template", "clone", "web", "copy")[0] == 0
    assert registers.asked[-1] == p.CloneTemplate("web", "copy")
    assert run(capsys, "vnet", "delete", "net")[0] == 14
    assert run(capsys, "vnet", "delete", "net", "--confirm", "net", "--output", "table")[:2] == (0, "virtual network net deleted\n")
    assert registers.asked[-1] == p.DeleteVirtualNetwork("net", "net")
    assert run(capsys, "vnet", "check", "net", "--output", "table")[:2] == (1, "virtual network net: the subnet is gone\n")


def test_a_blueprint_goes_out_as_it_is_and_what_it_lacks_is_said_beside_it(registers: Registers, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, err = run(capsys, "template", "export", "web", "--network", "net")
    assert (code, out) == (0, "a: 1\nb: ·[31m\n") and "because it is secret: password" in err
    assert registers.asked[-1] == p.ExportBlueprint("web", "net")
    run(capsys, "vnet", "export", "net")
    assert registers.asked[-1] == p.ExportBlueprint("", "net")
    assert json.loads(run(capsys, "template", "export", "web", "--output", "json")[1])["omitted"] == ["password"]
    (tmp_path / "b.yaml").write_text("x")
    code, out, err = run(capsys, "vnet", "import", str(tmp_path / "b.yaml"), "--network", "other", "--replace", "--output", "table")
    assert code == 0 and registers.asked[-1] == p.ImportBlueprint("x", "", "other", True)
    assert out == "template web; 2 instances wait for a reprovision and virtual network net; 1 instance waits for a reprovision taken in\n"
    assert "to be entered before a provision: password of the action driver" in err
    assert run(capsys, "template", "import", str(tmp_path / "none.yaml"))[0] == 2


def test_a_blueprint_is_neither_cut_nor_changed_on_its_way_to_a_file(
    registers: Registers, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"a: {'x' * 9000}\nb: \t\u200bé\u202e\n"
    monkeypatch.setitem(registers.answers, "blueprints.export", p.BlueprintFile(text, ()))
    assert main(("template", "export", "web")) == 0
    assert capfdbinary.readouterr().out == text.encode()


def test_a_dry_run_of_actions_is_told_stage_by_stage(registers: Registers, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("- kind: [\n")
    assert run(capsys, "template", "render", "web", "--output", "table")[1].splitlines() == [
        "before_install:", "  port: application_port", "    FLEET_PORT=8081", "after_startup:", "  late: run_tasks (switched off)", "    by the agent itself",
        "    1. run x", "    refused: no",
    ]
    code, _, err = run(capsys, "template", "render", "web", "--actions", str(tmp_path / "bad.yaml"))
    assert code == 3 and "line 2, column 1: not YAML" in err
