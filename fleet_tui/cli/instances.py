"""``fleet instance …``"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleet_tui.backend import instances as i
from fleet_tui.backend.errors import UsageError
from fleet_tui.backend.telemetry import ReadLines
from fleet_tui.cli import asking
from fleet_tui.cli.asking import change
from fleet_tui.cli.context import Context
from fleet_tui.cli.values import values_given
from fleet_tui.cli.waiting import line_record, line_text
from fleet_tui.columns import INSTANCES

_PAGE = 1000
_HOLD_S = 20.0


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb that becomes an operation; ``flags`` are the request's own fields it reads from the command line."""

    request: type
    help: str
    flags: tuple[str, ...] = ()


VERBS: Mapping[str, Verb] = {
    "provision": Verb(i.ProvisionInstance, "make its machine and start the application", ("skip_dns_check",)),
    "deprovision": Verb(i.DeprovisionInstance, "throw its machine away, keep the data disk", ("force",)),
    "reprovision": Verb(i.ReprovisionInstance, "deprovision and provision again", ("snapshot", "skip_dns_check")),
    "stop": Verb(i.StopInstance, "switch its machine off"),
    "start": Verb(i.StartInstance, "switch its machine on again"),
    "restart-app": Verb(i.RestartApplication, "restart the application, not the machine"),
    "replay-actions": Verb(i.ReplayActions, "run its setup actions again"),
    "retry": Verb(i.RetryStartup, "try a failed start-up again, from the phase that failed"),
    "grow": Verb(i.GrowDisk, "make the data disk larger while it runs", ("size_gb",)),
    "renew-certificate": Verb(i.RenewCertificate, "have its Let's Encrypt certificate issued anew now"),
    "snapshot": Verb(i.SnapshotDisk, "keep a copy of the data disk", ("reason",)),
    "delete": Verb(i.DeleteInstance, "remove it with its data disk", ("keep_disk", "keep_snapshots")),
}


def operate(context: Context) -> int:
    """Any of :data:`VERBS`."""
    verb = VERBS[context.given.verb]
    return asking.operate(context, verb.request, context.given.name, **{name: getattr(context.given, name) for name in verb.flags})


def create(context: Context) -> int:
    given = context.given
    record = change(context, i.CreateInstance(
        label=given.name, kind=given.kind, template=given.template, network=given.network,
        settings=values_given(given, "fields"),
    ))  # fmt: skip
    return _saved(context, record, "created")


def edit(context: Context) -> int:
    given = context.given
    changes = values_given(given, "fields")
    if not changes:
        hint = "give --set field=value or --set-file field=FILE; `fleet instance show NAME --settings` shows the fields"
        raise UsageError("nothing to change", hint=hint)
    version = given.version or context.session.fetch(i.ShowSettings(given.name)).version
    record = change(context, i.EditInstance(target=given.name, version=version, changes=changes))
    return _saved(context, record, "saved")


def _saved(context: Context, record: i.InstanceRecord, verb: str) -> int:
    if context.out.is_json:
        context.out.json(record)
        return 0
    for warning in record.warnings if isinstance(record, i.SavedInstance) else ():
        context.say(f"fleet: warning: {context.out.cell(warning)}")
    pending = f"; {', '.join(record.pending_changes)} wait for a reprovision" if record.pending_changes else ""
    context.out.line(context.out.cell(f"{record.label} {verb}{pending}"))
    return 0


def show(context: Context) -> int:
    if not context.given.settings:
        context.out.record(context.session.fetch(i.ShowInstance(context.given.name)))
        return 0
    saved = context.session.fetch(i.ShowSettings(context.given.name))
    context.out.record({"version": saved.version, "values": saved.values, "locked": saved.locked, "pending": saved.reasons})
    return 0


def find(context: Context) -> int:
    found: list[i.InstanceRecord] = []
    after = ""
    while True:
        page = context.session.fetch(i.ListInstances(after=after, limit=_PAGE, state=context.given.state, kind=context.given.kind))
        found.extend(page.instances)
        after = page.next
        if not after:
            break
    columns = [column for column in INSTANCES if context.given.wide or not column.wide]
    context.out.rows(columns, found, empty="there is no instance; `fleet instance create NAME` makes one")
    return 0


def logs(context: Context) -> int:
    """Lines after ``--since``. Without ``--follow`` all there are; as JSON an array, also of what there is when somebody interrupts; followed one
    object a line."""
    given = context.given
    after = given.since
    collected: list[Any] = []
    try:
        while True:
            hold_s = _HOLD_S if given.follow else 0.0
            request = ReadLines(target=given.name, after=after, limit=_PAGE, wait_s=hold_s)
            batch = context.follow(request) if given.follow else context.session.fetch(request)
            if batch.dropped:
                context.say(f"fleet: {batch.dropped} lines are gone: they were older than what is kept")
            if context.out.is_json and not given.follow:
                collected.extend(line_record(line) for line in batch.lines)
            else:
                _print_lines(context, batch.lines)
            after = max(after, batch.cursor)
            if not given.follow and not batch.lines:
                break
    except KeyboardInterrupt:
        if context.out.is_json and not given.follow:
            context.out.json(collected)
        raise
    if context.out.is_json and not given.follow:
        context.out.json(collected)
    return 0


def _print_lines(context: Context, lines: Sequence[Any]) -> None:
    for line in lines:
        if context.out.is_json:
            context.out.json_line(line_record(line))
        else:
            context.out.line(context.out.cell(line_text(line, timestamps=context.given.timestamps)))


def delete_snapshot(context: Context) -> int:
    return asking.operate(context, i.DeleteSnapshot, context.given.snapshot, instance=context.given.name)


def snapshots(context: Context) -> int:
    from fleet_tui.cli.tables import SNAPSHOTS

    context.out.rows(SNAPSHOTS, context.session.fetch(i.ListSnapshots(context.given.name)), empty="it has no snapshots")
    return 0
