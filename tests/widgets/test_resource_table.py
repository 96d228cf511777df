"""The table under a pilot: the cursor follows its row, marks, filter, order, and how little is repainted."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.geometry import Region

from fleet_tui.widgets.resource_table import Column, ResourceTable


class Counted(ResourceTable):
    """A table that notes what it asked to have repainted."""

    repainted: list[Region | None]

    def refresh(self, *regions: Region, **options: Any) -> Any:
        self.__dict__.setdefault("repainted", []).extend(regions or [None])
        return super().refresh(*regions, **options)


class TableApp(App[None]):
    CSS_PATH = pathlib.Path(__file__).parents[2] / "styles" / "tokens.tcss"

    def __init__(self) -> None:
        super().__init__()
        self.said: list[Any] = []
        self.table = Counted(
            [
                Column("name", "NAME", 12, priority=9),
                Column("state", "STATE", 10),
                Column("size", "SIZE", 6, align="right", sort=lambda r: r["size"], render=lambda r: f"{r['size']} GB"),
            ],
            status_of=lambda r: r["state"],
            matches=lambda r, term: r["state"] == term.removeprefix("state:"),
            empty="no hosts yet · n adds one",
        )

    def compose(self) -> ComposeResult:
        yield self.table

    def on_mount(self) -> None:
        self.table.focus()

    def on_resource_table_highlighted(self, message: ResourceTable.Highlighted) -> None:
        self.said.append(("highlighted", message.key))

    def on_resource_table_opened(self, message: ResourceTable.Opened) -> None:
        self.said.append(("opened", message.key))

    def on_resource_table_marks_changed(self, message: ResourceTable.MarksChanged) -> None:
        self.said.append(("marked", set(message.marked)))


def rows(count: int, **changes: Any) -> list[tuple[str, dict[str, Any]]]:
    states = ("well", "well", "failed", "off")
    return [
        (f"k{n}", {"name": f"web-{n}", "state": states[n % 4], "size": (n * 7) % 10, **changes}) for n in range(count)
    ]


def picture(table: ResourceTable) -> list[str]:
    return [table.render_line(y).text for y in range(table.size.height)]


@pytest.fixture
async def app() -> Any:
    made = TableApp()
    async with made.run_test(size=(60, 12)) as pilot:
        made.pilot = pilot  # type: ignore[attr-defined]
        made.table.set_rows(rows(100))
        await pilot.pause()
        made.said.clear()
        made.table.repainted.clear()
        yield made


async def test_an_empty_table_says_what_to_press() -> None:
    made = TableApp()
    async with made.run_test(size=(60, 12)) as pilot:
        made.table.set_rows([])
        await pilot.pause()
        assert "no hosts yet · n adds one" in picture(made.table)[2]
        made.table.set_rows(rows(1))
        made.table.filter_text = "zzz"
        assert "esc clears the filter" in picture(made.table)[2]


async def test_a_table_that_was_told_nothing_does_not_say_that_there_is_nothing() -> None:
    made = TableApp()
    async with made.run_test(size=(60, 12)) as pilot:
        assert not any(line.strip() for line in picture(made.table)[1:])
        made.table.set_rows([])
        await pilot.pause()
        assert "no hosts yet" in picture(made.table)[2]


async def test_the_count_stands_apart_from_titles_and_marks_are_told_first(app: Any) -> None:
    assert picture(app.table)[0].split() == ["NAME", "STATE", "1/100", "SIZE"]
    app.table.mark_filtered()
    assert "100 marked · 1/100" in picture(app.table)[0]
    app.table.set_columns([Column("name", "NAME", 20), Column("state", "STATE", 18), Column("size", "S" * 16, 16)])
    assert "100 marked" in picture(app.table)[0] and "1/100" not in picture(app.table)[0]


async def test_keys_move_the_cursor_and_open(app: Any) -> None:
    await app.pilot.press("down", "down", "pagedown", "up", "enter")
    assert app.table.cursor_key == "k11"
    assert app.said[-1] == ("opened", "k11")
    await app.pilot.press("end")
    assert (app.table.cursor_key, "web-99" in picture(app.table)[-1]) == ("k99", True)
    await app.pilot.press("home")
    assert app.table.cursor_key == "k0"


async def test_a_cursor_move_repaints_two_lines_and_the_count(app: Any) -> None:
    await app.pilot.press("down")
    lines = [region.y for region in app.table.repainted if region is not None]
    assert None not in app.table.repainted
    assert set(lines) <= {0, 1, 2}


async def test_a_changed_cell_repaints_only_its_cells(app: Any) -> None:
    app.table.update_row("k3", {"name": "web-3", "state": "off", "size": 9})
    (region,) = app.table.repainted
    assert (region.y, region.width) == (4, 1)
    app.table.repainted.clear()
    app.table.update_row("k77", {"name": "web-77", "state": "off", "size": 9})
    assert app.table.repainted == []


async def test_the_same_rows_again_repaint_nothing(app: Any) -> None:
    app.table.set_rows(rows(100))
    assert app.table.repainted == []


async def test_rows_put_before_the_cursor_move_neither_it_nor_the_screen(app: Any) -> None:
    app.table.cursor_key = "k50"
    before = picture(app.table)[1:]
    app.table.set_rows([("new", {"name": "new", "state": "well", "size": 1}), *rows(100)])
    assert app.table.cursor_key == "k50"
    assert picture(app.table)[1:] == before


async def test_at_the_top_a_new_first_row_is_seen(app: Any) -> None:
    app.table.set_rows([("new", {"name": "new", "state": "well", "size": 1}), *rows(100)])
    assert app.table.cursor_key == "k0"
    assert picture(app.table)[1].startswith("  new")


async def test_when_its_row_goes_the_cursor_takes_the_next(app: Any) -> None:
    app.table.cursor_key = "k5"
    app.table.remove_row("k5")
    assert app.table.cursor_key == "k6"
    app.table.set_rows([])
    assert (app.table.cursor_key, app.table.cursor_row) == (None, None)


async def test_a_removed_row_paints_as_blank_until_order_is_restored(app: Any) -> None:
    app.table._set.remove("k2")
    assert picture(app.table)[3].strip() == ""


async def test_sorting_keeps_the_cursor_on_its_row(app: Any) -> None:
    app.table.cursor_key = "k3"
    app.table.sort("size")
    assert app.table.cursor_key == "k3"
    assert "SIZE▲" in picture(app.table)[0]
    app.table.reverse_sort()
    assert "SIZE▼" in picture(app.table)[0]
    sizes = [app.table.row(key)["size"] for key in app.table.shown_keys]
    assert sizes == sorted(sizes, reverse=True)


async def test_filter_and_problems(app: Any) -> None:
    app.table.filter_text = "web-1 !state:well"
    assert all(app.table.row(key)["state"] != "well" for key in app.table.shown_keys)
    app.table.filter_text = ""
    app.table.problems_only = True
    assert {app.table.row(key)["state"] for key in app.table.shown_keys} == {"failed"}
    assert " of 100" in picture(app.table)[0]


async def test_marks(app: Any) -> None:
    app.table.toggle_mark()
    app.table.move(3)
    app.table.mark_range()
    assert app.table.marked == {"k0", "k1", "k2", "k3"}
    assert picture(app.table)[2].startswith("✓ ")
    app.table.remove_row("k1")
    assert app.table.marked == {"k0", "k2", "k3"}
    app.table.filter_text = "web-9"
    app.table.mark_filtered()
    assert len(app.table.marked) == 3 + 11
    app.table.clear_marks()
    await app.pilot.pause()
    assert app.said[-1] == ("marked", set())


async def test_focus_shows_without_colour(app: Any) -> None:
    focused = [segment.style.reverse for segment in app.table.render_line(1)]
    app.set_focus(None)
    await app.pilot.pause()
    blurred = app.table.render_line(1)
    assert all(focused) and not any(segment.style.reverse for segment in blurred)
    assert blurred.text.startswith("› ")


async def test_touch_repaints_only_what_the_time_changed(app: Any) -> None:
    app.table.touch()
    assert app.table.repainted == []
    app.table.row("k1")["size"] = 5
    app.table.touch()
    assert [region.y for region in app.table.repainted] == [2]


async def test_every_painted_line_is_as_wide_as_the_table(app: Any) -> None:
    app.table.update_row("k1", {"name": "漢字漢字漢字漢字漢字", "state": "\x1b[2J", "size": 3})
    for width in (20, 30, 41, 60):
        await app.pilot.resize_terminal(width, 12)
        await app.pilot.pause()
        for y in range(12):
            strip = app.table.render_line(y)
            assert sum(segment.cell_length for segment in strip) == width
