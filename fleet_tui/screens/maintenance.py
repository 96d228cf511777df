"""The maintenance of one host: where it stands, its VMs on the move, what blocks and what to do about it, and what was said meanwhile.

Everything a tired person needs at 80x24, and nothing else. Without a session it shows the forecast: what would happen, changing nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from textual.app import ComposeResult
from textual.containers import Container
from textual.widget import Widget

from fleet_tui.actions import ACTIONS, Action
from fleet_tui.backend.errors import FleetError, NotFound
from fleet_tui.backend.hosts import HostRecord, ShowHost
from fleet_tui.backend.maintenance import EditMaintenance, ForecastHost, ForecastRecord, MaintenanceRecord, ShowMaintenance, Step
from fleet_tui.backend.operations import Submitted
from fleet_tui.screens import maintenance_facts as facts
from fleet_tui.screens.evacuation import EvacuationTable, foreseen, ordered
from fleet_tui.screens.frame import bindings
from fleet_tui.screens.link import FleetChanged
from fleet_tui.screens.logs import LogKeys
from fleet_tui.screens.tail import PhaseLog, Tail
from fleet_tui.widgets.log_view import LogView
from fleet_tui.widgets.paint import Lines
from fleet_tui.widgets.resource_table import ResourceTable


@dataclass(frozen=True, slots=True)
class Found:
    """What one look at a host gives."""

    host: HostRecord
    session: MaintenanceRecord | None
    forecast: ForecastRecord | None


class MaintenanceScreen(LogKeys):
    KIND = "maintenance"
    BINDINGS = bindings("maintenance")
    THING = frozenset({
        "host", "session", "maintenance.next", "maintenance.forecast", "maintenance.logs", "maintenance.operations", "page.describe", "page.raw",
    })  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.host: HostRecord | None = None
        self.session: MaintenanceRecord | None = None
        self.forecast: ForecastRecord | None = None
        self._of = ""
        """Id of the session to show; empty for the newest."""
        self._is_asking = False
        self._ask_again = False
        self._operation = ""
        self.tail = Tail(self, lambda: self.log_panel)

    def body(self) -> ComposeResult:
        glyphs = self.console.glyphs
        yield Lines(glyphs=glyphs, id="state", by_pieces=True)
        with Container(id="moves"):
            with Container(id="main"):
                yield EvacuationTable(glyphs, self.console.clock, id="vms", empty="no VM has to leave")
                yield PhaseLog("log", id="log", glyphs=glyphs)
            yield Lines(glyphs=glyphs, id="side")
        yield Lines(glyphs=glyphs, id="todo")

    def on_mount(self) -> None:
        self.vms.focus()

    @property
    def vms(self) -> ResourceTable:
        return self.query_one("#vms", ResourceTable)

    @property
    def log_panel(self) -> LogView:
        return self.query_one("#log", LogView)

    def home(self) -> Widget | None:
        return self.vms

    def crumbs(self) -> list[str]:
        return ["hosts", self.host.name if self.host else self.ref.partition(":")[2], "maintenance"]

    def aim(self, ref: str, *, session: str = "") -> None:
        if (ref, session) != (self.ref, self._of):
            self.host, self.session, self.forecast, self._of, self.is_loaded, self._operation = None, None, None, session, False, ""
            if self.is_mounted:
                self.vms.set_rows([])
        super().aim(ref)

    @property
    def thing(self) -> Any:
        return self.host

    def subject(self, aims: str) -> Any:
        row = self.vms.cursor_row
        return {"host": self.host, "session": self.session, "evacuee": row if self.session is not None else None}.get(aims)

    # Fetching

    def load(self) -> None:
        """One look at a time: while moves tell of themselves four times a second, an answer that is on its way is worth waiting for."""
        if self._is_asking:
            self._ask_again = True
            return
        self._is_asking = True
        ref, of = self.ref, self._of

        def work(session: Any) -> tuple[str, Found]:
            host = session.fetch(ShowHost(ref.partition(":")[2]))
            try:
                found = session.fetch(ShowMaintenance(of or host.id))
            except NotFound:
                found = None
            is_open = found is not None and (found.closed_at is None or of)
            return ref, Found(host, found if is_open else None, None if is_open else session.fetch(ForecastHost(host.id)))

        self.ask(work, lambda found: self._have(*found), self._missing)

    def link_restored(self) -> None:
        self._is_asking = False
        super().link_restored()

    def _done_asking(self) -> None:
        self._is_asking = False
        if self._ask_again:
            self._ask_again = False
            self.load()

    def _missing(self, error: FleetError) -> None:
        self._is_asking = False
        self.failed(error)

    def _have(self, ref: str, found: Found) -> None:
        if ref == self.ref:
            self.host, self.session, self.forecast = found.host, found.session, found.forecast
            rows = ordered(found.session.vms if found.session else foreseen(found.forecast.moves) if found.forecast else ())
            self.vms.set_rows([(row.vm_ref, row) for row in rows])
            self._aim_log()
            self._paint()
        else:
            self._ask_again = True
        self._done_asking()

    def _aim_log(self) -> None:
        """The log of the operation at work, with its VMs' lines; of the last one when none is."""
        assert self.host is not None
        running = (self.session.operation_id if self.session else None) or self.host.operation_id or ""
        self._operation = running or self._operation
        self.tail.aim(f"host:{self.host.id}", self._operation)

    def _paint(self) -> None:
        if self.host is None:
            return
        glyphs, now, width = self.console.glyphs, self.console.clock.now(), self.app.size.width
        name = self.host.name if self.is_pane else ""  # elsewhere the crumbs say it
        self.query_one("#state", Lines).show(facts.heading(self.host, self.session, self.forecast, glyphs, now, width, name))
        self.query_one("#side", Lines).show(facts.side(self.session, glyphs, now))
        self._paint_todo()
        self.chrome()

    def _paint_todo(self) -> None:
        if self.host is not None:
            row, glyphs = self.vms.cursor_row, self.console.glyphs
            lines = facts.todo(self.host, self.session, self.forecast, row, glyphs, self.app.size.width)
            self.query_one("#todo", Lines).show(lines[:-1] if self.is_pane else lines)

    def changed(self, changed: FleetChanged) -> None:
        refs, session = changed.refs, self.session
        mine = {self.ref, f"host:{self.host.id}" if self.host else "", f"operation:{self._operation}", f"maintenance:{session.id}" if session else ""}
        if mine & refs or any(self.vms.row(ref) is not None for ref in refs if ref.startswith("vm:")):
            self.load()
        if self.tail.hears(changed.lines):
            self.tail.read()

    def minute(self) -> None:
        self._paint()

    def on_resize(self) -> None:
        super().on_resize()
        self.call_after_refresh(self._paint)

    # Keys

    def leave(self) -> bool:
        if not self.has_class("-full"):
            return False
        self.remove_class("-full")
        return True

    def submitted(self, action: Action, replies: Sequence[Submitted]) -> None:
        self.load()

    def on_resource_table_highlighted(self, event: ResourceTable.Highlighted) -> None:
        event.stop()
        self._paint_todo()
        self.footer()

    def on_resource_table_opened(self, event: ResourceTable.Opened) -> None:
        event.stop()
        if self.console.allows("evacuee.open"):
            self.console.open("vm", event.key)

    def act_evacuee_open(self, row: Any) -> None:
        self.vms.open()

    def act_evacuee_migrate(self, row: Any) -> None:
        from fleet_tui.screens import moves

        moves.ask_where(self, row.vm_ref.partition(":")[2], row.vm)

    def act_maintenance_next(self) -> None:
        """Whatever the step asks of a person."""
        step = facts.next_step(self.host, self.session)
        if step.to is not None and self.session is not None:
            self._go_on(self.session, step.to)
        if step.action:
            self.perform(ACTIONS[step.action])
        elif step.to is None:
            self.say(step.text)

    def _go_on(self, session: MaintenanceRecord, step: Step) -> None:
        self.ask(lambda s: s.submit(EditMaintenance(session.id, step=step)), lambda _row: self.load())

    def act_maintenance_start(self, row: Any) -> None:
        from fleet_tui.screens import maintain

        maintain.start(self, row, self.session if self.host is not None and self.host.id == row.id else None)

    def act_maintenance_forecast(self) -> None:
        """Of a host in maintenance too: where what is left would go now."""
        if self.host is None:
            return
        host = self.host
        self.fetch(ForecastHost(host.id, explain=True), lambda record: self._show_forecast(host, record), "forecast")

    def _show_forecast(self, host: HostRecord, record: ForecastRecord) -> None:
        self.console.open("detail", f"host:{host.id}", record=record, title=f"forecast of {host.name}")

    def act_maintenance_back(self, row: Any) -> None:
        from fleet_tui.screens import maintain

        maintain.back(self, row)

    def act_maintenance_note(self, row: Any) -> None:
        from fleet_tui.screens import maintain

        maintain.note(self, row)

    def act_maintenance_check(self, row: Any) -> None:
        from fleet_tui.screens import maintain

        maintain.checklist(self, row)

    def act_maintenance_edit(self, row: Any) -> None:
        from fleet_tui.screens import maintain

        maintain.edit(self, row)

    def act_maintenance_announce(self, row: Any) -> None:
        from fleet_tui.screens import maintain

        maintain.announce(self, row, self.session)

    def act_maintenance_host(self) -> None:
        self.console.open("host", self.ref)

    def act_maintenance_logs(self) -> None:
        if self.host is not None:
            self.console.open("logs", f"host:{self.host.id}", title=f"maintenance {self.host.name}", operation=self._operation)

    def act_maintenance_operations(self) -> None:
        if self.host is not None:
            self.console.go("operations", filter_text=self.host.name)

    def act_page_describe(self) -> None:
        self._detail(False)

    def act_page_raw(self) -> None:
        self._detail(True)

    def _detail(self, raw: bool) -> None:
        record = self.session or self.forecast
        if record is not None:
            self.console.open("detail", self.ref, record=record, title=self.crumbs()[1], raw=raw)
