"""Room of each zone on the dashboard: used, reserved, free, and whether the loss of a host would be survived."""

from __future__ import annotations

from collections.abc import Sequence

from fleet_tui.backend.api import ZoneRoom
from fleet_tui.columns import percent
from fleet_tui.widgets.charts import Capacity, capacity_line, status_of_fraction
from fleet_tui.widgets.glyphs import Glyphs
from fleet_tui.widgets.paint import Span, width_of

Line = list[Span]
LABEL, NOTE = 14, 8
WORST = {"failed": 0, "attention": 1}


def room_lines(rooms: Sequence[ZoneRoom], glyphs: Glyphs, width: int, height: int) -> list[Line]:
    """A bar for CPU and RAM of each zone where there is room for it, else one line with the fullest zones first."""
    if not rooms:
        return []
    fullest = sorted(rooms, key=lambda room: (WORST.get(_status(room), 2), -max(room.cpu_used, room.ram_used)))
    zones = min(len(rooms), 1 if height < 40 else 4)
    if width < 100 or height < 30:
        return [_short(fullest, width)]
    lines: list[Line] = [[(f" {'CAPACITY':<{LABEL}} {'':>{max(0, width - LABEL - 40)}}  used   resv   free   survives N+1", "title")]]
    for room in fullest[:zones]:
        note, status = _survives(room, glyphs)
        parts = (("cpu", room.cpu_used, room.cpu_reserved), ("ram", room.ram_used, room.ram_reserved))
        for n, (name, used, reserved) in enumerate(parts):
            label = f"{room.zone[: LABEL - 4] if n == 0 else '':<{LABEL - 4}} {name}"
            capacity = Capacity(label, min(used, 1.0), min(reserved, 1.0), note if n == 0 else "", status)
            lines.append([(" ", ""), *capacity_line(capacity, width - 3, LABEL, NOTE + 6, glyphs)])
    if len(rooms) > zones:
        lines.append([(f"   {len(rooms) - zones} more with more room", "muted")])
    return lines


def _status(room: ZoneRoom) -> str:
    if room.survives is False:
        return "attention"
    return status_of_fraction(max(room.cpu_used + room.cpu_reserved, room.ram_used + room.ram_reserved))


def _survives(room: ZoneRoom, glyphs: Glyphs) -> tuple[str, str]:
    return {True: ("yes", ""), False: (f"no {glyphs.attention}", "attention"), None: ("-", "muted")}[room.survives]


def _short(rooms: Sequence[ZoneRoom], width: int) -> Line:
    line: Line = []
    left = width - 1
    for room in rooms:
        said = f" {room.zone} cpu {percent(room.cpu_used)} ram {percent(room.ram_used)}{' not N+1' if room.survives is False else ''}  "
        if (left := left - width_of(said)) < 0:
            break
        status = _status(room)
        line.append((said, status if status != "well" else "muted"))
    return line
