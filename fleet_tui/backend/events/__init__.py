"""What changed, in order. An event names what changed and never carries the change itself."""

from __future__ import annotations

from datetime import datetime

from fleet_tui.backend.records import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of the feed. Readers keep the last ``seq`` they saw and ask for what came after."""

    seq: int
    """Grows without bound in commit order; a reader never sees a smaller one later."""
    time: datetime
    level: str
    """``info``, ``warn`` or ``error``."""
    type: str
    """Dotted and past tense: ``operation.finished``, ``lines.stored``, ``instance.changed``."""
    ref: str
    """What changed, ``kind:id`` (``instance:i-4f2a``, ``operation:o-91bc``)."""
    operation_id: str | None
    user: str | None
    text: str
    """A sentence for the events screen; empty for events that only wake readers."""


@dataclass(frozen=True, slots=True)
class EventBatch:
    """What a reader gets: events after its cursor, and the cursor to ask with next."""

    events: tuple[Event, ...]
    cursor: int


@dataclass(frozen=True, slots=True)
class EventsAfter:
    """Events after a cursor. Waits up to ``wait_s`` seconds for the first one.

    ``cursor=-1`` asks only for the present cursor (an empty batch), to start from now.
    """

    cursor: int = -1
    limit: int = 500
    wait_s: float = 0.0
    audible: bool = False
    """Only events with a sentence, for the events screen."""


@dataclass(frozen=True, slots=True)
class ListEvents:
    """The newest events that have a sentence, newest first, for the events screen."""

    limit: int = 200
    before: int | None = None
    ref: str | None = None
