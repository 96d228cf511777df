"""The small forms: errors beside fields, everything typed kept, secrets masked and forgotten, files read where the console runs."""

from __future__ import annotations

from pathlib import Path

from fleet_tui.backend import hosts as h
from fleet_tui.backend import machines as m
from fleet_tui.backend.errors import InvalidInput, Problem, Unreachable
from fleet_tui.backend.identity import Role
from fleet_tui.screens.ask import PREVIEW_S, Form, FormDialog, entry
from tests.fleet_stub import StubSession
from tests.screens.console import console, eventually, front, picture, press, settled, toasts, type_in
from tests.screens.infrastructure import hosts_fleet
from tests.screens.registers import registers
from tests.screens.test_early import Slow, pressed

CLUSTER = ("3", "t", "j", "j", "j")


def sent(stub: StubSession, kind: type) -> list[object]:
    return [c for c in stub.calls if isinstance(c, kind) and not getattr(c, "dry_run", False)]


async def line(pilot: object, text: str) -> None:
    await press(pilot, "colon")  # type: ignore[arg-type]
    await type_in(pilot, text)  # type: ignore[arg-type]
    await press(pilot, "enter")  # type: ignore[arg-type]


async def test_a_host_is_added_only_after_its_fingerprint_was_accepted(tmp_path: Path) -> None:
    stub, key = hosts_fleet(), tmp_path / "id"
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    async with console(stub) as pilot:
        await press(pilot, "3", "n", "ctrl+o")
        assert "where is it?" in picture(pilot) and "a key file or a password is needed" in picture(pilot)
        await type_in(pilot, "10.0.0.99")
        await press(pilot, "tab", "tab", "tab", "tab")
        await type_in(pilot, f"{key}.pub")
        await press(pilot, "ctrl+o")
        assert "there is no such file" in picture(pilot) and "10.0.0.99" in picture(pilot)
        await press(pilot, *["backspace"] * 4, "ctrl+o")
        assert "Is this 10.0.0.99?" in picture(pilot) and "SHA256:mXh6f7fQm3xk0v9bq0aH6tq9B2n7mJr0xE5m1mYc1aA" in picture(pilot)
        assert not sent(stub, h.AddHost)
        await press(pilot, "enter")
        assert not sent(stub, h.AddHost) and "Add a host" in picture(pilot), "enter refuses, and the form is as it was"
        await press(pilot, "ctrl+o", "y")
        request = sent(stub, h.AddHost)[0]
        assert isinstance(request, h.AddHost)
        assert request.accept_fingerprint.startswith("SHA256:") and request.private_key.startswith("-----BEGIN") and request.cluster == "kvm-a"
        assert "BEGIN" not in repr(request)


async def test_an_unreachable_host_keeps_the_form(monkeypatch: object) -> None:
    stub = hosts_fleet()
    stub._ProbeHostKey = lambda _r: (_ for _ in ()).throw(Unreachable("10.0.0.99 does not answer", hint="is it switched on?"))  # type: ignore[method-assign]
    async with console(stub) as pilot:
        await press(pilot, "3", "n")
        await type_in(pilot, "10.0.0.99")
        await press(pilot, *["tab"] * 5)
        await type_in(pilot, "hunter22")
        await press(pilot, "ctrl+o")
        await eventually(pilot, lambda: "10.0.0.99 does not answer · is it switched on?" in picture(pilot))
        assert "••••••••" in picture(pilot) and "hunter22" not in picture(pilot)


async def test_a_secret_is_forgotten_when_the_form_closes() -> None:
    async with console(hosts_fleet()) as pilot:
        await press(pilot, *CLUSTER, "W")
        await type_in(pilot, "secret123")
        dialog = pilot.app.screen
        assert isinstance(dialog, FormDialog)
        await press(pilot, "escape")
        assert dialog.spec is None and not dialog.form.rows
        await eventually(pilot, lambda: not list(dialog.form.children))


async def test_the_cluster_password_is_typed_twice_and_confirmed() -> None:
    stub = hosts_fleet()
    async with console(stub) as pilot:
        await press(pilot, *CLUSTER, "W")
        await type_in(pilot, "short")
        await press(pilot, "ctrl+o")
        assert "8 to 128 printable characters" in picture(pilot) and "it is not the same" in picture(pilot)
        await type_in(pilot, " and long ")
        await press(pilot, "tab")
        await type_in(pilot, "short and long ")
        await press(pilot, "ctrl+o")
        assert "Change password of" in picture(pilot) and not sent(stub, h.SetClusterPassword)
        await press(pilot, "y")
        request = sent(stub, h.SetClusterPassword)[0]
        assert isinstance(request, h.SetClusterPassword)
        assert request.password == "short and long ", "a blank at its end belongs to it"
        assert request.confirmed and not request.record
        assert "short and long" not in picture(pilot)


async def test_ratios_show_before_and_after_while_typed() -> None:
    stub = hosts_fleet()
    async with console(stub) as pilot:
        await press(pilot, *CLUSTER, "O")
        await eventually(pilot, lambda: "922 GHz -> 922 GHz" in picture(pilot))
        await press(pilot, "end", "backspace", "3")
        await eventually(pilot, lambda: "922 GHz -> 691 GHz" in picture(pilot), f"the preview {PREVIEW_S} s after the last key")
        await eventually(pilot, lambda: "would not fit again once stopped: big-1" in picture(pilot))
        await press(pilot, "backspace")
        await type_in(pilot, "0.5")
        await press(pilot, "ctrl+o")
        assert "must be at least 1" in picture(pilot)
        await press(pilot, *["backspace"] * 3, "2", "ctrl+o", "y")
        assert [(c.target, c.cpu, c.ram, c.confirmed) for c in sent(stub, m.SetRatio)] == [("kvm-a", 2.0, 1.0, True)]


async def test_what_the_daemon_refuses_stands_beside_its_field() -> None:
    stub = hosts_fleet()
    async with console(stub) as pilot:
        await line(pilot, "new-zone")
        await type_in(pilot, "paris")
        await press(pilot, "ctrl+o")
        await eventually(pilot, lambda: "'paris' is taken" in picture(pilot))
        await type_in(pilot, "2")
        await press(pilot, "ctrl+o")
        assert sent(stub, h.CreateZone)[-1].name == "paris2" and "saved" in toasts(pilot)


async def test_places_offerings_and_vms_are_made() -> None:
    stub = hosts_fleet()
    async with console(stub) as pilot:
        await press(pilot, "3", "t", "j", "j")
        await line(pilot, "new-cluster")
        await type_in(pilot, "kvm-b")
        await press(pilot, "ctrl+o")
        assert [(c.name, c.zone, c.pod) for c in sent(stub, h.CreateCluster)] == [("kvm-b", "paris", "pod-1")]
        await line(pilot, "new-offering")
        await type_in(pilot, "m2.tiny")
        await press(pilot, "tab", "backspace", "0", "ctrl+o")
        assert "outside 1 to 1024" in picture(pilot)
        await press(pilot, "backspace", "1", "ctrl+o")
        assert [c.name for c in sent(stub, m.CreateOffering)] == ["m2.tiny"]
        await line(pilot, "new-vm")
        await eventually(pilot, lambda: "goes to kvm-02" in picture(pilot) and "it is being emptied" in picture(pilot))  # and why nowhere else
        await type_in(pilot, "web-9")
        await press(pilot, "ctrl+o")
        assert [(c.target, c.cluster, c.offering) for c in sent(stub, m.CreateVm)] == [("web-9", "kvm-a", "m2.small")]


async def test_only_who_may_change_hosts_names_a_kernel() -> None:
    for role, is_locked in ((Role.ADMIN, False), (Role.OPERATOR, True)):
        async with console(hosts_fleet(role)) as pilot:
            await line(pilot, "new-vm")
            rows = pilot.app.screen.form.rows  # type: ignore[attr-defined]
            assert {name for name, row in rows.items() if row.locked} == ({"kernel", "initrd", "cmdline"} if is_locked else set())
            assert ("the role operator may not" in picture(pilot)) is is_locked


async def test_patches_come_from_a_file(tmp_path: Path) -> None:
    stub, file = hosts_fleet(), tmp_path / "patches.json"
    file.write_text("[]")
    async with console(stub) as pilot:
        await line(pilot, "import-patches")
        await type_in(pilot, str(tmp_path))
        await press(pilot, "ctrl+o")
        assert "it is not a" in picture(pilot)  # the path may be so long that the line is folded
        await type_in(pilot, "/patches.json")
        await press(pilot, "ctrl+o")
        assert [(c.text, c.format, c.replace) for c in sent(stub, h.ImportPatches)] == [("[]", "json", False)]


async def test_a_form_is_sent_once_whatever_happens_to_the_answer() -> None:
    stub = hosts_fleet()
    async with console(stub) as pilot:
        await line(pilot, "new-zone")
        await type_in(pilot, "berlin")
        answer = stub._CreateZone

        def lost(request: h.CreateZone) -> h.ZoneRecord:
            answer(request)
            raise Unreachable("the answer was lost")

        stub._CreateZone = lost  # type: ignore[method-assign]
        await press(pilot, "ctrl+o")
        await eventually(pilot, lambda: "the answer was lost" in picture(pilot))
        stub._CreateZone = lambda request: stub.zones[-1]  # type: ignore[method-assign]
        await press(pilot, "ctrl+o")
        ids = [c.request_id for c in sent(stub, h.CreateZone)]
        assert len(ids) == 2 and ids[0] == ids[1] != ""


async def test_problems_of_fields_that_are_not_asked_are_told_too() -> None:
    stub = hosts_fleet()

    def refuse(_request: object) -> h.ZoneRecord:
        raise InvalidInput("no", problems=[Problem("moon", "it is not full")])

    stub._CreateZone = refuse  # type: ignore[method-assign]
    async with console(stub) as pilot:
        await line(pilot, "new-zone")
        await type_in(pilot, "berlin")
        await press(pilot, "ctrl+o")
        await eventually(pilot, lambda: "moon: it is not full" in picture(pilot))


async def test_rolling_maintenance_shows_its_groups_before_it_begins() -> None:
    stub = hosts_fleet()
    async with console(stub) as pilot:
        await press(pilot, *CLUSTER, "M")
        await eventually(pilot, lambda: "1. kvm-01, kvm-02   14 VMs" in picture(pilot))
        await type_in(pilot, "kernel")
        await press(pilot, "ctrl+o", "y")
        request = next(c for c in stub.calls if type(c).__name__ == "MaintainRolling" and not c.dry_run)
        assert (request.target, request.reason, request.work, request.confirmed) == ("kvm-a", "kernel", "wait", True)


# --- answers that come after the person has gone on -----------------------------------------------------------------------------------


async def test_a_form_that_was_left_asks_nothing_any_more() -> None:
    stub = hosts_fleet()
    slow = Slow(stub, "MaintainRolling")
    async with console(slow) as pilot:
        await press(pilot, *CLUSTER, "M")
        await type_in(pilot, "kernel")
        await pressed(pilot, "ctrl+o")
        await eventually(pilot, slow.asked.is_set)
        await pressed(pilot, "escape")
        slow.go.set()
        await settled(pilot)
        assert pilot.app.screen is front(pilot), "no question about a form that is gone"


async def test_what_one_form_was_refused_is_not_said_in_the_next() -> None:
    stub = hosts_fleet()
    slow = Slow(stub, "CreateZone")
    async with console(slow) as pilot:
        await line(pilot, "new-zone")
        await type_in(pilot, "paris")
        await pressed(pilot, "ctrl+o")
        await eventually(pilot, slow.asked.is_set)
        await pressed(pilot, "escape", "colon", *"new-offering", "enter")
        slow.go.set()
        await settled(pilot)
        assert "New offering" in picture(pilot) and "taken" not in picture(pilot)


async def test_a_setup_action_that_was_given_up_is_not_taken_into_the_draft(tmp_path: Path) -> None:
    with registers(tmp_path) as session:
        slow = Slow(session, "RenderTemplate")
        slow.go.set()
        async with console(slow, (120, 40)) as pilot:
            await line(pilot, "templates")
            await press(pilot, "slash")
            await type_in(pilot, "web")
            await press(pilot, "enter", "enter", "enter")
            assert "Setup action" in picture(pilot)
            await type_in(pilot, "x")
            slow.hold()
            await pressed(pilot, "ctrl+o")
            await eventually(pilot, slow.asked.is_set)
            await pressed(pilot, "escape")
            slow.go.set()
            await settled(pilot)
            assert not front(pilot).holds_edits


async def test_a_form_is_sent_once_however_often_one_asks() -> None:
    """Not every request has an id by which the daemon would know it again."""
    stub = hosts_fleet()
    slow = Slow(stub, "CreateZone")
    async with console(slow) as pilot:
        await line(pilot, "new-zone")
        await type_in(pilot, "berlin")
        await pressed(pilot, "ctrl+o", "ctrl+o", "enter")
        slow.go.set()
        await settled(pilot)
        assert len(sent(stub, h.CreateZone)) == 1 and pilot.app.screen is front(pilot)


async def test_a_form_whose_fields_have_not_come_is_not_sent() -> None:
    stub = hosts_fleet()
    async with console(stub) as pilot:
        await line(pilot, "new-zone")
        await press(pilot, "escape")
        dialog = pilot.app.get_screen("form")
        assert isinstance(dialog, FormDialog)
        seen: list[object] = []
        dialog.open(front(pilot), Form("New", (entry("name", "Name"),), lambda values: seen.append(values["name"]), lambda _reply: None))
        dialog.action_save()
        await settled(pilot)
        assert seen == []


async def test_a_long_text_is_not_thrown_away_by_one_key() -> None:
    async with console(hosts_fleet()) as pilot:
        await line(pilot, "new-zone")
        await press(pilot, "escape")
        dialog = pilot.app.get_screen("form")
        assert isinstance(dialog, FormDialog)
        form = Form("New", (entry("tasks", "Tasks", "multiline"),), lambda values: values, lambda _reply: None)
        dialog.open(front(pilot), form)
        pilot.app.push_screen(dialog)
        await settled(pilot)
        await type_in(pilot, "one")
        await press(pilot, "enter")
        await type_in(pilot, "two")
        await press(pilot, "escape")
        assert "Leave without saving?" in picture(pilot)
        await press(pilot, "escape")
        assert pilot.app.screen is dialog and dialog.form.rows["tasks"].raw == "one\ntwo"
        await press(pilot, "escape", "y")
        assert pilot.app.screen is front(pilot) and not dialog.form.rows


async def test_a_form_keeps_its_buttons_when_the_window_shrinks() -> None:
    async with console(hosts_fleet(), (160, 48)) as pilot:
        await press(pilot, "3", "m", "M")
        assert "Start [ctrl+o]" in picture(pilot)
        await pilot.resize_terminal(80, 24)
        await settled(pilot)
        assert "Start [ctrl+o]" in picture(pilot)
