"""The register of templates: what instances are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import InvalidInput, NotFound, Problem, WrongState
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.instances import SetupAction
from fleet_tui.backend.instances.fields import label_complaint
from fleet_tui.backend.instances.images import known_names
from fleet_tui.backend.instances.profiles import KEPT, PutTemplate, TemplateRecord
from fleet_tui.backend.instances.rows import InstanceRow, TemplateRow
from fleet_tui.backend.instances.setup_actions import checked
from fleet_tui.backend.instances.template_fields import FIELDS
from fleet_tui.backend.store import new_id

SEALED: Mapping[str, str] = {"license_override": "license_sealed", "api_key_secret": "api_key_sealed"}
"""Field of a secret -> column it is sealed in."""


def list_templates(tx: Session, limit: int = 1000) -> tuple[TemplateRecord, ...]:
    linked = dict(tx.execute(select(InstanceRow.template_id, func.count()).group_by(InstanceRow.template_id)).all())
    rows = tx.scalars(select(TemplateRow).order_by(TemplateRow.label).limit(limit))
    return tuple(_record(row, linked.get(row.id, 0)) for row in rows)


def put_template(tx: Session, request: PutTemplate) -> TemplateRecord:
    """Create (``version=0``) or replace a template; linked instances that ran before now wait for a reprovision."""
    if complaint := label_complaint(request.label):
        raise InvalidInput(f"the template's label is not acceptable: {complaint}", problems=[Problem("label", complaint)])
    actions = [asdict(action) for action in checked(request.setup_actions)]
    row = tx.scalar(select(TemplateRow).where(TemplateRow.label == request.label))
    if row is None:
        row = TemplateRow(id=new_id("t"), label=request.label, application=request.application, setup_actions=actions, version=1)
        tx.add(row)
        tx.flush()
    else:
        if request.version and request.version != row.version:
            raise WrongState(f"template {row.label} was changed meanwhile (version {row.version}, yours was {request.version})",
                             hint="show it again and repeat the change")
        if row.setup_actions != actions or row.application != request.application:
            row.application, row.setup_actions = request.application, actions
            row.version += 1
            for instance in tx.scalars(select(InstanceRow).where(InstanceRow.template_id == row.id, InstanceRow.applied.is_not(None))):
                if "template" not in instance.pending:
                    instance.pending = [*instance.pending, "template"]
                    append(tx, type="instance.changed", ref=f"instance:{instance.id}")
    append(tx, type="template.changed", ref=f"template:{row.id}", text=f"template {row.label} saved")
    return _record(row, tx.scalar(select(func.count()).where(InstanceRow.template_id == row.id)) or 0)


def find_template(tx: Session, label: str) -> TemplateRow:
    row = tx.scalar(select(TemplateRow).where((TemplateRow.label == label) | (TemplateRow.id == label)))
    if row is None:
        raise NotFound(f"there is no template {label!r}", hint=known_names("templates", tx.scalars(select(TemplateRow.label)).all()))
    return row


def actions_of(row: TemplateRow) -> tuple[SetupAction, ...]:
    """Its setup actions, secrets sealed as they are on record."""
    return tuple(SetupAction(**action) for action in row.setup_actions)


def values_of(row: TemplateRow) -> dict[str, Any]:
    """By field; secrets are :data:`KEPT`."""
    return {
        field.name: (KEPT if getattr(row, SEALED[field.name]) else "") if field.name in SEALED else getattr(row, field.name) for field in FIELDS
    }


def _record(row: TemplateRow, instances: int) -> TemplateRecord:
    return TemplateRecord(row.id, row.label, row.application, actions_of(row), instances, row.version, values_of(row))
