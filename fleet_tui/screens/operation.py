"""One operation, live: its steps on the left, its log beside them."""

from __future__ import annotations

from typing import Any

from textual.app import ComposeResult
from textual.containers import Container
from textual.widget import Widget

from fleet_tui import columns
from fleet_tui.actions import ACTIONS, Action
from fleet_tui.backend.errors import FleetError, NotFound
from fleet_tui.backend.instances import InstanceRecord, ShowInstance
from fleet_tui.backend.operations import OperationRecord, ShowOperation
from fleet_tui.screens.frame import bindings
from fleet_tui.screens.link import FleetChanged
from fleet_tui.screens.logs import LogKeys
from fleet_tui.screens.steps import StepTable, Ticking, lines_of
from fleet_tui.screens.tail import PhaseLog, Tail
from fleet_tui.widgets.paint import Lines
from fleet_tui.widgets.resource_table import ResourceTable


class OperationScreen(LogKeys):
    KIND = "operation"
    BINDINGS = bindings("operation")
    THING = frozenset({"operation", "page.describe", "page.raw"})

    def __init__(self) -> None:
        super().__init__()
        self.record: OperationRecord | None = None
        self._instance: InstanceRecord | None = None
        self.tail = Tail(self, lambda: self.log_panel)

    def body(self) -> ComposeResult:
        glyphs = self.console.glyphs
        yield Lines(glyphs=glyphs, id="facts")
        with Container(id="work"):
            yield StepTable(glyphs, self.console.clock, id="steps", empty="no steps yet")
            yield PhaseLog("log", id="log", glyphs=glyphs, empty="it has said nothing yet")

    def on_mount(self) -> None:
        self.log_panel.labels = False
        self._ticking = Ticking(self, self.steps)
        self.steps.focus()

    @property
    def steps(self) -> StepTable:
        return self.query_one("#steps", StepTable)

    def home(self) -> Widget | None:
        return self.steps

    def crumbs(self) -> list[str]:
        return ["operations", f"{self.record.title} {self.record.target}" if self.record else self.ref]

    def aim(self, ref: str) -> None:
        if ref != self.ref:
            self.record = self._instance = None
        super().aim(ref)

    @property
    def thing(self) -> Any:
        return self.record

    def subject(self, aims: str) -> Any:
        return self.record if aims == "operation" else None

    def load(self) -> None:
        id_ = self.ref.partition(":")[2]

        def work(session: Any) -> tuple[OperationRecord, InstanceRecord | None]:
            record = session.fetch(ShowOperation(id_))
            try:
                instance = session.fetch(ShowInstance(record.target_ref)) if record.target_ref.startswith("instance:") else None
            except NotFound:
                instance = None
            return record, instance

        self.ask(work, self._have, self._missing, "operation")

    def _missing(self, error: FleetError) -> None:
        self.say(self.worded(error), "warning")

    def _have(self, found: tuple[OperationRecord, InstanceRecord | None]) -> None:
        self.record, self._instance = found
        agent = self._instance.agent if self._instance and self._instance.operation_id == self.record.id else None
        self.steps.put(lines_of(self.record, agent), self.record.id)
        self._ticking.start()
        self.query_one("#facts", Lines).show(self._facts(self.record))
        self.tail.aim(self.record.target_ref, self.record.id)
        self.chrome()

    def _facts(self, row: OperationRecord) -> list[list[tuple[str, str]]]:
        glyphs, now = self.console.glyphs, self.console.clock.now()
        status = columns.operation_status(row)
        done, total, said = columns.progress(row)
        first = [
            (f" {glyphs.status(status)} {row.state.value}", status), (f"   {done} of {total} steps", ""),
            (f"   {columns.operation_time(row, now)}", ""), (f"   by {row.user}, {columns.ago(row.submitted_at, now)} ago   ", "muted"),
            (row.id, "muted"),
        ]  # fmt: skip
        lines = [first]
        if row.error is not None:
            lines.append([(f" {glyphs.failed} {columns.because(row.failed_step or 'failed', row.error.message)}", "failed")])
            hint = row.error.hint or "T tries again as a new operation"
            lines.append([(f"   {hint}" + (f" · undo {row.rollback}" if row.rollback != "none" else ""), "attention")])
        elif row.cancel_requested_by:
            how = "cancelled" if row.state.is_final else "cancel asked"
            lines.append([(f"   {how} by {row.cancel_requested_by}" + ("" if row.state.is_final else "; it stops at its next step"), "attention")])
        elif said and not row.state.is_final:
            runs = row.state.value == "running"
            lines.append([("   now: " if runs else "   ", "muted"), (said, "moving" if runs else "attention")])
        return lines

    def changed(self, changed: FleetChanged) -> None:
        target = self.record.target_ref if self.record else ""
        if self.ref in changed.refs or target in changed.refs:
            self.load()
        if self.record is not None and (target in changed.lines or self.tail.hears(changed.lines & {target})):
            self.tail.read()

    def minute(self) -> None:
        if self.record is not None:
            self.query_one("#facts", Lines).show(self._facts(self.record))

    def filtered(self, text: str, done: bool) -> None:
        if text:
            self.log_panel.search(text)
        self.log_panel.filter_text = text

    def act_page_jump(self) -> None:
        jump_to_step(self, self.steps)

    def act_page_describe(self) -> None:
        self._detail(False)

    def act_page_raw(self) -> None:
        self._detail(True)

    def _detail(self, raw: bool) -> None:
        if self.record is not None:
            self.console.open("detail", self.ref, record=self.record, title=self.record.id, raw=raw)

    def act_operation_target(self, row: Any) -> None:
        if row is not None and row.target_ref.startswith("instance:"):
            self.console.open("instance", row.target_ref)

    def act_operation_logs(self, row: Any) -> None:
        if row is not None:
            self.console.open("logs", row.target_ref, title=f"{row.title} {row.target}", operation=row.id)

    def submitted(self, action: Action, replies: Any) -> None:
        if action is ACTIONS["operation.retry"] and replies and replies[0].operation is not None:
            self.console.open("operation", f"operation:{replies[0].operation.id}")

    def on_resource_table_opened(self, event: ResourceTable.Opened) -> None:
        event.stop()
        self.act_page_jump()


def jump_to_step(screen: LogKeys, steps: StepTable) -> None:
    """Show the first log line of the step or phase under the cursor."""
    line = steps.cursor_row
    panel = screen.log_panel
    if line is not None and isinstance(panel, PhaseLog) and not panel.go_to_phase(line.name):
        screen.say(f"{line.name} has said nothing yet")
