"""The maintenance screen: what is shown at every step, what each key does, and what stays when something is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from fleet_tui.backend import maintenance as mt
from fleet_tui.backend.errors import InvalidInput
from fleet_tui.backend.hosts import ShowHost
from fleet_tui.backend.identity import Role
from fleet_tui.backend.machines import MigrateVm
from fleet_tui.screens.evacuation import ordered
from fleet_tui.screens.maintain import moment
from fleet_tui.screens.maintenance import MaintenanceScreen
from fleet_tui.screens.maintenance_facts import next_step
from tests.fleet_stub import NOW, StubSession
from tests.infrastructure_stub import EVACUEES, evacuee, kvm, session
from tests.screens.console import console, eventually, front, picture, press, toasts, type_in
from tests.screens.infrastructure import hosts_fleet, ready

KVM_17 = ("3", "slash", *"kvm-17", "enter", "m")


def sent(stub: StubSession, kind: type) -> list[object]:
    return [c for c in stub.calls if isinstance(c, kind) and not getattr(c, "dry_run", False)]


async def test_everything_a_tired_person_needs_at_80x24() -> None:
    async with console(hosts_fleet(), (80, 24)) as pilot:
        await press(pilot, *KVM_17)
        seen = picture(pilot)
        for words in (
            "■ Preparing for maintenance  2m 10s", "1 2 [3] 4 5 6 7 8 9  prepare", "replace DIMM A3 · until 16:30 UTC · ticket 4711",
            "9 moved  2 moving  2 waiting  1 blocked", "2 at once", "✗ gpu-02", "copy", "71 %", "kvm-03", "2/5", "41 s, down 180 ms",
            "1.9 GiB/s, 4.6 GiB left", "─ blocked ─", "Stop it by hand", "T retry now", "C cancel maintenance",
        ):  # fmt: skip
            assert words in seen, words
        lines = seen.splitlines()
        assert len(lines) == 24 and all(len(line) == 80 for line in lines)


async def test_a_cancelled_maintenance_says_so_while_moves_end() -> None:
    stub = hosts_fleet()
    row = next(host for host in stub.hosts if host.name == "kvm-17")
    stub.hosts[stub.hosts.index(row)] = replace(row, operation_id="o-other", operation="cancel maintenance waiting")
    async with console(stub, (80, 24)) as pilot:
        await press(pilot, *KVM_17)
        assert "cancel maintenance waiting: the moves that are at work end first" in picture(pilot)


async def test_what_needs_a_person_comes_first() -> None:
    rows = ordered(EVACUEES)
    assert [row.vm for row in rows[:4]] == ["gpu-02", "db-7", "mail-1", "ci-12"]
    assert rows[-1].state is mt.MoveState.MOVED


async def test_progress_is_one_question_at_a_time_however_fast_it_is_told() -> None:
    stub = hosts_fleet()
    async with console(stub) as pilot:
        await press(pilot, *KVM_17)
        stub.calls.clear()
        for percent in range(72, 90):
            rows = tuple(replace(v, percent=percent) if v.vm == "db-7" else v for v in stub.sessions["kvm-17"].vms)
            stub.sessions["kvm-17"] = replace(stub.sessions["kvm-17"], vms=rows)
            stub.touch("vm:v-db-7")
        await eventually(pilot, lambda: "89 %" in picture(pilot))
        assert len(sent(stub, mt.ShowMaintenance)) <= 6


async def test_the_cursor_stays_on_its_vm_while_states_change() -> None:
    stub = hosts_fleet()
    async with console(stub) as pilot:
        await press(pilot, *KVM_17, "j")
        screen = front(pilot)
        assert isinstance(screen, MaintenanceScreen)
        row = stub.sessions["kvm-17"]
        moved = tuple(replace(v, state=mt.MoveState.MOVED) if v.vm == "db-7" else v for v in row.vms)
        stub.put_session(replace(row, vms=moved))
        await eventually(pilot, lambda: "10 moved" in picture(pilot))
        assert screen.vms.cursor_key == "vm:v-db-7"


async def test_without_a_session_it_shows_the_forecast_and_changes_nothing() -> None:
    stub = hosts_fleet()
    async with console(stub) as pilot:
        await press(pilot, "3", "j", "j", "m")
        seen = picture(pilot)
        assert "Forecast: nothing is changed" in seen and "8 would move" in seen and "not N+1" in seen and "M starts the maintenance" in seen
        assert not sent(stub, mt.MaintainHost)


async def test_starting_needs_a_reason_and_keeps_what_was_typed() -> None:
    stub = hosts_fleet()
    async with console(stub, (80, 24)) as pilot:
        await press(pilot, "3", "j", "j", "m", "M")
        await eventually(pilot, lambda: "8 would move" in picture(pilot))
        assert "could not lose one more host" in picture(pilot) and "crash-1" in picture(pilot)
        await press(pilot, "tab")
        await type_in(pilot, "4711")
        await press(pilot, "ctrl+o")
        assert "say why" in picture(pilot) and "4711" in picture(pilot)
        assert not sent(stub, mt.MaintainHost)
        await type_in(pilot, "replace DIMM A3")
        await press(pilot, "tab", "tab")
        await type_in(pilot, "yesterday")
        await press(pilot, "ctrl+o")
        assert "04:30, +2h" in picture(pilot) and "replace DIMM A3" in picture(pilot)
        await press(pilot, *["backspace"] * 9)
        await type_in(pilot, "+2h")
        await press(pilot, "ctrl+o")
        request = sent(stub, mt.MaintainHost)[0]
        assert isinstance(request, mt.MaintainHost)
        assert (request.target, request.reason, request.ticket, request.allow_stop) == ("h-kvm-05", "replace DIMM A3", "4711", False)
        assert request.until == (NOW + timedelta(hours=2)).isoformat() and request.confirmed and request.request_id
        await eventually(pilot, lambda: "Preparing for maintenance" in picture(pilot))


async def test_the_key_that_opens_the_dialog_does_not_confirm_it() -> None:
    stub = hosts_fleet()
    async with console(stub) as pilot:
        await press(pilot, "3", "j", "j", "m", "M", "M", "m", "y", "enter", "enter", "enter", "escape")
        assert not sent(stub, mt.MaintainHost)


@pytest.mark.parametrize(("role", "dimmed"), [(Role.OPERATOR, True), (Role.ADMIN, False)])
async def test_who_may_not_stop_vms_sees_why(role: Role, dimmed: bool) -> None:
    stub = hosts_fleet(role)
    async with console(stub) as pilot:
        await press(pilot, "3", "j", "j", "m", "M")
        assert ("the role operator may not" in picture(pilot)) is dimmed
        await type_in(pilot, "why")
        await press(pilot, "tab", "tab", "tab", "space", "ctrl+o")
        request = sent(stub, mt.MaintainHost)[0]
        assert isinstance(request, mt.MaintainHost)
        assert request.allow_stop is not dimmed


async def test_the_whole_session_by_its_one_key() -> None:
    stub = ready(hosts_fleet())
    async with console(stub, (80, 24)) as pilot:
        await press(pilot, *KVM_17)
        assert "Ready for maintenance" in picture(pilot) and "[4]" in picture(pilot)
        await press(pilot, "M")
        await eventually(pilot, lambda: "[5]" in picture(pilot))
        await press(pilot, "M", "space", "space", "space", "space", "escape")
        await eventually(pilot, lambda: "see that the host is well" in picture(pilot))
        assert [(c.done, c.by) for c in stub.sessions["kvm-17"].checklist] == [(True, "op1")] * 4
        await press(pilot, "M")
        await eventually(pilot, lambda: "[6]" in picture(pilot))
        await press(pilot, "M", "y")
        await eventually(pilot, lambda: "[8]" in picture(pilot))
        assert len(sent(stub, mt.CancelMaintenance)) == 1
        await press(pilot, "M", "space", "y")
        back = sent(stub, mt.MigrateBack)[0]
        assert isinstance(back, mt.MigrateBack) and len(back.vms) == 13 and back.confirmed
        row = stub.sessions["kvm-17"]
        stub.put_session(replace(row, vms=tuple(replace(v, back="back") for v in row.vms)))
        await eventually(pilot, lambda: "closes the session" in picture(pilot))
        await press(pilot, "M", "y")
        assert len(sent(stub, mt.CloseMaintenance)) == 1


async def test_going_back_preselects_all_and_none_chosen_sends_nothing() -> None:
    stub = hosts_fleet()
    stub.put_session(session("kvm-17", "Enabled", step=mt.Step.MIGRATE_BACK, blockers=(), operation_id=None))
    stub.put_host(replace(next(h for h in stub.hosts if h.name == "kvm-17"), resource_state="Enabled", allocatable=True))
    async with console(stub) as pilot:
        await press(pilot, *KVM_17, "B")
        assert "9 marked" in picture(pilot)
        await press(pilot, "asterisk", "y")
        assert not sent(stub, mt.MigrateBack) and "Migrate back to kvm-17" in picture(pilot)
        await press(pilot, "asterisk", "y")
        assert len(sent(stub, mt.MigrateBack)) == 1


async def test_retry_note_edit_and_announce() -> None:
    stub = hosts_fleet()
    async with console(stub) as pilot:
        await press(pilot, *KVM_17, "T")
        assert sent(stub, mt.RetryMoves)
        await press(pilot, "N")
        await type_in(pilot, "fan 2 is loud")
        await press(pilot, "enter")
        assert stub.sessions["kvm-17"].notes[-1].text == "fan 2 is loud"
        await press(pilot, "e", "tab", "tab")
        await type_in(pilot, "2020-01-01 10:00")
        await press(pilot, "ctrl+o")
        assert "it is in the past" in picture(pilot)
        await press(pilot, "escape", "A", "ctrl+o")
        assert sent(stub, mt.AnnounceMaintenance)


async def test_a_blocked_vm_is_moved_by_hand() -> None:
    stub = hosts_fleet()
    async with console(stub) as pilot:
        await press(pilot, *KVM_17, "j", "m")
        assert "it is moving" in toasts(pilot)
        await press(pilot, "k", "m", "enter")
        assert [(c.target, c.host) for c in sent(stub, MigrateVm)] == [("v-gpu-02", "kvm-02")]


async def test_the_dashboard_leads_to_it() -> None:
    async with console(hosts_fleet(), (120, 40)) as pilot:
        seen = picture(pilot)
        assert "preparing for maintenance, op1" in seen and "CAPACITY" in seen and "no !" in seen
        await press(pilot, "shift+tab", "shift+tab", "G", "enter")
        assert "Preparing for maintenance  2m 10s" in picture(pilot)


async def test_power_says_that_it_is_to_come() -> None:
    async with console(hosts_fleet()) as pilot:
        await press(pilot, *KVM_17, "p")
        assert "comes with power control" in toasts(pilot)


async def test_a_host_that_goes_out_of_reach_meanwhile_is_told() -> None:
    stub = hosts_fleet()
    async with console(stub) as pilot:
        await press(pilot, *KVM_17)
        host = next(h for h in stub.hosts if h.name == "kvm-17")
        stub.put_host(replace(host, connection_state="alert", reason="unreachable"))
        await eventually(pilot, lambda: "link unreachable" in picture(pilot))
        stub.go_away()
        await eventually(pilot, lambda: "no link since" in picture(pilot))
        stub.come_back()
        stub.put_host(replace(host, connection_state="up"))
        await eventually(pilot, lambda: "link unreachable" not in picture(pilot) and "no link" not in picture(pilot))
        assert sent(stub, ShowHost)


@pytest.mark.parametrize(
    ("host", "row", "action", "to"),
    [
        ("Enabled", None, "maintenance.start", None), ("Error", None, "", None),
        ("PrepareForMaintenance", session(), "", None),
        ("ErrorInPrepareForMaintenance", session(vms=(evacuee("a", "retry"),)), "maintenance.retry", None),
        ("ErrorInMaintenance", session(), "maintenance.start", None),
        ("Maintenance", session(step=mt.Step.READY), "", mt.Step.WORK), ("Maintenance", session(step=mt.Step.WORK), "maintenance.check", None),
        ("Maintenance", session(step=mt.Step.WORK, checklist=()), "", mt.Step.VERIFY),
        ("Maintenance", session(step=mt.Step.VERIFY), "maintenance.cancel", None),
        ("Maintenance", None, "maintenance.cancel", None),
        ("Enabled", session(state="Enabled", step=mt.Step.MIGRATE_BACK), "maintenance.back", None),
        ("Enabled", session(state="Enabled", vms=()), "maintenance.close", None),
    ],
)  # fmt: skip
def test_the_next_step(host: str, row: mt.MaintenanceRecord | None, action: str, to: mt.Step | None) -> None:
    found = next_step(kvm("kvm-17", resource_state=host), row)
    assert (found.action, found.to) == (action, to) and found.text


def test_times_as_a_person_types_them() -> None:
    assert moment("", NOW) is None
    assert moment("16:30", NOW) == NOW.replace(hour=16, minute=30, second=0)
    assert moment("04:30", NOW) == NOW.replace(hour=4, minute=30, second=0) + timedelta(days=1)
    assert moment("+90m", NOW) == NOW + timedelta(minutes=90)
    assert moment("2026-11-21 04:30", NOW) == NOW.replace(day=21, hour=4, minute=30, second=0)
    for wrong in ("25:00", "soon", "+h", "2020-01-01", "+9999999999999d"):
        with pytest.raises(InvalidInput):
            moment(wrong, NOW)
