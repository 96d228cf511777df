"""One instance: Overview (state, start-up phases and log side by side), Settings, SSL, Data, Setup actions, Operations, Logs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from textual.app import ComposeResult
from textual.containers import Container
from textual.widget import Widget

from fleet_tui.actions import Action
from fleet_tui.backend.errors import FleetError, NotFound
from fleet_tui.backend.instances import InstanceRecord, ShowInstance
from fleet_tui.backend.operations import ListOperations, OperationRecord, ShowOperation, Submitted
from fleet_tui.screens import instance_facts, tables
from fleet_tui.screens.detail import Page
from fleet_tui.screens.frame import bindings
from fleet_tui.screens.instance_keys import InstanceKeys
from fleet_tui.screens.instance_lists import InstanceLists
from fleet_tui.screens.link import FleetChanged
from fleet_tui.screens.logs import LogKeys
from fleet_tui.screens.on_record import OnRecord
from fleet_tui.screens.operation import jump_to_step
from fleet_tui.screens.settings_tab import SettingsTab, ask_to_leave, is_of_ssl
from fleet_tui.screens.setup_tab import SetupTab
from fleet_tui.screens.ssl_keys import SslKeys
from fleet_tui.screens.ssl_tab import SslTab
from fleet_tui.screens.steps import StepTable, Ticking, lines_of
from fleet_tui.screens.tail import TabbedLog, Tail
from fleet_tui.widgets.column import Column
from fleet_tui.widgets.paint import Lines
from fleet_tui.widgets.resource_table import ResourceTable

TABS = {"overview": "Overview", "settings": "Settings", "ssl": "SSL", "data": "Data", "setup": "Setup actions", "operations": "Operations",
        "logs": "Logs"}  # fmt: skip
SHORTER = {"setup": "Setup", "operations": "Work"}
"""Titles where the line of tabs is short of room."""


class InstanceScreen(InstanceKeys, SslKeys, LogKeys):
    KIND = "instance"
    BINDINGS = bindings("instance")
    THING = frozenset({"instance", "page.describe", "page.raw"})

    def __init__(self) -> None:
        super().__init__()
        self.record: InstanceRecord | None = None
        self._operation: OperationRecord | None = None
        self.tab = "overview"
        self._wanted_tab = ""
        self.lists = InstanceLists(self, self._facts)
        self.on_record = OnRecord(self)
        self.tail = Tail(self, lambda: self.log_panel)

    def body(self) -> ComposeResult:
        glyphs, clock = self.console.glyphs, self.console.clock
        yield Lines(glyphs=glyphs, id="tabs")
        yield Lines(glyphs=glyphs, id="facts")
        with Container(id="work"):
            yield StepTable(glyphs, clock, id="steps", empty="no operation yet")
            yield TabbedLog("log", id="log", glyphs=glyphs, empty="it has said nothing yet")
        yield SettingsTab(self, self.on_record, "settings", lambda field, strategy: not is_of_ssl(field, strategy))
        yield SslTab(self, self.on_record, "ssl")
        with Container(id="data"):
            yield Lines(glyphs=glyphs, id="disk")
            yield tables.Table(
                [
                    Column("time", "SNAPSHOT", 16, render=lambda r: instance_facts.snapshot_cells(r, clock.now())[0]),
                    Column("age", "AGE", 4, "right", render=lambda r: instance_facts.snapshot_cells(r, clock.now())[1]),
                    Column("size", "SIZE", 9, "right", render=lambda r: instance_facts.snapshot_cells(r, clock.now())[2]),
                    Column("reason", "WHY", 20, render=lambda r: instance_facts.snapshot_cells(r, clock.now())[3], flexible=True),
                ],
                glyphs=glyphs, id="snapshots", empty="no snapshot · O makes one, :restore goes back to one",
            )  # fmt: skip
        yield SetupTab(self, "setup")
        yield tables.table_of("operations", glyphs, clock, id="operations", empty="no operation yet")

    def on_mount(self) -> None:
        self.log_panel.labels = False
        self.log_panel.wrap = True
        self._ticking = Ticking(self, self.steps)
        self.on_record.forms = (self.settings, self.ssl.settings)
        self._show_tab("overview")

    @property
    def steps(self) -> StepTable:
        return self.query_one("#steps", StepTable)

    @property
    def settings(self) -> SettingsTab:
        return self.query_one("#settings", SettingsTab)

    @property
    def ssl(self) -> SslTab:
        return self.query_one("#ssl", SslTab)

    @property
    def setup(self) -> SetupTab:
        return self.query_one("#setup", SetupTab)

    @property
    def form(self) -> SettingsTab:
        """The form of the tab that is shown."""
        return self.ssl.settings if self.tab == "ssl" else self.settings

    def home(self) -> Widget | None:
        if self.tab == "settings":
            return None
        if self.tab == "ssl":
            return self.ssl.facts
        if self.tab == "setup":
            return self.setup.table
        if self.tab == "overview":
            return self.steps if self.steps.display else self.log_panel
        return {"data": self.query_one("#snapshots"), "operations": self.query_one("#operations")}.get(self.tab, self.log_panel)

    def crumbs(self) -> list[str]:
        return ["instances", self.record.label if self.record else ""]

    def place(self) -> str:
        return (self.form.place if self.is_mounted and self.tab in ("settings", "ssl") else "") or f"instance/{self.tab}"

    def idle(self) -> frozenset[str]:
        table = self.home()
        return super().idle() | (frozenset() if isinstance(table, ResourceTable) and table.row_count else frozenset({"page.jump"}))

    def on_descendant_focus(self) -> None:
        self.footer()

    def on_descendant_blur(self) -> None:
        self.footer()

    @property
    def thing(self) -> Any:
        return self.record

    def subject(self, aims: str) -> Any:
        if aims == "snapshot":
            return self.query_one("#snapshots", ResourceTable).cursor_row if self.is_mounted and self.tab == "data" else None
        return self.record if aims == "instance" else None

    def aim(self, ref: str, *, tab: str = "") -> None:
        if ref != self.ref:
            self.record = self._operation = None
            if self.is_mounted:  # nothing of the one before is shown, or worked on, under the name of this one
                self.set_focus(None)
                for part in (self.on_record, self.lists, self.ssl, self.setup):
                    part.forget()
                self.log_panel.filter_text = ""
                self.log_panel.search("")
        self._wanted_tab = tab or "overview"
        super().aim(ref)

    # Tabs

    def shown(self) -> None:
        if self._wanted_tab:
            self._show_tab(self._wanted_tab)
            if self._wanted_tab == "settings":
                self.form.enter_form()
            self._wanted_tab = ""
        super().shown()
        self._ticking.start()

    def _show_tab(self, tab: str) -> None:
        turned, self.tab = tab != self.tab, tab
        self.set_focus(None)  # else hiding the focused part hands the focus to whatever field comes next
        for name, parts in _PARTS.items():
            self.query_one(f"#{name}").display = tab in parts
        self.set_class(tab == "logs", "-logs")
        self._tabs()
        self.set_focus(self.home())
        self._load_tab(turned)
        self.chrome()

    def _tabs(self) -> None:
        short = self.app.size.width < sum(len(title) + 3 for title in TABS.values()) + 1
        titles = [(f" {SHORTER.get(name, title) if short else title} ", "focused" if name == self.tab else "muted") for name, title in TABS.items()]
        self.query_one("#tabs", Lines).show([[(" ", ""), *(part for title in titles for part in (title, (" ", "")))]])

    def on_resize(self) -> None:
        super().on_resize()
        self._tabs()

    def turn(self, by: int) -> None:
        names = list(TABS)
        self._show_tab(names[(names.index(self.tab) + by) % len(names)])

    def act_tabs_next(self) -> None:
        self.turn(1)

    def act_tabs_previous(self) -> None:
        self.turn(-1)

    def act_tabs_save(self) -> None:
        if self.tab in ("settings", "ssl"):
            self.form.save()
        else:
            self.say("there is nothing to save here · e edits the settings")

    def act_tabs_theirs(self) -> None:
        self.form.take_theirs()

    def _load_tab(self, turned: bool = False) -> None:
        if self.record is None:
            return
        self.on_record.aim(self.record)
        if self.tab == "settings":
            self.settings.load()
        elif self.tab == "ssl":
            self.ssl.aim(self.record)
            self.ssl.load()
        elif self.tab == "setup":
            self.setup.aim(self.record)
            self.setup.load(anew=turned)  # its template may have been edited meanwhile
        elif self.tab in ("data", "operations"):
            self.lists.load(self.record, self.ref)

    # Fetching

    def load(self) -> None:
        ref = self.ref

        def work(session: Any) -> tuple[InstanceRecord, OperationRecord | None]:
            row = session.fetch(ShowInstance(ref))
            if row.operation_id:
                return row, session.fetch(ShowOperation(row.operation_id))
            latest = session.fetch(ListOperations(target_ref=ref, limit=1))
            return row, latest[0] if latest else None

        def have(found: tuple[InstanceRecord, OperationRecord | None]) -> None:
            if ref == self.ref:  # else another one is to be shown by now
                self._have(found)

        self.ask(work, have, self._missing, "instance")

    def _missing(self, error: FleetError) -> None:
        if isinstance(error, NotFound):
            self.say(f"{self.record.label if self.record else 'it'} is gone")
            if self.console.screen is self:
                self.console.back()
        else:
            self.failed(error)

    def _have(self, found: tuple[InstanceRecord, OperationRecord | None]) -> None:
        self.record, self._operation = found
        lines = lines_of(self._operation, self.record.agent)
        self.steps.put(lines, self._operation.id if self._operation else "")
        self.steps.display = self.tab == "overview" and bool(lines)
        self.set_class(not lines, "-no-steps")
        if self.tab == "overview" and lines and self.focused in (None, self.log_panel) and self.log_panel.line_count == 0:
            self.steps.focus()
        self._ticking.start()
        self._facts()
        self.tail.aim(self.ref)
        self._load_tab()
        self.chrome()

    def _facts(self) -> None:
        if self.record is not None:
            glyphs = self.console.glyphs
            self.query_one("#facts", Lines).show(instance_facts.overview(self.record, glyphs, self.console.clock.now()))
            self.query_one("#disk", Lines).show(instance_facts.data(self.record, glyphs, self.lists.values))
            title = f"log · {self.record.label}"
            if self.log_panel.title != title:
                self.log_panel.title = title

    def changed(self, changed: FleetChanged) -> None:
        mine = {self.ref, f"operation:{self._operation.id}" if self._operation else ""}
        if mine & changed.refs:
            self.lists.is_stale = True
            self.load()
        if self.tail.hears(changed.lines):
            self.tail.read()

    def minute(self) -> None:
        self._facts()

    # Verbs

    @property
    def holds_edits(self) -> bool:
        return self.is_mounted and self.on_record.holds_edits

    def ask_to_leave(self, then: Callable[[], None]) -> None:
        ask_to_leave(self.app, self.on_record, then)

    def leave(self) -> bool:
        if self.has_class("-full"):
            self.remove_class("-full")
        elif self.log_panel.filter_text:
            self.filtered("", True)
        elif self.tab in ("settings", "ssl") and self.form.form.focused_row is not None:
            self.set_focus(self.home())  # out of the fields, with everything typed kept: the arrows turn the tabs again
        elif self.holds_edits:
            self.ask_to_leave(self.console.back)
        else:
            return False
        return True

    def submitted(self, action: Action, replies: Sequence[Submitted]) -> None:
        """Watch the work here: the phases and the log are on the overview. What is done to a snapshot shows in their list."""
        if replies and replies[0].operation is not None and action.aims != "snapshot":
            self._show_tab("overview")
        self.load()

    def filtered(self, text: str, done: bool) -> None:
        if text:
            self.log_panel.search(text)
        self.log_panel.filter_text = text
        self.chrome()

    def chip(self) -> str:
        return f"/{self.log_panel.filter_text}" if self.log_panel.filter_text else ""

    def act_instance_edit(self, row: Any) -> None:
        if self.tab != "ssl" or (self.ssl.record is not None and self.ssl.record.strategy == "none"):
            self._show_tab("settings")
        self.form.enter_form()

    def act_move_down(self) -> None:
        if self.tab == "settings":
            self.form.enter_form()
        else:
            super().act_move_down()

    def act_instance_operations(self, row: Any) -> None:
        self._show_tab("operations")

    def act_instance_logs(self, row: Any) -> None:
        if self.tab == "logs":
            super().act_instance_logs(row)
        else:
            self._show_tab("logs")

    def act_page_jump(self) -> None:
        if self.tab == "overview":
            jump_to_step(self, self.steps)
        elif self.tab in ("settings", "ssl"):
            self.form.enter_form()
        elif self.tab == "setup":
            self._show_action()

    def _show_action(self) -> None:
        """What one setup action would do, as a page of its own."""
        title, lines = self.setup.page()
        if lines:
            self.console.open("detail", self.ref, record=Page(tuple(lines)), title=title)

    def act_page_describe(self) -> None:
        self._detail(False)

    def act_page_raw(self) -> None:
        self._detail(True)

    def _detail(self, raw: bool) -> None:
        if self.record is not None:
            self.console.open("detail", self.ref, record=self.record, title=self.record.label, raw=raw)

    def on_resource_table_opened(self, event: ResourceTable.Opened) -> None:
        event.stop()
        if event.table is self.steps:
            self.act_page_jump()
        elif event.table is self.setup.table:
            self._show_action()
        elif event.table.id == "operations":
            self.console.open("operation", event.key)

    def on_resource_table_highlighted(self, event: ResourceTable.Highlighted) -> None:
        event.stop()
        if event.table is self.setup.table:
            self.setup.preview()
        self.footer()  # what enter would open


_PARTS = {
    "facts": ("overview",),
    "steps": ("overview",),
    "work": ("overview", "logs"),
    "settings": ("settings",),
    "ssl": ("ssl",),
    "setup": ("setup",),
    "data": ("data",),
    "operations": ("operations",),
}
"""Part of the screen -> tabs it belongs to. The log is one panel that the Logs tab shows alone."""

