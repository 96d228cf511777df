"""From a column spec to a table: glyph before the name, bars drawn, ages told by the console's clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from textual.strip import Strip

from fleet_tui import columns as c
from fleet_tui.backend.clock import Clock
from fleet_tui.screens import profile_columns
from fleet_tui.widgets.column import Cell, Column
from fleet_tui.widgets.glyphs import Glyphs, bar
from fleet_tui.widgets.paint import Span
from fleet_tui.widgets.resource_table import ResourceTable

STATUS_OF: dict[str, Callable[[Any], str]] = {
    "instances": c.instance_status,
    "operations": c.operation_status,
    "hosts": c.host_status,
    "vms": c.vm_status,
    "patches": c.patch_status,
    "offerings": lambda r: "well" if r.vms else "off",
    "events": c.event_status,
    "templates": profile_columns.template_status,
    "vnets": profile_columns.network_status,
    "certificates": c.certificate_status,
    "cloud_images": lambda r: "well",
    "orphans": lambda r: "attention" if r.kind == "machine" else "off",
}
SPECS: Mapping[str, tuple[c.ColumnSpec, ...]] = {**c.COLUMNS, **profile_columns.COLUMNS}
"""Columns by kind."""
KEY_OF: dict[str, Callable[[Any], str]] = {
    "instances": lambda r: f"instance:{r.id}",
    "operations": lambda r: f"operation:{r.id}",
    "hosts": lambda r: f"host:{r.id}",
    "vms": lambda r: f"vm:{r.id}",
    "patches": lambda r: f"patch:{r.hypervisor}/{r.version}/{r.patch}",
    "offerings": lambda r: f"offering:{r.id}",
    "events": lambda r: str(r.seq),
    "templates": lambda r: f"template:{r.id}",
    "vnets": lambda r: f"virtual-network:{r.id}",
    "certificates": lambda r: r.ref,
    "cloud_images": lambda r: f"cloud-image:{r.id}",
    "orphans": lambda r: f"{r.kind}:{r.id}",
}
NAME_OF: dict[str, Callable[[Any], str]] = {
    "instances": lambda r: r.label,
    "operations": lambda r: r.id,
    "hosts": lambda r: r.name,
    "vms": lambda r: r.name,
    "patches": lambda r: r.patch,
    "offerings": lambda r: r.name,
    "events": lambda r: r.ref,
    "templates": lambda r: r.label,
    "vnets": lambda r: r.label,
    "certificates": lambda r: r.owner,
    "cloud_images": lambda r: r.name,
    "orphans": lambda r: r.id,
}
FIGURE = 6
"""Cells after a bar: a blank and ``100 %``."""


def columns_of(kind: str, glyphs: Glyphs, clock: Clock) -> list[Column]:
    """The kind's columns for a `ResourceTable`."""
    return [_column(n, spec, kind, glyphs, clock) for n, spec in enumerate(SPECS[kind])]


class Table(ResourceTable):
    """A table whose cursor keeps quiet while another panel has the focus, so that states keep their colours there."""

    def strip(self, spans: Iterable[Span], width: int, over: str = "") -> Strip:
        return super().strip(spans, width, "" if over == "cursor-idle" else over)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Enter in a list without rows is the screen's to answer: it may be loading still."""
        return action != "open" or self.cursor_key is not None


def table_of(kind: str, glyphs: Glyphs, clock: Clock, *, id: str, empty: str, without: str = "") -> Table:
    """A table of that kind, ready for rows keyed by their ref; ``without`` a column that would say the same in every row."""
    columns = [column for column in columns_of(kind, glyphs, clock) if column.key != without]
    return Table(
        columns, status_of=STATUS_OF[kind], matches=lambda row, term: matches(kind, row, term),
        search_of=lambda row: search_text(kind, row), glyphs=glyphs, id=id, empty=empty,
    )  # fmt: skip


def matches(kind: str, row: Any, term: str) -> bool:
    """``state:run``, ``kind:design``, ``tag:x``: whether the named field begins with the value."""
    field, _, wanted = term.partition(":")
    wanted = wanted.lower()
    if kind == "certificates" and field in ("state", "status"):
        return wanted == STATUS_OF[kind](row) or row.state.startswith(wanted)
    if field in ("state", "status"):
        if kind == "hosts":
            return wanted == STATUS_OF[kind](row) or any(
                said.lower().startswith(wanted) for said in (row.resource_state, row.connection_state, c.host_state(row))
            )
        return wanted in (STATUS_OF[kind](row), getattr(getattr(row, "state", None), "value", "")) or str(
            getattr(getattr(row, "state", None), "value", "")
        ).startswith(wanted)
    if field in ("tag", "tags"):
        return any(str(tag).lower().startswith(wanted) for tag in getattr(row, "fleet_tags", None) or getattr(row, "tags", ()))
    if field in ("zone", "pod", "cluster") and kind == "hosts":
        place = row.location.lower().split("/")
        return place[("zone", "pod", "cluster").index(field) :][:1] == [wanted]
    if field == "pending" and kind in ("templates", "vnets"):
        return bool(row.waiting) == (wanted in ("yes", "true", "1"))
    if field == "pending":
        return bool(getattr(row, "pending_changes", ())) == (wanted in ("yes", "true", "1"))
    value = getattr(row, field, None)
    return value is not None and str(getattr(value, "value", value)).lower().startswith(wanted)


def search_text(kind: str, row: Any) -> str:
    """What a plain word of a filter is looked for in: names and states, not times, so that ages never match."""
    if kind == "instances":
        parts = (row.label, row.kind, c.instance_state(row), row.url, row.private_ip, row.public_ip, row.template, row.network)
        return " ".join(part for part in parts if part).lower()
    if kind == "operations":
        return f"{row.title} {row.target} {row.state.value} {row.user} {row.id} {row.failed_step or ''}".lower()
    if kind == "hosts":
        return f"{row.name} {row.location} {row.resource_state} {row.connection_state} {row.hypervisor}".lower()
    if kind == "vms":
        return f"{row.name} {row.state.value} {row.host} {row.cluster} {row.offering} {row.kind} {' '.join((*row.ips, *row.owners))}".lower()
    if kind in ("templates", "vnets"):
        return " ".join(str(getattr(row, name, "")) for name in ("label", "application", "provider", "https_strategy", "place")).lower()
    if kind in ("patches", "offerings"):
        return " ".join(str(getattr(row, name, "")) for name in ("patch", "name", "severity", "hypervisor", "version", "note")).lower()
    if kind == "certificates":
        return " ".join((row.owner, row.state, row.kind, row.subject, row.issuer, row.problem, "mismatch" * row.mismatch, *row.sans)).lower()
    if kind == "orphans":
        return f"{row.id} {row.kind} {row.provider} {row.detail} {row.place}".lower()
    if kind == "cloud_images":
        return f"{row.name} {row.zone} {row.path}".lower()
    return f"{row.text} {row.ref} {row.type} {row.user or ''}".lower()


def _column(number: int, spec: c.ColumnSpec, kind: str, glyphs: Glyphs, clock: Clock) -> Column:
    first = number == 0
    status_of = STATUS_OF[kind]

    def render(row: Any) -> Cell:
        text = spec.text(row, clock.now())
        if spec.name == "state" and kind == "instances" and row.pending_changes:
            return f"{c.instance_state(row)} {c.pending(row, glyphs.pending)}", "attention" if status_of(row) == "well" else ""
        if first and kind != "events":
            return f"{glyphs.status(status_of(row))} {text}"
        if kind == "events" and spec.name == "text":
            status = status_of(row)
            return (f"{glyphs.status(status)} {text}", status) if status in ("failed", "attention") else f"  {text}"
        if spec.name == "url":
            return text, {"failed": "failed", "moving": "moving"}.get(status_of(row), "muted" if text == "-" else "")
        if spec.fraction is not None:
            fraction = spec.fraction(row)
            cells = spec.width - FIGURE
            drawn = bar(fraction, cells, glyphs) if fraction is not None else " " * cells
            return (f"{drawn} {text:>{FIGURE - 1}}", _heat(fraction))
        return text

    return Column(
        spec.name, spec.title, spec.width + 2 * (first and kind != "events"), "right" if spec.right else "left",
        1000 if spec.priority == 0 else 100 - 10 * spec.priority, spec.wide, spec.sort, render, spec.grow,
        spec.roomy + 2 * (first and kind != "events") if spec.roomy else 0,
    )  # fmt: skip


def _heat(fraction: float | None) -> str:
    """Bars get a colour only when they are nearly full (spec DAT-3)."""
    return "muted" if fraction is None or fraction < 0.8 else "attention" if fraction < 0.9 else "failed"
