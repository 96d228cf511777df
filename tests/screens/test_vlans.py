"""The map of VLANs on screen: what is wrong first, moving about, ranges with their difference, owners, hosts, who may see it."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from fleet_tui.app import pane_app
from fleet_tui.backend import networks as n
from fleet_tui.backend.identity import Role
from fleet_tui.backend.networks.states import VlanState
from fleet_tui.screens.vlans import VlansScreen
from tests.fleet_stub import StubSession
from tests.networks_stub import presence, taken
from tests.screens.console import StillClock, console, eventually, front, picture, press, settings, settled, toasts, type_in
from tests.screens.fabrics import vlans_fleet

GUEST = "pn-guest-net-1"


def screen_of(pilot: Pilot[int]) -> VlansScreen:
    screen = front(pilot)
    assert isinstance(screen, VlansScreen)
    return screen


def asked(stub: StubSession, kind: type) -> list[Any]:
    return [call for call in stub.calls if isinstance(call, kind)]


async def goto(pilot: Pilot[int], number: int) -> None:
    await press(pilot, "g")
    await type_in(pilot, str(number))
    await press(pilot, "enter")


async def command(pilot: Pilot[int], line: str) -> None:
    await press(pilot, "colon")
    await type_in(pilot, line)
    await press(pilot, "enter")


async def test_what_is_wrong_comes_first_and_the_cursor_stands_on_it() -> None:
    async with console(vlans_fleet(), (80, 24)) as pilot:
        await press(pilot, "4")
        lines = picture(pilot).splitlines()
        assert "vlans › paris › guest-net-1 (eth1)" in lines[1]
        for said in ("! 1 conflict", "o 1 orphan", "~ 2 drifted", "! pool 15 of 200 free"):
            assert said in lines[2]
        assert "[~]" in picture(pilot) and "ID 645" in picture(pilot) and "n next problem" in lines[-1]
        seen = []
        for _ in range(4):
            await press(pilot, "n")
            seen.append(screen_of(pilot).grid.cursor)
        assert seen == [655, 660, 712, 645]
        await press(pilot, "N")
        assert screen_of(pilot).grid.cursor == 712 and "its network is gone" in picture(pilot)


async def test_a_network_that_is_well_is_calm() -> None:
    async with console(vlans_fleet(problems=False, overlay=False), (80, 24)) as pilot:
        await press(pilot, "4")
        assert "next problem" not in picture(pilot).splitlines()[-1]
        await press(pilot, "n")
        assert "no ID of this network is a problem" in toasts(pilot)


async def test_counts_are_those_that_the_daemon_gives() -> None:
    stub = vlans_fleet()
    async with console(stub, (160, 48)) as pilot:
        await press(pilot, "4")
        counts = stub.physicals[GUEST].counts
        assert counts == {state.value: count for state, count in (screen_of(pilot).space.counts if screen_of(pilot).space else {}).items()}
        legend = picture(pilot).splitlines()[3]
        assert f"# {counts['allocated']} allocated" in legend and f"r {counts['reserved']:,} reserved" in legend


async def test_typing_a_number_goes_there_and_escape_comes_back() -> None:
    async with console(vlans_fleet()) as pilot:
        await press(pilot, "4", "g")
        await type_in(pilot, "640")
        assert screen_of(pilot).grid.cursor == 640, "as typed"
        await press(pilot, "escape")
        assert screen_of(pilot).grid.cursor == 645
        await goto(pilot, 803)
        assert screen_of(pilot).grid.cursor == 803 and "specified" in picture(pilot)
        await goto(pilot, 5000)
        assert screen_of(pilot).grid.cursor == 803 and "they go from 1 to 4,094" in toasts(pilot)
        await press(pilot, "g", "enter")
        assert screen_of(pilot).grid.cursor == 1
        await press(pilot, "G", "k")
        assert screen_of(pilot).grid.cursor == 4044
        await press(pilot, "slash")
        await type_in(pilot, "640")
        await press(pilot, "enter")
        assert screen_of(pilot).grid.cursor == 640 and not screen_of(pilot).filter_text


async def test_what_is_typed_ahead_goes_where_it_is_meant_for() -> None:
    """On a slow link a whole line comes at once, before the prompt that its first letter opens has the keys."""
    async with console(vlans_fleet()) as pilot:
        await press(pilot, "4")
        await type_in(pilot, "g640")
        await press(pilot, "enter")
        assert screen_of(pilot).grid.cursor == 640
        await type_in(pilot, ":vms")
        await press(pilot, "enter")
        assert "vms" in picture(pilot).splitlines()[1]


async def test_the_detail_tells_everything_of_the_id_under_the_cursor() -> None:
    stub = vlans_fleet()
    async with console(stub, (160, 48)) as pilot:
        await press(pilot, "4")
        await goto(pilot, 640)
        await eventually(pilot, lambda: "10.1.140.0/24" in picture(pilot))
        for said in ("ID 640", "shop-front", "Implemented", "account shop", "2026-08-02 11:40", "web-3 web-4 r-114-VM", "range     600-799"):
            assert said in picture(pilot), said
        await goto(pilot, 655)
        await eventually(pilot, lambda: "kvm-03  missing" in picture(pilot))
        assert "br-655 is not there" in picture(pilot) and "R repairs it" in picture(pilot)


async def test_holding_a_key_asks_about_the_last_id_alone() -> None:
    stub = vlans_fleet()
    async with console(stub) as pilot:
        await press(pilot, "4")
        await eventually(pilot, lambda: asked(stub, n.ShowVlan))
        stub.calls.clear()
        screen_of(pilot).grid.go(600)
        for _ in range(20):
            screen_of(pilot).grid.step(1)
        await eventually(pilot, lambda: asked(stub, n.ShowVlan))
        assert [call.number for call in asked(stub, n.ShowVlan)] == [620]


async def test_ranges_tell_what_they_would_change_and_ask_before_they_take_away() -> None:
    stub = vlans_fleet(overlay=False)
    stub.put_physical(replace(stub.physicals[GUEST], ranges=(n.RangeRecord(600, 899, n.Scope.GUEST_POOL),), dedications=()))
    async with console(stub, (100, 30)) as pilot:
        await press(pilot, "4", "e")
        await eventually(pilot, lambda: "unchanged" in picture(pilot))
        await press(pilot, "end")
        await type_in(pilot, ",1000-1004")
        await eventually(pilot, lambda: "+        5  1000-1004" in picture(pilot))
        await press(pilot, *["backspace"] * len("899,1000-1004"))
        await type_in(pilot, "849")
        await eventually(pilot, lambda: "-       50  850-899" in picture(pilot))
        assert not asked(stub, n.SetRanges)
        await press(pilot, "ctrl+o")
        assert "Remove 50 IDs from guest-net-1?" in picture(pilot) and "850-899" in picture(pilot)
        await press(pilot, "escape")
        assert not asked(stub, n.SetRanges)
        await press(pilot, "ctrl+o", "y")
        [request] = asked(stub, n.SetRanges)
        assert (request.text, request.how, request.confirmed, request.expected) == ("600-849", "set", True, "600-899")
        await eventually(pilot, lambda: "ranges are 600-849 now" in toasts(pilot))
        await press(pilot, "+")
        await type_in(pilot, "2000-2009")
        await press(pilot, "enter")
        assert (asked(stub, n.SetRanges)[-1].how, asked(stub, n.SetRanges)[-1].confirmed) == ("add", False)
        assert stub.physicals[GUEST].ranges_text == "600-849,2000-2009"


async def test_a_range_in_use_is_refused_with_its_user_and_what_was_typed_stays() -> None:
    stub = vlans_fleet()
    async with console(stub, (100, 30)) as pilot:
        await press(pilot, "4")
        await goto(pilot, 640)
        await press(pilot, "_")
        await eventually(pilot, lambda: "640 is allocated to network shop-front" in picture(pilot))
        await press(pilot, "enter")
        assert "640 is allocated to network shop-front of account shop" in picture(pilot) and "640" in picture(pilot)
        assert not asked(stub, n.SetRanges)
        await press(pilot, *["backspace"] * 3)
        await type_in(pilot, "x-y")
        await press(pilot, "enter")
        await eventually(pilot, lambda: "'x-y' is neither an ID" in picture(pilot))


async def test_the_same_ranges_again_say_unchanged() -> None:
    stub = vlans_fleet()
    async with console(stub, (100, 30)) as pilot:
        await press(pilot, "4", "e", "ctrl+o")
        await eventually(pilot, lambda: "guest-net-1: unchanged" in toasts(pilot))


async def test_marked_ids_are_dedicated_and_one_key_releases_them() -> None:
    stub = vlans_fleet()
    async with console(stub, (100, 30)) as pilot:
        await press(pilot, "4")
        await goto(pilot, 900)
        await press(pilot, "v", *["right"] * 9)
        assert "10 marked" in picture(pilot)
        await press(pilot, "a")
        assert "900-909" in picture(pilot)
        await press(pilot, "tab", "space", "tab")
        await type_in(pilot, "billing")
        await press(pilot, "ctrl+o")
        [request] = asked(stub, n.Dedicate)
        assert (request.target, request.first, request.last, request.owner_kind.value, request.owner) == (GUEST, 900, 909, "project", "billing")
        await eventually(pilot, lambda: "ddddddddd[d]" in picture(pilot))
        await press(pilot, "escape")
        await goto(pilot, 905)
        assert "project billing" in picture(pilot)
        await press(pilot, "a")
        [released] = asked(stub, n.ReleaseDedication)
        assert (released.first, released.last) == (900, 909)
        assert "Release dedication 900-909: accepted · a dedicates them again" in toasts(pilot)


async def test_a_scope_is_that_of_the_whole_range_unless_ids_are_marked() -> None:
    stub = vlans_fleet()
    async with console(stub, (100, 30)) as pilot:
        await press(pilot, "4")
        await goto(pilot, 950)
        await press(pilot, "S")
        assert "900-999" in picture(pilot) and "guest-shared" in picture(pilot)
        await press(pilot, "tab", "space", "ctrl+o")
        [request] = asked(stub, n.SetScope)
        assert (request.first, request.last, request.scope) == (900, 999, n.Scope.RESERVED)
        await goto(pilot, 3000)
        await press(pilot, "v", "right", "S")
        assert "3000-3001" in picture(pilot)


async def test_the_usual_scheme_states_what_it_changes() -> None:
    stub = vlans_fleet(overlay=False)
    stub.put_physical(replace(stub.physicals[GUEST], ranges=(n.RangeRecord(590, 999, n.Scope.GUEST_POOL),), dedications=()))
    async with console(stub, (100, 30)) as pilot:
        await press(pilot, "4", "t")
        assert "590-599: guest-pool becomes public" in picture(pilot) and "No ID is added or removed" in picture(pilot)
        await press(pilot, "escape")
        assert not asked(stub, n.ApplyTemplate)
        await press(pilot, "t", "y")
        assert len(asked(stub, n.ApplyTemplate)) == 1
        await press(pilot, "t")
        assert "already" in toasts(pilot)


async def test_drift_is_looked_for_at_once_and_repair_is_asked_for() -> None:
    stub = vlans_fleet()
    async with console(stub) as pilot:
        await press(pilot, "4", "D")
        assert asked(stub, n.CheckDrift)[-1].target == GUEST
        assert isinstance(front(pilot), VlansScreen), "the map shows what comes of it"
        await press(pilot, "R")
        assert [r.dry_run for r in asked(stub, n.RepairDrift)] == [True] and "Repair guest-net-1?" in picture(pilot)
        await press(pilot, "y")
        assert (asked(stub, n.RepairDrift)[-1].confirmed, asked(stub, n.RepairDrift)[-1].remove_extra) == (True, False)
        await command(pilot, "repair-extra")
        await press(pilot, "y")
        assert asked(stub, n.RepairDrift)[-1].remove_extra


async def test_hosts_are_shown_for_the_row_under_the_cursor() -> None:
    stub = vlans_fleet()
    async with console(stub, (100, 30)) as pilot:
        await press(pilot, "4", "H")
        await eventually(pilot, lambda: "kvm-17" in picture(pilot))
        assert "HOSTS 600-649" in picture(pilot)
        assert (asked(stub, n.ShowPresence)[-1].first, asked(stub, n.ShowPresence)[-1].last) == (600, 649)
        await press(pilot, "down")
        await eventually(pilot, lambda: "HOSTS 650-699" in picture(pilot))
        await press(pilot, "H")
        assert "HOSTS 6" not in picture(pilot)


async def test_events_bring_what_changed_and_keep_the_cursor() -> None:
    stub = vlans_fleet()
    async with console(stub) as pilot:
        await press(pilot, "4")
        await goto(pilot, 757)
        assert "[.]" in picture(pilot)
        stub.put_physical(stub.physicals[GUEST], taken(757, network="late"))
        await eventually(pilot, lambda: "[#]" in picture(pilot) and "late" in picture(pilot))
        stub.put_presence(GUEST, presence("kvm-03", 757, True, False, "missing"))
        await eventually(pilot, lambda: "[~]" in picture(pilot))
        del stub.physicals[GUEST]
        stub.touch(f"physnet:{GUEST}")
        await eventually(pilot, lambda: "overlay" in picture(pilot).splitlines()[1])


async def test_networks_are_chosen_from_a_list_beside_the_map_or_instead_of_it() -> None:
    async with console(vlans_fleet(), (80, 24)) as pilot:
        await press(pilot, "4", "P")
        assert "NETWORK" in picture(pilot) and "lyon/storage" in picture(pilot) and "[" not in picture(pilot).splitlines()[10]
        await press(pilot, "G", "enter")
        assert "overlay" in picture(pilot).splitlines()[1] and "[o]" in picture(pilot)
    async with console(vlans_fleet(), (160, 48)) as pilot:
        await press(pilot, "4", "P", "k")
        assert "storage" in picture(pilot).splitlines()[1] and "+ adds some" in picture(pilot)
        await press(pilot, "P", "right")
        assert screen_of(pilot).grid.has_focus and screen_of(pilot).grid.cursor == 2


async def test_the_line_names_a_network_a_number_or_a_filter() -> None:
    async with console(vlans_fleet()) as pilot:
        await command(pilot, "vlans overlay")
        await eventually(pilot, lambda: "overlay" in picture(pilot).splitlines()[1])
        await command(pilot, "vlans guest-net-1")
        await eventually(pilot, lambda: "guest-net-1" in picture(pilot).splitlines()[1])
        await command(pilot, "vlans account:bank")
        await eventually(pilot, lambda: "10 IDs" in picture(pilot).splitlines()[1])
        await press(pilot, "escape")
        assert "10 IDs" not in picture(pilot).splitlines()[1]


async def test_a_filter_and_problems_only_leave_what_they_want() -> None:
    async with console(vlans_fleet(), (80, 24)) as pilot:
        await press(pilot, "4", "z")
        assert "4 IDs: problems only" in picture(pilot) and "mmmm" not in picture(pilot)
        await press(pilot, "escape", "F")
        await type_in(pilot, "project:mail")
        assert "[S]SSS" in picture(pilot) and "####" not in picture(pilot)
        await press(pilot, "enter", "escape")
        assert "####" in picture(pilot)


async def test_zooming_out_and_in() -> None:
    async with console(vlans_fleet(), (80, 24)) as pilot:
        await press(pilot, "4", "Z")
        assert "10 IDs a cell" in picture(pilot) and "1-9 tenths taken" in picture(pilot)
        assert "IDs 640-649" in picture(pilot)
        await press(pilot, "enter")
        assert "a cell" not in picture(pilot) and "ID 645" in picture(pilot)


async def test_the_design_keeps_its_keys() -> None:
    stub = vlans_fleet()
    async with console(stub, (100, 30)) as pilot:
        await press(pilot, "4")
        await goto(pilot, 640)
        await press(pilot, "d")
        assert "shop-front" in picture(pilot) and "guest-net-1 640" in picture(pilot).splitlines()[1]
        await press(pilot, "escape", "y")
        assert '"reservation"' in picture(pilot)
        await press(pilot, "escape", "c")
        assert pilot.app.clipboard == "640"
        await press(pilot, "v", "right", "c")
        assert pilot.app.clipboard == "640-641"
        await press(pilot, "C")
        assert pilot.app.clipboard.split()[:5] == ["640", "640", "allocated", "guest-pool", "shop-front"]
        await press(pilot, "o")
        assert "operations" in picture(pilot).splitlines()[1]
        await press(pilot, "-")
        assert isinstance(front(pilot), VlansScreen)


async def test_a_new_network_is_saved_and_enabled_by_word() -> None:
    stub = vlans_fleet()
    async with console(stub, (100, 30)) as pilot:
        await press(pilot, "4")
        await command(pilot, "new-physnet")
        await type_in(pilot, "lan-2")
        await press(pilot, "tab", "tab", "tab")
        await type_in(pilot, "eth3")
        await press(pilot, "ctrl+o")
        assert "'eth3' is no label such as kvm=eth1" in picture(pilot)
        await press(pilot, *["backspace"] * 4)
        await type_in(pilot, "kvm=eth3")
        await press(pilot, "tab")
        await type_in(pilot, "100-199")
        await press(pilot, "ctrl+o")
        [request] = asked(stub, n.CreatePhysicalNetwork)
        assert (request.name, request.zone, dict(request.nic_labels), request.ranges) == ("lan-2", "paris", {"kvm": "eth3"}, "100-199")
        await command(pilot, "vlans lan-2")
        await command(pilot, "enable-physnet")
        assert asked(stub, n.EditPhysicalNetwork)[-1].enabled and asked(stub, n.EditPhysicalNetwork)[-1].target == "pn-lan-2"
        await command(pilot, "nic-labels")
        await press(pilot, "end")
        await type_in(pilot, ", xenserver=xenbr1")
        await press(pilot, "ctrl+o")
        assert dict(asked(stub, n.EditPhysicalNetwork)[-1].nic_labels or {}) == {"kvm": "eth3", "xenserver": "xenbr1"}
        await command(pilot, "delete-physnet")
        await type_in(pilot, "lan-2")
        await press(pilot, "enter")
        assert asked(stub, n.DeletePhysicalNetwork)[-1].confirm == "lan-2"


async def test_the_map_is_saved_for_its_owner_alone_and_over_nothing_unasked(tmp_path: Path) -> None:
    stub = vlans_fleet()
    async with console(stub, (100, 30), home=tmp_path) as pilot:
        await press(pilot, "4")
        await eventually(pilot, lambda: getattr(front(pilot), "space", None), "the map has come")
        await press(pilot, "s", "down", "down", "enter")
        path = tmp_path / "exports" / "vlans-paris-guest-net-1-2026-11-20.json"
        assert path.exists(), f"{list(tmp_path.rglob('*'))} {toasts(pilot)}\n{picture(pilot)}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert json.loads(path.read_text())["counts"] == stub.physicals[GUEST].counts
        path.write_text("mine")
        await press(pilot, "s", "down", "down", "enter")
        assert "Replace vlans-paris-guest-net-1-2026-11-20.json?" in picture(pilot)
        await press(pilot, "escape")
        assert path.read_text() == "mine"
        await press(pilot, "s", "down", "down", "enter", "y")
        await eventually(pilot, lambda: path.read_text() != "mine")
        assert [one.name for one in path.parent.iterdir()] == [path.name]
        await press(pilot, "s", "enter")
        await eventually(pilot, lambda: path.with_suffix(".txt").exists())
        assert " 700 DDDDdddddd ##o#######" in path.with_suffix(".txt").read_text()


@pytest.mark.parametrize("role", [Role.ADMIN, Role.OPERATOR, Role.MONITOR])
async def test_who_may_not_see_vlans_has_no_such_screen(role: Role) -> None:
    stub = vlans_fleet(role)
    async with console(stub, (100, 40)) as pilot:
        await press(pilot, "4")
        assert not isinstance(front(pilot), VlansScreen) and "may not" in toasts(pilot)
        await command(pilot, "vlans")
        await command(pilot, "vlans guest-net-1")
        assert not isinstance(front(pilot), VlansScreen)
        pilot.app.clear_notifications()
        await press(pilot, "question_mark")
        assert "VLAN" not in picture(pilot)
        await press(pilot, "escape", "ctrl+p")
        assert "VLAN" not in picture(pilot)
        assert not [call for call in stub.calls if type(call).__module__.endswith("networks")]


async def test_an_auditor_sees_and_changes_nothing() -> None:
    stub = vlans_fleet(Role.AUDITOR)
    async with console(stub, (100, 40)) as pilot:
        await press(pilot, "4")
        assert "[~]" in picture(pilot)
        await press(pilot, "e", "a", "S", "t", "D", "R")
        assert not [call for call in stub.calls if type(call).__module__.endswith("networks") and not type(call).__name__.startswith(("Show", "List"))]
        pilot.app.clear_notifications()
        await press(pilot, "x")
        assert "Edit ranges" not in picture(pilot)


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_foreign_names_are_only_ever_characters(size: tuple[int, int]) -> None:
    hostile = "\x1b]52;c;ZXZpbA==\x07[red]web\u202e\x00\r\nline"
    stub = vlans_fleet(overlay=False)
    row = stub.physicals[GUEST]
    stub.put_physical(replace(row, name=hostile, nic_labels={hostile: hostile}), n.TakenRecord(645, VlanState.ALLOCATED, hostile, hostile))
    stub.put_presence(GUEST, presence(hostile, 645, True, False, "missing", hostile))
    async with console(stub, size) as pilot:
        await press(pilot, "4", "H")
        await eventually(pilot, lambda: "[red]web" in picture(pilot))
        for keys in (("P",), ("P", "e"), ("escape", "a"), ("escape", "R"), ("escape", "x"), ("escape", "d"), ("escape", "s")):
            await press(pilot, *keys)
            assert not set(picture(pilot)) & set("\x1b\x07\u202e\x00\r"), keys


async def test_without_any_network_the_screen_says_what_to_do() -> None:
    async with console(StubSession(Role.ROOT_ADMIN), (80, 24)) as pilot:
        await press(pilot, "4")
        assert "no physical network yet · :new-physnet makes one" in picture(pilot)
        await press(pilot, "right", "n", "z", "Z", "g", "d", "v", "H", "P", "s")


async def test_a_pane_of_a_network_only_looks() -> None:
    stub = vlans_fleet()
    app = pane_app(settings(), lambda: stub, ("vlans", "guest-net-1"), StillClock())
    async with console(stub, (80, 24), app) as pilot:
        await eventually(pilot, lambda: "[~]" in picture(pilot))
        assert "guest-net-1" in picture(pilot).splitlines()[1]
        await press(pilot, "n", "right", "e", "s", "D", "enter")
        assert screen_of(pilot).grid.cursor == 656 and len(pilot.app.screen_stack) == 1
        assert not [call for call in stub.calls if isinstance(call, n.CheckDrift)]
        stub.put_physical(stub.physicals[GUEST], taken(757))
        await eventually(pilot, lambda: screen_of(pilot).space is not None and "14 of 200 free" in picture(pilot))
        await settled(pilot)
