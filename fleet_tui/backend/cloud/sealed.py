"""Secrets in the database that a vault sealed: counted by key, and moved to another one.

They are found by the mark of their columns (:data:`fleet_tui.backend.secrets.SEALED`), so whoever keeps one need not be known here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, and_, select, update
from sqlalchemy.orm import Session

from fleet_tui.backend.secrets.kms import key_of, sealed_under
from fleet_tui.backend.store import Base

MASTER = "master key"


@dataclass(frozen=True, slots=True)
class Sealed:
    """One secret where it lies."""

    column: Column[Any]
    key: tuple[Any, ...]
    """Primary key of its row."""
    text: str


def columns() -> tuple[Column[Any], ...]:
    """Every column of secrets of every slice."""
    return tuple(column for table in Base.metadata.sorted_tables for column in table.columns if column.info.get("sealed"))


def count(tx: Session, places: Sequence[Column[Any]]) -> Mapping[str, int]:
    """Secrets by the key they are sealed under."""
    found: Counter[str] = Counter()
    for column in places:
        found.update(key_of(text) or MASTER for text in tx.scalars(select(column).where(column != "")))
    return dict(sorted(found.items()))


def behind(tx: Session, places: Sequence[Column[Any]], key: str, limit: int) -> list[Sealed]:
    """Some secrets that are under any other key than that."""
    found: list[Sealed] = []
    for column in places:
        if len(found) >= limit:
            break
        keys = list(column.table.primary_key.columns)
        query = select(column, *keys).where(column != "", ~column.startswith(sealed_under(key), autoescape=True)).order_by(*keys)
        found.extend(Sealed(column, tuple(rest), text) for text, *rest in tx.execute(query.limit(limit - len(found))))
    return found


def replace(tx: Session, secret: Sealed, text: str) -> bool:
    """Put the moved secret in its place, unless somebody saved another one meanwhile."""
    table = secret.column.table
    where = and_(secret.column == secret.text, *_is(table.primary_key.columns, secret.key))
    done: Any = tx.execute(update(table).where(where).values({secret.column: text}))
    return bool(done.rowcount)


def _is(keys: Any, values: tuple[Any, ...]) -> Iterator[Any]:
    yield from (key == value for key, value in zip(keys, values, strict=True))
