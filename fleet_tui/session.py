"""The single door from the interface to the backend, and how the daemon behind it is found."""

from __future__ import annotations

import dataclasses
import os
import stat
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fleet_tui.backend.api import embedded
from fleet_tui.backend.api.client import Client
from fleet_tui.backend.api.sockets import answers
from fleet_tui.backend.directories import SYSTEM_SOCKET, Directories, find
from fleet_tui.backend.errors import Unreachable, UsageError, WrongState
from fleet_tui.backend.events import EventBatch, EventsAfter
from fleet_tui.backend.identity import MakeReadOnly, SessionRecord
from fleet_tui.backend.telemetry import LineBatch, ReadLines

if TYPE_CHECKING:
    from fleet_tui.backend.api.relay import Relay

AHEAD_S = 3.0
"""How long an answer that was fetched ahead is good for. What changed since is told by events, as for every other answer."""


class Session(Protocol):
    """What a screen or a command may ask of the daemon. Every verb blocks and may be called from any thread.

    All raise :class:`FleetError` kinds: the daemon's refusals, :class:`Unreachable` when it is away, :class:`TimedOut`.
    """

    @property
    def record(self) -> SessionRecord:
        """Who we are here, what we may do, and which site it is. Opens the session at its first use."""
        ...

    @property
    def read_only(self) -> bool: ...

    def fetch(self, request: Any) -> Any:
        """The reply of a method that reads."""
        ...

    def submit(self, request: Any) -> Any:
        """The reply of a method that changes something. A request without an id gets one, so that it is never done twice."""
        ...

    def events_after(self, cursor: int, wait_s: float = 0.0) -> EventBatch:
        """Events after ``cursor``, waiting up to ``wait_s`` seconds for the first one."""
        ...

    def follow(self, request: ReadLines | EventsAfter) -> Iterator[LineBatch | EventBatch]:
        """Batches as they come, until the iterator is closed or the daemon goes away."""
        ...

    def console(self, target: str) -> Relay:
        """A VM's serial console, bytes both ways; close it when done. A read-only session is refused."""
        ...

    def make_read_only(self) -> SessionRecord:
        """Give up the right to change anything. There is no way back within this session."""
        ...

    def close(self) -> None: ...


class Wanted(Protocol):
    """What of the settings says which daemon is meant."""

    @property
    def directories(self) -> Directories: ...
    @property
    def site(self) -> str: ...
    @property
    def read_only(self) -> bool: ...
    @property
    def start_daemon(self) -> bool: ...
    @property
    def isolated(self) -> bool: ...


class SocketSession:
    """A session with the daemon behind a Unix socket."""

    def __init__(self, path: Path, *, read_only: bool = False, with_session: bool = True, client: str = "fleet") -> None:
        self._client = Client(path, read_only=read_only, with_session=with_session, client=client)
        self._ahead: tuple[Any, Any, float] | None = None

    @property
    def record(self) -> SessionRecord:
        return self._client.record

    @property
    def read_only(self) -> bool:
        return self._client.read_only

    def fetch(self, request: Any) -> Any:
        ahead = self._ahead
        if ahead is not None:
            asked, reply, until = ahead
            if time.monotonic() > until:
                self._ahead = None
            elif asked == request:
                self._ahead = None
                return reply
        return self._client.call(request)

    def fetch_ahead(self, request: Any) -> None:
        """Ask now what will be asked first: the first ``fetch`` of just that has the answer at once, if it comes within `AHEAD_S`."""
        self._ahead = (request, self._client.call(request), time.monotonic() + AHEAD_S)

    def submit(self, request: Any) -> Any:
        if getattr(request, "request_id", None) == "":
            request = dataclasses.replace(request, request_id=new_request_id())
        return self._client.call(request)

    def events_after(self, cursor: int, wait_s: float = 0.0) -> EventBatch:
        batch: EventBatch = self._client.call(EventsAfter(cursor=cursor, wait_s=wait_s))
        return batch

    def follow(self, request: ReadLines | EventsAfter) -> Iterator[LineBatch | EventBatch]:
        return self._client.stream("lines.follow" if isinstance(request, ReadLines) else "events.follow", request)

    def console(self, target: str) -> Relay:
        return self._client.console(target)

    def make_read_only(self) -> SessionRecord:
        record: SessionRecord = self._client.call(MakeReadOnly())
        return record

    def close(self) -> None:
        self._client.close()


def new_request_id() -> str:
    """An id for a request that becomes an operation: sending it again finds the same operation."""
    return f"r-{uuid.uuid4().hex}"


def connect(
    settings: Wanted, *, with_session: bool = True, arguments: Sequence[str] = (), say: Callable[[str], None] | None = None
) -> SocketSession:
    """A session with the daemon that :func:`ensure` found or started."""
    return SocketSession(ensure(settings, arguments=arguments, say=say), read_only=settings.read_only, with_session=with_session)


def ensure(settings: Wanted, *, arguments: Sequence[str] = (), say: Callable[[str], None] | None = None) -> Path:
    """The socket of the daemon to use: ``--site``, the machine's own, the user's own, else one that is started now.

    Args:
        arguments: for a daemon that must be started.
        say: told once when a daemon was started; stderr by default.
    """
    if settings.site:
        return _named(settings.site)
    if not settings.isolated and answers(SYSTEM_SOCKET):
        return SYSTEM_SOCKET
    socket = embedded.door(settings.directories)
    if answers(socket):
        return socket
    if not settings.start_daemon:
        raise Unreachable(f"no fleetd answers at {socket}", hint="`fleet daemon start` starts one", path=str(socket))
    pid = embedded.start(settings.directories, arguments, say=say or _say)
    if pid is not None:
        (say or _say)(f"started fleetd (pid {pid}), state in {settings.directories.state}")
    return embedded.door(settings.directories)


def own(settings: Wanted) -> Directories:
    """The directories of the daemon that a person may start, stop and read the log of: those of the home that ``--site`` names, else this user's own.

    Raises:
        UsageError: ``--site`` names no home directory.
        WrongState: every command goes to the machine's own daemon, which is a service.
    """
    if settings.site:
        home = _place(settings.site)
        if not isinstance(home, Directories):
            raise UsageError(f"{settings.site!r} is no home directory of a site", hint="a daemon is known by its home, not by its socket")
        return home
    if not settings.isolated and answers(SYSTEM_SOCKET):
        raise WrongState(
            f"commands go to this machine's own fleetd at {SYSTEM_SOCKET}, which is a service",
            hint="`systemctl start|stop fleetd` and `journalctl -u fleetd` are for that one; another is meant by --site and its home directory",
        )
    return settings.directories


def _place(site: str) -> Directories | Path:
    """What a person named: the home directory of a site, or else a socket."""
    if "://" in site:
        raise UsageError(f"{site!r}: only sites on this machine can be reached", hint="name a socket, or the home directory of a site")
    try:
        path = Path(site).expanduser().absolute()
    except RuntimeError as problem:
        raise UsageError(f"{site!r}: {problem}") from problem
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except OSError:
        is_folder = False
    return find({**os.environ, "FLEET_HOME": str(path)}) if is_folder else path


def _named(site: str) -> Path:
    """The socket a person named: itself, or the home directory of a site."""
    place = _place(site)
    socket = embedded.door(place) if isinstance(place, Directories) else place
    if not answers(socket):
        raise Unreachable(f"no fleetd answers at {socket}", hint="is the name of the site right, and its daemon running?", path=str(socket))
    return socket


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
