"""Requests for a VM that fits nowhere now and may wait for room, each to a deadline of its own (spec 7.9).

They wait in the queue, before they hold anything: a host can be emptied and a ratio changed meanwhile. One VM of a cluster at a time goes on to take
its room, so that two that waited do not both see the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from fleet_tui.backend.clock import Clock, SystemClock
from fleet_tui.backend.errors import FleetError, InvalidInput, Problem
from fleet_tui.backend.machines import vms
from fleet_tui.backend.machines.capacity import Rules
from fleet_tui.backend.machines.placement import Chooser, summary
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.machines.world import World
from fleet_tui.backend.operations.catalogue import OperationFacts
from fleet_tui.backend.operations.queries import OWNED
from fleet_tui.backend.operations.rows import OperationRow
from fleet_tui.backend.operations.states import StepState

LONGEST_S = 86_400.0
LOOK_S = 5.0
"""Between two looks for one VM: each reads its cluster."""


def problems(room_s: float) -> Iterable[Problem]:
    if not 0 <= room_s <= LONGEST_S:
        yield Problem("room_s", f"must be from 0 to {LONGEST_S:,.0f} seconds")


def refusals(room_s: float) -> Iterable[FleetError]:
    if found := list(problems(room_s)):
        yield InvalidInput("the time to wait for room is out of range", problems=found)


def deadline(room_s: float, now: datetime) -> dict[str, str]:
    """As a parameter of the operation; nothing when it does not wait."""
    return {"room_until": (now + timedelta(seconds=room_s)).isoformat()} if room_s > 0 else {}


class RoomWaits:
    """Asked whenever the turn of a request comes: what it still waits for. Past its deadline it goes on, and is refused where room is taken."""

    def __init__(self, rules: Rules, clock: Clock | None = None) -> None:
        self._rules, self._clock = rules, clock or SystemClock()
        self._seen: dict[str, tuple[float, str]] = {}
        """By operation: when to look again, and what was seen."""
        self._going: dict[str, str] = {}
        """By cluster, the operation that went on last."""

    def __call__(self, tx: Session, op: OperationFacts) -> str:
        until = datetime.fromisoformat(found) if (found := str(op.parameters.get("room_until", ""))) else None
        vm = tx.get(VmRow, op.target_ref.removeprefix("vm:"))
        if until is None or vm is None or self._clock.now() >= until:
            self._seen.pop(op.id, None)
            return ""
        if (first := self._going.get(vm.cluster_id, "")) not in ("", op.id) and _takes(tx, first):
            return "room, another VM takes some now"
        now = self._clock.monotonic()
        due, why = self._seen.get(op.id, (0.0, ""))
        if not why or due <= now:
            why = self._lacks(tx, op, vm)
        if why:
            self._seen = {id_: seen for id_, seen in self._seen.items() if seen[0] > now - 60.0} | {op.id: (due if due > now else now + LOOK_S, why)}
            return f"room, until {until:%H:%M:%S} UTC: {why}"
        self._seen.pop(op.id, None)
        self._going[vm.cluster_id] = op.id
        return ""

    def _lacks(self, tx: Session, op: OperationFacts, vm: VmRow) -> str:
        asked = op.parameters
        in_disabled_zone = bool(asked.get("in_disabled_zone"))
        wanted = vms.wanted_start(vm, is_new=bool(asked.get("is_new")), in_disabled_zone=in_disabled_zone)
        world = World.load(tx, self._rules, self._clock.now(), vm.cluster_id, without=vm.id, guests=False, in_disabled_zone=in_disabled_zone)
        try:
            chooser = Chooser(world, wanted)
            host_id = str(asked.get("host", ""))
            policy, _, beside = str(asked.get("placement", "")).partition(":")
            if policy == "adjacent":
                host_id = vms.find(tx, beside).host_id or ""
        except FleetError:
            return ""  # no waiting helps: it is refused with the reason
        if not chooser.can_ever_fit():
            return ""
        found = [(seat, chooser.against(seat)) for seat in chooser.cluster.seats if host_id in ("", seat.id)]
        return "" if any(why is None for _, why in found) else summary(found)


def _takes(tx: Session, operation_id: str) -> bool:
    row = tx.get(OperationRow, operation_id)
    return row is not None and row.state in OWNED and any(step.name == "place" and step.state != StepState.DONE.value for step in row.steps)
