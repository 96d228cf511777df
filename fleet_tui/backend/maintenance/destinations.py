"""Where a VM that is to leave now would go, chosen anew for each attempt and with what was chosen a moment ago kept in mind."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.machines.placement import Chooser, choose, summary, wanted_move
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.machines.world import World
from fleet_tui.backend.maintenance.drivers import Drivers
from fleet_tui.backend.maintenance.preconditions import Place


@dataclass(frozen=True, slots=True)
class Found:
    """What came of looking."""

    host_id: str | None
    why: str = ""
    """Why there is none."""
    must_wait: bool = False
    """There is one, which receives as many VMs as it may already."""
    may_come: bool = False
    """There is none now, but some host would be large enough."""


class Destinations:
    """Of one cluster, as it is in this transaction. Not to be kept beyond it."""

    def __init__(self, tx: Session, drivers: Drivers, place: Place, now: datetime) -> None:
        self._tx, self._drivers, self._place, self._now = tx, drivers, place, now
        self._world: World | None = None
        moving = tx.execute(
            select(VmRow.host_id, VmRow.destination_id).where(VmRow.cluster_id == place.cluster.id, VmRow.destination_id.is_not(None))
        ).all()
        self._arriving = Counter(destination for _, destination in moving)
        self.leaving = sum(source == place.host.id for source, _ in moving)
        """VMs on their way from the host."""

    @property
    def hypervisor(self) -> str:
        return self._place.cluster.hypervisor

    def find(self, vm: VmRow, host_id: str = "") -> Found:
        """The best host that has room, is open and may receive one more; taken, in this look, once it is found."""
        if self._world is None:
            self._world = World.load(self._tx, self._drivers.rules, self._now, self._place.cluster.id)
        world, guest = self._world, self._world.guests[vm.id]
        wanted = wanted_move(world, guest)
        full = [one for one, count in self._arriving.items() if count >= self._drivers.rules.moves_in and one in world.seats]
        with world.without(full, "it receives as many VMs as it may at once"):
            chosen = choose(world, wanted, host_id=host_id)
        if chosen.seat is None:
            again = choose(world, wanted, host_id=host_id)
            if again.seat is not None:
                return Found(None, must_wait=True)
            why = summary(again.found)
            if host_id:
                why = next((verdict.why for verdict in again.placement.verdicts if verdict.host == world.seats[host_id].name), why)
            return Found(None, why, may_come=Chooser(world, wanted).can_ever_fit())
        world.move(guest, chosen.seat.id)
        self._arriving[chosen.seat.id] += 1
        return Found(chosen.seat.id)
