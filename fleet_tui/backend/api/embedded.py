"""The user's own daemon: is there one, start it, stop it. Standard library only, because the console does this."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import fleet_tui
from fleet_tui.backend.api.sockets import answers
from fleet_tui.backend.directories import Directories
from fleet_tui.backend.errors import FleetError, InternalError, PermissionDenied, TimedOut, Unreachable
from fleet_tui.backend.text import clean

START_S = 15.0
"""A daemon that starts is given up after so long without a sign that it gets on."""
LONGEST_START_S = 900.0
"""And after so long whatever it does."""
_QUIET_S = 4.0
"""Waiting for less than that is not worth a word."""
STOP_S = 45.0
"""A daemon lets running steps reach a checkpoint (30 s) before it ends."""
_LOOK_S = 0.05


def holder(directories: Directories) -> int | None:
    """The pid of the daemon that holds this state directory; ``None`` when none does, 0 when it has not said its pid yet."""
    try:
        descriptor = os.open(directories.lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise _barred(directories.lock, problem) from problem
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        word = os.read(descriptor, 32).split()
        return int(word[0]) if word and word[0].isdigit() else 0
    else:
        return None
    finally:
        os.close(descriptor)


def door(directories: Directories) -> Path:
    """The socket of this state directory's daemon: where one of this session has it, else where the one that runs does."""
    return directories.socket if answers(directories.socket) or not answers(directories.door) else directories.door


def start(
    directories: Directories,
    arguments: Sequence[str] = (),
    *,
    environ: Mapping[str, str] | None = None,
    socket: Path | None = None,
    timeout_s: float = START_S,
    before: Callable[[], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> int | None:
    """Start ``fleetd`` in the background and wait until it answers, as long as it gets on: it may have a large fleet to make up.

    Safe when many consoles do it at once: one of them starts it, the others wait for the same one. The daemon's own lock decides
    when somebody starts it by hand meanwhile: ours gives up.

    Args:
        timeout_s: longest time without a sign of progress: a word in its log, or work done.
        before: run in the new process before the program; for what must be bound to its life.
        say: told what it is waited for, when that takes a while.

    Returns: the pid of the daemon started here, ``None`` when somebody else's came first.
    Raises: :class:`InternalError` with its last words when it died, :class:`TimedOut` when it does not answer.
    """
    try:
        directories.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        turn = os.open(directories.logs / ".starting", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        raise _barred(directories.logs, problem) from problem
    begun = _size(directories.daemon_log)
    patience = _Patience(directories, begun, say)
    process: subprocess.Popen[bytes] | None = None
    try:
        while True:
            owner, place = holder(directories), socket or door(directories)
            if answers(place) and owner != 0:
                if process is not None and owner == process.pid:
                    return owner
                if process is not None:
                    _give_up(process)
                return None
            if process is None and owner is None and _is_ours(turn):
                process = _launch(directories, arguments, environ, before)
            elif process is not None and (ended := process.poll()) is not None and owner is None:
                raise _died(directories, begun, ended)
            # Somebody else's may be ending: then ours is started when it is gone.
            if not patience.lasts(owner or (process.pid if process else 0), timeout_s if process else max(timeout_s, STOP_S)):
                break
            time.sleep(_LOOK_S)
    finally:
        os.close(turn)
    whose = process.pid if process else holder(directories)
    raise TimedOut(
        f"fleetd (pid {whose}) {'was started' if process else 'runs'} but does not answer at {place} after {patience.waited:.0f} s",
        hint=f"its log is {directories.daemon_log}, `fleet daemon stop` ends it", log=last_words(directories, begun),
    )


def _barred(place: Path, problem: OSError) -> FleetError:
    """Why nothing can be done with a state directory."""
    where = Path(problem.filename) if problem.filename else place
    kind = PermissionDenied if isinstance(problem, PermissionError) else Unreachable
    return kind(
        f"{where} cannot be used: {problem.strerror or problem}",
        hint="the state directory must be this user's own and on a disk that can be written; FLEET_HOME names another one, --site another daemon",
    )


def _is_ours(turn: int) -> bool:
    """Whether it is this process that starts the daemon: one does, so that twenty consoles do not load twenty of them."""
    try:
        fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _launch(
    directories: Directories, arguments: Sequence[str], environ: Mapping[str, str] | None, before: Callable[[], None] | None
) -> subprocess.Popen[bytes]:
    with directories.daemon_log.open("ab") as output:
        os.fchmod(output.fileno(), 0o600)
        return subprocess.Popen(
            [sys.executable, "-m", "fleet_tui.backend.daemon", *arguments],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, preexec_fn=before,
            cwd=Path(fleet_tui.__file__).parent.parent, env=None if environ is None else dict(environ),
        )


class _Patience:
    """Lasts as long as a daemon that starts is seen to get on: it writes to its log, or has the processor."""

    def __init__(self, directories: Directories, begun: int, say: Callable[[str], None] | None) -> None:
        self._directories, self._begun, self._say = directories, begun, say
        self._start = self._since = time.monotonic()
        self._written, self._pid, self._worked = begun, 0, 0.0
        self._said = ""

    @property
    def waited(self) -> float:
        return time.monotonic() - self._start

    def lasts(self, pid: int, timeout_s: float) -> bool:
        """Whether the daemon with this pid showed a sign of life in the last ``timeout_s`` seconds."""
        now = time.monotonic()
        if self._gets_on(pid, 0.1 * timeout_s):
            self._since = now
        if self._say is not None and self.waited > _QUIET_S and (word := self._doing()) != self._said:
            self._said = word
            self._say(f"waiting for fleetd: {word}")
        return now - self._since < timeout_s and self.waited < LONGEST_START_S

    def _gets_on(self, pid: int, work_s: float) -> bool:
        """Less work than a tenth of the time is what a daemon burns that waits in vain."""
        written, worked = _size(self._directories.daemon_log), _processor_s(pid)
        moved = written != self._written or pid != self._pid or worked - self._worked > work_s
        if moved:
            self._written, self._pid, self._worked = written, pid, worked
        return moved

    def _doing(self) -> str:
        last = next(iter(last_words(self._directories, self._begun, most=1)), "")
        return re.sub(r"^\S+Z [A-Z]+ [\w.]+: ", "", last) or "it starts"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _processor_s(pid: int) -> float:
    """Processor time that a process has had, in seconds; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
        raise PermissionDenied(f"fleetd (pid {pid}) belongs to another user and cannot be stopped by this one") from problem
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
