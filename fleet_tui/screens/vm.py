"""One VM: what it is, where it moves, and its log."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from textual.app import ComposeResult
from textual.widget import Widget

from fleet_tui import columns
from fleet_tui.backend.errors import FleetError, NotFound
from fleet_tui.backend.machines import MoveRecord, ShowVm, VmRecord
from fleet_tui.backend.machines.states import PHASES
from fleet_tui.screens.frame import bindings
from fleet_tui.screens.link import FleetChanged
from fleet_tui.screens.logs import LogKeys
from fleet_tui.screens.tail import PhaseLog, Tail
from fleet_tui.widgets.glyphs import Glyphs, bar
from fleet_tui.widgets.paint import Lines, Span

Line = list[Span]


class VmScreen(LogKeys):
    KIND = "vm"
    BINDINGS = bindings("vm")
    THING = frozenset({"vm", "page.describe", "page.raw"})

    def __init__(self) -> None:
        super().__init__()
        self.record: VmRecord | None = None
        self.tail = Tail(self, lambda: self.log_panel)

    def body(self) -> ComposeResult:
        yield Lines(glyphs=self.console.glyphs, id="facts")
        yield PhaseLog("log", id="log", glyphs=self.console.glyphs)

    def on_mount(self) -> None:
        self.log_panel.labels = False
        self.log_panel.wrap = True

    def home(self) -> Widget | None:
        return self.log_panel

    def crumbs(self) -> list[str]:
        return ["vms", self.record.name if self.record else self.ref.partition(":")[2]]

    def aim(self, ref: str) -> None:
        if ref != self.ref:
            self.record = None
        super().aim(ref)

    @property
    def thing(self) -> Any:
        return self.record

    def subject(self, aims: str) -> Any:
        return self.record if aims == "vm" else None

    def load(self) -> None:
        self.fetch(ShowVm(self.ref), self._have, "vm", self._missing)

    def _missing(self, error: FleetError) -> None:
        if isinstance(error, NotFound):
            self.say(f"{self.record.name if self.record else 'it'} is gone")
            if self.console.screen is self:
                self.console.back()
        else:
            self.failed(error)

    def _have(self, row: VmRecord) -> None:
        self.record, self.ref = row, f"vm:{row.id}"
        self._facts()
        self.log_panel.title = f"log · {row.name}"
        self.tail.aim(self.ref)
        if self.focused is None:
            self.log_panel.focus()
        self.chrome()

    def _facts(self) -> None:
        if self.record is not None:
            self.query_one("#facts", Lines).show(facts(self.record, self.console.glyphs, self.console.clock.now()))

    def changed(self, changed: FleetChanged) -> None:
        if self.ref in changed.refs:
            self.load()
        if self.tail.hears(changed.lines):
            self.tail.read()

    def minute(self) -> None:
        self._facts()

    def leave(self) -> bool:
        if not self.has_class("-full"):
            return False
        self.remove_class("-full")
        return True

    def act_page_describe(self) -> None:
        self._detail(False)

    def act_page_raw(self) -> None:
        self._detail(True)

    def _detail(self, raw: bool) -> None:
        if self.record is not None:
            self.console.open("detail", self.ref, record=self.record, title=self.record.name, raw=raw)


def facts(row: VmRecord, glyphs: Glyphs, now: datetime) -> list[Line]:
    """State first, its move second, then what it is."""
    status = columns.vm_status(row)
    where = f"on {row.host}" if row.host else f"last on {row.last_host}" if row.last_host else "nowhere yet"
    lines: list[Line] = [[(f" {glyphs.status(status)} {row.state.value}", status), (f"   {where}", ""),
                          (f"   {row.operation}" if row.operation else "", "moving")]]  # fmt: skip
    if row.move is not None:
        lines += move_lines(row.move, glyphs)
    if row.error:
        lines.append([(f" {glyphs.failed} {row.error}", "failed")])
    if row.on_old_ratio:
        lines.append([(f" {glyphs.pending} started under other ratios: stop and start it to adopt the new ones", "attention")])
    stays = [said for said, holds in (("a pass-through device", row.has_device), ("a disk on its host", row.has_local_disk)) if holds]
    if stays:
        lines.append([(f" {glyphs.attention} it has {' and '.join(stays)}, so it cannot move while it runs", "attention")])
    rules = [said for said, holds in (("protected", row.destroy_protected), ("highly available", row.ha)) if holds]
    lines += [
        _pair(
            "size", f"{row.offering}: {columns.plural(row.cores, 'core')} at {row.mhz:,} MHz, {columns.size(row.memory_mib * 1024**2)}",
            "cluster", row.cluster,
        ),
        _pair("address", " ".join(row.ips) or "-", "owners", " ".join(row.owners) or "-"),
        _pair("kind", " ".join((row.kind, *rules)), "tags", " ".join(row.tags) or "none"),
        _pair("changed", f"{columns.ago(row.updated_at, now)} ago", "made", f"{columns.ago(row.created_at, now)} ago"),
    ]
    return lines


def move_lines(move: MoveRecord, glyphs: Glyphs) -> list[Line]:
    """One move: phase of all, bar, try; or how it ended."""
    if move.outcome:
        status = "well" if move.outcome == "moved" else "failed"
        time = f" in {columns.took((move.elapsed_ms or 0) / 1000)}, down {move.downtime_ms} ms" if move.outcome == "moved" else f": {move.error}"
        return [[(f" {glyphs.status(status)} last move, {move.source} to {move.destination}: {move.outcome}{time}", status)]]
    at = PHASES.index(move.phase)
    phases = " ".join(f"[{p.value}]" if n == at else p.value for n, p in enumerate(PHASES[:-1]))
    head = f" {glyphs.moving} {move.source} to {move.destination}   {bar(move.percent / 100, 16, glyphs)} {move.percent} %   try {move.attempt}"
    return [[(head, "moving")], [(f"   {phases}", "muted")], *([[(f"   {move.detail}", "")]] if move.detail else [])]


def _pair(a: str, b: str, c: str, d: str) -> Line:
    return [(f" {a:<9}", "muted"), (f"{b:<40} ", ""), (f"{c:<8}", "muted"), (d, "")]
