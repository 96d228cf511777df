"""Taking a blueprint in: its template and its virtual network, both or none, checked as if they were typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import InUse, InvalidInput, WrongState
from fleet_tui.backend.instances import SetupAction, network_fields, template_fields, templates, virtual_networks
from fleet_tui.backend.instances.blueprints import Blueprint
from fleet_tui.backend.instances.links import SEALED
from fleet_tui.backend.instances.profiles import (
    KEPT,
    CreateTemplate,
    CreateVirtualNetwork,
    EditTemplate,
    EditVirtualNetwork,
    ImportBlueprint,
    ImportedBlueprint,
    NetworkFinding,
)
from fleet_tui.backend.instances.rows import NetworkRow, TemplateRow
from fleet_tui.backend.providers import Providers
from fleet_tui.backend.secrets import Sealer


def network_values(tx: Session, blueprint: Blueprint, request: ImportBlueprint, providers: Providers) -> Mapping[str, Any] | None:
    """Values of the virtual network that is to be surveyed; ``None`` where none is. Raises what the import would refuse of it."""
    if blueprint.network is None:
        return None
    try:
        asked = _network_request(tx, blueprint, request)
        if isinstance(asked, CreateVirtualNetwork):
            return virtual_networks.new_values(tx, asked, providers)
        values, is_surveyed = virtual_networks.edited_values(tx, asked, providers)
        return values if is_surveyed else None
    except InvalidInput as refused:
        raise blueprint.refused(refused, "virtual_network") from None


def take_in(
    tx: Session, blueprint: Blueprint, request: ImportBlueprint, providers: Providers, sealer: Sealer, findings: Sequence[NetworkFinding] | None,
    now: datetime,
) -> ImportedBlueprint:
    """Make what it says. Secrets it does not carry stay as they are where they are on record, and are missing elsewhere.

    Raises:
        InvalidInput: everything wrong with one of the two parts, each with its line.
        WrongState: a label is taken, and nothing was said about replacing.
        InUse: the place of a virtual network would change under instances that are linked.
    """
    template = network = None
    if blueprint.network is not None:
        try:
            network = _put_network(tx, _network_request(tx, blueprint, request), providers, findings, now)
        except InvalidInput as refused:
            raise blueprint.refused(refused, "virtual_network") from None
        except InUse as refused:
            raise InUse(f"the blueprint cannot be imported: {refused.message}", hint=refused.hint, **refused.details) from None
    if blueprint.template is not None:
        try:
            template = _put_template(tx, blueprint, request, sealer)
        except InvalidInput as refused:
            raise blueprint.refused(refused, "template") from None
    missing = templates.lacks(template) if template is not None else ()
    return ImportedBlueprint(
        templates.describe(tx, template) if template is not None else None, virtual_networks.describe(tx, network) if network is not None else None,
        missing,
    )


def _network_request(tx: Session, blueprint: Blueprint, request: ImportBlueprint) -> CreateVirtualNetwork | EditVirtualNetwork:
    said = dict(blueprint.network or {})
    label = request.network or str(said.pop("label", ""))
    said.pop("label", None)
    row = tx.scalar(select(NetworkRow).where(NetworkRow.label == label))
    if row is None:
        return CreateVirtualNetwork(label, said)
    _may_replace(request, "virtual network", label)
    whole = network_fields.completed({**said, "label": label})
    return EditVirtualNetwork(row.id, row.version, whole)


def _put_network(
    tx: Session, asked: CreateVirtualNetwork | EditVirtualNetwork, providers: Providers, findings: Sequence[NetworkFinding] | None, now: datetime
) -> NetworkRow:
    if isinstance(asked, CreateVirtualNetwork):
        return virtual_networks.create_network(tx, asked, providers, findings or (), now)
    return virtual_networks.edit_network(tx, asked, providers, findings, now)


def _put_template(tx: Session, blueprint: Blueprint, request: ImportBlueprint, sealer: Sealer) -> TemplateRow:
    said = dict(blueprint.template or {})
    label = request.template or str(said.pop("label", ""))
    said.pop("label", None)
    row = tx.scalar(select(TemplateRow).where(TemplateRow.label == label))
    if row is None:
        wanted = {"api_key_secret": KEPT} if said.get("api_key_storage") == "inline_encrypted" else {}
        return templates.create_template(tx, CreateTemplate(label, {**said, **wanted}, blueprint.setup_actions), sealer, may_lack_secrets=True)
    _may_replace(request, "template", label)
    on_record = {name: KEPT for name, column in SEALED.items() if getattr(row, column)}
    if said.get("api_key_storage") != "inline_encrypted":
        on_record["api_key_secret"] = ""
    changes = {**template_fields.defaults(), **said, **on_record, "label": label}
    actions = _matched(blueprint.setup_actions, templates.actions_of(row))
    return templates.edit_template(tx, EditTemplate(row.id, row.version, changes, actions), sealer, may_lack_secrets=True)


def _matched(actions: Sequence[SetupAction], known: Sequence[SetupAction]) -> tuple[SetupAction, ...]:
    """Actions with the ids of those on record that have the same kind and name, so that their secrets stay."""
    free = list(known)
    found = []
    for action in actions:
        same = next((other for other in free if (other.kind, other.name) == (action.kind, action.name)), None)
        if same is not None:
            free.remove(same)
        found.append(replace(action, id=same.id if same is not None else ""))
    return tuple(found)


def _may_replace(request: ImportBlueprint, what: str, label: str) -> None:
    if not request.replace:
        raise WrongState(f"there is a {what} {label!r} already", hint="give it another label, or say that it is to be replaced (--replace)")
