"""Steps of an operation, with the agent's start-up phases under the step they belong to, as one live list."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from fleet_tui.backend.clock import Clock
from fleet_tui.backend.instances import AgentStatus
from fleet_tui.backend.operations import OperationRecord, StepRecord, StepState
from fleet_tui.columns import step_status, took
from fleet_tui.screens.frame import FleetScreen
from fleet_tui.screens.tables import Table
from fleet_tui.widgets.column import Cell, Column
from fleet_tui.widgets.glyphs import Glyphs
from fleet_tui.widgets.timers import once


@dataclass(frozen=True, slots=True)
class StepLine:
    """One line of the list: a step, or a phase (indented)."""

    key: str
    name: str
    state: str
    seconds: float | None
    """How long it took; ``None`` while it runs or before."""
    since: datetime | None
    """When it began, while it runs."""
    note: str = ""
    is_phase: bool = False


def lines_of(operation: OperationRecord | None, agent: AgentStatus | None) -> list[StepLine]:
    """Steps in order; phases follow the start-up step once it has begun."""
    lines: list[StepLine] = []
    phases = agent.phases if agent else ()
    placed = False
    for step in operation.steps if operation else ():
        lines.append(_step(step))
        if _is_start_up(step) and step.state is not StepState.PENDING and phases:
            lines.extend(_phases(phases, step))
            placed = True
    if operation is None and phases and not placed:
        lines.extend(_phases(phases, None))
    return lines


def _is_start_up(step: StepRecord) -> bool:
    return "start-up" in step.name or "startup" in step.name or "phases" in step.name


def _step(step: StepRecord) -> StepLine:
    running = step.state is StepState.RUNNING
    seconds = (step.ended_at - step.started_at).total_seconds() if step.started_at and step.ended_at else None
    note = step.error.message if step.error else step.progress if running else ""
    if step.attempt > 1:
        note = f"try {step.attempt} {note}".strip()
    return StepLine(f"step:{step.name}", step.name, step.state.value, seconds, step.started_at if running else None, note)


def _phases(phases: Iterable[tuple[str, str, float | None]], step: StepRecord | None) -> list[StepLine]:
    return [
        StepLine(f"phase:{name}", name, state, seconds, None, "", step is not None)
        for name, state, seconds in phases
    ]


def running_line(lines: Iterable[StepLine]) -> StepLine | None:
    """The line to look at: what failed, else what runs, else what was done last."""
    best = None
    for line in lines:
        if line.state == "failed":
            return line
        if line.state in ("running", "done") or best is None:
            best = line
    return best


class StepTable(Table):
    """The list, with the cursor on what runs until a person moves it."""

    def __init__(self, glyphs: Glyphs, clock: Clock, *, id: str, empty: str) -> None:
        def name(row: StepLine) -> Cell:
            return f"{glyphs.status(step_status(row.state))} {'  ' if row.is_phase else ''}{row.name}"

        def time(row: StepLine) -> Cell:
            if row.since is not None:
                return took((clock.now() - row.since).total_seconds()), "moving"
            return "-" if row.state == "skipped" else took(row.seconds), "muted"

        super().__init__(
            [
                Column("name", "STEP", 26, render=name, priority=1000, flexible=False),
                Column("took", "TOOK", 7, "right", render=time, priority=900),
                Column("note", "", 20, render=lambda row: (row.note, "failed" if row.state == "failed" else "muted"), flexible=True, priority=10),
            ],
            status_of=lambda row: step_status(row.state), glyphs=glyphs, id=id, empty=empty,
        )  # fmt: skip
        self._led: str | None = None
        self._of = ""

    def put(self, lines: list[StepLine], of: str = "") -> None:
        """Show these. The cursor goes along with the work unless a person took it elsewhere."""
        led = self.cursor_key in (None, self._led) or of != self._of
        self._of = of
        self.set_rows([(line.key, line) for line in lines])
        line = running_line(lines)
        if led and line is not None:
            self.cursor_key = self._led = line.key

    @property
    def is_running(self) -> bool:
        return any(row.since is not None for key in self.shown_keys if (row := self.row(key)) is not None)


class Ticking:
    """Repaints the time of what runs, once a second, and only while something runs, is shown, and the daemon answers."""

    def __init__(self, screen: FleetScreen, table: StepTable) -> None:
        self._screen = screen
        self._table = table
        self._waits = False

    def start(self) -> None:
        if not self._waits and self._table.is_running:
            self._waits = True
            once(self._table, 1.0, self._tick)

    def _tick(self) -> None:
        self._waits = False
        if self._screen.console.session is not None and self._screen.console.is_shown(self._screen):
            self._table.touch()
            self.start()
