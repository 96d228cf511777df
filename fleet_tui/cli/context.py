"""What a command has at hand: its flags, the settings, the session, and where it prints."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from fleet_tui import session as sessions
from fleet_tui import settings as preferences
from fleet_tui.backend.errors import TimedOut, Unreachable
from fleet_tui.backend.text import clean
from fleet_tui.cli.streams import tell
from fleet_tui.session import Session
from fleet_tui.settings import Settings

if TYPE_CHECKING:
    from fleet_tui.cli.printing import Printer

AWAY_S = 120.0
"""How long who follows something waits for a daemon that went away."""
_LOOK_S = 0.25
_FLAGS = ("site", "read_only", "theme", "ascii")


class Foretold(Exception):
    """A dry run has said what would be done; nothing is left to do."""


class Context:
    """One run of ``fleet``. The session is opened at its first use; a command that needs none starts no daemon."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.farewell = ""
        """Added to the last word when a person interrupts: what goes on without us."""
        self._session: Session | None = None
        self._reached = False
        """Whether a daemon has answered what we follow."""

    def flag(self, name: str, otherwise: Any = None) -> Any:
        """A flag's value; common flags are absent when not given."""
        return getattr(self.given, name, otherwise)

    @cached_property
    def settings(self) -> Settings:
        flags = {name: value for name in _FLAGS if (value := self.flag(name)) is not None}
        return dataclasses.replace(preferences.load(flags=flags), start_daemon=not self.flag("no_start", False))

    @property
    def session(self) -> Session:
        """For one-shot calls: each stands alone, a read-only one says so every time."""
        if self._session is None:
            self._session = sessions.connect(self.settings, with_session=False)
        return self._session

    def follow(self, request: Any, until: float | None = None) -> Any:
        """The reply of a read, for who follows something: a daemon that goes away meanwhile is waited for, as it is usually started again.

        Args:
            until: monotonic time after which not to wait any more.

        Raises:
            Unreachable: nobody came back within ``AWAY_S``, or there was nobody from the beginning.
        """
        limit = time.monotonic() + AWAY_S
        told = False
        while True:
            try:
                found = self.session.fetch(request)
            except (Unreachable, TimedOut) as problem:
                now = time.monotonic()
                if not self._reached or now > limit or (until is not None and now > until):
                    raise
                if not told:
                    self.say(f"fleet: {problem.message}; waiting for it to come back")
                told = True
                time.sleep(_LOOK_S)
                continue
            if told:
                self.say("fleet: fleetd is back")
            self._reached = True
            return found

    @cached_property
    def out(self) -> Printer:
        from fleet_tui.cli.printing import Printer

        form = self.flag("output") or ("table" if sys.stdout.isatty() else "json")
        return Printer(form, ascii_only=self.settings.ascii)

    @property
    def wants_json(self) -> bool:
        """Whether JSON was asked for by name: then errors are JSON too."""
        return bool(self.flag("output") == "json")

    @property
    def narrates(self) -> bool:
        """Whether a person watches and wants to see what happens meanwhile."""
        return sys.stderr.isatty() and not self.wants_json

    @property
    def can_ask(self) -> bool:
        return sys.stdin.isatty() and sys.stderr.isatty()

    def say(self, text: str) -> None:
        """A word to a person."""
        tell(clean(text))

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
