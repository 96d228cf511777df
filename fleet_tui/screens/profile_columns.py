"""Columns of templates and virtual networks, and what their rows look like: what would stop a provision first, then who waits for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fleet_tui.columns import ColumnSpec, ago, plural

if TYPE_CHECKING:
    from fleet_tui.backend.instances.profiles import TemplateRecord, VirtualNetworkRecord


def template_status(row: TemplateRecord) -> str:
    """What keeps instances of it from being provisioned comes first, then who waits for it."""
    return "failed" if row.lacks or row.unfit else "attention" if row.waiting else "well" if row.instances else "off"


def template_note(row: TemplateRecord) -> str:
    """What stands against a provision: what it lacks, who would refuse it."""
    if row.lacks:
        return f"lacks {', '.join(row.lacks)}"
    if row.unfit:
        return f"has an action that {', '.join(row.unfit[:3])}{' …' if len(row.unfit) > 3 else ''} would refuse"
    return ""


def waiting_words(count: int) -> str:
    """``2 instances wait for a reprovision``."""
    return f"{plural(count, 'instance')} {'waits' if count == 1 else 'wait'} for a reprovision"


def actions_on(row: TemplateRecord) -> str:
    """``3``, or ``2 of 3`` where one is switched off."""
    on, count = sum(action.enabled for action in row.setup_actions), len(row.setup_actions)
    return str(count) if on == count else f"{on} of {count}"


def network_status(row: VirtualNetworkRecord) -> str:
    """Drift that stops a provision first, then other drift and who waits."""
    if any(finding.is_error for finding in row.findings):
        return "failed"
    return "attention" if row.findings or row.waiting else "well" if row.instances else "off"


def drift(row: VirtualNetworkRecord) -> str:
    """What the last check found, in a word or two; ``-`` where there was none."""
    if row.checked_at is None:
        return "-"
    return "none" if not row.findings else f"{plural(len(row.findings), 'finding')}"


def network_note(row: VirtualNetworkRecord) -> str:
    return row.findings[0].text if row.findings else ""


def reach(row: VirtualNetworkRecord) -> str:
    """Internet access and public addresses: ``yes, public IP``."""
    access = str(row.values.get("internet_access", "?")).replace("_", " ")
    return f"{access}, public IP" if row.values.get("assign_public_ip") and access != "no" else access


TEMPLATES: tuple[ColumnSpec, ...] = (
    ColumnSpec("label", "TEMPLATE", 14, lambda r, _: r.label, lambda r: r.label.lower(), roomy=28),
    ColumnSpec("application", "IMAGE", 12, lambda r, _: r.application, priority=2, roomy=20),
    ColumnSpec("actions", "ACTIONS", 7, lambda r, _: actions_on(r), lambda r: -len(r.setup_actions), right=True, priority=1),
    ColumnSpec("instances", "INST", 5, lambda r, _: f"{r.instances:,}", lambda r: -r.instances, right=True),
    ColumnSpec("waiting", "WAIT", 4, lambda r, _: str(r.waiting) if r.waiting else "-", lambda r: -r.waiting, right=True),
    ColumnSpec("version", "VERSION", 7, lambda r, _: str(r.version), lambda r: -r.version, right=True, priority=3),
    ColumnSpec("note", "NOTE", 12, lambda r, _: template_note(r), grow=True, priority=1, roomy=70),
    ColumnSpec("machine", "MACHINE", 12, lambda r, _: r.values.get("machine_type") or "-", wide=True),
    ColumnSpec("id", "ID", 12, lambda r, _: r.id, wide=True),
)

VNETS: tuple[ColumnSpec, ...] = (
    ColumnSpec("label", "NETWORK", 14, lambda r, _: r.label, lambda r: r.label.lower(), roomy=28),
    ColumnSpec("provider", "RUNS ON", 9, lambda r, _: r.provider, priority=1),
    ColumnSpec("https", "HTTPS", 12, lambda r, _: r.https_strategy, lambda r: r.https_strategy),
    ColumnSpec("instances", "INST", 5, lambda r, _: f"{r.instances:,}", lambda r: -r.instances, right=True),
    ColumnSpec("waiting", "WAIT", 4, lambda r, _: str(r.waiting) if r.waiting else "-", lambda r: -r.waiting, right=True),
    ColumnSpec("drift", "DRIFT", 11, lambda r, _: drift(r), lambda r: -len(r.findings)),
    ColumnSpec("checked", "CHECKED", 7, lambda r, now: ago(r.checked_at, now), lambda r: r.checked_at.timestamp() if r.checked_at else 0.0,
               right=True, priority=3),
    ColumnSpec("place", "PLACE", 16, lambda r, _: r.place or "-", priority=4, roomy=40),
    ColumnSpec("reach", "INTERNET", 14, lambda r, _: reach(r), priority=5, roomy=22),
    ColumnSpec("note", "NOTE", 12, lambda r, _: network_note(r), grow=True, priority=2, roomy=60),
    ColumnSpec("account", "ACCOUNT", 10, lambda r, _: r.values.get("account") or "-", wide=True),
    ColumnSpec("id", "ID", 12, lambda r, _: r.id, wide=True),
)

COLUMNS: Mapping[str, tuple[ColumnSpec, ...]] = {"templates": TEMPLATES, "vnets": VNETS}
"""By kind."""
