"""What can go wrong on a machine, in words for the administrator."""

from __future__ import annotations


class Failure(Exception):
    """A phase, an action or a command failed; the text says what, why and what to do next."""


class Stopped(Failure):
    """Work was broken off because something else was asked for."""


class Fatal(Exception):
    """The agent cannot go on; it says so and ends."""


class DoorUnreachable(Exception):
    """Nobody answers at the door, or the answer is not one; worth another try."""


class DoorRefused(Exception):
    """The door answered no.

    Args:
        code: code of the error, such as ``auth_failed``.
        message: what it said.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
