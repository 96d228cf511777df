"""What the maintenance screen says around its list: where it stands, what comes next, what blocks."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fleet_tui import columns
from fleet_tui.backend.hosts import HostRecord
from fleet_tui.backend.hosts.states import HostEvent, ResourceState
from fleet_tui.backend.hosts.states import allowed as allowed_in
from fleet_tui.backend.maintenance import STEPS, Blocker, Evacuee, ForecastRecord, MaintenanceRecord, MoveState, Step
from fleet_tui.screens.evacuation import counts
from fleet_tui.widgets.glyphs import Glyphs
from fleet_tui.widgets.paint import Span, fit, titled_rule, width_of

Line = list[Span]
PREPARING = (ResourceState.PREPARE.value, ResourceState.ERROR_IN_PREPARE.value)
MOST_BLOCKERS = 3
LEAST_REASON = 24
"""Cells that a reason keeps, however much follows it."""
SIDE = 40
"""Cells for a note at the side."""


@dataclass(frozen=True, slots=True)
class Next:
    """What ``M`` does now."""

    text: str
    action: str = ""
    """Id of the action that it stands for."""
    to: Step | None = None
    """Step that the session goes on to."""


def next_step(host: HostRecord | None, session: MaintenanceRecord | None) -> Next:
    """The one thing a person does next; with neither action nor step, what is waited for."""
    if host is None:
        return Next("the host is not known yet")
    state = host.resource_state
    if session is None or session.closed_at is not None:
        if state in columns.MAINTENANCE_STATES:
            return Next("ends its maintenance", "maintenance.cancel")
        return Next("starts the maintenance", "maintenance.start") if _askable(state) else Next(f"the host is {state}")
    if state in PREPARING and host.operation_id and session.operation_id and host.operation_id != session.operation_id:
        return Next(f"{host.operation}: the moves that are at work end first")
    if state in PREPARING:
        waits = any(vm.state in (MoveState.RETRY, MoveState.FAILED) for vm in session.vms)
        return Next("tries what failed again, now", "maintenance.retry") if waits else Next("the VMs are on their way; C goes back")
    if state == ResourceState.ERROR_IN_MAINTENANCE.value:
        return Next("starts it again, with new attempts", "maintenance.start")
    if state == ResourceState.MAINTENANCE.value:
        return _at_work(session)
    if state == ResourceState.ENABLED.value and any(vm.state is MoveState.MOVED and vm.back != "back" for vm in session.vms):
        return Next("chooses VMs that come back; :close ends the session without", "maintenance.back")
    return Next("closes the session", "maintenance.close")


def _askable(state: str) -> bool:
    try:
        return HostEvent.ASK_MAINTENANCE in allowed_in(ResourceState(state))
    except ValueError:
        return False


def _at_work(session: MaintenanceRecord) -> Next:
    done, total = sum(item.done for item in session.checklist), len(session.checklist)
    if session.step in (Step.WORK, Step.VERIFY) and done == total:
        if session.step is Step.WORK:
            return Next("goes on: see that the host is well", to=Step.VERIFY)
        return Next("ends the maintenance: the host takes VMs again", "maintenance.cancel")
    if session.step is Step.VERIFY:
        return Next("ends the maintenance: the host takes VMs again", "maintenance.cancel")
    if session.step is Step.WORK:
        return Next(f"opens the checklist: {done} of {total} done", "maintenance.check")
    return Next(f"begins the work: {total} things on the checklist", to=Step.WORK)


def heading(
    host: HostRecord, session: MaintenanceRecord | None, forecast: ForecastRecord | None, glyphs: Glyphs, now: datetime, width: int, name: str = ""
) -> list[Line]:
    """Three lines: state and step, why and until when, how many VMs and how long still."""
    status = columns.host_status(host)
    state = columns.MAINTENANCE_STATES.get(host.resource_state) or columns.HOST_STATES.get(host.resource_state, host.resource_state)
    since = host.state_since if host.resource_state in columns.MAINTENANCE_STATES else None
    elapsed = f"  {columns.took((now - since).total_seconds())}" if since is not None else ""
    first: Line = [(f" {name}" if name else "", "strong"), (f" {glyphs.status(status)} {state}{elapsed}", status)]
    if not columns.is_up(host):
        first.append((f"   link {columns.host_link(host)}", "attention"))
    if session is None:
        said = "Forecast: nothing is changed" if forecast is not None else ""
        lines = [first, [(f" {said}", "muted")]]
        return [*lines, _forecast_counts(forecast)] if forecast is not None else lines
    return [_at_right(first, (steps(session), _step(session)), width), _why(session, glyphs, now, width), _counts(session)]


def _at_right(left: Line, choices: Sequence[Line], width: int) -> Line:
    """The first of the choices that fits goes to the end of the line; none does where it is too narrow."""
    for right in choices:
        gap = width - sum(width_of(text) for text, _ in (*left, *right)) - 1
        if gap >= 2:
            return [*left, (" " * gap, ""), *right]
    return left


def _step(session: MaintenanceRecord) -> Line:
    return [("closed" if session.closed_at is not None else f"{STEPS.index(session.step) + 1}/{len(STEPS)} {session.step.value}", "strong")]


def steps(session: MaintenanceRecord) -> Line:
    """``1 2 [3] 4 5 6 7 8 9  prepare``."""
    at = len(STEPS) if session.closed_at is not None else STEPS.index(session.step)
    line: Line = []
    for n in range(len(STEPS)):
        line.append((f"[{n + 1}]" if n == at else str(n + 1), "strong" if n == at else "muted"))
        line.append((" ", ""))
    return [*line, (f" {'closed' if at == len(STEPS) else STEPS[at].value}", "strong")]


def _why(session: MaintenanceRecord, glyphs: Glyphs, now: datetime, width: int) -> Line:
    """The reason gives way to what follows it, as far as it can be read still."""
    dot = f" {glyphs.dot} "
    line: Line = []
    if session.planned_end is not None:
        day = f"{session.planned_end:%m-%d} " if session.planned_end.date() != now.date() else ""
        over = session.is_overrun or session.planned_end < now
        line.append((f"{dot}until {day}{session.planned_end:%H:%M} UTC" + (", overdue" if over else ""), "attention" if over else "muted"))
    if session.ticket:
        line.append((f"{dot}ticket {session.ticket}", "muted"))
    line.append((f"{dot}{session.owner}", "muted"))
    if session.allow_stop:
        line.append((f"{dot}may stop VMs", "attention"))
    if session.own_mode:
        line.append((f"{dot}its own maintenance mode is {session.own_mode}", "attention" if session.own_mode == "on" else "muted"))
    if session.master:
        line.append((f"{dot}master {session.master}", "muted"))
    room = max(LEAST_REASON, width - 2 - sum(width_of(text) for text, _ in line))
    return [(f" {session.reason if width_of(session.reason) <= room else fit(session.reason, room, ellipsis=glyphs.ellipsis)}", ""), *line]


def _counts(session: MaintenanceRecord) -> Line:
    total = len(session.vms)
    line: Line = [(f" {columns.plural(total, 'VM')}", "strong")]
    line += [(f"  {number} {word}", status) for status, word, number in counts(session.vms)]
    if session.estimate_s is not None and session.resource_state in PREPARING:
        line.append((f"   {session.parallel} at once   about {columns.took(session.estimate_s)}", "muted"))
    returned = sum(vm.back == "back" for vm in session.vms)
    if returned:
        line.append((f"   {returned} back here", "well"))
    return line


def _forecast_counts(forecast: ForecastRecord) -> Line:
    going = sum(bool(move.destination) for move in forecast.moves)
    line: Line = [(f" {columns.plural(len(forecast.moves), 'VM')}", "strong"), (f"  {going} would move", "")]
    if len(forecast.moves) - going:
        line.append((f"  {len(forecast.moves) - going} could not", "failed"))
    line.append((f"   {forecast.parallel} at once   about {columns.took(forecast.estimate_s)}", "muted"))
    if not forecast.survives:
        line.append(("   not N+1", "attention"))
    return line


def todo(
    host: HostRecord, session: MaintenanceRecord | None, forecast: ForecastRecord | None, row: Evacuee | None, glyphs: Glyphs, width: int
) -> list[Line]:
    """What stands in the way and what to do about it, that of the VM under the cursor first; then what ``M`` does."""
    blockers = list(session.blockers if session is not None else (*forecast.refusals, *forecast.warnings) if forecast is not None else ())
    warned = len(blockers) - (len(forecast.warnings) if session is None and forecast is not None else 0)
    marks = {id(b): (glyphs.failed, "failed") if n < warned else (glyphs.attention, "attention") for n, b in enumerate(blockers)}
    if row is not None:
        blockers.sort(key=lambda b: b.subject != row.vm)
        if row.error and not any(b.subject == row.vm for b in blockers):
            blockers.insert(0, Blocker("", row.vm, f"{row.error}.", row.hint))
    follows = next_step(host, session)
    lines: list[Line] = []
    if blockers:
        lines.append([(titled_rule([_title(session, blockers)], [], width, glyphs), "title")])
    for blocker in blockers[:MOST_BLOCKERS]:
        mark, style = marks.get(id(blocker), (glyphs.attention, "attention"))
        subject = "" if blocker.text.startswith(blocker.subject) else f"{blocker.subject} "
        hint = f" {glyphs.dot} {blocker.hint}" if blocker.hint else ""
        lines += _blocked(f" {mark} ", f"{subject}{blocker.text.removesuffix('.')}", style, hint, width)
    lines.append([(" M", "key"), (f" {follows.text}", "muted")] if follows.action or follows.to else [(f"   {follows.text}", "muted")])
    return lines


def _blocked(lead: str, what: str, style: str, hint: str, width: int) -> list[Line]:
    """What blocks in its colour and what to do about it in none, on two lines at most."""
    lines: list[Line] = []
    left = len(what)
    for part in textwrap.wrap(f"{what}{hint}", max(20, width - 4))[:2]:
        lines.append([(f"{lead if not lines else '   '}{part[:left]}", style), (part[left:], "")])
        left = max(0, left - len(part) - 1)
    return lines


def _title(session: MaintenanceRecord | None, blockers: list[Blocker]) -> str:
    if session is None:
        return "what stands in the way"
    more = len(blockers) - MOST_BLOCKERS
    return "blocked" + (f", {more} more" if more > 0 else "")


def side(session: MaintenanceRecord | None, glyphs: Glyphs, now: datetime) -> list[Line]:
    """Steps, checklist and notes, where the terminal is broad."""
    if session is None:
        return []
    at = len(STEPS) if session.closed_at is not None else STEPS.index(session.step)
    lines: list[Line] = [[(" STEPS", "title")]]
    for n, step in enumerate(STEPS):
        status = "well" if n < at else "moving" if n == at else "off"
        lines.append([(f" {glyphs.status(status)} {n + 1} {step.value}", "strong" if n == at else "" if n < at else "muted")])
    lines += [[], [(" CHECKLIST   ", "title"), ("K", "key")]]
    lines += [
        [(f" {glyphs.mark if item.done else glyphs.off} {item.text}", "muted" if item.done else ""), (f"  {item.by}" if item.done else "", "muted")]
        for item in session.checklist
    ]
    lines += [[], [(" NOTES   ", "title"), ("N", "key")]]
    for note in reversed(session.notes[-8:]):
        said = textwrap.wrap(note.text, SIDE) or [""]
        lines.append([(f" {note.time:%H:%M} {note.user}", "muted")])
        lines += [[(f"   {part}", "")] for part in said[:3]]
    if session.announced_at is not None:
        lines += [[], [(f" announced {columns.ago(session.announced_at, now)} ago to {len(session.announced_to)}", "muted")]]
    return lines
