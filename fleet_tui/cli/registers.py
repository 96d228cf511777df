"""``fleet template|network|image|schedule|event|user|audit …``: what is on record."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from fleet_tui.backend import events, identity, operations
from fleet_tui.backend import instances as i
from fleet_tui.backend.errors import InvalidInput, UsageError
from fleet_tui.backend.instances import profiles as p
from fleet_tui.cli import tables
from fleet_tui.cli.asking import change, report
from fleet_tui.cli.context import Context


def list_templates(context: Context) -> int:
    context.out.rows(tables.TEMPLATES, context.session.fetch(p.ListTemplates()), empty="there are no templates")
    return 0


def put_template(context: Context) -> int:
    """Create or replace. What is not given stays as it is on record."""
    given = context.given
    known = {template.label: template for template in context.session.fetch(p.ListTemplates())}.get(given.name)
    application = given.application or (known.application if known else "hello-app")
    actions = _setup_actions(given.actions) if given.actions else (known.setup_actions if known else ())
    request = p.PutTemplate(label=given.name, application=application, setup_actions=actions, version=known.version if known else 0)
    context.out.record(change(context, request, given.name))
    return 0


def _setup_actions(name: str) -> tuple[i.SetupAction, ...]:
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
        found = json.loads(text)
    except (OSError, UnicodeDecodeError) as problem:
        raise UsageError(f"{name} cannot be read: {problem}") from problem
    except json.JSONDecodeError as problem:
        raise InvalidInput(f"{name} is not JSON: line {problem.lineno} column {problem.colno}: {problem.msg}") from problem
    actions = found.get("setup_actions") if isinstance(found, dict) else found
    if not isinstance(actions, list):
        raise InvalidInput(f"{name}: a list of setup actions is needed, or an object with one under setup_actions")
    return tuple(_setup_action(name, number, action) for number, action in enumerate(actions, 1))


def _setup_action(source: str, number: int, fields: Any) -> i.SetupAction:
    try:
        return i.SetupAction(**{"parameters": {}, **fields})
    except TypeError as problem:
        raise InvalidInput(f"{source}: setup action {number} needs kind and name, and may have parameters, stage and enabled") from problem


def list_networks(context: Context) -> int:
    context.out.rows(tables.NETWORKS, context.session.fetch(p.ListVirtualNetworks()), empty="there are no virtual networks")
    return 0


def list_images(context: Context) -> int:
    context.out.rows(tables.IMAGES, context.session.fetch(i.ListImages()), empty="there are no images")
    return 0


def register_image(context: Context) -> int:
    context.out.record(change(context, i.RegisterImage(str(Path(context.given.file).absolute()))))
    return 0


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
