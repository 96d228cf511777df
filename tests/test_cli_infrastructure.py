"""The command line of hosts, VMs, capacity and maintenance over a real door: forms, output, confirmation, exit codes, serial lines."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from fleet_tui.backend import hosts as h
from fleet_tui.backend import machines as m
from fleet_tui.backend import maintenance as mt
from fleet_tui.backend.api import METHODS, Done, infrastructure
from fleet_tui.backend.errors import ConfirmationRequired, NotFound
from fleet_tui.backend.events import EventBatch
from fleet_tui.backend.operations import OperationRequest, Plan, Submitted
from fleet_tui.backend.store import Store, sqlite_url
from fleet_tui.backend.telemetry import LineBatch, LogLine
from fleet_tui.cli import asking, context, main, waiting
from fleet_tui.cli.maintenance import moment
from fleet_tui.cli.parser import build
from tests.backend.api.test_console import Yard
from tests.doors import Door
from tests.fleet_stub import operation
from tests.infrastructure_stub import InfrastructureStub, cluster, evacuee, kvm, pod, session, vm, zone
from tests.terminal.terminal import Terminal

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n-----END OPENSSH PRIVATE KEY-----\n"
PRINT = "SHA256:mXh6f7fQm3xk0v9bq0aH6tq9B2n7mJr0xE5m1mYc1aA"
HOSTILE = "\x1b]52;c;ZXZpbA==\x07[red]web\u202e\x00\r\nline"


class Premises(InfrastructureStub):
    """Zones, hosts, VMs and maintenance behind a real door: what was asked, and what becomes of operations."""

    def __init__(self, door: Door) -> None:
        self.begin_infrastructure()
        self.zones, self.pods = [zone("paris")], [pod("pod-1", "paris"), pod("pod-2", "paris")]
        self.clusters = [cluster("kvm-a", "paris", "pod-1"), cluster("kvm-b", "paris", "pod-1"), cluster("kvm-b", "paris", "pod-2", id="c-9")]
        self.hosts = [kvm("kvm-03"), kvm("kvm-17")]
        self.vms = {row.id: row for row in (vm("db-7"), vm("web-3", "kvm-17"))}
        self.sessions = {"kvm-17": session()}
        self.patches = [h.PatchRecord("kvm", "9", "KB-1", "2026-11-01", "critical", "", "", 2)]
        self.asked: list[Any] = []
        self.ends: dict[str, Any] = {"state": "succeeded"}
        self.door = door
        door.handlers.update(self.handlers())

    def touch(self, ref: str, type_: str = "object.changed", text: str = "") -> None:
        pass

    def handlers(self) -> dict[str, Callable[[Any, Any], Any]]:
        answers = {method.name: self._answer for method in infrastructure.METHODS if method.gives != "operations.Submitted"}
        submits = {method.name: self._submit for method in infrastructure.METHODS if method.gives == "operations.Submitted"}
        return {
            **answers, **submits,
            "hosts.list": lambda caller, request: tuple(self.hosts),
            "hosts.show": lambda caller, request: self._ShowHost(request),
            "operations.show": lambda caller, request: operation(request.id, "kvm-17", **self.ends),
            "events.after": lambda caller, request: EventBatch((), max(1, request.cursor)),
            "lines.read": lambda caller, request: LineBatch((), request.after),
        }  # fmt: skip

    def _answer(self, _caller: Any, request: Any) -> Any:
        if not METHODS[_method(request)].read:
            self.asked.append(request)
        return getattr(self, f"_{type(request).__name__}", lambda _r: Done("so it is"))(request)

    def _submit(self, _caller: Any, request: OperationRequest) -> Submitted:
        if isinstance(request, h.AddHost) and not request.accept_fingerprint and not request.dry_run:
            raise ConfirmationRequired(f"{request.target} shows the host key {PRINT}", fingerprint=PRINT)
        if request.dry_run:
            return Submitted(plan=Plan("k", "maintain", request.target, ("check", "evacuate"), ("db-7 moves to kvm-03",), ("2 VMs move",)))
        self.asked.append(request)
        return Submitted(operation("o-1", request.target))

    def _CreatePod(self, request: h.CreatePod) -> h.PodRecord:
        return pod(request.name, request.zone)

    def _DeleteBranch(self, request: h.DeleteBranch) -> Done:
        return Done(f"{request.kind} {request.target} deleted")


def _method(request: Any) -> str:
    from fleet_tui.backend.api import method_of

    return str(method_of(request).name)


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Premises]:
    store = Store(sqlite_url(tmp_path / "fleet.db"))
    store.create_all()
    door = Door(store, tmp_path / "run" / "fleetd.sock")
    found = Premises(door)
    door.open()
    monkeypatch.setenv("FLEET_HOME", str(tmp_path))
    (tmp_path / "key").write_text(KEY)
    yield found
    door.close()
    store.close()


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(words)
    said = capsys.readouterr()
    return code, said.out, said.err


class Typed(io.StringIO):
    """A terminal at which somebody types these lines."""

    def isatty(self) -> bool:
        return True


FORMS = [
    *(f"{branch} {verb} x" for branch in ("zone", "pod", "cluster") for verb in ("show", "enable", "disable", "delete")),
    "zone create x", "pod create x --zone z", "cluster create x --zone z --pod p", "zone list", "pod list", "cluster list",
    "cluster set-ratio x --cpu 4 --ram 1.5", "cluster set-password x", "cluster set-password x --record",
    "host add 10.0.0.9 --cluster C --user U --ssh-key FILE --ssh-port 22 --accept-fingerprint SHA256:x", "host list",
    *(f"host {verb} x" for verb in (
        "show", "enable", "disable", "remove", "capacity", "forecast", "cancel-maintain", "migrate-back", "session", "reconnect", "retry",
        "reinstall", "degrade", "cancel-degraded", "edit", "announce", "close",
    )),
    "host maintain x --reason TEXT --allow-stop --until 04:30 --dry-run --wait", "host note x TEXT",
    "offering create x --cores 1 --mhz 1000 --memory-mib 64", "offering list", "offering delete x",
    "vm create x --cluster C --offering O --image FILE --placement emptiest --host H",
    "vm create x --cluster C --offering O --kernel FILE --initrd FILE --cmdline TEXT", "vm list",
    *(f"vm {verb} x" for verb in ("show", "start", "stop", "reboot", "destroy", "migrate", "console", "logs", "edit")), "vm resize x --offering O",
    "patch list", "patch import FILE", "maintain rolling --cluster C", "maintain rolling --cluster C --group-size 2 --plan",
]  # fmt: skip


def test_the_fixed_forms_parse() -> None:
    parser = build()
    for form in FORMS:
        assert callable(parser.parse_args(form.split()).run), form


OPERATIONS: list[tuple[str, type, dict[str, Any]]] = [
    ("host maintain kvm-17 --reason DIMM --ticket 4711 --yes --allow-stop", mt.MaintainHost,
     {"target": "kvm-17", "reason": "DIMM", "ticket": "4711", "allow_stop": True, "confirmed": True}),
    ("host cancel-maintain kvm-17 --yes", mt.CancelMaintenance, {"confirmed": True}),
    ("host migrate-back kvm-17 --yes --vm db-7 --vm web-3", mt.MigrateBack, {"vms": ("db-7", "web-3"), "confirmed": True}),
    ("host announce kvm-17 --reason DIMM --text hello", mt.AnnounceMaintenance, {"reason": "DIMM", "text": "hello"}),
    ("host reconnect kvm-17", h.ReconnectHost, {}), ("host retry kvm-17", h.RetryHost, {}),
    ("host degrade kvm-17 --yes", h.DeclareDegraded, {"confirmed": True}), ("host cancel-degraded kvm-17", h.CancelDegraded, {}),
    ("host remove kvm-17 --force --confirm kvm-17", h.RemoveHost, {"force": True, "confirm": "kvm-17"}),
    ("host reinstall kvm-17 --yes --accept-fingerprint any-once --wait-for 60", h.ReinstallHost, {"accept_fingerprint": "any-once", "wait_s": 60.0}),
    ("cluster set-ratio kvm-a --cpu 4 --ram 1.5 --yes", m.SetRatio, {"target": "kvm-a", "cpu": 4.0, "ram": 1.5}),
    ("cluster unmanage kvm-a --yes", h.ManageCluster, {"managed": False}),
    ("vm create v1 --cluster kvm-a --offering m2.small --kernel /k --initrd /i --cmdline quiet --placement emptiest --host kvm-03 --stopped",
     m.CreateVm, {"target": "v1", "kernel": "/k", "initrd": "/i", "cmdline": "quiet", "placement": "emptiest", "host": "kvm-03", "start": False,
                  "destroy_protected": True}),
    ("vm create v2 --cluster kvm-a --offering m2.small --image /i.qcow2 --no-protect --tag a --owner ann", m.CreateVm,
     {"image": "/i.qcow2", "destroy_protected": False, "tags": ("a",), "owners": ("ann",), "start": True}),
    ("vm start db-7 --host kvm-03", m.StartVm, {"host": "kvm-03", "room_s": 0.0}),
    ("vm start db-7 --wait-for-room", m.StartVm, {"room_s": 300.0}),
    ("vm create v3 --cluster kvm-a --offering m2.small --disk-mib 64 --wait-for-room 20", m.CreateVm, {"disk_mib": 64, "room_s": 20.0}),
    ("vm stop db-7 --yes --grace 3", m.StopVm, {"grace_s": 3.0, "confirmed": True}),
    ("vm reboot db-7 --yes", m.RebootVm, {"confirmed": True}),
    ("vm destroy db-7 --confirm db-7 --keep-disks", m.DestroyVm, {"confirm": "db-7", "keep_disks": True}),
    ("vm migrate db-7 --host kvm-17 --bandwidth-mib-s 100 --copy-local-disks", m.MigrateVm,
     {"host": "kvm-17", "bandwidth_mib_s": 100, "copy_local_disks": True}),
    ("vm resize db-7 --offering m2.small", m.ResizeVm, {"offering": "m2.small"}),
    ("maintain rolling --cluster kvm-a --group-size 2 --yes", mt.MaintainRolling,
     {"target": "kvm-a", "group_size": 2, "reason": "rolling maintenance of kvm-a", "work": "wait", "confirmed": True}),
]  # fmt: skip


@pytest.mark.parametrize(("line", "request_type", "fields"), OPERATIONS)
def test_a_verb_sends_its_request_and_waits(
    fleet: Premises, capsys: pytest.CaptureFixture[str], line: str, request_type: type, fields: dict[str, Any]
) -> None:
    code, out, _ = run(capsys, *line.split())
    assert (code, json.loads(out)["state"]) == (0, "succeeded")
    [request] = fleet.asked
    assert type(request) is request_type
    assert request.request_id
    assert {name: getattr(request, name) for name in fields} == fields


@pytest.mark.parametrize("line", [line for line, _, _ in OPERATIONS if "--yes" in line or "--confirm" in line])
def test_what_is_dangerous_is_refused_unconfirmed(fleet: Premises, capsys: pytest.CaptureFixture[str], line: str) -> None:
    bare = line.replace("--yes", "").partition("--confirm")[0].split()
    code, _, err = run(capsys, *bare)
    assert code == 14
    assert ("--confirm" in err) if "--confirm" in line else ("--yes" in err)
    assert fleet.asked == []


def test_a_dry_run_sends_nothing_else(fleet: Premises, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "host", "maintain", "kvm-17", "--reason", "DIMM", "--dry-run", "--output", "table")
    assert code == 0
    assert "db-7 moves to kvm-03" in out
    for line in ("zone delete paris --confirm paris", "zone create rome", "host disable kvm-17", "host close kvm-17 --yes", "host note kvm-17 x",
                 "offering delete m2.small --confirm m2.small", "vm edit db-7 --tags a"):  # fmt: skip
        assert run(capsys, *line.split(), "--dry-run")[0] == 0
    assert fleet.asked == []


def test_branches_are_made_enabled_and_deleted(fleet: Premises, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "zone", "create", "rome", "--dns", "10.0.0.2", "--dns", "10.0.0.3", "--guest-cidr", "10.1.0.0/16")[0] == 0
    pod_words = "pod create p9 --zone paris --gateway 10.0.0.1 --netmask 255.255.255.0 --start-ip 10.0.0.5 --end-ip 10.0.0.9"
    assert run(capsys, *pod_words.split())[0] == 0
    assert "disabled" in run(capsys, "cluster", "create", "c9", "--zone", "paris", "--pod", "p9", "--output", "text")[1]
    assert run(capsys, "cluster", "enable", "c9")[0] == 0
    assert run(capsys, "host", "disable", "kvm-03")[0] == 0
    assert run(capsys, "pod", "delete", "p9", "--confirm", "p9")[0] == 0
    assert run(capsys, "pod", "delete", "p9", "--yes")[0] == 14
    made_zone, made_pod, made_cluster, enabled, disabled, deleted = fleet.asked
    assert (made_zone.dns, made_zone.guest_cidr, made_zone.network_type) == (("10.0.0.2", "10.0.0.3"), "10.1.0.0/16", "advanced")
    assert (made_pod.zone, made_pod.gateway, made_pod.netmask, made_pod.start_ip, made_pod.end_ip) == (
        "paris", "10.0.0.1", "255.255.255.0", "10.0.0.5", "10.0.0.9",
    )  # fmt: skip
    assert (made_cluster.zone, made_cluster.pod, made_cluster.hypervisor) == ("paris", "p9", "kvm")
    assert [(r.kind, r.target, r.enabled) for r in (enabled, disabled)] == [("cluster", "c9", True), ("host", "kvm-03", False)]
    assert (deleted.kind, deleted.target, deleted.confirm) == ("pod", "p9", "p9")


def test_a_branch_is_shown_by_name_path_or_id(fleet: Premises, capsys: pytest.CaptureFixture[str]) -> None:
    for target, found in (("kvm-a", "c-kvm-a"), ("paris/pod-2/kvm-b", "c-9"), ("c-9", "c-9")):
        assert json.loads(run(capsys, "cluster", "show", target)[1])["id"] == found
    code, _, err = run(capsys, "cluster", "show", "kvm-b")
    assert (code, "paris/pod-1/kvm-b" in err) == (3, True)
    assert run(capsys, "zone", "show", "rome")[0] == 4


def add(capsys: pytest.CaptureFixture[str], fleet: Premises, *more: str) -> tuple[int, str, str]:
    key = str(fleet.door.path.parent.parent / "key")
    return run(capsys, "host", "add", "10.0.0.9", "--cluster", "kvm-a", "--user", "root", "--ssh-key", key, *more)


def test_a_host_is_added_by_the_fingerprint_that_was_given(fleet: Premises, capsys: pytest.CaptureFixture[str]) -> None:
    assert add(capsys, fleet, "--ssh-port", "2222", "--accept-fingerprint", PRINT)[0] == 0
    [request] = fleet.asked
    assert (request.target, request.port, request.private_key, request.accept_fingerprint) == ("10.0.0.9", 2222, KEY, PRINT)


@pytest.mark.parametrize("more", [[], ["--yes"], ["--confirm", "10.0.0.9"]])
def test_without_a_terminal_an_unknown_host_key_is_refused_with_the_flag_to_give(
    fleet: Premises, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    code, _, err = add(capsys, fleet, *more)
    assert code == 14
    assert f"--accept-fingerprint {PRINT}" in err
    code, _, err = add(capsys, fleet, *more, "--output", "json")
    assert json.loads(err)["error"]["details"]["fingerprint"] == PRINT
    assert fleet.asked == []


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("yes", 0), ("", 14), ("n", 14)])
def test_on_a_terminal_the_host_key_is_shown_and_asked_for(
    fleet: Premises, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    monkeypatch.setattr(context.Context, "can_ask", True)
    monkeypatch.setattr(sys, "stdin", Typed(f"{answer}\n"))
    got, _, err = add(capsys, fleet)
    assert (got, PRINT in err) == (code, True)
    assert [request.accept_fingerprint for request in fleet.asked] == ([PRINT] if code == 0 else [])


def test_a_host_needs_a_way_in(fleet: Premises, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "host", "add", "10.0.0.9", "--cluster", "c", "--user", "root")[0] == 2
    assert run(capsys, "host", "add", "10.0.0.9", "--cluster", "c", "--user", "root", "--ssh-key", "/none")[0] == 2
    assert fleet.asked == []


def test_a_password_is_one_line_of_standard_input_or_typed_twice(
    fleet: Premises, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("s3cret pass\nmore\n"))
    assert run(capsys, "cluster", "set-password", "kvm-a", "--record", "--yes")[0] == 0
    assert (fleet.asked[-1].password, fleet.asked[-1].record) == ("s3cret pass", True)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert run(capsys, "cluster", "set-password", "kvm-a", "--yes")[0] == 2
    monkeypatch.setattr(sys, "stdin", Typed())
    typed = iter(["one", "two", "one", "one"])
    monkeypatch.setattr(asking.getpass, "getpass", lambda prompt: next(typed))
    assert run(capsys, "cluster", "set-password", "kvm-a", "--yes")[0] == 2
    assert run(capsys, "cluster", "set-password", "kvm-a", "--yes")[0] == 0
    assert [request.password for request in fleet.asked] == ["s3cret pass", "one"]
    assert "s3cret" not in str(fleet.door.records())


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("04:30", datetime(2026, 11, 21, 4, 30)), ("18:05", datetime(2026, 11, 20, 18, 5)), ("+2h", datetime(2026, 11, 20, 16, 0)),
        ("+1h30m", datetime(2026, 11, 20, 15, 30)), ("+1d", datetime(2026, 11, 21, 14, 0)), ("2026-11-21 04:30", datetime(2026, 11, 21, 4, 30)),
    ],
)  # fmt: skip
def test_a_planned_end_as_a_person_types_it_is_local_time(text: str, wanted: datetime) -> None:
    now = datetime(2026, 11, 20, 14, 0).astimezone()
    assert moment(text, now) == wanted.astimezone()
    assert moment(text, now).tzinfo is not None


def test_a_planned_end_names_a_zone_or_is_refused_when_past() -> None:
    now = datetime(2026, 11, 20, 14, 0, tzinfo=timezone.utc)
    assert moment("2026-11-20T16:00+01:00", now) == datetime(2026, 11, 20, 15, 0, tzinfo=timezone.utc)
    for text in ("2026-11-20T13:00+00:00", "soon", "25:00", "+2", "+h", "2h", "04:60", ""):
        with pytest.raises(ArgumentTypeError):
            moment(text, now)


def test_until_goes_with_its_zone(fleet: Premises, capsys: pytest.CaptureFixture[str]) -> None:
    before = datetime.now(timezone.utc)
    assert run(capsys, "host", "maintain", "kvm-17", "--reason", "DIMM", "--until", "+2h", "--yes")[0] == 0
    end = datetime.fromisoformat(fleet.asked[0].until)
    assert timedelta() <= end - before - timedelta(hours=2) < timedelta(minutes=10)
    with pytest.raises(SystemExit) as caught:
        main(["host", "maintain", "kvm-17", "--reason", "x", "--until", "never"])
    assert caught.value.code == 2


def test_a_forecast_ends_as_maintenance_would(fleet: Premises, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "host", "forecast", "kvm-17")
    assert (code, [move["vm"] for move in json.loads(out)["moves"]]) == (0, ["web-3"])
    out = run(capsys, "host", "forecast", "kvm-17", "--output", "table")[1]
    assert "kvm-05" in out and "could then not lose one more host" in out
    refused = mt.Blocker("capacity", "db-7", "fits nowhere", "free some room")
    fleet.forecast = replace(fleet._ForecastHost(mt.ForecastHost("kvm-17")), refusals=(refused,))
    code, out, _ = run(capsys, "host", "forecast", "kvm-17", "--output", "table")
    assert (code, "db-7: fits nowhere; free some room" in out) == (8, True)


def test_a_session_is_shown_whole_and_changed_by_its_flags(fleet: Premises, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(run(capsys, "host", "session", "kvm-17")[1])
    assert {"host", "resource_state", "step", "reason", "vms", "checklist", "notes", "blockers", "planned_end"} <= set(found)
    out = run(capsys, "host", "session", "kvm-17", "--output", "table")[1]
    assert "copy 71 %" in out and "180 ms" in out and "1 [ ] power off" in out and "op1: DIMM is in the rack drawer" in out
    assert "1 [x] power off" in run(capsys, "host", "session", "kvm-17", "--check", "1", "--step", "verify", "--output", "table")[1]
    assert (fleet.asked[-1].check, fleet.asked[-1].step) == (0, mt.Step.VERIFY)
    assert run(capsys, "host", "note", "kvm-17", "part replaced")[0] == 0
    assert fleet.asked[-1].note == "part replaced"
    assert run(capsys, "host", "retry-moves", "kvm-17")[0] == 0
    assert [row["host"] for row in json.loads(run(capsys, "maintain", "list", "--open")[1])] == ["kvm-17"]
    assert run(capsys, "host", "close", "kvm-17")[0] == 14
    assert run(capsys, "host", "close", "kvm-17", "--yes")[0] == 0
    assert isinstance(fleet.asked[-1], mt.CloseMaintenance) and fleet.asked[-1].confirmed
    assert run(capsys, "host", "session", "kvm-03")[0] == 4


def test_a_rolling_plan_is_only_shown_and_ends_as_it_would(fleet: Premises, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "maintain", "rolling", "--cluster", "kvm-a", "--plan", "--output", "table")
    assert code == 16
    assert "kvm-01 kvm-02" in out and "left out" in out
    assert fleet.asked == []


def test_lists_are_tables_on_a_terminal_and_arrays_in_a_pipe(fleet: Premises, capsys: pytest.CaptureFixture[str]) -> None:
    lists = {
        "zone list": "paris", "pod list": "pod-1", "cluster list": "kvm-a", "host list": "kvm-03", "host list --wide": "kvm-03",
        "host capacity": "kvm-03", "host capacity kvm-17": "kvm-17", "vm list": "db-7", "vm list --host kvm-17 --wide": "web-3",
        "offering list": "m2.small", "patch list": "KB-1", "maintain list": "kvm-17",
    }  # fmt: skip
    for line, first in lists.items():
        assert isinstance(json.loads(run(capsys, *line.split())[1]), list), line
        assert run(capsys, *line.split(), "--output", "text")[1].split("\t")[0] == first, line
        assert first in run(capsys, *line.split(), "--output", "table")[1], line
    [row] = json.loads(run(capsys, "host", "capacity", "kvm-17")[1])
    assert {"raw", "capacity", "used", "reserved"} == set(row["cpu"])
    assert json.loads(run(capsys, "vm", "show", "db-7")[1])["name"] == "db-7"


@pytest.mark.parametrize("form", ["table", "text", "json"])
def test_foreign_text_is_harmless_in_every_form(fleet: Premises, capsys: pytest.CaptureFixture[str], form: str) -> None:
    fleet.hosts = [kvm("kvm-03", error=HOSTILE, location_note=HOSTILE, version=HOSTILE, why_not=HOSTILE, allocatable=False)]
    fleet.vms = {"v-db-7": vm("db-7", error=HOSTILE, tags=(HOSTILE,), ips=(HOSTILE,))}
    fleet.clusters = [cluster("kvm-a", HOSTILE, HOSTILE, mismatch={HOSTILE: HOSTILE})]
    blocker = mt.Blocker("in_use", HOSTILE, HOSTILE, HOSTILE)
    fleet.sessions = {"kvm-03": session("kvm-03", reason=HOSTILE, vms=(evacuee(HOSTILE, "failed", error=HOSTILE),), blockers=(blocker,),
                                        notes=(mt.Note(datetime.now(timezone.utc), HOSTILE, HOSTILE),),
                                        checklist=(mt.CheckItem(HOSTILE, True, HOSTILE),))}  # fmt: skip
    fleet.forecast = mt.ForecastRecord("kvm-03", (), (blocker,), (mt.ForecastMove(HOSTILE, "vm:x", 1, HOSTILE, HOSTILE),), True, 2, 1.0)
    for line in ("host list --wide", "host show kvm-03", "host capacity", "vm list --wide", "vm show db-7", "cluster list", "host session kvm-03",
                 "host forecast kvm-03", "maintain list", "vm logs db-7"):  # fmt: skip
        code, out, err = run(capsys, *line.split(), "--output", form)
        assert code == 0, line
        assert not set("\x1b\x07\x00\r\u202e\x7f\x9b") & set(out + err), line


def test_hosts_and_vms_are_edited_field_by_field(fleet: Premises, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "host", "edit", "kvm-03", "--tags", "ssd, fast", "--note", "rack 4", "--version", "3")[0] == 0
    assert run(capsys, "vm", "edit", "db-7", "--owners", "", "--no-protect")[0] == 0
    host, guest = fleet.asked
    assert (host.tags, host.location_note, host.ssh_user, host.private_key, host.version) == (("ssd", "fast"), "rack 4", None, None, 3)
    assert (guest.tags, guest.owners, guest.destroy_protected, guest.ha) == (None, (), False, None)
    assert run(capsys, "host", "edit", "kvm-03")[0] == 2
    assert run(capsys, "vm", "edit", "db-7")[0] == 2
    assert run(capsys, "cluster", "set-ratio", "kvm-a")[0] == 2
    assert run(capsys, "vm", "create", "x", "--cluster", "c", "--offering", "o", "--image", "i", "--kernel", "k")[0] == 2


def test_patches_are_taken_in_from_a_file(fleet: Premises, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name, form in (("ledger.csv", "csv"), ("ledger.json", "json"), ("ledger", "csv")):
        (tmp_path / name).write_text("text")
        assert run(capsys, "patch", "import", str(tmp_path / name))[0] == 0
        assert (fleet.asked[-1].text, fleet.asked[-1].format, fleet.asked[-1].replace) == ("text", form, False)


def test_offerings_are_made_and_deleted(fleet: Premises, capsys: pytest.CaptureFixture[str]) -> None:
    words = "offering create m4 --cores 4 --mhz 2000 --memory-mib 8192 --limit-cpu"
    assert run(capsys, *words.split())[0] == 0
    assert run(capsys, "offering", "delete", "m4", "--confirm", "m4")[0] == 0
    made, deleted = fleet.asked
    assert (made.name, made.cores, made.mhz, made.memory_mib, made.limit_cpu, made.ha) == ("m4", 4, 2000, 8192, True, False)
    assert (deleted.target, deleted.confirm) == ("m4", "m4")


def test_who_watches_a_wait_sees_the_log_and_how_far_it_is(
    fleet: Premises, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context.Context, "narrates", True)
    fleet.ends = {"state": "running"}
    looks: list[str] = []

    def news(*_: Any) -> int:
        looks.append(capsys.readouterr().err)
        if len(looks) == 2:
            fleet.ends = {"state": "succeeded"}
        return 1

    line = LogLine(1, datetime.now(timezone.utc), "operation", "evacuate", "info", "db-7 moves to kvm-03")
    fleet.door.close()
    fleet.door.handlers["lines.read"] = lambda caller, request: LineBatch((line,) if request.after < 1 else (), max(1, request.after))
    fleet.door.open()
    monkeypatch.setattr(waiting, "_news", news)
    code, out, err = run(capsys, "host", "maintain", "kvm-17", "--reason", "DIMM", "--yes", "--output", "table")
    first = looks[0].split("\n")
    assert (code, first[0]) == (0, "evacuate: db-7 moves to kvm-03")
    assert "kvm-17" in first[1] and "/" in first[1], "how far it is, on the last line"
    assert err.strip(" \r") == "", "and it is gone in the end"
    assert "succeeded" in out


# --- serial lines, of a real door over fake hosts -----------------------------------------------------------------------


@pytest.fixture
def yard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    found = Yard(tmp_path)
    found.fleet.vm("vm", "h1")
    monkeypatch.setenv("FLEET_HOME", str(tmp_path))
    yield found
    found.close()


def test_the_console_is_the_terminal_until_it_is_left(yard: Yard, tmp_path: Path) -> None:
    shell = f"{sys.executable} -m fleet_tui vm console vm; echo left $?; stty -a | tr ' ' '\\n' | grep -x -e echo -e isig -e icanon"
    terminal = Terminal(["/bin/sh", "-c", shell], (100, 40), FLEET_HOME=str(tmp_path))
    try:
        terminal.wait_for(r"ctrl\+\] leaves")
        terminal.press("echo CONSOLE-$((40+2))\r")
        terminal.wait_for(r"CONSOLE-42")
        terminal.press("\x1d")
        terminal.wait_for(r"(?s)left 0.*isig\s+icanon\s+echo")  # the terminal is as it was
    finally:
        terminal.close()
    assert yard.fleet.where("vm") == ("h1",), "the guest goes on"


def test_a_console_ends_with_the_guest(yard: Yard, tmp_path: Path) -> None:
    terminal = Terminal([sys.executable, "-m", "fleet_tui", "vm", "console", "vm"], FLEET_HOME=str(tmp_path))
    try:
        terminal.wait_for(r"ctrl\+\] leaves")
        terminal.press("echo CONSOLE-$((40+2))\r")
        terminal.wait_for(r"CONSOLE-42")
        yard.fleet.links.hypervisor("h1").kill(yard.fleet.row("vm").guest_id)
        terminal.wait_for("the line has ended")
    finally:
        terminal.close()


def test_without_a_terminal_bytes_are_copied_when_asked_for(yard: Yard, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "vm", "console", "vm")[0] == 2
    command = [sys.executable, "-m", "fleet_tui", "vm", "console", "vm", "--output", "text"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdin is not None and program.stdout is not None
        program.stdin.write(b"echo CONSOLE-$((40+2))\n")
        program.stdin.close()
        said = b""
        while b"CONSOLE-42\r\n" not in said and (more := program.stdout.read1(4096)):
            said += more
        assert b"CONSOLE-42\r\n" in said
        yard.fleet.links.hypervisor("h1").kill(yard.fleet.row("vm").guest_id)
        program.stdout.read()
        assert program.wait(30) == 0


def test_a_read_only_session_gets_no_console(yard: Yard, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--read-only", "vm", "console", "vm", "--output", "text")[0] == 13
    assert run(capsys, "vm", "console", "nope", "--output", "text")[0] == 4


def test_logs_are_what_a_guest_said(yard: Yard, capsys: pytest.CaptureFixture[str]) -> None:
    said = [line["text"] for line in json.loads(run(capsys, "vm", "logs", "vm")[1])]
    assert run(capsys, "vm", "logs", "vm", "--output", "text")[1].splitlines()[: len(said)] == said
    later = [line["text"] for line in json.loads(run(capsys, "vm", "logs", "vm", "--since", str(len(said[0])))[1])]
    assert said and said[0] not in later


def test_logs_are_cleaned_and_followed_line_by_line(fleet: Premises, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = ["Linux 6.1 booting", "[  OK  ] started everything", "tick 41", "tick 42"]
    assert run(capsys, "vm", "logs", "db-7", "--output", "text")[1].splitlines() == [*wanted, "login: "]
    assert [line["text"] for line in json.loads(run(capsys, "vm", "logs", "db-7")[1])] == [*wanted, "login: "]

    def gone(_caller: Any, request: m.ReadGuestLog) -> m.GuestLog:
        if request.after:
            raise NotFound("it is gone")
        return fleet._ReadGuestLog(request)

    fleet.door.close()
    fleet.door.handlers["vms.log"] = gone
    fleet.door.open()
    code, out, _ = run(capsys, "vm", "logs", "db-7", "--follow")
    assert (code, [json.loads(line)["text"] for line in out.splitlines()]) == (4, wanted)


def test_the_weights_on_a_host(fleet: Premises, capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(run(capsys, "host", "capacity", "kvm-03", "--weights")[1]) == [
        {"vm": "db-7", "weight": 4000, "share": 1.0, "guaranteed_mhz": 4000, "alone_mhz": 4800},
    ]  # fmt: skip
    out = run(capsys, "host", "capacity", "kvm-03", "--weights", "--output", "table")[1]
    assert "AT LEAST MHZ" in out and "4,800" in out and "100 %" in out
    assert run(capsys, "host", "capacity", "--weights")[0] == 2
