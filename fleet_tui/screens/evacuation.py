"""The VMs of a maintenance session as a list: what moves and what blocks first, with phase, bar, try and destination."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fleet_tui.backend.clock import Clock
from fleet_tui.backend.maintenance import Evacuee, ForecastMove, MoveState
from fleet_tui.columns import size, span, took
from fleet_tui.screens.tables import Table
from fleet_tui.widgets.column import Cell, Column
from fleet_tui.widgets.glyphs import Glyphs, bar

_STATUS = {
    MoveState.WAITING: "off", MoveState.MOVING: "moving", MoveState.MOVED: "well", MoveState.RETRY: "attention", MoveState.FAILED: "failed",
    MoveState.BLOCKED: "failed", MoveState.STOPPED: "off", MoveState.LOST: "failed", MoveState.GONE: "well",
}  # fmt: skip
_ORDER = tuple(MoveState(name) for name in ("lost", "failed", "blocked", "retry", "moving", "waiting", "stopped", "moved", "gone"))
_BACK = {"back": "well", "failed": "failed", "waiting": "off"}
_WORDS = {MoveState.MOVED: "moved", MoveState.STOPPED: "stopped", MoveState.LOST: "lost", MoveState.GONE: "made anew"}


def status_of(row: Evacuee) -> str:
    if row.back:
        return _BACK.get(row.back.partition(":")[0], "moving")
    return _STATUS[row.state]


def ordered(rows: Iterable[Evacuee]) -> list[Evacuee]:
    """What a person has to look at first, then what moves, then what waits, then what is done."""
    return sorted(rows, key=lambda row: (_ORDER.index(row.state), row.kind == "guest", -row.memory_mib, row.vm))


def foreseen(moves: Iterable[ForecastMove]) -> list[Evacuee]:
    """A forecast in the shape of the list, with no attempts: where each would go, or why it cannot."""
    return [
        Evacuee(
            move.vm, move.vm_ref, "guest", move.memory_mib, MoveState.WAITING if move.destination else MoveState.BLOCKED, "", 0, move.why, 0, 0,
            move.destination, "" if move.destination else move.why, "", None, None, None, "",
        )
        for move in moves
    ]  # fmt: skip


def counts(rows: Iterable[Evacuee]) -> list[tuple[str, str, int]]:
    """(status, word, how many) of each state that there is, in the order of a person's interest."""
    found: dict[MoveState, int] = {}
    for row in rows:
        found[row.state] = found.get(row.state, 0) + 1
    shown = ("moved", "moving", "waiting", "retry", "blocked", "failed", "lost", "stopped", "gone")
    return [(_STATUS[state], _SAID.get(name, name), found[state]) for name in shown if (state := MoveState(name)) in found]


_SAID = {"gone": "made anew", "retry": "to be retried"}


class EvacuationTable(Table):
    """The list. Given more room the bars grow."""

    def __init__(self, glyphs: Glyphs, clock: Clock, *, id: str, empty: str) -> None:
        def name(row: Evacuee) -> Cell:
            return f"{glyphs.status(status_of(row))} {row.vm}"

        def phase(row: Evacuee) -> Cell:
            if row.back:
                word = row.back.partition(":")[0]
                return {"back": "is back", "failed": "not back", "waiting": "to go back"}.get(word, row.phase or "going back"), _style(row)
            if not row.attempts:
                return ("would move", "") if row.destination else ("stays", "failed")
            if row.state is MoveState.MOVING:
                return row.phase or "begins", "moving"
            if row.state is MoveState.RETRY:
                left = (row.next_try_at - clock.now()).total_seconds() if row.next_try_at else 0.0
                return f"again in {span(left)}" if left >= 5 else "again now", "attention"
            return _WORDS.get(row.state, row.state.value), _style(row)

        def progress(row: Evacuee) -> Cell:
            if row.back.startswith("failed"):
                return row.back.partition(":")[2].strip() or "failed", "failed"
            if row.state is MoveState.MOVING or row.back.startswith("moving"):
                return f"{bar(row.percent / 100, 16, glyphs)} {row.percent:>3} %", "moving"
            if row.error:
                return row.error, "failed" if row.state in (MoveState.FAILED, MoveState.BLOCKED, MoveState.LOST) else "attention"
            if row.state is MoveState.MOVED:
                down = f", down {row.downtime_ms} ms" if row.downtime_ms is not None else ""
                return (f"{took(row.elapsed_ms / 1000)}{down}" if row.elapsed_ms is not None else ""), "muted"
            return row.detail, "muted"

        def tries(row: Evacuee) -> Cell:
            return (f"{row.attempt}/{row.attempts}" if row.attempt else "-"), "attention" if row.attempt > 1 else "muted"

        def memory(row: Evacuee) -> str:
            return size(row.memory_mib * 1024**2)

        super().__init__(
            [
                Column("vm", "VM", 12, render=name, priority=1000),
                Column("memory", "MEM", 8, "right", render=memory, sort=lambda r: -r.memory_mib, priority=500),
                Column("to", "TO", 9, render=lambda r: r.destination or "-", priority=800),
                Column("phase", "PHASE", 10, render=phase, priority=850),
                Column("progress", "PROGRESS", 22, render=progress, flexible=True, priority=900),
                Column("try", "TRY", 3, "right", render=tries, priority=600),
            ],
            status_of=status_of, matches=_matches, search_of=lambda r: f"{r.vm} {r.destination} {r.state.value} {r.error}",
            glyphs=glyphs, id=id, empty=empty,
        )  # fmt: skip


def _style(row: Evacuee) -> str:
    """Words get a colour only where something goes on, or went wrong."""
    status = status_of(row)
    return status if status in ("failed", "moving") else ""


def _matches(row: Any, term: str) -> bool:
    field, _, wanted = term.partition(":")
    value = {"state": row.state.value, "to": row.destination}.get(field, "")
    return str(value).lower().startswith(wanted.lower())
