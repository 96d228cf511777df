"""The one list: pages, events, filter, marks, views of a row."""

from __future__ import annotations

from dataclasses import replace

from fleet_tui.backend.instances import ListInstances
from fleet_tui.backend.instances.states import InstanceState
from fleet_tui.screens.detail import DetailScreen
from fleet_tui.screens.instances import InstancesScreen
from fleet_tui.screens.logs import LogsScreen
from tests.fleet_stub import StubSession, instance, line, operation
from tests.screens.console import console, eventually, front, picture, press, settled, toasts, type_in


def many(count: int) -> StubSession:
    session = StubSession()
    for number in range(count):
        session.instances[f"i-n{number:05}"] = instance(f"n{number:05}")
    return session


async def test_pages_are_fetched_only_when_the_list_is_shown() -> None:
    session = many(1200)
    async with console(session) as pilot:
        assert not [c for c in session.calls if isinstance(c, ListInstances)]
        await press(pilot, "2")
        screen = front(pilot)
        assert isinstance(screen, InstancesScreen)
        await eventually(pilot, lambda: screen.list.row_count == 1200)
        assert len([c for c in session.calls if isinstance(c, ListInstances)]) == 3
        await press(pilot, "1", "2")
        assert len([c for c in session.calls if isinstance(c, ListInstances)]) == 3, "coming back fetches nothing"


async def test_an_event_refetches_only_what_it_names() -> None:
    session = many(30)
    async with console(session) as pilot:
        await press(pilot, "2", "j", "j")
        screen = front(pilot)
        assert isinstance(screen, InstancesScreen)
        session.calls.clear()
        session.add(replace(session.instances["i-n00002"], state=InstanceState.FAILED, failed_stage="stop"))
        await eventually(pilot, lambda: "failed" in picture(pilot).splitlines()[5])
        asked = [c for c in session.calls if isinstance(c, ListInstances)]
        assert [c.refs for c in asked] == [("instance:i-n00002",)]
        assert screen.list.cursor_key == "instance:i-n00002"
        session.remove("i-n00000")
        await eventually(pilot, lambda: screen.list.row_count == 29)
        assert screen.list.cursor_key == "instance:i-n00002", "the cursor follows the row"


async def test_changes_made_while_elsewhere_are_there_on_return() -> None:
    session = many(5)
    async with console(session) as pilot:
        await press(pilot, "2", "7")
        session.add(instance("zz-new", "new"))
        await settled(pilot)
        await press(pilot, "2")
        await eventually(pilot, lambda: "zz-new" in picture(pilot))


async def test_a_filter_is_a_chip_and_survives_going_in_and_back() -> None:
    session = many(20).add(instance("web-1", "failed", failed_stage="stop"))
    async with console(session) as pilot:
        await press(pilot, "2", "slash")
        await type_in(pilot, "state:failed")
        assert "web-1" in picture(pilot) and "n00001" not in picture(pilot)
        await press(pilot, "enter")
        assert "/state:failed" in picture(pilot)
        await press(pilot, "enter", "escape")
        assert "/state:failed" in picture(pilot)
        await press(pilot, "escape")
        assert "n00001" in picture(pilot)
        await press(pilot, "slash")
        await type_in(pilot, "!n0")
        await press(pilot, "enter")
        assert "web-1" in picture(pilot) and "n00001" not in picture(pilot)


async def test_esc_takes_back_one_thing_at_a_time() -> None:
    session = many(3)
    async with console(session) as pilot:
        await press(pilot, "2", "z", "z", "space", "slash")
        await type_in(pilot, "n0")
        await press(pilot, "enter")
        screen = front(pilot)
        assert isinstance(screen, InstancesScreen)
        await press(pilot, "escape")
        assert not screen.list.marked and screen.list.filter_text
        await press(pilot, "escape")
        assert not screen.list.filter_text
        assert pilot.app.is_running
        await press(pilot, "z")
        assert screen.list.problems_only
        await press(pilot, "escape")
        assert not screen.list.problems_only


async def test_describe_raw_and_copy() -> None:
    session = StubSession().add(instance("web-1"))
    async with console(session) as pilot:
        await press(pilot, "2", "d")
        assert isinstance(front(pilot), DetailScreen)
        assert "Data disk" in picture(pilot) and "GiB" in picture(pilot)
        await press(pilot, "slash")
        await type_in(pilot, "template")
        await press(pilot, "enter", "c")
        assert "text copied" in toasts(pilot)
        assert "Template" in pilot.app.clipboard
        await press(pilot, "escape", "y")
        assert '"label": "web-1"' in picture(pilot)
        await press(pilot, "escape", "c")
        assert pilot.app.clipboard == "web-1"


async def test_logs_of_the_row_and_their_keys() -> None:
    session = StubSession().add(instance("web-1"), *(line(n, f"word {n}", label="web-1") for n in range(1, 30)))
    session.add(line(99, "other", label="web-2"))
    async with console(session) as pilot:
        await press(pilot, "2", "l")
        screen = front(pilot)
        assert isinstance(screen, LogsScreen)
        await eventually(pilot, lambda: "word 29" in picture(pilot))
        assert "other" not in picture(pilot)
        session.add(line(30, "newest", label="web-1"))
        await eventually(pilot, lambda: "newest" in picture(pilot))
        await press(pilot, "slash")
        await type_in(pilot, "29")
        await press(pilot, "enter")
        assert screen.log_panel.shown_count == 1
        await press(pilot, "escape")
        assert screen.log_panel.shown_count == 30
        await press(pilot, "4", "t", "w", "s", "m", "f")
        assert screen.has_class("-full")
        await press(pilot, "escape")
        assert not screen.has_class("-full")
        assert front(pilot) is screen, "digits are since-keys here"


async def test_operations_list_and_one_operation() -> None:
    session = StubSession().add(instance("web-1", "failed", failed_stage="startup:start"), operation("o-9", "web-1", "failed"))
    async with console(session) as pilot:
        await press(pilot, "7")
        assert "start-up: port 8080" in picture(pilot)
        await press(pilot, "enter")
        seen = picture(pilot)
        assert "✗ start-up: port 8080 is taken by process 4711" in seen and "free the port, then T" in seen
        await press(pilot, "T")
        assert len(session.operations) == 2
        await press(pilot, "K")
        assert any(op.cancel_requested_by for op in session.operations.values())


async def test_history_goes_back_forward_and_swaps() -> None:
    session = StubSession().add(instance("web-1"))
    async with console(session) as pilot:
        await press(pilot, "2", "enter", "9", "left_square_bracket")
        assert front(pilot).KIND == "instance"
        await press(pilot, "right_square_bracket")
        assert front(pilot).KIND == "events"
        await press(pilot, "minus")
        assert front(pilot).KIND == "instance"


async def test_hostile_names_are_harmless_text_on_every_screen() -> None:
    evil = "[/nope]\x1b]52;c;eA==\x07[red]\u202e"
    row = replace(instance("web-1", "failed", failed_stage=evil, failure=evil), label=evil, template=evil, fleet_tags=(evil,))
    session = StubSession().add(row, operation("o-1", evil, "failed", target_ref="instance:i-web-1"), line(1, evil, label="web-1"))
    session.touch("instance:i-web-1", "x", evil)
    async with console(session, (120, 40)) as pilot:
        for keys in (["1"], ["2"], ["enter"], ["right"], ["right"], ["right"], ["right"], ["2", "x"], ["escape", "d"], ["escape", "y"],
                     ["escape", "R"], ["escape", "7", "enter"], ["7", "d"], ["9"], ["9", "enter"], ["3"], ["question_mark"], ["escape"]):  # fmt: skip
            await press(pilot, *keys)
            seen = picture(pilot)
            assert "\x1b" not in seen and "\x07" not in seen and "\u202e" not in seen
        await press(pilot, "1")
        assert "[/nope]" in picture(pilot)


async def test_the_footer_names_enter_as_soon_as_there_is_something_to_open() -> None:
    stub = StubSession().add(instance("web-1"))
    async with console(stub, (160, 48)) as pilot:
        await press(pilot, "2", "o")
        assert "no operation" in picture(pilot)
        assert "enter open" not in picture(pilot)
        stub.add(instance("web-1", "provisioning", operation_id="o-1"), operation("o-1", "web-1"))
        await eventually(pilot, lambda: "enter open" in picture(pilot))
