"""Running a command of an action or a bundle, with its output followed line by line."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import IO, Callable, Mapping

from fleet_tui.agent.failures import Failure, Stopped
from fleet_tui.agent.lines import LineSplitter

_CHUNK = 64 * 1024


def run(
    command: str, *, folder: Path, environment: Mapping[str, str], timeout_s: float, say: Callable[[str], None],
    stopped: Callable[[], str] = lambda: "",
) -> int:
    """Run a shell command in a session of its own; what it starts in the background may live on.

    Args:
        say: takes each line of its output as it comes.
        stopped: why the command is to be broken off; empty while it is not.

    Returns:
        Its exit status.

    Raises:
        Failure: it cannot be started or did not end within ``timeout_s``.
        Stopped: broken off.
    """
    try:
        process = subprocess.Popen(
            ["/bin/sh", "-c", command], cwd=str(folder), env=dict(environment), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise Failure(f"cannot be started: {error}") from error
    assert process.stdout is not None
    reader = threading.Thread(target=_follow, args=(process.stdout, say), daemon=True)
    reader.start()
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            status = process.wait(0.1)
            break
        except subprocess.TimeoutExpired:
            why = stopped()
            if not why and time.monotonic() < deadline:
                continue
        _end(process)
        reader.join(2.0)
        if why:
            raise Stopped(f"broken off: {why}")
        raise Failure(f"did not end within {timeout_s:.0f} s and was stopped")
    # A background child may keep the pipe open; what was written before the end is there long before this.
    reader.join(1.0)
    return status


def _follow(pipe: IO[bytes], say: Callable[[str], None]) -> None:
    splitter = LineSplitter(say)
    with pipe:
        while True:
            data = os.read(pipe.fileno(), _CHUNK)
            if not data:
                break
            splitter.feed(data)
    splitter.close()


def _end(process: subprocess.Popen[bytes], grace_s: float = 5.0) -> None:
    """Stop the command and its group. The leader is reaped last: until then the group's number cannot be another's."""
    os.killpg(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline and not os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def told_status(status: int) -> str:
    """An exit status in words."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"
