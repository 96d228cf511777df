"""The register of templates: what instances are made from (spec 4.6). An edit touches no machine; it says how many wait for a reprovision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import ConfirmationRequired, InUse, InvalidInput, NotFound, Problem, WrongState
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.instances import SetupAction
from fleet_tui.backend.instances.fields import field_words
from fleet_tui.backend.instances.images import known_names
from fleet_tui.backend.instances.links import SEALED, counts, linked_to, links, mark, refuse_linked, renamed, waiting_words
from fleet_tui.backend.instances.network_fields import SHARED_MACHINES
from fleet_tui.backend.instances.profiles import (
    KEPT,
    CloneTemplate,
    CreateTemplate,
    DeleteTemplate,
    EditTemplate,
    PutTemplate,
    TemplateRecord,
    TemplateSheet,
)
from fleet_tui.backend.instances.rows import ImageRow, InstanceRow, NetworkRow, TemplateRow
from fleet_tui.backend.instances.setup_actions import Seal, absent, checked, is_same, opened, resealed, shown, whole_machine
from fleet_tui.backend.instances.template_fields import BY_NAME, FIELDS, defaults, problems_of
from fleet_tui.backend.secrets import Sealer
from fleet_tui.backend.store import new_id

_SECRET_LIMIT = 64 * 1024


# --- reading -------------------------------------------------------------------------------------------------------


def list_templates(tx: Session, limit: int = 1000) -> tuple[TemplateRecord, ...]:
    linked = counts(tx, InstanceRow.template_id, "template")
    unfit = _unfit(tx)
    rows = tx.scalars(select(TemplateRow).order_by(TemplateRow.label).limit(limit))
    return tuple(_record(row, *linked.get(row.id, (0, 0)), unfit.get(row.id, ())) for row in rows)


def show_template(tx: Session, target: str) -> TemplateSheet:
    """Everything a form needs; with an empty target, a new one's."""
    choices = {"application": tuple(tx.scalars(select(ImageRow.name).distinct().order_by(ImageRow.name)))}
    if not target:
        values = defaults()
        return TemplateSheet(TemplateRecord("", "", values["application"], (), 0, 0, values), (), {}, choices)
    row = find_template(tx, target)
    return TemplateSheet(describe(tx, row), links(tx, row), {}, choices)


def describe(tx: Session, row: TemplateRow) -> TemplateRecord:
    """One template as a record."""
    return _record(row, *counts(tx, InstanceRow.template_id, "template").get(row.id, (0, 0)), _unfit(tx).get(row.id, ()))


def find_template(tx: Session, label: str) -> TemplateRow:
    """By label or id. Raises :class:`NotFound` with the labels there are."""
    row = tx.scalar(select(TemplateRow).where((TemplateRow.label == label) | (TemplateRow.id == label)))
    if row is None:
        raise NotFound(f"there is no template {label!r}", hint=known_names("templates", tx.scalars(select(TemplateRow.label)).all()))
    return row


def actions_of(row: TemplateRow) -> tuple[SetupAction, ...]:
    """Its setup actions, secrets sealed as they are on record."""
    return tuple(SetupAction(**action) for action in row.setup_actions)


def values_of(row: TemplateRow) -> dict[str, Any]:
    """By field; secrets are :data:`KEPT`."""
    return {f.name: (KEPT if getattr(row, SEALED[f.name]) else "") if f.name in SEALED else getattr(row, f.name) for f in FIELDS}


def open_field(sealer: Sealer, template: Mapping[str, Any], field: str, learn: Callable[..., None] = lambda *secrets: None) -> str:
    """A secret of a template's copy (see :func:`links.template_copy`) in the clear; empty where there is none."""
    if not template.get(field):
        return ""
    secret = sealer.open(template[field], _context(template["id"], field)).decode()
    learn(secret, *secret.splitlines())
    return secret


def learn_secrets(tx: Session, sealer: Sealer, learn: Callable[..., None], template_id: str = "") -> None:
    """Have the log mask every secret of a template, or of all, from now on."""
    query = select(TemplateRow).where(TemplateRow.id == template_id) if template_id else select(TemplateRow)
    for row in tx.scalars(query):
        seal = Seal(sealer, row.id)
        for action in actions_of(row):
            if not absent(action):
                opened(action, seal, learn)
        for field, column in SEALED.items():
            open_field(sealer, {"id": row.id, field: getattr(row, column)}, field, learn)


# --- changing ------------------------------------------------------------------------------------------------------


def create_template(tx: Session, request: CreateTemplate, sealer: Sealer, *, may_lack_secrets: bool = False) -> TemplateRow:
    """Save a new one; one of a blueprint ``may_lack_secrets``, which are then entered before the next provision.

    Raises:
        InvalidInput: everything wrong at once.
    """
    values, problems = problems_of({**defaults(), **request.values, "label": request.label})
    problems += _taken(tx, values.get("label", ""))
    if not may_lack_secrets:
        problems += [Problem(name, "is not on record; enter it") for name in SEALED if values.get(name) == KEPT]
    identity = new_id("t")
    deed = f"template {request.label[:63]!r} cannot be saved"
    actions = _checked(request.setup_actions, (), Seal(sealer, identity), problems, deed, may_lack_secrets)
    row = TemplateRow(id=identity, setup_actions=actions, version=1)
    _put(row, values, sealer)
    tx.add(row)
    _flush(tx, row.label)
    append(tx, type="template.created", ref=f"template:{row.id}", text=f"template {row.label} saved")
    return row


def edit_template(tx: Session, request: EditTemplate, sealer: Sealer, *, may_lack_secrets: bool = False) -> TemplateRow:
    """Save changes made from ``request.version``; linked instances that run wait for a reprovision from then on.

    Raises:
        WrongState: saved by somebody else meanwhile; details ``fields`` give theirs and yours for what differs.
        InvalidInput: everything wrong at once.
    """
    row = _locked(tx, request.target)
    before = values_of(row)
    if request.version != row.version:
        differing = {name: {"theirs": before.get(name), "yours": yours} for name, yours in request.changes.items() if before.get(name) != yours}
        raise WrongState(
            f"template {row.label} was saved by somebody else meanwhile (version {row.version}, yours was {request.version})",
            hint="look at what differs, then save again", version=row.version,
            fields={name: {"theirs": said["theirs"], "yours": KEPT if name in SEALED else said["yours"]} for name, said in differing.items()},
        )
    values, problems = problems_of({**before, **request.changes})
    changed = {name: values[name] for name in request.changes if name in values and values[name] != before[name]}
    if "label" in changed:
        problems += _taken(tx, changed["label"], row.id)
    if not may_lack_secrets:
        problems += [Problem(name, "is not on record; enter it") for name in SEALED if changed.get(name) == KEPT]
    actions = row.setup_actions
    deed = f"template {row.label} was not saved"
    if request.setup_actions is not None:
        actions = _checked(request.setup_actions, actions_of(row), Seal(sealer, row.id), problems, deed, may_lack_secrets)
    elif problems:
        raise InvalidInput(field_words(deed, problems, BY_NAME), problems=problems)
    if not changed and is_same(row.setup_actions, actions):
        return row
    old = row.label
    _put(row, changed, sealer)
    row.setup_actions = actions
    row.version += 1
    _flush(tx, row.label)
    if row.label != old:
        renamed(tx, row, old)
    mark(tx, linked_to(tx, row))
    tx.flush()
    waiting = counts(tx, InstanceRow.template_id, "template").get(row.id, (0, 0))[1]
    append(tx, type="template.changed", ref=f"template:{row.id}", text=f"template {row.label} saved{waiting_words(waiting)}")
    return row


def put_template(tx: Session, request: PutTemplate, sealer: Sealer) -> TemplateRow:
    """Create, or replace application and actions of the one that is there: for scripts, which know no versions."""
    row = tx.scalar(select(TemplateRow).where(TemplateRow.label == request.label))
    if row is None:
        values = {"application": request.application}
        return create_template(tx, CreateTemplate(request.label, values, request.setup_actions), sealer)
    edit = EditTemplate(row.id, request.version or row.version, {"application": request.application}, request.setup_actions)
    return edit_template(tx, edit, sealer)


def clone_template(tx: Session, request: CloneTemplate, sealer: Sealer) -> TemplateRow:
    """Another with the same content, secrets too, which are sealed anew for it."""
    origin = find_template(tx, request.target)
    values, problems = problems_of({**values_of(origin), "label": request.label})
    problems += _taken(tx, values.get("label", ""))
    if problems:
        raise InvalidInput(field_words(f"template {origin.label} was not cloned", problems, BY_NAME), problems=problems)
    identity = new_id("t")
    actions = resealed(actions_of(origin), Seal(sealer, origin.id), Seal(sealer, identity))
    row = TemplateRow(id=identity, setup_actions=[asdict(action) for action in actions], version=1)
    secrets = {name: open_field(sealer, {"id": origin.id, name: getattr(origin, column)}, name) for name, column in SEALED.items()}
    _put(row, {**values, **secrets}, sealer)
    tx.add(row)
    _flush(tx, row.label)
    append(tx, type="template.created", ref=f"template:{row.id}", text=f"template {row.label} made as a clone of {origin.label}")
    return row


def delete_template(tx: Session, request: DeleteTemplate) -> str:
    """Raises :class:`InUse` naming the instances that are linked."""
    row = _locked(tx, request.target)
    refuse_linked(tx, row, f"template {row.label} cannot be deleted", "give them another template, or delete them first")
    if request.confirm != row.label:
        raise ConfirmationRequired(f"deleting template {row.label} cannot be undone", hint=f"type its label: --confirm {row.label!r}")
    label = row.label
    tx.delete(row)
    try:
        tx.flush()
    except IntegrityError as error:
        raise InUse(f"template {label} cannot be deleted: an instance was linked to it this moment", hint="look at its instances") from error
    append(tx, type="template.deleted", ref=f"template:{row.id}", text=f"template {label} deleted")
    return f"template {label} deleted"


def lacks(row: TemplateRow) -> tuple[str, ...]:
    """Secrets that are to be entered before a provision, in words."""
    keyless = row.api_key_storage == "inline_encrypted" and not row.api_key_sealed
    return (
        *(f"{place} of the action {action.name}" for action in actions_of(row) if action.enabled for place in absent(action)),
        *(("its secret key for API access",) if keyless else ()),
    )


def provision_refusal(row: TemplateRow, network: NetworkRow) -> str:
    """Why instances of a template cannot be provisioned in a virtual network now; empty when they can be."""
    missing = lacks(row)
    return f"template {row.label} lacks {', '.join(missing)}; enter it in the template" if missing else refused_actions(row, network)


def refused_actions(row: TemplateRow, network: NetworkRow) -> str:
    """Why a template is not for a virtual network at all; empty when it is."""
    wrong = whole_machine(actions_of(row)) if network.provider in SHARED_MACHINES else ()
    if not wrong:
        return ""
    named = ", ".join(f"{action.name} ({action.kind})" for action in wrong)
    many = len(wrong) > 1
    return (
        f"template {row.label} has {'actions' if many else 'the action'} {named}, which {'change' if many else 'changes'} the whole machine; "
        f"instances of the virtual network {network.label} share theirs"
    )


def refuse_unfit(row: TemplateRow, network: NetworkRow) -> None:
    """Raises :class:`InvalidInput` where :func:`provision_refusal` complains."""
    if why := provision_refusal(row, network):
        raise InvalidInput(why, problems=[Problem("template", why)], hint="switch the actions off, or use a template or a virtual network that fits")


# --- parts ---------------------------------------------------------------------------------------------------------


def _locked(tx: Session, target: str) -> TemplateRow:
    row = find_template(tx, target)
    tx.refresh(row, with_for_update=True)
    return row


def _checked(actions: Any, known: Any, seal: Seal, problems: list[Problem], deed: str, may_lack_secrets: bool) -> list[dict[str, Any]]:
    """Actions as they are stored. Raises :class:`InvalidInput` with what is wrong with them and with the fields, together."""
    try:
        made = [asdict(action) for action in checked(actions, known, seal, may_lack_secrets=may_lack_secrets)]
    except InvalidInput as refused:
        problems = [*problems, *refused.problems]
        made = []
    if problems:
        raise InvalidInput(field_words(deed, problems, BY_NAME), problems=problems)
    return made


def _taken(tx: Session, label: str, but: str = "") -> list[Problem]:
    found = tx.scalar(select(TemplateRow.id).where(func.lower(TemplateRow.label) == label.lower(), TemplateRow.id != but))
    return [Problem("label", f"{label!r} is taken by another template")] if found else []


def _put(row: TemplateRow, values: Mapping[str, Any], sealer: Sealer) -> None:
    """Values into their columns; secrets sealed for this template, those that are to stay left alone."""
    for name, value in values.items():
        if name not in SEALED:
            setattr(row, name, value)
        elif len(value) > _SECRET_LIMIT:
            raise InvalidInput(f"{BY_NAME[name].title} is too long", problems=[Problem(name, f"is longer than {_SECRET_LIMIT // 1024} KiB")])
        elif value != KEPT:
            setattr(row, SEALED[name], sealer.seal(value.encode(), _context(row.id, name)) if value else "")


def _context(template_id: str, field: str) -> str:
    return f"template:{template_id}:{field}"


def _flush(tx: Session, label: str) -> None:
    try:
        tx.flush()
    except IntegrityError as error:
        complaint = f"{label!r} was taken this moment"
        raise InvalidInput(complaint, problems=[Problem("label", complaint)]) from error


def _unfit(tx: Session) -> dict[str, tuple[str, ...]]:
    """Of each template with actions that change the whole machine, the linked instances that share theirs."""
    rows = {row.id: row for row in tx.scalars(select(TemplateRow)) if whole_machine(actions_of(row))}
    if not rows:
        return {}
    query = select(InstanceRow.template_id, InstanceRow.label).join(NetworkRow, InstanceRow.network_id == NetworkRow.id)
    query = query.where(InstanceRow.template_id.in_(list(rows)), NetworkRow.provider.in_(list(SHARED_MACHINES))).order_by(InstanceRow.label)
    found: dict[str, list[str]] = {}
    for template, label in tx.execute(query):
        found.setdefault(template, []).append(label)
    return {template: tuple(labels) for template, labels in found.items()}


def _record(row: TemplateRow, instances: int, waiting: int, unfit: tuple[str, ...]) -> TemplateRecord:
    actions = tuple(shown(action) for action in actions_of(row))
    return TemplateRecord(row.id, row.label, row.application, actions, instances, row.version, values_of(row), waiting, unfit, lacks(row))
