"""Waiting for the thing itself: the one place in the tests where time passes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(predicate: Callable[[], T], timeout: float = 10.0, what: str = "") -> T:
    """The first true value of ``predicate``, asked again and again. Fails after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what or getattr(predicate, '__name__', 'it')} did not come true within {timeout} s; last: {value!r}")
        time.sleep(0.02)


async def eventually(predicate: Callable[[], T], timeout: float = 30.0, what: str = "", pause_s: float = 0.01) -> T:
    """The same where an event loop must go on meanwhile."""
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what or getattr(predicate, '__name__', 'it')} did not come true within {timeout} s; last: {value!r}")
        await asyncio.sleep(pause_s)


async def calm(is_quiet: Callable[[], bool], times: int, timeout: float = 30.0, what: str = "it did not become quiet", pause_s: float = 0.005) -> None:
    """Until nothing moves, so many looks in a row."""
    still = 0

    def stays() -> bool:
        nonlocal still
        still = still + 1 if is_quiet() else 0
        return still > times

    await eventually(stays, timeout, what, pause_s)
