"""The map under a pilot: every letter where it belongs, a cursor that is seen without colour, and how little is repainted."""

from __future__ import annotations

import pathlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from textual.app import App, ComposeResult
from textual.geometry import Region

from fleet_tui.backend.networks import MapRecord, RangeRecord
from fleet_tui.backend.networks.states import Isolation, Scope
from fleet_tui.widgets.vlan_cells import cell
from fleet_tui.widgets.vlan_grid import GROUP, GROUP_CELLS, VlanGrid
from fleet_tui.widgets.vlan_hosts import HostRows
from fleet_tui.widgets.vlan_space import VlanSpace, matching
from tests.networks_stub import guest_net, physical, presence, taken, vxlan
from tests.widgets.test_vlan_space import networks


class Counted(VlanGrid):
    """A map that notes what it asked to have repainted."""

    repainted: list[Region | None]

    def refresh(self, *regions: Region, **options: Any) -> Any:
        self.__dict__.setdefault("repainted", []).extend(regions or [None])
        return super().refresh(*regions, **options)


class GridApp(App[None]):
    CSS_PATH = pathlib.Path(__file__).parents[2] / "styles" / "tokens.tcss"

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.grid = Counted()
        self.hosts = HostRows(self.grid)

    def compose(self) -> ComposeResult:
        yield self.grid
        yield self.hosts

    def on_mount(self) -> None:
        self.grid.focus()

    def on_vlan_grid_moved(self, _message: VlanGrid.Moved) -> None:
        self.said.append("moved")

    def on_vlan_grid_opened(self, _message: VlanGrid.Opened) -> None:
        self.said.append("opened")


def usual(problems: bool = True) -> MapRecord:
    row, rows = guest_net(problems=problems)
    return MapRecord(row, tuple(rows))


def overlay() -> MapRecord:
    row, rows = vxlan()
    return MapRecord(row, tuple(rows))


def picture(grid: VlanGrid) -> list[str]:
    return [grid.render_line(y).text for y in range(grid.size.height)]


def letters(grid: VlanGrid, y: int) -> tuple[int, str]:
    """First ID of a line, and its letters without blanks between the groups and without the brackets."""
    line = grid.render_line(y).text
    label = grid.label_cells
    groups = [line[label + n * GROUP_CELLS : label + (n + 1) * GROUP_CELLS] for n in range(grid.per_row // GROUP)]
    return int(line[:label]), "".join(group.replace("[", "").replace("]", "") if "[" in group else group[1:-1] for group in groups)


@pytest.fixture
async def app() -> Any:
    made = GridApp()
    async with made.run_test(size=(80, 24)) as pilot:
        made.pilot = pilot  # type: ignore[attr-defined]
        made.grid.show(VlanSpace(usual()))
        await pilot.pause()
        made.said.clear()
        made.grid.repainted.clear()
        yield made


async def test_each_letter_stands_under_its_heading(app: Any) -> None:
    grid = app.grid
    heading = grid.render_line(0).text
    assert heading.split() == ["0", "10", "20", "30", "40"]
    grid.go(640)
    line = next(line for line in picture(grid) if line.startswith(" 600"))
    other = next(line for line in picture(grid) if line.startswith(" 650"))
    assert line[heading.index("20")] == "#" and other[heading.index("10")] == "!"
    assert line[heading.index("40") - 1 : heading.index("40") + 2] == "[#]"


@pytest.mark.parametrize("width, per_row", [(160, 50), (80, 50), (66, 50), (60, 40), (45, 30), (20, 10), (10, 10)])
async def test_fifty_ids_a_row_where_there_is_room(width: int, per_row: int) -> None:
    made = GridApp()
    async with made.run_test(size=(width, 20)) as pilot:
        made.grid.show(VlanSpace(usual()))
        await pilot.pause()
        assert made.grid.per_row == per_row
        assert made.grid.render_line(1).cell_length == width


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_what_is_drawn_is_what_is(data: Any) -> None:
    made = GridApp()
    async with made.run_test(size=(data.draw(st.sampled_from((80, 60, 30))), 14)) as pilot:
        grid = made.grid
        for _ in range(3):
            space = VlanSpace(data.draw(networks()))
            grid.show(space)
            await pilot.pause()
            grid.set_zoom(data.draw(st.sampled_from((1, 10, 100))))
            grid.go(data.draw(st.integers(1, 420)))
            seen = 0
            for y in range(1, grid.size.height):
                if not grid.render_line(y).text.strip():
                    continue
                first, drawn = letters(grid, y)
                for at, letter in enumerate(drawn):
                    a = first + at * grid.zoom
                    low, high = max(1, a), min(4094, a + grid.zoom - 1)
                    assert letter == (cell(space, low, high)[0] if low <= high else " "), a
                    seen += low <= grid.cursor <= high
            assert seen == 1, "the cursor is on screen, once"
            brackets = "".join(picture(grid)).count("[")
            assert brackets == 1


async def test_a_cursor_move_repaints_a_few_cells_of_its_group(app: Any) -> None:
    app.grid.go(625)
    await app.pilot.pause()
    app.grid.repainted.clear()
    await app.pilot.press("right")
    (region,) = app.grid.repainted
    assert (region.height, region.width <= 4) == (1, True)
    app.grid.repainted.clear()
    await app.pilot.press("down")
    assert len(app.grid.repainted) == 2 and all(r.height == 1 for r in app.grid.repainted)


async def test_the_same_again_repaints_nothing_and_one_change_one_cell(app: Any) -> None:
    app.grid.show(VlanSpace(usual()))
    assert app.grid.repainted == []
    record = usual()
    app.grid.show(VlanSpace(replace(record, taken=(*record.taken, taken(757)))))
    (region,) = app.grid.repainted
    assert (region.width, region.height) == (1, 1)
    await app.pilot.pause()
    app.grid.repainted.clear()
    await app.pilot.pause(0.3)
    assert app.grid.repainted == [], "nothing ticks"


async def test_keys_walk_and_stay_inside(app: Any) -> None:
    grid = app.grid
    assert grid.cursor == 660
    await app.pilot.press("right", "right", "down", "left", "up")
    assert grid.cursor == 661
    await app.pilot.press("home")
    assert grid.cursor == 1
    await app.pilot.press("left", "up", "pageup")
    assert grid.cursor == 1
    await app.pilot.press("end", "right", "down", "pagedown")
    assert grid.cursor == 4094
    await app.pilot.press("up")
    assert grid.cursor == 4044
    await app.pilot.press("enter")
    assert app.said[-1] == "opened"
    assert "[r]" in "".join(picture(grid))


async def test_zoom_keeps_the_id_and_a_cell_in_brackets(app: Any) -> None:
    grid = app.grid
    grid.go(712)
    grid.zoom_out()
    assert (grid.zoom, grid.cursor, grid.cell_of(712)) == (10, 712, (710, 719))
    assert any("[o]" in line for line in picture(grid))
    grid.step(1)
    assert grid.cell_of(grid.cursor) == (720, 729)
    grid.zoom_out()
    assert grid.zoom == 100 and any("[!]" in line or "[o]" in line for line in picture(grid))
    grid.zoom_out()
    assert grid.zoom == 1


async def test_sixteen_million_ids_zoom_out_to_some_thousand_cells(app: Any) -> None:
    grid = app.grid
    grid.show(VlanSpace(overlay()))
    assert grid.zooms == [1, 10, 100, 1000, 10_000]
    grid.set_zoom(10_000)
    await app.pilot.pause()
    assert "[o]" in "".join(picture(grid))
    grid.bottom()
    assert (grid.cursor, grid.cell_of(grid.cursor)) == (16_777_214, (16_770_000, 16_777_214))
    row = replace(overlay().physical, isolation=Isolation.GRE, ranges=(RangeRecord(0, 2**32 - 1, Scope.GUEST_POOL),))
    grid.show(VlanSpace(MapRecord(row, ())))
    assert grid.zooms[-1] == 1_000_000
    grid.top()
    assert grid.cursor == 0 and "[.]" in "".join(picture(grid))


async def test_marked_ids_run_from_where_marking_began(app: Any) -> None:
    grid = app.grid
    grid.go(655)
    grid.mark(655)
    grid.go(603)
    assert grid.marked == (603, 655)
    grid.mark(None)
    assert grid.marked == (603, 603)


async def test_what_a_filter_leaves_stands_under_each_other_with_the_cursor_on_it(app: Any) -> None:
    grid, space = app.grid, VlanSpace(usual())
    grid.go(3000)
    grid.show(space.narrowed(matching("state:specified")), folded=True)
    await app.pilot.pause()
    lines = [line for line in picture(grid)[1:] if line.strip()]
    assert len(lines) == 1 and lines[0].startswith(" 800 [S]SSS")
    grid.show(space.problems_alone(), folded=True)
    assert [int(line[:4]) for line in picture(grid)[1:] if line.strip()] == [650, 700]
    grid.go(3000)
    assert [int(line[:4]) for line in picture(grid)[1:] if line.strip()] == [650, 700, 3000]
    grid.show(space)
    assert any(line.startswith("3000 [") for line in picture(grid))


async def test_a_click_goes_to_a_cell_and_a_second_one_opens_it(app: Any) -> None:
    grid = app.grid
    for number in (600, 604, 609, 612, 649, 655):
        grid.go(627)
        y = next(y for y, line in enumerate(picture(grid)) if line.startswith(f" {number // 50 * 50} "))
        x = next(x for x in range(grid.size.width) if grid._number_at(x, y) == number)
        await app.pilot.click(grid, offset=(x, y))
        assert grid.cursor == number
    await app.pilot.click(grid, offset=(next(x for x in range(80) if grid._number_at(x, y) == 655), y))
    assert app.said[-1] == "opened"


async def test_hosts_stand_in_the_columns_of_the_map(app: Any) -> None:
    grid, hosts = app.grid, app.hosts
    grid.go(640)
    hosts.show(grid.window, [presence("kvm-1", 640), presence("kvm-1", 641, True, False, "missing"), presence("kvm-2", 612, True, None),
                             presence("kvm-3", 640, False, False)])  # fmt: skip
    row = next(line for line in picture(grid) if line.startswith(" 600"))
    lines = [hosts.render_line(y).text for y in range(4)]
    at = row.index("[#]")
    assert "kvm-1" in lines[1] and lines[1][at : at + 4] == "[+]-" and "kvm-1  -1" in lines[1]
    assert "kvm-2" in lines[2] and lines[2].count("?") == 1 and "kvm-3" not in "".join(lines)
    grid.go(641)
    assert "+[-]" in hosts.render_line(1).text
    hosts.show(grid.window, [])
    assert "no host has or should have" in hosts.render_line(1).text


async def test_an_empty_network_and_none_at_all(app: Any) -> None:
    app.grid.show(VlanSpace(MapRecord(physical(ranges=()), ())))
    assert "[ ]" in "".join(picture(app.grid))
    app.grid.empty = "no physical network yet"
    app.grid.show(None)
    assert "no physical network yet" in "".join(picture(app.grid))
    await app.pilot.press("right", "down", "end")
