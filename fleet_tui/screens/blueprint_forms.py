"""Blueprints: a template and a virtual network saved to a file, and taken in from one after a look at what it would make or change."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleet_tui.backend.errors import FleetError, InvalidInput, Problem
from fleet_tui.backend.instances import profiles as p
from fleet_tui.screens import dialogs
from fleet_tui.screens.ask import Form, ask, entry
from fleet_tui.screens.profile_keys import REF
from fleet_tui.screens.vlan_save import write

if TYPE_CHECKING:
    from fleet_tui.backend.instances.blueprints import Blueprint
    from fleet_tui.screens.frame import FleetScreen
    from fleet_tui.session import Session

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
ALONE = "\x00"


def export(screen: FleetScreen, kind: str, row: Any) -> None:
    """Ask for the other half, then save both to the person's export directory, over nothing without asking."""
    other, noun = (p.ListVirtualNetworks(), "virtual network") if kind == "template" else (p.ListTemplates(), "template")

    def opened(rows: Sequence[Any]) -> None:
        items = [dialogs.Item(ALONE, f"{row.label} alone"), *(dialogs.Item(one.id, one.label, "", f"with the {noun} {one.label}") for one in rows)]
        dialogs.choose(screen.app, f"Save a blueprint of {row.label}", items, lambda chosen: fetch("" if chosen == ALONE else chosen))

    def fetch(chosen: str) -> None:
        request = p.ExportBlueprint(row.id, chosen) if kind == "template" else p.ExportBlueprint(chosen, row.id)
        screen.fetch(request, lambda found: _save(screen, file_of(screen, row.label), found), "export")

    screen.fetch(other, opened, "export")


def file_of(screen: FleetScreen, label: str) -> Path:
    day = screen.console.clock.now().strftime("%Y-%m-%d")
    return screen.console.exports / f"{_UNSAFE.sub('_', f'blueprint-{label}-{day}').lstrip('.')}.yaml"


def _save(screen: FleetScreen, path: Path, found: p.BlueprintFile, over: bool = False) -> None:
    def exists(error: FleetError) -> None:
        if error.code != "in_use":
            screen.failed(error)
            return
        question = dialogs.Question(f"Replace {path.name}?", "Replace", [f"there is one in {path.parent} already"])
        dialogs.confirm(screen.app, question, lambda answer: _save(screen, path, found, True) if answer.yes else None)

    left_out = f" · not in it: {', '.join(found.omitted)}" if found.omitted else ""
    screen.ask(lambda _session: write(path, found.text, over), lambda _done: screen.say(f"saved to {path}{left_out}"), exists, "export")


def import_file(screen: FleetScreen) -> None:
    """Which file, under which labels; then what it would make or change, to be confirmed."""

    def make(v: Mapping[str, Any]) -> p.ImportBlueprint:
        from fleet_tui.screens.forms import read_file

        if not v["file"]:
            raise InvalidInput("nothing was taken in", problems=[Problem("file", "which file?")])
        return p.ImportBlueprint(read_file(v["file"], "file"), v["template"], v["network"], v["replace"])

    def done(reply: p.ImportedBlueprint) -> None:
        names = [f"{noun} {row.label}" for noun, row in (("template", reply.template), ("virtual network", reply.network)) if row is not None]
        missing = f" · to be entered before the next provision: {', '.join(reply.missing)}" if reply.missing else ""
        screen.say(f"{' and '.join(names)} taken in{missing}")
        kind, row = ("template", reply.template) if reply.template is not None else ("vnet", reply.network)
        assert row is not None
        screen.console.open(kind, f"{REF[kind]}:{row.id}")

    fields = (
        entry("file", "File", help="YAML, on this machine"), entry("template", "Template", help="label; empty: the file's"),
        entry("network", "Virtual network", help="label; empty: the file's"), entry("replace", "Replace", "bool", False),
    )  # fmt: skip
    ask(screen, Form("Import blueprint", fields, make, done, "Look at it", before=_look, names={"blueprint": "file"}))


def _look(session: Session, request: p.ImportBlueprint) -> tuple[dialogs.Question, Any]:
    """What an import would make or change. Raises `InvalidInput` beside the field of what stands against it."""
    from fleet_tui.backend.instances import blueprints

    try:
        blueprint = blueprints.parse(request.blueprint)
    except InvalidInput as refused:
        more = f" (and {len(refused.problems) - 1} more)" if len(refused.problems) > 1 else ""
        said = f"{refused.problems[0].message if refused.problems else refused.message}{more}"
        raise InvalidInput(refused.message, problems=[Problem("file", said)], hint=refused.hint) from None
    templates, networks = session.fetch(p.ListTemplates()), session.fetch(p.ListVirtualNetworks())
    said, problems = [], []
    for noun, field, values, label, rows in (
        ("template", "template", blueprint.template, request.template, templates),
        ("virtual network", "network", blueprint.network, request.network, networks),
    ):  # fmt: skip
        if values is None:
            continue
        name = label or str(values.get("label", ""))
        there = next((row for row in rows if row.label == name), None)
        if there is not None and not request.replace:
            problems.append(Problem(field, f"there is a {noun} {name!r} already; another label here, or Replace: yes"))
        said += _part(noun, name, values, blueprint, there)
    if problems:
        raise InvalidInput("the blueprint was not taken in", problems=problems)
    said += [f"not in the file, to be entered before the next provision: {', '.join(blueprint.missing)}"] if blueprint.missing else []
    return dialogs.Question("Take this blueprint in?", "Import", said), request


def _part(noun: str, name: str, values: Mapping[str, Any], blueprint: Blueprint, there: Any) -> list[str]:
    """One part of it: made new, or what differs from what is there."""
    known = len(values) - ("label" in values)
    actions = f", {len(blueprint.setup_actions)} setup actions" if noun == "template" else ""
    if there is None:
        return [f"{noun} {name} is made: {known} fields that differ from the defaults{actions}"]
    differing = [field for field, value in values.items() if field != "label" and there.values.get(field) != value]
    if noun == "template":
        before, after = [(a.kind, a.name, a.enabled) for a in there.setup_actions], [(a.kind, a.name, a.enabled) for a in blueprint.setup_actions]
        differing += [f"setup actions ({len(before)} now, {len(after)} then)"] if before != after else []
    what = ", ".join(differing) or "nothing that can be seen from here"
    linked = f"; {there.instances} linked to it may wait for a reprovision" if there.instances else ""
    return [f"{noun} {name} (version {there.version}) is replaced: {what}; what the file does not say goes back to its default{linked}"]
