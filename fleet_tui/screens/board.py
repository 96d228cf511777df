"""The fleet's counts and this machine's figures, as a column or as two lines."""

from __future__ import annotations

from collections.abc import Mapping

from fleet_tui.backend.api import Summary
from fleet_tui.columns import percent
from fleet_tui.widgets.charts import status_of_fraction
from fleet_tui.widgets.glyphs import Glyphs, bar
from fleet_tui.widgets.paint import Span

Line = list[Span]

GROUPS = (
    ("well", ("running",)),
    ("moving", ("provisioning", "starting-up", "starting", "stopping", "deprovisioning", "reprovisioning", "deleting")),
    ("failed", ("failed",)),
    ("off", ("new", "stopped", "deprovisioned")),
)
WORDS = {"well": "running", "moving": "moving", "failed": "failed", "off": "off"}
GIB = 1024**3


def _counts(states: Mapping[str, int], glyphs: Glyphs, words: bool) -> Line:
    line: Line = []
    for status, names in GROUPS:
        count = sum(states.get(name, 0) for name in names)
        if count:
            line.append((f"  {glyphs.status(status)} {count:,}" + (f" {WORDS[status]}" if words else ""), status))
    return line


def _hosts(summary: Summary, glyphs: Glyphs) -> Line:
    total = summary.hosts.get("total", 0)
    up = sum(count for state, count in summary.hosts.items() if state.lower() in ("up", "connected"))
    line: Line = [(f"{total:,} {'host' if total == 1 else 'hosts'}", "")]
    if total - up > 0:
        line.append((f"  {glyphs.failed} {total - up:,} not up", "failed"))
    line.append((f"  {glyphs.well} {up:,} up", "well"))
    if summary.in_maintenance:
        line.append((f"  {glyphs.maintenance} {summary.in_maintenance:,}", "maintenance"))
    return line


def _vms(summary: Summary, glyphs: Glyphs) -> Line:
    lost = summary.vms.get("crashed", 0) + summary.vms.get("failed-to-start", 0)
    vms = summary.vms.get("total", 0)
    return [(f"{vms:,} VMs", ""), (f"  {glyphs.failed} {lost:,} failed" if lost else "", "failed")] if vms else []


def _disks(summary: Summary) -> Span:
    used, size = summary.disk_used_bytes / GIB, summary.disk_size_bytes / GIB
    return f"data disks {used:,.0f} of {size:,.0f} GiB", "" if not size else status_of_fraction(used / size)


def _figures(summary: Summary) -> list[tuple[str, float]]:
    """Load and use of this machine, or of the busiest host of several."""
    if not summary.host_rows:
        return []
    host = max(summary.host_rows, key=lambda h: h.load)
    return [
        ("cpu", min(host.load, 1.0)),
        ("mem", host.memory_used_bytes / host.memory_bytes if host.memory_bytes else 0.0),
        ("disk", host.disk_used_bytes / host.disk_bytes if host.disk_bytes else 0.0),
    ]


def _host_name(summary: Summary) -> str:
    if not summary.host_rows:
        return ""
    name = max(summary.host_rows, key=lambda h: h.load).name
    return name if len(summary.host_rows) == 1 else f"busiest {name}"


def fleet_lines(summary: Summary, glyphs: Glyphs, width: int) -> list[Line]:
    """Two lines for a narrow terminal: counts, then figures with bars as wide as there is room."""
    total = summary.instances.get("total", 0)
    first: Line = [(f" {total:,} {'instance' if total == 1 else 'instances'}", ""), *_counts(summary.instances, glyphs, width >= 90)]
    first += [("    ", ""), *_hosts(summary, glyphs), ("  ", ""), *_vms(summary, glyphs)]
    figures = _figures(summary)
    name = _host_name(summary)
    disks = _disks(summary)
    room = width - len(name) - len(disks[0]) - 6
    cells = max(0, min(12, room // 3 - 13)) if figures else 0
    second: Line = [(f" {name}", "muted")]
    for word, fraction in figures:
        drawn = f"{bar(fraction, cells, glyphs)} " if cells >= 3 else ""
        second.append((f"  {word} ", "muted"))
        second.append((f"{drawn}{percent(fraction)}", status_of_fraction(fraction)))
    second += [("    ", ""), disks]
    return [first, second]


def fleet_column(summary: Summary, glyphs: Glyphs) -> list[Line]:
    """A column for a broad terminal."""
    total = summary.instances.get("total", 0)
    lines: list[Line] = [
        [(" FLEET", "title")],
        [(f" {total:,} {'instance' if total == 1 else 'instances'}", "")],
        [(text[index == 0 :], style) for index, (text, style) in enumerate(_counts(summary.instances, glyphs, False))],
        [(" ", ""), *_hosts(summary, glyphs)],
        [(" ", ""), *vms] if (vms := _vms(summary, glyphs)) else [],
        [(" ", ""), _disks(summary)],
        [(f" {_host_name(summary).upper()}", "title")],
    ]
    for word, fraction in _figures(summary):
        lines.append([(f" {word:<5}", "muted"), (f"{bar(fraction, 16, glyphs)} {percent(fraction):>5}", status_of_fraction(fraction))])
    kinds = "  ".join(f"{kind} {count:,}" for kind, count in sorted(summary.kinds.items()))
    if kinds:
        lines.insert(3, [(f" {kinds}", "muted")])
    return [line for line in lines if line]
