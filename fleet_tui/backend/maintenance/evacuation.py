"""Emptying a host: every VM on it is treated as spec 8.4 says, so many at once, tried again when it fails, found again after a crash.

One thread decides (this body's), others carry VMs off (:mod:`carrying`). What is decided is stored before it is done: a VM is ``moving``,
with its attempt counted and its destination chosen, in one transaction; how it ended is stored from what its own row then says. So after a
kill anywhere the same body goes on: a ``moving`` one that no thread has is looked for first, a moved one is never touched again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from fleet_tui.backend.errors import FleetError, Partial, WrongState
from fleet_tui.backend.hosts.rows import HostRow
from fleet_tui.backend.hosts.states import ResourceState
from fleet_tui.backend.hypervisors import GuestState
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.machines.states import TRANSITIONAL, VmState
from fleet_tui.backend.machines.vms import open_move
from fleet_tui.backend.maintenance import MoveState, sessions, treatment
from fleet_tui.backend.maintenance.carrying import Carrier, Job, fail, left, lose
from fleet_tui.backend.maintenance.comeback import host_id_of
from fleet_tui.backend.maintenance.destinations import Destinations
from fleet_tui.backend.maintenance.drivers import Drivers
from fleet_tui.backend.maintenance.judge import PENDING, PREPARING, Judgement, Look, judge
from fleet_tui.backend.maintenance.preconditions import place_of, skips_evacuation
from fleet_tui.backend.maintenance.rows import EvacueeRow, SessionRow
from fleet_tui.backend.maintenance.treatment import Treatment, Way
from fleet_tui.backend.operations.catalogue import OperationCancelled, StepContext

_GONE = frozenset({MoveState.MOVED.value, MoveState.STOPPED.value, MoveState.GONE.value})
_AGAIN = (MoveState.RETRY.value, MoveState.FAILED.value, MoveState.BLOCKED.value)
_GLANCE_S = 1.0
"""How late a request to try again now is noticed."""


def evacuate(ctx: StepContext) -> Mapping[str, Any]:
    """Body of the long step.

    Raises:
        Partial: VMs are left and every attempt was used; details name each with what to do.
        OperationCancelled: what was in flight has ended, nothing else was begun.
    """
    return Evacuation(ctx).run()


class Evacuation:
    """One host's, by one attempt of the step."""

    def __init__(self, ctx: StepContext) -> None:
        self._ctx = ctx
        self._drivers = ctx.use(Drivers)
        self._policy, self._clock = self._drivers.policy, self._drivers.clock
        self._hands = self._drivers.hands()
        self._host_id = host_id_of(ctx)
        self._carrier = Carrier(ctx, self._drivers, self._host_id)
        self._judged_at: float | None = None
        self._last = Judgement(ResourceState.PREPARE, ())
        self._silent_since: float | None = None
        self._busy: frozenset[str] = frozenset()

    def run(self) -> Mapping[str, Any]:
        """Until the host is ready, or cannot become it, or somebody cancels."""
        try:
            while not (judgement := self._round()).has_ended:
                self._hands.rest(_GLANCE_S, self._ctx.check)
        except OperationCancelled:
            self._find_adrift()
            self._let_end()
            raise
        self._let_end()
        return self._outcome(judgement)

    def _round(self) -> Judgement:
        self._ctx.check()
        busy = self._hands.busy()
        if due := self._look(busy):
            with self._ctx.write() as tx:
                begun, said = self._decide(tx, self._hands.busy())
            for text in said:
                self._ctx.say(text, "error")
            for job in begun:
                self._carrier.begin(self._hands, job)
        anew, self._busy = due or busy != self._busy, self._hands.busy()
        return self._judge(anew)

    # What is to be done now

    def _look(self, busy: frozenset[str]) -> bool:
        """Cheap: whether a decision would change anything. Says how far it is."""
        with self._ctx.read() as tx:
            session = sessions.open_of(tx, self._host_id)
            rows = {row.vm_id: row for row in sessions.evacuees(tx, session.id)} if session is not None else {}
            new = any(sessions.is_new(vm, rows.get(vm.id)) for vm in sessions.on(tx, self._host_id))
        self._ctx.progress(f"evacuate {sum(row.state in _GONE for row in rows.values())}/{len(rows)}")
        now, is_full = self._clock.now(), len(busy) >= self._drivers.rules.moves_out
        return new or any(
            vm_id not in busy and _is_due(row, now) and not (is_full and row.state != MoveState.MOVING.value) for vm_id, row in rows.items()
        )

    def _decide(self, tx: Session, busy: frozenset[str]) -> tuple[Sequence[Job], Sequence[str]]:
        """Choose what begins now, and store that it does. Those, and what is to be said."""
        session = sessions.open_of(tx, self._host_id)
        host = tx.get(HostRow, self._host_id)
        if session is None or host is None:
            return (), ()
        before = {row.vm_id: (row.state, row.attempt) for row in sessions.evacuees(tx, session.id)}
        sessions.enlist_newcomers(tx, session)
        now, begun = self._clock.now(), list[Job]()
        destinations = Destinations(tx, self._drivers, place_of(tx, host), now)
        room = self._drivers.rules.moves_out - destinations.leaving
        for row in sessions.evacuees(tx, session.id):
            if row.vm_id in busy or not _is_due(row, now):
                continue
            vm = tx.get(VmRow, row.vm_id, populate_existing=True)
            if row.state == MoveState.MOVING.value and (job := self._adrift(tx, row, vm)) is not None:
                begun.append(job)
            elif vm is None or vm.host_id != self._host_id:
                left(row, vm)
            elif row.state == MoveState.MOVING.value or vm.state in (VmState.MIGRATING.value, VmState.UNKNOWN.value):
                row.state = MoveState.MOVING.value
                begun.append(Job(vm.id, vm.name, row.attempt))
            elif VmState(vm.state) in TRANSITIONAL:  # ours, for the host is: an attempt of ours that could not even be settled
                if (job := self._adrift(tx, row, vm)) is not None:
                    row.state = MoveState.MOVING.value
                    begun.append(job)
            elif vm.state == VmState.STOPPED.value:
                sessions.stay(row, vm)
            elif vm.state in (VmState.CRASHED.value, VmState.FAILED_TO_START.value):
                lose(row, vm)
            else:
                chosen = self._choose(row, vm, session, destinations, room, now)
                if chosen is not None:
                    begun.append(Job(vm.id, vm.name, row.attempt, chosen, row.destination_id or ""))
                    room -= chosen.needs_destination
        after = sessions.evacuees(tx, session.id)
        if before != {row.vm_id: (row.state, row.attempt) for row in after}:
            sessions.changed(tx, session, operation_id=self._ctx.operation.id)
        blocked = [row for row in after if row.state == MoveState.BLOCKED.value and before.get(row.vm_id, ("",))[0] != row.state]
        return begun, [f"{row.name} is blocked: {row.error}" for row in blocked]

    def _choose(
        self, row: EvacueeRow, vm: VmRow, session: SessionRow, destinations: Destinations, room: int, now: datetime,
    ) -> Treatment | None:
        """How it goes now, stored with its attempt; ``None`` when it waits or is blocked."""
        chosen = treatment.of(vm, destinations.hypervisor, self._policy.local_storage, session.allow_stop)
        if chosen.needs_destination:
            if room <= 0:
                return None
            found = destinations.find(vm)
            if found.must_wait:
                return None
            if found.host_id is None:
                chosen = treatment.without_destination(vm, session.allow_stop, found.why)
                if chosen.way is Way.BLOCK and found.may_come:
                    row.attempt += 1
                    fail(row, found.why, chosen.hint, self._policy.attempts, self._policy.retry_s, now)
                    return None
            row.destination_id = found.host_id
        if chosen.way is Way.BLOCK:
            row.state, row.error, row.hint, row.next_try_at = MoveState.BLOCKED.value, chosen.why, chosen.hint, None
            return None
        row.state, row.attempt, row.next_try_at = MoveState.MOVING.value, row.attempt + 1, None
        return chosen

    # How it stands

    def _judge(self, anew: bool) -> Judgement:
        """After every end of a move, and every few seconds (``maintenance.watch.interval``)."""
        now = self._clock.monotonic()
        if not anew and self._judged_at is not None and now - self._judged_at < self._policy.watch_s and self._silent_since is None:
            return self._last
        self._judged_at = now
        self._last = self._decide_state(None, False)
        if self._last.wants_look and not self._hands.busy():
            look = Look(()) if self._is_given_up() else look_at(self._drivers, self._host_id)
            if look.is_empty:
                self._silent_since = None
            elif self._silent_since is None:
                self._silent_since = now
                self._ctx.say(f"nothing is left on {self._ctx.operation.target} by the fleet's own count, but {look.words}", "warn")
            late = self._silent_since is not None and now - self._silent_since >= self._policy.silence_s
            self._last = self._decide_state(look, late)
        return self._last

    def _is_given_up(self) -> bool:
        """A host found dead runs nothing, and cannot be asked (``maintenance.allow.down``)."""
        with self._ctx.read() as tx:
            return skips_evacuation(place_of(tx, tx.get_one(HostRow, self._host_id)), self._policy)

    def _decide_state(self, look: Look | None, give_up: bool) -> Judgement:
        with self._ctx.write() as tx:
            return judge(tx, self._host_id, self._clock.now(), look, give_up=give_up, operation_id=self._ctx.operation.id)

    def _adrift(self, tx: Session, row: EvacueeRow, vm: VmRow | None) -> Job | None:
        """How one goes on that was on its way when the daemon before this one ended; ``None`` when its row tells all."""
        if vm is None:
            return None
        again = treatment.resumed(vm, place_of(tx, tx.get_one(HostRow, self._host_id)).cluster.hypervisor, row.destination_id)
        if again is not None:
            return Job(vm.id, vm.name, row.attempt, again, row.destination_id or "")
        # It may live elsewhere by now: then only the end of its move is missing.
        return Job(vm.id, vm.name, row.attempt) if vm.host_id == self._host_id or open_move(tx, vm.id) is not None else None

    def _find_adrift(self) -> None:
        """Of a cancelled step that a crash cut short before: what was on its way then is nobody's until it is taken up."""
        with self._ctx.read() as tx:
            session, busy = sessions.open_of(tx, self._host_id), self._hands.busy()
            rows = sessions.evacuees(tx, session.id) if session is not None else ()
            found = [
                self._adrift(tx, row, tx.get(VmRow, row.vm_id)) for row in rows if row.state == MoveState.MOVING.value and row.vm_id not in busy
            ]
        for job in found:
            if job is not None:
                self._carrier.begin(self._hands, job)

    def _let_end(self) -> None:
        """Migrations in flight are never interrupted (ENG-6): nothing new begins, what flies lands."""
        while self._hands.busy():
            self._hands.rest(_GLANCE_S, self._unless_stopping)

    def _unless_stopping(self) -> None:
        with suppress(OperationCancelled):
            self._ctx.check()

    def _outcome(self, judgement: Judgement) -> Mapping[str, Any]:
        with self._ctx.read() as tx:
            session = sessions.open_of(tx, self._host_id)
            rows = sessions.evacuees(tx, session.id) if session is not None else ()
            host = tx.get(HostRow, self._host_id)
        if judgement.state is ResourceState.MAINTENANCE:
            return {"moved": sum(row.state == MoveState.MOVED.value for row in rows), "vms": len(rows)}
        left = {row.name: row.error or row.state for row in rows if row.state in ("failed", "blocked", "lost")}
        told = "; ".join(f"{name}: {why}" for name, why in list(left.items())[:5])
        text = host.error if host is not None and host.error else f"{self._ctx.operation.target} is {judgement.state.value}"
        raise Partial(
            f"{text}{f' ({told})' if told else ''}", hint="deal with what is left, then ask for maintenance again, or cancel it", table=left,
        )


def look_at(drivers: Drivers, host_id: str) -> Look:
    """Ask a host's hypervisor what is not off there."""
    try:
        guests = drivers.links.hypervisor(host_id).guests()
    except FleetError as error:
        return Look(None, error.message)
    return Look(tuple(sorted(guest.name for guest in guests if guest.state not in (GuestState.OFF, GuestState.ABSENT))))


def _is_due(row: EvacueeRow, now: datetime) -> bool:
    """Whether something is to be done about it now; one that moves and is in no thread is looked for."""
    return row.state in PENDING and (row.next_try_at is None or row.next_try_at <= now)


def try_again(tx: Session, session_id: str, user: str) -> str:
    """Make failed, blocked and waiting VMs of a host in preparation due now, with new attempts. Returns the session's id.

    Raises:
        WrongState: the host is not in preparation.
    """
    session = tx.get_one(SessionRow, session_id)
    host = tx.get_one(HostRow, session.host_id)
    if host.resource_state not in PREPARING:
        raise WrongState(
            f"{host.name} is {host.resource_state}; there is nothing to try again", state=host.resource_state,
            allowed=[*PREPARING, ResourceState.ERROR_IN_MAINTENANCE.value],
        )
    for row in sessions.evacuees(tx, session.id):
        if row.state in _AGAIN:
            row.state, row.granted, row.next_try_at = MoveState.WAITING.value, row.attempt, None
    sessions.changed(tx, session, f"{user} has the moves off {host.name} tried again now", user=user)
    return session.id
