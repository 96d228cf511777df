"""Guest networks: found, moved through their states, brought up for the first VM and shut down after the last (spec 10.4).

A step of an operation calls :func:`implement` before it plugs a card, with ``ctx.write``; it may be called any number of times.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.clock import Clock
from fleet_tui.backend.errors import FleetError, NoCapacity, NotFound, WrongState
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.networks import allocation
from fleet_tui.backend.networks.discretion import without_ids
from fleet_tui.backend.networks.rows import NetworkRow, VlanRow
from fleet_tui.backend.networks.states import MOVES, NetworkEvent, NetworkState
from fleet_tui.backend.networks.tenants import Segments
from fleet_tui.backend.text import clean

Transaction = Callable[[], AbstractContextManager[Session]]
"""``ctx.write`` of a step, or ``store.write``."""

HELD = frozenset({NetworkState.SETUP, NetworkState.IMPLEMENTED})
"""States in which a network has its VLAN and VMs may be plugged in."""


# --- finding, locking, moving ----------------------------------------------------------------------------------------


def find(tx: Session, target: str) -> NetworkRow:
    """The guest network of that name, id or ref.

    Raises:
        NotFound: there is none.
    """
    bare = target.removeprefix("network:")
    row = tx.scalar(select(NetworkRow).where((NetworkRow.id == bare) | (NetworkRow.name == bare)).limit(1))
    if row is None:
        raise NotFound(f"there is no network {clean(target, 100)!r}", hint="`fleet network list` shows them")
    return row


def lock(tx: Session, network_id: str) -> NetworkRow:
    """Its row as it is now, which nobody else changes until this transaction ends. Locked before its physical network is.

    Raises:
        NotFound: it is gone.
    """
    query = select(NetworkRow).where(NetworkRow.id == network_id).with_for_update(key_share=True).execution_options(populate_existing=True)
    row = tx.scalar(query)
    if row is None:
        raise NotFound("the network is gone", hint="`fleet network list` shows those there are")
    return row


def vlan_of(tx: Session, network_id: str) -> int | None:
    """The ID it holds, if any."""
    return tx.scalar(select(VlanRow.number).where(VlanRow.network_id == network_id))


def move(tx: Session, row: NetworkRow, event: NetworkEvent, now: datetime, *, text: str = "", level: str = "info", user: str | None = None) -> None:
    """Move a locked row by one event of the table of spec 10.4, and say so in the feed.

    Raises:
        WrongState: the table has no such move; nothing changes. Details: ``state``, and ``allowed`` states for the event.
    """
    here = NetworkState(row.state)
    to = MOVES.get((here, event))
    if to is None:
        origins = sorted(state.value for state, possible in MOVES if possible is event)
        raise WrongState(f"{row.name} is {here.value}; `{event.value}` needs {' or '.join(origins)}", state=here.value, allowed=origins)
    row.state = to.value
    changed(tx, row, now, text=text, level=level, user=user)


def changed(tx: Session, row: NetworkRow, now: datetime, *, text: str = "", level: str = "info", user: str | None = None) -> None:
    row.version += 1
    row.updated_at = now
    append(tx, type="network.changed", ref=f"network:{row.id}", text=text, level=level, user=user)


# --- up --------------------------------------------------------------------------------------------------------------


def implement(write: Transaction, network_id: str, clock: Clock, *, fallback: bool = True, segments: Segments | None = None) -> int:
    """The ID that a VM's card on this network is to carry; the network is up afterwards, and counts as used from now.

    Args:
        fallback: ``vlan.dedicated.fallback``.
        segments: what hosts need beforehand. What it raises ends the implementation, with the ID given back.

    Raises:
        NoCapacity: no ID is free; the network is ``Allocated`` as before (VLN-5).
        WrongState: its physical network is disabled.
    """
    number, ready = _begin(write, network_id, clock, fallback, segments)
    if ready or segments is None:
        return number
    try:
        segments.provide(network_id, number)
    except FleetError as problem:
        with write() as tx:
            row = lock(tx, network_id)
            if row.state == NetworkState.IMPLEMENTING.value:
                _fail(tx, row, clock.now(), problem, number)
        with suppress(FleetError):  # it stays in Shutdown, and garbage collection tries again
            shut(write, network_id, clock, segments=segments)
        raise
    with write() as tx:
        row = lock(tx, network_id)
        if row.state == NetworkState.IMPLEMENTING.value:
            row.error = ""
            move(tx, row, NetworkEvent.IMPLEMENTED, clock.now(), text=f"network {row.name} is up")
    return number


def _begin(write: Transaction, network_id: str, clock: Clock, fallback: bool, segments: Segments | None) -> tuple[int, bool]:
    """Its ID, and whether nothing more needs doing. One that is half shut down is shut first: its old ID may be somebody's by then."""
    for _ in range(3):
        try:
            with write() as tx:
                row = lock(tx, network_id)
                row.unused_since = None
                if row.state == NetworkState.SETUP.value and vlan_of(tx, row.id) is None:
                    raise WrongState(f"{row.name} has lost the VLAN it was made with", hint="make it again", state=row.state)
                if row.state == NetworkState.ALLOCATED.value:
                    move(tx, row, NetworkEvent.IMPLEMENT, clock.now())
                if row.state != NetworkState.SHUTDOWN.value:
                    number = allocation.take(tx, row, clock.now(), fallback=fallback)
                    if segments is None and row.state == NetworkState.IMPLEMENTING.value:
                        row.error = ""
                        move(tx, row, NetworkEvent.IMPLEMENTED, clock.now(), text=f"network {row.name} is up")
                    return number, row.state == NetworkState.IMPLEMENTED.value
        except NoCapacity as refusal:
            with write() as tx:
                row = lock(tx, network_id)
                row.error = refusal.message
                changed(tx, row, clock.now(), text=refusal.message, level="error")
            raise
        shut(write, network_id, clock, segments=segments)
    raise WrongState("the network is shut down again and again while it is brought up", hint="try again")


def _fail(tx: Session, row: NetworkRow, now: datetime, problem: FleetError, number: int | None) -> None:
    row.error = clean(without_ids(problem.message, number))
    move(tx, row, NetworkEvent.FAILED, now, text=f"network {row.name} could not be brought up: {row.error}", level="error")


# --- down ------------------------------------------------------------------------------------------------------------


def shut_down(tx: Session, row: NetworkRow, now: datetime, text: str, user: str | None = None) -> None:
    """A locked network that is up, or coming up, is no longer to be: :func:`shut` then does it. One that is half down already stays so."""
    if row.state == NetworkState.IMPLEMENTING.value:
        move(tx, row, NetworkEvent.FAILED, now, text=text, level="warn", user=user)
    elif row.state != NetworkState.SHUTDOWN.value:
        move(tx, row, NetworkEvent.SHUT_DOWN, now, text=text, user=user)


def shut(write: Transaction, network_id: str, clock: Clock, *, segments: Segments | None = None) -> bool:
    """End the shutdown of a network: its interfaces go, then its ID is given back, and it is ``Allocated``. Whether it was in ``Shutdown``.

    Can be repeated. What the hosts refuse is raised and leaves it in ``Shutdown``, to be tried again (spec 10.4).
    """
    with write() as tx:
        row = lock(tx, network_id)
        if row.state != NetworkState.SHUTDOWN.value:
            return False
        number, reservation = vlan_of(tx, network_id), row.reservation
    if number is not None and segments is not None:
        try:
            segments.withdraw(network_id, number)
        except FleetError as problem:
            with write() as tx:
                row = lock(tx, network_id)
                if row.state == NetworkState.SHUTDOWN.value and row.reservation == reservation:
                    row.error = clean(without_ids(problem.message, number))
                    move(tx, row, NetworkEvent.FAILED, clock.now(), text=f"network {row.name} could not be shut down: {row.error}", level="error")
            raise
    with write() as tx:
        row = lock(tx, network_id)
        if row.state == NetworkState.SHUTDOWN.value and row.reservation == reservation:
            allocation.give_back(tx, row, reservation)
            row.reservation, row.unused_since = "", None
            move(tx, row, NetworkEvent.SHUT, clock.now(), text=f"network {row.name} is down")
    return True
