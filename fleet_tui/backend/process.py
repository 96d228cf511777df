"""What makes a program a daemon: alone on its state directory, with a log that is kept."""

from __future__ import annotations

import fcntl
import logging
import logging.handlers
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fleet_tui.backend.errors import Busy, InternalError


@contextmanager
def hold(lock: Path) -> Iterator[None]:
    """Be the only daemon of a state directory while the block runs.

    Raises:
        Busy: another one is; names its pid.
        InternalError: the directory cannot be written.
    """
    try:
        lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        raise _unusable(lock, problem) from problem
    try:
        for attempt in range(20):  # whoever only looks holds it shared for a moment
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if attempt == 19:
                    pid = os.pread(descriptor, 20, 0).decode().strip() or "unknown"
                    raise Busy(
                        f"a daemon already holds {lock.parent} (pid {pid})", hint="`fleet daemon status` tells about it", pid=pid
                    ) from None
                time.sleep(0.02)
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as problem:
            raise _unusable(lock, problem) from problem
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def take_descriptors() -> int:
    """Have as many open files as this process may have, not as few as one that uses ``select`` had better have; gives how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 2**20


def _unusable(lock: Path, problem: OSError) -> InternalError:
    return InternalError(f"fleetd cannot start: {lock} cannot be written: {problem.strerror}", hint="free, give or put back what is named there")


def configure_logs(file: Path, level: str, stderr: bool) -> None:
    """Log to a file that turns over by itself, and to standard error too if wanted."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handler = logging.handlers.RotatingFileHandler(file, maxBytes=10 * 1024**2, backupCount=9, encoding="utf-8")
    handlers: list[logging.Handler] = [handler, *([logging.StreamHandler()] if stderr else [])]
    form = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    form.converter = time.gmtime
    for each in handlers:
        each.setFormatter(form)
    logging.basicConfig(level=level.upper(), handlers=handlers, force=True)
    # The SDKs of the cloud and of ACME would tell whole requests at level debug: keys, tokens, what is sealed.
    for noisy in ("acme", "aiohttp.access", "alembic", "asyncio", "boto3", "botocore", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def reopen_logs() -> None:
    """Begin a new file now."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.handlers.RotatingFileHandler):
            handler.doRollover()


@contextmanager
def linked(link: Path, target: Path) -> Iterator[None]:
    """Have ``link`` lead to ``target`` while the block runs, whatever led there before."""
    if link == target:
        yield
        return
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.rename(link)
    try:
        yield
    finally:
        link.unlink(missing_ok=True)
