from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Any

import pytest

from fleet_tui.backend.api import METHODS
from fleet_tui.backend.api.wire import decoder, dump, encode
from fleet_tui.backend.errors import InternalError

NOON = datetime(2026, 11, 20, 12, 0, 0, 250_000, timezone.utc)


class Colour(str, Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Leaf:
    name: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    colour: Colour
    leaves: tuple[Leaf, ...]
    pairs: tuple[tuple[str, float | None], ...] = ()
    counts: Mapping[str, int]
    by_name: Mapping[str, Leaf]
    best: Leaf | None = None
    maybe: Colour | None = None
    anything: Any = None
    note: str = "none"


def whole() -> Tree:
    return Tree(
        colour=Colour.BLUE, leaves=(Leaf("a", NOON), Leaf("b")), pairs=(("x", 1.5), ("y", None)), counts={"n": 1},
        by_name={"q": Leaf("q")}, best=Leaf("c"), maybe=Colour.RED, anything={"deep": [1, None, "text"]},
    )


def test_a_record_survives_the_journey() -> None:
    tree = whole()
    assert decoder(Tree)(json.loads(dump(tree))) == tree


def test_times_are_utc_with_milliseconds() -> None:
    eastern = NOON.astimezone(timezone(timedelta(hours=5)))
    assert encode(Leaf("a", eastern)) == {"name": "a", "at": "2026-11-20T12:00:00.250Z"}


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="without a zone"):
        encode(datetime(2026, 1, 1))


def test_unknown_fields_are_ignored_and_missing_ones_take_defaults() -> None:
    assert decoder(Leaf)({"name": "a", "invented": 3}) == Leaf("a")


@pytest.mark.parametrize("answer", [{}, [], None, {"name": "a", "at": "yesterday"}, {"name": "a", "at": 3}])
def test_what_cannot_be_understood_is_an_error_of_ours(answer: Any) -> None:
    with pytest.raises(InternalError, match="Leaf"):
        decoder(Leaf)(answer)


def test_a_value_unknown_to_an_enum_is_an_error_of_ours() -> None:
    with pytest.raises(InternalError):
        decoder(Tree)({**encode(whole()), "colour": "green"})


def test_the_bytes_are_plain_ascii() -> None:
    assert dump({"a": "\x1b]52;c;\u202e\x00é"}).isascii()
    assert b"\x1b" not in dump({"a": "\x1b"})


def test_nothing_unknown_slips_through() -> None:
    with pytest.raises(TypeError, match="cannot cross"):
        encode(object())


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.name)
def test_every_record_of_the_door_can_cross_it(method: Any) -> None:
    decoder(method.request)
    decoder(method.reply)
    assert dataclasses.is_dataclass(method.request)
