"""Hosts and VMs on screen: tree, table, detail, a host's tabs, the list of VMs, one VM, its serial line."""

from __future__ import annotations

from dataclasses import replace

import pytest
from textual.pilot import Pilot

from fleet_tui.backend.hosts import ListHosts, SetAllocation, ShowHost
from fleet_tui.backend.identity import Role
from fleet_tui.backend.machines import ListVms, MigrateVm, ReadGuestLog, StopVm
from fleet_tui.backend.machines.figures import Amount, CapacityRecord
from fleet_tui.screens import host_facts
from fleet_tui.screens.host import HostScreen
from fleet_tui.screens.hosts import HostsScreen
from fleet_tui.screens.vm import VmScreen
from fleet_tui.screens.vms import VmsScreen
from fleet_tui.widgets.glyphs import UNICODE
from tests.fleet_stub import StubSession
from tests.infrastructure_stub import kvm, moving, vm
from tests.screens.console import console, eventually, front, picture, press, settled, toasts, type_in
from tests.screens.infrastructure import hosts_fleet


async def test_what_is_chosen_in_the_tree_narrows_the_list() -> None:
    async with console(hosts_fleet(), (120, 30)) as pilot:
        await press(pilot, "3")
        screen = front(pilot)
        assert isinstance(screen, HostsScreen)
        assert screen.list.row_count == 11
        await press(pilot, "t", "j", "j", "j")
        assert screen.list.row_count == 7
        assert "hosts › paris › pod-1 › kvm-a" in picture(pilot)
        await press(pilot, "right")
        assert "kvm-02" in picture(pilot).splitlines()[7]
        await press(pilot, "escape")
        assert screen.list.row_count == 11


async def test_at_80_cells_one_key_swaps_tree_and_list() -> None:
    async with console(hosts_fleet(), (80, 24)) as pilot:
        await press(pilot, "3")
        assert "PLACE" not in picture(pilot)
        await press(pilot, "t")
        assert "PLACE" in picture(pilot) and "STATE" not in picture(pilot)
        await press(pilot, "j", "enter")
        assert "STATE" in picture(pilot) and "9 hosts" in picture(pilot)
        await press(pilot, "escape")
        assert "11 hosts" in picture(pilot)


async def test_the_operations_of_a_host_are_listed_whatever_was_open_there() -> None:
    async with console(hosts_fleet(), (120, 30)) as pilot:
        await press(pilot, "7", "enter")
        assert front(pilot).KIND == "operation"
        await press(pilot, "3", "o")
        assert front(pilot).KIND == "operations", "not the page of another object with a filter in its log"


def test_a_host_out_of_service_shows_what_is_still_on_it() -> None:
    amount = Amount(raw=8000, capacity=0, used=2000, reserved=0)
    room = CapacityRecord("kvm-1", "a/b/c", amount, amount, amount, 2.0, 1.0, None, 2)
    said = "".join(text for line in host_facts.capacity(kvm("kvm-1"), room, UNICODE, 76) for text, _style in line)
    assert "12 %" in said and "25 %" in said, said


async def test_inherited_is_dimmed_and_own_is_a_glyph() -> None:
    stub = hosts_fleet()
    async with console(stub, (160, 48)) as pilot:
        await press(pilot, "3", "t", *"jjjjjj")
        assert "◌   lyon" in picture(pilot) and "●     pod-9" in picture(pilot)
        await press(pilot, "j")
        assert "takes no VM: zone lyon is disabled" in picture(pilot)
        await press(pilot, "k", "E")
        assert [c for c in stub.calls if isinstance(c, SetAllocation)][-1].enabled
        await eventually(pilot, lambda: "●   lyon" in picture(pilot))


async def test_enable_and_disable_work_on_what_has_the_keys() -> None:
    stub = hosts_fleet()
    async with console(stub, (120, 30)) as pilot:
        await press(pilot, "3", "D")
        await eventually(pilot, lambda: "disabled" in picture(pilot).splitlines()[3])
        assert [(c.kind, c.target) for c in stub.calls if isinstance(c, SetAllocation)] == [("host", "kvm-02")]
        await press(pilot, "t", "j", "D")
        assert [(c.kind, c.target) for c in stub.calls if isinstance(c, SetAllocation)][-1] == ("zone", "z-paris")


async def test_marked_hosts_are_disabled_together_after_one_question() -> None:
    stub = hosts_fleet()
    async with console(stub, (120, 30)) as pilot:
        await press(pilot, "3", "space", "space", "D")
        assert "Disable 2" in picture(pilot)
        assert not [c for c in stub.calls if isinstance(c, SetAllocation)]
        await press(pilot, "y")
        assert sorted(c.target for c in stub.calls if isinstance(c, SetAllocation)) == ["kvm-02", "kvm-03"]


async def test_one_changed_host_is_fetched_alone() -> None:
    stub = hosts_fleet()
    async with console(stub) as pilot:
        await press(pilot, "3")
        stub.calls.clear()
        stub.put_host(replace(next(h for h in stub.hosts if h.name == "kvm-03"), connection_state="down", reason="off"))
        await eventually(pilot, lambda: "off" in picture(pilot).splitlines()[4])
        assert [type(c) for c in stub.calls if isinstance(c, ListHosts | ShowHost)] == [ShowHost]
        stub.put_host(kvm("kvm-99"))
        await eventually(pilot, lambda: "kvm-99" in picture(pilot))


async def test_the_detail_follows_the_cursor_where_there_is_room() -> None:
    async with console(hosts_fleet(), (160, 48)) as pilot:
        await press(pilot, "3")
        assert "its VMs fit elsewhere if it is lost" in picture(pilot)
        await press(pilot, "j", "j", "j")
        assert "no-service: the hypervisor's service does not run" in picture(pilot)
        assert "takes no VM: its link is not up" in picture(pilot)


async def test_a_host_opens_in_tabs() -> None:
    stub = hosts_fleet()
    async with console(stub) as pilot:
        await press(pilot, "3", "j", "j", "enter")
        screen = front(pilot)
        assert isinstance(screen, HostScreen)
        await press(pilot, "right")
        assert "crash-1" in picture(pilot) and "QEMU ended" in picture(pilot)
        await press(pilot, "right")
        assert "eth0 10 Gb/s up" in picture(pilot)
        await press(pilot, "right")
        assert "KVM-2026-11" in picture(pilot) and "XS82E042" not in picture(pilot)
        await press(pilot, "right")
        assert "replace DIMM A3" in picture(pilot) and "closed" in picture(pilot)
        await press(pilot, "enter")
        assert "maintenance" in picture(pilot).splitlines()[1] and "closed" in picture(pilot)
        await press(pilot, "escape", "l")
        assert screen.tab == "log"


async def test_a_host_that_was_not_added_says_why_and_can_be_retried() -> None:
    async with console(hosts_fleet()) as pilot:
        await press(pilot, "3", "slash")
        await type_in(pilot, "spare-2")
        await press(pilot, "enter", "enter")
        assert "serial SN00001 is that of kvm-01 already" in picture(pilot)
        assert "T retry adding" in picture(pilot)


async def test_a_removal_is_refused_with_what_to_do_and_force_asks_for_the_name() -> None:
    stub = hosts_fleet(Role.ADMIN)
    async with console(stub) as pilot:
        await press(pilot, "3", "colon")
        await type_in(pilot, "remove")
        await press(pilot, "enter")
        assert "put it into maintenance, or remove it by force" in toasts(pilot)
        await press(pilot, "colon")
        await type_in(pilot, "force-remove")
        await press(pilot, "enter")
        assert "Type  kvm-02  to confirm" in picture(pilot)
        await type_in(pilot, "kvm-02")
        await press(pilot, "enter")
        request = stub.calls[-1] if type(stub.calls[-1]).__name__ == "RemoveHost" else next(
            c for c in reversed(stub.calls) if type(c).__name__ == "RemoveHost"
        )  # fmt: skip
        assert (request.force, request.confirm) == (True, "kvm-02")


# --- VMs ----------------------------------------------------------------------------------------------------------------


def many(count: int) -> StubSession:
    stub = StubSession()
    for number in range(count):
        row = vm(f"n{number:05}")
        stub.vms[row.id] = row
    return stub


async def test_vms_come_in_pages() -> None:
    stub = many(1200)
    async with console(stub) as pilot:
        await press(pilot, "colon")
        await type_in(pilot, "vms")
        await press(pilot, "enter")
        screen = front(pilot)
        assert isinstance(screen, VmsScreen)
        await eventually(pilot, lambda: screen.list.row_count == 1200)
        assert [c.after for c in stub.calls if isinstance(c, ListVms)] == ["", "n00499", "n00999"]


async def test_moves_refetch_what_is_on_screen_at_once_and_gather_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleet_tui.screens.vms.VmsScreen.GATHER_S", 0.2)
    stub = many(100)
    async with console(stub, (80, 24)) as pilot:
        await press(pilot, "colon")
        await type_in(pilot, "vms")
        await press(pilot, "enter")
        stub.calls.clear()
        stub.put_vm(replace(stub.vms["v-n00001"], state=type(stub.vms["v-n00001"].state)("migrating"), move=moving("n00001", "kvm-03", "kvm-05")))
        stub.put_vm(replace(stub.vms["v-n00090"], error="late"))
        await eventually(pilot, lambda: "copy 71 %" in picture(pilot))
        await eventually(pilot, lambda: any("vm:v-n00090" in c.refs for c in stub.calls if isinstance(c, ListVms)))
        asked = [c.refs for c in stub.calls if isinstance(c, ListVms)]
        assert asked[0] == ("vm:v-n00001",), "the row on screen alone"
        assert all(refs for refs in asked), "never the whole list"
        await settled(pilot)


async def test_the_vms_of_a_host_are_a_key_away() -> None:
    async with console(hosts_fleet()) as pilot:
        await press(pilot, "3", "j", "j", "v")
        assert "hosts › kvm-05 › vms 8" in picture(pilot)
        await press(pilot, "enter")
        assert isinstance(front(pilot), VmScreen)
        await press(pilot, "escape", "escape")
        assert isinstance(front(pilot), HostsScreen)


async def test_a_move_is_shown_with_its_phase_and_bar() -> None:
    async with console(hosts_fleet()) as pilot:
        await press(pilot, "colon")
        await type_in(pilot, "db-7")
        await press(pilot, "enter")
        seen = picture(pilot)
        assert "kvm-17 to kvm-03" in seen and "71 %" in seen and "check reserve [copy] switch" in seen
        await press(pilot, "m")
        assert "migrate is at work on it" in toasts(pilot)


async def test_moving_by_hand_offers_hosts_with_the_reason_why_not() -> None:
    stub = hosts_fleet()
    async with console(stub) as pilot:
        await press(pilot, "colon")
        await type_in(pilot, "vms")
        await press(pilot, "enter", "m")
        seen = picture(pilot)
        assert "placement's choice" in seen and "NOT NOW" in seen and "its link is not up" in seen
        await press(pilot, "down", "enter")
        sent = [c for c in stub.calls if isinstance(c, MigrateVm)]
        assert [(c.target, c.host) for c in sent] == [("v-app-1", "kvm-03")]


async def test_stopping_states_what_it_does() -> None:
    stub = hosts_fleet()
    async with console(stub) as pilot:
        await press(pilot, "colon")
        await type_in(pilot, "vms")
        await press(pilot, "enter", "S", "enter")
        assert not [c for c in stub.calls if isinstance(c, StopVm) and not c.dry_run], "enter on the focused button cancels"
        await press(pilot, "S", "y")
        assert [c.confirmed for c in stub.calls if isinstance(c, StopVm) and not c.dry_run] == [True]


async def at_the_console(pilot: Pilot[int]) -> None:
    await press(pilot, "colon")
    await type_in(pilot, "console web-3")
    await press(pilot, "enter")
    assert "[  OK  ] started everything" in picture(pilot) and "login: " in picture(pilot)


async def test_every_key_but_one_goes_to_the_guest() -> None:
    stub = hosts_fleet()
    async with console(stub) as pilot:
        await at_the_console(pilot)
        await eventually(pilot, lambda: "typing goes to the guest" in picture(pilot))
        await type_in(pilot, "q root?")
        await press(pilot, "escape", "ctrl+c", "up", "tab", "enter")
        assert stub.echo.typed == b"q root?\x1b\x03\x1b[A\t\r"
        await eventually(pilot, lambda: "login: q root?" in picture(pilot))
        await press(pilot, "ctrl+right_square_bracket")
        assert "serial line" not in picture(pilot)
        await eventually(pilot, lambda: stub.echo.is_closed)


async def test_a_line_that_ends_leaves_its_log() -> None:
    stub = hosts_fleet()
    async with console(stub) as pilot:
        await at_the_console(pilot)
        await eventually(pilot, lambda: "typing goes to the guest" in picture(pilot))
        stub.echo.hang_up()
        await eventually(pilot, lambda: "the line has ended" in toasts(pilot) and "log only" in picture(pilot))
        await press(pilot, "escape")
        assert "serial line" not in picture(pilot)


@pytest.mark.parametrize("role", [Role.MONITOR, Role.AUDITOR])
async def test_who_may_only_look_follows_the_log(role: Role) -> None:
    stub = hosts_fleet(role)
    async with console(stub) as pilot:
        await at_the_console(pilot)
        await eventually(pilot, lambda: len([c for c in stub.calls if isinstance(c, ReadGuestLog)]) > 1)
        assert [c.after for c in stub.calls if isinstance(c, ReadGuestLog)][1] > 0, "it goes on where it was"
        await type_in(pilot, "abc")
        assert stub.echo.typed == b"" and "log only" in picture(pilot)
        await press(pilot, "escape")
        assert "serial line" not in picture(pilot)
        await settled(pilot)
