"""What ties an instance to its template and its virtual network: what its machine was made with, what was changed since, and why it waits.

A machine keeps a copy of both as they were when it was made or booted, beside its applied settings. An edit of either touches no
machine; what differs from the copy waits for a reprovision (INS-2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Text, cast, func, select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import InUse
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.instances import network_fields, template_fields
from fleet_tui.backend.instances.fields import FIELDS, Field
from fleet_tui.backend.instances.profiles import LinkedInstance
from fleet_tui.backend.instances.rows import InstanceRow, NetworkRow, TemplateRow
from fleet_tui.backend.instances.setup_actions import comparable
from fleet_tui.backend.operations.rows import StepRow

TEMPLATE_COPY, NETWORK_COPY = "template.copy", "virtual_network.copy"
"""Beside the applied settings: both as the machine was made with them."""
TEMPLATE_VERSION, TEMPLATE_ACTIONS = "template.version", "template.setup_actions"
"""What earlier programs kept of the template instead."""
SEALED: Mapping[str, str] = {"license_override": "license_sealed", "api_key_secret": "api_key_sealed"}
"""Field of a template that is a secret -> column it is sealed in."""
_COLUMNS: Mapping[str, str] = {"fleet_directory.mode": "directory_mode", "fleet_directory.event_server": "event_server", **SEALED}
VALIDATE = "validate"
"""Step of every operation that makes a machine; its result has the settings to make it with, so that a repeat makes the same."""
_NAMED = 5


def column_of(field: str) -> str:
    """Column of a field of a template or virtual network."""
    return _COLUMNS.get(field, field)


def template_copy(row: TemplateRow) -> dict[str, Any]:
    """A template as a machine is made with it; secrets stay sealed."""
    values = {f.name: getattr(row, column_of(f.name)) for f in template_fields.FIELDS}
    return {"id": row.id, "setup_actions": row.setup_actions, "stamps": row.stamps, **values}


def network_copy(row: NetworkRow) -> dict[str, Any]:
    """A virtual network as a machine is made in it."""
    return {"id": row.id, **{f.name: getattr(row, column_of(f.name)) for f in network_fields.FIELDS}}


def coming_up(tx: Session, row: InstanceRow) -> dict[str, Any]:
    """Settings that a machine made or booted now comes up with, with both copies: those of now, except for what it was made with and keeps."""
    template, network = tx.get_one(TemplateRow, row.template_id), tx.get_one(NetworkRow, row.network_id)
    made = _made_with(tx, row)
    settings = {**row.settings, **made}
    for name, now in ((TEMPLATE_COPY, template_copy(template)), (NETWORK_COPY, network_copy(network))):
        settings[name] = {**now, **made.get(name, {})}
    return settings


def _kept_by_machine(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Of settings with their copies, what a machine is made with for good."""
    made = {f.name: settings[f.name] for f in FIELDS if f.is_made and f.name in settings}
    for name, fields in ((TEMPLATE_COPY, template_fields.FIELDS), (NETWORK_COPY, network_fields.FIELDS)):
        copy = settings.get(name) or {}
        made[name] = {f.name: copy[f.name] for f in fields if f.is_made and f.name in copy}
    return made


def _made_with(tx: Session, row: InstanceRow) -> dict[str, Any]:
    """What the machine that is there, or on its way, is made with: what the operation that makes it found when it began. Where that operation is
    forgotten, or there never was one, what a machine ran with last. Empty without a machine."""
    if row.machine is None:
        return {}
    query = select(StepRow.result).where(StepRow.operation_id == f"o-{row.machine.removeprefix('vm-')}", StepRow.name == VALIDATE)
    return _kept_by_machine((tx.scalar(query) or {}).get("settings") or row.applied or {})


def machine_made_by(operation_id: str) -> str:
    """Id of the machine that an operation makes: known before there is one."""
    return f"vm-{operation_id.removeprefix('o-')}"


def pending_of(tx: Session, row: InstanceRow) -> list[str]:
    """Fields of class R that differ from what the machine was made with; template and virtual network also when they themselves were changed."""
    if row.applied is None:
        return []
    template, network = tx.get(TemplateRow, row.template_id), tx.get(NetworkRow, row.network_id)
    return list(reasons(row, template, network)) if template is not None and network is not None else []


def reasons(row: InstanceRow, template: TemplateRow, network: NetworkRow) -> dict[str, str]:
    """Field that waits for a reprovision -> why, in a few words."""
    if row.applied is None:
        return {}
    applied = row.applied
    found = {f.name: _why(f, applied, row.settings) for f in FIELDS if f.change_class == "R" and _of(f, row.settings) != _of(f, applied)}
    if "template" not in found and (changes := template_changes(applied, template)):
        found["template"] = f"{template.label} was changed: {', '.join(changes)}"
    if "virtual_network" not in found and (changes := network_changes(applied, network)):
        found["virtual_network"] = f"{network.label} was changed: {', '.join(changes)}"
    return found


def _of(field: Field, values: Mapping[str, Any]) -> Any:
    """A field's value; its default where it was saved before there was the field."""
    value = values.get(field.name, field.initial)
    return list(value) if field.kind == "list" else value


def _why(field: Field, applied: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    if field.kind == "secret" or field.raw:
        return "another one was saved"
    return f"was {_word(_of(field, applied))}, will be {_word(_of(field, settings))}"


def template_changes(applied: Mapping[str, Any], row: TemplateRow) -> list[str]:
    """What of a template differs from what a machine was made with, in words."""
    copy = applied.get(TEMPLATE_COPY)
    if copy is None:
        version = applied.get(TEMPLATE_VERSION, row.version)
        return [] if version == row.version else [f"it is version {row.version} now, {version} is running"]
    secrets = [field.title for field in template_fields.FIELDS if copy["stamps"].get(field.name) != row.stamps.get(field.name)]
    return _differing(template_fields.FIELDS, copy, row) + secrets + _actions_changes(copy["setup_actions"], row.setup_actions)


def network_changes(applied: Mapping[str, Any], row: NetworkRow) -> list[str]:
    """What of a virtual network differs from what a machine was made in, in words."""
    copy = applied.get(NETWORK_COPY)
    return [] if copy is None else _differing(network_fields.FIELDS, copy, row)


def _differing(fields: Sequence[Any], copy: Mapping[str, Any], row: Any) -> list[str]:
    words = []
    for field in fields:
        now = getattr(row, column_of(field.name))
        before = copy.get(field.name, field.initial)
        if field.change_class == "R" and field.name not in SEALED and before != now:
            words.append(field.title if field.kind == "multiline" else f"{field.title} was {_word(before)}, is {_word(now)}")
    return words


def _actions_changes(before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> list[str]:
    """``action nginx added, ca removed, tune changed``; or their order."""
    old, new = comparable(before), comparable(now)
    if old == new:
        return []
    were, are = {str(action["name"]): action for action in old}, {str(action["name"]): action for action in new}
    words = [f"{name} added" for name in are if name not in were] + [f"{name} removed" for name in were if name not in are]
    words += [f"{name} {_how(were[name], are[name])}" for name in are if name in were and were[name] != are[name]]
    if not words:
        words = ["another order"]
    more = f" and {len(words) - _NAMED} more" if len(words) > _NAMED else ""
    return [f"actions: {', '.join(words[:_NAMED])}{more}"]


def _how(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    if before.get("enabled", True) != now.get("enabled", True):
        return "switched on" if now.get("enabled", True) else "switched off"
    return "changed"


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " ".join(map(str, value)) or "none"
    text = "none" if value in (None, "") else str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


# --- linked instances ----------------------------------------------------------------------------------------------


def counts(tx: Session, column: Any, field: str) -> dict[str, tuple[int, int]]:
    """Linked instances of each template or virtual network, and how many of them wait for a change of it."""
    waiting: dict[str, int] = {}
    for key, pending in tx.execute(select(column, InstanceRow.pending).where(cast(InstanceRow.pending, Text) != "[]")):
        if field in pending:
            waiting[key] = waiting.get(key, 0) + 1
    return {key: (count, waiting.get(key, 0)) for key, count in tx.execute(select(column, func.count()).group_by(column))}


def mark(tx: Session, rows: Sequence[InstanceRow]) -> None:
    """Work out anew what waits for these instances, and tell of those for which that changed."""
    for row in rows:
        if (pending := pending_of(tx, row)) != row.pending:
            row.pending = pending
            append(tx, type="instance.changed", ref=f"instance:{row.id}")


def linked_to(tx: Session, row: TemplateRow | NetworkRow) -> list[InstanceRow]:
    """Instances of a template, or in a virtual network, by label."""
    column = InstanceRow.template_id if isinstance(row, TemplateRow) else InstanceRow.network_id
    return list(tx.scalars(select(InstanceRow).where(column == row.id).order_by(func.lower(InstanceRow.label))))


def links(tx: Session, row: TemplateRow | NetworkRow) -> tuple[LinkedInstance, ...]:
    """The same as records, with what waits and why."""
    field = "template" if isinstance(row, TemplateRow) else "virtual_network"
    found = []
    for instance in linked_to(tx, row):
        template, network = tx.get(TemplateRow, instance.template_id), tx.get(NetworkRow, instance.network_id)
        assert template is not None and network is not None
        why = reasons(instance, template, network).get(field, "")
        found.append(LinkedInstance(instance.id, instance.label, instance.state, bool(why), why))
    return tuple(found)


def renamed(tx: Session, row: TemplateRow | NetworkRow, before: str) -> None:
    """Settings name templates and virtual networks by label: have them name ``row`` by its new one."""
    field = "template" if isinstance(row, TemplateRow) else "virtual_network"
    for instance in linked_to(tx, row):
        instance.settings = {**instance.settings, field: row.label}
    made = InstanceRow.applied[field].as_string() == before
    for instance in tx.scalars(select(InstanceRow).where(InstanceRow.applied.is_not(None), made)):
        instance.applied = {**(instance.applied or {}), field: row.label}


def refuse_linked(tx: Session, row: TemplateRow | NetworkRow, deed: str, hint: str) -> None:
    """Raises :class:`InUse` naming the instances that are linked, or whose machine was made with it and goes on with it until a reprovision."""
    copy = TEMPLATE_COPY if isinstance(row, TemplateRow) else NETWORK_COPY
    made = InstanceRow.applied[copy]["id"].as_string() == row.id
    running = tx.scalars(select(InstanceRow.label).where(InstanceRow.machine.is_not(None), made))
    users = sorted({instance.label for instance in linked_to(tx, row)} | set(running))
    if users:
        more = f" and {len(users) - _NAMED} more" if len(users) > _NAMED else ""
        raise InUse(f"{deed}: {', '.join(users[:_NAMED])}{more} {'is' if len(users) == 1 else 'are'} linked to it", hint=hint, users=users[:100])
