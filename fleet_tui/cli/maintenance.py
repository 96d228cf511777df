"""``fleet host maintain …`` and what belongs to it, ``fleet maintain rolling``: hosts out of service and back."""

from __future__ import annotations

import dataclasses
import re
from argparse import ArgumentTypeError
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from fleet_tui.backend import maintenance as mt
from fleet_tui.backend.errors import BY_CODE
from fleet_tui.cli.asking import change, operate, report
from fleet_tui.cli.context import Context
from fleet_tui.cli.tables import BLOCKERS, EVACUEES, FORECAST, GROUPS, SESSIONS, VERDICTS, when
from fleet_tui.columns import plural, took

STEPS = tuple(step.value for step in (mt.Step.READY, mt.Step.WORK, mt.Step.VERIFY))
"""Steps that a person says by hand to be at."""
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}
_PERIOD = re.compile(r"\+((?:\d+(?:\.\d+)?[dhm])+)\Z")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})\Z")


def moment(text: str, now: datetime | None = None) -> datetime:
    """A planned end as typed: ``04:30`` (the next one, local time), ``+2h``, ``+1h30m``, or ISO 8601 (local time unless it names a zone).

    Args:
        now: local time, with its zone.

    Raises:
        ArgumentTypeError: it is no such time, or past.
    """
    now = now or datetime.now().astimezone()
    try:
        if found := _PERIOD.match(text):
            parts = re.findall(r"([\d.]+)([dhm])", found[1])
            return now + sum((timedelta(**{_UNITS[unit]: float(number)}) for number, unit in parts), timedelta())
        if found := _CLOCK.match(text):
            wall = now.replace(tzinfo=None)
            then = wall.replace(hour=int(found[1]), minute=int(found[2]), second=0, microsecond=0)
            return (then if then > wall else then + timedelta(days=1)).astimezone()
        then = datetime.fromisoformat(text)
        then = then if then.tzinfo is not None else then.astimezone()
    except (ValueError, OverflowError):
        raise ArgumentTypeError(f"{text!r} is no time; 04:30, +2h or 2031-05-17T04:30 is one") from None
    if then <= now:
        raise ArgumentTypeError(f"{text} is past")
    return then


def forecast(context: Context) -> int:
    """What maintenance would do, and what stands in its way. Ends as maintenance would: with the code of the first refusal."""
    given = context.given
    found: mt.ForecastRecord = context.session.fetch(mt.ForecastHost(given.name, given.explain))
    if context.out.is_json:
        context.out.json(found)
    elif context.out.form == "text":
        context.out.rows(FORECAST, found.moves)
    else:
        _show_forecast(context, found)
    return _code(found.refusals)


def _show_forecast(context: Context, found: mt.ForecastRecord) -> None:
    say = context.out.line
    for head, blockers in (("refused", found.refusals), ("warning", found.warnings)):
        for one in blockers:
            say(f"{head:13} {context.out.cell(_sentence(one))}")
    if found.moves:
        context.out.rows(FORECAST, found.moves)
    for move in found.moves:
        if move.verdicts:
            say(f"\n{context.out.cell(move.vm)} and each host:")
            context.out.rows(VERDICTS, move.verdicts)
    rest = "the rest of its cluster could then lose one more host" if found.survives else "the rest of its cluster could then not lose one more host"
    say(f"{plural(len(found.moves), 'VM')} to move, {found.parallel} at once, about {took(found.estimate_s)}; {rest}")


def maintain(context: Context) -> int:
    given = context.given
    until = given.until.isoformat() if given.until else ""
    return operate(context, mt.MaintainHost, given.name, reason=given.reason, ticket=given.ticket, until=until, allow_stop=given.allow_stop)


def cancel(context: Context) -> int:
    return operate(context, mt.CancelMaintenance, context.given.name)


def migrate_back(context: Context) -> int:
    return operate(context, mt.MigrateBack, context.given.name, vms=tuple(context.given.vm))


def announce(context: Context) -> int:
    given = context.given
    until = given.until.isoformat() if given.until else ""
    return operate(context, mt.AnnounceMaintenance, given.name, reason=given.reason, until=until, text=given.text)


def session(context: Context) -> int:
    """The newest maintenance session of a host; with a flag, changed first."""
    given = context.given
    fields = {
        "reason": given.reason, "ticket": given.ticket, "planned_end": given.until, "step": mt.Step(given.step) if given.step else None,
        "check": None if given.check is None else given.check - 1,
    }  # fmt: skip
    if any(value is not None for value in fields.values()):
        return _show_session(context, change(context, mt.EditMaintenance(target=given.name, **fields)))
    return _show_session(context, context.session.fetch(mt.ShowMaintenance(given.name)))


def find(context: Context) -> int:
    found = context.session.fetch(mt.ListMaintenance(is_open=True if context.given.open else None, limit=context.given.limit))
    context.out.rows(SESSIONS, found, empty="no host is in maintenance" if context.given.open else "there was no maintenance yet")
    return 0


def note(context: Context) -> int:
    given = context.given
    saved = change(context, mt.EditMaintenance(target=given.name, note=given.text))
    return report(context, saved, f"noted in the session of {saved.host}")


def retry_moves(context: Context) -> int:
    saved = change(context, mt.RetryMoves(context.given.name))
    return report(context, saved, f"{saved.host}: what failed or waits is tried again now")


def close(context: Context) -> int:
    saved = change(context, mt.CloseMaintenance(context.given.name), context.given.name)
    return report(context, saved, f"the session of {saved.host} is closed")


def _show_session(context: Context, found: mt.MaintenanceRecord) -> int:
    """As JSON the record itself; for people its facts, then tables of what belongs to it."""
    if context.out.is_json:
        context.out.json(found)
        return 0
    flat = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    vms, blockers, checklist, notes = (flat.pop(name) for name in ("vms", "blockers", "checklist", "notes"))
    context.out.record(flat)
    out = context.out
    if vms:
        out.line("\nvms:")
        out.rows(EVACUEES, vms)
    if blockers:
        out.line("\nblockers:")
        out.rows(BLOCKERS, blockers)
    for number, item in enumerate(checklist, 1):
        head = "\nchecklist:\n" if number == 1 else ""
        out.line(f"{head}{number} [{'x' if item.done else ' '}] {out.cell(item.text)}{f' ({out.cell(item.by)})' if item.by else ''}")
    for number, one in enumerate(notes):
        out.line(f"{'' if number else chr(10) + 'notes:' + chr(10)}{when(one.time)} {out.cell(one.user)}: {out.cell(one.text)}")
    return 0


def rolling(context: Context) -> int:
    """Every host of a cluster in turn; with ``--plan`` only in which groups."""
    given = context.given
    if given.plan:
        return _show_plan(context, context.session.fetch(mt.PlanRolling(given.cluster, given.group_size)))
    reason = given.reason or f"rolling maintenance of {given.cluster}"
    return operate(context, mt.MaintainRolling, given.cluster, reason=reason, group_size=given.group_size, work=given.work)


def _show_plan(context: Context, found: mt.RollingPlan) -> int:
    """Ends with the code of the first host that cannot be emptied."""
    if context.out.is_json:
        context.out.json(found)
    else:
        context.out.rows(GROUPS, list(enumerate(found.groups, 1)), empty="no host of it can be emptied now")
        for one in found.impossible:
            context.out.line(f"{'left out':13} {context.out.cell(_sentence(one))}")
    return _code(found.impossible)


def _sentence(blocker: mt.Blocker) -> str:
    text = blocker.text if blocker.text.startswith(blocker.subject) else f"{blocker.subject}: {blocker.text}"
    return f"{text}{' ' if text.endswith('.') else '; '}{blocker.hint}" if blocker.hint else text


def _code(refusals: Sequence[Any]) -> int:
    kind = BY_CODE.get(refusals[0].code) if refusals else None
    return kind.exit_code if kind else 1 if refusals else 0
