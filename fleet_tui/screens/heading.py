"""What the header and the banner say: the site, what is wrong, what runs, who one is, and whether the daemon answers."""

from __future__ import annotations

import re
from datetime import datetime

from fleet_tui.backend.api import Summary
from fleet_tui.backend.errors import FleetError
from fleet_tui.backend.identity import SessionRecord
from fleet_tui.columns import span
from fleet_tui.widgets.chrome import Banner, Header
from fleet_tui.widgets.glyphs import Glyphs

_COMMAND = re.compile("`fleet [^`]+`")


def paint_header(header: Header, glyphs: Glyphs, record: SessionRecord | None, summary: Summary | None, linked: bool | None, stale: str) -> None:
    """Most important first: what is wrong, then what runs."""
    left: list[tuple[str, str]] = [(record.site if record else "fleet", "strong")]
    if summary is not None:
        failed = summary.instances.get("failed", 0)
        looks = summary.attention_total - failed
        running, waiting = summary.operations.get("running", 0), summary.operations.get("waiting", 0)
        if failed:
            left.append((f"{glyphs.failed} {failed} failed", "failed"))
        if looks > 0:
            left.append((f"{glyphs.attention} {looks} to look at", "attention"))
        if running:
            left.append((f"{glyphs.moving} {running} running", "moving"))
        if waiting:
            left.append((f"{glyphs.off} {waiting} waiting", "muted"))
        if len(left) == 1:
            left.append((f"{glyphs.well} all well", "muted"))
    who = f"{record.user} {record.role.value}" if record else ""
    link = {True: ("link ok", "muted"), False: ("no link", "failed"), None: ("connecting", "attention")}[linked]
    header.update(
        left, [(who, ""), link], read_only=bool(record and record.read_only), simulated=bool(record and record.simulated), stale=stale
    )


def paint_banner(banner: Banner, error: FleetError | None, lost_at: datetime | None, now: datetime, had_data: bool, refusal: str) -> None:
    """When the daemon does not answer; else why there is nothing on the screen, if there is not."""
    if error is None:
        banner.update(refusal)
    elif had_data and lost_at is not None:
        age = span((now - lost_at).total_seconds())
        command = _COMMAND.search(error.hint)  # what helps stands where a narrow window still has room
        helps = f"{command[0]} · " if command is not None else ""
        banner.update(f"no link since {lost_at:%H:%M:%S} UTC ({age}), shown as of then · {helps}ctrl+r tries now · {error.message}")
    else:
        banner.update(f"{error.message} · {error.hint or 'trying again; ctrl+r tries now'}")
