"""One host: Overview, VMs, Network, Patches, Sessions, Log."""

from __future__ import annotations

from typing import Any

from textual.app import ComposeResult
from textual.containers import ScrollableContainer
from textual.widget import Widget

from fleet_tui import columns
from fleet_tui.backend.errors import FleetError, NotFound
from fleet_tui.backend.hosts import HostRecord, ListPatches, ShowHost
from fleet_tui.backend.machines import ListVms, ShowCapacity
from fleet_tui.backend.maintenance import ListMaintenance, MaintenanceRecord
from fleet_tui.screens import host_facts, tables
from fleet_tui.screens.branches import branch_of
from fleet_tui.screens.frame import bindings
from fleet_tui.screens.link import FleetChanged
from fleet_tui.screens.logs import LogKeys
from fleet_tui.screens.tail import TabbedLog, Tail
from fleet_tui.widgets.column import Column
from fleet_tui.widgets.paint import Lines
from fleet_tui.widgets.resource_table import ResourceTable

TABS = ("overview", "vms", "network", "patches", "sessions", "log")
MOST_VMS = 500
"""Rows of the VMs tab; ``v`` lists all."""


class HostScreen(LogKeys):
    KIND = "host"
    BINDINGS = bindings("host")
    THING = frozenset({"host", "branch", "page.describe", "page.raw"})

    def __init__(self) -> None:
        super().__init__()
        self.record: HostRecord | None = None
        self.tab = "overview"
        self._room: Any = None
        self.tail = Tail(self, lambda: self.log_panel)

    def body(self) -> ComposeResult:
        glyphs, clock = self.console.glyphs, self.console.clock
        yield Lines(glyphs=glyphs, id="tabs")
        with ScrollableContainer(id="overview", can_focus=False):
            yield Lines(glyphs=glyphs, id="facts")
        yield tables.table_of("vms", glyphs, clock, id="vms", empty="no VM is on it", without="host")
        with ScrollableContainer(id="network", can_focus=False):
            yield Lines(glyphs=glyphs, id="interfaces")
        yield tables.table_of("patches", glyphs, clock, id="patches", empty="no patch of its version is in the ledger",
                              without="hypervisor")
        yield tables.Table(_session_columns(self), status_of=_session_status, glyphs=glyphs, id="sessions", empty="never in maintenance · m")
        yield TabbedLog("log", id="log", glyphs=glyphs)

    def on_mount(self) -> None:
        self.log_panel.labels = False
        self.log_panel.wrap = True
        self._show_tab("overview")

    def home(self) -> Widget | None:
        return self.query_one(f"#{self.tab}")

    def crumbs(self) -> list[str]:
        return ["hosts", self.record.name if self.record else self.ref.partition(":")[2]]

    def place(self) -> str:
        return f"host/{self.tab}"

    def aim(self, ref: str) -> None:
        if ref != self.ref:
            self.record, self._room = None, None
        super().aim(ref)

    @property
    def thing(self) -> Any:
        return self.record

    def subject(self, aims: str) -> Any:
        if aims == "vm" and self.tab == "vms":
            return self.query_one("#vms", ResourceTable).cursor_row
        if self.record is None:
            return None
        return {"host": self.record, "branch": branch_of(self.record)}.get(aims)

    # Tabs

    def _show_tab(self, tab: str) -> None:
        self.tab = tab
        self.set_focus(None)
        for name in TABS:
            self.query_one(f"#{name}").display = name == tab
        titles = [(f" {'VMs' if name == 'vms' else name.capitalize()} ", "focused" if name == tab else "muted") for name in TABS]
        self.query_one("#tabs", Lines).show([[(" ", ""), *(part for title in titles for part in (title, (" ", "")))]])
        self.set_focus(self.home())
        self._load_tab()
        self.chrome()

    def turn(self, by: int) -> None:
        self._show_tab(TABS[(TABS.index(self.tab) + by) % len(TABS)])

    def act_tabs_next(self) -> None:
        self.turn(1)

    def act_tabs_previous(self) -> None:
        self.turn(-1)

    def _load_tab(self) -> None:
        row = self.record
        if row is None:
            return
        if self.tab == "vms":
            self.fetch(ListVms(host=row.name, limit=MOST_VMS), lambda page: self._put("vms", page.vms), "tab")
        elif self.tab == "patches":
            self.fetch(ListPatches(row.hypervisor), lambda found: self._put("patches", [p for p in found if p.version == row.version]), "tab")
        elif self.tab == "sessions":
            self.fetch(ListMaintenance(), lambda found: self._have_sessions(found, row), "tab")
        elif self.tab == "log":
            self.tail.aim(f"host:{row.id}")

    def _put(self, kind: str, rows: Any) -> None:
        self.query_one(f"#{kind}", ResourceTable).set_rows([(tables.KEY_OF[kind](row), row) for row in rows])

    def _have_sessions(self, found: tuple[MaintenanceRecord, ...], row: HostRecord) -> None:
        mine = sorted((s for s in found if s.host == row.name), key=lambda s: s.started_at, reverse=True)
        self.query_one("#sessions", ResourceTable).set_rows([(s.id, s) for s in mine])

    # Fetching

    def load(self) -> None:
        name = self.ref.partition(":")[2]
        self.ask(lambda session: (row := session.fetch(ShowHost(name)), session.fetch(ShowCapacity(row.id))), self._have, self._missing, "host")

    def _missing(self, error: FleetError) -> None:
        if isinstance(error, NotFound) and self.record is not None:
            self.say(f"{self.record.name} is gone")
            if self.console.screen is self:
                self.console.back()
        else:
            self.failed(error)

    def _have(self, found: tuple[HostRecord, tuple[Any, ...]]) -> None:
        self.record, rooms = found
        self.ref = f"host:{self.record.id}"
        self._room = rooms[0] if rooms else None
        self._facts()
        self._load_tab()
        self.chrome()

    def _facts(self) -> None:
        row = self.record
        if row is not None:
            glyphs, width = self.console.glyphs, self.app.size.width
            self.query_one("#facts", Lines).show(host_facts.overview(row, self._room, glyphs, self.console.clock.now(), min(width, 110)))
            self.query_one("#interfaces", Lines).show(host_facts.network(row))
            if self.log_panel.title != (title := f"log · {row.name}"):
                self.log_panel.title = title

    def changed(self, changed: FleetChanged) -> None:
        if self.ref in changed.refs:
            self.load()
        elif self.tab == "vms" and any(ref.startswith("vm:") for ref in changed.refs):
            self._load_tab()
        if self.tail.hears(changed.lines) and self.tab == "log":
            self.tail.read()

    def minute(self) -> None:
        self._facts()

    # Keys

    def leave(self) -> bool:
        if self.has_class("-full"):
            self.remove_class("-full")
        elif self.log_panel.filter_text:
            self.filtered("", True)
        else:
            return False
        return True

    def filtered(self, text: str, done: bool) -> None:
        if text:
            self.log_panel.search(text)
        self.log_panel.filter_text = text
        self.chrome()

    def act_host_logs(self, row: Any) -> None:
        if self.tab == "log":
            super().act_host_logs(row)
        else:
            self._show_tab("log")

    def act_page_jump(self) -> None:
        table = self.home()
        if isinstance(table, ResourceTable):
            table.open()

    def act_page_describe(self) -> None:
        self._detail(False)

    def act_page_raw(self) -> None:
        self._detail(True)

    def _detail(self, raw: bool) -> None:
        home = self.home()
        row = home.cursor_row if isinstance(home, ResourceTable) and home.cursor_row is not None else self.record
        if row is not None:
            self.console.open("detail", self.ref, record=row, title=self.name_of(row) or self.crumbs()[1], raw=raw)

    def on_resource_table_opened(self, event: ResourceTable.Opened) -> None:
        event.stop()
        if event.table.id == "vms":
            self.console.open("vm", event.key)
        elif event.table.id == "sessions":
            self.console.open("maintenance", self.ref, session=event.key)
        else:
            self._detail(False)

    def on_resource_table_highlighted(self, event: ResourceTable.Highlighted) -> None:
        event.stop()
        self.footer()


def _session_status(row: MaintenanceRecord) -> str:
    return "off" if row.closed_at is not None else "attention" if row.is_overrun or row.blockers else "maintenance"


def _session_columns(screen: HostScreen) -> list[Column]:
    glyphs, clock = screen.console.glyphs, screen.console.clock
    return [
        Column("began", "BEGAN", 18, render=lambda r: f"{glyphs.status(_session_status(r))} {r.started_at:%Y-%m-%d %H:%M}", priority=1000),
        Column("age", "AGE", 4, "right", render=lambda r: columns.ago(r.started_at, clock.now()), priority=300),
        Column("step", "STEP", 18, render=lambda r: "closed" if r.closed_at is not None else r.step.value, priority=800),
        Column("reason", "REASON", 16, render=lambda r: r.reason, flexible=True, priority=900),
        Column("ticket", "TICKET", 10, render=lambda r: r.ticket or "-", priority=100),
        Column("owner", "BY", 10, render=lambda r: r.owner, priority=200),
    ]
