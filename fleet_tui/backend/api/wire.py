"""Records to JSON and back, for both sides of the door. Standard library only.

Encoding looks at the value, so fields typed ``Any`` work. Decoding is compiled once per type into closures: a list of
10,000 records is read by plain calls, not by looking at annotations 10,000 times.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from enum import Enum
from functools import cache
from typing import Any, Union

from fleet_tui.backend.errors import InternalError

Decoder = Callable[[Any], Any]

_PLAIN = frozenset({str, int, float, bool, type(None)})
_MILLISECOND_Z = "+00:00"


def encode(value: Any) -> Any:
    """The JSON-able form of a record, or of anything made of records, mappings, sequences, enums and aware datetimes."""
    kind: Any = type(value)
    return _encoder(kind)(value)


def dump(value: Any) -> bytes:
    """The bytes of :func:`encode`, on one line. Pure ASCII, so nothing in it can reach a terminal as an escape."""
    return json.dumps(encode(value), separators=(",", ":")).encode("ascii")


def stamp(value: datetime) -> str:
    """``2026-11-20T22:43:01.250Z``."""
    if value.tzinfo is None:
        raise ValueError(f"a time without a zone cannot be sent: {value!r}")
    return value.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace(_MILLISECOND_Z, "Z")


@cache
def _encoder(kind: type) -> Callable[[Any], Any]:
    if issubclass(kind, Enum):
        return lambda value: value.value
    if kind in _PLAIN:
        return lambda value: value
    if issubclass(kind, datetime):
        return stamp
    if dataclasses.is_dataclass(kind):
        names = tuple(field.name for field in dataclasses.fields(kind))
        return lambda value: {name: item if type(item := getattr(value, name)) in _PLAIN else encode(item) for name in names}
    if issubclass(kind, Mapping):
        return lambda value: {str(key): encode(item) for key, item in value.items()}
    if issubclass(kind, list | tuple | set | frozenset):
        return lambda value: [encode(item) for item in value]
    if issubclass(kind, str | int | float):
        return lambda value: value
    raise TypeError(f"{kind.__name__} cannot cross the door")


@cache
def decoder(kind: Any) -> Decoder:
    """A function that turns parsed JSON into ``kind``.

    Fields it does not know are ignored and missing ones take their defaults, so a console and a daemon of
    neighbouring versions understand each other. Raises :class:`InternalError` for what cannot be understood.
    """
    convert = _decoder(kind)

    def checked(value: Any) -> Any:
        try:
            return convert(value) if convert else value
        except (TypeError, ValueError, KeyError, AttributeError) as problem:
            name = getattr(kind, "__name__", str(kind))
            raise InternalError(
                f"the answer of fleetd is not a {name} as this program knows it: {problem}",
                hint="the versions of fleet and fleetd differ; `fleet daemon status` shows the daemon's",
            ) from problem

    return checked


@cache
def _decoder(kind: Any) -> Decoder | None:
    """A converter, or ``None`` where the JSON value is already the right thing."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return _optional(kind, arguments)
    if origin is tuple:
        return _tuple(arguments)
    if origin is not None and issubclass(origin, Mapping):
        item = _decoder(arguments[1])
        return None if item is None else lambda value: {key: item(entry) for key, entry in value.items()}
    if kind is Any or kind in _PLAIN or kind is type(None):
        return None
    if isinstance(kind, type) and issubclass(kind, Enum):
        members = {member.value: member for member in kind}
        return lambda value: members[value]
    if kind is datetime:
        return datetime.fromisoformat
    if dataclasses.is_dataclass(kind):
        return _record(typing.cast(type, kind))
    raise TypeError(f"{kind} cannot cross the door")


def _optional(kind: Any, arguments: tuple[Any, ...]) -> Decoder | None:
    inner = [argument for argument in arguments if argument is not type(None)]
    if all(_decoder(argument) is None for argument in inner):
        return None
    if len(inner) != 1:
        raise TypeError(f"{kind} is ambiguous on the wire")
    convert = typing.cast(Decoder, _decoder(inner[0]))
    return lambda value: None if value is None else convert(value)


def _tuple(arguments: tuple[Any, ...]) -> Decoder:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        convert = _decoder(arguments[0])
        return tuple if convert is None else lambda value: tuple([convert(item) for item in value])
    each = tuple(_decoder(argument) for argument in arguments)
    return lambda value: tuple([item if one is None else one(item) for one, item in zip(each, value, strict=True)])


def _record(kind: type) -> Decoder:
    hints = typing.get_type_hints(kind)
    known = frozenset(field.name for field in dataclasses.fields(kind))
    converted = tuple((name, convert) for name in known if (convert := _decoder(hints[name])) is not None)

    def build(value: Any) -> Any:
        fields = dict(value)
        for name, convert in converted:
            if name in fields:
                fields[name] = convert(fields[name])
        if not known.issuperset(fields):
            fields = {name: item for name, item in fields.items() if name in known}
        return kind(**fields)

    return build
