"""``dataclass`` for the records of the faces: the standard library's, but its methods are made when they are first needed.

The standard decorator writes and compiles six functions for each class, half a millisecond a record; a console knows a hundred
records, uses a dozen of them in its first second, and is opened many times a day. What is made here behaves as
``dataclasses.dataclass(frozen=True, slots=True)`` does, for ``dataclasses.fields``, ``replace`` and ``asdict`` too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

__all__ = ["dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(*, frozen: bool, slots: bool, kw_only: bool = False) -> Callable[[type], type]:
        """A class decorator. Only the frozen and slotted kind is offered: that is what a record is."""
        if not (frozen and slots):
            raise TypeError("a record is frozen and slotted")

        def make(cls: type) -> type:
            cls.__doc__ = cls.__doc__ or cls.__name__  # else the standard decorator works out a signature for it, as dear as all the rest
            inherits = any(dataclasses.is_dataclass(base) for base in cls.__bases__)  # which must be as frozen as its heirs
            made: Any = dataclasses.dataclass(init=False, repr=False, eq=False, frozen=inherits, slots=True, kw_only=kw_only)(cls)
            made.__dataclass_params__.frozen = True
            for method in (_eq, _hash, _repr, _setattr, _delattr, _getstate, _setstate):
                setattr(made, f"__{method.__name__[1:]}__", method)
            compared = [item.name for item in dataclasses.fields(made) if item.compare]
            made._compared = attrgetter(*compared) if compared else lambda record: ()
            made.__init__ = _first_init(made)
            return made

        return make


def _first_init(cls: type) -> Callable[..., None]:
    """An ``__init__`` that at its first call puts the real one in its place."""

    def __init__(self: Any, *values: Any, **named: Any) -> None:
        real = _init(cls)
        cls.__init__ = real  # type: ignore[misc]
        real(self, *values, **named)

    return __init__


def _init(cls: type) -> Callable[..., None]:
    """The real ``__init__``, written out: one slot set after the other, which is also faster than ``object.__setattr__``."""
    place: dict[str, Any] = {"_missing": dataclasses.MISSING}
    heads: dict[bool, list[str]] = {False: [], True: []}
    body = []
    for item in dataclasses.fields(cls):
        name = item.name
        place[f"_set_{name}"] = getattr(cls, name).__set__
        head, value = name, name
        if item.default is not dataclasses.MISSING:
            place[f"_default_{name}"] = item.default
            head = f"{name}=_default_{name}"
        elif item.default_factory is not dataclasses.MISSING:
            place[f"_make_{name}"] = item.default_factory
            head = f"{name}=_missing"
            value = f"_make_{name}() if {name} is _missing else {name}"
        if item.init:
            heads[bool(item.kw_only)].append(head)
        elif "=" in head:
            value = f"_default_{name}" if f"_default_{name}" in place else f"_make_{name}()"
        else:
            continue
        body.append(f" _set_{name}(self, {value})")
    if hasattr(cls, "__post_init__"):
        body.append(" self.__post_init__()")
    parameters = ["self", *heads[False], *(["*", *heads[True]] if heads[True] else [])]
    exec(f"def __init__({', '.join(parameters)}):\n" + ("\n".join(body) or " pass"), place)
    made: Callable[..., None] = place["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made


def _eq(self: Any, other: Any) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    compared = self.__class__._compared
    return compared(self) == compared(other)


def _hash(self: Any) -> int:
    return hash((self.__class__._compared(self),))


def _repr(self: Any) -> str:
    shown = ", ".join(f"{item.name}={getattr(self, item.name)!r}" for item in dataclasses.fields(self) if item.repr)
    return f"{self.__class__.__qualname__}({shown})"


def _setattr(self: Any, name: str, value: Any) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _delattr(self: Any, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def _getstate(self: Any) -> list[Any]:
    return [getattr(self, item.name) for item in dataclasses.fields(self)]


def _setstate(self: Any, state: list[Any]) -> None:
    for item, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, item.name, value)
