"""The one way a VM moves while it runs, whoever asks for it (spec 8.4).

Each phase is written to the attempt's row before its effect, so a crash leaves a trace to follow. A repeated step finds the attempt: a
migration in flight is waited for and never begun twice, one that came through is committed, one that did not is begun again.
Until ``commit`` any failure undoes the destination and the VM runs at the source; from ``commit`` on what fails is a warning.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from zlib import crc32

from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import Busy, FleetError, TimedOut, Unreachable, WrongState
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.hosts.rows import HostRow
from fleet_tui.backend.hosts.states import ConnectionState, ResourceState
from fleet_tui.backend.hosts.transitions import lock
from fleet_tui.backend.hypervisors import GuestState, Hypervisor, MoveOptions, Progress
from fleet_tui.backend.machines import MoveRecord, cards, settling, vms
from fleet_tui.backend.machines.drivers import Machines
from fleet_tui.backend.machines.placement import Wanted
from fleet_tui.backend.machines.queries import move_record
from fleet_tui.backend.machines.refusals import check_movable
from fleet_tui.backend.machines.room import take
from fleet_tui.backend.machines.rows import MoveRow, VmRow
from fleet_tui.backend.machines.settling import Outcome, settle
from fleet_tui.backend.machines.states import MovePhase, VmState
from fleet_tui.backend.operations.catalogue import OperationCancelled, StepContext
from fleet_tui.backend.operations.ownership import Fenced, ShuttingDown
from fleet_tui.backend.operations.runner import known
from fleet_tui.backend.store import in_turn, new_id

P = MovePhase
_TOLD_S = 0.25
"""Between two stored looks at a copy's progress."""
_LOOK_S = 0.5
_ABORT_S = 30.0
_COMING = (ConnectionState.UP.value, ConnectionState.CONNECTING.value)
log = logging.getLogger("fleetd.moves")


def move(
    ctx: StepContext, vm_id: str, *, destination_id: str = "", attempt: int = 1, exclude: frozenset[str] = frozenset(),
    may_stop: Callable[[], bool] = lambda: False, copy_local_disks: bool = False, bandwidth_mib_s: int = 0,
) -> MoveRecord:
    """Move a running VM to another host, and say how that ended. Blocks; several may run at once in one step, in threads of their own.

    An attempt of this VM that a crash cut short is brought to its end instead of a new one.

    Args:
        destination_id: the host; placement chooses one when empty.
        attempt: its number, for people.
        exclude: ids of hosts that placement leaves out.
        may_stop: asked before the copy begins; true ends the attempt there, as ``failed``. A copy that began is never interrupted (ENG-6).
        copy_local_disks: move disks on the host's own storage along.
        bandwidth_mib_s: 0 for no limit.

    Returns:
        The attempt, ended: ``outcome`` is ``moved``, ``failed`` (it runs at the source), ``lost`` or ``unknown`` (a host does not answer).

    Raises:
        NoCapacity: no attempt was begun: no host takes it, now or ever.
        Busy: no attempt was begun: hosts have as many moves under way as they may (ENG-9), for longer than ``Machines.busy_s``.
        WrongState: no attempt was begun: it does not run, or cannot move.
        Fenced, ShuttingDown: let them pass; the attempt goes on in another daemon, or in the next life of this one.
    """
    ask = _Ask(ctx, ctx.use(Machines), vm_id.removeprefix("vm:"), destination_id, attempt, exclude, may_stop, copy_local_disks, bandwidth_mib_s)
    return ask.through()


class _Ask:
    """One call of :func:`move`."""

    def __init__(
        self, ctx: StepContext, drivers: Machines, vm_id: str, destination_id: str, attempt: int, exclude: frozenset[str],
        may_stop: Callable[[], bool], copies: bool, bandwidth: int,
    ) -> None:
        self._ctx, self._drivers, self._vm_id = ctx, drivers, vm_id
        self._wanted_destination, self._number, self._exclude = destination_id, attempt, exclude
        self._may_stop, self._copies, self._bandwidth = may_stop, copies, bandwidth
        self._move_id = self._guest_id = self._source_id = self._destination_id = self._name = ""
        self._is_secured: bool | None = None
        """Whether its host speaks TLS; its destination must too, or neither."""

    def through(self) -> MoveRecord:
        if (ended := self._taken_up()) is not None:
            return ended
        if not self._move_id:
            self._begin()
        try:
            self._go()
        except DBAPIError:
            raise  # the database went away; the attempt is found again
        except Exception as error:
            self._settle(known(error, f"move of {self._name}").message)
        return self._record()

    # --- the attempt ---------------------------------------------------------------------------------------------------

    def _taken_up(self) -> MoveRecord | None:
        """Look before acting: an attempt that a crash cut short is ours to end; this very one, if it has ended, is the answer."""
        with self._ctx.write() as tx:
            vm = vms.locked(tx, self._vm_id)
            source = tx.get(HostRow, vm.host_id) if vm.host_id is not None else None
            self._is_secured = source.is_secured if source is not None else None
            found = vms.open_move(tx, self._vm_id)
            if found is not None:
                found.operation_id = self._ctx.operation.id
                self._know(vm, found)
                return None
            query = select(MoveRow).where(MoveRow.vm_id == vm.id, MoveRow.operation_id == self._ctx.operation.id, MoveRow.attempt == self._number)
            ended = tx.scalar(query.order_by(MoveRow.started_at.desc()).limit(1))
            return move_record(tx, ended) if ended is not None else None

    def _begin(self) -> None:
        """Choose, take the room, and put the attempt on record; wait while hosts are busy with other moves."""
        deadline = self._now() + self._drivers.busy_s
        while True:
            try:
                take(self._ctx, self._drivers, self._vm_id, self._wants, self._claim, host_id=self._wanted_destination)
                return
            except Busy:
                if self._now() >= deadline or self._may_stop():
                    raise
            self._ctx.check()
            self._drivers.clock.sleep(_LOOK_S)

    def _wants(self, vm: VmRow) -> Wanted:
        check_movable(vm, copies=self._copies)
        return replace(vms.wanted_live(vm, self._is_secured, exclude=self._exclude), moves_now=True)

    def _claim(self, tx: Session, vm: VmRow, host: HostRow) -> None:
        assert vm.host_id is not None
        in_turn(tx, crc32(vm.host_id.encode()))  # so that the limit of its host holds for claims made at once; taken last, so without a circle
        leaving = _leaving(tx, vm)
        if len(leaving) >= self._drivers.rules.moves_out:
            raise Busy(f"{vm.name} waits: {', '.join(leaving)} are on their way from its host", hint="it goes on by itself", holders=leaving)
        now = self._drivers.clock.now()
        row = MoveRow(
            id=new_id("mv"), vm_id=vm.id, source_id=vm.host_id, destination_id=host.id, phase=P.CHECK.value, percent=0, detail="",
            attempt=self._number, outcome="", error="", operation_id=self._ctx.operation.id, started_at=now,
        )
        tx.add(row)
        vm.state, vm.destination_id, vm.error = VmState.MIGRATING.value, host.id, ""
        vms.changed(tx, vm, now, f"{vm.name} is to move to {host.name}", operation_id=self._ctx.operation.id)
        self._know(vm, row)

    def _know(self, vm: VmRow, move: MoveRow) -> None:
        self._move_id, self._guest_id, self._name = move.id, vm.guest_id, vm.name
        self._source_id, self._destination_id = move.source_id, move.destination_id

    # --- its phases ----------------------------------------------------------------------------------------------------

    def _go(self) -> None:
        phase = self._phase()
        if phase not in (P.COMMIT, P.CLEANUP, P.DONE):
            source, destination = self._reach(self._source_id), self._reach(self._destination_id)
            arrived = False
            if phase not in (P.CHECK, P.RESERVE):
                arrived = self._found(source, destination)
            if not arrived:
                self._check(source, destination)
                self._reserve()
                self._copy(source, destination)
            self._verify(destination)
            self._commit()
        self._clean_up()

    def _found(self, source: Hypervisor, destination: Hypervisor) -> bool:
        """After a crash in the middle of a copy: wait for it, then see. Whether the guest arrived."""
        self._wait_for(source)
        if destination.find(self._guest_id).state is GuestState.RUNNING:
            return True
        if source.find(self._guest_id).state is not GuestState.RUNNING:
            raise WrongState(f"{self._name} was cut short in the middle of its switch-over", hint="both hosts are asked")
        return False

    def _check(self, source: Hypervisor, destination: Hypervisor) -> None:
        self._enter(P.CHECK)
        here = source.find(self._guest_id)
        if here.state is not GuestState.RUNNING:
            raise WrongState(f"{self._name} does not run on its host: it is {here.state.value} there", hint="look at its log", state=here.state.value)
        if destination.find(self._guest_id).state is not GuestState.ABSENT:
            destination.drop_incoming(self._guest_id)
        destination.can_receive(self._guest_id, source)

    def _reserve(self) -> None:
        """The room is ours since the attempt began. What may have changed meanwhile is the destination's state."""
        with self._ctx.write() as tx:
            host = lock(tx, self._destination_id)
            if host.resource_state != ResourceState.ENABLED.value or host.connection_state != ConnectionState.UP.value:
                raise WrongState(
                    f"{host.name} is {host.resource_state} and its link {host.connection_state}: nothing moves there", state=host.resource_state,
                    hint="another host is chosen at the next attempt",
                )
            self._put(tx, P.RESERVE)
        if self._may_stop():
            raise WrongState(f"the move of {self._name} was stopped before its copy began", hint="ask again", state="stopped")

    def _copy(self, source: Hypervisor, destination: Hypervisor) -> None:
        self._enter(P.COPY)
        nics = cards.plug_in(self._ctx, self._drivers, self._vm_id, self._destination_id)
        known_options = self._drivers.options
        options = MoveOptions(self._copies, self._bandwidth or known_options.bandwidth_mib_s, known_options.timeout_s, known_options.converge, nics)
        self._ctx.say(f"{self._name} copy to {self._destination()}")
        with cards.discreetly(self._ctx, self._vm_id):
            moved = source.migrate(self._guest_id, destination, options, self._told())
        self._ctx.say(f"{self._name} switch: paused for {moved.downtime_ms} ms, after {moved.elapsed_ms / 1000:.1f} s")
        with self._ctx.write() as tx:
            values = {"downtime_ms": moved.downtime_ms, "elapsed_ms": moved.elapsed_ms}
            tx.execute(update(MoveRow).where(MoveRow.id == self._move_id).values(values))

    def _verify(self, destination: Hypervisor) -> None:
        self._enter(P.VERIFY, 100)
        there = destination.find(self._guest_id)
        if there.state is not GuestState.RUNNING:
            raise WrongState(
                f"{self._name} did not arrive: it is {there.state.value} at its destination", hint="both hosts are asked", state=there.state.value
            )
        self._ctx.say(f"{self._name} verify: it runs on {self._destination()}")

    def _commit(self) -> None:
        """From here on it lives at the destination."""
        now = self._drivers.clock.now()
        with self._ctx.write() as tx:
            vm = vms.locked(tx, self._vm_id)
            vms.settle_at(vm, VmState.RUNNING, now, host_id=self._destination_id)
            self._put(tx, P.COMMIT, 100)
            vms.changed(tx, vm, now, operation_id=self._ctx.operation.id)

    def _clean_up(self) -> None:
        """What is left at the source goes. Its failure costs nothing but tidiness: the watch finds it again."""
        self._enter(P.CLEANUP, 100)
        try:
            source = self._drivers.links.hypervisor(self._source_id)
            left = source.find(self._guest_id).state
            if left in (GuestState.OFF, GuestState.CRASHED):
                if self._copies:
                    source.drop_incoming(self._guest_id)  # with the disks that only this host has; what it shares with the guest that moved stays
                else:
                    source.remove(self._guest_id, with_disks=False)
            elif left is not GuestState.ABSENT:
                raise WrongState(f"{self._name} is still {left.value} there", state=left.value)
        except FleetError as error:
            self._ctx.say(f"{self._name} moved; what was left at its source could not be removed: {error.message}", "warn")
        cards.leave(self._ctx, self._drivers, self._vm_id, self._source_id)
        self._end()

    def _end(self) -> None:
        now = self._drivers.clock.now()
        with self._ctx.write() as tx:
            row = tx.get(MoveRow, self._move_id)
            vm = vms.locked(tx, self._vm_id)
            if row is not None:
                row.phase = P.DONE.value
                settling.end(row, Outcome.MOVED, "", now)
                text = f"{vm.name} moved to {vms.host_name(tx, row.destination_id)}"
                pause = f", held for {row.downtime_ms} ms" if row.downtime_ms is not None else ""
                vms.changed(tx, vm, now, text + pause, operation_id=self._ctx.operation.id)

    # --- after an error ------------------------------------------------------------------------------------------------

    def _settle(self, why: str) -> None:
        """Ask both sides until they say how it stands, as long as that may be worth while."""
        deadline = self._now() + self._drivers.settle_s
        while True:
            is_last = self._now() >= deadline
            found = settle(self._ctx, self._drivers, self._vm_id, why, give_up=is_last)
            if found.outcome is Outcome.IN_FLIGHT:
                self._wait_for(self._reach(self._source_id))
            elif found.outcome is not Outcome.UNKNOWN or is_last:
                break
            else:
                self._pause()
        if found.outcome is Outcome.MOVED:
            self._ctx.say(f"{self._name} is at its destination after all: {why}", "warn")
            self._clean_up()
        else:
            self._ctx.say(found.text, "warn" if found.outcome is Outcome.FAILED else "error")
            cards.leave(self._ctx, self._drivers, self._vm_id, self._destination_id)

    def _wait_for(self, source: Hypervisor) -> None:
        """Until the migration in flight, which another life of ours began, has ended; its time is limited as if we had."""
        told = self._told()
        deadline = self._now() + self._drivers.options.timeout_s
        while (progress := source.migration(self._guest_id)) is not None:
            told(progress)
            if self._now() >= deadline:
                self._ctx.say(f"the migration of {self._name} took longer than {self._drivers.options.timeout_s:.0f} s and is stopped", "warn")
                source.abort(self._guest_id)
                deadline += _ABORT_S
                if source.migration(self._guest_id) is not None and self._now() >= deadline:
                    raise TimedOut(f"the migration of {self._name} does not end", hint="look at both hosts")
            self._pause()

    # --- tools -----------------------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return self._drivers.clock.monotonic()

    def _pause(self) -> None:
        """A moment, unless the daemon stops. A cancel does not end what has begun."""
        with suppress(OperationCancelled):
            self._ctx.check()
        self._drivers.clock.sleep(_LOOK_S)

    def _reach(self, host_id: str) -> Hypervisor:
        """The host's hypervisor. A link that is only being built (the daemon has just started) is waited for."""
        deadline = self._now() + self._drivers.link_s
        while True:
            try:
                return self._drivers.links.hypervisor(host_id)
            except Unreachable:
                with self._ctx.read() as tx:
                    host = tx.get(HostRow, host_id)
                if host is None or host.connection_state not in _COMING or self._now() >= deadline:
                    raise
            self._pause()

    def _destination(self) -> str:
        with self._ctx.read() as tx:
            return tx.scalar(select(HostRow.name).where(HostRow.id == self._destination_id)) or "a host that is gone"

    def _phase(self) -> MovePhase:
        with self._ctx.read() as tx:
            return MovePhase(tx.scalar(select(MoveRow.phase).where(MoveRow.id == self._move_id)))

    def _enter(self, phase: MovePhase, percent: int = 0) -> None:
        with self._ctx.write() as tx:
            self._put(tx, phase, percent)

    def _put(self, tx: Session, phase: MovePhase, percent: int = 0, detail: str = "") -> None:
        values = {"phase": phase.value, "percent": percent, "detail": detail}
        tx.execute(update(MoveRow).where(MoveRow.id == self._move_id).values(values))
        append(tx, type="move.changed", ref=f"vm:{self._vm_id}", operation_id=self._ctx.operation.id)

    def _told(self) -> Callable[[Progress], None]:
        """Stores what a migration tells of itself, now and then. It never raises: that would abort a migration that is well."""
        last, phase, is_ours = -_TOLD_S, "", True

        def told(progress: Progress) -> None:
            nonlocal last, phase, is_ours
            now = self._now()
            if not is_ours or (now - last < _TOLD_S and progress.phase == phase):
                return
            last, phase = now, progress.phase
            try:
                with self._ctx.write() as tx:
                    if progress.phase == P.SWITCH.value:
                        self._put(tx, P.SWITCH, 100)
                    else:
                        self._put(tx, P.COPY, max(0, min(99, int(progress.fraction * 100))), words(progress))
            except (Fenced, ShuttingDown):
                is_ours = False  # somebody else follows it from here on; that it goes on is what matters
            except Exception:
                log.exception("progress of the move of %s was not stored", self._name)

        return told

    def _record(self) -> MoveRecord:
        with self._ctx.read() as tx:
            row = tx.get(MoveRow, self._move_id)
            assert row is not None
            return move_record(tx, row)


def words(progress: Progress) -> str:
    """``1.9 GiB/s, 4.6 GiB left``."""
    parts = [f"{_bytes(progress.rate)}/s"] if progress.rate else []
    parts.append(f"{_bytes(progress.remaining_bytes)} left")
    if progress.dirty_rate > progress.rate > 0:
        parts.append(f"it changes {_bytes(progress.dirty_rate)}/s")
    return ", ".join(parts)


def _bytes(amount: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            return f"{amount:.1f} {unit}" if unit == "GiB" else f"{amount:.0f} {unit}"
        amount /= 1024
    raise AssertionError


def _leaving(tx: Session, vm: VmRow) -> list[str]:
    query = select(VmRow.name).where(VmRow.host_id == vm.host_id, VmRow.destination_id.is_not(None), VmRow.id != vm.id)
    return list(tx.scalars(query.order_by(VmRow.name)))
