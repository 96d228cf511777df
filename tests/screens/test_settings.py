"""The settings form and the dialog for a new instance: errors beside their field, nothing typed is ever lost."""

from __future__ import annotations

from dataclasses import replace

from textual.widgets import Input

from fleet_tui.backend import instances as i
from fleet_tui.screens.instance import InstanceScreen
from tests.fleet_stub import StubSession, instance
from tests.screens.console import console, eventually, front, picture, press, toasts, type_in


def edits(session: StubSession) -> list[i.EditInstance]:
    return [call for call in session.calls if isinstance(call, i.EditInstance)]


async def test_fields_say_when_they_apply_and_what_is_pending() -> None:
    session = StubSession().add(instance("web-1", pending_changes=("template",)))
    async with console(session, (120, 40)) as pilot:
        await press(pilot, "2", "e")
        seen = picture(pilot)
        assert "GENERAL" in seen and "fixed since first provision" in seen
        assert "at reprovision  was web-tiny" in seen
        assert "Size of data disk" in seen


async def test_a_wrong_value_is_said_beside_its_field_and_kept() -> None:
    session = StubSession().add(instance("web-1"))
    async with console(session, (120, 40)) as pilot:
        await press(pilot, "2", "e")
        await press(pilot, "backspace", "backspace", "backspace", "backspace", "backspace")
        await type_in(pilot, "!bad!")
        await press(pilot, "ctrl+o")
        assert "use 1 to 63 letters" in picture(pilot)
        assert not edits(session)
        assert "!bad!" in picture(pilot)


async def test_saving_sends_only_what_was_edited() -> None:
    session = StubSession().add(instance("web-1"))
    async with console(session, (120, 40)) as pilot:
        await press(pilot, "2", "e", "x", "ctrl+o")
        assert [e.changes for e in edits(session)] == [{"label": "web-1x"}]
        assert "settings of web-1x saved" in toasts(pilot)
        await eventually(pilot, lambda: "web-1x" in picture(pilot))


async def test_somebody_elses_save_is_shown_beside_ones_own() -> None:
    session = StubSession().add(instance("web-1"))
    async with console(session, (120, 40)) as pilot:
        await press(pilot, "2", "e", "x")
        session.instances["i-web-1"] = replace(session.instances["i-web-1"], label="theirs", version=2)
        await press(pilot, "ctrl+o")
        seen = picture(pilot)
        assert "they saved: theirs · yours: web-1x" in seen and "somebody else saved" in seen
        assert [e.version for e in edits(session)] == [1]
        await press(pilot, "ctrl+o")
        assert [e.version for e in edits(session)] == [1, 2], "saving again keeps mine"
        assert session.instances["i-web-1"].label == "web-1x"


async def test_theirs_can_be_taken() -> None:
    session = StubSession().add(instance("web-1"))
    async with console(session, (120, 40)) as pilot:
        await press(pilot, "2", "e", "x")
        session.instances["i-web-1"] = replace(session.instances["i-web-1"], label="theirs", version=2)
        await press(pilot, "ctrl+o", "ctrl+t")
        screen = front(pilot)
        assert isinstance(screen, InstanceScreen)
        assert not screen.holds_edits
        assert screen.settings.form.rows["label"].raw == "theirs"


async def test_leaving_with_edits_asks() -> None:
    session = StubSession().add(instance("web-1"))
    async with console(session, (120, 40)) as pilot:
        await press(pilot, "2", "e", "x", "escape")
        assert "Leave without saving?" in picture(pilot) and "Label" in picture(pilot)
        await press(pilot, "enter")
        assert front(pilot).KIND == "instance"
        await press(pilot, "escape", "y")
        assert front(pilot).KIND == "instances"


async def test_typed_text_survives_changes_and_a_lost_daemon() -> None:
    session = StubSession().add(instance("web-1"))
    async with console(session, (120, 40)) as pilot:
        await press(pilot, "2", "e", "x")
        screen = front(pilot)
        assert isinstance(screen, InstanceScreen)
        session.add(replace(session.instances["i-web-1"], version=5))
        session.go_away()
        await eventually(pilot, lambda: "no link since" in picture(pilot))
        session.come_back()
        await press(pilot, "ctrl+r")
        await eventually(pilot, lambda: "no link since" not in picture(pilot))
        assert screen.settings.form.rows["label"].raw == "web-1x"


async def test_a_new_instance_needs_only_a_name() -> None:
    session = StubSession()
    async with console(session) as pilot:
        assert "n makes the first one" in picture(pilot)
        await press(pilot, "n")
        await type_in(pilot, "web-1")
        await press(pilot, "enter")
        (request,) = [c for c in session.calls if isinstance(c, i.CreateInstance)]
        assert (request.label, request.kind, request.template, request.network) == ("web-1", "design", "hello", "local")
        assert front(pilot).KIND == "instance"
        assert "P provisions it" in picture(pilot)
        await press(pilot, "P")
        assert session.instances["i-web-1"].state.value == "provisioning"


async def test_a_refused_name_keeps_the_dialog() -> None:
    session = StubSession().add(instance("web-1"))
    async with console(session) as pilot:
        await press(pilot, "2", "n")
        await type_in(pilot, "web-1")
        await press(pilot, "enter")
        assert "'web-1' is taken" in picture(pilot)
        assert pilot.app.screen.query(Input).first().value == "web-1"
        await type_in(pilot, "b")
        await press(pilot, "enter")
        assert "i-web-1b" in session.instances
