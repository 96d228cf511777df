"""The settings form and the dialog for a new instance: errors beside their field, nothing typed is ever lost."""

from __future__ import annotations

from dataclasses import replace

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from fleet_tui.backend import instances as i
from fleet_tui.screens.instance import InstanceScreen
from fleet_tui.widgets.resource_table import ResourceTable
from tests.fleet_stub import NOW, StubSession, instance
from tests.screens.console import console, eventually, front, picture, press, settled, toasts, type_in
from tests.screens.test_early import Slow, pressed


def page(pilot: Pilot[int]) -> InstanceScreen:
    screen = front(pilot)
    assert isinstance(screen, InstanceScreen)
    return screen


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
        assert "not saved" not in picture(pilot), "there is nothing left to save"


async def test_leaving_with_edits_asks() -> None:
    session = StubSession().add(instance("web-1"))
    async with console(session, (120, 40)) as pilot:
        await press(pilot, "2", "e", "x", "escape", "escape")
        assert "Leave without saving?" in picture(pilot) and "Label" in picture(pilot)
        await press(pilot, "enter")
        assert front(pilot).KIND == "instance"
        await press(pilot, "escape", "y")
        assert front(pilot).KIND == "instances"


async def test_escape_leaves_the_fields_first_and_keeps_what_was_typed() -> None:
    session = StubSession().add(instance("web-1"))
    async with console(session, (120, 40)) as pilot:
        await press(pilot, "2", "e", "x", "escape")
        assert page(pilot).tab == "settings" and page(pilot).settings.form.focused_row is None
        assert "right next tab" in picture(pilot).splitlines()[-1]
        await press(pilot, "right", "left")
        assert page(pilot).settings.form.rows["label"].raw == "web-1x"
        await press(pilot, "ctrl+o")
        assert [e.changes for e in edits(session)] == [{"label": "web-1x"}]
        await press(pilot, "e", "escape", "left")
        assert page(pilot).tab == "overview"
        await press(pilot, "escape")
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


# --- answers that come while one types ------------------------------------------------------------------------------------------------


async def test_what_is_typed_during_a_save_stays_and_so_does_the_cursor() -> None:
    session = StubSession().add(instance("web-1"))
    slow = Slow(session, "EditInstance")
    async with console(slow, (120, 40)) as pilot:
        await press(pilot, "2", "e", "x")
        await pressed(pilot, "ctrl+o")
        await eventually(pilot, slow.asked.is_set)
        rows = page(pilot).settings.form.rows
        rows["fleet_tags"].editor.focus()
        await pressed(pilot, *"prod")
        slow.go.set()
        await settled(pilot)
        assert "settings of web-1x saved" in toasts(pilot)
        assert page(pilot).settings.edited() == [rows["fleet_tags"].field.title]
        await type_in(pilot, "uction")
        await press(pilot, "ctrl+o")
        assert [(e.version, e.changes) for e in edits(session)] == [(1, {"label": "web-1x"}), (2, {"fleet_tags": ["production"]})]
        assert "somebody else" not in picture(pilot) and not page(pilot).holds_edits


async def test_the_field_that_is_saved_can_be_typed_on_in() -> None:
    """It stands on what was saved then, and nobody is said to have changed it."""
    session = StubSession().add(instance("web-1"))
    slow = Slow(session, "EditInstance")
    async with console(slow, (120, 40)) as pilot:
        await press(pilot, "2", "e", "x")
        await pressed(pilot, "ctrl+o")
        await eventually(pilot, slow.asked.is_set)
        await pressed(pilot, "y")
        slow.go.set()
        await settled(pilot)
        row = page(pilot).settings.form.rows["label"]
        assert row.raw == "web-1xy" and row.edited and "they saved" not in picture(pilot)
        await press(pilot, "z", "ctrl+o")
        assert [(e.version, e.changes) for e in edits(session)] == [(1, {"label": "web-1x"}), (2, {"label": "web-1xyz"})]


@pytest.mark.parametrize("theirs", ["notes", "label"])
async def test_what_is_typed_while_others_changes_are_fetched_stays(theirs: str) -> None:
    session = StubSession().add(instance("web-1"))
    slow = Slow(session, "ShowSettings")
    slow.go.set()
    async with console(slow, (120, 40)) as pilot:
        await press(pilot, "2", "e", "home")
        slow.hold()
        session.saved["web-1"] = {theirs: "theirs"}
        session.add(replace(session.instances["i-web-1"], version=2))
        await eventually(pilot, slow.asked.is_set)
        await pressed(pilot, "z")
        slow.go.set()
        await settled(pilot)
        rows = page(pilot).settings.form.rows
        await press(pilot, "y")
        assert rows["label"].raw == "zyweb-1", "the cursor is where it was"
        if theirs == "notes":
            assert rows["notes"].raw == "theirs" and not rows["notes"].edited and "somebody else" not in picture(pilot)
        else:
            assert "they saved: theirs" in picture(pilot) and "somebody else saved these settings meanwhile, 1 of your fields" in picture(pilot)
        await press(pilot, "ctrl+o")
        assert [(e.version, e.changes) for e in edits(session)] == [(2, {"label": "zyweb-1"})]


async def test_fields_that_come_and_go_take_nothing_that_was_typed() -> None:
    """Another virtual network means other fields."""
    session = StubSession().add(instance("web-1", "new", machine=None))
    async with console(session, (120, 40)) as pilot:
        await press(pilot, "2", "e", "x")
        before = list(page(pilot).settings.form.rows)
        screen = page(pilot)
        screen.on_record.strategy = "letsencrypt"
        screen.on_record.reload("i-web-1")
        await settled(pilot)
        rows = screen.settings.form.rows
        assert list(rows) != before
        await press(pilot, "y")
        assert rows["label"].raw == "web-1xy" and rows["label"].edited and pilot.app.focused is rows["label"].editor


async def test_a_second_save_waits_for_the_answer_to_the_first() -> None:
    session = StubSession().add(instance("web-1"))
    slow = Slow(session, "EditInstance")
    async with console(slow, (120, 40)) as pilot:
        await press(pilot, "2", "e", "x")
        await pressed(pilot, "ctrl+o", "ctrl+o")
        assert "the last save is not answered yet" in toasts(pilot)
        slow.go.set()
        await settled(pilot)
        assert len(edits(session)) == 1 and "settings of web-1x saved" in toasts(pilot) and "somebody else" not in picture(pilot)
        await press(pilot, "y", "ctrl+o")
        assert [e.version for e in edits(session)] == [1, 2]


# --- one instance after another -------------------------------------------------------------------------------------------------------


async def test_nothing_of_one_instance_is_shown_or_saved_under_another() -> None:
    session = StubSession().add(instance("web-1"), instance("web-2"))
    slow = Slow(session, "ShowInstance", "ShowSettings")
    slow.go.set()
    async with console(slow, (120, 40)) as pilot:
        await press(pilot, "2", "e", "escape", "escape", "j")
        slow.hold()
        await pressed(pilot, "e")
        assert front(pilot).ref == "instance:i-web-2"
        await pressed(pilot, "ctrl+o")
        assert not page(pilot).settings.form.rows and "web-1" not in picture(pilot)
        slow.go.set()
        await settled(pilot)
        assert not edits(session)
        assert pilot.app.screen is page(pilot)
        await press(pilot, "y", "ctrl+o")
        assert [(e.target, e.changes) for e in edits(session)] == [("i-web-2", {"label": "web-2y"})]


async def test_lists_of_the_instance_before_are_not_listed_under_this_one() -> None:
    session = StubSession().add(instance("web-1"), instance("web-2"))
    session.snapshots = [i.SnapshotRecord("s-1", "i-web-1", "by hand", False, 36_864, NOW)]
    slow = Slow(session, "ListSnapshots")
    async with console(slow, (120, 40)) as pilot:
        await press(pilot, "2", "enter")
        await pressed(pilot, "right", "right", "right")
        await eventually(pilot, slow.asked.is_set)
        await pressed(pilot, "escape", "j", "enter")
        await eventually(pilot, lambda: front(pilot).ref == "instance:i-web-2")
        slow.go.set()
        await settled(pilot)
        assert page(pilot).query_one("#snapshots", ResourceTable).row_count == 0


@pytest.mark.parametrize("refused", [False, True])
async def test_an_answer_about_the_instance_before_reaches_no_field_of_this_one(refused: bool) -> None:
    session = StubSession().add(instance("web-1"), instance("web-2"))
    slow = Slow(session, "EditInstance")
    async with console(slow, (120, 40)) as pilot:
        await press(pilot, "2", "e", "x")
        session.refuse = {"label": "it is not liked"} if refused else {}
        await pressed(pilot, "ctrl+o")
        await eventually(pilot, slow.asked.is_set)
        session.refuse = {}
        await pressed(pilot, "escape", "escape")
        await eventually(pilot, lambda: "Leave without saving?" in picture(pilot))
        await pressed(pilot, "y")
        await eventually(pilot, lambda: front(pilot).KIND == "instances")
        await pressed(pilot, "j", "e")
        await eventually(pilot, lambda: front(pilot).ref == "instance:i-web-2")
        await eventually(pilot, lambda: page(pilot).settings.form.focused_row is not None)
        await pressed(pilot, "q")
        slow.go.set()
        await settled(pilot)
        rows = page(pilot).settings.form.rows
        assert rows["label"].raw == "web-2q" and not rows["label"].has_class("-wrong")
        assert ("settings of web-1 were not saved" if refused else "settings of web-1x saved") in toasts(pilot)
        await press(pilot, "ctrl+o")
        assert [(e.target, e.version) for e in edits(session)] == [("i-web-1", 1), ("i-web-2", 1)]


# --- a new one ------------------------------------------------------------------------------------------------------------------------


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
