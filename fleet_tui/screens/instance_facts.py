"""What the Overview and Data tabs say of an instance, as lines of styled text."""

from __future__ import annotations

from datetime import datetime

from fleet_tui import columns
from fleet_tui.backend.instances import InstanceRecord, SnapshotRecord
from fleet_tui.backend.instances.states import InstanceState
from fleet_tui.widgets.glyphs import Glyphs, bar
from fleet_tui.widgets.paint import Span

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
    lines.append(_pair("url", row.url or "-", "agent", _agent(row, now)))
    lines.append(_pair("address", _addresses(row), "host", " ".join(p for p in (row.host, row.machine) if p) or "-"))
    disk = row.data_disk
    used = disk.used_fraction
    drawn = f"{bar(used, 10, glyphs)} " if used is not None else ""
    holds = f"{drawn}{columns.percent(used)} of {disk.size_gb} GiB"
    lines.append(_pair("data disk", holds, "runs", f" {glyphs.dot} ".join(part for part in (row.image, row.template, row.network) if part)))
    if row.https_strategy != "none":
        until = f"until {row.certificate_not_after:%Y-%m-%d}" if row.certificate_not_after else "none yet"
        lines.append(_pair("cert", f"{row.https_strategy}, {until}", "", ""))
    return [line for line in lines if line]


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
        InstanceState.NEW: ("P", " provisions it: makes its machine and starts the application"),
        InstanceState.DEPROVISIONED: ("P", " provisions it again, with the data disk that was kept"),
        InstanceState.STOPPED: ("S", " starts it"),
    }.get(row.state)
    if row.state is InstanceState.FAILED:
        retry = (row.failed_stage or "").startswith("startup")
        said = ("T", " goes on from the phase that failed   D deprovisions it") if retry else ("D", " deprovisions it; the data disk is kept")
    return [("   ", ""), (said[0], "key"), (said[1], "muted")] if said else []


def _pair(a: str, b: str, c: str, d: str) -> Line:
    return [(f" {a:<11}", "muted"), (f"{b:<28} ", ""), (f"{c:<6}", "muted"), (d, "")]


def _addresses(row: InstanceRecord) -> str:
    return " ".join(part for part in (row.public_ip, row.private_ip, row.host_name) if part) or "-"


def _agent(row: InstanceRecord, now: datetime) -> str:
    if row.agent.last_seen is None:
        return "-"
    return f"{row.agent.phase or '?'}, seen {columns.ago(row.agent.last_seen, now)}"


def data(row: InstanceRecord, glyphs: Glyphs) -> list[Line]:
    """The data disk: what is kept, how full, where."""
    disk = row.data_disk
    used = disk.used_fraction
    lines: list[Line] = [
        [(" DATA DISK", "title")],
        [(f" {'used':<10}", "muted"), (f"{bar(used, 24, glyphs)} " if used is not None else "", ""),
         (f"{columns.percent(used)}   {columns.size(disk.used_bytes)} of {disk.size_gb} GiB", "")],
        [(f" {'may grow':<10}", "muted"), (f"to {disk.size_max_gb} GiB" if disk.size_max_gb > disk.size_gb else "no further; e edits the limit", "")],
        [(f" {'path':<10}", "muted"), (disk.path or "-", "")],
    ]  # fmt: skip
    if row.state is InstanceState.DEPROVISIONED:
        lines.append([(" kept while deprovisioned: its storage is still paid for", "attention")])
    lines.append([(" deprovision and reprovision keep it byte for byte", "muted")])
    lines.append([("", "")])
    return lines


def snapshot_cells(row: SnapshotRecord, now: datetime) -> tuple[str, str, str, str]:
    kind = "automatic" if row.automatic else "by hand"
    return f"{row.created_at:%Y-%m-%d %H:%M}", columns.ago(row.created_at, now), columns.size(row.size_bytes), f"{kind} {row.reason}".strip()
