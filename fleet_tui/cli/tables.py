"""Columns of the kinds that only the command line lists; the others share those of the console."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from fleet_tui.columns import COLUMNS, ColumnSpec, size


def _column(title: str, text: Callable[[Any], str], *, right: bool = False) -> ColumnSpec:
    return ColumnSpec(title.lower(), title, len(title), lambda record, _now: text(record), right=right)


def _when(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}" if time else "-"


OPERATIONS = (
    next(column for column in COLUMNS["operations"] if column.name == "id"),
    *(column for column in COLUMNS["operations"] if column.name != "id"),
)
"""The id first: every other verb of ``fleet op`` wants it."""

TEMPLATES = (
    _column("LABEL", lambda r: r.label),
    _column("APPLICATION", lambda r: r.application),
    _column("ACTIONS", lambda r: str(len(r.setup_actions)), right=True),
    _column("INSTANCES", lambda r: str(r.instances), right=True),
    _column("VERSION", lambda r: str(r.version), right=True),
)
NETWORKS = (
    _column("LABEL", lambda r: r.label),
    _column("PROVIDER", lambda r: r.provider),
    _column("HTTPS", lambda r: r.https_strategy),
    _column("INSTANCES", lambda r: str(r.instances), right=True),
)
IMAGES = (
    _column("NAME", lambda r: f"{r.name} {r.version}"),
    _column("SIZE", lambda r: size(r.size_bytes), right=True),
    _column("SHA256", lambda r: r.sha256[:16]),
    _column("REGISTERED", lambda r: _when(r.created_at)),
)
SNAPSHOTS = (
    _column("ID", lambda r: r.id),
    _column("MADE", lambda r: _when(r.created_at)),
    _column("SIZE", lambda r: size(r.size_bytes), right=True),
    _column("BY", lambda r: "schedule" if r.automatic else "request"),
    _column("REASON", lambda r: r.reason),
)
USERS = (
    _column("NAME", lambda r: r.name),
    _column("ROLE", lambda r: r.role.value),
    _column("UID", lambda r: "-" if r.uid is None else str(r.uid), right=True),
    _column("STATE", lambda r: r.state),
    _column("DISPLAY NAME", lambda r: r.display_name),
)
SCHEDULES = (
    _column("NAME", lambda r: r.name),
    _column("KIND", lambda r: r.kind),
    _column("OBJECT", lambda r: r.target_ref),
    _column("EVERY", lambda r: f"{r.every_s} s", right=True),
    _column("NEXT", lambda r: _when(r.next_at) if r.enabled else "off"),
    _column("LAST", lambda r: r.last_operation or "-"),
)
AUDIT = (
    _column("SEQ", lambda r: str(r.seq), right=True),
    _column("TIME", lambda r: _when(r.time)),
    _column("USER", lambda r: r.user),
    _column("ROLE", lambda r: r.role),
    _column("ACTION", lambda r: r.action),
    _column("OBJECT", lambda r: r.object),
    _column("DECISION", lambda r: f"of {r.completes}" if r.completes else r.decision),
    _column("RESULT", lambda r: r.result),
)
EVENTS = tuple(column for column in COLUMNS["events"] if column.name in ("time", "text", "user", "ref"))
