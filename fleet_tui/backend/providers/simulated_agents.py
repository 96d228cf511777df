"""The agents of the fake provider: ten thousand of them in one thread.

They talk to :class:`Agents` with the records real agents send. What they write is bounded however large the fleet is: a few
full reports a second take turns through it, and one bulk update now and then says that all the others are alive.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import deque
from collections.abc import Callable

from fleet_tui.backend.clock import Clock
from fleet_tui.backend.errors import AuthFailed
from fleet_tui.backend.faults import Faults
from fleet_tui.backend.providers import MachineState
from fleet_tui.backend.providers.actor import Actor
from fleet_tui.backend.providers.ledger import Disk, Ledger, Machine
from fleet_tui.backend.providers.timetable import Timetable
from fleet_tui.backend.telemetry.agents import Agents

log = logging.getLogger("fleetd.simulation")

REPORTS_PER_S = 12.0
"""Most reports a second from all applications that merely live; start-ups and answers come on top."""
REST_S = 25.0
"""No living application reports more often than this."""
TOUCH_S = 20.0
LOOK_S = 1.0
"""How often commands are looked for when no bell rang."""
RETRY_S = 1.0


class SimulatedAgents:
    """Starts, drives and ends simulated agents.

    Args:
        lock: guards the ledger; shared with the provider.
        pace: factor on every pause of a start-up or command; 0 for none.
    """

    def __init__(self, agents: Agents, ledger: Ledger, lock: threading.RLock, faults: Faults, clock: Clock, *,
                 pace: float, seed: int, reports_per_s: float = REPORTS_PER_S, rest_s: float = REST_S) -> None:
        self.agents, self.ledger, self.lock, self.faults, self.clock = agents, ledger, lock, faults, clock
        self.pace = pace
        self.rng = random.Random(seed)
        self._reports_per_s, self._rest_s = reports_per_s, rest_s
        self._timetable = Timetable(clock, "simulated-agents")
        self._actors: dict[str, Actor] = {}
        self._turns: deque[Actor] = deque()
        self._grown: set[str] = set()
        self._awake = False

    # --- for the provider: any thread ----------------------------------------------------------------------------

    def wake(self) -> None:
        """Begin, and take up the agents that were on when the last daemon ended. Repeatable."""
        with self.lock:
            if self._awake:
                return
            self._awake = True
            machines = [m for m in self.ledger.machines.values() if m.state == MachineState.ON.value and not m.silent]
            self.rng.shuffle(machines)
            for machine in machines:
                self.begin(machine)
        self._timetable.after(0.0, self._touch)
        self._timetable.every(lambda: TOUCH_S, self._touch)
        self._timetable.every(lambda: LOOK_S, self._obey)
        self._timetable.every(self._pause, self._live)
        self.agents.bells.append(self._ring)
        self._timetable.start()

    def begin(self, machine: Machine) -> None:
        """An agent runs from now on: from its hello, or from where it was."""
        actor = Actor(self, machine)
        with self.lock:
            self._actors[machine.id] = actor
        actor.begin()

    def end(self, machine: str) -> None:
        """Its agent is gone; nothing more is heard of it."""
        with self.lock:
            self._actors.pop(machine, None)

    def disturb(self, machine: str, seconds: float) -> None:
        """Its application goes down for so long."""
        actor = self._actors.get(machine)
        if actor is not None:
            self.play(actor, 0.0, lambda: actor.go_down(seconds))

    def close(self) -> None:
        if self._ring in self.agents.bells:
            self.agents.bells.remove(self._ring)
        self._timetable.close()
        with self.lock:
            self._keep_grown()

    # --- for actors: in the thread -------------------------------------------------------------------------------

    def play(self, actor: Actor, seconds: float, act: Callable[[], None]) -> None:
        """Let an agent act later, unless it has ended by then. What fails for want of the store is tried again."""

        def when_due() -> None:
            if self._actors.get(actor.machine) is not actor:
                return
            try:
                act()
            except AuthFailed:
                self.lose(actor, MachineState.OFF)
            except Exception:
                log.exception("the simulated agent of %s stumbled; it tries again", actor.label)
                self.play(actor, RETRY_S, act)

        self._timetable.after(seconds, when_due)

    def lives(self, actor: Actor) -> None:
        """Its application runs: it gets its turns from now on."""
        self._turns.append(actor)

    def lose(self, actor: Actor, left: MachineState) -> None:
        """The agent's process is gone; ``left`` says what is left of its machine."""
        with self.lock:
            if self._actors.get(actor.machine) is actor:
                machine = self.ledger.machines[actor.machine]
                machine.state = left.value
                self.ledger.put(machine)
                del self._actors[actor.machine]

    def disk_of(self, actor: Actor) -> Disk | None:
        machine = self.ledger.machines.get(actor.machine)
        return self.ledger.disks.get(machine.disk) if machine is not None else None

    def grew(self, disk: Disk) -> None:
        """Its use is recorded with the next heartbeat: not each change is worth a sync."""
        self._grown.add(disk.id)

    # --- the rounds ----------------------------------------------------------------------------------------------

    def _ring(self) -> None:
        self._timetable.after(0.0, self._obey)

    def _obey(self) -> None:
        for machine in self.agents.called():
            actor = self._actors.get(machine)
            if actor is not None and actor.key:
                self.play(actor, 0.0, actor.listen)

    def _pause(self) -> float:
        """Between two turns: as long as the fleet is small, so that each rests; never so short that the store suffers."""
        return max(1.0 / self._reports_per_s, self._rest_s / len(self._turns)) if self._turns else 0.5

    def _live(self) -> None:
        if not self._turns:
            return
        actor = self._turns.popleft()
        if self._actors.get(actor.machine) is not actor:
            return
        self._turns.append(actor)
        self.play(actor, 0.0, actor.live)

    def _touch(self) -> None:
        with self.lock:
            machines = [actor.machine for actor in self._actors.values() if actor.key]
            self._keep_grown()
        self.agents.touch(machines)

    def _keep_grown(self) -> None:
        grown, self._grown = self._grown, set()
        if disks := [self.ledger.disks[name] for name in grown if name in self.ledger.disks]:
            self.ledger.put(*disks)
