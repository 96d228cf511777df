"""``fleet template|vnet …``: what instances are launched from, and blueprints of both."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from fleet_tui.backend import instances as i
from fleet_tui.backend.errors import InvalidInput, NotFound, UsageError
from fleet_tui.backend.instances import profiles as p
from fleet_tui.cli.asking import change, report, text_of
from fleet_tui.cli.context import Context
from fleet_tui.cli.tables import LINKED, TEMPLATES, VIRTUAL_NETWORKS
from fleet_tui.cli.values import values_given

# --- templates -----------------------------------------------------------------------------------------------------


def list_templates(context: Context) -> int:
    context.out.rows(TEMPLATES, context.session.fetch(p.ListTemplates()), empty="there are no templates; `fleet template create NAME` makes one")
    return 0


def show_template(context: Context) -> int:
    return _sheet(context, context.session.fetch(p.ShowTemplate(context.given.name)))


def create_template(context: Context) -> int:
    given = context.given
    values = values_given(given, "template_fields")
    if given.application:
        values["application"] = given.application
    made = change(context, p.CreateTemplate(given.name, values, _actions(given.actions) or ()), given.name)
    return report(context, made, f"template {made.label} created")


def edit_template(context: Context) -> int:
    """What is not given stays; ``--actions`` takes the place of the whole list, ``--enable`` and ``--disable`` switch some of it."""
    given = context.given
    changes, actions = values_given(given, "template_fields"), _actions(given.actions)
    if given.application:
        changes["application"] = given.application
    if not changes and actions is None and not given.enable and not given.disable:
        raise UsageError("nothing to change", hint="give --set field=value, --actions FILE, or --enable or --disable with the name of an action")
    record = context.session.fetch(p.ShowTemplate(given.name)).record
    if given.enable or given.disable:
        actions = _switched(record.setup_actions if actions is None else actions, given.enable, given.disable)
    saved = change(context, p.EditTemplate(given.name, given.version or record.version, changes, actions), given.name)
    unfit = f"; {', '.join(saved.unfit)} cannot be provisioned with it: they share their machine" if saved.unfit else ""
    return report(context, saved, f"template {saved.label} saved{p.waiting_words(saved.waiting)}{unfit}")


def put_template(context: Context) -> int:
    """Create or replace. What is not given stays as it is on record."""
    given = context.given
    known = {template.label: template for template in context.session.fetch(p.ListTemplates())}.get(given.name)
    application = given.application or (known.application if known else "hello-app")
    actions = _actions(given.actions)
    if actions is None:
        actions = known.setup_actions if known else ()
    request = p.PutTemplate(label=given.name, application=application, setup_actions=actions, version=known.version if known else 0)
    context.out.record(change(context, request, given.name))
    return 0


def clone_template(context: Context) -> int:
    made = change(context, p.CloneTemplate(context.given.name, context.given.new), context.given.name)
    return report(context, made, f"template {made.label} made as a clone of {context.given.name}")


def delete_template(context: Context) -> int:
    return report(context, change(context, p.DeleteTemplate(context.given.name), context.given.name))


def render_template(context: Context) -> int:
    """What the setup actions would do, a stage after the other."""
    given = context.given
    found: p.RenderedTemplate = context.session.fetch(p.RenderTemplate(given.name, given.instance, _actions(given.actions)))
    if context.out.is_json:
        context.out.json(found)
        return 0
    stage = ""
    for action in found.actions:
        if action.stage != stage:
            stage = action.stage
            context.out.line(f"{stage}:")
        off = "" if action.enabled else " (switched off)"
        context.out.line(context.out.cell(f"  {action.name}: {action.kind}{off}"))
        for line in (*action.lines, *((f"refused: {action.refused}",) if action.refused else ())):
            context.out.line(f"    {context.out.cell(line)}")
    if not found.actions:
        context.say(f"fleet: template {found.template} has no setup actions")
    return 0


# --- virtual networks ----------------------------------------------------------------------------------------------


def list_networks(context: Context) -> int:
    found = context.session.fetch(p.ListVirtualNetworks())
    context.out.rows(VIRTUAL_NETWORKS, found, empty="there are no virtual networks; `fleet vnet create NAME` makes one")
    return 0


def show_network(context: Context) -> int:
    return _sheet(context, context.session.fetch(p.ShowVirtualNetwork(context.given.name)))


def create_network(context: Context) -> int:
    given = context.given
    values = values_given(given, "network_fields")
    if given.provider:
        values["provider"] = given.provider
    made = change(context, p.CreateVirtualNetwork(given.name, values), given.name)
    return report(context, made, f"virtual network {made.label} created on {made.provider}{_found(made)}")


def edit_network(context: Context) -> int:
    given = context.given
    changes = values_given(given, "network_fields")
    if not changes:
        raise UsageError("nothing to change", hint="give --set field=value; `fleet vnet show` shows the fields")
    version = given.version or context.session.fetch(p.ShowVirtualNetwork(given.name)).record.version
    saved = change(context, p.EditVirtualNetwork(given.name, version, changes), given.name)
    return report(context, saved, f"virtual network {saved.label} saved{p.waiting_words(saved.waiting)}{_found(saved)}")


def clone_network(context: Context) -> int:
    made = change(context, p.CloneVirtualNetwork(context.given.name, context.given.new), context.given.name)
    return report(context, made, f"virtual network {made.label} made as a clone of {context.given.name}")


def delete_network(context: Context) -> int:
    return report(context, change(context, p.DeleteVirtualNetwork(context.given.name), context.given.name))


def check_network(context: Context) -> int:
    """Compare it with what is there. Exit code 1 when something that instances need is not."""
    checked: p.VirtualNetworkRecord = change(context, p.CheckVirtualNetwork(context.given.name), context.given.name)
    report(context, checked, f"virtual network {checked.label}: {_found(checked).removeprefix('; ') or 'nothing amiss'}")
    return 1 if any(finding.is_error for finding in checked.findings) else 0


# --- blueprints ----------------------------------------------------------------------------------------------------


def export_blueprint(context: Context) -> int:
    """The file on standard output; what it lacks is said beside it."""
    given = context.given
    template, network = (given.name, given.network) if given.of == "template" else (given.template, given.name)
    found: p.BlueprintFile = context.session.fetch(p.ExportBlueprint(template, network))
    if context.wants_json:
        context.out.json(found)
        return 0
    context.out.file(found.text)
    for name in found.omitted:
        context.say(f"fleet: not in the file, because it is secret: {name}")
    return 0


def import_blueprint(context: Context) -> int:
    given = context.given
    request = p.ImportBlueprint(text_of(given.file), given.template, given.network, given.replace)
    taken: p.ImportedBlueprint = change(context, request, given.file)
    parts = [f"template {taken.template.label}{p.waiting_words(taken.template.waiting)}"] if taken.template else []
    parts += [f"virtual network {taken.network.label}{p.waiting_words(taken.network.waiting)}"] if taken.network else []
    code = report(context, taken, f"{' and '.join(parts)} taken in")
    for name in taken.missing:
        context.say(f"fleet: to be entered before a provision: {name}")
    return code


# --- parts ---------------------------------------------------------------------------------------------------------


def _sheet(context: Context, sheet: p.TemplateSheet | p.VirtualNetworkSheet) -> int:
    """Record, then its instances."""
    if context.out.is_json:
        context.out.json(sheet)
        return 0
    context.out.record(sheet.record)
    if sheet.linked:
        context.out.line("")
        context.out.rows(LINKED, sheet.linked)
    return 0


def _actions(file: str) -> tuple[i.SetupAction, ...] | None:
    """Setup actions from a file, as YAML or JSON: a list, or something that has one under ``setup_actions``; ``None`` when no file is given."""
    if not file:
        return None
    found = _read(file)
    if isinstance(found, dict):
        found = found.get("record", found).get("setup_actions")
    if not isinstance(found, list):
        raise InvalidInput(f"{file}: a list of setup actions is needed, or one under setup_actions")
    return tuple(_action(file, number, action) for number, action in enumerate(found, 1))


def _read(file: str) -> Any:
    from fleet_tui.backend.instances.marked import NotYaml, read

    text = text_of(file)
    if text.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except json.JSONDecodeError as problem:
            raise InvalidInput(f"{file} is not JSON: line {problem.lineno} column {problem.colno}: {problem.msg}") from problem
        except RecursionError as problem:
            raise InvalidInput(f"{file}: nested too deep") from problem
    try:
        return read(text, 4 * 1024 * 1024, file).value
    except NotYaml as problem:
        raise InvalidInput(f"{file}: {problem}") from problem


def _action(source: str, number: int, fields: Any) -> i.SetupAction:
    known = {field.name for field in dataclasses.fields(i.SetupAction)}
    if not isinstance(fields, dict) or not {"kind"} <= fields.keys() <= known:
        raise InvalidInput(f"{source}: setup action {number} needs its kind, and may have name, parameters, stage and enabled")
    return i.SetupAction(**{"name": "", "parameters": {}, **fields})


def _switched(actions: Sequence[i.SetupAction], on: Sequence[str], off: Sequence[str]) -> tuple[i.SetupAction, ...]:
    wanted = {**dict.fromkeys(on, True), **dict.fromkeys(off, False)}
    if lost := sorted(wanted.keys() - {action.name for action in actions}):
        raise NotFound(f"there is no action {lost[0]!r}", hint=f"there are: {', '.join(action.name for action in actions) or 'none'}")
    return tuple(dataclasses.replace(action, enabled=wanted.get(action.name, action.enabled)) for action in actions)


def _found(network: p.VirtualNetworkRecord) -> str:
    return "".join(f"; {finding.text}" for finding in network.findings)
