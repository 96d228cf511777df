"""The console around the screens: link, sizes, panes, key map, panel of counts."""

from __future__ import annotations

import pytest

from fleet_tui.app import pane_app
from fleet_tui.backend.api import Summarize
from fleet_tui.backend.errors import UsageError
from fleet_tui.widgets.resource_table import ResourceTable
from tests.fleet_stub import StubSession, instance, line, operation
from tests.screens.console import StillClock, console, eventually, front, picture, picture_as_painted, press, settings, settled, toasts, type_in


def fleet() -> StubSession:
    session = StubSession().add(
        instance("db-04", "failed", failed_stage="startup:certificate", failure="keys differ"), instance("web-20", pending_changes=("template",)),
        instance("web-21", "starting-up", operation_id="o-1", operation="provision 7/8"), operation("o-1", "web-21"),
    )  # fmt: skip
    return session.add(*(line(n, f"line {n}") for n in range(1, 9)))


async def test_one_call_paints_the_dashboard() -> None:
    session = fleet()
    async with console(session) as pilot:
        seen = picture(pilot)
        for words in ("ATTENTION", "db-04", "failed at start", "OPERATIONS", "7/8 start-up", "3 instances", "cpu", "line 8"):
            assert words in seen, words
        assert len([c for c in session.calls if isinstance(c, Summarize)]) == 1
        assert seen.index("ATTENTION") < seen.index("INSTANCE")


async def test_the_cursor_stays_on_what_needs_attention_whatever_comes_above_it() -> None:
    session = StubSession().add(*(instance(f"web-{n}", "failed", failed_stage="startup:start", failure="no") for n in (2, 3)))
    async with console(session, (120, 40)) as pilot:
        panel = front(pilot).query_one("#attention", ResourceTable)
        panel.focus()
        await press(pilot, "j")
        here = panel.cursor_row
        session.add(instance("web-1", "failed", failed_stage="startup:start", failure="no"))
        session.touch("instance:i-web-1")
        await eventually(pilot, lambda: panel.row_count == 3)
        assert panel.cursor_row is not None and here is not None and panel.cursor_row.ref == here.ref


@pytest.mark.parametrize(("width", "apart"), [(160, 0), (100, 0), (80, 1)])
async def test_the_dashboard_adapts(width: int, apart: int) -> None:
    async with console(fleet(), (width, 24 if width == 80 else 40)) as pilot:
        lines = picture(pilot).splitlines()
        attention = next(n for n, text in enumerate(lines) if "ATTENTION" in text)
        operations = next(n for n, text in enumerate(lines) if "OPERATIONS" in text)
        assert attention == 1 and (operations > attention) == bool(apart)
        assert ("FLEET" in lines[1]) == (width == 160)
        assert any("following" in text for text in lines)
        assert all(len(text) == width for text in lines)


async def test_below_60x20_a_larger_window_is_asked_for() -> None:
    async with console(fleet(), (59, 30)) as pilot:
        assert "too small" in picture(pilot)
    async with console(fleet(), (80, 19)) as pilot:
        assert "too small" in picture(pilot)
    async with console(fleet(), (60, 20)) as pilot:
        assert "ATTENTION" in picture(pilot)


async def test_a_lost_daemon_is_said_and_comes_back_by_itself() -> None:
    session = fleet()
    async with console(session) as pilot:
        session.go_away()
        await eventually(pilot, lambda: "no link since 14:02:11 UTC" in picture(pilot))
        assert "db-04" in picture(pilot), "the last data stays"
        assert front(pilot).has_class("-stale")
        await press(pilot, "2")
        assert "no link since" in picture(pilot)
        session.come_back()
        session.add(instance("late", "new"))
        await eventually(pilot, lambda: "no link since" not in picture(pilot))
        await eventually(pilot, lambda: "late" in picture(pilot))


async def test_without_a_daemon_q_still_quits() -> None:
    session = fleet()
    session.go_away()
    async with console(session) as pilot:
        assert "the daemon does not answer" in picture(pilot)
        await press(pilot, "2", "1", "q")
        assert pilot.app._exit


async def test_escape_never_ends_the_console() -> None:
    async with console(fleet()) as pilot:
        await press(pilot, "2", "enter", *["escape"] * 6)
        assert front(pilot).KIND == "instances" and not pilot.app._exit, "a key too many, at three in the morning"
        await press(pilot, "q")
        assert pilot.app._exit


async def test_work_done_elsewhere_is_seen_here() -> None:
    session = fleet()
    async with console(session) as pilot:
        session.add(instance("ci-1", "failed", failed_stage="stop", failure="does not stop"))
        await eventually(pilot, lambda: "✗ 2 failed" in picture(pilot))
        session.add(line(50, "said by the agent"))
        await eventually(pilot, lambda: "said by the agent" in picture(pilot))


async def test_idle_asks_nothing() -> None:
    session = fleet()
    async with console(session) as pilot:
        await press(pilot, "2", "1")
        before = len(session.calls)
        await settled(pilot)
        assert len(session.calls) == before


async def test_a_person_can_rebind_by_id() -> None:
    session = StubSession().add(instance("web-1", "new"))
    async with console(session, keys={"instance.provision": "f6", "go.hosts": "D"}) as pilot:
        assert "D on dashboard is both go.hosts and instance.deprovision" in toasts(pilot)
        await press(pilot, "2")
        assert "f6 provision" in picture(pilot)
        await press(pilot, "P")
        assert session.instances["i-web-1"].state.value == "new"
        await press(pilot, "f6")
        assert session.instances["i-web-1"].state.value == "provisioning"


async def test_help_is_searched_and_run() -> None:
    async with console(fleet()) as pilot:
        await press(pilot, "question_mark")
        assert "Keys of dashboard" in picture(pilot)
        await type_in(pilot, "events")
        await press(pilot, "enter")
        assert front(pilot).KIND == "events"


async def test_dialogs_are_reused() -> None:
    async with console(fleet()) as pilot:
        await press(pilot, "2")
        for _ in range(3):
            await press(pilot, "question_mark", "escape", "x", "escape", "enter", "escape", "d", "escape")
        before = len(pilot.app._registry)
        for _ in range(3):
            await press(pilot, "question_mark", "escape", "x", "escape", "enter", "escape", "d", "escape")
        assert len(pilot.app._registry) <= before


async def test_read_only_cannot_be_taken_back() -> None:
    session = fleet()
    async with console(session) as pilot:
        await press(pilot, "colon")
        await type_in(pilot, "read-only")
        await press(pilot, "enter")
        assert "READ-ONLY" in picture(pilot)
        await press(pilot, "T")
        assert "this console is read-only" in toasts(pilot)


async def test_a_simulated_site_says_so_at_all_times() -> None:
    async with console(StubSession(simulated=True)) as pilot:
        for key in "123790":
            await press(pilot, key)
            assert "SIMULATED" in picture(pilot)


@pytest.mark.parametrize("kind", ["dashboard", "instances", "operations", "logs"])
async def test_a_pane_only_looks(kind: str) -> None:
    session = fleet()
    app = pane_app(settings(), lambda: session, (kind, "web-21") if kind == "logs" else (kind,), StillClock())
    async with console(session, (60, 12), app=app) as pilot:
        await eventually(pilot, lambda: ("line 8" if kind == "logs" else "web-21") in picture(pilot))
        assert session.read_only
        for key in ("colon", "P", "T", "K", "n", "x", "question_mark", "enter", "slash", "2"):
            await press(pilot, key)
        assert kind == front(pilot).KIND
        assert len(pilot.app.screen_stack) == 1
        await press(pilot, "q")
        assert pilot.app._exit


def test_an_unknown_pane_is_refused() -> None:
    with pytest.raises(UsageError):
        pane_app(settings(), StubSession, ("kitchen",))


async def test_the_dashboard_is_fresh_after_an_absence() -> None:
    session = fleet()
    async with console(session) as pilot:
        await press(pilot, "2")
        session.add(instance("aa-1", "failed", failed_stage="stop", failure="does not stop"))
        await eventually(pilot, lambda: "✗ 2 failed" in picture(pilot))
        await press(pilot, "1")
        await eventually(pilot, lambda: "aa-1" in picture(pilot))


async def test_ascii_terminals_get_ascii() -> None:
    session = fleet()
    async with console(session, (80, 24), ascii=True) as pilot:
        for keys in (["1"], ["2"], ["enter"], ["right"], ["right"], ["question_mark"], ["escape"], ["x"]):
            await press(pilot, *keys)
            seen = picture_as_painted(pilot)
            assert seen.isascii(), sorted({c for c in seen if not c.isascii()})
            assert "?" not in seen.replace("? keys", "").replace("? of", "").replace(" ? ", "")


async def test_without_a_daemon_nothing_is_claimed() -> None:
    session = fleet()
    session.down = True
    async with console(session, (160, 48)) as pilot:
        await eventually(pilot, lambda: "no link" in picture(pilot))
        for said in ("nothing needs attention", "nothing runs", "no instances yet", "no agent has said"):
            assert said not in picture(pilot)


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (160, 48)])
@pytest.mark.parametrize(("keys", "alone"), [((), "INSTANCE"), (("tab",), "agent log"), (("shift+tab",), "OPERATIONS"), (("shift+tab",) * 2, "ATTENTION")])
async def test_a_zoomed_panel_is_alone_and_as_high_as_the_screen(size: tuple[int, int], keys: tuple[str, ...], alone: str) -> None:
    async with console(fleet(), size) as pilot:
        before = picture(pilot)
        await press(pilot, *keys, "f")
        shown = picture(pilot)
        assert [title for title in ("ATTENTION", "OPERATIONS", "INSTANCE", "agent log") if title in shown] == [alone]
        panel = pilot.app.screen.focused
        assert panel is not None and panel.size.height == size[1] - 2
        await press(pilot, "escape")
        assert [line[:12] for line in picture(pilot).splitlines()] == [line[:12] for line in before.splitlines()]


async def test_a_cause_that_is_long_gets_a_line_where_there_is_room() -> None:
    session = StubSession().add(instance("db-04", "failed", failed_stage="startup:certificate", failure="the key does not belong to this certificate"))
    async with console(session, (160, 48)) as pilot:
        lines = picture(pilot).splitlines()
        at = next(n for n, text in enumerate(lines) if "failed at startup:certificate" in text)
        assert "the key does not belong to this certificate " in lines[at + 1]
