"""Requests as they arrive: validated here, once, so that nothing behind the door sees a field of the wrong type."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fleet_tui.backend.api.method import Method
from fleet_tui.backend.api.wire import encode
from fleet_tui.backend.errors import InvalidInput, Problem
from fleet_tui.backend.identity import Permission
from fleet_tui.backend.instances import fields, network_fields, template_fields
from fleet_tui.backend.instances.action_kinds import KINDS
from fleet_tui.backend.text import SECRET_NAME, clean

MASK = "••••"
_SECRET = re.compile(rf"{SECRET_NAME.pattern}|^headers$|^blueprint$", re.IGNORECASE)
_PRIVATE_KEY = "PRIVATE KEY-----"
"""In whatever field it was pasted."""
_KEPT = 500
"""Characters of one parameter that the audit keeps."""
_OPEN = frozenset({"settings", "changes", "values", "parameters"})
"""Fields that hold others by name, whichever the caller wrote."""
_NAMES = ("target", "label", "id", "name", "path")
"""Fields that say what a request is about, the first one counts."""

_WORDS: Mapping[str, str] = {
    "unexpected_keyword_argument": "there is no such field",
    "missing": "is needed",
    "missing_argument": "is needed",
    "missing_keyword_only_argument": "is needed",
}


@cache
def _adapter(request: type) -> TypeAdapter[Any]:
    return TypeAdapter(request)


def prepare() -> None:
    """Compile every validator now rather than during somebody's first call."""
    from fleet_tui.backend.api import METHODS

    for method in METHODS.values():
        _adapter(method.request)


def parse(method: Method, body: bytes) -> Any:
    """The request record in ``body``; an empty body is an empty object.

    Raises :class:`InvalidInput` naming every field that is wrong. A field unknown to the method is refused, except from
    agents, which may be newer than the daemon.
    """
    extra = "ignore" if method.permission is Permission.AGENT else "forbid"
    try:
        return _adapter(method.request).validate_json(body or b"{}", strict=True, extra=extra)  # type: ignore[arg-type]
    except ValidationError as refusal:
        raise _refused(method, refusal) from None
    except RecursionError:
        raise InvalidInput(f"the request for {method.name} is nested too deep") from None


def _refused(method: Method, refusal: ValidationError) -> InvalidInput:
    found = refusal.errors(include_url=False, include_context=False, include_input=False)
    problems = [Problem(_field(error["loc"]), clean(_WORDS.get(error["type"], error["msg"]), 200)) for error in found[:50]]
    if len(problems) == 1 and not problems[0].field:
        return InvalidInput(f"the request for {method.name} cannot be read: {problems[0].message}")
    listed = "; ".join(f"{problem.field}: {problem.message}" for problem in problems[:3])
    more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
    return InvalidInput(f"{method.name} was refused: {listed}{more}", problems=problems)


def _field(location: tuple[int | str, ...]) -> str:
    return clean(".".join(str(part) for part in location), 100)


def object_of(request: Any) -> str:
    """What a request is about, in the caller's own words."""
    for name in _NAMES:
        if isinstance(found := getattr(request, name, None), str) and found:
            return found
    return ""


def parameters_of(request: Any) -> Mapping[str, Any]:
    """A request as the audit keeps it: secrets masked, long texts cut, nothing that could reach a terminal."""
    masked: Mapping[str, Any] = _masked(encode(request))
    return masked


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {clean(key, 100): _entry(key, item, value) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item) for item in value]
    if isinstance(value, str):
        return MASK if _PRIVATE_KEY in value else clean(value, _KEPT)
    return value


def _entry(key: str, item: Any, around: Mapping[str, Any]) -> Any:
    """Masks by the field's own name, a ``value`` by the ``name`` beside it (environment variables), and whatever was written under a name
    that nothing has: ``pasword`` is refused, and what stands there is one all the same."""
    named = key == "value" and _SECRET.search(str(around.get("name", "")))
    if (named or _SECRET.search(key)) and item not in ("", None, False, True):
        return MASK
    if key in _OPEN and isinstance(item, dict):
        return {clean(name, 100): _entry(name, held, item) if name in _known() else MASK for name, held in item.items()}
    return _masked(item)


@cache
def _known() -> frozenset[str]:
    """Every name there is in such fields."""
    parameters = (field for kind in KINDS.values() for field in kind.parameters)
    return frozenset(field.name for field in (*fields.FIELDS, *template_fields.FIELDS, *network_fields.FIELDS, *parameters))
