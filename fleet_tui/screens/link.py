"""The link to the daemon: one thread that opens a session, hears what changed, and comes back when it was cut.

Events name what changed and never carry it. They are folded here, to at most four batches a second, before the
screens hear of them; a lost link is said once, then tried again after 1, 2, 4 ... 30 seconds for as long as it takes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from fleet_tui.backend.errors import FleetError
from fleet_tui.backend.events import Event
from fleet_tui.backend.identity import SessionRecord

if TYPE_CHECKING:
    from fleet_tui.session import Session

WAIT_S = 20.0
"""How long one question for events may be held open by the daemon."""
FOLD_S = 0.25
BACK_OFF_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)


@dataclass(frozen=True, slots=True)
class FleetChanged:
    """What changed since the last one: refs of objects, refs of streams that have new lines, and whether a sentence was said."""

    refs: frozenset[str]
    lines: frozenset[str] = frozenset()
    audible: bool = False

    @classmethod
    def of(cls, missed: Sequence[FleetChanged]) -> FleetChanged:
        """Several as one."""
        return cls(frozenset().union(*(m.refs for m in missed)), frozenset().union(*(m.lines for m in missed)), any(m.audible for m in missed))


class Listener(Protocol):
    """Who hears of the link. Called from the link's thread."""

    def link_up(self, session: Session, record: SessionRecord) -> None: ...

    def link_lost(self, error: FleetError, next_try_s: float) -> None: ...

    def fleet_changed(self, changed: FleetChanged) -> None: ...


class Link(threading.Thread):
    """Keeps ``listener`` told. ``connect`` makes a session and blocks; it may start the daemon."""

    def __init__(self, connect: Callable[[], Session], listener: Listener) -> None:
        super().__init__(name="link", daemon=True)
        self._connect = connect
        self._listener = listener
        self._ended = threading.Event()
        self._poked = threading.Event()

    def end(self) -> None:
        """Stop listening; the thread ends by itself when its present question is answered."""
        self._ended.set()
        self._poked.set()

    def try_now(self) -> None:
        """Somebody asked: do not wait for the back-off."""
        self._poked.set()

    def run(self) -> None:
        failures = 0
        session: Session | None = None
        while not self._ended.is_set():
            try:
                session = self._connect()
                record = session.record
                cursor = record.cursor or session.events_after(-1, 0.0).cursor
                if self._ended.is_set():
                    return
                self._listener.link_up(session, record)
                failures = 0
                self._listen(session, cursor)
                return
            except FleetError as error:
                if session is not None:
                    session.close()
                    session = None
                pause = BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)]
                failures += 1
                if self._ended.is_set():
                    return
                self._listener.link_lost(error, pause)
                self._poked.clear()
                self._poked.wait(pause)

    def _listen(self, session: Session, cursor: int) -> None:
        while not self._ended.is_set():
            batch = session.events_after(cursor, WAIT_S)
            cursor = batch.cursor
            if batch.events and not self._ended.is_set():
                self._listener.fleet_changed(_fold(batch.events))
                self._ended.wait(FOLD_S)


def _fold(events: tuple[Event, ...]) -> FleetChanged:
    refs: set[str] = set()
    lines: set[str] = set()
    audible = False
    for event in events:
        (lines if event.type.startswith("lines.") else refs).add(event.ref)
        audible = audible or bool(event.text)
    return FleetChanged(frozenset(refs), frozenset(lines), audible)
