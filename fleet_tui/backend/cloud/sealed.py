"""Secrets in the database that a vault sealed: counted by key, and moved to another one.

They are found by the mark of their columns (:data:`fleet_tui.backend.secrets.SEALED`), so whoever keeps one need not be known here. A column
is a text that is a secret, or JSON with secrets somewhere in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Text, and_, cast, or_, select, update
from sqlalchemy.orm import Session
from sqlalchemy.types import String

from fleet_tui.backend.secrets.kms import is_sealed, key_of, sealed_under
from fleet_tui.backend.store import Base

MASTER = "master key"


@dataclass(frozen=True, slots=True)
class Place:
    """Where there is a secret, or several."""

    column: Column[Any]
    key: tuple[Any, ...]
    """Primary key of its row."""


def columns() -> tuple[Column[Any], ...]:
    """Every column of secrets of every slice."""
    return tuple(column for table in Base.metadata.sorted_tables for column in table.columns if column.info.get("sealed"))


def count(tx: Session, places: Sequence[Column[Any]]) -> Mapping[str, int]:
    """Secrets by the key they are sealed under."""
    found: Counter[str] = Counter()
    for column in places:
        for value in tx.scalars(select(column).where(_may_hold(column))):
            found.update(key_of(text) or MASTER for text in texts(value))
    return dict(sorted(found.items()))


def behind(tx: Session, places: Sequence[Column[Any]], key: str) -> Iterator[Place]:
    """Where there are secrets under any other key than that."""
    begin = sealed_under(key)
    for column in places:
        keys = list(column.table.primary_key.columns)
        for value, *of_row in tx.execute(select(column, *keys).where(_may_hold(column)).order_by(*keys)):
            if any(not text.startswith(begin) for text in texts(value)):
                yield Place(column, tuple(of_row))


def under_a_clouds_key(tx: Session, places: Sequence[Column[Any]]) -> list[str]:
    """Names of the rows with secrets that only a cloud's key opens."""
    found: dict[str, None] = {}
    for column in places:
        keys = list(column.table.primary_key.columns)
        for value, *of_row in tx.execute(select(column, *keys).where(_may_hold(column)).order_by(*keys)):
            if any(key_of(text) for text in texts(value)):
                found[str(of_row[0])] = None
    return list(found)


def read(tx: Session, place: Place, *, lock: bool = False) -> Any:
    """What is there now; ``None`` when its row is gone."""
    query = select(place.column).where(_row(place))
    return tx.scalar(query.with_for_update() if lock else query)


def replace(tx: Session, place: Place, old: Any, new: Any) -> bool:
    """Put what was moved in its place, unless somebody saved something else there meanwhile."""
    if read(tx, place, lock=True) != old:
        return False
    tx.execute(update(place.column.table).where(_row(place)).values({place.column: new}))
    return True


def moved(value: Any, move: Callable[[str], str], key: str) -> Any:
    """The value with every secret in it under that key."""
    if isinstance(value, str):
        return move(value) if is_sealed(value) and not value.startswith(sealed_under(key)) else value
    if isinstance(value, dict):
        return {name: moved(item, move, key) for name, item in value.items()}
    if isinstance(value, list):
        return [moved(item, move, key) for item in value]
    return value


def texts(value: Any) -> Iterator[str]:
    """Every secret in a value."""
    if isinstance(value, str):
        if is_sealed(value):
            yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def _may_hold(column: Column[Any]) -> Any:
    """Rows worth a look: few of many have a secret."""
    if isinstance(column.type, String):
        return column != ""
    return or_(*(cast(column, Text).contains(f'"{mark}.') for mark in ("k1", "m1")))


def _row(place: Place) -> Any:
    return and_(*(key == value for key, value in zip(place.column.table.primary_key.columns, place.key, strict=True)))
