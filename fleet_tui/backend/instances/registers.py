"""The registers instances are made from: templates, virtual networks and images."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fleet_tui.backend.clock import Clock
from fleet_tui.backend.errors import InvalidInput, NotFound, Problem, WrongState
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.instances import ImageRecord, NetworkRecord, PutTemplate, SetupAction, TemplateRecord
from fleet_tui.backend.instances.bundle import read_manifest
from fleet_tui.backend.instances.fields import BY_NAME
from fleet_tui.backend.instances.rows import ImageRow, InstanceRow, NetworkRow, TemplateRow
from fleet_tui.backend.instances.setup_actions import checked
from fleet_tui.backend.store import new_id

# --- templates -----------------------------------------------------------------------------------------------------


def list_templates(tx: Session, limit: int = 1000) -> tuple[TemplateRecord, ...]:
    linked = _linked(tx, InstanceRow.template_id)
    rows = tx.scalars(select(TemplateRow).order_by(TemplateRow.label).limit(limit))
    return tuple(_template(row, linked.get(row.id, 0)) for row in rows)


def put_template(tx: Session, request: PutTemplate) -> TemplateRecord:
    """Create (``version=0``) or replace a template; linked instances that ran before now wait for a reprovision."""
    if complaint := (BY_NAME["label"].check or str)(request.label):
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
    return _template(row, _linked(tx, InstanceRow.template_id).get(row.id, 0))


def find_template(tx: Session, label: str) -> TemplateRow:
    row = tx.scalar(select(TemplateRow).where((TemplateRow.label == label) | (TemplateRow.id == label)))
    if row is None:
        raise NotFound(f"there is no template {label!r}", hint=_known("templates", tx.scalars(select(TemplateRow.label)).all()))
    return row


def actions_of(row: TemplateRow) -> tuple[SetupAction, ...]:
    return tuple(SetupAction(**action) for action in row.setup_actions)


def _template(row: TemplateRow, instances: int) -> TemplateRecord:
    return TemplateRecord(row.id, row.label, row.application, actions_of(row), instances, row.version)


# --- virtual networks ----------------------------------------------------------------------------------------------


def list_networks(tx: Session, limit: int = 1000) -> tuple[NetworkRecord, ...]:
    linked = _linked(tx, InstanceRow.network_id)
    rows = tx.scalars(select(NetworkRow).order_by(NetworkRow.label).limit(limit))
    return tuple(NetworkRecord(row.id, row.label, row.provider, row.https_strategy, linked.get(row.id, 0)) for row in rows)


def find_network(tx: Session, label: str) -> NetworkRow:
    row = tx.scalar(select(NetworkRow).where((NetworkRow.label == label) | (NetworkRow.id == label)))
    if row is None:
        raise NotFound(f"there is no virtual network {label!r}", hint=_known("networks", tx.scalars(select(NetworkRow.label)).all()))
    return row


def ensure_network(tx: Session, label: str, provider: str, https_strategy: str) -> NetworkRow:
    row = tx.scalar(select(NetworkRow).where(NetworkRow.label == label))
    if row is None:
        row = NetworkRow(id=new_id("n"), label=label, provider=provider, https_strategy=https_strategy)
        tx.add(row)
        tx.flush()
    return row


# --- images --------------------------------------------------------------------------------------------------------


def list_images(tx: Session, limit: int = 1000) -> tuple[ImageRecord, ...]:
    rows = sorted(tx.scalars(select(ImageRow).limit(limit)), key=lambda row: (row.name, version_key(row.version)))
    return tuple(_image(row) for row in rows)


def register_image(tx: Session, bundle: Path, register: Path, clock: Clock) -> ImageRecord:
    """Check a bundle and take a copy of it, named by its hash, into the register. The same file twice is one image.

    Raises:
        InvalidInput: not a bundle, or another file claims the same name and version.
    """
    if not bundle.is_file():
        raise InvalidInput(f"there is no file {bundle}", problems=[Problem("path", "no such file on the daemon's machine")])
    manifest = read_manifest(bundle)
    digest = hashlib.sha256(bundle.read_bytes()).hexdigest()
    row = tx.scalar(select(ImageRow).where(ImageRow.sha256 == digest))
    if row is not None:
        return _image(row)
    same = tx.scalar(select(ImageRow).where(ImageRow.name == manifest.name, ImageRow.version == manifest.version))
    if same is not None:
        complaint = f"{manifest.name} {manifest.version} is registered already, from another file"
        raise InvalidInput(complaint, problems=[Problem("path", complaint)], hint="give the new bundle a new version")
    register.mkdir(parents=True, exist_ok=True)
    target = register / f"{digest}.tar"
    scratch = register / f".{digest}.part"
    shutil.copyfile(bundle, scratch)
    os.replace(scratch, target)
    row = ImageRow(
        id=new_id("m"), name=manifest.name, version=manifest.version, sha256=digest, size_bytes=target.stat().st_size,
        path=str(target), manifest=dict(manifest.as_document()), created_at=clock.now(),
    )
    tx.add(row)
    append(tx, type="image.registered", ref=f"image:{row.id}", text=f"image {row.name} {row.version} registered")
    return _image(row)


def choose_image(tx: Session, application: str, wanted: str) -> ImageRow:
    """The image an instance runs: the one wanted (``name version``), or the newest of its template's application."""
    rows = list(tx.scalars(select(ImageRow)))
    if wanted:
        for row in rows:
            if wanted in (row.id, f"{row.name} {row.version}"):
                return row
        raise NotFound(f"there is no image {wanted!r}", hint=_known("images", [f"{r.name} {r.version}" for r in rows]))
    mine = [row for row in rows if row.name == application]
    if not mine:
        raise NotFound(f"no image of the application {application!r} is registered", hint="`fleet image register FILE` takes one in")
    return max(mine, key=lambda row: version_key(row.version))


def version_key(version: str) -> tuple[tuple[int, int, str], ...]:
    """Orders versions as people do: numbers as numbers; a pre-release (``1.4.0-rc1``) before its release."""
    import re

    main, _, pre = version.partition("-")
    key = [(1, int(p), "") if p.isdigit() else (0, 0, p) for p in re.split(r"[.+]", main)]
    while key and key[-1] == (1, 0, ""):
        key.pop()
    tail = [(0, -1, "")] + [(0, 0, p) for p in pre.split(".")] if pre else [(0, 1, "")]
    return tuple(key + tail)


def _image(row: ImageRow) -> ImageRecord:
    return ImageRecord(row.id, row.name, row.version, row.size_bytes, row.sha256, row.created_at)


def _linked(tx: Session, column: Any) -> Mapping[str, int]:
    return dict(tx.execute(select(column, func.count()).group_by(column)).all())


def _known(what: str, names: Any) -> str:
    shown = sorted(names)
    return f"{what} there are: {', '.join(shown[:8])}{' …' if len(shown) > 8 else ''}" if shown else f"there are no {what} yet"
