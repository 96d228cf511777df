"""Throw-away sites: a daemon in a home of its own, ended and removed afterwards with everything that it started."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import psutil

from bench.probe import Probe
from bench.processes import Usage
from fleet_tui.backend.api.client import Client
from fleet_tui.backend.api.sockets import answers

FLEET = (sys.executable, "-m", "fleet_tui")
ROOT = Path(__file__).parents[1]
MANY = 10_000
SIZE = (160, 48)
"""The terminal that consoles are measured in."""

T = TypeVar("T")


class Site:
    """A running daemon."""

    def __init__(self, home: Path, process: subprocess.Popen[bytes]) -> None:
        self.home = home
        self.environ = {"FLEET_HOME": str(home)}
        self.client = Client(home / "run" / "fleetd.sock", client="bench")
        self.usage = Usage(process.pid)

    def console(self, *arguments: str, size: tuple[int, int] = SIZE) -> Probe:
        """``fleet`` with these arguments in a pseudo-terminal, on this site."""
        return Probe([*FLEET, *arguments, "--no-start"], size=size, environ=self.environ)


@contextlib.contextmanager
def running(*flags: str, patience: float = 20.0) -> Iterator[Site]:
    """A daemon with these flags."""
    home = Path(tempfile.mkdtemp(prefix="fleet-bench-"))
    environ = {k: v for k, v in os.environ.items() if not k.startswith("FLEET")} | {"FLEET_HOME": str(home)}
    with (home / "output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "fleet_tui.backend.daemon", *flags], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True, env=environ, cwd=ROOT,
        )
    try:
        socket = home / "run" / "fleetd.sock"
        until(lambda: answers(socket) or process.poll() is not None, patience, "fleetd answers")
        if process.poll() is not None:
            raise RuntimeError(f"fleetd ended with {process.returncode}: {(home / 'output').read_text()[-300:]}")
        yield Site(home, process)
    finally:
        _end(process, home)
        shutil.rmtree(home, ignore_errors=True)


def _end(process: subprocess.Popen[bytes], home: Path) -> None:
    """End the daemon, then whatever of its instances still lives: they outlive it by design, and are known by its home."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=35)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for other in psutil.process_iter(["pid", "cmdline", "cwd"]):
        words = [*(other.info["cmdline"] or ()), other.info["cwd"] or ""]
        if other.pid != os.getpid() and any(str(home) in word for word in words):
            with contextlib.suppress(psutil.Error):
                other.kill()


def until(predicate: Callable[[], T], timeout: float, what: str) -> T:
    """The first true value of ``predicate``.

    Raises:
        TimeoutError: there was none in time.
    """
    end = time.monotonic() + timeout
    while not (value := predicate()):
        if time.monotonic() > end:
            raise TimeoutError(f"not within {timeout:.0f} s: {what}")
        time.sleep(0.02)
    return value


class Bench:
    """What figures share. Made when first needed, ended with the bench."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @cached_property
    def many(self) -> Site:
        """A simulated site of 10,000 instances that lives: agents report, disks fill, now and then something is done."""
        return self._stack.enter_context(running("--simulate", "--instances", str(MANY), patience=90.0))
