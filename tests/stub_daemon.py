"""Stands for ``fleetd`` where only its start and end matter: takes the lock, answers on the socket, ends at SIGTERM.

Run as the interpreter of the real one, so it ignores its arguments. ``STUB_DAEMON`` has it behave otherwise: ``die`` ends with a last
word; ``slow`` says what it does, again and again, and answers only when there is a file ``go``, or ends when there is a file ``die``;
``lingering`` answers nobody after SIGTERM but ends only when there is a file ``end``.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import signal
import socket
import sys
from pathlib import Path

from waiting import until  # beside it: it is run as a script


def main() -> int:
    home = Path(os.environ["FLEET_HOME"])
    with (home / "starts").open("a") as starts:
        starts.write(" ".join(sys.argv[1:]) + "\n")
    if os.environ.get("STUB_DAEMON") == "die":
        print("the database is on fire \x1b[31m", file=sys.stderr)
        return 7
    lock = os.open(home / "fleetd.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 7
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    if os.environ.get("STUB_DAEMON") == "slow":
        numbers = itertools.count()

        def told() -> bool:
            print(f"2026-01-01T00:00:00.000Z INFO fleetd: part {next(numbers)}", file=sys.stderr, flush=True)
            return (home / "go").exists() or (home / "die").exists()

        until(told, timeout=60.0)
        if (home / "die").exists():
            return 7
    (home / "run").mkdir(exist_ok=True)
    path = home / "run" / "fleetd.sock"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        signal.sigwait({signal.SIGTERM})
    path.unlink()
    if os.environ.get("STUB_DAEMON") == "lingering":
        until((home / "end").exists, timeout=60.0)
    return 0


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    signal.alarm(60)
    sys.exit(main())
