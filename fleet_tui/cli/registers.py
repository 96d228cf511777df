"""``fleet image|schedule|event|user|audit …``: what is on record."""

from __future__ import annotations

import sys
from pathlib import Path

from fleet_tui.backend import events, identity, operations
from fleet_tui.backend import instances as i
from fleet_tui.cli import tables
from fleet_tui.cli.asking import change, report
from fleet_tui.cli.context import Context


def list_images(context: Context) -> int:
    context.out.rows(tables.IMAGES, context.session.fetch(i.ListImages()), empty="there are no images")
    return 0


def register_image(context: Context) -> int:
    context.out.record(change(context, i.RegisterImage(str(Path(context.given.file).absolute()))))
    return 0


def remove_image(context: Context) -> int:
    return report(context, change(context, i.RemoveImage(context.given.name), context.given.name))


def list_schedules(context: Context) -> int:
    context.out.rows(tables.SCHEDULES, context.session.fetch(operations.ListSchedules()), empty="nothing is scheduled")
    return 0


def list_events(context: Context) -> int:
    """The newest, newest first; with ``--follow`` oldest first and then as they happen."""
    given = context.given
    cursor = context.session.events_after(-1).cursor if given.follow else 0
    found = context.session.fetch(events.ListEvents(limit=given.limit))
    if not given.follow:
        context.out.rows(tables.EVENTS, found, empty="nothing has happened yet")
        return 0
    for event in reversed([event for event in found if event.seq <= cursor]):
        _print_event(context, event)
    while True:
        batch = context.follow(events.EventsAfter(cursor=cursor, wait_s=20.0, audible=True))
        cursor = batch.cursor
        for event in batch.events:
            _print_event(context, event)


def _print_event(context: Context, event: events.Event) -> None:
    if context.out.is_json:
        context.out.json_line(event)
        return
    context.out.line(context.out.cell(f"{event.time:%Y-%m-%d %H:%M:%S}  {event.text}"))
    sys.stdout.flush()


def list_users(context: Context) -> int:
    context.out.rows(tables.USERS, context.session.fetch(identity.ListUsers()), empty="there are no users")
    return 0


def put_user(context: Context) -> int:
    given = context.given
    request = identity.PutUser(
        name=given.name, role=identity.Role(given.role), uid=given.uid, display_name=given.display_name, disabled=given.disabled
    )
    context.out.record(change(context, request, given.name))
    return 0


def remove_user(context: Context) -> int:
    return report(context, change(context, identity.RemoveUser(context.given.name), context.given.name))


def list_audit(context: Context) -> int:
    given = context.given
    request = identity.ListAudit(limit=given.limit, before=given.before, user=given.user, object=given.object)
    context.out.rows(tables.AUDIT, context.session.fetch(request), empty="there are no audit records of yours")
    return 0


def verify_audit(context: Context) -> int:
    verdict: identity.AuditVerdict = context.session.fetch(identity.VerifyAudit())
    if context.out.is_json:
        context.out.json(verdict)
    else:
        context.out.line(context.out.cell(verdict.message))
    return 0 if verdict.intact else 1
