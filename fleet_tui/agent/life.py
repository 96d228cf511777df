"""One life of the agent: from its token to the last line, on the main thread."""

from __future__ import annotations

import os
import queue
import signal
import threading
from typing import Any, Callable, List, Mapping

from fleet_tui.agent import AGENT_VERSION, actions, certificate, volume
from fleet_tui.agent.application import PHASE, Application
from fleet_tui.agent.commands import Commands
from fleet_tui.agent.failures import Failure, Fatal
from fleet_tui.agent.health import Watch, probe
from fleet_tui.agent.identity import Identity
from fleet_tui.agent.journal import Journal, notice
from fleet_tui.agent.layout import Layout
from fleet_tui.agent.machine import Machine
from fleet_tui.agent.reporter import Reporter
from fleet_tui.agent.sequence import PHASES, Sequence
from fleet_tui.agent.spool import Spool
from fleet_tui.agent.standing import Standing

_FLUSH_S = 10.0
"""How long the last lines are tried to be sent at the end."""
_FREEZE_S = 120.0


class Life:
    """Puts the parts together and does commands one after the other."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._identity = Identity.load(layout)
        self._spool = Spool(layout.spools / self._identity.boot)
        self._standing = Standing(PHASES, self._wake, self._identity.life)
        self._journal = Journal(self._spool, self._wake)
        self._reporter: Reporter | None = None
        self._machine: Machine | None = None
        self._commands = Commands(layout.commands, self._standing, self._break_off)
        self._ending = threading.Event()
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()

    def run(self) -> None:
        """Live until told to shut down.

        Raises:
            Fatal: the door refused us.
        """
        threading.Thread(target=self._await_signal, daemon=True).start()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, frame: self._signals.put(number))
        self._standing.phase("hello", "running")
        try:
            self._identity.say_hello(self._ending.wait, self._journal.sayer("hello"))
        except Fatal as error:
            self._journal.say("hello", str(error), "error")
            self._spool.close()
            raise
        self._standing.phase("hello", "done")
        self._journal.say("hello", f"agent {AGENT_VERSION} on machine {self._identity.machine}, boot {self._identity.boot[:8]}")
        identity = self._identity
        self._machine = Machine(
            identity.machine, self._layout, identity.document, self._journal, self._standing, identity.data_serial, identity.ask,
        )
        self._application = Application(self._machine)
        self._sequence = Sequence(self._machine, self._application)
        self._watch = Watch(self._machine, self._application, self._identity.disk_use_s)
        self._reporter = Reporter(self._identity, [*self._earlier(), self._spool], self._standing, self._commands.offer)
        self._reporter.start()
        self._watch.start()
        self._work()
        self._finish()

    def _work(self) -> None:
        if self._start_up("data-disk"):
            notice("start-up failed; waiting for commands")
        while not self._ending.is_set():
            command = self._commands.next()
            if command is None:
                return
            if self._do(command) == "shutdown":
                return

    def _start_up(self, first: str) -> str:
        """Run the sequence; what failed, or empty."""
        self._watch.watching = False
        try:
            self._sequence.run(first)
        except Failure as error:
            return str(error)
        self._watch.forget()
        self._watch.watching = True
        return ""

    def _do(self, command: Mapping[str, Any]) -> str:
        verb = str(command.get("verb"))
        body = self._verbs().get(verb)
        assert self._machine is not None
        if not self._ending.is_set() and not self._commands.has_breaking():
            self._machine.go_on()
        if body is None:
            self._commands.finish(command, "failed", f"this agent does not know the command {verb!r}")
            return verb
        self._journal.say(PHASE, f"command {verb}")
        arguments = command.get("arguments")
        try:
            detail, data = body(arguments if isinstance(arguments, dict) else {})
        except Failure as error:
            self._journal.say(PHASE, f"command {verb} failed: {error}", "error")
            self._commands.finish(command, "failed", str(error))
        except (OSError, ValueError) as error:
            self._journal.say(PHASE, f"command {verb} failed: {type(error).__name__}: {error}", "error")
            self._commands.finish(command, "failed", f"{type(error).__name__}: {error}")
        else:
            self._commands.finish(command, "done", detail, data)
        return verb

    def _verbs(self) -> Mapping[str, Callable[[Mapping[str, Any]], tuple[str, Mapping[str, Any] | None]]]:
        return {
            "stop-app": self._stop_app, "start-app": self._start_app, "restart-app": self._restart_app,
            "replay-actions": self._replay_actions, "retry-startup": self._retry_startup, "freeze": self._freeze, "thaw": self._thaw,
            "renew-certificate": self._renew_certificate, "shutdown": self._stop_app, "grow-disk": self._grow_disk,
        }

    def _stop_app(self, arguments: Mapping[str, Any]) -> tuple[str, None]:
        self._watch.forget()
        stopped = self._application.stop()
        self._standing.set_health("", "stopped")
        return "stopped" if stopped else "it did not run", None

    def _start_app(self, arguments: Mapping[str, Any]) -> tuple[str, None]:
        assert self._machine is not None
        if not self._sequence.is_startable():
            raise Failure("the start-up sequence has not got as far as the start; retry the start-up")
        self._watch.forget()
        self._application.start()
        wrong = probe(self._machine)
        self._standing.set_health("app-down" if wrong else "ok", wrong)
        self._watch.watching = True
        return f"listens on port {self._machine.port}", None

    def _restart_app(self, arguments: Mapping[str, Any]) -> tuple[str, None]:
        self._stop_app(arguments)
        return self._start_app(arguments)

    def _replay_actions(self, arguments: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        assert self._machine is not None
        given = arguments.get("actions")
        results = actions.replay(self._machine, given if isinstance(given, list) else None)
        if failed := [result for result in results if result["state"] == "failed"]:
            raise Failure(failed[0]["error"])
        done = sum(result["state"] == "done" for result in results)
        return f"{done} of {len(results)} actions run", {"actions": results}

    def _retry_startup(self, arguments: Mapping[str, Any]) -> tuple[str, None]:
        if wrong := self._start_up(self._sequence.first_unfinished()):
            raise Failure(wrong)
        return "ready", None

    def _renew_certificate(self, arguments: Mapping[str, Any]) -> tuple[str, None]:
        assert self._machine is not None
        certificate.renew(self._machine)
        self._watch.forget()
        return self._application.reload(), None

    def _freeze(self, arguments: Mapping[str, Any]) -> tuple[str, None]:
        limit = float(arguments.get("limit_s") or _FREEZE_S)
        frozen = self._application.freeze(limit)
        if self._machine is not None and self._machine.data_serial:
            os.sync()  # what was written is on the disk that is copied now, not in this machine's memory
        return (f"frozen for at most {limit:.0f} s" if frozen else "it does not run"), None

    def _grow_disk(self, arguments: Mapping[str, Any]) -> tuple[str, None]:
        """The disk has become larger; its file system takes what is new."""
        assert self._machine is not None
        volume.grow(self._machine.disk.folder)
        return "the file system has all of the disk", None

    def _thaw(self, arguments: Mapping[str, Any]) -> tuple[str, None]:
        return ("thawed" if self._application.thaw() else "it was not frozen"), None

    def _finish(self) -> None:
        assert self._machine is not None and self._reporter is not None
        self._machine.go_on()
        try:
            self._stop_app({})
        except Failure as error:
            self._journal.say(PHASE, str(error), "error")
        self._application.close()
        if self._machine.listener is not None:
            self._machine.listener.close()
        self._watch.stop()
        self._journal.say(PHASE, "the agent ends")
        self._reporter.finish(_FLUSH_S)

    def _wake(self) -> None:
        if self._reporter is not None:
            self._reporter.wake()

    def _break_off(self, why: str) -> None:
        if self._machine is not None:
            self._machine.break_off(why)

    def _await_signal(self) -> None:
        """A handler may run in the middle of anything, so it only queues; what follows from it is done here."""
        self._signals.get()
        self._ending.set()
        self._break_off("the machine is shut down")
        self._commands.end()

    def _earlier(self) -> List[Spool]:
        """Lines earlier boots could not send, oldest first. This one sends them, under the numbers they have."""
        folders = [folder for folder in self._layout.spools.iterdir() if folder.is_dir() and folder.name != self._identity.boot]
        return [Spool(folder) for folder in sorted(folders, key=lambda folder: folder.stat().st_mtime)]
