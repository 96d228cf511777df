"""Records behave as the standard library's frozen, slotted dataclasses do."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from dataclasses import field
from typing import Any

import pytest

from fleet_tui.backend.api import METHODS
from fleet_tui.backend.records import dataclass


@dataclass(frozen=True, slots=True)
class Ours:
    name: str
    size: int = 3
    tags: list[str] = field(default_factory=list)
    secret: str = field(default="", repr=False)
    note: str = field(default="", compare=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Theirs:
    name: str
    size: int = 3
    tags: list[str] = field(default_factory=list)
    secret: str = field(default="", repr=False)
    note: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    target: str
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedMore(Asked):
    force: bool = False


@dataclass(frozen=True, slots=True)
class Checked:
    size: int

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError(self.size)


@dataclass(frozen=True, slots=True)
class Nothing:
    pass


CALLS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    (("a",), {}), (("a", 4), {}), ((), {"name": "a", "tags": ["x"]}), (("a", 1, [], "s", "n"), {}),
]  # fmt: skip


@pytest.mark.parametrize(("values", "named"), CALLS)
def test_made_compared_and_shown_alike(values: tuple[Any, ...], named: dict[str, Any]) -> None:
    ours, theirs = Ours(*values, **named), Theirs(*values, **named)
    assert repr(ours) == repr(theirs).replace("Theirs", "Ours")
    assert dataclasses.asdict(ours) == dataclasses.asdict(theirs)
    for a, b in CALLS:
        assert (ours == Ours(*a, **b)) is (theirs == Theirs(*a, **b))
    assert ours != theirs
    assert dataclasses.asdict(dataclasses.replace(ours, size=9)) == dataclasses.asdict(dataclasses.replace(theirs, size=9))


@pytest.mark.parametrize(("values", "named"), [((), {}), (("a", 1, [], "s", "n", "more"), {}), (("a",), {"name": "b"}), (("a",), {"other": 1})])
def test_refuses_the_same_calls(values: tuple[Any, ...], named: dict[str, Any]) -> None:
    for kind in (Theirs, Ours, Ours):
        with pytest.raises(TypeError):
            kind(*values, **named)


def test_nothing_in_it_can_be_changed() -> None:
    row: Any = Ours("a")
    for attempt in (lambda: setattr(row, "name", "b"), lambda: delattr(row, "name"), lambda: setattr(row, "new", 1)):
        with pytest.raises(dataclasses.FrozenInstanceError):
            attempt()
    assert not hasattr(row, "__dict__")


def test_defaults_are_made_anew_and_hashes_agree() -> None:
    assert Ours("a").tags is not Ours("a").tags
    assert hash(Asked(target="x")) == hash(Asked(target="x"))
    assert len({Asked(target="x"), Asked(target="x"), Asked(target="y")}) == 2
    assert Nothing() == Nothing() and hash(Nothing()) == hash(Nothing())


def test_inherits_and_takes_keywords_only() -> None:
    row = AskedMore(target="x", force=True)
    assert (row.target, row.dry_run, row.force) == ("x", False, True)
    assert row != Asked(target="x")
    with pytest.raises(TypeError):
        AskedMore("x")  # type: ignore[call-arg, misc]


def test_checks_itself_and_can_be_copied() -> None:
    with pytest.raises(ValueError):
        Checked(-1)
    for row in (Ours("a", tags=["x"]), Checked(2), AskedMore(target="x")):
        assert copy.copy(row) == copy.deepcopy(row) == pickle.loads(pickle.dumps(row)) == row


def test_every_request_of_the_door_is_one() -> None:
    for method in METHODS.values():
        assert dataclasses.is_dataclass(method.request)
        assert "__slots__" in vars(method.request)


def test_the_standard_decorator_inherits_from_it() -> None:
    @dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
    class Later(Asked):
        why: str = ""

    assert dataclasses.asdict(Later(target="x", why="y")) == {"target": "x", "dry_run": False, "why": "y"}
