"""What can be done with what instances are launched from: templates, their setup actions, virtual networks, and blueprints of both."""

from __future__ import annotations

from typing import Any

from fleet_tui.actions.row import Action, Reason, verb, view

_TITLES = {"template": "template", "vnet": "virtual network"}


def _chosen(aims: str) -> Reason:
    """Only what is on record: a new one has no id yet."""

    def why(row: Any) -> str:
        return f"no {_TITLES[aims]} is selected" if row is None else "" if row.id else "it is not saved yet"

    return why


def _action(row: Any) -> str:
    return "no setup action is selected" if row is None else ""


def _any(row: Any) -> str:
    return "" if row is not None else "no template is shown"


def _of(aims: str, name: str, title: str, keys: str, method: str, tooltip: str) -> Action:
    return verb(f"{aims}.{name}", title, keys, method, tooltip, _chosen(aims), aims=aims, words=(f"{name}-{aims}",), asks=True)


PROFILES = (
    verb("profile.template", "New template", "n", "templates.create", "what instances are made from: application, keys, setup actions",
         words=("new-template",), asks=True),
    verb("profile.vnet", "New virtual network", "n", "virtual-networks.create", "where instances run, how they are reached, and their HTTPS",
         words=("new-vnet",), asks=True),
    verb("profile.import", "Import blueprint", "I", "blueprints.import", "a template and a virtual network out of a file",
         words=("import-blueprint",), asks=True),
)  # fmt: skip

TEMPLATE = (
    _of("template", "edit", "Settings", "e", "templates.edit", "change its fields; running instances go on as they are"),
    _of("template", "clone", "Clone", "N", "templates.clone", "a new one with the same content, secrets too"),
    Action("template.linked", "Its instances", "template", ("i",), "view", "templates.show", tooltip="who is made from it, who waits, and why",
           reason=_chosen("template"), aims="template"),
    Action("template.try", "Dry run", "template", ("T",), "view", "templates.render",
           tooltip="what all its actions would do on an instance; nothing is done", reason=_any, words=("try-template",), aims="template"),
    Action("template.export", "Export blueprint", "template", ("s",), "view", "blueprints.export",
           tooltip="save it to a file, with a virtual network or alone; no secret is in it", reason=_chosen("template"), words=("export-template",),
           aims="template"),
    _of("template", "delete", "Delete", "", "templates.delete", "forget it; refused while an instance is linked"),
)  # fmt: skip

SETUP = (
    verb("setup.add", "Add", "a", "templates.edit", "one more setup action, after the others", _any, aims="template", words=("add-action",),
         asks=True),
    verb("setup.toggle", "On / off", "space", "templates.edit", "one that is off is kept, and not run", _action, aims="setup", asks=True),
    verb("setup.later", "Later", "J", "templates.edit", "run it after the next one of its stage", _action, aims="setup", asks=True),
    verb("setup.earlier", "Earlier", "K", "templates.edit", "run it before the one above it of its stage", _action, aims="setup", asks=True),
    verb("setup.duplicate", "Duplicate", "u", "templates.edit", "the same once more, secrets too", _action, aims="setup", asks=True),
    verb("setup.delete", "Delete action", "_", "templates.edit", "take it out of the template; asks first", _action, aims="setup",
         words=("delete-action",), asks=True),
    Action("setup.try", "Dry run", "setup", ("t",), "view", "templates.render",
           tooltip="what this action would do on an instance; nothing is done", reason=_action, words=("try-action",), aims="setup"),
)  # fmt: skip

VNET = (
    _of("vnet", "edit", "Settings", "e", "virtual-networks.edit", "change its fields; says what waits for a reprovision"),
    _of("vnet", "check", "Check drift", "D", "virtual-networks.check", "compare it with what is really there; changes nothing else"),
    _of("vnet", "clone", "Clone", "N", "virtual-networks.clone", "a new one with the same fields, without the instances"),
    Action("vnet.linked", "Its instances", "vnet", ("i",), "view", "virtual-networks.show", tooltip="who runs in it, who waits, and why",
           reason=_chosen("vnet"), aims="vnet"),
    Action("vnet.export", "Export blueprint", "vnet", ("s",), "view", "blueprints.export",
           tooltip="save it to a file, with a template or alone", reason=_chosen("vnet"), words=("export-vnet",), aims="vnet"),
    _of("vnet", "delete", "Delete", "", "virtual-networks.delete", "forget it; refused while an instance is linked"),
)  # fmt: skip

LINEAGE = (
    view("instance.template", "Its template", "", "what it is made from", words=("its-template",), aims="instance"),
    view("instance.vnet", "Its virtual network", "", "where it runs and how it is reached", words=("its-vnet",), aims="instance"),
)  # fmt: skip

REGISTERS = (
    Action("global.templates", "Templates", "global", (), "view", "templates.list", tooltip="what instances are made from", words=("templates",)),
    Action("global.vnets", "Virtual networks", "global", (), "view", "virtual-networks.list", tooltip="where instances run, and their HTTPS",
           words=("vnets", "virtual-networks")),
)  # fmt: skip
