"""Applications held still while their data disk is copied, for a copy of what is written to meanwhile is torn."""

from __future__ import annotations

import logging
import threading
import uuid
from types import TracebackType

from fleet_tui.backend.errors import TimedOut, WrongState
from fleet_tui.backend.instances.drivers import Drivers
from fleet_tui.backend.instances.steps import Result, machine_of, provider_of, tell_agent
from fleet_tui.backend.operations.catalogue import OperationCancelled, StepContext
from fleet_tui.backend.operations.ownership import Fenced, ShuttingDown
from fleet_tui.backend.providers import MachineState

LIMIT_S = 600.0
"""So long after it was last told to hold it still the agent lets the application go by itself: a daemon that died holds nobody for ever."""
RENEW_S = 200.0
_ANSWER_S = 30.0
_log = logging.getLogger(__name__)

_freeze = tell_agent("freeze", lambda drivers: _ANSWER_S, lambda tx, row, drivers: {"limit_s": LIMIT_S})
_freeze_if_possible = tell_agent("freeze", lambda drivers: _ANSWER_S, lambda tx, row, drivers: {"limit_s": LIMIT_S}, needed=False)


def freeze(ctx: StepContext) -> Result:
    """Needed where a copy takes its time. One of a single moment is as a power cut would leave the disk, and worth having without it."""
    return (_freeze if moving_machine(ctx) else _freeze_if_possible)(ctx)


def moving_machine(ctx: StepContext) -> str | None:
    """The machine that may write to the disk while it is copied; ``None`` when it is off, or the copy is of one moment."""
    machine, provider = machine_of(ctx), provider_of(ctx)
    if machine is None or not provider.copies_over_time:
        return None
    return machine if provider.find_machine(machine).state not in (MachineState.OFF, MachineState.ABSENT) else None


class Still:
    """Around a copy: the application is frozen when it begins, again and again while it lasts, and known to have been so all along when it ends.

    Raises:
        WrongState, TimedOut: on entry, the agent did not; on leaving, it may have let go meanwhile, and the copy is worth nothing.
    """

    def __init__(self, ctx: StepContext, machine: str, every_s: float = RENEW_S) -> None:
        self._ctx, self._machine, self._every_s = ctx, machine, every_s
        self._drivers = ctx.use(Drivers)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name=f"still-{ctx.operation.id}", daemon=True)
        self._is_sure = True

    def __enter__(self) -> Still:
        self._since = self._drivers.clock.monotonic()
        self._told = self._hold()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        if kind is None:
            self._renew()
            if not self._is_sure:
                raise WrongState(
                    f"the application of {self._ctx.operation.target} did not stay still while its data disk was copied",
                    hint="look at the instance's log and retry; of a stopped instance the copy needs no agent", state="moving",
                )

    def _go_on(self) -> None:
        while not self._over.wait(self._every_s):
            try:
                self._renew()
            except (Fenced, ShuttingDown, OperationCancelled):
                return  # the step itself learns of it
            except Exception as error:
                _log.info("the application of %s was not told again to keep still: %s", self._ctx.operation.target, error)

    def _renew(self) -> None:
        asked = self._drivers.clock.monotonic()
        told = self._hold()
        # What was asked for last counted from then on at the earliest. And one that began to run meanwhile was not held.
        if told != self._told or self._drivers.clock.monotonic() - self._since > LIMIT_S:
            self._is_sure = False
        self._since = asked

    def _hold(self) -> str:
        """What the agent answered."""
        ctx, agents, token = self._ctx, self._drivers.agents, f"{self._ctx.token}:{uuid.uuid4().hex[:8]}"
        with ctx.write() as tx:
            agents.command(tx, self._machine, token, "freeze", {"limit_s": LIMIT_S})
        agents.ring()

        def answered() -> tuple[str, str] | None:
            with ctx.read() as tx:
                told = agents.answer(tx, token)
            return told if told is not None and told[0] != "given" else None

        try:
            state, detail = ctx.wait(answered, _ANSWER_S) or ("gone", "")
        except (TimedOut, OperationCancelled) as error:
            with ctx.write() as tx:  # else an agent that comes to it later freezes what nobody thaws
                row = agents.command(tx, self._machine, token, "freeze", {})
                row.state = "withdrawn" if row.state == "given" else row.state
            if isinstance(error, OperationCancelled):
                raise
            raise TimedOut(f"the agent did not freeze the application within {_ANSWER_S:.0f} s", hint="look at its log") from None
        if state != "done":
            raise WrongState(f"freeze failed: {detail or 'the agent gave no reason'}", hint="look at the instance's log")
        return detail
