"""The application: started, stopped, frozen, watched for its end. It lives in a session of its own and outlives the agent."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
import uuid

from fleet_tui.agent import ports, processes
from fleet_tui.agent.failures import Failure, Stopped
from fleet_tui.agent.layout import write_json
from fleet_tui.agent.lines import first_line
from fleet_tui.agent.machine import Machine
from fleet_tui.agent.shell import run, told_status
from fleet_tui.agent.tail import Tail

PHASE = "application"
"""Phase of lines that belong to no part of the start-up sequence."""


class Application:
    """At most one run of the application. Verbs hold :attr:`busy`, so they never overlap."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._phase = PHASE
        self._tail: Tail | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._run = ""
        self._root: dict[int, int] = {}
        self._abandoned = threading.Event()
        self._thaw_at = 0.0
        self.busy = threading.RLock()
        self.wanted = False
        """Whether it should run: it is started again when it ends by itself."""

    @property
    def frozen(self) -> bool:
        return self._thaw_at > 0

    def start(self, phase: str = PHASE) -> None:
        """Start it and wait for its port.

        Raises:
            Failure: the port is taken, the application ended, or it never opened the port.
        """
        with self.busy:
            if self.alive():
                self._machine.journal.say(phase, "the application runs already")
                self.wanted = True
                return
            self._refuse_taken_port()
            self._phase = phase
            try:
                self._launch(phase)
                self._await_port()
                self.wanted = True
            except Failure:
                self._end(5.0)
                raise
            finally:
                self._phase = PHASE
            self._machine.standing.set_facts(url=self._machine.url, port=self._machine.port)
            self._machine.journal.say(phase, f"the application listens on port {self._machine.port}")

    def stop(self, phase: str = PHASE) -> bool:
        """Stop it: with the bundle's stop script, then signals. False when it did not run.

        Raises:
            Failure: something of it does not even end by SIGKILL.
        """
        self.wanted = False
        self._abandoned.set()
        with self.busy:
            self._abandoned.clear()
            self.wanted = False
            if not self.alive():
                return False
            self.thaw()
            grace = self._machine.timeout("stop_s", 120.0)
            deadline = time.monotonic() + grace
            self._machine.journal.say(phase, "stopping the application")
            self._stop_script(phase, grace)
            killed = self._end(max(1.0, deadline - time.monotonic()))
            if killed:
                self._machine.journal.say(phase, f"it did not end within {grace:.0f} s and was killed", "warn")
            self._machine.journal.say(phase, "the application has stopped")
            return True

    def reload(self, phase: str = PHASE) -> str:
        """Have it take up a new certificate: with the bundle's reload script, or by a restart when it has none. Says what was done.

        Raises:
            Failure: the restart failed.
        """
        with self.busy:
            if not self.alive():
                return "it does not run; it takes the new certificate when it starts"
            command = str(self._machine.application.get("reload") or "")
            if command and self._process is not None:
                status = run(
                    command, folder=self._machine.layout.application, environment=self._machine.surroundings(FLEET_PID=str(self._process.pid)),
                    timeout_s=self._machine.timeout("stop_s", 120.0), say=self._machine.sayer(phase), stopped=self._machine.stopped,
                )
                if status == 0:
                    return "the application took up the new certificate"
                self._machine.journal.say(phase, f"the reload script ended with {told_status(status)}; the application is restarted", "warn")
            self.stop(phase)
            self.start(phase)
            return "the application was restarted with the new certificate"

    def alive(self) -> bool:
        """Whether anything of this run lives."""
        if self._process is None:
            return False
        return self._process.poll() is None or bool(self._members())

    def ended(self) -> str:
        """How it ended by itself, with its last lines; empty while it runs."""
        if self._process is None or self._process.poll() is None or self._members():
            return ""
        if self._tail:
            self._tail.drain()
        return self._told_end()

    def freeze(self, limit_s: float) -> bool:
        """Hold every process of it still, for at most so long. False when it does not run."""
        with self.busy:
            members = self._members() if self.alive() else []
            stopped: set[int] = set()
            while {process.pid for process in members} - stopped:  # again until nothing new was forked meanwhile
                for process in members:
                    processes.send(process, signal.SIGSTOP)
                    stopped.add(process.pid)
                members = self._members()
            self._thaw_at = time.monotonic() + limit_s if stopped else 0.0
            return bool(stopped)

    def thaw(self) -> bool:
        with self.busy:
            was, self._thaw_at = self.frozen, 0.0
            for process in self._members() if was else ():
                processes.send(process, signal.SIGCONT)
            return was

    def thaw_if_due(self) -> bool:
        """Thaw when nobody did in time; true when that was needed."""
        return self.frozen and time.monotonic() >= self._thaw_at and self.thaw()

    def close(self) -> None:
        if self._tail is not None:
            self._tail.close()

    def _members(self) -> list[processes.Process]:
        return processes.marked({**self._machine.marks, processes.RUN: self._run}, self._root) if self._run else []

    def _refuse_taken_port(self) -> None:
        taken = ports.listener(self._machine.port)
        if taken is not None:
            raise Failure(
                f"port {self._machine.port} is taken by {taken}; end that process or choose another port with the setup action "
                "application_port, then retry the start-up"
            )

    def _launch(self, phase: str) -> None:
        command, tail = str(self._machine.application["start"]), self._followed()
        self._machine.journal.say(phase, f"starting: {first_line(command)}")
        self._run = uuid.uuid4().hex
        tail.drain()
        tail.forget()
        output = tail.writer()
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", command], cwd=str(self._machine.layout.application), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True, env=self._machine.surroundings(**{processes.RUN: self._run}),
            )
        except (OSError, ValueError) as error:
            raise Failure(f"the application cannot be started: {error}") from error
        finally:
            os.close(output)
        first = processes.find(self._process.pid)
        self._root = {first.pid: first.started} if first else {}
        record = {"pid": self._process.pid, "started": first.started if first else 0, "run": self._run, "port": self._machine.port}
        write_json(self._machine.layout.application_run, record)

    def _followed(self) -> Tail:
        if self._tail is None:
            self._tail = Tail(self._machine.layout.application_log, lambda text: self._machine.journal.say(self._phase, text))
            self._tail.start()
        return self._tail

    def _await_port(self) -> None:
        port, limit = self._machine.port, self._machine.timeout("start_s", 600.0)
        deadline = time.monotonic() + limit
        while not ports.is_open(port):
            if self.ended():
                raise Failure(f"the application ended before it opened port {port}: {self._told_end()}")
            if time.monotonic() >= deadline:
                if self._tail:
                    self._tail.drain()
                raise Failure(f"the application did not open port {port} within {limit:.0f} s{self._quoted()}")
            self._machine.check()
            if self._abandoned.wait(0.05):
                raise Stopped("the start was broken off: the application is to stop")

    def _told_end(self) -> str:
        status = self._process.returncode if self._process else None
        return f"{told_status(status) if status is not None else 'gone'}{self._quoted()}"

    def _quoted(self) -> str:
        last = self._tail.last() if self._tail else ""
        return f"; its last lines: {last}" if last else "; it wrote nothing"

    def _stop_script(self, phase: str, limit_s: float) -> None:
        command = str(self._machine.application.get("stop") or "")
        if not command or self._process is None:
            return
        pid = str(self._process.pid)
        try:
            status = run(
                command, folder=self._machine.layout.application, environment=self._machine.surroundings(FLEET_PID=pid),
                timeout_s=limit_s, say=self._machine.sayer(phase),
            )
        except Failure as error:
            self._machine.journal.say(phase, f"the stop script {error}", "warn")
            return
        if status != 0:
            self._machine.journal.say(phase, f"the stop script ended with {told_status(status)}", "warn")

    def _end(self, grace_s: float) -> bool:
        """Signal what is left of it; true when it had to be killed."""
        killed, left = processes.end(self._members, grace_s)
        if left:
            raise Failure(f"{left[0]} of the application does not end, not even by SIGKILL")
        if self._process is not None:
            self._process.wait()
        if self._tail is not None:
            self._tail.drain()
        self._process, self._run, self._root = None, "", {}
        return bool(killed)
