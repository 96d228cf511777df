"""A pane through a simulated week, as quick as it can be drawn: each minute of it one clock tick and one changed instance.

The daemon is made up, and so is the clock; pane, link, threads and terminal are the real ones. The header counts the minutes, as things
to look at.
"""

from __future__ import annotations

import argparse
import threading
import time
from datetime import datetime, timedelta
from typing import Any

from bench.programs.fleet import NOW, fuller, instance
from fleet_tui.app import FleetApp, pane_app
from fleet_tui.backend.api import Summarize, Summary
from fleet_tui.backend.events import Event, EventBatch
from fleet_tui.backend.identity import Role, SessionRecord
from fleet_tui.backend.instances import InstancePage, ListInstances
from fleet_tui.screens import link
from fleet_tui.screens.frame import FleetScreen
from fleet_tui.settings import Settings

MINUTES = 7 * 24 * 60


class Week:
    """A session with a daemon where a minute passes at each question for events, once the last one was painted."""

    def __init__(self, rows: int) -> None:
        self.rows = [instance(n) for n in range(rows)]
        self.minute = 0
        self.painted = threading.Event()
        self.app: FleetApp | None = None
        self.read_only = True

    # The clock

    def now(self) -> datetime:
        return NOW + timedelta(minutes=self.minute)

    def monotonic(self) -> float:
        """A thousand times as fast, so that no rate limit of the console holds the week up."""
        return time.monotonic() * 1000

    def sleep(self, seconds: float) -> None:
        raise AssertionError("a pane does not sleep")

    # The session

    @property
    def record(self) -> SessionRecord:
        return SessionRecord("s-1", "week", Role.MONITOR, True, "week", True, "0", (), 1)

    def make_read_only(self) -> SessionRecord:
        return self.record

    def events_after(self, cursor: int, wait_s: float = 0.0) -> EventBatch:
        if self.app is None or self.minute >= MINUTES:
            threading.Event().wait(wait_s)
            return EventBatch((), cursor)
        self.painted.wait(1.0)
        self.painted.clear()
        self.minute += 1
        at = self.minute * 7 % len(self.rows)
        self.rows[at] = fuller(self.rows[at])
        self.app.call_from_thread(self._tick, self.app)
        event = Event(cursor + 1, self.now(), "info", "instance.changed", f"instance:{self.rows[at].id}", None, None, "")
        return EventBatch((event,), cursor + 1)

    def _tick(self, app: FleetApp) -> None:
        """What the pane does each minute."""
        if isinstance(app.screen, FleetScreen):
            app.screen.minute()

    def fetch(self, request: Any) -> Any:
        if isinstance(request, ListInstances):
            wanted = set(request.refs)
            found = tuple(row for row in self.rows if not wanted or f"instance:{row.id}" in wanted)
            if wanted and self.app is not None:
                self.app.call_later(self.painted.set)
            return InstancePage(found, "", len(self.rows))
        if isinstance(request, Summarize):
            return Summary(
                hosts={"total": 1, "up": 1}, instances={"total": len(self.rows), "running": len(self.rows)}, kinds={"design": len(self.rows)},
                operations={}, disk_used_bytes=0, disk_size_bytes=0, attention=(), attention_total=self.minute, running=(),
                rows=tuple(self.rows[:50]), host_rows=(), lines=(), cursor=1,
            )  # fmt: skip
        raise AssertionError(f"a pane does not ask for {request}")

    def close(self) -> None:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=200)
    week = Week(parser.parse_args().rows)
    link.FOLD_S = 0.0
    week.app = pane_app(Settings(), lambda: week, ("instances",), clock=week)  # type: ignore[arg-type, return-value]
    week.app.run(mouse=False)
