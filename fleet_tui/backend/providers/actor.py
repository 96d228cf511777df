"""One simulated agent: hello, the scenes of its start-up, its life afterwards, and the commands it obeys."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from fleet_tui.backend.errors import FleetError
from fleet_tui.backend.providers import MachineState
from fleet_tui.backend.providers.folders import furnish
from fleet_tui.backend.providers.ledger import Disk, Machine
from fleet_tui.backend.providers.rehearsal import FAILURES, Line, Scene, chatter, outage, replayed, start_up
from fleet_tui.backend.telemetry import AgentLine, Command, CommandResult, Hello, PhaseReport, Report

if TYPE_CHECKING:
    from fleet_tui.backend.providers.simulated_agents import SimulatedAgents

VERSION = "1.0.0"
CERTIFICATE_DAYS = 397
CERTIFICATE_FACTS = ("certificate_not_after", "certificate_not_before", "certificate_fingerprint", "certificate_chain")
GIB = 1024**3
OUTAGE_S = (180.0, 1500.0)
"""How long an outage lasts that was there when the daemon began."""
FULL = 0.97
"""A simulated disk is never fuller than this."""
_COMMAND_S: Mapping[str, float] = {
    "shutdown": 1.5, "stop-app": 1.0, "start-app": 1.5, "restart-app": 2.5, "replay-actions": 2.0,
    "freeze": 0.3, "thaw": 0.2,
}


class Actor:
    """Runs in the thread of :class:`SimulatedAgents` only, but for its making."""

    def __init__(self, company: SimulatedAgents, machine: Machine) -> None:
        self._company = company
        self.machine, self.label = machine.id, machine.label
        self._boot, self._token, self.key = machine.boot, machine.boot_token, machine.key
        self._stage, self._base = machine.stage, machine.said
        self._seq: int | None = None
        self._document: Mapping[str, Any] = {}
        self._scenes: tuple[Scene, ...] = ()
        self._script: tuple[tuple[str, Line], ...] = ()
        self._phases: list[PhaseReport] = []
        self._health, self._detail = ("app-down", machine.outage) if machine.outage else ("ok", "") if machine.stage == "ready" else ("", "")
        self._is_down, self._is_frozen = bool(machine.outage), False
        self._obeyed: set[str] = set()

    # --- start-up ------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Where it goes on depends on what the ledger knows of this boot."""
        if self.key and self._stage in ("ready", "failed"):
            if self._stage == "ready":
                self._company.lives(self)
            if self._is_down:
                self._company.play(self, self._company.rng.uniform(*OUTAGE_S), self._recover)
            return
        self._later(0.2, self._say_hello)

    def _say_hello(self) -> None:
        if self._goes_wrong("hello"):
            return
        company = self._company
        welcome = company.agents.hello(Hello(self.machine, self._boot, self._token, self._now(), pid=_pid(self.machine), agent_version=VERSION))
        self.key, self._document = welcome.key, welcome.document
        self._keep(stage="starting")
        if (fault := company.faults.take("agent", self.label, self.machine)) is not None and fault.effect == "kill":
            company.lose(self, MachineState.BROKEN)
            return
        self._rehearse()

    def _rehearse(self) -> None:
        """Learn the scenes, and find where this boot was when the last daemon ended."""
        disk = self._company.disk_of(self)
        self._scenes = start_up(self._document, disk.facts if disk else {}, f"{self.machine}:{self._boot}:{self._base}")
        self._script = tuple((scene.phase, line) for scene in self._scenes for line in scene.lines)
        said = max(0, self._sequence() - self._base)
        self._phases, at = [], 0
        for scene in self._scenes[:-1]:
            said -= len(scene.lines)
            if said < 0:
                break
            self._phases.append(PhaseReport(scene.phase, _ended(scene), self._now(), self._now()))
            at += 1
        self._enter(at)

    def _enter(self, at: int) -> None:
        """A scene begins: everything of the scenes before it is told, and the first half of its own lines."""
        scene = self._scenes[at]
        if scene.phase != "hello" and self._goes_wrong(scene.phase):
            return
        self._phases = [*self._phases[:at], PhaseReport(scene.phase, "running", self._now())]
        self._tell(upto=sum(len(s.lines) for s in self._scenes[:at]) + len(scene.lines) // 2)
        self._later(scene.seconds, lambda: self._leave(at))

    def _leave(self, at: int) -> None:
        scene, begun = self._scenes[at], self._phases[at].started
        self._phases = [*self._phases[:at], PhaseReport(scene.phase, _ended(scene), begun, self._now())]
        if at + 1 < len(self._scenes):
            self._enter(at + 1)
        else:
            self._finish()

    def _finish(self) -> None:
        if (fault := self._company.faults.take("health", self.label, self.machine)) is not None:
            self._health, self._detail = "app-down", fault.error.message if fault.error else "GET /health: 503 Service Unavailable"
        else:
            self._health, self._detail = "ok", ""
        disk = self._leave_on_disk()
        self._tell(upto=len(self._script), facts=self._facts(disk), disk=disk)
        self._stage = "ready"
        self._keep(stage="ready")
        self._company.lives(self)

    def _goes_wrong(self, phase: str) -> bool:
        """Whether a fault ends, holds or delays this phase; it has been acted on then."""
        fault = self._company.faults.take(f"phase:{phase}", self.label, self.machine)
        if fault is None:
            return False
        if fault.effect == "delay":
            again = self._say_hello if phase == "hello" else lambda: self._enter(len(self._phases))
            self._company.play(self, fault.seconds, again)
        elif fault.effect == "kill" or (phase == "hello" and fault.effect != "hang"):
            self._company.lose(self, MachineState.BROKEN if fault.effect == "kill" else MachineState.OFF)
        elif fault.effect == "hang":
            self._phases = [*self._phases, PhaseReport(phase, "running", self._now())]
            if self.key:
                self._tell(upto=self._told())
        else:
            self._fail(phase, fault.error)
        return True

    def _fail(self, phase: str, error: FleetError | None) -> None:
        reason, lines = FAILURES[phase]
        reason = error.message if error is not None else reason
        now = self._now()
        self._phases = [*self._phases, PhaseReport(phase, "failed", now, now, reason)]
        self._tell(upto=sum(len(s.lines) for s in self._scenes[:len(self._phases) - 1]))
        self._report(phase, [*lines, ("error", f"phase {phase} failed: {reason}")], phases=True)
        self._stage = "failed"
        self._leave_on_disk()
        self._keep(stage="failed")

    # --- what it tells -------------------------------------------------------------------------------------------

    def _told(self) -> int:
        return self._sequence() - self._base

    def _tell(self, upto: int, facts: Mapping[str, Any] | None = None, disk: Disk | None = None) -> None:
        """The script's lines up to that one, and how the phases stand."""
        part = self._script[max(0, self._told()):upto]
        self._report("", [line for _, line in part], [phase for phase, _ in part], phases=True, facts=facts, disk=disk)

    def _report(self, phase: str, lines: Sequence[Line] = (), each: Sequence[str] = (), *, phases: bool = False,
                results: Sequence[CommandResult] = (), disk: Disk | None = None, facts: Mapping[str, Any] | None = None) -> None:
        """One report as a real agent sends it; the commands it brings back are obeyed. ``each``: phase of each line."""
        first, now = self._sequence() + 1, self._now()
        numbered = tuple(
            AgentLine(first + n, now, each[n] if each else phase, level, text) for n, (level, text) in enumerate(lines)
        )
        answer = self._company.agents.report(Report(
            self.machine, self._boot, self.key, lines=numbered, phases=tuple(self._phases) if phases else (), health=self._health,
            health_detail=self._detail, disk_used_bytes=disk.used_bytes if disk else None, facts=facts, results=tuple(results),
        ))
        self._seq = first - 1 + len(numbered)
        for command in answer.commands:
            if command.id not in self._obeyed:
                self._obeyed.add(command.id)
                self._later(_COMMAND_S.get(command.verb, 0.5), self._doing(command))

    def _sequence(self) -> int:
        """Number of the newest line the store has of this boot."""
        if self._seq is None:
            self._seq = self._company.agents.report(Report(self.machine, self._boot, self.key)).seq
        return self._seq

    def _now(self) -> float:
        return self._company.clock.now().timestamp()

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        self._company.play(self, seconds * self._company.pace, act)

    def _keep(self, stage: str) -> None:
        """What a later daemon must know to take this agent up."""
        with self._company.lock:
            machine = self._company.ledger.machines.get(self.machine)
            if machine is None or machine.boot != self._boot:
                return
            machine.key, machine.stage, machine.said, machine.outage = self.key, stage, self._base, ""
            self._company.ledger.put(machine)

    def _leave_on_disk(self) -> Disk | None:
        """What the phases that are through leave on the data disk; what is there already stays as it is."""
        done = {phase.name for phase in self._phases if phase.state in ("done", "skipped")}
        with self._company.lock:
            disk = self._company.disk_of(self)
            if disk is None:
                return None
            facts, application = dict(disk.facts), self._document.get("application") or {}
            if "data-disk" in done:
                facts["formatted"] = True
                disk.used_bytes = disk.used_bytes or int(random.Random(disk.id).uniform(0.6, 2.5) * GIB)
            strategy = (self._document.get("certificate") or {}).get("strategy", "none")
            if "certificate" in done and strategy != "none":
                facts |= self._certificate(disk.id, facts)
            if "install-or-upgrade" in done:
                facts["application"], facts["version"] = application.get("name", ""), application.get("version", "")
            disk.facts = facts
            furnish(disk, self._company.ledger.folder_of(disk))
            self._company.ledger.put(disk)
            return disk

    def _renew(self) -> Mapping[str, Any] | None:
        """Another certificate in the place of the one on the disk."""
        with self._company.lock:
            disk = self._company.disk_of(self)
            told = disk.facts.get("certificate_chain") if disk is not None else None
            if disk is None or not told:
                return None
            from fleet_tui.backend.certificates import made_up

            disk.facts = {**disk.facts, **made_up.renewed(told, datetime.fromtimestamp(int(self._now()), timezone.utc))}
            self._company.ledger.put(disk)
            return {**(self._facts(disk) if self._document else {}), **{name: disk.facts[name] for name in CERTIFICATE_FACTS}}

    def _certificate(self, disk: str, kept: Mapping[str, Any]) -> Mapping[str, Any]:
        """The certificate it was given, else the one that is on the disk, else a new one there, made from what names the disk."""
        from fleet_tui.backend.certificates import made_up

        wanted: Mapping[str, Any] = self._document.get("certificate") or {}
        if given := wanted.get("certificate_pem"):
            return made_up.facts_of(str(given))
        if "certificate_fingerprint" in kept:
            return {}
        names = [str(wanted.get("common_name") or disk), *(str(name) for name in wanted.get("sans") or wanted.get("domains") or ())]
        begins = datetime.fromtimestamp(int(self._now()), timezone.utc)
        authority = "Example ACME R11" if wanted.get("strategy") == "letsencrypt" else ""
        return made_up.facts_of(made_up.issue(disk, list(dict.fromkeys(names)), begins, begins + timedelta(days=CERTIFICATE_DAYS), authority).pem)

    def _facts(self, disk: Disk | None) -> dict[str, Any]:
        """What a real agent tells of itself when it is through."""
        kept: Mapping[str, Any] = disk.facts if disk else {}
        addresses = self._document.get("addresses") or {}
        is_tls = (self._document.get("certificate") or {}).get("strategy", "none") != "none"
        port = self._document.get("port") or (self._document.get("application") or {}).get("port")
        return {
            "application": kept.get("application"), "installed_version": kept.get("version"), "port": port,
            "url": f"{'https' if is_tls else 'http'}://{addresses.get('host_name') or addresses.get('private_ip') or 'localhost'}:{port}/",
            **{name: kept.get(name) if is_tls else None for name in CERTIFICATE_FACTS},
        }

    # --- life ----------------------------------------------------------------------------------------------------

    def listen(self) -> None:
        """Ask for commands."""
        self._report("")

    def live(self) -> None:
        """One turn of an application that runs: a few lines, a disk that fills slowly."""
        rng = self._company.rng
        if self._is_down or self._is_frozen:
            self.listen()
            return
        disk = self._company.disk_of(self)
        if disk is not None:
            most = int(disk.size_gb * GIB * FULL)
            grown = disk.used_bytes + int(disk.size_gb * GIB * rng.uniform(0.0, 0.0006))
            if grown < most:
                disk.used_bytes = grown
                self._company.grew(disk)
        self._report("application", chatter(self.label, rng, rng.choice((0, 1, 1, 2, 3))), disk=disk)

    def go_down(self, seconds: float) -> None:
        if self._stage != "ready" or self._is_down:
            return
        self._is_down, self._health, self._detail = True, "app-down", outage(self._company.rng)
        self._report("application", [("warn", "worker stopped answering"), ("error", self._detail)])
        self._company.play(self, seconds, self._recover)

    def _recover(self) -> None:
        if self._is_down:
            self._is_down, self._health, self._detail = False, "ok", ""
            self._keep(stage=self._stage)
            self._report("application", [("info", "restarted by its supervisor"), ("info", "GET /health: 200, the application answers again")])

    # --- commands ------------------------------------------------------------------------------------------------

    def _doing(self, command: Command) -> Callable[[], None]:
        return lambda: self._obey(command)

    def _obey(self, command: Command) -> None:
        fault = self._company.faults.take(f"command:{command.verb}", self.label, self.machine)
        if fault is not None and fault.effect == "delay":
            self._company.play(self, fault.seconds, self._doing(command))
            return
        if fault is not None and fault.effect == "hang":
            return
        if fault is not None and fault.effect == "kill":
            self._company.lose(self, MachineState.BROKEN)
            return
        if fault is not None:
            detail = fault.error.message if fault.error else f"{command.verb}: exit code 1"
            self._report(command.verb, [("error", detail)], results=[CommandResult(command.id, "failed", detail)])
            return
        facts = self._renew() if command.verb == "renew-certificate" else None
        lines = self._carry_out(command)
        self._report(command.verb, lines, results=[CommandResult(command.id, "done")], facts=facts)
        if command.verb == "shutdown":
            self._company.lose(self, MachineState.OFF)
        elif command.verb == "retry-startup":
            self._base, self._stage = self._sequence(), "starting"
            self._keep(stage="starting")
            self._rehearse()

    def _carry_out(self, command: Command) -> Sequence[Line]:
        """The effect on the application, and what is said of it."""
        if command.verb in ("stop-app", "shutdown"):
            self._is_down, self._health, self._detail = True, "app-down", "stopped on request"
            return [("info", "stopping the application"), ("info", "the application has stopped")]
        if command.verb in ("start-app", "restart-app"):
            self._is_down, self._health, self._detail = False, "ok", ""
            before = [("info", "stopping the application"), ("info", "the application has stopped")] if command.verb == "restart-app" else []
            return [*before, ("info", "starting"), ("info", "the application answers again")]
        if command.verb == "renew-certificate":
            return [("info", "the directory issued a new certificate"), ("info", "the application serves with it")]
        if command.verb == "replay-actions":
            return replayed(command.arguments.get("actions", ()), self._company.rng)
        if command.verb in ("freeze", "thaw"):
            self._is_frozen = command.verb == "freeze"
            return [("info", "the application is paused, buffers written" if self._is_frozen else "the application goes on")]
        return []


def _ended(scene: Scene) -> str:
    return "skipped" if scene.skipped else "done"


def _pid(machine: str) -> int:
    return 1000 + int(hashlib.sha256(machine.encode()).hexdigest()[:6], 16) % 30000


def fingerprint(disk: str) -> str:
    """Of the certificate a simulated agent makes on that disk, in the form browsers show."""
    return hashlib.sha256(f"certificate of {disk}".encode()).digest().hex(":").upper()
