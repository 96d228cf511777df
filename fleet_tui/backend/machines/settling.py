"""Where a VM really is. After every error and every crash both sides are asked, and the rows follow the truth.

The answers of a source and a destination are judged by one table (:func:`judge`); acting on the judgement, both are asked again, until it
says how things stand. A VM ends up on exactly one host, or lost with its host (``crashed``, and a start elsewhere is offered), or
unknown while nobody can say; what is unknown is asked again by the watch.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol

from sqlalchemy.orm import Session

from fleet_tui.backend.errors import Busy, FleetError
from fleet_tui.backend.hypervisors import GuestState, Hypervisor, Progress
from fleet_tui.backend.machines import vms
from fleet_tui.backend.machines.drivers import Machines
from fleet_tui.backend.machines.rows import MoveRow, VmRow
from fleet_tui.backend.machines.states import ON_HOST, MovePhase, VmState

Free = Callable[[Session, VmRow], bool]
_ROUNDS = 4
"""Each round acts once at most; more than that would be a hypervisor that changes its mind."""
_COMMITTED = (MovePhase.COMMIT.value, MovePhase.CLEANUP.value, MovePhase.DONE.value)

_ILL = (VmState.CRASHED, VmState.FAILED_TO_START, VmState.UNKNOWN)
_MAY_RUN = ON_HOST | {VmState.DESTROYING}


class Transactions(Protocol):
    """A store, or a step's context: there a write commits only while the operation is still ours."""

    def read(self) -> AbstractContextManager[Session]: ...
    def write(self) -> AbstractContextManager[Session]: ...


class Outcome(str, Enum):
    """How an attempt to move ended, as it is kept; and what else can be found of a VM."""

    MOVED = "moved"
    FAILED = "failed"
    """It runs at the source, as before."""
    LOST = "lost"
    """It runs nowhere: its host died under it."""
    UNKNOWN = "unknown"
    """A side that could say does not answer."""
    IN_FLIGHT = "in flight"
    """A migration goes on; nothing was written."""


class Judgement(Enum):
    """What two answers mean."""

    IN_FLIGHT = "in flight"
    AT_SOURCE = "it runs at the source"
    AT_DESTINATION = "it runs at the destination"
    HELD_AT_SOURCE = "held at the source, which owns it: let it go on there"
    HELD_AT_DESTINATION = "held at the destination, the only one to have it: let it go on there"
    NOWHERE = "it runs nowhere"
    TWICE = "it runs on both"
    UNKNOWN = "cannot be said"


@dataclass(frozen=True, slots=True)
class Side:
    """What one host answered."""

    state: GuestState | None
    """``None``: it did not answer."""
    is_dead: bool = False
    """It does not answer, and nothing can run there (:func:`vms.is_dead`)."""

    @property
    def is_silent(self) -> bool:
        return self.state is None and not self.is_dead

    @property
    def runs(self) -> bool:
        return self.state is GuestState.RUNNING

    @property
    def held(self) -> bool:
        return self.state is GuestState.PAUSED


NOT_THERE = Side(GuestState.ABSENT)


def judge(source: Side, destination: Side, *, in_flight: bool = False) -> Judgement:
    """The table. A guest that is held belongs to the source while the source has it, because a migration hands over as its last deed."""
    if in_flight:
        return Judgement.IN_FLIGHT
    if source.runs:
        return Judgement.TWICE if destination.runs else Judgement.AT_SOURCE
    if destination.runs:
        return Judgement.AT_DESTINATION
    if source.held:
        return Judgement.UNKNOWN if destination.is_silent else Judgement.HELD_AT_SOURCE
    if source.is_silent:
        return Judgement.UNKNOWN
    if destination.held:
        return Judgement.HELD_AT_DESTINATION
    return Judgement.UNKNOWN if destination.is_silent else Judgement.NOWHERE


@dataclass(frozen=True, slots=True)
class Settled:
    """What was found, and written."""

    outcome: Outcome
    host_id: str | None
    text: str
    """For a person; empty when there is nothing to explain."""
    progress: Progress | None = None
    """Of the migration in flight."""


@dataclass(slots=True)
class _Case:
    """A VM between its two hosts."""

    vm_id: str
    guest_id: str
    name: str
    state: VmState
    source_id: str | None
    destination_id: str | None
    source: str
    destination: str
    source_is_dead: bool
    destination_is_dead: bool


def settle(at: Transactions, drivers: Machines, vm_id: str, why: str = "", *, give_up: bool = True, free: Free | None = None) -> Settled:
    """Find out where a VM is, put right what a half migration left, and let its rows say so.

    Nothing is written while a migration is in flight. May be called again and again, by whoever holds the VM.

    Args:
        at: the store, or a step's context.
        why: what went wrong before, for the rows.
        give_up: whether a VM of which nobody can say where it runs is written down as unknown now.
        free: asked in the writing transaction whether nobody else holds the VM; for callers that do not hold it themselves.

    Raises:
        Busy: somebody else holds it, or changes it all the time.
    """
    for _ in range(_ROUNDS):
        case = _read(at, vm_id)
        verdict, progress = Judgement.UNKNOWN, None
        for _ in range(_ROUNDS):
            verdict, progress = _ask(drivers, case)
            if verdict is Judgement.IN_FLIGHT:
                return Settled(Outcome.IN_FLIGHT, None, "", progress)
            if not _act(drivers, case, verdict):
                break
        if verdict is Judgement.UNKNOWN and not give_up:
            return _conclude(case, verdict, why)
        if (written := _write(at, drivers, case, verdict, why, free)) is not None:
            return written
    raise Busy(f"{case.name} is being changed by somebody else", hint="look at its operations")


def _read(at: Transactions, vm_id: str) -> _Case:
    with at.read() as tx:
        vm = vms.get(tx, vm_id)
        return _Case(
            vm.id, vm.guest_id, vm.name, VmState(vm.state), vm.host_id, vm.destination_id, vms.host_name(tx, vm.host_id),
            vms.host_name(tx, vm.destination_id), vms.is_dead(tx, vm.host_id), vms.is_dead(tx, vm.destination_id),
        )


def _ask(drivers: Machines, case: _Case) -> tuple[Judgement, Progress | None]:
    source, progress = look(drivers, case.source_id, case.guest_id, case.source_is_dead)
    if progress is not None:
        return Judgement.IN_FLIGHT, progress
    destination = NOT_THERE
    if case.destination_id is not None and case.destination_id != case.source_id:
        destination, _ = look(drivers, case.destination_id, case.guest_id, case.destination_is_dead)
    return judge(source, destination), None


def look(drivers: Machines, host_id: str | None, guest_id: str, is_dead: bool) -> tuple[Side, Progress | None]:
    """What a host says of a guest, and of its way from there. A host that was declared dead is still believed when it answers."""
    if host_id is None:
        return NOT_THERE, None
    try:
        hypervisor = drivers.links.hypervisor(host_id)
        progress = hypervisor.migration(guest_id)
        return Side(hypervisor.find(guest_id).state), progress
    except FleetError:
        return Side(None, is_dead), None


def _act(drivers: Machines, case: _Case, verdict: Judgement) -> bool:
    """Do what the judgement asks for; whether anything was done, so that both are asked again."""
    try:
        if verdict is Judgement.HELD_AT_SOURCE:
            assert case.source_id is not None
            if case.destination_id is not None and not case.destination_is_dead:
                drivers.links.hypervisor(case.destination_id).drop_incoming(case.guest_id)
            drivers.links.hypervisor(case.source_id).resume(case.guest_id)
            return True
        if verdict is Judgement.HELD_AT_DESTINATION:
            assert case.destination_id is not None
            drivers.links.hypervisor(case.destination_id).resume(case.guest_id)
            return True
        if verdict in (Judgement.AT_SOURCE, Judgement.NOWHERE) and case.destination_id not in (None, case.source_id):
            _drop(drivers.links.hypervisor(case.destination_id or ""), case.guest_id)
    except FleetError:
        return False  # what could not be done now is found again
    return False


def _drop(destination: Hypervisor, guest_id: str) -> None:
    if destination.find(guest_id).state is not GuestState.ABSENT:
        destination.drop_incoming(guest_id)


def _write(at: Transactions, drivers: Machines, case: _Case, verdict: Judgement, why: str, free: Free | None) -> Settled | None:
    """``None`` when somebody else changed the row while both were asked."""
    now = drivers.clock.now()
    settled = _conclude(case, verdict, why)
    with at.write() as tx:
        vm = vms.locked(tx, case.vm_id)
        if (vm.state, vm.host_id, vm.destination_id) != (case.state.value, case.source_id, case.destination_id):
            return None
        if free is not None and not free(tx, vm):
            raise Busy(f"{vm.name} is held by an operation", hint="it says where the VM is when it ends")
        move = vms.open_move(tx, vm.id)
        before = (vm.state, vm.host_id, vm.destination_id, vm.error)
        if settled.outcome is Outcome.UNKNOWN:
            if case.state in _MAY_RUN:  # what was off stays off, whoever is silent
                vm.state, vm.error = VmState.UNKNOWN.value, settled.text
        else:
            state = _state(case, verdict)
            is_ill = state in _ILL or verdict is Judgement.TWICE
            vms.settle_at(vm, state, now, host_id=settled.host_id, error=settled.text if is_ill else "")
        if move is not None:
            end(move, settled.outcome, why or settled.text, now)
        elif before == (vm.state, vm.host_id, vm.destination_id, vm.error):
            return settled  # asked once more, and nothing is new
        level = "info" if settled.outcome is Outcome.MOVED else "error" if VmState(vm.state) in _ILL or verdict is Judgement.TWICE else "warn"
        vms.changed(tx, vm, now, settled.text, level, move.operation_id if move is not None else None)
    return settled


def end(move: MoveRow, outcome: Outcome, text: str, now: datetime) -> None:
    """Close an attempt. One that had committed came through, whatever is said now."""
    if move.phase in _COMMITTED:
        outcome, text = Outcome.MOVED, ""
    move.outcome, move.error, move.ended_at = outcome.value, "" if outcome is Outcome.MOVED else text, now
    move.elapsed_ms = move.elapsed_ms or round((now - move.started_at).total_seconds() * 1000)
    if outcome is Outcome.MOVED:
        move.percent = 100
        move.phase = move.phase if move.phase in _COMMITTED else MovePhase.COMMIT.value


def _conclude(case: _Case, verdict: Judgement, why: str) -> Settled:
    name, source, destination = case.name, case.source, case.destination
    if verdict is Judgement.AT_DESTINATION:
        return Settled(Outcome.MOVED, case.destination_id, f"{name} moved to {destination}")
    if verdict is Judgement.AT_SOURCE:
        return Settled(Outcome.FAILED, case.source_id, f"{name} runs on {source}{f': {why}' if why else ''}")
    if verdict is Judgement.TWICE:
        text = f"{name} runs on both {source} and {destination}: stop one of them by hand, its disks are in danger"
        return Settled(Outcome.FAILED, case.source_id, text)
    if verdict is Judgement.NOWHERE and case.state not in _MAY_RUN:
        return Settled(Outcome.FAILED, case.source_id, f"{name} is {case.state.value} on {source or 'no host'}{f': {why}' if why else ''}")
    if verdict is Judgement.NOWHERE:
        because = f": {why}" if why else ""
        return Settled(Outcome.LOST, case.source_id, f"{name} ran on {source or 'no host'} and runs no more{because}; start it again")
    silent = " and ".join(host for host in (source, destination) if host)
    return Settled(
        Outcome.UNKNOWN, case.source_id,
        f"nobody can say where {name} runs: {silent} did not answer; bring it back, or declare it degraded once its power is off",
    )


def _state(case: _Case, verdict: Judgement) -> VmState:
    """The lasting state of a VM that is known to run, or not to."""
    if verdict is not Judgement.NOWHERE:
        return VmState.RUNNING
    after = {VmState.STARTING: VmState.FAILED_TO_START, VmState.STOPPING: VmState.STOPPED, VmState.DESTROYING: VmState.STOPPED}
    return after.get(case.state, VmState.CRASHED if case.state in ON_HOST else case.state)


__all__ = ["NOT_THERE", "Judgement", "Outcome", "Settled", "Side", "Transactions", "end", "judge", "look", "settle"]
