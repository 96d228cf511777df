"""The console, its panes, and the demonstration. The only commands that load a screen."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import os
import select
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fleet_tui import session as sessions
from fleet_tui.backend import directories
from fleet_tui.backend.api import Summarize, embedded
from fleet_tui.backend.errors import FleetError, UsageError
from fleet_tui.backend.instances import ListInstances
from fleet_tui.backend.operations import ListOperations
from fleet_tui.cli.context import Context
from fleet_tui.session import Session
from fleet_tui.settings import Settings

FIRST: Mapping[str, Any] = {
    "dashboard": Summarize(rows=50, lines=100), "instances": ListInstances(limit=500), "operations": ListOperations(limit=500),
}  # fmt: skip
"""What each screen asks first. Were it another question, the answer would only be of no use."""
SETTLED_S = 3.0
"""From when on garbage is collected; by then the first picture stands."""
_OF: Mapping[str, str] = {"maintenance": "HOST", "vlans": "NETWORK"}
"""Panes that are nothing without a name -> of what."""
_SET_DEATH_SIGNAL = 1


def open_console(context: Context) -> int:
    _refuse_dry_run(context)
    return _run(context.settings, None)


def open_pane(context: Context) -> int:
    """One panel, read-only by the daemon's word."""
    given = context.given
    if given.target and given.pane not in ("logs", *_OF):
        raise UsageError(f"a pane of {given.pane} takes no name")
    if not given.target and given.pane in _OF:
        raise UsageError(f"{given.pane} of which {_OF[given.pane].lower()}?", hint=f"fleet pane {given.pane} {_OF[given.pane]}")
    pane = (given.pane, given.target) if given.target else (given.pane,)
    return _run(dataclasses.replace(context.settings, read_only=True), pane)


def demo(context: Context) -> int:
    """A simulated site of its own that leaves nothing behind."""
    given = context.given
    _refuse_dry_run(context)
    _need_terminal()
    home = Path(tempfile.mkdtemp(prefix="fleet-demo-"))
    environ = {**os.environ, "FLEET_HOME": str(home)}
    places = directories.find(environ)
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, lambda number, _frame: sys.exit(128 + number))
    try:
        context.say(f"preparing a simulated fleet of {given.instances} instances on {given.hosts} hosts")
        flags = ("--simulate", "--instances", str(given.instances), "--hosts", str(given.hosts), "--seed", str(given.seed))
        embedded.start(places, flags, environ=environ, timeout_s=120.0, before=_die_with_parent)
        return _run(dataclasses.replace(context.settings, directories=places, site="", isolated=True, start_daemon=False), None)
    finally:
        embedded.stop(places)
        shutil.rmtree(home, ignore_errors=True)


def _run(settings: Settings, pane: tuple[str, ...] | None) -> int:
    """Find or start the daemon while there is still a plain terminal to say so on; then draw."""
    _need_terminal()
    sessions.ensure(settings)
    early = _Early(dataclasses.replace(settings, start_daemon=False), first=FIRST.get(pane[0] if pane else "dashboard"))
    from fleet_tui.app import run

    end_with_terminal()
    settled = threading.Timer(SETTLED_S, _settled)
    settled.daemon = True
    settled.start()
    return run(settings, early.connect, pane)


class _Early:
    """The console's first session, opened while the screens are still being loaded, and the answer to what its screen asks ``first``."""

    def __init__(self, settings: Settings, *, first: Any) -> None:
        self._settings = settings
        self._first = first
        self._session: Session | None = None
        self._given: Session | None = None
        self._thread = threading.Thread(target=self._open, name="early-session", daemon=True)
        self._thread.start()

    def connect(self) -> Session:
        """A new session each time; the first time the one that was opened early, if that went well.

        Who has made one read-only gets only such from then on: there is no way back by losing the link.
        """
        self._thread.join()
        session, self._session = self._session, None
        if self._given is not None and self._given.read_only:
            self._settings = dataclasses.replace(self._settings, read_only=True)
        self._given = session or sessions.connect(self._settings)
        return self._given

    def _open(self) -> None:
        with contextlib.suppress(FleetError):  # the console tries again by itself, and says what is wrong
            session = sessions.connect(self._settings)
            _ = session.record
            self._session = session
            if self._first is not None:
                session.fetch_ahead(self._first)


def end_with_terminal() -> None:
    """Have this process end when its terminal is gone.

    The kernel tells only the leader of the terminal's session. Under ``make``, ``sudo`` or a wrapper that is somebody else, and the toolkit
    would read the end of its input for ever.
    """

    def wait() -> None:
        gone = select.poll()
        gone.register(sys.stdin.fileno(), 0)  # nothing but the hang-up itself
        gone.poll()
        if callable(signal.getsignal(signal.SIGHUP)):
            os.kill(os.getpid(), signal.SIGHUP)  # a demonstration has things to put away
        else:
            os._exit(128 + signal.SIGHUP)

    threading.Thread(target=wait, name="terminal", daemon=True).start()


def _settled() -> None:
    """What was loaded stays to the end: keep the collector from walking it again and again, and let it begin, but seldom between key and picture."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    gc.enable()


def _refuse_dry_run(context: Context) -> None:
    if context.flag("dry_run", False):
        raise UsageError("the console has no dry run", hint="--read-only opens one that can change nothing")


def _need_terminal() -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("the console needs a terminal", hint="`fleet --help` lists the commands for scripts")


def _die_with_parent() -> None:
    """Runs in the new daemon: it gets SIGTERM when this process is killed, so that a demonstration never outlives its console."""
    import ctypes

    ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGTERM)
