"""A row of the table of actions, and the usual ways to make one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fleet_tui.backend.api import METHODS

Reason = Callable[[Any], str]
Request = Callable[[Any, str], Any]


def free(_row: Any) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing a person can do.

    ``request`` makes the record that is sent, from the row and a request id; an action without one is carried out by the screen
    itself (a view, or a form that makes the request). ``reason`` says why not now, from the row's state alone.
    """

    id: str
    title: str
    scope: str
    keys: tuple[str, ...] = ()
    kind: str = "view"
    """``go`` to a screen, ``view`` what is here, ``verb`` that changes the fleet."""
    method: str = ""
    request: Request | None = None
    tooltip: str = ""
    undo_text: str = ""
    reason: Reason = free
    words: tuple[str, ...] = ()
    """What it is called on the ``:`` line, the first first."""
    aims: str = ""
    """Kind of record it works on, a key of :data:`AIMED_AT`; empty for none."""
    bulk: bool = False
    also: tuple[str, ...] = ()
    """Ids of the actions this key stands for; the one allowed now is done (``S`` stops or starts)."""

    needs: str = ""
    """Field of the request that asks for more rights than the method does: ``force``."""

    @property
    def danger(self) -> str:
        return METHODS[self.method].danger if self.method else "safe"

    @property
    def permission(self) -> str:
        return METHODS[self.method].permission.value if self.method else ""

    @property
    def mutates(self) -> bool:
        return bool(self.method) and not METHODS[self.method].read


AIMED_AT = {
    "instance": "InstanceRecord", "operation": "OperationRecord", "host": "HostRecord", "vm": "VmRecord", "branch": "Branch",
    "evacuee": "Evacuee", "session": "MaintenanceRecord", "physnet": "PhysicalNetworkRecord", "vlan": "Spot",
    "template": "TemplateRecord", "setup": "Drafted", "vnet": "VirtualNetworkRecord",
    "cloud": "CloudRecord", "certificate": "BoardEntry", "cloud_image": "CloudImageRecord", "orphan": "Orphan",
    "snapshot": "SnapshotRecord",
}  # fmt: skip
"""What an action works on -> name of the record. By name, so that a console loads only the records that it shows."""


def go(name: str, title: str, key: str, *words: str, reads: str = "") -> Action:
    """``reads``: the method without whose permission the screen is hidden."""
    return Action(f"go.{name}", title, "global", (key,), "go", reads, tooltip=f"go to {title}", words=(name, *words))


def view(
    id_: str, title: str, keys: str, tooltip: str, *, words: tuple[str, ...] = (), aims: str = "", scope: str = "", reason: Reason = free
) -> Action:
    return Action(id_, title, scope or id_.partition(".")[0], tuple(keys.split()), "view", tooltip=tooltip, words=words, aims=aims, reason=reason)


def verb(
    id_: str, title: str, keys: str, method: str, tooltip: str, reason: Reason = free, *, aims: str = "", undo: str = "",
    words: tuple[str, ...] = (), bulk: bool = False, scope: str = "", asks: bool = False, needs: str = "", **fields: Any,
) -> Action:  # fmt: skip
    """A verb. Its request is that of its method, aimed at the row, with ``fields``; with ``asks`` the screen makes it from a form."""

    def request(row: Any, request_id: str) -> Any:
        return METHODS[method].request(target=row.id, request_id=request_id, **fields)

    return Action(
        id_, title, scope or id_.partition(".")[0], tuple(keys.split()), "verb", method, None if asks else request, tooltip, undo,
        reason, words, aims, bulk, needs=needs,
    )  # fmt: skip
