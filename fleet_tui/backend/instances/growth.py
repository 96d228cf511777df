"""How fast a data disk fills: what was used on each of the last days, as its agent told it (DAT-4)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone

DAYS = 7
_DAY_S = 86400

Days = Sequence[Sequence[int]]
"""(day since 1970 in UTC, bytes that were used at its first report), the oldest first; at most :data:`DAYS` before the newest."""


def noted(days: Days, used_bytes: int, now: datetime) -> Days:
    """With the first report of a day. The same sequence when the day has one already, so that nothing is written."""
    today = int(now.astimezone(timezone.utc).timestamp()) // _DAY_S
    if days and days[-1][0] >= today:
        return days
    return [*(list(entry) for entry in days if entry[0] >= today - DAYS), [today, used_bytes]]


def grown(days: Days, used_bytes: int | None) -> tuple[int, int] | None:
    """(bytes more than at the oldest of these days, days since); ``None`` while there is one day only."""
    if used_bytes is None or len(days) < 2:
        return None
    return used_bytes - days[0][1], days[-1][0] - days[0][0]
