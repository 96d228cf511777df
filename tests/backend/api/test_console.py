"""A guest's serial line through the real door: ticket, bytes both ways, who may, and what is on record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleet_tui.backend.api import consoles
from fleet_tui.backend.api.client import Client
from fleet_tui.backend.api.connection import Connection
from fleet_tui.backend.api.consoles import Consoles
from fleet_tui.backend.api.dispatch import Dispatcher, Handler
from fleet_tui.backend.api.machines_answers import MachineAnswers
from fleet_tui.backend.api.relay import Relay
from fleet_tui.backend.api.server import Server, UnixListener
from fleet_tui.backend.errors import Busy, PermissionDenied, ReadOnly, Unreachable, WrongState
from fleet_tui.backend.hosts.rows import HostRow, ZoneRow
from fleet_tui.backend.identity import Role
from fleet_tui.backend.machines import (
    CreateOffering,
    CreateVm,
    DeleteOffering,
    EditVm,
    ListOfferings,
    ListVms,
    MigrateVm,
    OpenConsole,
    PlanPlacement,
    PreviewRatio,
    ReadGuestLog,
    ShowCapacity,
    ShowVm,
    StartVm,
)
from fleet_tui.backend.machines.states import VmState
from fleet_tui.backend.store import Store, sqlite_url
from fleet_tui.backend.store.migrations.tables import every_table
from tests.backend.machines.desk import Desk
from tests.backend.machines.yard import GIB, Fleet
from tests.doors import Door
from tests.waiting import until


class Yard:
    def __init__(self, folder: Path) -> None:
        store = Store(sqlite_url(folder / "fleet.db"))
        every_table()
        store.create_all()
        self.fleet = Fleet(store)
        self.fleet.hosts("h1", "h2")
        self.door = Door(store, folder / "run" / "fleetd.sock")
        self.consoles = Consoles(self.door.audit)
        self.desk = Desk(self.fleet)
        answers = MachineAnswers(store, self.desk.submission, self.fleet.machines, self.consoles)
        self.door.handlers.update(answers.table())
        dispatcher = Dispatcher(self.door.handlers, self.door.users, self.door.audit, answers.owners)
        self.server = Server(dispatcher, grace_s=1.0, consoles=self.consoles)
        self.server.start([UnixListener(self.door.path)])

    def client(self, **options) -> Client:
        return Client(self.door.path, **options)

    def submits(self, kind: str) -> Handler:
        return lambda caller, request: self.desk.submission.submit(kind, request, caller.user)

    def close(self) -> None:
        self.server.stop()
        self.consoles.close()
        self.fleet.store.close()


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    found = Yard(tmp_path)
    found.fleet.vm("vm", "h1")
    yield found
    found.close()


def hears(relay: Relay, wanted: bytes) -> bytes:
    """Everything said until that has been."""
    said = b""

    def heard() -> bool:
        nonlocal said
        said += relay.receive(0.05) or b""
        return wanted in said

    until(heard)
    return said


def ends(relay: Relay) -> Callable[[], bool]:
    return lambda: relay.receive(0.05) is None


def test_bytes_go_both_ways(yard: Yard) -> None:
    relay = yard.client().console("vm")
    relay.send(b"echo CONSOLE-$((40+2))\n")
    assert b"CONSOLE-42" in hears(relay, b"CONSOLE-42\r\n")
    big = b"x" * 200_000
    relay.send(b"echo " + big + b"\n")
    assert hears(relay, big + b"\r\n/ # ").count(b"x") == 2 * len(big), "typed, echoed, answered: not a byte is lost"
    relay.close()


def test_it_ends_with_the_guest_and_the_guest_does_not_end_with_it(yard: Yard) -> None:
    first, second = yard.client().console("vm"), yard.client().console("vm")
    first.send(b"hostname\n")
    hears(first, b"vm\r\n")
    first.close()
    assert yard.fleet.where("vm") == ("h1",)
    second.send(b"hostname\n")
    hears(second, b"vm\r\n")
    yard.fleet.links.hypervisor("h1").kill(yard.fleet.row("vm").guest_id)
    until(ends(second))
    second.close()


def test_it_is_on_record_from_its_ticket_to_its_end(yard: Yard) -> None:
    relay = yard.client().console("vm")
    relay.send(b"hostname\n")
    hears(relay, b"vm\r\n")
    relay.close()

    def told() -> list[tuple[str, str]]:
        return [(record.decision, record.result) for record in yard.door.records() if record.action == "vms.console" and record.object == "vm"]

    until(lambda: len(told()) == 3)
    assert told()[0] == ("allowed", "") and told()[1] == ("outcome", "ok")
    assert told()[2][0] == "outcome" and "9 bytes typed" in told()[2][1]


def test_only_who_may_drive_vms_gets_one_and_nobody_who_only_reads(yard: Yard) -> None:
    with pytest.raises(ReadOnly):
        yard.client(read_only=True).console("vm")
    for role in (Role.MONITOR, Role.AUDITOR):
        yard.door.become(role)
        with pytest.raises(PermissionDenied):
            yard.client().console("vm")
    yard.door.become(Role.OPERATOR)
    yard.client().console("vm").close()


def test_a_ticket_is_good_once_for_its_own_session_and_not_for_long(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    client, other = yard.client(), yard.client()
    ticket = client.call(OpenConsole("vm"))

    def knock(token: str, session: str, read_only: str = "") -> int:
        relay = Relay(yard.door.path, ticket.path, {"Fleet-Session": session, "Fleet-Ticket": token, "Fleet-Read-Only": read_only}, 10.0)
        relay.close()
        return relay.status

    assert knock("", client.record.id) == knock("made-up", client.record.id) == 401
    assert knock(ticket.token, other.record.id) == knock(ticket.token, "") == 401
    assert knock(ticket.token, client.record.id, "1") == 403
    assert knock(ticket.token, client.record.id) == 200
    assert knock(ticket.token, client.record.id) == 401
    monkeypatch.setattr(consoles, "VALID_S", -1.0)
    assert knock(client.call(OpenConsole("vm")).token, client.record.id) == 401


def test_one_who_loses_the_right_loses_the_console(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consoles, "_RECHECK_S", 0.05)
    monkeypatch.setattr(consoles, "_READ_S", 0.02)
    relay = yard.client().console("vm")
    relay.send(b"hostname\n")
    hears(relay, b"vm\r\n")
    yard.door.become(Role.MONITOR)
    until(ends(relay))
    relay.close()


def test_there_are_only_so_many(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consoles, "MOST", 2)
    open_ones = [yard.client().console("vm") for _ in range(2)]
    with pytest.raises(Busy):
        yard.client().console("vm")
    for relay in open_ones:
        relay.close()

    def one_more() -> Relay | None:
        try:
            return yard.client().console("vm")
        except Busy:
            return None

    until(one_more).close()


def test_a_vm_that_is_off_has_none_and_a_host_that_is_silent_says_so(yard: Yard) -> None:
    yard.fleet.vm("off", "h1", VmState.STOPPED)
    with pytest.raises(WrongState, match="has no console"):
        yard.client().console("off")
    yard.fleet.world.cut_link("h1")
    with pytest.raises(Unreachable):
        yard.client().console("vm")


def test_without_a_ticket_the_path_is_nothing(yard: Yard) -> None:
    connection = Connection(yard.door.path)
    status, data = connection.post("/v1/console", {}, b"{}", 10.0)
    assert status == 401 and b"ticket" in data
    connection.close()


def test_the_reads_and_changes_answer_through_the_door(yard: Yard) -> None:
    client = yard.client()
    made = client.call(CreateOffering(name="tiny", cores=1, mhz=500, memory_mib=256))
    assert {offering.name: offering.vms for offering in client.call(ListOfferings())} == {"small": 1, "tiny": 0}
    page = client.call(ListVms(host="h1"))
    assert [vm.name for vm in page.vms] == ["vm"] and page.total == 1
    assert client.call(ShowVm("vm")).state is VmState.RUNNING
    assert client.call(EditVm("vm", tags=("b", "a"), owners=("bob",), destroy_protected=False)).tags == ("a", "b")
    with pytest.raises(WrongState):
        client.call(EditVm("vm", tags=("x",), version=1))
    for request, count in ((ShowCapacity(), 2), (ShowCapacity("h1"), 1), (ShowCapacity("c", "cluster"), 1), (ShowCapacity("z", "zone"), 1)):
        assert len(client.call(request)) == count
    assert client.call(ShowCapacity("h1"))[0].ram.used == 4 * GIB
    assert client.call(PlanPlacement(vm="vm")).host == "h2"
    preview = client.call(PreviewRatio("c", ram=2.0))
    assert preview.old_ratio_vms == ("vm",) and preview.balloon_unknown == ("vm",)
    log = client.call(ReadGuestLog("vm"))
    assert log.text.startswith("GUEST-READY vm\n") and log.position == len(log.text)
    client.call(DeleteOffering(made.name, confirm="tiny"))
    assert [offering.name for offering in client.call(ListOfferings())] == ["small"]


def test_a_dry_run_names_the_host_and_changes_nothing(yard: Yard) -> None:
    client = yard.client()
    yard.fleet.vm("off", "h2", VmState.STOPPED)
    asked = (
        CreateVm(target="web", cluster="c", offering="small", disk_mib=64, dry_run=True), StartVm(target="off", dry_run=True),
        MigrateVm(target="vm", dry_run=True),
    )  # fmt: skip
    for request in asked:
        assert " to h2" in client.call(request).plan.changes[-1], request
    yard.fleet.set(HostRow, "h2", resource_state="Maintenance")
    plan = client.call(asked[-1]).plan
    assert [refusal.code for refusal in plan.refusals] == ["capacity"] and "h2: the host is Maintenance" in plan.against
    assert [vm.name for vm in client.call(ListVms()).vms] == ["off", "vm"]


def test_the_role_behind_the_door_decides_about_a_disabled_zone(yard: Yard) -> None:
    yard.fleet.set(ZoneRow, "z", allocation="Disabled")
    request = CreateVm(target="web", cluster="c", offering="small", disk_mib=64, dry_run=True)
    plan = yard.client().call(request).plan
    assert not plan.refusals and " to h2" in plan.changes[-1] and "zone z is disabled" in plan.consequences[-1]
    assert yard.client().call(PlanPlacement("c", "small")).host == "h2"
    yard.door.become(Role.OPERATOR)
    assert [refusal.code for refusal in yard.client().call(request).plan.refusals] == ["permission_denied"]
    assert yard.client().call(PlanPlacement("c", "small")).host == ""
