"""The dialogs of maintenance: starting it with its forecast in sight, going back, announcing, notes, the checklist, a whole cluster."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from fleet_tui.actions import may_set
from fleet_tui.backend import maintenance as mt
from fleet_tui.backend.errors import InvalidInput, Problem
from fleet_tui.backend.hosts import HostRecord
from fleet_tui.columns import plural, size, took
from fleet_tui.screens.ask import Form, Line, ask, entry, planned
from fleet_tui.screens.pick import Picking, Tick, pick

if TYPE_CHECKING:
    from fleet_tui.screens.branches import Branch
    from fleet_tui.screens.frame import FleetScreen

LONGEST_REASON = 500
ROOM = 68
"""Cells for a sentence in a dialog at 80."""


def moment(text: str, now: datetime) -> datetime | None:
    """A time as a person types it: ``04:30`` (the next one, UTC), ``2026-11-21 04:30`` (UTC), ``+2h``, ``+90m``; None for nothing.

    Raises:
        InvalidInput: for field ``until``.
    """
    text = text.strip()
    if not text:
        return None
    try:
        if text.startswith("+") and text[-1:] in "mhd":
            return now + timedelta(**{{"m": "minutes", "h": "hours", "d": "days"}[text[-1]]: float(text[1:-1])})
        if len(text) <= 5 and ":" in text:
            hour, minute = (int(part) for part in text.split(":"))
            then = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
            return then if then > now else then + timedelta(days=1)
        then = datetime.fromisoformat(text)
        then = then if then.tzinfo is not None else then.replace(tzinfo=now.tzinfo)
    except (ValueError, OverflowError):
        raise InvalidInput("no such time", problems=[Problem("until", "04:30, +2h, or 2026-11-21 04:30; in UTC")]) from None
    if then <= now:
        raise InvalidInput("it is past", problems=[Problem("until", "it is in the past")])
    return then


def _reasoned(v: Mapping[str, Any], now: datetime) -> datetime | None:
    """The planned end, of a form that also asks why. Raises InvalidInput with everything that is wrong."""
    problems = [] if v["reason"] else [Problem("reason", "say why: it is shown to everybody")]
    until = None
    try:
        until = moment(v["until"], now)
    except InvalidInput as wrong:
        problems += wrong.problems
    if problems:
        raise InvalidInput(problems[0].message, problems=problems)
    return until


def start(screen: FleetScreen, host: HostRecord, session: mt.MaintenanceRecord | None = None) -> None:
    """Ask why and until when, with the forecast below: where each VM would go, what blocks, whether the cluster could lose one more."""
    now = screen.console.clock.now()
    again = session if session is not None and session.closed_at is None else None

    def make(v: Mapping[str, Any]) -> Any:
        until = _reasoned(v, now)
        return mt.MaintainHost(target=host.id, reason=v["reason"], ticket=v["ticket"], until=until.isoformat() if until else "",
                               allow_stop=v["allow_stop"], confirmed=True)  # fmt: skip

    refused = may_set("host.maintain", "allow_stop", screen.console.record)
    fields = (
        entry("reason", "Reason", default=again.reason if again else "", rule=f"at most {LONGEST_REASON}", maximum=LONGEST_REASON),
        entry("ticket", "Ticket", default=again.ticket if again else ""), entry("until", "Planned end", help="04:30, +2h; UTC"),
        entry("allow_stop", "May stop VMs", "bool", False),
    )  # fmt: skip
    locked = {"allow_stop": refused} if refused else {}

    def begun(_reply: Any) -> None:
        screen.say(f"maintenance of {host.name}: accepted · C cancels it")
        screen.console.open("maintenance", f"host:{host.id}")

    form = Form(f"Take {host.name} into maintenance", fields, make, begun, "Start", locked=locked, preview=lambda v: mt.ForecastHost(host.id),
                shown=forecast_lines, names={"planned_end": "until"})  # fmt: skip
    ask(screen, form)


def forecast_lines(reply: mt.ForecastRecord) -> list[Line]:
    """What blocks first, then what warns, then where each VM goes."""
    going = [move for move in reply.moves if move.destination]
    stay = [move for move in reply.moves if not move.destination]
    head = f" {plural(len(reply.moves), 'VM')}: {len(going)} would move" + (f", {len(stay)} cannot" if stay else "")
    lines: list[Line] = [[(f"{head}   {reply.parallel} at once   about {took(reply.estimate_s)}", "strong")]]
    lines += [line for blocker in reply.refusals for line in _wrapped("✗", blocker, "failed")]
    lines += [line for blocker in reply.warnings for line in _wrapped("!", blocker, "attention")]
    if reply.survives:
        lines.append([(" the rest of the cluster could still lose one more host", "muted")])
    width = max((len(move.vm) for move in reply.moves), default=0)
    lines += [[(f"   {m.vm:<{width}} {size(m.memory_mib * 1024**2):>8}   stays: {m.why}", "failed")] for m in stay]
    lines += [[(f"   {m.vm:<{width}} {size(m.memory_mib * 1024**2):>8}   {m.destination}", "muted")] for m in going]
    return lines


def _wrapped(mark: str, blocker: mt.Blocker, style: str) -> list[Line]:
    subject = "" if blocker.text.startswith(blocker.subject) else f"{blocker.subject} "
    said = textwrap.wrap(f"{subject}{blocker.text}", ROOM) + textwrap.wrap(blocker.hint, ROOM)
    return [[(f" {mark if n == 0 else ' '} {part}", style if part not in blocker.hint else "muted")] for n, part in enumerate(said)]


def back(screen: FleetScreen, session: mt.MaintenanceRecord) -> None:
    """Choose which VMs return; all of them unless told otherwise."""
    gone = [vm for vm in session.vms if vm.state is mt.MoveState.MOVED and vm.back != "back"]
    items = [Tick(vm.vm_ref, vm.vm, f"{size(vm.memory_mib * 1024**2):>8}  from {vm.destination}", True) for vm in gone]

    def chosen(refs: tuple[str, ...]) -> None:
        # Named by id, which stays; all of them are named too, so that what is confirmed is what is done.
        request = mt.MigrateBack(target=session.host_ref.partition(":")[2], vms=tuple(r.partition(":")[2] for r in refs), confirmed=True)
        screen.ask(lambda s: s.submit(request), lambda _r: screen.say(f"{plural(len(refs), 'VM')} to return to {session.host}"), group="back")

    pick(screen, Picking(f"Migrate back to {session.host}", items, "Migrate back", chosen))


def checklist(screen: FleetScreen, session: mt.MaintenanceRecord) -> None:
    """Tick what is done; each tick is stored at once, with who did it."""
    items = [Tick(str(n), item.text, f"by {item.by}" if item.by else "", item.done) for n, item in enumerate(session.checklist)]

    def toggled(index: str) -> None:
        screen.ask(lambda s: s.submit(mt.EditMaintenance(session.id, check=int(index))), lambda _r: None)

    pick(screen, Picking(f"Checklist of {session.host}", items, toggled=toggled))


def note(screen: FleetScreen, session: mt.MaintenanceRecord) -> None:
    def make(v: Mapping[str, Any]) -> Any:
        if not v["note"]:
            raise InvalidInput("nothing was written", problems=[Problem("note", "nothing was written")])
        return mt.EditMaintenance(session.id, note=v["note"])

    ask(screen, Form(f"Note on {session.host}", (entry("note", "Note"),), make, lambda _r: screen.say("noted"), "Note"))


def edit(screen: FleetScreen, session: mt.MaintenanceRecord) -> None:
    now = screen.console.clock.now()

    def make(v: Mapping[str, Any]) -> Any:
        return mt.EditMaintenance(session.id, v["reason"] or None, v["ticket"], moment(v["until"], now))

    fields = (
        entry("reason", "Reason", default=session.reason, maximum=LONGEST_REASON, rule=f"at most {LONGEST_REASON}"),
        entry("ticket", "Ticket", default=session.ticket), entry("until", "New planned end", help="empty keeps it; 04:30, +2h; UTC"),
    )  # fmt: skip
    ask(screen, Form(f"Session of {session.host}", fields, make, lambda _r: screen.say("saved"), names={"planned_end": "until"}))


def announce(screen: FleetScreen, host: HostRecord, session: mt.MaintenanceRecord | None) -> None:
    now = screen.console.clock.now()

    def make(v: Mapping[str, Any]) -> Any:
        until = moment(v["until"], now)
        return mt.AnnounceMaintenance(target=host.id, reason=v["reason"], until=until.isoformat() if until else "", text=v["text"])

    planned_end = session.planned_end if session is not None and session.closed_at is None else None
    fields = (
        entry("reason", "Reason", default=session.reason if session else ""),
        entry("until", "Planned end", default=f"{planned_end:%Y-%m-%d %H:%M}" if planned_end else "", help="04:30, +2h; UTC"),
        entry("text", "More", help="a sentence for the owners"),
    )  # fmt: skip
    ask(screen, Form(f"Mail the owners of the VMs on {host.name}", fields, make, lambda _r: screen.say("announced: see the log"), "Send",
                     names={"planned_end": "until"}))  # fmt: skip


def ask_for_rolling(screen: FleetScreen, branch: Branch) -> None:
    """Every host of a cluster in turn, with the groups in sight."""

    def make(v: Mapping[str, Any]) -> Any:
        if not v["reason"]:
            raise InvalidInput("why?", problems=[Problem("reason", "say why: it is shown to everybody")])
        return mt.MaintainRolling(target=branch.name, reason=v["reason"], group_size=v["group_size"], work=WORK[v["work"]])

    fields = (
        entry("reason", "Reason", maximum=LONGEST_REASON, rule=f"at most {LONGEST_REASON}"),
        entry("group_size", "Most at once", "int", 0, rule="0 for what fits", minimum=0, maximum=1000, unit="hosts"),
        entry("work", "A ready host", "choice", next(iter(WORK)), choices=tuple(WORK)),
    )  # fmt: skip
    form = Form(f"Rolling maintenance of {branch.name}", fields, make, lambda _r: screen.say("rolling maintenance: accepted · 7 shows it"), "Start",
                before=planned("Start rolling maintenance of"), shown=plan_lines,
                preview=lambda v: mt.PlanRolling(branch.name, v["group_size"] if isinstance(v["group_size"], int) else 0))  # fmt: skip
    ask(screen, form)


WORK: Mapping[str, str] = {"waits for a person": "wait", "goes on at once": "none"}


def plan_lines(reply: mt.RollingPlan) -> list[Line]:
    """Groups in order, and the hosts that cannot be emptied."""
    lines: list[Line] = [line for blocker in reply.impossible for line in _wrapped("✗", blocker, "failed")]
    groups: Sequence[mt.RollingGroup] = reply.groups
    return lines + [[(f" {n}. ", "strong"), (", ".join(g.hosts), ""), (f"   {plural(g.vms, 'VM')}", "muted")] for n, g in enumerate(groups, 1)]
