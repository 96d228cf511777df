"""The daily sweep goes by the clock, and so not by one that may be ahead."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.directories import Directories
from fleet_tui.backend.events.feed import Feed
from fleet_tui.backend.identity.audit import Audit
from fleet_tui.backend.operations import OperationRequest, OperationState
from fleet_tui.backend.secrets.envelope import Envelope
from fleet_tui.backend.site import Site
from fleet_tui.backend.store import Store
from fleet_tui.backend.telemetry.lines import Lines
from fleet_tui.backend.upkeep import KIND, Upkeep
from tests.backend.operations.bench import Bench


class Sweeper:
    """Runs the sweep, by a clock that can be ahead."""

    def __init__(self, store: Store, feed: Feed, folder: Path) -> None:
        self.ahead = timedelta()
        self.clock: Any = SimpleNamespace(now=self.now, monotonic=SystemClock().monotonic)
        provider: Any = None
        site = Site(store, self.clock, Directories(folder, folder, folder), provider, Envelope(b"k" * 32))
        resources: Any = {Site: site, Lines: Lines(store, feed, clock=self.clock), Feed: feed, Audit: Audit(store, clock=self.clock)}
        self.bench = Bench(store, *Upkeep.OPERATIONS, resources=resources)

    def now(self) -> datetime:
        return SystemClock().now() + self.ahead

    def sweep(self, last_was: timedelta = timedelta()) -> bool:
        """Whether it removed what is too old, or would have."""
        submitted = self.bench.submission.submit(KIND, OperationRequest(target="site"), "schedule").operation
        assert submitted is not None and submitted.id in self.bench.claim().started
        assert self.bench.run(submitted.id).state is OperationState.SUCCEEDED
        self.bench.alter(submitted.id, started_at=self.now() - last_was)
        skipped = [event for event in self.bench.events() if event.type == "retention.skipped" and event.operation_id == submitted.id]
        assert len(skipped) <= 1
        return not skipped


@pytest.fixture
def sweeper(store: Store, tmp_path: Path) -> Iterator[Sweeper]:
    feed = Feed(store)
    yield Sweeper(store, feed, tmp_path)
    feed.close()


def test_after_a_long_rest_the_sweep_waits_for_the_next_one(sweeper: Sweeper) -> None:
    assert sweeper.sweep(), "the first ever"
    assert sweeper.sweep(last_was=timedelta(days=1)), "and each on the next day"
    sweeper.ahead = timedelta(days=3650)
    before = len(sweeper.bench.events())
    assert not sweeper.sweep()
    assert len(sweeper.bench.events()) > before > 0, "nothing was removed"
    assert sweeper.sweep(), "a day later nobody has put the clock right, so it is right"
