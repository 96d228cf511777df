"""Keeps our rows and the durable engine's runs in step: every operation we own is really being run.

Needed after a kill between our transaction and the engine's, after taking over a dead daemon's work, and when a
run ended without ending its operation. Looks often, does nothing almost always.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from sqlalchemy import select

from fleet_tui.backend.errors import Interrupted
from fleet_tui.backend.operations import OperationState, queries, transitions
from fleet_tui.backend.operations.catalogue import OperationKind, error_record
from fleet_tui.backend.operations.context import Signals
from fleet_tui.backend.operations.durable import Durable
from fleet_tui.backend.operations.heartbeat import Heartbeat
from fleet_tui.backend.operations.rows import OperationRow
from fleet_tui.backend.store import Store

_log = logging.getLogger(__name__)


class Recovery:
    """Of one executor.

    Args:
        patience_s: how long a run may stay unseen while the durable engine is about to start it by itself.
    """

    def __init__(
        self, store: Store, kinds: Mapping[str, OperationKind], durable: Durable, heartbeat: Heartbeat, signals: Signals,
        executor_id: str, patience_s: float = 5.0,
    ) -> None:
        self._store, self._kinds, self._durable, self._heartbeat = store, kinds, durable, heartbeat
        self._signals, self._executor, self._patience_s = signals, executor_id, patience_s
        self._missing: dict[str, float] = {}
        """Since when an operation that is ours is in no thread of ours."""

    def take_over(self) -> None:
        """Own the work of the dead, and have it run again."""
        for operation_id in self._heartbeat.reap():
            _log.warning("operation %s had no living executor and is taken over", operation_id)
            self._bring_back(operation_id)

    def start_claimed(self) -> None:
        """Before the dispatcher runs: give the durable engine what was claimed and, because of a kill, never given to it."""
        for operation_id in self._mine():
            if self._durable.status(operation_id) is None:
                self._durable.start(operation_id)

    def look(self) -> None:
        """Pass on cancels asked of other daemons, and find what should run here and does not."""
        now = time.monotonic()
        missing = {}
        for operation_id, state in self._mine().items():
            if state == OperationState.CANCELLING.value and operation_id not in self._signals.cancelled:
                self._signals.cancel(operation_id)
            if not self._durable.is_active(operation_id):
                missing[operation_id] = self._missing.get(operation_id, now)
        self._missing = missing
        for operation_id, since in tuple(missing.items()):
            self._mend(operation_id, now - since)

    def _mine(self) -> dict[str, str]:
        """Operations this executor owns, with their states."""
        owned = select(OperationRow.id, OperationRow.state).where(
            OperationRow.executor == self._executor, OperationRow.state.in_(queries.OWNED)
        )
        with self._store.read() as tx:
            return {row.id: row.state for row in tx.execute(owned)}

    def _mend(self, operation_id: str, missing_s: float) -> None:
        status = self._durable.status(operation_id)
        late = missing_s >= self._patience_s
        if status is None:
            if late:
                self._durable.start(operation_id)
        elif status.state == "ended":
            if late:
                self._end(operation_id)
        elif status.state == "running" and (late or self._is_dead(status.executor)):
            self._durable.resume(operation_id)
            self._missing.pop(operation_id, None)

    def _bring_back(self, operation_id: str) -> None:
        status = self._durable.status(operation_id)
        if status is None:
            self._durable.start(operation_id)
        elif status.state == "ended":
            self._end(operation_id)
        else:
            self._durable.resume(operation_id)

    def _is_dead(self, executor: str | None) -> bool:
        return executor != self._executor and executor not in self._heartbeat.alive()

    def _end(self, operation_id: str) -> None:
        """The run is over but the operation is not: that must never last."""
        with self._store.write() as tx:
            row = queries.get(tx, operation_id, lock=True)
            if row.state not in queries.OWNED or row.executor != self._executor:
                return
            error = Interrupted(
                f"The run of {row.title} {row.target} ended without a result.",
                hint=f"Look at {row.target} before trying again; the daemon's log says more.",
            )
            step = next((step.name for step in row.steps if step.state in ("running", "failed")), "")
            transitions.fail(tx, row, self._kinds.get(row.kind), error_record(error), step, "none")
        _log.error("operation %s: its run ended without a result", operation_id)
