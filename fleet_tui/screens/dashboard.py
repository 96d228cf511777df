"""The fleet at a glance: what needs a person first, then what runs, then the instances, then what agents say.

One call paints it (`Summarize`); it is asked again only after a change. Three columns from 140 cells, two from 100,
stacked below, with attention first in every arrangement.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from textual.app import ComposeResult
from textual.containers import Container
from textual.widget import Widget

from fleet_tui import columns
from fleet_tui.backend.api import Attention, Summary
from fleet_tui.backend.operations import OperationRecord, OperationState
from fleet_tui.screens import tables
from fleet_tui.screens.board import fleet_column, fleet_lines
from fleet_tui.screens.frame import bindings
from fleet_tui.screens.link import FleetChanged
from fleet_tui.screens.list_keys import ListScreen
from fleet_tui.screens.room import room_lines
from fleet_tui.screens.tail import PhaseLog, Tail
from fleet_tui.widgets.column import Cell, Column
from fleet_tui.widgets.glyphs import bar
from fleet_tui.widgets.log_view import LogView
from fleet_tui.widgets.paint import Lines
from fleet_tui.widgets.resource_table import ResourceTable

BROAD, NORMAL = 140, 100
TOLD = 38
"""Letters of a text and its cause that fit into one line of the attention panel beside others."""


class DashboardScreen(ListScreen):
    KIND = "dashboard"
    BINDINGS = bindings("dashboard")

    def __init__(self) -> None:
        super().__init__()
        self._summary: Summary | None = None
        self._began = False
        self.tail = Tail(self, lambda: self.query_one("#log", LogView))

    def body(self) -> ComposeResult:
        glyphs, clock = self.console.glyphs, self.console.clock
        with Container(id="top"):
            yield tables.Table(self._attention_columns(), status_of=lambda row: row.severity, glyphs=glyphs, id="attention",
                                classes="panel", empty="nothing needs attention")  # fmt: skip
            yield tables.Table(self._operation_columns(), status_of=columns.operation_status, glyphs=glyphs, id="operations",
                                classes="panel", empty="nothing runs")  # fmt: skip
            yield Lines(glyphs=glyphs, id="fleet", by_pieces=True)
        yield Lines(glyphs=glyphs, id="capacity")
        yield tables.table_of("instances", glyphs, clock, id="instances", empty="no instances yet · n makes the first one")
        yield PhaseLog("agent log · all", id="log", glyphs=glyphs, max_lines=2000, classes="panel", empty="no agent has said anything yet")

    def on_mount(self) -> None:
        self.instances.add_class("panel")
        self.instances.focus()

    @property
    def instances(self) -> ResourceTable:
        return self.query_one("#instances", ResourceTable)

    def home(self) -> Widget | None:
        return self.instances if self.instances.display else self.query_one("#attention")

    def kind_of(self, table: ResourceTable) -> str:
        return str(table.id)

    def crumbs(self) -> list[str]:
        return ["dashboard"]

    # Columns of the two small panels

    def _attention_columns(self) -> list[Column]:
        glyphs, clock = self.console.glyphs, self.console.clock

        def said(row: Attention) -> Cell:
            if not row.label:
                return row.hint, "muted"
            return f"{row.text} {glyphs.dot} {row.hint}" if row.hint else row.text

        def since(row: Attention) -> str:
            return columns.ago(datetime.fromtimestamp(row.since, timezone.utc), clock.now()) if row.label else ""

        return [
            Column("label", "ATTENTION", 11, render=lambda r: f"{glyphs.status(r.severity)} {r.label}" if r.label else "", priority=1000, roomy=16),
            Column("text", "", 16, render=said, flexible=True, priority=900, roomy=70),
            Column("age", "SINCE", 5, "right", render=since, priority=100),
        ]

    def _operation_columns(self) -> list[Column]:
        glyphs, clock = self.console.glyphs, self.console.clock

        def step(row: OperationRecord) -> Cell:
            done, total, said = columns.progress(row)
            if row.state in (OperationState.RUNNING, OperationState.CANCELLING):
                is_narrow = self.query_one("#operations").size.width < 60
                drawn = "" if is_narrow else f"{bar(done / total if total else 0.0, 6, glyphs)} "
                return f"{drawn}{min(done + 1, total)}/{total} {said}"
            return said or row.state.value

        return [
            Column("title", "OPERATIONS", 13, render=lambda r: f"{glyphs.status(columns.operation_status(r))} {r.title}", priority=1000, roomy=21),
            Column("target", "", 9, render=lambda r: r.target, priority=900, roomy=16),
            Column("step", "", 16, render=step, flexible=True, priority=800, roomy=60),
            Column("age", "TOOK", 7, "right", render=lambda r: columns.operation_time(r, clock.now()), priority=100),
        ]

    # Data

    def load(self) -> None:
        if not self._began:
            self._began = True
            if self._summary is None:
                return
        self.console.pulse.ask()
        self.tail.read()

    def have_summary(self, summary: Summary) -> None:
        """Paint everything from the one answer."""
        first = self._summary is None
        self._summary = summary
        _refill(self.query_one("#operations", ResourceTable), [(f"operation:{row.id}", row) for row in summary.running])
        if summary.rows or not summary.instances.get("total"):
            _refill(self.instances, [(f"instance:{row.id}", row) for row in summary.rows])
        if first:
            self.tail.begin_with(summary.lines)
        self.fit_panels()
        self.chrome()

    def shown(self) -> None:
        """Counts went on elsewhere without rows; fetch these when coming back to something that changed."""
        missed = bool(self._missed)
        super().shown()
        if missed:
            self.console.pulse.ask()

    def changed(self, changed: FleetChanged) -> None:
        if changed.lines:
            self.tail.read()

    def minute(self) -> None:
        for table in self.query(ResourceTable):
            table.touch()

    # Arrangement

    def on_resize(self) -> None:
        super().on_resize()
        self.fit_panels()

    def fit_panels(self) -> None:
        """Heights by what there is to show; widths by the stylesheet's classes."""
        summary = self._summary
        if summary is None or not self.is_mounted:
            return
        width, height = self.app.size
        stacked, broad = width < NORMAL, width >= BROAD
        column = fleet_column(summary, self.console.glyphs) if broad else []
        room = 4 if height < 30 else max(5, height // 4)
        beside = max(3, len(column), min(max(len(summary.attention), len(summary.running)) + 1, room + 1))
        attention, operations = self.query_one("#attention", ResourceTable), self.query_one("#operations")
        rows = _told(summary.attention, (room if stacked else beside) - 1)
        attention.set_rows(_keyed(rows))
        for panel, count in ((attention, len(rows)), (operations, len(summary.running))):
            panel.set_class(stacked and not count, "-empty")
            panel.styles.height = "1fr" if panel.has_class("-zoomed") else max(2, min(count + 1, room)) if stacked else "100%"
        self.query_one("#top").styles.grid_rows = f"{beside}" if broad else f"{beside} 2"
        self.query_one("#fleet", Lines).show(column or fleet_lines(summary, self.console.glyphs, width))
        if not self.instances.display and self.focused is self.instances:
            self.restore_focus()
        capacity = self.query_one("#capacity", Lines)
        capacity.set_class(not summary.rooms, "-empty")
        capacity.show(room_lines(summary.rooms, self.console.glyphs, width, height))
        log = self.query_one("#log")
        log.styles.height = "1fr" if log.has_class("-zoomed") else 6 if height < 30 else max(8, height // 4)

    # Keys

    def act_board_zoom(self) -> None:
        panel = self.focused
        if self.has_class("-zoom"):
            self.remove_class("-zoom")
            for other in self.query(".-zoomed"):
                other.remove_class("-zoomed")
        elif panel is not None and panel.has_class("panel"):
            self.add_class("-zoom")
            panel.add_class("-zoomed")
            self.query_one("#top").set_class(panel.parent is not None and panel.parent.id == "top", "-zoomed")
        self.fit_panels()

    def leave(self) -> bool:
        if self.has_class("-zoom"):
            self.act_board_zoom()
            return True
        return super().leave()

    def subject(self, aims: str) -> Any:
        """Verbs of instances work on the instance panel's row even while a neighbour has the focus elsewhere on the board."""
        if aims == "instance" and self.table is not None and self.table.id == "attention":
            row = self.table.cursor_row
            return self.instances.row(row.ref) if row is not None else None
        return super().subject(aims)

    def act_list_describe(self) -> None:
        self._show_detail(raw=False)

    def act_list_raw(self) -> None:
        self._show_detail(raw=True)

    def _show_detail(self, raw: bool) -> None:
        row = self.subject("instance")
        if row is not None:
            self.console.open("detail", f"instance:{row.id}", record=row, title=row.label, raw=raw)
        elif self.table is not None and self.table.id == "operations":
            self._detail(raw)

    def open_row(self, kind: str, row: Any) -> None:
        if kind != "attention":
            super().open_row(kind, row)
            return
        what, _, _ = row.ref.partition(":")
        if what in ("instance", "operation"):
            self.console.open(what, row.ref)
        elif what == "host":
            self.console.open("host", row.ref)
        elif what == "maintenance":
            self.console.open("maintenance", f"host:{row.ref.partition(':')[2]}")
        elif what == "patches":
            self.console.open("patches", "")

    def current(self) -> tuple[str, Any] | None:
        current = super().current()
        if current is None or current[0] != "attention":
            return current
        row = self.subject("instance")
        return ("instances", row) if row is not None else None


def _refill(table: ResourceTable, rows: Sequence[tuple[str, Any]]) -> None:
    """What is first stays in sight of who only looks: a cursor that nobody moved does not follow its row down."""
    is_untouched = not table.has_focus and table.cursor_key == next(iter(table.shown_keys), None)
    table.set_rows(rows)
    if is_untouched and table.row_count:
        table.top()


def _keyed(rows: Sequence[Attention]) -> list[tuple[str, Attention]]:
    """A row's key is what it is about, so that the cursor stays on it whatever comes and goes above."""
    before: Counter[str] = Counter()
    keyed = []
    for row in rows:
        keyed.append((f"{row.ref} {before[row.ref]}", row))
        before[row.ref] += 1
    return keyed


def _told(rows: Sequence[Attention], room: int) -> list[Attention]:
    """What needs attention, a line each; where there is room for it a long cause gets a line of its own and is not cut."""
    if 2 * len(rows) > room:
        return list(rows)
    told: list[Attention] = []
    for row in rows:
        is_long = row.hint and len(row.text) + len(row.hint) > TOLD
        told += [replace(row, hint=""), replace(row, label="", severity="")] if is_long else [row]
    return told
