"""The command line over a real door: forms, output, confirmation, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from fleet_tui.backend import instances as i
from fleet_tui.backend import providers
from fleet_tui.backend.api import METHODS, Summarize
from fleet_tui.backend.errors import BY_CODE, NotFound
from fleet_tui.backend.events import EventBatch
from fleet_tui.backend.instances import profiles
from fleet_tui.backend.operations import ErrorRecord, ListOperations, OperationRecord, OperationRequest, Plan, Refusal, Submitted
from fleet_tui.backend.store import Store, sqlite_url
from fleet_tui.backend.telemetry import LineBatch, LogLine
from fleet_tui.cli import console, context, main
from fleet_tui.cli.parser import build
from fleet_tui.screens import operations, paged, pulse
from tests.doors import Door
from tests.fleet_stub import instance, operation

HOSTILE = "\x1b]52;c;ZXZpbA==\x07[red]web\u202e\x00\r\nline"


ORPHAN = providers.Orphan("machine", "vm-1c2d", "aws", "10.0.3.7", None, "on", "eu-west-1")


class Fleet:
    """A little fleet behind a real door: what was asked, and what becomes of operations."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.asked: list[Any] = []
        self.rows = [instance("web-1"), instance("web-2", "stopped")]
        self.ends: dict[str, Any] = {"state": "succeeded"}
        self.lines = [_line(seq) for seq in range(1, 6)]
        self.plan_refusals: tuple[Refusal, ...] = ()
        self.settings_version = 3
        self.named: dict[str, str] = {}
        """Names by the ids they may be given by."""
        door.close()
        door.handlers.update(self.handlers())
        door.open()

    def handlers(self) -> dict[str, Callable[[Any, Any], Any]]:
        verbs = {name: self._submit for name in METHODS if name.startswith(("instance.", "snapshot.", "orphan."))}
        return {
            **verbs,
            "instances.list": self._list,
            "instances.show": self._show,
            "instances.create": self._keep(lambda request: instance(request.label, "new")),
            "instances.edit": self._keep(lambda request: instance(request.target, pending_changes=("image",))),
            "instances.settings": lambda caller, request: i.InstanceSettings(request.target, self.settings_version, {"machine_type": "small"}, {}, {}, {}),
            "orphans.list": lambda caller, request: providers.OrphanList((ORPHAN,), ("far: nobody answers there",)),
            "operations.show": lambda caller, request: self.operation(request.id),
            "operations.list": lambda caller, request: (self.operation("o-1"),),
            "operations.cancel": self._keep(lambda request: self.operation(request.id)),
            "operations.retry": self._keep(lambda request: Submitted(operation("o-2", "web-1"))),
            "events.after": lambda caller, request: EventBatch((), max(1, request.cursor)),
            "lines.read": self._read,
            "templates.list": lambda caller, request: (),
            "templates.put": self._keep(lambda request: profiles.TemplateRecord("t-1", request.label, request.application, request.setup_actions, 0, 1)),
        }

    def operation(self, id_: str) -> OperationRecord:
        return operation(id_, "web-1", **self.ends)

    def _keep(self, answer: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
        def handle(_caller: Any, request: Any) -> Any:
            self.asked.append(request)
            return answer(request)

        return handle

    def _submit(self, _caller: Any, request: OperationRequest) -> Submitted:
        if request.dry_run:
            plan = Plan("k", "stop", self.named.get(request.target, request.target), ("one", "two"), ("machine m-1",), ("users lose web-1",), self.plan_refusals)
            return Submitted(plan=plan)
        self.asked.append(request)
        return Submitted(operation("o-1", request.target))

    def _list(self, _caller: Any, request: i.ListInstances) -> i.InstancePage:
        first = [row for row in self.rows if row.label > request.after][:1]  # one a page, so that paging is seen
        more = bool(first) and first[0] is not self.rows[-1]
        return i.InstancePage(tuple(first), first[0].label if more else "", len(self.rows))

    def _show(self, _caller: Any, request: i.ShowInstance) -> i.InstanceRecord:
        for row in self.rows:
            if row.label == request.target:
                return row
        raise NotFound(f"there is no instance {request.target!r}", hint="list them")

    def _read(self, _caller: Any, request: Any) -> LineBatch:
        lines = tuple(line for line in self.lines if line.seq > request.after)[:2]
        return LineBatch(lines, lines[-1].seq if lines else request.after)


def _line(seq: int, text: str = "") -> LogLine:
    return LogLine(seq, datetime(2026, 11, 20, 9, 8, 7, 65_000, timezone.utc), "instance-agent", "start", "info", text or f"line {seq}")


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    store = Store(sqlite_url(tmp_path / "fleet.db"))
    store.create_all()
    door = Door(store, tmp_path / "run" / "fleetd.sock").open()
    monkeypatch.setenv("FLEET_HOME", str(tmp_path))
    yield Fleet(door)
    door.close()
    store.close()


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(words)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_show_as_json_has_what_programs_count_on(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "instance", "show", "web-1", "--output", "json")
    found = json.loads(out)
    assert code == 0
    assert {"label", "kind", "state", "health", "url", "data_disk", "pending_changes", "template", "network", "agent"} <= set(found)
    assert {"size_gb", "used_bytes", "path"} <= set(found["data_disk"])
    assert {"last_seen", "phase"} <= set(found["agent"])
    assert found["state"] == "running"


def test_an_operation_as_json(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    fleet.ends = {"state": "failed"}
    found = json.loads(run(capsys, "op", "show", "o-1")[1])
    assert {"id", "kind", "target", "state", "user", "steps", "error"} <= set(found)
    assert {"name", "state", "attempt", "started_at", "ended_at", "error"} <= set(found["steps"][0])
    assert {"code", "message"} <= set(found["error"])


def test_lists_are_arrays_over_every_page(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    assert [row["label"] for row in json.loads(run(capsys, "instance", "list")[1])] == ["web-1", "web-2"]
    assert isinstance(json.loads(run(capsys, "op", "list")[1]), list)


def test_a_table_is_aligned_and_text_is_for_cut(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    fleet.rows = [instance("a"), instance("much-longer-name", "stopped")]
    lines = run(capsys, "instance", "list", "--output", "table")[1].splitlines()
    column = lines[0].index("STATE")
    assert lines[1][column:].startswith("running")
    assert lines[2][column:].startswith("stopped")
    assert [line.split("\t")[0] for line in run(capsys, "--output", "text", "instance", "list")[1].splitlines()] == ["a", "much-longer-name"]


@pytest.mark.parametrize("form", ["table", "text", "json"])
def test_foreign_text_is_harmless_in_every_form(fleet: Fleet, capsys: pytest.CaptureFixture[str], form: str) -> None:
    fleet.rows = [instance("web-1", failure=HOSTILE, image=HOSTILE, url=HOSTILE, pending_changes=(HOSTILE,))]
    fleet.lines = [_line(1, HOSTILE)]
    for words in (("instance", "list", "--wide"), ("instance", "show", "web-1"), ("instance", "logs", "web-1"), ("op", "follow", "o-1")):
        code, out, err = run(capsys, *words, "--output", form)
        assert code == 0
        assert not set("\x1b\x07\x00\r\u202e\x7f\x9b") & set(out + err)


def test_an_error_is_one_line_and_what_to_do(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "instance", "show", "nope")
    assert (code, out) == (4, "")
    assert err == "fleet: there is no instance 'nope'\n  list them\n"
    code, out, err = run(capsys, "instance", "show", "nope", "--output", "json")
    assert (code, out) == (4, "")
    assert json.loads(err)["error"]["code"] == "not_found"


@pytest.mark.parametrize("words", [["instance"], ["instance", "fly", "x"], ["--timeout", "soon", "op", "list"], ["instance", "show"]])
def test_a_wrong_command_line_ends_with_two(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("fleet: ")


@pytest.mark.parametrize(
    ("verb", "request_type", "words"),
    [
        ("provision", i.ProvisionInstance, []), ("start", i.StartInstance, []), ("retry", i.RetryStartup, []),
        ("replay-actions", i.ReplayActions, []), ("snapshot", i.SnapshotDisk, ["--reason", "why"]),
        ("stop", i.StopInstance, ["--yes"]), ("deprovision", i.DeprovisionInstance, ["--yes", "--force"]),
        ("reprovision", i.ReprovisionInstance, ["--yes", "--snapshot", "s-1"]), ("restart-app", i.RestartApplication, ["--yes"]),
        ("delete", i.DeleteInstance, ["--confirm", "web-1", "--keep-disk"]),
    ],
)  # fmt: skip
def test_every_verb_sends_its_request_and_waits(
    fleet: Fleet, capsys: pytest.CaptureFixture[str], verb: str, request_type: type, words: list[str]
) -> None:
    code, out, _ = run(capsys, "instance", verb, "web-1", *words)
    assert code == 0
    assert json.loads(out)["state"] == "succeeded"
    [request] = fleet.asked
    assert isinstance(request, request_type)
    assert request.target == "web-1"  # type: ignore[attr-defined]
    assert request.request_id  # type: ignore[attr-defined]
    for field, value in (("confirmed", True), ("force", True), ("snapshot", "s-1"), ("reason", "why"), ("keep_disk", True), ("confirm", "web-1")):
        if hasattr(request, field):
            assert getattr(request, field) == value


def test_a_snapshot_is_deleted_once_its_own_id_is_confirmed(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--yes"]):
        code, _, err = run(capsys, "instance", "delete-snapshot", "web-1", "s-1", *words)
        assert code == 14 and "--confirm s-1" in err and fleet.asked == []
    assert run(capsys, "instance", "delete-snapshot", "web-1", "s-1", "--confirm", "s-1")[0] == 0
    [request] = fleet.asked
    assert isinstance(request, i.DeleteSnapshot)
    assert (request.target, request.instance, request.confirm) == ("s-1", "web-1", "s-1")


def test_what_no_instance_has_is_listed_and_removed_once_its_id_is_confirmed(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "orphan", "list")
    assert code == 0 and [(row["kind"], row["id"]) for row in json.loads(out)] == [("machine", "vm-1c2d")]
    assert "not asked: far: nobody answers there" in err
    code, _, err = run(capsys, "orphan", "remove", "vm-1c2d", "--yes")
    assert code == 14 and "--confirm vm-1c2d" in err and fleet.asked == []
    code, _, err = run(capsys, "orphan", "remove", "vm-9", "--confirm", "vm-9")
    assert code == 4 and "fleet orphan list" in err and fleet.asked == []
    assert run(capsys, "orphan", "remove", "vm-1c2d", "--confirm", "vm-1c2d")[0] == 0
    [request] = fleet.asked
    assert isinstance(request, i.RemoveOrphan)
    assert (request.target, request.kind, request.provider, request.region, request.confirm) == ("vm-1c2d", "machine", "aws", "eu-west-1", "vm-1c2d")


@pytest.mark.parametrize("verb", ["stop", "deprovision", "reprovision", "restart-app", "delete"])
def test_what_is_dangerous_is_refused_unconfirmed_without_a_terminal(fleet: Fleet, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    code, _, err = run(capsys, "instance", verb, "web-1")
    assert code == 14
    assert ("--confirm web-1" if verb == "delete" else "--yes") in err
    assert fleet.asked == []


def test_yes_does_not_confirm_what_is_destructive(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "instance", "delete", "web-1", "--yes")[0] == 14
    assert run(capsys, "user", "remove", "ann", "--confirm", "bob")[0] == 14
    assert fleet.asked == []


@pytest.mark.parametrize(
    ("verb", "answer", "code"), [("stop", "y", 0), ("stop", "", 14), ("stop", "no", 14), ("delete", "web-1", 0), ("delete", "y", 0)]
)
def test_on_a_terminal_it_asks_and_says_what_would_happen(
    fleet: Fleet, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, verb: str, answer: str, code: int
) -> None:
    monkeypatch.setattr(context.Context, "can_ask", True)
    monkeypatch.setattr(sys, "stdin", _Typed(answer))
    got, _, err = run(capsys, "instance", verb, "web-1")
    assert got == code
    assert "users lose web-1" in err
    assert [getattr(request, "confirm", answer) for request in fleet.asked] == ([answer] if code == 0 else [])


class _Typed:
    def __init__(self, answer: str) -> None:
        self._answer = answer

    def readline(self) -> str:
        return self._answer + "\n"

    def isatty(self) -> bool:
        return True


def test_a_question_is_not_asked_for_what_would_be_refused(fleet: Fleet, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context.Context, "can_ask", True)
    fleet.plan_refusals = (Refusal("wrong_state", "it is stopped already"),)
    code, _, err = run(capsys, "instance", "stop", "web-1")
    assert code == 6
    assert "Go on?" not in err


def test_a_dry_run_changes_nothing_and_ends_as_it_would(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "instance", "stop", "web-1", "--dry-run")
    assert (code, json.loads(out)["steps"]) == (0, ["one", "two"])
    fleet.plan_refusals = (Refusal("busy", "somebody has it", "", {"holders": ["o-1"]}),)
    assert json.loads(run(capsys, "instance", "stop", "web-1", "--dry-run")[1])["refusals"][0]["details"] == {"holders": ["o-1"]}
    code, out, _ = run(capsys, "instance", "stop", "web-1", "--dry-run", "--output", "table")
    assert code == 7
    assert "somebody has it" in out
    assert fleet.asked == []


@pytest.mark.parametrize("kind", sorted(set(BY_CODE)))
def test_a_failed_operation_ends_with_the_code_of_its_error(fleet: Fleet, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    fleet.ends = {"state": "failed", "error": ErrorRecord(kind, "no luck", "try again")}
    code, out, err = run(capsys, "instance", "provision", "web-1")
    assert code == BY_CODE[kind].exit_code
    assert json.loads(out)["error"]["code"] == kind
    assert "no luck" in err


def test_a_cancelled_operation_is_no_success(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    fleet.ends = {"state": "cancelled"}
    assert run(capsys, "op", "follow", "o-1")[0] == 1


def test_not_waiting_gives_the_operation_as_it_is(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "instance", "provision", "web-1", "--no-wait")
    assert (code, json.loads(out)["state"]) == (0, "running")


def test_waiting_has_an_end(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    fleet.ends = {"state": "running"}
    code, _, err = run(capsys, "instance", "provision", "web-1", "--timeout", "0.1")
    assert code == 11
    assert "fleet op follow o-1" in err


def test_an_interrupted_wait_says_that_it_goes_on(fleet: Fleet, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from fleet_tui.cli import waiting

    def interrupt(*_: Any) -> int:
        raise KeyboardInterrupt

    fleet.ends = {"state": "running"}
    monkeypatch.setattr(waiting, "_news", interrupt)
    code, _, err = run(capsys, "instance", "provision", "web-1")
    assert code == 130
    assert "operation o-1 goes on, `fleet op follow o-1` follows it" in err


def test_logs_as_json_and_as_text(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(run(capsys, "instance", "logs", "web-1")[1])
    assert [line["seq"] for line in found] == [1, 2, 3, 4, 5]
    assert {"seq", "time", "source", "phase", "level", "text"} <= set(found[0])
    assert [line["seq"] for line in json.loads(run(capsys, "instance", "logs", "web-1", "--since", "3")[1])] == [4, 5]
    assert run(capsys, "instance", "logs", "web-1", "--output", "text")[1].splitlines()[0] == "start: line 1"
    stamped = run(capsys, "instance", "logs", "web-1", "--output", "text", "--timestamps")[1]
    assert stamped.startswith("2026-11-20 09:08:07.065 start: line 1")


def test_followed_logs_are_one_object_a_line(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    def gone(_caller: Any, request: Any) -> LineBatch:
        if request.after >= 5:
            raise NotFound("it is gone")
        return fleet._read(_caller, request)

    fleet.door.close()
    fleet.door.handlers["lines.read"] = gone
    fleet.door.open()
    code, out, _ = run(capsys, "instance", "logs", "web-1", "--follow")
    assert (code, [json.loads(line)["seq"] for line in out.splitlines()]) == (4, [1, 2, 3, 4, 5])


def test_op_follow_prints_lines_and_then_how_it_ended(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "op", "follow", "o-1", "--output", "table")[1].splitlines()
    assert out[:5] == [f"start: line {seq}" for seq in range(1, 6)]
    assert out[5].startswith("provision web-1: succeeded in ")


def test_settings_go_as_typed_and_the_version_is_looked_up(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "instance", "create", "web-9", "--network", "local-tls", "--set", "data_disk.size_gb=20", "--set", "notes=a=b")
    run(capsys, "instance", "edit", "web-1", "--set", "notes=")
    run(capsys, "instance", "edit", "web-1", "--set", "notes=x", "--version", "7")
    create, looked_up, given = fleet.asked
    assert (create.label, create.kind, create.template, create.network) == ("web-9", "design", "hello", "local-tls")
    assert create.settings == {"data_disk.size_gb": "20", "notes": "a=b"}
    assert (looked_up.version, looked_up.changes, given.version) == (3, {"notes": ""}, 7)
    assert run(capsys, "instance", "edit", "web-1")[0] == 2
    assert run(capsys, "instance", "create", "x", "--set", "nothing")[0] == 2


def test_read_only_is_refused_by_the_daemon(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--read-only", "instance", "provision", "web-1")[0] == 13
    assert run(capsys, "instance", "create", "x", "--read-only")[0] == 13
    assert run(capsys, "instance", "list", "--read-only")[0] == 0
    assert fleet.asked == []


def test_users_and_audit(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "user", "put", "ann", "--role", "monitor", "--uid", "7")[0] == 0
    assert {row["name"] for row in json.loads(run(capsys, "user", "list")[1])} == {"tester", "ann"}
    assert run(capsys, "user", "remove", "ann", "--confirm", "ann")[0] == 0
    code, out, _ = run(capsys, "audit", "verify")
    assert (code, json.loads(out)["intact"]) == (0, True)
    assert [row["action"] for row in json.loads(run(capsys, "audit", "list")[1])] == ["users.remove"] * 2 + ["users.put"] * 2
    assert "DECISION" in run(capsys, "audit", "list", "--output", "table")[1]


def test_templates_are_read_from_json(fleet: Fleet, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "actions.json"
    file.write_text('[{"kind": "run-command", "name": "hello", "parameters": {"command": "true"}}]')
    assert run(capsys, "template", "put", "mine", "--application", "hello-app", "--actions", str(file))[0] == 0
    [request] = fleet.asked
    assert request.setup_actions[0].parameters == {"command": "true"}
    for text, code in (("[{", 3), ("3", 3), ('[{"name": "x"}]', 3)):
        file.write_text(text)
        assert run(capsys, "template", "put", "mine", "--actions", str(file))[0] == code
    assert run(capsys, "template", "put", "mine", "--actions", str(tmp_path / "none"))[0] == 2


def test_the_daemons_state_is_told_without_a_daemon(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_HOME", str(tmp_path))
    code, out, _ = run(capsys, "daemon", "status")
    assert (code, json.loads(out)["state"]) == (3, "stopped")
    assert run(capsys, "daemon", "stop")[0] == 0
    assert run(capsys, "daemon", "logs")[0] == 4
    assert run(capsys, "--no-start", "instance", "list")[0] == 9
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "fleetd.log").write_text("".join(f"line {n} \x1b[0m\n" for n in range(100)))
    assert run(capsys, "daemon", "logs", "-n", "2")[1] == "line 98 ·[0m\nline 99 ·[0m\n"
    assert not (tmp_path / "run").exists()


def test_the_console_needs_a_terminal_and_starts_nothing_without(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys)[0] == 2
    assert run(capsys, "pane", "instances")[0] == 2
    assert run(capsys, "demo")[0] == 2


def test_a_pane_is_read_only(fleet: Fleet, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    class App:
        @staticmethod
        def run(settings: Any, connect: Any, pane: Any) -> int:
            seen.append((settings, pane, connect().record))
            return 5

    monkeypatch.setitem(sys.modules, "fleet_tui.app", App)
    monkeypatch.setattr(console, "_need_terminal", lambda: None)
    monkeypatch.setattr(console, "end_with_terminal", lambda: None)
    assert run(capsys, "pane", "logs", "web-1")[0] == 5
    settings, pane, record = seen[0]
    assert (settings.read_only, pane, record.read_only) == (True, ("logs", "web-1"), True)
    assert "instances.operate" not in record.permissions
    assert run(capsys, "pane", "instances", "web-1")[0] == 2
    assert run(capsys)[0] == 5
    assert seen[1][1] is None
    assert seen[1][2].read_only is False


def test_the_console_asks_ahead_what_its_screen_asks_first() -> None:
    assert {
        "dashboard": Summarize(pulse.BOARD_ROWS, pulse.BOARD_LINES),
        "instances": i.ListInstances(limit=paged.PAGE),
        "operations": ListOperations(limit=operations.KEPT),
    } == console.FIRST


def test_the_parser_of_the_console_alone_says_the_same_as_the_whole() -> None:
    for words in ([], ["--read-only"], ["pane", "logs", "web-1", "--ascii"], ["--no-start", "pane", "instances"]):
        small, whole = build(words), build()
        assert vars(small.parse_args(words)) == vars(whole.parse_args(words))
        assert len(small.format_help()) < len(whole.format_help())
    for words in (["--help"], ["--theme", "pane"], ["host", "list"], ["instance", "show", "pane"]):
        assert build(words).format_help() == build().format_help()


def test_the_fixed_forms_parse() -> None:
    parser = build()
    for group, verbs in {
        "daemon": "start stop status logs", "audit": "list verify", "op": "list show follow cancel retry",
        "instance": "create list show edit provision deprovision reprovision stop start restart-app replay-actions retry snapshot delete logs",
    }.items():  # fmt: skip
        for verb in verbs.split():
            name = [] if verb in ("list", "verify") or group == "daemon" else ["x"]
            assert callable(parser.parse_args([group, verb, *name]).run)
    given = parser.parse_args(["--output", "json", "instance", "logs", "x", "--follow", "--since", "4", "--timestamps"])
    assert (given.output, given.since, given.follow) == ("json", 4, True)
    assert parser.parse_args(["daemon", "start", "--", "--simulate", "--seed", "3"]).flags == ["--simulate", "--seed", "3"]


def test_a_change_that_could_not_be_told_is_not_denied(fleet: Fleet) -> None:
    """A full disk under a redirect: what was asked for is done, and who is told that nothing was would ask again."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "fleet_tui", "instance", "create", "web-9"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert [request.label for request in fleet.asked] == ["web-9"]
    assert done.returncode == 1
    assert "the output could not be written: No space left on device" in done.stderr
    assert "may have been done" in done.stderr
    assert "Traceback" not in done.stderr and "fault" not in done.stderr


def test_what_is_done_again_is_confirmed_again(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    fleet.ends = {"state": "failed", "kind": "instance.restart-app"}
    assert run(capsys, "op", "retry", "o-1")[0] == 14
    assert fleet.asked == []
    fleet.ends = {"state": "failed", "kind": "instance.delete"}
    for wrong in ([], ["--yes"], ["--confirm", "web-2"]):
        code, _, said = run(capsys, "op", "retry", "o-1", *wrong)
        assert code == 14
        assert "--confirm web-1" in said
    assert fleet.asked == []
    assert run(capsys, "op", "retry", "o-1", "--confirm", "web-1", "--no-wait")[0] == 0
    fleet.ends = {"state": "failed", "kind": "instance.restart-app"}
    assert run(capsys, "op", "retry", "o-1", "--yes", "--no-wait")[0] == 0
    fleet.ends = {"state": "failed", "kind": "instance.provision"}
    assert run(capsys, "op", "retry", "o-1", "--no-wait")[0] == 0
    assert [request.id for request in fleet.asked] == ["o-1"] * 3


def test_the_name_is_asked_for_whatever_was_given(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    fleet.named = {"i-1": "web 1"}
    code, _, said = run(capsys, "instance", "delete", "i-1")
    assert code == 14
    assert "--confirm 'web 1'" in said, "as a shell takes it"
    for typed in ("web 1", "i-1"):
        assert run(capsys, "instance", "delete", "i-1", "--confirm", typed, "--no-wait")[0] == 0
    assert [(request.target, request.confirm) for request in fleet.asked] == [("i-1", "web 1")] * 2


def test_what_can_be_set_can_be_read(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(run(capsys, "instance", "show", "web-1", "--settings")[1])
    assert (found["version"], found["values"]) == (3, {"machine_type": "small"})
    assert "show NAME --settings" in run(capsys, "instance", "edit", "web-1")[2]


def test_keys_are_changed_by_the_ids_that_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "instance.provision" in {row["id"] for row in json.loads(run(capsys, "keys", "--output", "json")[1])}


@pytest.mark.parametrize(
    "words",
    [("op", "list", "--state", "runing"), ("instance", "list", "--state", "up"), ("instance", "list", "--kind", "x"), ("vm", "list", "--state", "up")],
)
def test_a_filter_that_can_find_nothing_is_refused(capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2


def test_a_dry_run_says_what_to_do_about_a_refusal(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    fleet.plan_refusals = (Refusal("wrong_state", "it is stopped already", "start it first"),)
    assert "start it first" in run(capsys, "instance", "stop", "web-1", "--dry-run", "--output", "table")[1]


def test_lines_that_could_not_be_read_are_no_empty_answer(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    fleet.door.close()
    code, out, _ = run(capsys, "--no-start", "instance", "logs", "web-1", "--output", "json")
    assert (code, out) == (9, "")


def test_a_program_sees_whether_it_was_joined(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(run(capsys, "instance", "start", "web-2", "--output", "json")[1])["deduplicated"] is False
