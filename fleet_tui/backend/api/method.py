"""A row of the method table."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import field
from functools import cache
from typing import Any

from fleet_tui.backend.identity import Permission
from fleet_tui.backend.records import dataclass


@dataclass(frozen=True, slots=True)
class Method:
    """One method: what it takes and gives, who may call it, and whether it only reads.

    Records are named as ``slice.Record`` or ``slice.part.Record`` (``hosts.HostRecord``; ``hosts.HostRecord*`` for a tuple of them),
    and their face is loaded when one is first looked at: a console that never shows VLANs does not load them.
    """

    name: str
    takes: str
    gives: str
    permission: Permission
    read: bool
    stream: bool = False
    danger: str = "safe"
    """``safe``, ``changes``, ``disruptive`` or ``destructive``."""
    also: Mapping[str, Permission] = field(default_factory=dict)
    """Permissions needed besides when the field of that name is set: ``{"allow_stop": Permission.HOSTS_FORCE}``."""
    own: str = ""
    """Field that names a VM whose owners may do this without the permission (VM-4); empty where ownership adds nothing."""

    @property
    def request(self) -> type:
        kind: type = _record(self.takes)
        return kind

    @property
    def reply(self) -> Any:
        """Record type, or ``tuple[Record, ...]``."""
        return _record(self.gives)


@cache
def _record(name: str) -> Any:
    slice_name, _, record = name.removesuffix("*").rpartition(".")
    kind = getattr(importlib.import_module(f"fleet_tui.backend.{slice_name}"), record)
    return tuple[kind, ...] if name.endswith("*") else kind  # type: ignore[valid-type]


def named(kind: type) -> str:
    """The name by which the table knows a record."""
    return f"{kind.__module__.removeprefix('fleet_tui.backend.')}.{kind.__name__}"
