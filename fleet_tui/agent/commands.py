"""Commands from the door: each id is done once, and its result is told again as often as it is asked for."""

from __future__ import annotations

import contextlib
import queue
import threading
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

from fleet_tui.agent.layout import read_json, write_json
from fleet_tui.agent.standing import Standing

_KEPT = 500
"""Results remembered."""

BREAKING = frozenset({"stop-app", "shutdown", "retry-startup"})
"""Verbs that do not wait for a start-up sequence or replay to end."""


class Commands:
    """The queue between the reporter, which receives, and the main thread, which does.

    Args:
        path: where results are remembered.
        break_off: called with why, when a command does not wait for what runs.
    """

    def __init__(self, path: Path, standing: Standing, break_off: Callable[[str], None]) -> None:
        self._path = path
        self._standing = standing
        self._break_off = break_off
        self._lock = threading.Lock()
        self._results: dict[str, dict[str, Any]] = dict(read_json(path))
        self._known: set[str] = set()
        self._breaking: set[str] = set()
        self._queue: queue.SimpleQueue[Mapping[str, Any] | None] = queue.SimpleQueue()

    def offer(self, commands: Sequence[Any]) -> bool:
        """Take what a reply brought; true when something of it was new."""
        new = False
        for command in commands:
            if not isinstance(command, dict) or not command.get("id"):
                continue
            name = str(command["id"])
            with self._lock:
                result = self._results.get(name)
                fresh = result is None and name not in self._known
                self._known.add(name)
            if result is not None:
                self._standing.add_result(result)
            elif fresh:
                new = True
                if command.get("verb") in BREAKING:
                    self._breaking.add(name)
                    self._break_off(f"{command['verb']} was asked for")
                self._queue.put(command)
        return new

    def next(self) -> Mapping[str, Any] | None:
        """The next command; ``None`` when the agent is to end. Waits."""
        command = self._queue.get()
        if command is not None:
            self._breaking.discard(str(command["id"]))
        return command

    def has_breaking(self) -> bool:
        """Whether one is queued that does not wait for what runs."""
        return bool(self._breaking)

    def end(self) -> None:
        """Make :meth:`next` give ``None``."""
        self._queue.put(None)

    def finish(self, command: Mapping[str, Any], state: str, detail: str = "", data: Mapping[str, Any] | None = None) -> None:
        """Remember and tell a result."""
        result: dict[str, Any] = {"id": str(command["id"]), "state": state, "detail": detail, "data": data}
        with self._lock:
            self._results[result["id"]] = result
            for old in list(self._results)[:-_KEPT]:
                del self._results[old]
            with contextlib.suppress(OSError):  # on a full disk it is told all the same, and known until this agent ends
                write_json(self._path, self._results)
        self._standing.add_result(result)
