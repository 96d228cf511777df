"""The start-up sequence: ten phases in order, each reported as it goes (spec 4.7)."""

from __future__ import annotations

from typing import Callable, Mapping

from fleet_tui.agent import actions, certificate, disk, health, installation
from fleet_tui.agent import machine as machines
from fleet_tui.agent.application import Application
from fleet_tui.agent.failures import Failure
from fleet_tui.agent.machine import Machine

PHASES = (
    "hello", "data-disk", "internal-setup", "certificate", "actions:before_install", "install-or-upgrade",
    "actions:after_install", "start", "actions:after_startup", "ready",
)


class Sequence:
    """Runs the phases after ``hello``; the first failing one stops it, and a retry goes on there.

    Bodies return ``False`` when there was nothing to do, which is reported as ``skipped``.
    """

    def __init__(self, machine: Machine, application: Application) -> None:
        self._machine = machine
        self._application = application
        self._bodies: Mapping[str, Callable[[], bool | None]] = {
            "data-disk": lambda: disk.check_disk(machine),
            "internal-setup": lambda: machines.set_up(machine),
            "certificate": lambda: certificate.settle(machine),
            "actions:before_install": lambda: actions.run_stage(machine, "before_install"),
            "install-or-upgrade": lambda: installation.install_or_upgrade(machine),
            "actions:after_install": lambda: actions.run_stage(machine, "after_install"),
            "start": lambda: application.start("start"),
            "actions:after_startup": lambda: actions.run_stage(machine, "after_startup"),
            "ready": lambda: health.await_health(machine, application),
        }

    def run(self, first: str = "data-disk") -> None:
        """Run from a phase on.

        Raises:
            Failure: a phase failed; it is reported and logged already.
        """
        begin = PHASES.index(first)
        if begin < PHASES.index("start"):
            self._application.stop(first)  # nothing changes under a running application
        for name in PHASES[begin:]:
            self._machine.standing.phase(name, "pending")
        for name in PHASES[begin:]:
            self._run_phase(name)

    def first_unfinished(self) -> str:
        """Where a retry goes on: the first phase not through, or an earlier ``start`` when nothing runs any more."""
        through = ("done", "skipped")
        name = next((name for name in PHASES[1:] if self._machine.standing.state_of(name) not in through), PHASES[1])
        if PHASES.index(name) > PHASES.index("start") and not self._application.alive():
            return "start"
        return name

    def is_startable(self) -> bool:
        """Whether everything before ``start`` is through, so the application alone can be started."""
        return all(self._machine.standing.state_of(name) in ("done", "skipped") for name in PHASES[: PHASES.index("start")])

    def _run_phase(self, name: str) -> None:
        standing, journal = self._machine.standing, self._machine.journal
        standing.phase(name, "running")
        try:
            self._machine.check()
            done = self._bodies[name]() is not False
        except Failure as error:
            failure = error
        except (OSError, ValueError, TypeError, KeyError) as error:
            # A disk that is full, a document of another shape: the phase failed, the agent has not.
            failure = Failure(f"{type(error).__name__}: {error}")
        else:
            standing.phase(name, "done" if done else "skipped")
            if name == "ready":
                journal.say(name, f"ready: {self._machine.url}")
            return
        journal.say(name, f"phase {name} failed: {failure}", "error")
        standing.phase(name, "failed", str(failure))
        raise failure
