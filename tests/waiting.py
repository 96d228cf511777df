"""Waiting for the thing itself: the one place in the tests where time passes."""

from __future__ import annotations

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
