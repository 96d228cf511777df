"""Asking the application whether it is well, and starting it again when it ended by itself."""

from __future__ import annotations

import http.client
import ssl
import threading
import time

from fleet_tui.agent import ports, volume
from fleet_tui.agent.application import PHASE, Application
from fleet_tui.agent.disk import use_of
from fleet_tui.agent.failures import Failure
from fleet_tui.agent.machine import Machine

_ANSWER_S = 5.0
_LONGEST_PAUSE_S = 60.0
_STABLE_S = 60.0
"""An application that lived so long is started again without delay."""


def probe(machine: Machine) -> str:
    """What is wrong with the application's answer on loopback; empty when it is well."""
    path = str(machine.application.get("health") or "")
    if not path:
        return "" if ports.is_open(machine.port) else f"port {machine.port} is closed"
    asked = f"GET {path} on port {machine.port}"
    if machine.certificate:
        # Loopback to a process we started: the certificate proves nothing here that the port does not. So no authorities are loaded, which
        # would take longer than all the rest.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection: http.client.HTTPConnection = http.client.HTTPSConnection("127.0.0.1", machine.port, timeout=_ANSWER_S, context=context)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", machine.port, timeout=_ANSWER_S)
    try:
        connection.request("GET", path, headers={"User-Agent": "fleet-agent"})
        answer = connection.getresponse()
        answer.read(64 * 1024)
    except (OSError, http.client.HTTPException) as error:
        return f"{asked}: {error or type(error).__name__}"
    finally:
        connection.close()
    return "" if 200 <= answer.status < 400 else f"{asked}: HTTP status {answer.status}"


def await_health(machine: Machine, application: Application) -> None:
    """Phase ``ready``: the first health check that passes ends the start-up.

    Raises:
        Failure: the application ended, or no check passed in time.
    """
    limit = machine.timeout("health_s", 120.0)
    deadline = time.monotonic() + limit
    while True:
        wrong = probe(machine)
        if not wrong:
            break
        machine.standing.set_health("app-down", wrong)
        if end := application.ended():
            raise Failure(f"the application ended: {end}")
        if time.monotonic() >= deadline:
            raise Failure(f"the health check did not pass within {limit:.0f} s: {wrong}")
        machine.pause(min(0.25, limit / 10))
    machine.standing.set_health("ok")


class Watch:
    """Two threads while the agent lives: one for health, crashes and forgotten freezes, one for the disk's use."""

    def __init__(self, machine: Machine, application: Application, disk_use_s: float) -> None:
        self._machine = machine
        self._application = application
        self._disk_use_s = disk_use_s
        self._interval = max(0.1, float(machine.document.get("health_interval_s") or 5.0))
        self._ending = threading.Event()
        self._started = time.monotonic()
        self._pause = 0.0
        self._again_at = 0.0
        self._check_at = 0.0
        self.watching = False
        """Set once the start-up sequence is through."""

    def start(self) -> None:
        for body in (self._watch, self._measure):
            threading.Thread(target=body, daemon=True).start()

    def stop(self) -> None:
        self._ending.set()

    def forget(self) -> None:
        """The application was started or stopped on purpose: no restart is due."""
        self._again_at, self._pause, self._started = 0.0, 0.0, time.monotonic()

    def _measure(self) -> None:
        while not self._ending.wait(self._disk_use_s):
            if self._machine.disk.signature.exists():
                self._grow()
                self._machine.standing.set_disk_used(use_of(self._machine.disk.folder))

    def _grow(self) -> None:
        """A disk that was made larger meanwhile is used whole."""
        try:
            volume.grow(self._machine.disk.folder)
        except (Failure, OSError) as error:
            self._say(f"the data disk became larger, its file system did not: {error}", "warn")

    def _watch(self) -> None:
        while not self._ending.wait(min(0.5, self._interval)):
            if self._application.thaw_if_due():
                self._say("nobody thawed the application in time; it was thawed", "warn")
            if not (self.watching and self._application.wanted) or not self._application.busy.acquire(blocking=False):
                continue
            try:
                # Looked at again inside the lock: a stop may have come between.
                if self._application.wanted and not self._application.frozen:
                    self._look()
            finally:
                self._application.busy.release()

    def _look(self) -> None:
        now = time.monotonic()
        if self._again_at:
            if now >= self._again_at:
                self._start_again()
        elif end := self._application.ended():
            self._plan(f"the application ended by itself: {end}")
        elif now >= self._check_at:
            self._check_at = now + self._interval
            self._check()

    def _check(self) -> None:
        wrong = probe(self._machine)
        if self._machine.standing.set_health("app-down" if wrong else "ok", wrong):
            self._say(f"health check failed: {wrong}" if wrong else "health check passed", "error" if wrong else "info")

    def _plan(self, what: str) -> None:
        """Say what happened and when it is started again: at once the first time, then later and later."""
        now = time.monotonic()
        if now - self._started > _STABLE_S:
            self._pause = 0.0
        self._again_at = now + self._pause
        self._machine.standing.set_health("app-down", what)
        self._say(f"{what}; starting it again in {self._pause:.0f} s", "error")
        self._pause = min(_LONGEST_PAUSE_S, max(1.0, self._pause * 2))

    def _start_again(self) -> None:
        self._again_at, self._started = 0.0, time.monotonic()
        try:
            self._application.start()
        except Failure as error:
            self._plan(str(error))

    def _say(self, text: str, level: str) -> None:
        self._machine.journal.say(PHASE, text, level)
