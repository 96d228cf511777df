"""The one decision about a host under maintenance (spec 8.3): taken and stored in one transaction that holds the host's row.

What is still on the host is counted from VM rows, which name their source as host until a move is committed, and from the moves that have
not ended; so a move that fails between two looks is still counted, whichever of its two rows was seen first. The hypervisor's own word is
wanted too before a host is called empty: it knows of guests that the fleet does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.hosts import transitions
from fleet_tui.backend.hosts.rows import HostRow
from fleet_tui.backend.hosts.states import HostEvent, ResourceState
from fleet_tui.backend.machines.rows import MoveRow, VmRow
from fleet_tui.backend.machines.states import VmState
from fleet_tui.backend.maintenance import MoveState, Step
from fleet_tui.backend.maintenance.rows import EvacueeRow, SessionRow
from fleet_tui.backend.maintenance.sessions import changed, evacuees, open_of

PENDING = frozenset({MoveState.WAITING.value, MoveState.MOVING.value, MoveState.RETRY.value})
"""Of these something will still be tried."""
ERRORS = frozenset({MoveState.RETRY.value, MoveState.FAILED.value, MoveState.BLOCKED.value, MoveState.LOST.value})
PREPARING = (ResourceState.PREPARE.value, ResourceState.ERROR_IN_PREPARE.value)


@dataclass(frozen=True, slots=True)
class Look:
    """What a host's hypervisor answered when it was asked after the last move had ended.

    ``guests`` are the names of those that are not off; ``None`` when it did not answer, with ``error`` saying why.
    """

    guests: tuple[str, ...] | None
    error: str = ""

    @property
    def is_empty(self) -> bool:
        return self.guests == ()

    @property
    def words(self) -> str:
        if self.guests is None:
            return f"its hypervisor cannot be asked what runs there: {self.error}"
        return f"its hypervisor still shows guests: {', '.join(self.guests[:10])}"


@dataclass(frozen=True, slots=True)
class Judgement:
    """How the host stands after the decision."""

    state: ResourceState
    left: tuple[str, ...]
    """Names of the VMs that are still on it."""
    wants_look: bool = False
    """No row speaks against it; only the hypervisor's own word is missing."""

    @property
    def has_ended(self) -> bool:
        """Neither of the two states of preparing."""
        return self.state.value not in PREPARING


def judge(
    tx: Session, host_id: str, now: datetime, look: Look | None = None, *, give_up: bool = False, operation_id: str | None = None,
) -> Judgement:
    """Decide and store. Does nothing to a host that is not preparing.

    Args:
        look: taken after the rows said that nothing is left; ``None`` for none taken.
        give_up: the hypervisor had its time to say that the host is empty, and did not.
    """
    host = transitions.lock(tx, host_id)
    if host.resource_state not in PREPARING:
        return Judgement(ResourceState(host.resource_state), ())
    here = on_host(tx, host_id)
    left = tuple(vm.name for vm in here)
    moving = _moving(tx, host_id)
    session = open_of(tx, host_id)
    rows = _those_of(tx, session, here)
    pending = any(row is None or row.state in PENDING for row in rows) or moving
    wants_look = not here and not moving
    event, text, level = None, "", "info"
    if wants_look and look is not None and look.is_empty:
        event, text = HostEvent.EMPTY, f"{host.name} is ready for maintenance: nothing is left on it"
    elif (wants_look and give_up) or (here and not pending):
        event, level = HostEvent.EXHAUSTED, "error"
        text = _failure(host, left, look)
    elif host.resource_state == ResourceState.PREPARE.value and (any(row and row.state in ERRORS for row in rows) or (wants_look and look)):
        event, level = HostEvent.MIGRATION_FAILED, "warn"
        text = f"{host.name}: a step of its evacuation failed; it is tried again, and the rest goes on"
    elif host.resource_state == ResourceState.ERROR_IN_PREPARE.value and not any(row and row.state in ERRORS for row in rows) and not (
        wants_look and look
    ):
        event, text = HostEvent.CORRECTED, f"{host.name}: what had failed is corrected"
    if event is None:
        return Judgement(ResourceState(host.resource_state), left, wants_look)
    state = transitions.move(tx, host, event, now, text=text, level=level, operation_id=operation_id)
    if session is not None:
        _remember(tx, session, host, state, text)
    return Judgement(state, left)


def on_host(tx: Session, host_id: str) -> Sequence[VmRow]:
    """VMs that keep the host from being ready: all that are on it and not stopped."""
    query = select(VmRow).where(VmRow.host_id == host_id, VmRow.state != VmState.STOPPED.value).order_by(VmRow.name)
    return tx.scalars(query.execution_options(populate_existing=True)).all()


def _moving(tx: Session, host_id: str) -> bool:
    """Whether a move from or to the host has not ended."""
    to = select(VmRow.id).where(VmRow.destination_id == host_id).limit(1)
    away = select(MoveRow.id).where(MoveRow.source_id == host_id, MoveRow.outcome == "").limit(1)
    return tx.scalar(to) is not None or tx.scalar(away) is not None


def _those_of(tx: Session, session: SessionRow | None, here: Sequence[VmRow]) -> list[EvacueeRow | None]:
    known = {row.vm_id: row for row in evacuees(tx, session.id)} if session is not None else {}
    return [known.get(vm.id) for vm in here]


def _failure(host: HostRow, left: Sequence[str], look: Look | None) -> str:
    if left:
        names = f"{', '.join(left[:10])}{' …' if len(left) > 10 else ''}"
        return f"{host.name} could not be emptied: {len(left)} VM{'s are' if len(left) != 1 else ' is'} left on it: {names}"
    return f"{host.name} could not be emptied: {look.words if look is not None else 'its hypervisor was not asked what runs there'}"


def _remember(tx: Session, session: SessionRow, host: HostRow, state: ResourceState, text: str) -> None:
    host.error = text if state is ResourceState.ERROR_IN_MAINTENANCE else ""
    if state is ResourceState.MAINTENANCE:
        session.step = Step.READY.value
    if state is ResourceState.ERROR_IN_MAINTENANCE:
        for row in evacuees(tx, session.id):
            row.next_try_at = None
    kind = {ResourceState.MAINTENANCE: "maintenance.ready", ResourceState.ERROR_IN_MAINTENANCE: "maintenance.failed"}.get(state)
    changed(tx, session, type=kind or "maintenance.changed")
