"""A ``fleetd`` that can be killed and comes back: the real program, kept running by a small one that has it imported already.

    doomed_daemon.py CONTROL [fleetd's flags]

Each life is a fork that calls the daemon's own ``main``; after ``kill -9`` the next one begins at once, as systemd would do it
but without the seconds that imports take. SIGUSR1 kills the present life; a file ``hold`` in the directory CONTROL keeps the
next one from beginning; SIGTERM ends life and program in order. Where a file ``doom`` above CONTROL says what is under way, a
life kills itself the first time that each checkpoint of the engine is reached, and notes ``what point`` in ``deaths`` beside it;
after the first word, ``doom`` may name the only points where that is to happen. Where a file ``frost`` names a point, the first life
that reaches it stops itself (SIGSTOP) and leaves its process id in ``frozen`` instead, until somebody continues it.
``FLEET_TEST_PORTS=first-last`` are the ports its instances get, so that sites side by side do not fight over them.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from dbos._dbos import _get_or_create_dbos_registry

from fleet_tui.backend import daemon
from fleet_tui.backend.instances import document
from tests.waiting import until

_PR_SET_PDEATHSIG = 1


class Program:
    """Begins lives one after the other."""

    def __init__(self, control: Path, arguments: list[str]) -> None:
        self._control, self._arguments = control, arguments
        self._life = 0
        self._ending = False

    def run(self) -> int:
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGUSR1, self._kill)
        while True:
            until(lambda: self._ending or not (self._control / "hold").exists(), timeout=3600.0)
            if self._ending:
                return 0
            signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGUSR1))
            self._life = os.fork()
            if self._life == 0:
                live(self._control, self._arguments)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGUSR1))
            _, status = os.waitpid(self._life, 0)
            self._life = 0
            if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
                return os.waitstatus_to_exitcode(status)

    def _end(self, number: int, frame: object) -> None:
        self._ending = True
        if self._life:
            os.kill(self._life, signal.SIGTERM)

    def _kill(self, number: int, frame: object) -> None:
        if self._life:
            os.kill(self._life, signal.SIGKILL)


def live(control: Path, arguments: list[str]) -> NoReturn:
    die_with_parent()
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGUSR1))
    status = 1
    try:
        status = daemon.main(arguments, checkpoint(control))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def checkpoint(control: Path) -> Callable[[str], None]:
    """Ends this process the first time that it, or another daemon of the site, reaches each point in what is doomed now."""
    doom, deaths = control.parent / "doom", control.parent / "deaths"

    def reached(point: str) -> None:
        freeze(control.parent, point)
        try:
            what, *only = doom.read_text().split()
        except FileNotFoundError:
            return
        if only and point not in only:
            return
        death = f"{what} {point}\n"
        with deaths.open("a+") as known:
            fcntl.flock(known, fcntl.LOCK_EX)
            known.seek(0)
            if death in known:
                return
            known.write(death)
            known.flush()
            os.kill(os.getpid(), signal.SIGKILL)

    return reached


def freeze(folder: Path, point: str) -> None:
    frost, frozen = folder / "frost", folder / "frozen"
    try:
        if frost.read_text() != point:
            return
        frost.rename(mine := folder / f"frost-{os.getpid()}")  # of two that reach it one is frozen
    except FileNotFoundError:
        return
    mine.write_text(str(os.getpid()))
    mine.rename(frozen)
    os.kill(os.getpid(), signal.SIGSTOP)


def hurry() -> None:
    """Have the durable engine look ten times a second, not once, for what a kill cut short: kills come by the hundred here."""
    _get_or_create_dbos_registry().get_internal_queue()._polling_interval_sec = 0.1


def die_with_parent() -> None:
    """A killed test session leaves no daemon."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    die_with_parent()
    hurry()
    if os.environ.get("FLEET_TEST_CLOUD"):
        import fleet_tui.backend.providers.aws  # noqa: F401  # what every life of a site with a cloud account would load
    if ports := os.environ.get("FLEET_TEST_PORTS"):
        first, _, last = ports.partition("-")
        document.FIRST_PORT, document.LAST_PORT = int(first), int(last)
    sys.exit(Program(Path(sys.argv[1]), sys.argv[2:]).run())
