"""How the machine stands, as reports tell it: phases, health, disk use, facts, results of commands.

Everything is sent when something changed and until a report with it was accepted; nothing is sent twice for nothing.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Callable, Sequence


class Standing:
    """Written by those who know, read by the reporter. Safe to use from several threads.

    Args:
        wake: called after every change.
        life: how often this boot's agent was started; what a later life tells is newer.
    """

    def __init__(self, phases: Sequence[str], wake: Callable[[], None], life: int = 0) -> None:
        self._lock = threading.Lock()
        self._wake = wake
        self._phases: dict[str, dict[str, Any]] = {name: _pending(name) for name in phases}
        self._health = ""
        self._health_detail = ""
        self._disk_used: int | None = None
        self._facts: dict[str, Any] = {}
        self._results: dict[str, dict[str, Any]] = {}
        self._told = life << 32
        self._changes = self._told + 1

    @property
    def health(self) -> str:
        return self._health

    def phase(self, name: str, state: str, error: str = "") -> None:
        """A phase moved to ``pending``, ``running``, ``done``, ``failed`` or ``skipped``."""
        with self._lock:
            row = _pending(name) if state in ("pending", "running") else dict(self._phases[name])
            row.update(state=state, error=error)
            if state == "running":
                row["started"] = time.time()
            elif state != "pending":
                row["ended"] = time.time()
            self._phases[name] = row
        self._changed()

    def state_of(self, name: str) -> str:
        return str(self._phases[name]["state"])

    def set_health(self, health: str, detail: str = "") -> bool:
        """Whether that is news."""
        with self._lock:
            news = (health, detail) != (self._health, self._health_detail)
            self._health, self._health_detail = health, detail
        if news:
            self._changed()
        return news

    def set_disk_used(self, size: int) -> None:
        if size != self._disk_used:
            self._disk_used = size
            self._changed()

    def set_facts(self, **facts: Any) -> None:
        with self._lock:
            self._facts.update(facts)
        self._changed()

    def add_result(self, result: dict[str, Any]) -> None:
        with self._lock:
            self._results[result["id"]] = result
        self._changed()

    def has_news(self) -> bool:
        return self._changes > self._told or bool(self._results)

    def take(self, everything: bool = False) -> tuple[dict[str, Any], int]:
        """Fields of the next report, and a mark to give to :meth:`told` once it was accepted."""
        with self._lock:
            fields: dict[str, Any] = {
                "health": self._health, "health_detail": self._health_detail, "results": list(self._results.values()),
                "standing": self._changes,
            }
            if everything or self._changes > self._told:
                fields["phases"] = [row for row in self._phases.values() if row["state"] != "pending"]
                fields["facts"] = dict(self._facts) or None
                fields["disk_used_bytes"] = self._disk_used
            return fields, self._changes

    def told(self, mark: int, fields: dict[str, Any]) -> None:
        with self._lock:
            self._told = max(self._told, mark)
            for result in fields["results"]:
                if self._results.get(result["id"]) == result:
                    del self._results[result["id"]]

    def _changed(self) -> None:
        with self._lock:
            self._changes += 1
        self._wake()


def _pending(name: str) -> dict[str, Any]:
    return {"name": name, "state": "pending", "started": None, "ended": None, "error": ""}
