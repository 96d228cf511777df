"""The engine as the daemon sees it: submit, cancel, retry, read; start and stop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.engine import make_url

from fleet_tui.backend.events.feed import Feed
from fleet_tui.backend.operations import (
    ListOperations,
    OperationRecord,
    OperationRequest,
    Submitted,
    queries,
)
from fleet_tui.backend.operations.catalogue import LineSink, OperationKind
from fleet_tui.backend.operations.context import Signals
from fleet_tui.backend.operations.dispatcher import Claims, Dispatcher
from fleet_tui.backend.operations.durable import Durable
from fleet_tui.backend.operations.heartbeat import Heartbeat
from fleet_tui.backend.operations.recovery import Recovery
from fleet_tui.backend.operations.rows import OperationRow
from fleet_tui.backend.operations.runner import Checkpoint, Recorded, Runner, nothing
from fleet_tui.backend.operations.schedule import Schedules
from fleet_tui.backend.operations.submission import Submission
from fleet_tui.backend.store import Store, database_lost

_log = logging.getLogger(__name__)


class Engine:
    """Executes the operations of one store. One per process; on SQLite one per store.

    Args:
        resources: drivers and services by type, for :meth:`StepContext.use`.
        lines: where lines said by operations go.
        executor_id: stable for this daemon's place (``host-0``), so that a restart finds its own work.
        directory: where the durable engine keeps its file on SQLite; beside the database when not given.
        limit: operations at once in the whole fleet (ENG-9), besides those that they wait for: at most one each.
        dead_s: seconds without a heartbeat after which a daemon's work is taken over.
        look_s: between looks for cancels asked of other daemons, for what those accepted, and for lost runs.
        patience_s: how long a run may be in no thread before it counts as lost.
        checkpoint: called at every boundary where a kill is interesting (see :mod:`runner`); tests only.
    """

    def __init__(
        self, store: Store, feed: Feed, kinds: Sequence[OperationKind], resources: Mapping[type, object],
        lines: LineSink, executor_id: str, *, directory: Path | None = None, limit: int = 64,
        heartbeat_s: float = 10.0, dead_s: float = 60.0, look_s: float = 1.0, patience_s: float = 5.0,
        checkpoint: Checkpoint = nothing,
    ) -> None:
        self._store, self._feed = store, feed
        self._heartbeat_s, self._look_s = heartbeat_s, look_s
        self.kinds: Mapping[str, OperationKind] = {kind.kind: kind for kind in kinds}
        """The catalogue, by name."""
        if len(self.kinds) != len(kinds):
            raise ValueError("two operation kinds have the same name")
        self._signals = Signals()
        self._submission = Submission(store, self.kinds)
        self._schedules = Schedules(store, self.kinds, self.submit)
        self._runner = Runner(store, self.kinds, resources, lines, executor_id, self._signals, checkpoint)
        self._durable = Durable(store, (directory or _beside(store)) / "engine.db", executor_id, threads=2 * limit + 8)
        self._heartbeat = Heartbeat(store, executor_id, dead_s)
        self._recovery = Recovery(
            store, self.kinds, self._durable, self._heartbeat, self._signals, executor_id, patience_s
        )
        self._dispatcher = Dispatcher(
            Claims(store, self.kinds, executor_id, limit), self._durable.start, self._durable.active,
            threads=2 * limit, ticks=self._schedules.tick,
            # On SQLite nobody else can submit, so only schedules end the sleep.
            idle_s=30.0 if store.is_sqlite else look_s, checkpoint=checkpoint,
        )
        self._watch = threading.Thread(target=self._look, name="operations-watch", daemon=True)
        self._ended = threading.Event()

    # What people ask

    def submit(self, kind_name: str, request: OperationRequest, user: str) -> Submitted:
        """Accept a request. The same ``request_id`` finds the same operation; a dry run gives a plan."""
        submitted = self._submission.submit(kind_name, request, user)
        self._dispatcher.wake()
        return submitted

    def cancel(self, operation_id: str, user: str) -> OperationRecord:
        """Cancel at once what has not begun; ask a running one to stop at its next check."""
        record, running = self._submission.cancel(operation_id, user)
        if running:
            self._signals.cancel(operation_id)
        self._dispatcher.wake()
        return record

    def retry(self, operation_id: str, request_id: str, user: str) -> Submitted:
        """Submit a failed or cancelled operation again, as a new one."""
        submitted = self._submission.retry(operation_id, request_id, user)
        self._dispatcher.wake()
        return submitted

    def asked(self, operation_id: str) -> tuple[str, Mapping[str, Any]] | None:
        """Kind of an operation and the request as it is kept, secrets left out; neither ever changes. ``None`` where there is none."""
        with self._store.read() as tx:
            row = tx.execute(select(OperationRow.kind, OperationRow.request).where(OperationRow.id == operation_id)).one_or_none()
        return None if row is None else (row.kind, row.request)

    def show(self, operation_id: str) -> OperationRecord:
        with self._store.read() as tx:
            return queries.show(tx, operation_id)

    def list(self, request: ListOperations) -> tuple[OperationRecord, ...]:
        with self._store.read() as tx:
            return queries.list_operations(tx, request)

    def active(self) -> int:
        """Operations that have not ended, for status pages."""
        with self._store.read() as tx:
            query = select(func.count()).select_from(OperationRow).where(OperationRow.state.in_(queries.ACTIVE))
            return tx.scalar(query) or 0

    # Life

    def is_alive(self) -> bool:
        """Whether its threads live, for health pages."""
        return self._watch.is_alive() and self._dispatcher.is_alive()

    def start(self) -> None:
        """Bring back what was under way, then execute what comes."""
        self._heartbeat.beat()
        self._durable.launch(self._run)
        self._recovery.take_over()
        self._recovery.start_claimed()
        self._watch.start()
        self._dispatcher.start()

    def stop(self, grace_s: float = 10.0) -> bool:
        """Begin nothing more and let bodies reach their next check. What is left continues at the next start.

        Returns False when a body was still busy after ``grace_s``: it can store nothing any more, but its thread
        lives on, so the process should end by ``os._exit``.
        """
        self._dispatcher.stop()
        self._signals.stop()
        drained = self._durable.drain(grace_s)
        self._signals.stopped.set()
        self._ended.set()
        if self._watch.is_alive():
            self._watch.join(timeout=30)
        self._durable.close()
        if drained:
            self._heartbeat.leave()
        else:
            _log.warning("stopped while operations were busy; they continue at the next start")
        return drained

    def _run(self, operation_id: str, recorded: Recorded) -> None:
        try:
            self._runner.run(operation_id, recorded)
        finally:
            self._dispatcher.wake()

    def _look(self) -> None:
        """Heartbeat, takeover and the search for lost runs."""
        next_beat = 0.0
        waited = 0.0
        while not self._ended.wait(self._look_s):
            waited += self._look_s
            try:
                self._recovery.look()
                if waited >= next_beat:
                    next_beat = waited + self._heartbeat_s
                    self._heartbeat.beat()
                    self._recovery.take_over()
            except Exception as error:
                if database_lost(error):
                    _log.warning("the watch over operations pauses: the database cannot work (%s)", getattr(error, "orig", error))
                else:
                    _log.exception("the watch over operations failed; it is tried again")


def _beside(store: Store) -> Path:
    database = make_url(store.url).database if store.is_sqlite else None
    return Path(database).parent if database else Path()
