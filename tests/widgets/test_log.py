"""The log: ring, queue and reader by themselves, then the panel under a pilot."""

from __future__ import annotations

import pathlib
import threading
from typing import Any

import pytest
from textual.app import App, ComposeResult

from fleet_tui.backend.text import LINE_LIMIT
from fleet_tui.widgets.log_lines import wrapped
from fleet_tui.widgets.log_queue import LogQueue
from fleet_tui.widgets.log_reader import LogReader
from fleet_tui.widgets.log_ring import KINDS_LIMIT, Entry, LogRing
from fleet_tui.widgets.log_view import LogView

NOON = 1_764_072_000.0


def entry(n: int, level: str = "info", text: str = "", label: str = "web-1") -> Entry:
    return Entry(n, NOON + n, "agent", "start", level, text or f"line {n}", label)


def entries(start: int, end: int) -> list[Entry]:
    return [entry(n) for n in range(start, end)]


def texts(ring: LogRing) -> list[str]:
    return [ring.text(number) for number in range(ring.first, ring.end)]


class TestRing:
    def test_keeps_the_last(self) -> None:
        ring = LogRing(3)
        ring.append(entries(0, 8))
        assert texts(ring) == ["line 5", "line 6", "line 7"]
        assert (ring.first, ring.end, ring.seq(7)) == (5, 8, 7)

    def test_older_lines_go_before_the_first_as_far_as_there_is_room(self) -> None:
        ring = LogRing(5)
        ring.append(entries(10, 13))
        assert ring.prepend(entries(0, 10)) == 2
        assert texts(ring) == ["line 8", "line 9", "line 10", "line 11", "line 12"]
        ring.append(entries(13, 15))
        assert texts(ring) == [f"line {n}" for n in range(10, 15)]
        assert ring.prepend(entries(0, 10)) == 0

    def test_a_long_line_is_cut_and_says_so(self) -> None:
        ring = LogRing(1)
        ring.append([entry(0, text="x" * 1_000_000)])
        assert len(ring.text(0)) < LINE_LIMIT + 40
        assert ring.text(0).endswith("more characters cut]")

    def test_labels_that_never_repeat_do_not_pile_up(self) -> None:
        ring = LogRing(10)
        for start in range(0, 3 * KINDS_LIMIT, 8):
            ring.append(entry(n, label=f"{n}-" * 100) for n in range(start, start + 8))
        assert len(ring.kinds) <= KINDS_LIMIT
        for number in range(ring.first, ring.end):
            assert ring.kind(number).label.startswith(f"{ring.seq(number)}-")


class TestQueue:
    def test_wakes_its_reader_once(self) -> None:
        queue = LogQueue(100)
        assert queue.put(entries(0, 2)) is True
        assert queue.put(entries(2, 4)) is False
        assert queue.take(3) == (entries(0, 3), 0, 1)
        assert queue.take(3) == (entries(3, 4), 0, 0)
        assert queue.put(entries(4, 5)) is False
        queue.take(3)
        assert queue.take(3) is None
        assert queue.put(entries(5, 6)) is True

    def test_counts_what_it_drops(self) -> None:
        queue = LogQueue(10)
        queue.put(entries(0, 8))
        queue.put(entries(8, 25))
        assert queue.behind == 25
        assert queue.take(100) == (entries(15, 25), 15, 0)

    def test_loses_nothing_between_threads(self) -> None:
        queue = LogQueue(1_000_000)
        threads = [threading.Thread(target=lambda: [queue.put([entry(n)]) for n in range(500)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        taken = queue.take(10_000)
        assert taken is not None and len(taken[0]) == 2000


class TestReader:
    @staticmethod
    def reader(count: int, rows: int = 1) -> LogReader:
        ring = LogRing(100)
        ring.append(entries(0, count))
        return LogReader(ring, lambda number: rows)

    def test_follows_the_end(self) -> None:
        reader = self.reader(20)
        assert reader.view(3) == [(17, 0), (18, 0), (19, 0)]

    def test_scrolling_up_ends_following_and_the_end_begins_it(self) -> None:
        reader = self.reader(20)
        assert reader.move(-2, 3)
        assert (reader.is_following, reader.view(3)[0]) == (False, (15, 0))
        reader.ring.append(entries(20, 25))
        reader.grew(20)
        assert (reader.unseen, reader.view(3)[0]) == (5, (15, 0))
        reader.move(100, 3)
        assert (reader.is_following, reader.unseen) == (True, 0)

    def test_wrapped_lines_scroll_by_rows(self) -> None:
        reader = self.reader(5, rows=3)
        reader.move(-1, 4)
        assert reader.view(4) == [(3, 1), (3, 2), (4, 0), (4, 1)]
        reader.move(-100, 4)
        assert reader.view(2) == [(0, 0), (0, 1)]
        assert reader.move(-1, 4) is False

    def test_filters(self) -> None:
        reader = self.reader(0)
        reader.ring.append(
            [entry(0, "debug"), entry(1, "error", "disk full"), entry(2, "warn", "disk slow"), entry(3, "gap")]
        )
        reader.set_filter(rank=2, since=0, words=())
        assert [reader.at(i) for i in range(reader.count)] == [1, 2, 3]
        reader.set_filter(rank=0, since=NOON + 1, words=(("disk", False), ("slow", True)))
        assert [reader.at(i) for i in range(reader.count)] == [1]
        reader.ring.append([entry(4, text="disk gone")])
        reader.grew(4)
        assert [reader.at(i) for i in range(reader.count)] == [1, 4]

    def test_search_goes_round(self) -> None:
        reader = self.reader(50)
        reader.needle = "line 7"
        assert reader.find(1, 5) and reader.hit == 7
        assert reader.view(5)[1] == (7, 0)
        reader.needle = "line 4"
        assert reader.find(1, 5) and reader.hit == 40
        assert reader.find(-1, 5) and reader.hit == 4
        assert reader.find(-1, 5) and reader.hit == 49
        reader.needle = "nowhere"
        assert not reader.find(1, 5)

    def test_there_is_room_for_what_pushes_out_nothing_in_view(self) -> None:
        reader = self.reader(90)
        assert reader.room == 100
        reader.move(-10, 10)
        assert reader.room == 100 - (90 - 70)


class LogApp(App[None]):
    CSS_PATH = pathlib.Path(__file__).parents[2] / "styles" / "tokens.tcss"

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.panel = LogView("agent log", now=lambda: NOON, **options)
        self.reached = 0

    def compose(self) -> ComposeResult:
        yield self.panel

    def on_mount(self) -> None:
        self.panel.focus()

    def on_log_view_top_reached(self) -> None:
        self.reached += 1

    @property
    def picture(self) -> list[str]:
        return [self.panel.render_line(y).text.rstrip() for y in range(self.panel.size.height)]


@pytest.fixture
async def app() -> Any:
    made = LogApp(max_lines=200)
    async with made.run_test(size=(70, 10)) as pilot:
        made.pilot = pilot  # type: ignore[attr-defined]
        yield made


async def test_lines_are_laid_out_in_columns(app: Any) -> None:
    app.panel.feed([entry(1), entry(2, "error", "keys differ", label="db-04"), entry(3, "warn", "slow")])
    assert app.picture[0].startswith("─ agent log ──") and app.picture[0].endswith(" following ─")
    assert app.picture[1:4] == [
        " 12:00:01 web-1  start  line 1",
        " 12:00:02 db-04  start  ✗ keys differ",
        " 12:00:03 web-1  start  ! slow",
    ]


async def test_scrolling_up_pauses_counts_and_end_follows_again(app: Any) -> None:
    app.panel.feed(entries(0, 100))
    await app.pilot.press("up", "up")
    before = app.picture[1:]
    app.panel.feed(entries(100, 130))
    assert app.picture[1:] == before
    assert app.picture[0].endswith("30 new · paused ─")
    await app.pilot.press("end")
    assert app.picture[-1].endswith("line 129") and app.panel.following


async def test_a_reader_is_not_pushed_off_by_new_lines(app: Any) -> None:
    app.panel.feed(entries(0, 200))
    await app.pilot.press("pageup")
    before = app.picture[1:]
    app.panel.feed(entries(200, 1000))
    assert app.picture[1:] == before
    assert app.panel.unseen == 800
    await app.pilot.press("end")
    assert app.picture[-1].endswith("line 999")
    assert app.panel.skipped > 0 and "skipped" in app.picture[0]


async def test_pouring_from_a_thread_arrives_and_then_nothing_runs(app: Any) -> None:
    thread = threading.Thread(target=app.panel.pour, args=(entries(0, 5),))
    thread.start()
    thread.join()
    for _ in range(200):
        await app.pilot.pause(0.02)
        if app.panel.line_count == 5 and app.panel._queue.take(1) is None and app.panel._timer is None:
            break
    assert (app.panel.line_count, app.panel._timer) == (5, None)


async def test_a_gap_is_stated_where_it_is(app: Any) -> None:
    app.panel.feed(entries(0, 2))
    app.panel.say_gap(12_300)
    app.panel.feed(entries(2, 3))
    assert app.picture[3] == " … 12,300 lines skipped …"


async def test_what_pours_too_fast_is_dropped_and_stated(app: Any) -> None:
    app.panel.pour(entries(0, 5000))
    app.panel._drain()
    assert app.panel.line_count == 200
    assert app.panel.skipped == 5000 - 199
    app.panel.top()
    assert "4,801 lines skipped" in app.picture[1]


async def test_wrap_level_filter_since_times_and_mark(app: Any) -> None:
    app.panel.feed([entry(-400, text="old"), entry(0, "debug", "noise"), entry(-1, "error", "x" * 100)])
    app.panel.toggle_wrap()
    assert sum("x" * 5 in line for line in app.picture) > 1
    app.panel.toggle_wrap()
    app.panel.toggle_timestamps()
    assert app.picture[1] == " web-1  start  old"
    app.panel.since(2)
    assert "old" not in "".join(app.picture) and "last 5m" in app.picture[0]
    app.panel.since(0)
    app.panel.level = "info"
    assert "noise" not in "".join(app.picture)
    app.panel.filter_text = "!old"
    assert app.panel.shown_count == 1
    app.panel.mark()
    assert app.picture[2].startswith(" ── mark 12:00:00 ──")
    app.panel.clear()
    assert app.panel.line_count == 0


async def test_search_highlights_and_says_when_nothing_is_found(app: Any) -> None:
    app.panel.feed(entries(0, 100))
    assert app.panel.search("LINE 42")
    (found,) = [y for y, line in enumerate(app.picture) if line.endswith("line 42")]
    assert any(s.text == "line 42" and s.style.reverse for s in app.panel.render_line(found))
    assert app.picture[found].startswith("›")
    assert not app.panel.search("nowhere")
    assert '"nowhere" not found' in app.picture[0]


async def test_the_top_asks_for_older_lines_which_do_not_move_the_view(app: Any) -> None:
    app.panel.feed(entries(50, 100))
    await app.pilot.press("home")
    assert app.reached == 1
    before = app.picture[1:]
    assert app.panel.prepend(entries(0, 50)) == 50
    assert app.picture[1:] == before
    await app.pilot.press("up")
    assert app.picture[1].endswith("line 49")


async def test_new_lines_repaint_only_themselves_while_there_is_room(app: Any) -> None:
    app.panel.feed(entries(0, 3))
    await app.pilot.pause()
    asked: list[Any] = []
    app.panel.refresh = lambda *regions, **options: asked.extend(regions or [None])
    app.panel.feed(entries(3, 5))
    assert [(region.y, region.height) for region in asked] == [(4, 1), (5, 1)]
    asked.clear()
    app.panel.feed([])
    assert asked == []


def test_lines_are_broken_between_words_and_nothing_is_lost() -> None:
    assert wrapped("file 5 of 90, left", 10) == ["file 5 of", "90, left"]
    assert wrapped("a" * 25, 10) == ["a" * 10, "a" * 10, "a" * 5]
    assert wrapped("x " + "a" * 12, 10) == ["x aaaaaaaa", "aaaa"], "half an empty row would waste more than a broken word"
    assert wrapped("", 10) == [""]
    assert wrapped("✗ file 17 of", 9) == ["✗ file 17", "of"], "what is one cell wide is broken alike"
    text = " ".join("word" * (n % 5 + 1) for n in range(60))
    assert all(len(piece) <= 24 for piece in wrapped(text, 24))
    assert "".join(wrapped(text, 24)).replace(" ", "") == text.replace(" ", "")


async def test_an_empty_log_says_so_once_that_is_known() -> None:
    made = LogApp(empty="nothing yet")
    async with made.run_test(size=(70, 10)) as pilot:
        assert not any(made.picture[1:])
        made.panel.tell()
        assert made.picture[2] == "  nothing yet"
        made.panel.feed(entries(0, 1))
        await pilot.pause()
        assert made.picture[2] == ""
        made.panel.filter_text = "no such word"
        assert made.picture[2] == "  nothing matches"
