"""Blueprints: a template and a virtual network as one YAML file, to carry to another site or to keep beside code (spec 4.9).

No secret is ever in one. What a blueprint says is checked as if it were typed, and every refusal says the line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleet_tui.backend.errors import InvalidInput, Problem
from fleet_tui.backend.instances import SetupAction, network_fields, template_fields
from fleet_tui.backend.instances.action_kinds import KINDS, secret_places
from fleet_tui.backend.instances.fields import Field
from fleet_tui.backend.instances.marked import Marked, NotYaml, Path, read
from fleet_tui.backend.instances.profiles import KEPT, BlueprintFile, TemplateRecord, VirtualNetworkRecord
from fleet_tui.backend.records import dataclass
from fleet_tui.backend.text import clean

FORMAT = "fleet-blueprint"
VERSION = 1
LIMIT = 2 * 1024 * 1024
"""Bytes: a template may carry several task lists of 256 KiB."""
SECRET = "<secret, not in this file>"
"""Stands in a file where a site has a secret."""
_TOP = ("fleet-blueprint", "template", "virtual_network")
_ACTION = ("kind", "name", "stage", "enabled", "parameters")
_DERIVED = ("label",)


@dataclass(frozen=True, slots=True)
class Blueprint:
    """What a file says, and where it says it."""

    template: Mapping[str, Any] | None
    """Values by field, the label too."""
    setup_actions: tuple[SetupAction, ...]
    """Secrets that a site had are :data:`KEPT`."""
    network: Mapping[str, Any] | None
    missing: tuple[str, ...]
    """Secrets that are to be entered, in words."""
    marked: Marked

    def refused(self, error: InvalidInput, part: str) -> InvalidInput:
        """An error about ``template`` or ``virtual_network`` with the line of each problem."""
        problems = [Problem(f"{part}.{found.field}", f"{self._where(part, found.field)}: {found.message}") for found in error.problems]
        first = problems[0].message if problems else error.message
        return InvalidInput(f"the blueprint cannot be imported: {first}", problems=problems, hint=error.hint)

    def _where(self, part: str, field: str) -> str:
        """The place of a field. A position in the list of actions counts from 1 in problems and from 0 in paths."""
        words = field.split(".")
        if words[0] != "setup_actions" or len(words) < 2:
            return self.marked.where((part, field))
        inside = words[2:] if words[2:] in ([], ["stage"]) else ["parameters", *words[2:]]
        return self.marked.where((part, "setup_actions", int(words[1]) - 1, *inside))


def write(template: TemplateRecord | None, network: VirtualNetworkRecord | None, origin: str = "") -> BlueprintFile:
    """The file of a template and a virtual network; either may be left out. Only what differs from the defaults is said."""
    import yaml

    omitted: list[str] = []
    document: dict[str, Any] = {FORMAT: VERSION}
    if template is not None:
        document["template"] = {
            "label": template.label, **_said(template_fields.FIELDS, template.values, omitted),
            "setup_actions": [_action(action, omitted) for action in template.setup_actions],
        }
    if network is not None:
        document["virtual_network"] = {"label": network.label, **_said(network_fields.FIELDS, network.values, omitted)}
    head = f"# A blueprint of fleet-tui{f', exported from {clean(origin, 60)}' if origin else ''}. `fleet template import FILE` takes it in.\n"
    if omitted:
        head += "".join(f"# Not in this file, to be entered after the import: {name}\n" for name in omitted)
    return BlueprintFile(head + yaml.dump(document, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=120), tuple(omitted))


def parse(text: str) -> Blueprint:
    """What a file says.

    Raises:
        InvalidInput: it is no blueprint, of another version, or has anything in it that is not known; each problem with line and column.
    """
    try:
        marked = read(text, LIMIT, "the blueprint")
    except NotYaml as problem:
        raise InvalidInput(f"the blueprint cannot be read: {problem}", problems=[Problem("text", str(problem))]) from None
    problems: list[Problem] = []

    def wrong(path: Path, why: str) -> None:
        problems.append(Problem(".".join(map(str, path)) or "text", f"{marked.where(path)}: {why}"))

    found = marked.value
    if not isinstance(found, dict) or FORMAT not in found:
        raise InvalidInput(f"that is no blueprint: it has no `{FORMAT}: {VERSION}`", problems=[Problem("text", f"`{FORMAT}: {VERSION}` is missing")])
    version = found[FORMAT]
    if version != VERSION or isinstance(version, bool):
        why = f"the blueprint is of version {clean(str(version), 20)}; this program knows version {VERSION}"
        at = [Problem(FORMAT, f"{marked.where((FORMAT,))}: {why}")]
        raise InvalidInput(why, problems=at, hint="export it again with the same version of fleet-tui, or update this one")
    for name in found:
        if name not in _TOP:
            wrong((name,), f"{clean(name, 60)!r} is not known; known are {', '.join(_TOP)}")
    template, network = found.get("template"), found.get("virtual_network")
    if template is None and network is None:
        wrong((), "there is neither a template nor a virtual_network in it")
    missing: list[str] = []
    actions: tuple[SetupAction, ...] = ()
    if template is not None:
        actions = _actions(template.get("setup_actions") if isinstance(template, dict) else None, wrong, missing)
        template = _values(template, "template", template_fields.BY_NAME, ("setup_actions",), wrong, missing)
    if network is not None:
        network = _values(network, "virtual_network", network_fields.BY_NAME, (), wrong, missing)
    if problems:
        raise InvalidInput(f"the blueprint cannot be imported: {problems[0].message}", problems=problems)
    return Blueprint(template, actions, network, tuple(missing), marked)


# --- writing -------------------------------------------------------------------------------------------------------


def _said(fields: tuple[Field, ...], values: Mapping[str, Any], omitted: list[str]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for field in fields:
        value = values.get(field.name, field.default)
        default = list(field.default) if field.kind == "list" else field.default
        if field.name in _DERIVED or value == default:
            continue
        if field.kind == "secret":
            omitted.append(f"template: {field.title}")
            said[field.name] = SECRET
        else:
            said[field.name] = list(value) if isinstance(value, tuple) else value
    return said


def _action(action: SetupAction, omitted: list[str]) -> dict[str, Any]:
    kind = KINDS[action.kind]
    parameters: dict[str, Any] = {name: dict(value) if isinstance(value, Mapping) else value for name, value in action.parameters.items()}
    for place in list(secret_places(action.kind, action.parameters)):
        around = parameters
        for name in place[:-1]:
            around = around[name]
        around[place[-1]] = SECRET
        omitted.append(f"action {action.name}: {'.'.join(place)}")
    for field in kind.parameters:
        default = list(field.default) if field.kind == "list" else field.default
        if not field.is_needed and parameters.get(field.name) == default:
            parameters.pop(field.name, None)
    said: dict[str, Any] = {"kind": action.kind, "name": action.name}
    if kind.stage is None:
        said["stage"] = action.stage
    if not action.enabled:
        said["enabled"] = False
    return {**said, "parameters": parameters}


def _dumper() -> Any:
    """PyYAML's safe one, with text of several lines as it is written by people."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
            super().increase_indent(flow, False)

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    Dumper.add_representer(str, text)
    return Dumper


# --- reading -------------------------------------------------------------------------------------------------------


def _values(found: Any, part: str, by_name: Mapping[str, Field], more: tuple[str, ...], wrong: Any, missing: list[str]) -> dict[str, Any]:
    if not isinstance(found, dict):
        wrong((part,), "fields with values are needed")
        return {}
    values: dict[str, Any] = {}
    for name, value in found.items():
        field = by_name.get(name)
        if name in more:
            continue
        if field is None:
            wrong((part, name), f"there is no field {clean(name, 60)!r}")
        elif field.kind == "secret":
            if value not in (SECRET, "", None):
                wrong((part, name), "a secret does not belong in a blueprint; leave it out, and enter it after the import")
            elif value == SECRET:
                missing.append(f"template: {field.title}")
        else:
            values[name] = value
    if not values.get("label"):
        wrong((part,), "its label is missing")
    return values


def _actions(found: Any, wrong: Any, missing: list[str]) -> tuple[SetupAction, ...]:
    if found is None:
        return ()
    if not isinstance(found, list):
        wrong(("template", "setup_actions"), "a list of actions is needed")
        return ()
    actions = []
    for index, said in enumerate(found):
        path: Path = ("template", "setup_actions", index)
        if not isinstance(said, dict) or not isinstance(said.get("kind"), str):
            wrong(path, "an action needs its kind")
            continue
        if unknown := sorted(set(said) - set(_ACTION)):
            wrong((*path, unknown[0]), f"{clean(unknown[0], 60)!r} is not known; known are {', '.join(_ACTION)}")
        parameters = said.get("parameters", {})
        if not isinstance(parameters, dict):
            wrong((*path, "parameters"), "parameters are names with values")
            continue
        if not isinstance(said.get("enabled", True), bool):
            wrong((*path, "enabled"), "enabled is true or false")
            continue
        name, stage = said.get("name", ""), said.get("stage", "after_install")
        for key, value in (("name", name), ("stage", stage)):
            if not isinstance(value, str):
                wrong((*path, key), f"{key} is text")
        actions.append(SetupAction(said["kind"], str(name), _without_secrets(said["kind"], parameters, path, str(name), wrong, missing), str(stage),
                                   said.get("enabled", True)))
    return tuple(actions)


def _without_secrets(kind: str, parameters: dict[str, Any], path: Path, name: str, wrong: Any, missing: list[str]) -> dict[str, Any]:
    """Parameters with :data:`KEPT` where a secret was; one that is spelt out is refused."""
    kept = {key: dict(value) if isinstance(value, dict) else value for key, value in parameters.items()}
    for place in list(secret_places(kind, parameters)):
        around = kept
        for key in place[:-1]:
            around = around[key]
        if around[place[-1]] not in (SECRET, KEPT):
            wrong((*path, "parameters", *place), "a secret does not belong in a blueprint; leave it out, and enter it after the import")
        around[place[-1]] = KEPT
        missing.append(f"action {name or kind}: {'.'.join(place)}")
    return kept
