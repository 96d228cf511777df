"""Fields of templates, actions and virtual networks as a form can show them, and what was typed turned back into what the daemon takes.

A secret on record is never shown: its editor is empty, and empty keeps it. Pairs are typed as lines. Text that is long comes from a file too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fleet_tui.backend.instances.fields import Field, parse
from fleet_tui.backend.instances.profiles import KEPT
from fleet_tui.widgets.safety import plain

FORGET, FILE = "forget:", "file:"
"""Before a field's name: whether a secret on record is to go, and the file that its text is in."""
NOTHING = "-"
"""Stands for an empty choice, which says nothing."""
_LONG = ("private_key",)
"""Secrets of several lines, which come from a file more easily."""


def shown(field: Field, value: Any) -> tuple[list[Field], dict[str, Any]]:
    """The editors of one field, and what they begin with."""
    if field.kind == "secret":
        return _secret(field, value)
    if field.kind == "pairs":
        lines = "\n".join(f"{name}={said}" for name, said in value.items()) if isinstance(value, Mapping) else str(value or "")
        typed = replace(field, kind="multiline", default="", check=lambda text, pairs=field: _pairs_complaint(pairs, text), is_needed=False)
        return [typed], {field.name: _visible(lines)}
    if field.kind == "multiline":
        return [replace(field, is_needed=False), _from_file(field)], {field.name: _visible(_text(value))}
    if field.kind == "choice":
        return [replace(field, choices=_named(field.choices) or None)], {field.name: plain(str(value)) or NOTHING}
    if isinstance(value, str):
        return [field], {field.name: plain(value)}
    if isinstance(value, list | tuple):
        return [field], {field.name: [plain(str(word)) for word in value]}
    return [field], {field.name: value}


def all_shown(fields: Iterable[Field], values: Mapping[str, Any]) -> tuple[list[Field], dict[str, Any]]:
    """The editors of several fields."""
    editors: list[Field] = []
    begun: dict[str, Any] = {}
    for field in fields:
        more, values_of = shown(field, values.get(field.name, field.initial))
        editors += more
        begun |= values_of
    return editors, begun


def choices(known: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """What the site offers for choices, by field."""
    return {name: _named(words) for name, words in known.items()}


def taken(fields: Mapping[str, Field], typed: Mapping[str, Any], on_record: Mapping[str, Any]) -> dict[str, Any]:
    """Values as the daemon takes them, of what was typed into the editors of these fields. Files are not read here."""
    found: dict[str, Any] = {}
    for name, value in typed.items():
        if name.startswith(FORGET):
            if value:
                found.setdefault(name.removeprefix(FORGET), "")
        elif not name.startswith(FILE):
            field = fields[name]
            if field.kind == "secret" and not value and on_record.get(name) == KEPT:
                if not typed.get(f"{FORGET}{name}"):
                    found[name] = KEPT
            elif field.kind == "choice":
                found[name] = "" if value == NOTHING else value
            elif field.kind == "pairs":
                found[name] = parse(field, value)[0]
            else:
                found[name] = value
    return found


def read_files(typed: Mapping[str, Any]) -> dict[str, Any]:
    """What was typed, with the text of the files that were named instead. Raises `InvalidInput` beside the field of a file that cannot be read."""
    found = dict(typed)
    for name, path in typed.items():
        if name.startswith(FILE) and path:
            from fleet_tui.screens.forms import read_file

            found[name.removeprefix(FILE)] = read_file(path, name)
    return found


def _secret(field: Field, value: Any) -> tuple[list[Field], dict[str, Any]]:
    editors = [replace(field, help="kept; type to replace it" if value == KEPT else field.help, is_needed=False)]
    if field.name in _LONG:
        editors.append(_from_file(field))
    if value == KEPT and not field.is_needed:
        editors.append(Field(f"{FORGET}{field.name}", f"Forget {field.title.lower()}", field.group, "bool", field.change_class, False))
    return editors, {field.name: ""}


def _from_file(field: Field) -> Field:
    return Field(f"{FILE}{field.name}", "or from a file", field.group, "text", field.change_class, "", help="on this machine")


def _pairs_complaint(field: Field, text: str) -> str:
    return parse(replace(field, is_needed=False), text)[1]


def _named(words: Sequence[str] | None) -> tuple[str, ...]:
    return tuple(plain(word) or NOTHING for word in words or ())


def _text(value: Any) -> str:
    """Text of several lines; tasks that came as JSON as the YAML that means the same."""
    if isinstance(value, str):
        return value
    import yaml

    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)) if value else ""


def _visible(text: str) -> str:
    return "\n".join(plain(line, max(len(line), 1)) for line in text.split("\n"))
