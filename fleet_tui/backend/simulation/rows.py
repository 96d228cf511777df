"""Many rows at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from fleet_tui.backend.store import Base


def insert_rows(tx: Session, kind: type[Base], rows: Sequence[dict[str, Any]]) -> None:
    """Many rows as one statement on the table itself: through the mapper, each pattern of absent values would be one of its own."""
    if rows:
        tx.execute(insert(kind.__table__), list(rows))  # type: ignore[arg-type]
