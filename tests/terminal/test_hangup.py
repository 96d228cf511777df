"""A console whose terminal is gone ends, whoever leads the terminal's session."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

PROGRAM = "import threading; from fleet_tui.cli.console import end_with_terminal; end_with_terminal(); print('up', flush=True); threading.Event().wait(60)"


def test_it_ends_with_its_terminal_though_nobody_tells_it() -> None:
    ours, theirs = pty.openpty()
    # No session of its own and no controlling terminal: the kernel has no reason to send it a SIGHUP.
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=theirs, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    os.close(theirs)
    try:
        assert process.stdout is not None and process.stdout.readline() == b"up\n"
        assert process.poll() is None
        os.close(ours)
        assert process.wait(timeout=30) == 129
    finally:
        process.kill()
        process.wait()
