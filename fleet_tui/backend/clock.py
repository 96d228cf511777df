"""Time behind one object, so that every wait can be tested without waiting."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Protocol


class Clock(Protocol):
    """What the product needs of time."""

    def now(self) -> datetime:
        """Wall clock, aware, UTC, to the millisecond. For records, never for durations."""
        ...

    def monotonic(self) -> float:
        """Seconds that never jump. For durations and deadlines."""
        ...

    def sleep(self, seconds: float) -> None:
        """Block this thread."""
        ...


class SystemClock:
    """The machine's own."""

    def now(self) -> datetime:
        now = datetime.now(timezone.utc)
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
