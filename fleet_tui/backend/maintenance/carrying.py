"""One attempt to get one VM off a host, in a thread of its own; how it ended is stored from what the VM's own row says afterwards."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import TimedOut
from fleet_tui.backend.machines import moves
from fleet_tui.backend.machines.drivers import Machines
from fleet_tui.backend.machines.rows import MoveRow, VmRow
from fleet_tui.backend.machines.settling import Outcome, settle
from fleet_tui.backend.machines.states import VmState
from fleet_tui.backend.machines.vms import open_move
from fleet_tui.backend.maintenance import MoveState, elsewhere, sessions
from fleet_tui.backend.maintenance.drivers import Drivers, Hands
from fleet_tui.backend.maintenance.rows import EvacueeRow
from fleet_tui.backend.maintenance.treatment import Treatment, Way
from fleet_tui.backend.operations import ErrorRecord
from fleet_tui.backend.operations.catalogue import OperationCancelled, StepContext
from fleet_tui.backend.operations.ownership import Fenced, ShuttingDown
from fleet_tui.backend.operations.runner import known
from fleet_tui.backend.store import database_lost

T = TypeVar("T")

_FIND_S = 1.0
_log = logging.getLogger(__name__)


class InFlight:
    """A step's context for what must not be cut short: a cancel does not reach it (ENG-6), the daemon's stop does. Says whom it is about."""

    def __init__(self, ctx: StepContext, name: str) -> None:
        self._ctx, self._name = ctx, name
        self.operation, self.step, self.attempt, self.results = ctx.operation, ctx.step, ctx.attempt, ctx.results
        self.token = f"{ctx.token}:{name}"
        self.read, self.write, self.use = ctx.read, ctx.write, ctx.use

    def say(self, text: str, level: str = "info") -> None:
        self._ctx.say(text if text.startswith(self._name) else f"{self._name}: {text}", level)

    def progress(self, text: str) -> None:
        """The step's own words stay: they are about all of them."""

    def check(self) -> None:
        with suppress(OperationCancelled):
            self._ctx.check()

    def is_cancelled(self) -> bool:
        """Whether a cancel was asked for: what has not begun need not begin."""
        try:
            self._ctx.check()
        except OperationCancelled:
            return True
        return False

    def wait(self, predicate: Callable[[], T], timeout_s: float, interval_s: float = 0.1) -> T:
        clock = self._ctx.use(Drivers).clock
        deadline = clock.monotonic() + timeout_s
        while not (found := predicate()):
            self.check()
            if clock.monotonic() >= deadline:
                raise TimedOut(f"{self._name}: waited {timeout_s:g} s in vain")
            clock.sleep(interval_s)
        return found


@dataclass(frozen=True, slots=True)
class Job:
    """One VM, and what was decided about it."""

    vm_id: str
    name: str
    attempt: int
    chosen: Treatment | None = None
    """``None``: find out first what became of an earlier attempt."""
    destination_id: str = ""


class Carrier:
    """Begins attempts for one operation."""

    def __init__(self, ctx: StepContext, drivers: Drivers, host_id: str) -> None:
        self._ctx, self._drivers, self._host_id = ctx, drivers, host_id

    def begin(self, hands: Hands, job: Job) -> None:
        """Carry it off as it is on record already."""
        hands.start(job.vm_id, partial(self._carry, job))

    def _carry(self, job: Job) -> None:
        name = job.name
        try:
            self._store(job, self._attempt(InFlight(self._ctx, name), job))
        except Exception as lost:
            # Nothing was stored: the VM is `moving` in nobody's hands, and is looked for again.
            _log.log(logging.WARNING if database_lost(lost) else logging.ERROR, "evacuation of %s is looked at again", name, exc_info=lost)
        except (Fenced, ShuttingDown):
            _log.info("%s goes on its way without this daemon", name)

    def _attempt(self, ctx: InFlight, job: Job) -> ErrorRecord | None:
        """Why it did not come through; ``None`` when it did, or when only its row can tell."""
        try:
            if job.chosen is None:
                find(ctx, job.vm_id)
            elif job.chosen.way in (Way.MOVE, Way.MOVE_WITH_DISK):
                moves.move(
                    ctx, job.vm_id, destination_id=job.destination_id, attempt=job.attempt, may_stop=ctx.is_cancelled,
                    copy_local_disks=job.chosen.way is Way.MOVE_WITH_DISK,
                )
            elif job.chosen.way is Way.RESTART:
                elsewhere.restart(ctx, job.vm_id, job.destination_id)
            elif job.chosen.way is Way.RECREATE:
                elsewhere.recreate(ctx, job.vm_id, job.chosen.why)
            else:
                elsewhere.stop(ctx, job.vm_id, job.chosen.why)
        except OperationCancelled:
            return None
        except Exception as error:
            if database_lost(error):
                raise
            return known(error, f"evacuation of {job.name}")
        return None

    def _store(self, job: Job, error: ErrorRecord | None) -> None:
        now = self._drivers.clock.now()
        with self._ctx.write() as tx:
            session = sessions.open_of(tx, self._host_id)
            row = tx.get(EvacueeRow, (session.id, job.vm_id), populate_existing=True) if session is not None else None
            if session is None or row is None:
                return
            vm = tx.get(VmRow, job.vm_id, populate_existing=True)
            said = self._conclude(tx, row, vm, job, error, now)
            sessions.changed(tx, session, operation_id=self._ctx.operation.id)
        if said:
            self._ctx.say(said, "info" if row.state == MoveState.MOVED.value else "warn")

    def _conclude(self, tx: Session, row: EvacueeRow, vm: VmRow | None, job: Job, error: ErrorRecord | None, now: datetime) -> str:
        """The evacuee's state, from where its VM is."""
        policy = self._drivers.policy
        last = last_move(tx, row.vm_id, self._ctx.operation.id)
        if vm is None or vm.host_id != self._host_id or vm.state == VmState.STOPPED.value:
            left(row, vm)
            if job.chosen is not None and job.chosen.way is Way.RECREATE:
                row.state, row.error = MoveState.GONE.value, error.message if error is not None else ""
            if row.state == MoveState.MOVED.value and last is not None and last.outcome == Outcome.MOVED.value:
                row.elapsed_ms, row.downtime_ms = last.elapsed_ms, last.downtime_ms
            return ""
        if vm.state in (VmState.CRASHED.value, VmState.FAILED_TO_START.value):
            lose(row, vm)
            return f"{row.name} is lost: {row.error}"
        if error is None and vm.state == VmState.RUNNING.value and (last is None or last.attempt != row.attempt):
            row.state, row.attempt = MoveState.WAITING.value, max(0, row.attempt - 1)  # the attempt was on record, and never begun
            return ""
        why = error.message if error is not None else (last.error if last is not None else "") or vm.error or "it is where it was"
        fail(row, why, error.hint if error is not None else "", policy.attempts, policy.retry_s, now)
        again = f"; tried again in {policy.retry_s:.0f} s" if row.state == MoveState.RETRY.value else "; every attempt was used"
        return f"{row.name} did not go (attempt {row.attempt - row.granted} of {policy.attempts}): {why}{again}"


def find(ctx: InFlight, vm_id: str) -> None:
    """Bring to its end what a crash cut off: a migration still in flight is awaited, never interrupted, and never begun twice."""
    machines = ctx.use(Machines)
    with ctx.read() as tx:
        is_open = open_move(tx, vm_id) is not None
    if is_open:
        moves.move(ctx, vm_id)
        return
    while settle(ctx, machines, vm_id, "the daemon ended during the attempt").outcome is Outcome.IN_FLIGHT:
        ctx.check()
        machines.clock.sleep(_FIND_S)


def left(row: EvacueeRow, vm: VmRow | None) -> None:
    """It is not here any more, or does not run: moved by us or by a person, restarted elsewhere, stopped, destroyed."""
    if vm is not None and vm.state == VmState.STOPPED.value:
        sessions.stay(row, vm)
        return
    row.state = (MoveState.GONE if vm is None or vm.host_id is None else MoveState.MOVED).value
    row.destination_id = vm.host_id if vm is not None else None
    row.error, row.hint, row.next_try_at = "", "", None


def lose(row: EvacueeRow, vm: VmRow) -> None:
    """It runs nowhere any more."""
    row.state, row.next_try_at = MoveState.LOST.value, None
    row.error, row.hint = vm.error or f"it is {vm.state}", f"start it elsewhere: `fleet vm start {vm.name}`"


MEND = "put that right, then T on the maintenance screen tries it again"


def fail(row: EvacueeRow, error: str, hint: str, attempts: int, retry_s: float, now: datetime) -> None:
    """An attempt, counted already, came to nothing: the next one is due in a while, if there is one."""
    again = row.attempt - row.granted < attempts
    row.error, row.hint = error, hint or ("" if again else MEND)
    row.state = (MoveState.RETRY if again else MoveState.FAILED).value
    row.next_try_at = now + timedelta(seconds=retry_s) if again else None


def last_move(tx: Session, vm_id: str, operation_id: str) -> MoveRow | None:
    query = select(MoveRow).where(MoveRow.vm_id == vm_id, MoveRow.operation_id == operation_id)
    return tx.scalar(query.order_by(MoveRow.started_at.desc(), MoveRow.attempt.desc(), MoveRow.id.desc()).limit(1))
