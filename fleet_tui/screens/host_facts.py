"""What is said of one host: its facts, its room, why it takes no VM, what is at work on it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from fleet_tui import columns
from fleet_tui.backend.hosts import HostRecord
from fleet_tui.backend.hosts.states import REASONS
from fleet_tui.screens.branches import Branch
from fleet_tui.widgets.charts import Capacity, capacity_line
from fleet_tui.widgets.glyphs import Glyphs
from fleet_tui.widgets.paint import Span

Line = list[Span]
MOST_LINES = 4
"""Of one fact."""


def overview(row: HostRecord, room: Any, glyphs: Glyphs, now: datetime, width: int) -> list[Line]:
    """State and what to do about it first, then room, then facts. ``room`` is its `CapacityRecord` once it is known."""
    return [*_state(row, glyphs, now), [], *capacity(row, room, glyphs, width), [], *_facts(row, glyphs, now, width)]


def _state(row: HostRecord, glyphs: Glyphs, now: datetime) -> list[Line]:
    status = columns.host_status(row)
    words = columns.MAINTENANCE_STATES.get(row.resource_state) or columns.HOST_STATES.get(row.resource_state, row.resource_state)
    since = f"   {columns.ago(row.state_since, now)}" if row.state_since else ""
    link = "link up" if columns.is_up(row) else f"link {row.connection_state}"
    lines: list[Line] = [[(f" {glyphs.status(status)} {words}{since}", status), (f"   {link}", "" if columns.is_up(row) else "failed")]]
    if not columns.is_up(row) and row.reason:
        lines.append([(f"   {row.reason}: {REASONS.get(row.reason, 'no reason is known')}", "attention")])
    if row.error:
        lines.append([(f" {glyphs.failed} {row.error}", "failed")])
    if row.operation:
        lines.append([(f" {glyphs.moving} {row.operation}", "moving")])
    if not row.allocatable and row.why_not:
        lines.append([(f"   takes no VM: {row.why_not}", "attention")])
    if row.patches_behind:
        critical = f", {row.patches_critical} of them critical" if row.patches_critical else ""
        lines.append([(f" {glyphs.attention} {row.patches_behind} patches behind{critical}", "attention"), ("   K", "key"), (" lists them", "muted")])
    if said := _next(row):
        lines.append([("   ", ""), (said[0], "key"), (said[1], "muted")])
    return lines


def _next(row: HostRecord) -> tuple[str, str] | None:
    """What to press now; nothing for a host that is well."""
    if row.resource_state == "Error":
        return "T", " tries again to take it in   :remove discards it"
    if row.resource_state == "Disabled":
        return "E", " enables it   m takes it into maintenance"
    if row.resource_state in columns.MAINTENANCE_STATES:
        return "m", " shows its maintenance"
    if row.resource_state == "Degraded":
        return ":cancel-degraded", " when it is back   :remove takes it out of the fleet"
    return ("R", " builds the link again") if not columns.is_up(row) else None


def capacity(row: HostRecord, room: Any, glyphs: Glyphs, width: int) -> list[Line]:
    """Bars of used and reserved, with the numbers and N+1."""
    cells = min(width - 2, 76)
    if room is None:
        parts = [("cpu", row.cpu_used, 0.0), ("ram", row.ram_used, 0.0)]
        return [[(" ", ""), *capacity_line(Capacity(name, used, held), cells, 5, 2, glyphs)] for name, used, held in parts]
    survives = {True: "its VMs fit elsewhere if it is lost", False: "its VMs would not all fit elsewhere if it is lost", None: ""}[room.survives]
    lines: list[Line] = [[(f" {'':<5} {'':>{max(0, cells - 29)}}   used   resv   free", "title")]]
    for name, amount, times in (("cpu", room.cpu, room.cpu_ratio), ("ram", room.ram, room.ram_ratio)):
        whole = amount.capacity or amount.raw * times or 1  # out of service nothing of it is counted, but what is on it still is to be seen
        lines.append([(" ", ""), *capacity_line(Capacity(name, amount.used / whole, amount.reserved / whole), cells, 5, 2, glyphs)])
    ratio = f"   ratio cpu {room.cpu_ratio:g}, ram {room.ram_ratio:g}" if (room.cpu_ratio, room.ram_ratio) != (1.0, 1.0) else ""
    lines.append([(f" {columns.plural(room.vms, 'VM')}{ratio}", "muted")])
    if survives:
        lines.append([(f" {survives}", "attention" if room.survives is False else "muted")])
    return lines


def _facts(row: HostRecord, glyphs: Glyphs, now: datetime, width: int) -> list[Line]:
    secured = "secured" if row.is_secured else "not secured"
    pairs = [
        ("place", row.location), ("address", f"{row.address}, {row.ssh_user or '-'} on port {row.ssh_port}"),
        ("runs", " ".join(p for p in (row.hypervisor, row.version, row.patch_level, "" if row.is_accelerated else "(emulated)") if p)),
        ("cpu", f"{columns.plural(row.cores, 'core')} at {row.mhz:,} MHz, {row.arch}" if row.mhz else columns.plural(row.cores, "core")),
        ("memory", columns.size(row.memory_bytes)), ("serial", row.serial or "-"),
        ("link", f"{secured}, health {row.health or 'not told'}"), ("key", row.host_key or "not known"),
        ("load", f"{columns.percent(row.load)}, disk {columns.percent(columns.disk_share(row))}, measured {_ago(row.measured_at, now)}"),
        ("tags", " ".join(row.tags) or "none"), ("note", row.location_note or "-"),
    ]  # fmt: skip
    if row.is_master:
        pairs.insert(3, ("pool", "master"))
    room = max(10, width - 11)
    return [
        [(f" {name if n == 0 else '':<9}", "muted"), (part, "")]
        for name, value in pairs
        for n, part in enumerate(textwrap.wrap(value, room, max_lines=MOST_LINES, placeholder=f" {glyphs.ellipsis}") or [""])
    ]


def _ago(then: datetime | None, now: datetime) -> str:
    age = columns.ago(then, now)
    return {"-": "never", "now": "now"}.get(age, f"{age} ago")


def place(branch: Branch, glyphs: Glyphs) -> list[Line]:
    """What there is to say of a zone, a pod or a cluster."""
    row = branch.record
    if row is None:
        return [[(" the whole fleet", "strong")], [], [(f" {columns.plural(branch.hosts, 'host')}", "")]]
    allocation: Span = (f" {branch.allocation.lower()}", "" if branch.allocation == "Enabled" else "attention")
    lines: list[Line] = [[(f" {branch.kind} {branch.name}", "strong")], [], [allocation]]
    if branch.inherited:
        lines.append([(f"   takes no VM: {branch.inherited}", "attention")])
    lines.append([(f" {columns.plural(branch.hosts, 'host')}, {branch.holds or 'nothing in it'}", "")])
    if branch.kind == "cluster":
        lines += [
            [(" runs     ", "muted"), (f"{row.hypervisor} on {row.arch}, {row.managed}", "")],
            [(" ratios   ", "muted"), (f"cpu {row.cpu_ratio:g}, ram {row.ram_ratio:g} ({row.ratio_origin})", "")],
            [(" for      ", "muted"), (f"account {row.dedicated_account}" if row.dedicated_account else "everybody", "")],
        ]
        if row.is_recalculating:
            lines.append([(f" {glyphs.moving} its capacity is being recalculated; new VMs wait", "moving")])
        if row.mismatch:
            lines.append([(f" {glyphs.failed} credentials differ from those stored; W stores or sets them again", "failed")])
            lines += [[(f"   {host}: {why}", "failed")] for host, why in row.mismatch.items()]
    return lines


def network(row: HostRecord) -> list[Line]:
    """Its interfaces, as it told of them."""
    if not row.nics:
        return [[("   it has told of no network interface", "muted")]]
    return [[(" INTERFACE", "title")], *[[(f"   {nic}", "")] for nic in row.nics]]


def total(rows: Sequence[HostRecord], glyphs: Glyphs) -> list[Line]:
    """Sums of the hosts listed, weighted by their size."""
    up = sum(columns.is_up(row) for row in rows)
    kept = sum(row.resource_state in columns.MAINTENANCE_STATES for row in rows)
    mhz = sum(row.cores * (row.mhz or 1) for row in rows) or 1
    memory = sum(row.memory_bytes for row in rows) or 1
    cpu = sum(row.cpu_used * row.cores * (row.mhz or 1) for row in rows) / mhz
    ram = sum(row.ram_used * row.memory_bytes for row in rows) / memory
    line: Line = [(f"  {columns.plural(len(rows), 'host')}", "strong"), (f"  {glyphs.well} {up:,} up", "well")]
    if len(rows) - up:
        line.append((f"  {glyphs.failed} {len(rows) - up:,} not up", "failed"))
    if kept:
        line.append((f"  {glyphs.maintenance} {kept:,} in maintenance", "maintenance"))
    vms = columns.plural(sum(r.vms for r in rows), "VM")
    line += [(f"   {vms}", "muted"), (f"  cpu {columns.percent(cpu)}", "muted"), (f"  ram {columns.percent(ram)}", "muted")]
    return [line]
