"""Lines, samples and the agents that send them.

A **stream** is a named log (``instance:i-4f2a``). Its lines are numbered from 1 without gaps, stored before
they are shown, and readable from any number by any number of readers. ``operation_id`` says which
operation a line belongs to; an operation's log is its target's stream, filtered.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fleet_tui.backend.records import dataclass


@dataclass(frozen=True, slots=True)
class LogLine:
    """One stored line. ``text`` has been cleaned and masked already."""

    seq: int
    """Number within the stream, from 1."""
    time: datetime
    source: str
    """``worker``, ``instance-agent``, ``host-agent`` or ``server-agent``."""
    phase: str
    """Agent phase or operation step the line belongs to."""
    level: str
    """``debug``, ``info``, ``warn`` or ``error``."""
    text: str
    stream: str = ""
    label: str = ""
    """What a person calls the stream's object; filled when lines of several streams are read together."""
    id: int = 0
    """Number across all streams, for readers of everything."""
    operation_id: str | None = None


@dataclass(frozen=True, slots=True)
class LineBatch:
    """Lines after a reader's number. ``dropped`` counts lines that retention removed in between."""

    lines: tuple[LogLine, ...]
    cursor: int
    """Ask with this next."""
    behind: int = 0
    """Lines stored after the last one here: how far this reader is from the tail."""
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class ReadLines:
    """Lines of a stream, of an operation, or of everything.

    Exactly one of ``target`` (label or ref of an object), ``operation`` (id) or neither (all streams; then
    numbers are ``LogLine.id``). ``after`` is exclusive; ``tail`` > 0 ignores it and gives the last so many.
    ``before`` > 0 reads backwards, for scrolling up: the ``limit`` lines just before it.
    """

    target: str = ""
    operation: str = ""
    after: int = 0
    tail: int = 0
    before: int = 0
    limit: int = 1000
    wait_s: float = 0.0
    since_s: float = 0.0
    """Only lines of the last so many seconds; 0 for all."""
    level: str = ""
    """Lowest level wanted."""


# What agents say. An agent is known by its token, not by the user it runs as.


@dataclass(frozen=True, slots=True)
class Hello:
    """First word of an agent's boot. The token works once; the same boot may repeat it after a crash."""

    machine: str
    """Identity of the machine it runs on, as the provider named it."""
    boot: str
    """Made by the agent at its start."""
    token: str
    clock: float
    """Unix time over there."""
    pid: int
    agent_version: str


@dataclass(frozen=True, slots=True)
class Welcome:
    """What the agent is to do. ``key`` authenticates everything it says afterwards."""

    key: str
    document: Mapping[str, Any]
    heartbeat_s: float
    disk_use_s: float


@dataclass(frozen=True, slots=True)
class Fetch:
    """Bytes that a machine far away needs before its agent can say hello; its token is not used up by that."""

    machine: str
    token: str
    part: str
    """``agent``: its archive; ``bundle``: the application's."""
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Fetched:
    """A piece of what was asked for; ask again behind it until ``size`` is reached."""

    content: str
    """Base64."""
    size: int
    """Bytes of the whole."""
    sha256: str
    """Of the whole."""


@dataclass(frozen=True, slots=True)
class AgentLine:
    seq: int
    """Number within the boot, from 1."""
    time: float
    phase: str
    level: str
    text: str


@dataclass(frozen=True, slots=True)
class PhaseReport:
    """Where the start-up sequence stands."""

    name: str
    state: str
    """``running``, ``done``, ``failed`` or ``skipped``."""
    started: float | None = None
    ended: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class CommandResult:
    id: str
    state: str
    """``done`` or ``failed``."""
    detail: str = ""
    data: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """A batch from an agent: lines it has not had acknowledged, and how it stands."""

    machine: str
    boot: str
    key: str
    lines: tuple[AgentLine, ...] = ()
    lines_of: str = ""
    """Earlier boot of this machine whose lines these are, because it ended before they were acknowledged; empty for this one."""
    dropped: int = 0
    """Lines the agent had to drop since its last report, because its spool was full."""
    standing: int = 0
    """Grows with every change of phases, health, disk use and facts: an older one that comes late changes nothing."""
    phases: tuple[PhaseReport, ...] = ()
    health: str = ""
    """``ok``, ``app-down`` or empty while not known."""
    health_detail: str = ""
    disk_used_bytes: int | None = None
    facts: Mapping[str, Any] | None = None
    """Installed version, certificate not-after and fingerprint, served URL."""
    results: tuple[CommandResult, ...] = ()
    wait_s: float = 0.0
    """Hold the reply up to so long while there is no command for the agent."""


@dataclass(frozen=True, slots=True)
class Command:
    """Something an agent is told to do. The id makes it repeatable: an agent does each id once."""

    id: str
    verb: str
    """``stop-app``, ``start-app``, ``restart-app``, ``replay-actions``, ``retry-startup``, ``freeze``, ``thaw``, ``grow-disk``,
    ``shutdown``."""
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Lines up to ``seq`` of the boot they are of are stored; commands the agent has not answered yet."""

    seq: int
    commands: tuple[Command, ...] = ()
