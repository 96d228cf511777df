"""Saving what a person sets: new instances, edits, what is pending, what is locked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from fleet_tui.backend.certificates import keys
from fleet_tui.backend.clock import Clock
from fleet_tui.backend.errors import InternalError, InvalidInput, NotFound, Problem, WrongState
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.instances import CreateInstance, EditInstance, InstanceSettings, ssl_settings
from fleet_tui.backend.instances.fields import BY_NAME, FIELDS, defaults, field_words, is_meant, problems_of
from fleet_tui.backend.instances.images import choose_image, list_images, version_key
from fleet_tui.backend.instances.links import pending_of, reasons
from fleet_tui.backend.instances.rows import InstanceRow, NetworkRow, TemplateRow
from fleet_tui.backend.instances.states import InstanceState
from fleet_tui.backend.instances.templates import find_template, refused_actions
from fleet_tui.backend.instances.virtual_networks import find_network
from fleet_tui.backend.secrets import Sealer
from fleet_tui.backend.store import new_id


def find_row(tx: Session, target: str) -> InstanceRow:
    """The instance a person means by id, ref or label, in this order.

    Raises:
        NotFound: there is none.
    """
    name = target.removeprefix("instance:")
    row = tx.get(InstanceRow, name) or tx.scalar(select(InstanceRow).where(func.lower(InstanceRow.label) == name.lower()))
    if row is None:
        raise NotFound(f"there is no instance {target!r}", hint="`fleet instance list` shows the instances there are")
    return row


def create(
    tx: Session, request: CreateInstance, clock: Clock, sealer: Sealer | None = None, warn: Callable[[Problem], None] = lambda problem: None,
    identity: str = "",
) -> InstanceRow:
    """Save a new instance; the same ``request_id`` finds the one it made before.

    Args:
        sealer: for keys that are entered.
        warn: takes what was saved all the same, but is worth a word.
        identity: id it gets; a new one when empty.
    """
    if request.request_id:
        known = tx.scalar(select(InstanceRow).where(InstanceRow.request_id == request.request_id))
        if known is not None:
            return known
    said = {
        "label": request.label, "kind": request.kind, "template": request.template, "virtual_network": request.network,
        **request.settings,
    }
    if "data_disk.size_gb" in said and "data_disk.size_max_gb" not in said:
        said["data_disk.size_max_gb"] = said["data_disk.size_gb"]
    parsed, problems = problems_of({**defaults(), **said})
    problems += _register_problems(tx, parsed)
    problems += _fit_problems(tx, parsed) if not problems else []
    label = str(parsed.get("label", ""))
    if tx.scalar(select(InstanceRow.id).where(func.lower(InstanceRow.label) == label.lower())):
        problems.append(Problem("label", f"{label!r} is taken; labels are unique whatever their case"))
    taken = ssl_settings.take(tx, parsed, {}, _given(parsed, said), clock.now(), None) if not problems else ssl_settings.Taken()
    problems += taken.problems
    if problems:
        raise InvalidInput(field_words("the instance cannot be saved", problems, BY_NAME), problems=problems)
    template, network = find_template(tx, parsed["template"]), find_network(tx, parsed["virtual_network"])
    identity = identity or new_id("i")
    row = InstanceRow(
        id=identity, label=label, kind=parsed["kind"], state=InstanceState.NEW.value, failure="", health_detail="",
        template_id=template.id, network_id=network.id, settings=parsed, pending=[], disk_id=f"d-{identity[2:]}",
        disk_made=False, disk_path="", image=_image_name(tx, parsed), version=1, request_id=request.request_id or None,
        created_at=clock.now(), updated_at=clock.now(),
    )
    tx.add(row)
    _flush(tx, label)
    _seal(tx, row, taken, sealer, clock)
    append(tx, type="instance.created", ref=f"instance:{row.id}", text=f"instance {row.label} saved")
    for problem in taken.warnings:
        warn(problem)
    return row


def edit(
    tx: Session, request: EditInstance, clock: Clock, sealer: Sealer | None = None, warn: Callable[[Problem], None] = lambda problem: None,
) -> InstanceRow:
    """Save changes made from ``request.version``; refuses when the record moved on in a field that matters. ``sealer`` and ``warn`` as in
    :func:`create`.

    Raises:
        WrongState: saved by somebody else meanwhile; details ``fields`` give theirs and yours for what differs.
        InvalidInput: every field at fault at once.
    """
    row = find_row(tx, request.target)
    parsed, problems = problems_of({**row.settings, **request.changes})
    given = {name for name in request.changes if name in parsed and parsed[name] != row.settings.get(name)}
    if request.version != row.version:
        theirs = {name: row.settings.get(name) for name in request.changes}
        raise WrongState(
            f"{row.label} was saved by somebody else meanwhile",
            hint="look at what differs, then save again", state=row.state, version=row.version,
            fields={
                name: {"theirs": theirs[name], "yours": value if name in BY_NAME and not _is_secret(name, value) else "••••"}
                for name, value in request.changes.items() if theirs[name] != value
            },
        )
    wrong = {problem.field for problem in problems}
    taken = ssl_settings.Taken()
    if not wrong & ssl_settings.FIELDS:
        taken = ssl_settings.take(tx, parsed, row.settings, given, clock.now(), row.host_name)
        problems += taken.problems
        if given & ssl_settings.FIELDS:
            given |= {name for name in (ssl_settings.CERTIFICATE, ssl_settings.KEY) if parsed.get(name, "") != row.settings.get(name, "")}
    changed = {name: parsed[name] for name in given if parsed[name] != row.settings.get(name)}
    locked = locked_fields(row)
    problems += [Problem(name, locked[name]) for name in changed if name in locked]
    problems += _register_problems(tx, {name: changed[name] for name in changed})
    problems += _fit_problems(tx, parsed) if {"template", "virtual_network"} & changed.keys() and not problems else []
    size = changed.get("data_disk.size_gb")
    if isinstance(size, int) and row.disk_made and size < row.settings["data_disk.size_gb"]:
        now = row.settings["data_disk.size_gb"]
        problems.append(Problem("data_disk.size_gb", f"{size} is smaller than the disk is now ({now}); a disk can only grow"))
    label = changed.get("label")
    if label and tx.scalar(select(InstanceRow.id).where(func.lower(InstanceRow.label) == label.lower(), InstanceRow.id != row.id)):
        problems.append(Problem("label", f"{label!r} is taken; labels are unique whatever their case"))
    if problems:
        raise InvalidInput(field_words(f"{row.label} was not saved", problems, BY_NAME), problems=problems)
    if changed:
        row.settings = {**row.settings, **changed}
        _take_over(tx, row, changed)
        row.pending = pending_of(tx, row)
        row.version += 1
        row.updated_at = clock.now()
        _flush(tx, row.label)
        if {ssl_settings.CERTIFICATE, ssl_settings.KEY} & set(changed):
            _seal(tx, row, taken, sealer, clock)
        append(tx, type="instance.changed", ref=f"instance:{row.id}", text=f"settings of {row.label} saved: {', '.join(sorted(changed))}")
    for problem in taken.warnings:
        warn(problem)
    return row


def _given(parsed: Mapping[str, Any], said: Mapping[str, Any]) -> set[str]:
    """Fields of a new instance that say something."""
    return {name for name in said if name in parsed and parsed[name] not in ("", [], None)}


def _is_secret(name: str, value: Any) -> bool:
    """Also what a person pasted into the wrong field."""
    return BY_NAME[name].kind == "secret" or "PRIVATE KEY" in str(value)


def _seal(tx: Session, row: InstanceRow, taken: ssl_settings.Taken, sealer: Sealer | None, clock: Clock) -> None:
    """Keep a key that was entered; one that nothing uses any more goes."""
    ref = f"instance:{row.id}"
    if taken.key is not None:
        if sealer is None:
            raise InternalError("a key was entered where none can be sealed")
        keys.keep(tx, ref, *taken.key, sealer, clock)
        tx.flush()
    forget_unused_keys(tx, row)


def forget_unused_keys(tx: Session, row: InstanceRow) -> None:
    """Keys neither of what is saved nor of what runs; while a machine is being made it may be on its way to fetch one."""
    if InstanceState(row.state).is_transitional:
        return
    marks = (str((values or {}).get(ssl_settings.KEY) or "") for values in (row.settings, row.applied))
    keys.forget(tx, f"instance:{row.id}", [key_id for mark in marks if (key_id := keys.key_id_of(mark))])


def locked_fields(row: InstanceRow | None) -> dict[str, str]:
    """Field -> why it cannot be changed now."""
    if row is None or (row.applied is None and not row.disk_made and row.state == InstanceState.NEW.value):
        return {}
    locked = {f.name: "fixed since the first provisioning" for f in FIELDS if f.change_class == "P"}
    if row.disk_made:
        locked["data_disk.iops"] = "fixed since the disk was made"
    if row.machine is not None or InstanceState(row.state).is_transitional:
        # Only `grow`, or the next provisioning, makes the disk follow; until then all that is measured by this would be wrong.
        locked["data_disk.size_gb"] = "the disk grows by `fleet instance grow` while it runs; here it can be set while there is no machine"
    return locked


def show(tx: Session, target: str) -> InstanceSettings:
    """Everything a form needs; with no target, a new instance's."""
    row = find_row(tx, target) if target else None
    strategy = _strategy(tx, row.network_id) if row else None
    provider = tx.scalar(select(NetworkRow.provider).where(NetworkRow.id == row.network_id)) if row else None
    elsewhere = tuple(f.name for f in FIELDS if f.providers and provider not in f.providers)
    values = {**defaults(), **(row.settings if row else {})}
    locked = locked_fields(row)
    for f in FIELDS if row else ():
        if f.name in elsewhere:
            locked[f.name] = f"means nothing on this virtual network (it runs on {provider})"
        elif f.strategies and strategy not in f.strategies:
            locked[f.name] = f"means nothing on this virtual network (HTTPS strategy {strategy})"
        elif not is_meant(f, str(strategy), str(values.get(ssl_settings.STORAGE))):
            locked[f.name] = f"means nothing with the key storage {values.get(ssl_settings.STORAGE)}"
    applied = {name: row.applied.get(name) for name in row.pending if row.applied} if row else {}
    return InstanceSettings(
        target=row.label if row else "", version=row.version if row else 0, values=values, applied=applied, locked=locked,
        reasons=_reasons(tx, row) if row else {},
        choices={
            "template": tuple(tx.scalars(select(TemplateRow.label).order_by(TemplateRow.label))),
            "virtual_network": tuple(tx.scalars(select(NetworkRow.label).order_by(NetworkRow.label))),
            "image": ("", *(f"{image.name} {image.version}" for image in list_images(tx))),
        },
        hidden=elsewhere,
    )


def check_image(tx: Session, row: InstanceRow, installed: str) -> None:
    """Refuse an image older than what the data disk's application was last run with, unless allowed."""
    template = find_template(tx, row.settings["template"])
    image = choose_image(tx, template.application, row.settings.get("image", ""))
    name, _, version = installed.partition(" ")
    if version and name == image.name and version_key(image.version) < version_key(version) and not row.settings.get("allow_downgrade"):
        raise InvalidInput(
            f"{image.name} {image.version} is older than {version}, which the data disk was last used with",
            problems=[Problem("image", f"older than the installed {version}")], hint="choose a newer image, or set allow_downgrade",
        )


def _reasons(tx: Session, row: InstanceRow) -> dict[str, str]:
    template, network = tx.get(TemplateRow, row.template_id), tx.get(NetworkRow, row.network_id)
    return reasons(row, template, network) if template is not None and network is not None else {}


def _take_over(tx: Session, row: InstanceRow, changed: Mapping[str, Any]) -> None:
    """Columns that repeat a setting, because lists sort and join by them."""
    if "label" in changed:
        row.label = changed["label"]
    if "kind" in changed:
        row.kind = changed["kind"]
    if "template" in changed:
        row.template_id = find_template(tx, changed["template"]).id
    if "virtual_network" in changed:
        row.network_id = find_network(tx, changed["virtual_network"]).id
    if row.applied is None:
        row.image = _image_name(tx, row.settings)


def _register_problems(tx: Session, values: Mapping[str, Any]) -> list[Problem]:
    problems = []
    for name, find in (("template", find_template), ("virtual_network", find_network)):
        if name in values:
            try:
                find(tx, str(values[name]))
            except NotFound as error:
                problems.append(Problem(name, f"{error.message}; {error.hint}"))
    if values.get("image"):
        try:
            choose_image(tx, "", str(values["image"]))
        except NotFound as error:
            problems.append(Problem("image", f"{error.message}; {error.hint}"))
    return problems


def _fit_problems(tx: Session, values: Mapping[str, Any]) -> list[Problem]:
    """Whether the template can be used in the virtual network at all."""
    why = refused_actions(find_template(tx, values["template"]), find_network(tx, values["virtual_network"]))
    return [Problem("template", why)] if why else []


def _image_name(tx: Session, settings: Mapping[str, Any]) -> str:
    try:
        image = choose_image(tx, find_template(tx, settings["template"]).application, settings.get("image", ""))
    except NotFound:
        return ""
    return f"{image.name} {image.version}"


def _strategy(tx: Session, network_id: str) -> str:
    return tx.scalar(select(NetworkRow.https_strategy).where(NetworkRow.id == network_id)) or "none"


def _flush(tx: Session, label: str) -> None:
    try:
        tx.flush()
    except IntegrityError as error:
        complaint = f"{label!r} was taken this moment"
        raise InvalidInput(complaint, problems=[Problem("label", complaint)]) from error
