"""Stands for ``fleetd`` where only its start and end matter: takes the lock, answers on the socket, ends at SIGTERM.

Run as the interpreter of the real one, so it ignores its arguments. ``STUB_DAEMON=die`` ends with a last word instead.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sys
from pathlib import Path


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
    (home / "run").mkdir(exist_ok=True)
    path = home / "run" / "fleetd.sock"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        signal.sigwait({signal.SIGTERM})
    return 0


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    signal.alarm(60)
    sys.exit(main())
