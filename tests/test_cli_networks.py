"""The command line of physical networks, IDs and guest networks over a real door: forms, what is asked before IDs go, output, exit codes."""

from __future__ import annotations

import csv
import io
import json
from argparse import ArgumentTypeError
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet_tui.backend import networks as n
from fleet_tui.backend.api import METHODS, Done, method_of
from fleet_tui.backend.events import EventBatch
from fleet_tui.backend.identity import Role
from fleet_tui.backend.networks.states import GuestType, NetworkState, OwnerKind, VlanState
from fleet_tui.backend.operations import OperationRequest, Plan, Submitted
from fleet_tui.backend.store import Store, sqlite_url
from fleet_tui.backend.telemetry import LineBatch
from fleet_tui.cli import context, main
from fleet_tui.cli.networks import ids, label
from fleet_tui.cli.parser import build
from tests.doors import Door
from tests.fleet_stub import operation
from tests.networks_stub import NetworksStub, guest_net
from tests.test_cli_infrastructure import HOSTILE, Typed

NET = "guest-net-1"


class Fabric(NetworksStub):
    """Physical networks behind a real door: what was asked, and what becomes of it."""

    def __init__(self, door: Door) -> None:
        self.begin_networks()
        row, rows = guest_net()
        self.put_physical(row, *rows)
        self.asked: list[Any] = []
        self.door = door
        self.guests: list[n.NetworkRecord] = [guest("shop-front", 640), guest("mail", None, state=NetworkState.ALLOCATED)]
        mine = [m for m in METHODS.values() if m.takes.startswith("networks.")]
        door.handlers.update({m.name: self._submit if m.gives == "operations.Submitted" else self._answer for m in mine})
        door.handlers.update({
            "operations.show": lambda caller, request: operation(request.id, NET, state="succeeded"),
            "events.after": lambda caller, request: EventBatch((), max(1, request.cursor)),
            "lines.read": lambda caller, request: LineBatch((), request.after),
        })  # fmt: skip

    def touch(self, ref: str, type_: str = "object.changed", text: str = "") -> None:
        pass

    def _answer(self, _caller: Any, request: Any) -> Any:
        if not method_of(request).read:
            self.asked.append(request)
        return getattr(self, f"_{type(request).__name__}")(request)

    def _submit(self, _caller: Any, request: OperationRequest) -> Submitted:
        if request.dry_run:
            return Submitted(plan=Plan("k", "repair", request.target, ("look", "act"), ("br-655 is made on kvm-03",), ("1 interface is made",)))
        self.asked.append(request)
        return Submitted(operation("o-1", request.target))

    def _ListNetworks(self, _request: n.ListNetworks) -> tuple[n.NetworkRecord, ...]:
        return tuple(self.guests)

    def _ShowNetwork(self, request: n.ShowNetwork) -> n.NetworkRecord:
        return next(row for row in self.guests if row.name == request.target)

    def _CreateNetwork(self, request: n.CreateNetwork) -> n.NetworkRecord:
        return guest(request.name, request.vlan, state=NetworkState.SETUP if request.vlan else NetworkState.ALLOCATED)

    def _DeleteNetwork(self, request: n.DeleteNetwork) -> Done:
        return Done(f"{request.target} deleted")

    def _ListNetworkOfferings(self, _request: n.ListNetworkOfferings) -> tuple[n.NetworkOfferingRecord, ...]:
        return (n.NetworkOfferingRecord("no-1", "isolated", GuestType.ISOLATED, False, False, 2),)

    def _CreateNetworkOffering(self, request: n.CreateNetworkOffering) -> n.NetworkOfferingRecord:
        return n.NetworkOfferingRecord("no-2", request.name, request.guest_type, request.specify_vlan, request.persistent, 0)

    def _DeleteNetworkOffering(self, request: n.DeleteNetworkOffering) -> Done:
        return Done(f"{request.target} deleted")


def guest(name: str, vlan: int | None, **fields: Any) -> n.NetworkRecord:
    values: dict[str, Any] = {
        "id": f"n-{name}", "name": name, "offering": "isolated", "guest_type": GuestType.ISOLATED, "physical": NET, "zone": "paris",
        "state": NetworkState.IMPLEMENTED, "vlan": vlan, "has_vlan": vlan is not None, "specified": False, "cidr": "10.1.40.0/24",
        "gateway": "10.1.40.1", "owner_kind": OwnerKind.ACCOUNT, "owner": "shop", "nics": 3, "running": 2, "hosts": 2,
    }  # fmt: skip
    return n.NetworkRecord(**{**values, **fields})


@pytest.fixture
def fabric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fabric]:
    store = Store(sqlite_url(tmp_path / "fleet.db"))
    store.create_all()
    door = Door(store, tmp_path / "run" / "fleetd.sock")
    found = Fabric(door)
    door.open()
    monkeypatch.setenv("FLEET_HOME", str(tmp_path))
    yield found
    door.close()
    store.close()


def run(capsys: pytest.CaptureFixture[str], line: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(line.split())
    said = capsys.readouterr()
    return code, said.out, said.err


FORMS = [
    "physnet create x --zone Z --isolation VLAN --nic-label kvm=eth1 --ranges 600-799,820", "physnet list", "physnet list --zone Z",
    *(f"physnet {verb} x" for verb in ("show", "enable", "disable", "delete", "enable --nic-label kvm=eth1", "edit --nic-label kvm=eth1")),
    *(f"vlan {verb} NET 600-799,820 --dry-run" for verb in ("set-ranges", "add-ranges", "remove-ranges")), "vlan scope NET 600-699 guest-pool",
    "vlan template NET", "vlan list NET", "vlan list NET --state free --owner shop --limit 5", "vlan show NET 640",
    *(f"vlan dedicate NET 600-649 --{kind} x" for kind in ("account", "project", "domain")), "vlan release NET 600-649",
    *(f"vlan {verb} NET" for verb in ("drift", "repair", "repair --remove-extra --host h", "sweep", "export", "export --format csv")),
    "network create x --offering O --physnet NET --vlan 640 --cidr 10.1.0.0/24 --gateway 10.1.0.1 --account X",
    *(f"network {verb} x" for verb in ("show", "delete", "restart")), "network list", "network list --physnet NET",
    "network-offering create x --guest-type vpc-tier --specify-vlan --persistent", "network-offering list", "network-offering delete x",
    "vnet list", "pane vlans NET",
]  # fmt: skip


def test_the_fixed_forms_parse() -> None:
    parser = build()
    for form in FORMS:
        assert callable(parser.parse_args(form.split()).run), form


@pytest.mark.parametrize("word", ["700-600", "x", "-1", "1-", "", "1-2-3", "\u0661", "12345678901"])
def test_what_is_no_range_is_a_wrong_command_line(word: str) -> None:
    with pytest.raises(ArgumentTypeError):
        ids(word)


def test_ids_and_labels_are_read() -> None:
    assert (ids("640"), ids("600-649"), label("vsphere=vSwitch=1")) == ((640, 640), (600, 649), ("vsphere", "vSwitch=1"))
    for word in ("kvm", "=eth1", "kvm="):
        with pytest.raises(ArgumentTypeError):
            label(word)


CHANGES: list[tuple[str, Any]] = [
    ("physnet create lan --zone paris --nic-label kvm=eth1 --nic-label xenserver=xenbr1 --ranges 10-19 --isolation VXLAN",
     n.CreatePhysicalNetwork("lan", "paris", n.Isolation.VXLAN, {"kvm": "eth1", "xenserver": "xenbr1"}, "10-19")),
    (f"physnet enable {NET}", n.EditPhysicalNetwork(NET, True, None)), (f"physnet disable {NET}", n.EditPhysicalNetwork(NET, False, None)),
    (f"physnet enable {NET} --nic-label xenserver=x1", n.EditPhysicalNetwork(NET, True, {"kvm": "eth1", "xenserver": "x1"})),
    (f"physnet edit {NET} --nic-label kvm=eth9", n.EditPhysicalNetwork(NET, None, {"kvm": "eth9"})),
    (f"physnet delete {NET} --confirm {NET}", n.DeletePhysicalNetwork(NET, NET)),
    (f"vlan scope {NET} 600-649 guest-shared", n.SetScope(NET, 600, 649, n.Scope.GUEST_SHARED)), (f"vlan template {NET}", n.ApplyTemplate(NET)),
    (f"vlan dedicate {NET} 900-909 --project billing", n.Dedicate(NET, 900, 909, OwnerKind.PROJECT, "billing")),
    (f"vlan release {NET} 700-709", n.ReleaseDedication(NET, 700, 709)),
    ("network create n1 --offering isolated --physnet guest-net-1 --domain root", n.CreateNetwork("n1", "isolated", NET, None, "", "", OwnerKind.DOMAIN, "root")),
    (f"network create n2 --offering s --physnet {NET} --vlan 805 --cidr 10.2.0.0/24 --gateway 10.2.0.1",
     n.CreateNetwork("n2", "s", NET, 805, "10.2.0.0/24", "10.2.0.1")),
    ("network delete mail --confirm mail", n.DeleteNetwork("mail", "mail")),
    ("network-offering create tier --guest-type vpc-tier --specify-vlan", n.CreateNetworkOffering("tier", GuestType.VPC_TIER, True, False)),
    ("network-offering delete isolated --confirm isolated", n.DeleteNetworkOffering("isolated", "isolated")),
]  # fmt: skip


@pytest.mark.parametrize(("line", "request_"), CHANGES, ids=[line.partition(" --")[0] for line, _ in CHANGES])
def test_a_change_is_what_was_typed(fabric: Fabric, capsys: pytest.CaptureFixture[str], line: str, request_: Any) -> None:
    code, _, err = run(capsys, line)
    assert (code, fabric.asked) == (0, [request_]), err


@pytest.mark.parametrize(
    ("line", "kind", "fields"),
    [
        (f"vlan drift {NET}", n.CheckDrift, {}), (f"vlan repair {NET} --yes", n.RepairDrift, {"remove_extra": False, "confirmed": True}),
        (f"vlan repair {NET} --remove-extra --host kvm-03 --yes", n.RepairDrift, {"remove_extra": True, "host": "kvm-03"}),
        (f"vlan sweep {NET} --yes", n.SweepVlans, {"confirmed": True}), ("network restart mail --yes", n.RestartNetwork, {"target": "mail"}),
    ],
)  # fmt: skip
def test_an_operation_is_sent_and_waited_for(fabric: Fabric, capsys: pytest.CaptureFixture[str], line: str, kind: type, fields: dict[str, Any]) -> None:
    code, out, _ = run(capsys, line)
    assert (code, json.loads(out)["state"]) == (0, "succeeded")
    [request] = fabric.asked
    assert type(request) is kind and {name: getattr(request, name) for name in fields} == fields


@pytest.mark.parametrize(
    "line", [f"vlan repair {NET}", f"vlan sweep {NET}", f"vlan set-ranges {NET} 600-799", f"physnet delete {NET}", "network delete mail",
             "network restart mail", "network-offering delete isolated"],
)  # fmt: skip
def test_what_takes_something_away_is_refused_unconfirmed(fabric: Fabric, capsys: pytest.CaptureFixture[str], line: str) -> None:
    fabric.takings["pn-guest-net-1"].clear()
    code, _, err = run(capsys, line)
    assert ((code, fabric.asked) == (14, []) and "--yes" in err) or "--confirm" in err


def test_ranges_are_shown_as_a_difference_and_only_what_removes_is_asked_for(
    fabric: Fabric, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = run(capsys, f"vlan remove-ranges {NET} 4000-4094 --dry-run --output text")
    assert (code, out.splitlines()) == (0, ["removed 95 IDs: 4000-4094", "ranges  1-3999"])
    assert json.loads(run(capsys, f"vlan set-ranges {NET} 1-4094 --dry-run")[1])["is_unchanged"]
    assert "unchanged" in run(capsys, f"vlan set-ranges {NET} 1-4094 --output text")[1]
    assert fabric.asked.pop() == n.SetRanges(NET, "1-4094", "set", False, "1-4094")
    assert run(capsys, f"vlan remove-ranges {NET} 4000-4094 --yes")[0] == 0
    assert fabric.asked.pop() == n.SetRanges(NET, "4000-4094", "remove", True, "1-4094")
    code, out, _ = run(capsys, f"vlan add-ranges {NET} 4090 --output text")
    assert (code, "added   1 ID: 4090" in out) == (0, True)
    assert not fabric.asked.pop().confirmed
    monkeypatch.setattr(context.Context, "can_ask", True)
    monkeypatch.setattr("sys.stdin", Typed("n\ny\n"))
    code, _, err = run(capsys, f"vlan remove-ranges {NET} 4090")
    assert (code, "removed 1 ID: 4090" in err, fabric.asked) == (14, True, [])
    assert run(capsys, f"vlan remove-ranges {NET} 4090")[0] == 0


def test_refusals_have_the_exit_codes_of_their_kind(fabric: Fabric, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, f"vlan set-ranges {NET} 1-100 --yes")
    assert (code, "is allocated to network" in err) == (16, True)
    code, _, err = run(capsys, f"vlan set-ranges {NET} 1-9999 --dry-run")
    assert (code, "'1-9999'" in err) == (3, True)
    assert run(capsys, "vlan show nothing 5")[0] == 4
    assert run(capsys, f"vlan dedicate {NET} 900-909")[0] == 2
    assert run(capsys, f"vlan dedicate {NET} 900-909 --account a --project b")[0] == 2
    assert run(capsys, f"physnet edit {NET}")[0] == 2
    for line in (f"vlan template {NET}", f"vlan scope {NET} 5-9 public", f"physnet enable {NET}"):
        assert run(capsys, f"{line} --dry-run")[0] == 0
    with pytest.raises(SystemExit) as ended:
        main(["vlan", "scope", NET, "9-5", "public"])
    assert ended.value.code == 2
    assert fabric.asked == []


def test_lists_and_records(fabric: Fabric, capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "physnet list --output table")[1]
    assert out.split("\n")[0].split()[:6] == ["NETWORK", "ZONE", "STATE", "KIND", "CARDS", "FREE"] and "kvm=eth1" in out
    assert json.loads(run(capsys, f"physnet show {NET}")[1])["counts"]["reserved"] == 3095
    out = run(capsys, f"vlan list {NET} --output table")[1]
    assert "shop-front" in out and "account bank" in out and "orphan" in out
    rows = json.loads(run(capsys, f"vlan list {NET} --state free")[1])
    assert [row["number"] for row in rows][:3] == [739, 756, 757]
    code, out, err = run(capsys, f"vlan list {NET} --state reserved --limit 1200")
    assert (code, len(json.loads(out)), "first 1,200" in err) == (0, 1200, True)
    assert json.loads(run(capsys, f"vlan show {NET} 640")[1])["network"] == "shop-front"
    out = run(capsys, "network list --output table")[1]
    assert "VLAN" in out and "640" in out and "2/3" in out
    assert "isolated" in run(capsys, "network-offering list --output table")[1]
    assert "from the pool" in run(capsys, "network-offering list --output table")[1]


def test_who_may_not_see_ids_has_no_column_for_them(fabric: Fabric, capsys: pytest.CaptureFixture[str]) -> None:
    fabric.guests = [guest("shop-front", None, has_vlan=True)]
    assert "VLAN" not in run(capsys, "network list --output table")[1]
    fabric.door.become(Role.OPERATOR)
    for line in ("physnet list", f"vlan list {NET}", f"vlan show {NET} 640", f"vlan export {NET}", f"vlan set-ranges {NET} 5 --dry-run"):
        code, out, _ = run(capsys, line)
        assert (code, out) == (5, ""), line


def test_the_map_is_exported(fabric: Fabric, capsys: pytest.CaptureFixture[str]) -> None:
    assert " 700 DDDDdddddd ##o#######" in run(capsys, f"vlan export {NET} --output text")[1]
    rows = list(csv.DictReader(io.StringIO(run(capsys, f"vlan export {NET} --format csv")[1])))
    assert {"first": "640", "last": "640", "state": "allocated", "scope": "guest-pool", "network": "shop-front", "owner": "account shop", "drift": ""} in rows
    whole = json.loads(run(capsys, f"vlan export {NET} --output json")[1])
    assert whole["counts"] == fabric.physicals["pn-guest-net-1"].counts


def test_foreign_text_reaches_no_terminal(fabric: Fabric, capsys: pytest.CaptureFixture[str]) -> None:
    row = fabric.physicals["pn-guest-net-1"]
    fabric.put_physical(row, n.TakenRecord(605, VlanState.ALLOCATED, HOSTILE, HOSTILE))
    fabric.guests = [guest(HOSTILE, 605, owner=HOSTILE, error=HOSTILE)]
    lines = (f"vlan list {NET}", f"vlan show {NET} 605", "network list", f"vlan export {NET}", f"vlan export {NET} --format csv")
    for line in lines:
        for form in ("table", "text", "json"):
            out = run(capsys, f"{line} --output {form}")[1]
            assert out and not set(out) & {"\x1b", "\x07", "\u202e", "\x00", "\r"}, (line, form)
