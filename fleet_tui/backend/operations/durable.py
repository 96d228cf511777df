"""The durable engine under our runner: the only importer of dbos.

DBOS remembers which operations were started and by whom, and brings them back after a crash. One workflow named
``operation`` runs every kind; its steps are ours, by name. No DBOS queue is used for limits or order: that is
the dispatcher's and the leases' (their internal queue only carries recoveries). DBOS is a singleton of its
process, hence so is what is here.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dbos import DBOS, DBOSConfig, SetWorkflowID, StepOptions
from dbos._context import current_owner_xid
from dbos._dbos import _get_dbos_instance
from dbos._error import DBOSWorkflowConflictIDError
from dbos._serialization import DBOSPortableJSONSerializer
from sqlalchemy.engine import make_url

from fleet_tui.backend.operations.ownership import Fenced, ShuttingDown
from fleet_tui.backend.operations.runner import Recorded
from fleet_tui.backend.store import Store, database_lost, sqlite_url

APPLICATION = "fleet"
VERSION = "ops-1"
"""Pinned: by default it is a hash of our source, and each new release would strand what was under way."""

_log = logging.getLogger(__name__)
_only_one = threading.Lock()
_run_operation: Callable[[str, Recorded], None] | None = None


@dataclass(frozen=True, slots=True)
class RunStatus:
    """What DBOS knows of one operation's run."""

    state: str
    """``waiting``, ``running`` or ``ended``."""
    executor: str | None


@DBOS.workflow(name="operation", max_recovery_attempts=None)
def _operation(operation_id: str) -> str:
    run = _run_operation
    if run is None:
        raise ShuttingDown
    try:
        run(operation_id, _Run(operation_id))
    except ShuttingDown as pause:
        if pause.__cause__ is not None:
            _log.warning("operation %s pauses: the database cannot work (%s)", operation_id, getattr(pause.__cause__, "orig", pause.__cause__))
        raise
    except Exception as error:
        if database_lost(error):
            _log.warning("operation %s pauses: the database cannot work (%s)", operation_id, getattr(error, "orig", error))
            raise ShuttingDown from error
        raise
    return "ended"


class _Run:
    """One run, in the thread DBOS began it in."""

    def __init__(self, operation_id: str) -> None:
        self._operation_id = operation_id

    def __call__(self, name: str, act: Callable[[], str]) -> str:
        def acting() -> str:
            try:
                return act()
            except Exception as error:
                if database_lost(error):
                    # An exception DBOS would remember as the act's outcome, and raise again whenever it comes here.
                    raise ShuttingDown from error
                raise

        return DBOS.run_step(StepOptions(name=name), acting)

    def in_hand(self) -> bool:
        """DBOS asks itself this only when a step's result is to be recorded, which is after the act."""
        system, mine = _get_dbos_instance()._sys_db, current_owner_xid(self._operation_id)
        try:
            with system.engine.begin() as connection:
                system._check_owner_txn(connection, self._operation_id, str(mine))
        except DBOSWorkflowConflictIDError:
            return False
        return True


class Durable:
    """DBOS, from launch to close. At most one at a time in a process.

    Args:
        store: on PostgreSQL DBOS keeps its tables in the same database, schema ``dbos``.
        file: its database on SQLite, beside ours.
        threads: operations that can run at once here.
    """

    def __init__(self, store: Store, file: Path, executor_id: str, threads: int = 72) -> None:
        self._store, self._file, self._executor_id, self._threads = store, file, executor_id, threads
        self._active: set[str] = set()
        self._changed = threading.Condition()
        self._launched = False

    def launch(self, run: Callable[[str, Recorded], None]) -> None:
        """Start, and bring back what this executor had under way.

        Raises:
            RuntimeError: another engine runs in this process.
        """
        global _run_operation
        if not _only_one.acquire(blocking=False):
            raise RuntimeError("another operations engine is running in this process")
        self._launched = True
        _run_operation = self._tracked(run)
        try:
            _own_log()
            DBOS(config=self._config())
            DBOS.listen_queues([])
            DBOS.launch()
        except BaseException:
            self.close()
            raise

    def start(self, operation_id: str) -> None:
        """Run it in a thread of DBOS. Starting one that was started before does nothing."""
        with SetWorkflowID(operation_id):
            DBOS.start_workflow(_operation, operation_id)

    def status(self, operation_id: str) -> RunStatus | None:
        found = DBOS.get_workflow_status(operation_id)
        if found is None:
            return None
        state = {"PENDING": "running", "ENQUEUED": "waiting", "DELAYED": "waiting"}.get(found.status, "ended")
        return RunStatus(state, found.executor_id)

    def resume(self, operation_id: str) -> None:
        """Give it to whichever live executor takes it first; its former one is fenced off."""
        DBOS.resume_workflow(operation_id)

    def is_active(self, operation_id: str) -> bool:
        """Whether a thread of this process is in it."""
        with self._changed:
            return operation_id in self._active

    def active(self) -> int:
        """Operations that threads of this process are in."""
        with self._changed:
            return len(self._active)

    def drain(self, timeout_s: float) -> bool:
        """Wait until no thread is in an operation. False when some still are."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._active, timeout=timeout_s)

    def close(self) -> None:
        """End DBOS here, if it was launched. What did not end stays recoverable."""
        global _run_operation
        if not self._launched:
            return
        self._launched = False
        _run_operation = None
        DBOS.destroy()
        _only_one.release()

    def _tracked(self, run: Callable[[str, Recorded], None]) -> Callable[[str, Recorded], None]:
        def tracked(operation_id: str, recorded: Recorded) -> None:
            with self._changed:
                self._active.add(operation_id)
            try:
                run(operation_id, recorded)
            except Fenced:
                _log.info("operation %s was taken over by another executor", operation_id)
                raise
            finally:
                with self._changed:
                    self._active.discard(operation_id)
                    self._changed.notify_all()

        return tracked

    def _config(self) -> DBOSConfig:
        config = DBOSConfig(
            name=APPLICATION, application_version=VERSION, executor_id=self._executor_id, log_level="WARNING",
            serializer=DBOSPortableJSONSerializer(), max_executor_threads=self._threads,
            scheduler_polling_interval_sec=3600.0, sys_db_pool_size=8, sys_db_idle_transaction_timeout_sec=10.0,
        )
        if self._store.is_sqlite:
            url = sqlite_url(self._file)
            Store(url).close()  # makes the file: mode 0600, and WAL, which stays
            config["system_database_url"] = url
        else:
            config["system_database_url"] = make_url(self._store.url).render_as_string(hide_password=False)
        return config


def forget(operation_ids: Sequence[str]) -> None:
    """Delete what is kept of ended runs; without an engine in this process, they stay."""
    if operation_ids and _run_operation is not None:
        DBOS.delete_workflows(list(operation_ids))


def _own_log() -> None:
    """With a handler of ours DBOS adds none for the console; its records go on to the daemon's log."""
    logger = logging.getLogger("dbos")
    if not any(isinstance(handler, logging.NullHandler) for handler in logger.handlers):
        logger.addHandler(logging.NullHandler())
