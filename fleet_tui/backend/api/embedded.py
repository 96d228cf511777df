"""The user's own daemon: is there one, start it, stop it. Standard library only, because the console does this."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import fleet_tui
from fleet_tui.backend.api.sockets import answers
from fleet_tui.backend.directories import Directories
from fleet_tui.backend.errors import FleetError, InternalError, TimedOut
from fleet_tui.backend.text import clean

START_S = 15.0
STOP_S = 45.0
"""A daemon lets running steps reach a checkpoint (30 s) before it ends."""
_LOOK_S = 0.05


def holder(directories: Directories) -> int | None:
    """The pid of the daemon that holds this state directory; ``None`` when none does, 0 when it has not said its pid yet."""
    try:
        descriptor = os.open(directories.lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        word = os.read(descriptor, 32).split()
        return int(word[0]) if word and word[0].isdigit() else 0
    else:
        return None
    finally:
        os.close(descriptor)


def start(
    directories: Directories,
    arguments: Sequence[str] = (),
    *,
    environ: Mapping[str, str] | None = None,
    socket: Path | None = None,
    timeout_s: float = START_S,
    before: Callable[[], None] | None = None,
) -> int | None:
    """Start ``fleetd`` in the background and wait until it answers.

    Safe when two consoles do it at once: the daemon's own lock decides, the other one's daemon gives up, and both end up
    with the same one.

    Args:
        before: run in the new process before the program; for what must be bound to its life.

    Returns: the pid of the daemon started here, ``None`` when somebody else's came first.
    Raises: :class:`InternalError` with its last words when it died, :class:`TimedOut` when it does not answer.
    """
    place = socket or directories.socket
    directories.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    with directories.daemon_log.open("ab") as output:
        os.fchmod(output.fileno(), 0o600)
        begun = output.seek(0, os.SEEK_END)
        process = subprocess.Popen(
            [sys.executable, "-m", "fleet_tui.backend.daemon", *arguments],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, preexec_fn=before,
            cwd=Path(fleet_tui.__file__).parent.parent, env=None if environ is None else dict(environ),
        )
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        ended = process.poll()
        if answers(place) and (owner := holder(directories)) != 0:
            if owner == process.pid:
                return owner
            _give_up(process)
            return None
        if ended is not None and holder(directories) is None:
            raise _died(directories, begun, ended)
        time.sleep(_LOOK_S)
    raise TimedOut(
        f"fleetd (pid {process.pid}) was started but does not answer at {place} after {timeout_s:.0f} s",
        hint=f"its log is {directories.daemon_log}", log=last_words(directories, begun),
    )


def _give_up(process: subprocess.Popen[bytes]) -> None:
    """End the daemon we began when somebody else's answers: left alone, it would take over the moment that one is stopped."""
    process.terminate()
    try:
        process.wait(5.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def stop(directories: Directories, timeout_s: float = STOP_S) -> int | None:
    """End the daemon of this state directory and wait until it is gone. Returns its pid, ``None`` when there was none."""
    pid = holder(directories)
    if not pid:
        return None
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return None
    except PermissionError as problem:
        raise InternalError(f"fleetd (pid {pid}) belongs to another user and cannot be stopped by this one") from problem
    deadline = time.monotonic() + timeout_s
    while holder(directories) == pid:
        if time.monotonic() > deadline:
            raise TimedOut(f"fleetd (pid {pid}) is still there after {timeout_s:.0f} s", hint=f"its log is {directories.daemon_log}")
        time.sleep(_LOOK_S)
    return pid


def last_words(directories: Directories, since: int = 0, most: int = 8) -> tuple[str, ...]:
    """The last lines of the daemon's log, from a position on."""
    try:
        with directories.daemon_log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(since, end - 16_384))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ()
    return tuple(clean(line, 300) for line in lines[-most:])


def _died(directories: Directories, begun: int, status: int) -> FleetError:
    words = list(last_words(directories, begun))
    return InternalError(f"fleetd ended with status {status} before it answered", hint=f"its log is {directories.daemon_log}", log=words)
