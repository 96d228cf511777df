"""The three standard streams as a command finds them: one may be closed, on a full disk, or left by its reader."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from fleet_tui.backend.errors import InternalError


def open_missing() -> None:
    """Streams that are closed read nothing and write nowhere: Python has none of them at all then."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - it lasts as long as the program


def tell(text: str) -> None:
    """A line on standard error. One that takes nothing more changes neither what is done nor how it ends."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


@contextmanager
def written() -> Iterator[None]:
    """For what writes to standard output.

    Raises:
        InternalError: it takes nothing more, on a full disk for one.
        BrokenPipeError: whoever read it has left.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as problem:
        drop_output()
        raise InternalError(
            f"the output could not be written: {problem.strerror or problem}", hint="what was asked for may have been done: look before asking again"
        ) from problem


def drop_output() -> None:
    """What is left in the buffer goes nowhere: Python would complain once more when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
