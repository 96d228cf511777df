"""What the Overview and Data tabs say of an instance, as lines of styled text."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fleet_tui import columns
from fleet_tui.backend.instances import InstanceRecord, SnapshotRecord
from fleet_tui.backend.instances.states import Health, InstanceState
from fleet_tui.widgets.glyphs import Glyphs, bar
from fleet_tui.widgets.paint import Span, width_of

Line = list[Span]


def overview(row: InstanceRecord, glyphs: Glyphs, now: datetime) -> list[Line]:
    """State first, what to do about it second, where it is reached third."""
    status = columns.instance_status(row)
    lines: list[Line] = [[(f" {glyphs.status(status)} {_state(row)}", status), *_activity(row)]]
    if row.failure:
        lines.append([(f"   {row.failure}", "failed")])
    elif row.health_detail and status != "well":
        lines.append([(f"   {row.health_detail}", "attention")])
    if row.pending_changes:
        count = len(row.pending_changes)
        waits = f"{count} {'change waits' if count == 1 else 'changes wait'} for a reprovision: {', '.join(row.pending_changes)}"
        lines.append([(f" {glyphs.pending} {waits}", "attention"), ("   R", "key"), (" applies", "muted")])
    lines.append(_next(row))
    disk = row.data_disk
    used = disk.used_fraction
    holds = f"{bar(used, 10, glyphs)} {columns.percent(used)} of {disk.size_gb} GiB" if used is not None else _size_alone(row)
    def joined(*parts: str | None, by: str = f" {glyphs.dot} ") -> str:
        return by.join(part for part in parts if part) or "-"

    facts = [
        ("url", row.url or "-", "agent", _agent(row, now)),
        ("address", joined(row.public_ip, row.private_ip, by=" "), "name", row.host_name or "-"),
        ("host", joined(row.host, row.machine, by=" "), "runs", joined(row.image, row.template)),
        ("data disk", holds, "net", joined(row.network, _certificate(row, now))),
    ]
    cells = max(28, *(width_of(second) for _, second, _, _ in facts))
    return [line for line in lines if line] + [_pair(*fact, cells) for fact in facts]


def _size_alone(row: InstanceRecord) -> str:
    """Of a disk whose use is not known, or that is not made yet."""
    return f"{row.data_disk.size_gb} GiB, " + ("not made yet" if row.state is InstanceState.NEW else "use not known")


def _certificate(row: InstanceRecord, now: datetime) -> str:
    if row.https_strategy == "none":
        return ""
    if row.certificate_not_after is None:
        return "no certificate yet"
    days = (row.certificate_not_after - now).days
    return f"certificate {days} d left" if days >= 0 else f"certificate expired {-days} d ago"


def _state(row: InstanceRecord) -> str:
    if row.state is InstanceState.FAILED and row.failed_stage:
        return f"failed at {row.failed_stage}"
    words = columns.instance_state(row)
    return words if words == row.state.value else f"running, {words}"


def _activity(row: InstanceRecord) -> Line:
    return [(f"   {row.operation}", "moving")] if row.operation else []


def _next(row: InstanceRecord) -> Line:
    """What to press now; nothing for one that is well."""
    said = {
        InstanceState.NEW: [("P", "provisions it: makes its machine and starts the application")],
        InstanceState.DEPROVISIONED: [("P", "provisions it again, with the data disk that was kept")],
        InstanceState.STOPPED: [("S", "starts it")],
    }.get(row.state, [])
    if row.state is InstanceState.FAILED:
        retry = (row.failed_stage or "").startswith("startup")
        said = [("T", "goes on from the phase that failed"), ("D", "deprovisions it")] if retry else [("D", "deprovisions it; the data disk is kept")]
    elif row.state is InstanceState.RUNNING and row.health in (Health.DISK_WARNING, Health.DISK_CRITICAL):
        said = [("+", "grows the data disk while it runs")]
    elif row.state is InstanceState.RUNNING and row.health is Health.APP_DOWN:
        said = [("b", "restarts the application"), ("l", "shows its log")]
    return [span for key, does in said for span in (("   ", ""), (key, "key"), (f" {does}", "muted"))]


def _pair(a: str, b: str, c: str, d: str, cells: int) -> Line:
    return [(f" {a:<11}", "muted"), (f"{b}{' ' * (cells - width_of(b))}  ", ""), (f"{c:<6}", "muted"), (d, "")]


def _agent(row: InstanceRecord, now: datetime) -> str:
    if row.agent.last_seen is None:
        return "-"
    return f"{row.agent.phase or '?'}, seen {columns.ago(row.agent.last_seen, now)}"


def data(row: InstanceRecord, glyphs: Glyphs, settings: Mapping[str, Any] | None = None) -> list[Line]:
    """The data disk: what is kept, how full, where; and once the settings are known, what is copied by itself."""
    disk = row.data_disk
    used = disk.used_fraction
    lines: list[Line] = [
        [(" DATA DISK", "title")],
        [(f" {'used':<10}", "muted"), (f"{bar(used, 24, glyphs)} {columns.percent(used)}   {columns.size(disk.used_bytes)} of {disk.size_gb} GiB"
                                       if used is not None else _size_alone(row), _heat(used)), *_alert(used, glyphs)],
        *_growth(row, glyphs),
        [(f" {'may grow':<10}", "muted"), (f"to {disk.size_max_gb} GiB" if disk.size_max_gb > disk.size_gb else "no further", ""),
         (_grow_key(row), "muted")],
        [(f" {'path':<10}", "muted"), (disk.path or "-", "")],
        *([automatic(settings)] if settings is not None else []),
    ]  # fmt: skip
    if row.state is InstanceState.DEPROVISIONED:
        lines.append([(" kept while deprovisioned: its storage is still paid for", "attention")])
    lines.append([(" deprovision and reprovision keep it byte for byte", "muted")])
    lines.append([("", "")])
    return lines


SOON_FULL_D = 60
"""A disk that would be full earlier, going on as in the last week, is worth a word."""
WARN, CRITICAL = 0.8, 0.9
"""Parts of a disk from which it is nearly full, and full to all intents (DAT-3)."""


def _grow_key(row: InstanceRecord) -> str:
    if row.data_disk.size_max_gb <= row.data_disk.size_gb:
        return "   e sets a higher limit"
    return "   + grows it while it runs" if row.state is InstanceState.RUNNING else "   e sets its size for the next provision"


def _growth(row: InstanceRecord, glyphs: Glyphs) -> list[Line]:
    """Which way it went in the last week, and when it would be full if it went on like that (DAT-4)."""
    disk = row.data_disk
    if disk.grown_bytes is None or not disk.grown_days or disk.used_bytes is None:
        return []
    span = f"in {disk.grown_days} day{'s' * (disk.grown_days != 1)}"
    if abs(disk.grown_bytes) < disk.size_gb * 1024**3 // 1000:
        return [[(f" {'growth':<10}", "muted"), (f"steady {span}", "")]]
    arrow, word = (glyphs.ascending, "more") if disk.grown_bytes > 0 else (glyphs.descending, "less")
    line: Line = [(f" {'growth':<10}", "muted"), (f"{arrow} {columns.size(abs(disk.grown_bytes))} {word} {span}", "")]
    left = disk.size_gb * 1024**3 - disk.used_bytes
    days = left * disk.grown_days // disk.grown_bytes if disk.grown_bytes > 0 else SOON_FULL_D
    if days < SOON_FULL_D:
        line.append((f"   at this rate full in {max(0, days)} day{'s' * (days != 1)}", "attention"))
    return [line]


def _heat(used: float | None) -> str:
    return "" if used is None or used < WARN else "attention" if used < CRITICAL else "failed"


def _alert(used: float | None, glyphs: Glyphs) -> Line:
    if used is None or used < WARN:
        return []
    return [(f"   {glyphs.attention} filling up", "attention")] if used < CRITICAL else [(f"   {glyphs.failed} nearly full", "failed")]


def automatic(values: Mapping[str, Any]) -> Line:
    """What is copied by itself, after the settings."""
    if not values.get("auto_snapshot.enabled"):
        return [(f" {'automatic':<10}", "muted"), ("no snapshots by themselves", ""), ("   e sets them", "muted")]
    keep = values.get("auto_snapshot.keep")
    kept = f"the last {keep} are kept" if keep else "all are kept"
    return [(f" {'automatic':<10}", "muted"), (f"a snapshot every {values.get('auto_snapshot.period_h')} h; {kept}", "")]


def snapshot_cells(row: SnapshotRecord, now: datetime) -> tuple[str, str, str, str]:
    kind = "automatic" if row.automatic else "by hand"
    why = f"{kind}: {row.reason}" if row.reason else kind
    return f"{row.created_at:%Y-%m-%d %H:%M}", columns.ago(row.created_at, now), columns.size(row.size_bytes), why
