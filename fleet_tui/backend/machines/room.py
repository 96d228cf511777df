"""Taking room: chosen from a look at the cluster, then taken in a transaction that looks at the chosen host again under its lock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from fleet_tui.backend.errors import Busy, NoCapacity
from fleet_tui.backend.hosts.rows import HostRow
from fleet_tui.backend.hosts.transitions import lock
from fleet_tui.backend.machines import vms
from fleet_tui.backend.machines.drivers import Machines
from fleet_tui.backend.machines.placement import Choice, Chooser, Wanted, Why, choose, refusal
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.machines.settling import Transactions
from fleet_tui.backend.machines.world import World

_TRIES = 10
"""Looks at the cluster, when others were faster to the chosen host each time. Under a crowd the later ones see it full, and are refused."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Room that is ours now."""

    host_id: str
    host: str


def take(
    at: Transactions, drivers: Machines, vm_id: str, wants: Callable[[VmRow], Wanted], write: Callable[[Session, VmRow, HostRow], None],
    *, policy: str = "balanced", host_id: str = "",
) -> Taken:
    """Choose a host for a VM and take its room.

    Args:
        wants: what the VM, as its row is now, looks for; raises when it may not have it any more. Called again under the lock.
        write: puts the claim on the row; called in the transaction that holds the host's lock and the VM's.
        host_id: only there.

    Raises:
        NoCapacity: it fits nowhere now, or never will.
        Busy: it would fit, once VMs that are on their way have arrived.
    """
    for _ in range(_TRIES):
        choice, wanted = _choose(at, drivers, vm_id, wants, policy, host_id)
        if choice.seat is None:
            raise _none(wanted, choice, host_id)
        with at.write() as tx:
            host = lock(tx, choice.seat.id)
            vm = vms.locked(tx, vm_id)
            if _still_open(tx, drivers, replace(wants(vm), is_new=False), vm.id, host.id):
                write(tx, vm, host)
                return Taken(host.id, host.name)
    raise NoCapacity(
        f"{wanted.name} got no room on the hosts that were chosen for it", hint="ask again, or with another placement",
        reason="cannot_fit_now", verdicts=[],
    )


def _choose(at: Transactions, drivers: Machines, vm_id: str, wants: Callable[[VmRow], Wanted], policy: str, host_id: str) -> tuple[Choice, Wanted]:
    with at.read() as tx:
        vm = vms.get(tx, vm_id)
        wanted = wants(vm)
        beside = policy.startswith("adjacent:")
        world = World.load(
            tx, drivers.rules, drivers.clock.now(), vm.cluster_id, without=vm.id, guests=beside, in_disabled_zone=wanted.in_disabled_zone,
        )
    return choose(world, wanted, policy, host_id=host_id, programs=drivers.programs), wanted


def _still_open(tx: Session, drivers: Machines, wanted: Wanted, vm_id: str, host_id: str) -> bool:
    """Whether nothing speaks against the host, as it is under the lock."""
    world = World.load(
        tx, drivers.rules, drivers.clock.now(), wanted.cluster_id, only=host_id, without=vm_id, guests=False,
        in_disabled_zone=wanted.in_disabled_zone,
    )
    return host_id in world.seats and Chooser(world, wanted).against(world.seats[host_id]) is None


def _none(wanted: Wanted, choice: Choice, host_id: str) -> Exception:
    about = [(seat, why) for seat, why in choice.found if not host_id or seat.id == host_id]
    if any(why is Why.SLOT for _, why in about):
        hosts = ", ".join(seat.name for seat, why in about if why is Why.SLOT)
        return Busy(f"{wanted.name} waits for a free slot: {hosts} receive as many VMs as they may at once", hint="it goes on by itself")
    return refusal(wanted, choice)

