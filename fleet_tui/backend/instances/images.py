"""Images: application bundles that instances can run."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.clock import Clock
from fleet_tui.backend.errors import ConfirmationRequired, InUse, InvalidInput, NotFound, Problem
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.instances import ImageRecord, RemoveImage
from fleet_tui.backend.instances.bundle import Manifest, read_manifest
from fleet_tui.backend.instances.rows import ImageRow, InstanceRow, TemplateRow
from fleet_tui.backend.instances.states import InstanceState
from fleet_tui.backend.store import new_id

_PIECE = 1024 * 1024
_ABANDONED_S = 86400.0


def list_images(tx: Session, limit: int = 1000) -> tuple[ImageRecord, ...]:
    rows = sorted(tx.scalars(select(ImageRow).limit(limit)), key=lambda row: (row.name, version_key(row.version)))
    return tuple(_image(row) for row in rows)


@dataclass(frozen=True, slots=True)
class Taken:
    """A bundle whose copy lies in the register's folder under its own hash; no row knows of it yet."""

    manifest: Manifest
    sha256: str
    path: Path
    size_bytes: int


def take_bundle(bundle: Path, folder: Path) -> Taken:
    """Check a bundle and copy it, piece by piece and outside any transaction: it may be gigabytes.

    Raises:
        InvalidInput: there is no such file, or it is no bundle.
    """
    if not bundle.is_file():
        raise InvalidInput(f"there is no file {bundle}", problems=[Problem("path", "no such file on the daemon's machine")])
    manifest = read_manifest(bundle)
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with open(bundle, "rb") as given, tempfile.NamedTemporaryFile(dir=folder, prefix=".", suffix=".part", delete=False) as copy:
        try:
            while piece := given.read(_PIECE):
                digest.update(piece)
                copy.write(piece)
            copy.flush()
            os.fsync(copy.fileno())
            path = folder / f"{digest.hexdigest()}.tar"
            os.replace(copy.name, path)
            _settle(folder)
        except BaseException:
            Path(copy.name).unlink(missing_ok=True)
            raise
    return Taken(manifest, digest.hexdigest(), path, path.stat().st_size)


def bundle_file(row: ImageRow, folder: Path) -> Path:
    """Where the bundle lies: in the register's ``folder``, wherever that has moved to since; else where it was put."""
    own, put = folder / Path(row.path).name, Path(row.path)
    return put if put.is_file() and not own.is_file() else own


def sweep_parts(folder: Path, now: datetime) -> None:
    """Remove copies that a kill left unfinished; one that is a day old is nobody's any more."""
    for left in folder.glob(".*.part"):
        with suppress(OSError):
            if now.timestamp() - left.stat().st_mtime > _ABANDONED_S:
                left.unlink()


def register_image(tx: Session, taken: Taken, clock: Clock) -> ImageRecord:
    """Make a bundle that was taken an image. The same file twice is one image, which lies where it was put last.

    Raises:
        InvalidInput: another file claims the same name and version. The copy is gone then.
    """
    manifest = taken.manifest
    row = tx.scalar(select(ImageRow).where(ImageRow.sha256 == taken.sha256))
    if row is not None:
        row.path = str(taken.path)
        return _image(row)
    same = tx.scalar(select(ImageRow).where(ImageRow.name == manifest.name, ImageRow.version == manifest.version))
    if same is not None:
        taken.path.unlink(missing_ok=True)
        complaint = f"{manifest.name} {manifest.version} is registered already, from another file"
        raise InvalidInput(complaint, problems=[Problem("path", complaint)], hint="give the new bundle a new version")
    row = ImageRow(
        id=new_id("m"), name=manifest.name, version=manifest.version, sha256=taken.sha256, size_bytes=taken.size_bytes,
        path=str(taken.path), manifest=dict(manifest.as_document()), created_at=clock.now(),
    )
    tx.add(row)
    append(tx, type="image.registered", ref=f"image:{row.id}", text=f"image {row.name} {row.version} registered")
    return _image(row)


def remove_image(tx: Session, request: RemoveImage, folder: Path, user: str) -> str:
    """Take an image from the register, with its bundle; gives its name. Killed before it is on record, it can be asked for again.

    Raises:
        NotFound: there is none of that name.
        InUse: an instance runs it, or would with its next machine.
        ConfirmationRequired: its name was not typed.
    """
    row = choose_image(tx, "", request.target)
    name = f"{row.name} {row.version}"
    if users := _users(tx, row, name):
        more = f" and {len(users) - 10} more" if len(users) > 10 else ""
        raise InUse(f"image {name} is used by {', '.join(users[:10])}{more}", hint="have them run another one first", users=users[:20])
    if request.confirm not in (name, row.id):
        raise ConfirmationRequired(f"removing image {name} cannot be undone", hint=f"type its name: --confirm {shlex.quote(name)}")
    tx.delete(row)
    append(tx, type="image.removed", ref=f"image:{row.id}", text=f"image {name} was removed by {user}", user=user)
    if row.path:
        bundle_file(row, folder).unlink(missing_ok=True)
    return name


def _users(tx: Session, image: ImageRow, name: str) -> list[str]:
    """Instances whose machines run it, that chose it, or that get it because it is the newest. What one runs that is on its way is not known yet."""
    is_newest = choose_image(tx, image.name, "").id == image.id
    query = select(InstanceRow, TemplateRow.application).join(TemplateRow, TemplateRow.id == InstanceRow.template_id)
    users = []
    for row, application in tx.execute(query.order_by(InstanceRow.label)):
        may_run = row.image == name or (InstanceState(row.state).is_transitional and application == image.name)
        chosen = row.settings.get("image")
        if (may_run and row.machine is not None) or chosen in (name, image.id) or (is_newest and not chosen and application == image.name):
            users.append(row.label)
    return users


def _settle(folder: Path) -> None:
    """Its names are on the disk before a row counts on them."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def choose_image(tx: Session, application: str, wanted: str) -> ImageRow:
    """The image an instance runs: the one wanted (``name version``), or the newest of its template's application."""
    rows = list(tx.scalars(select(ImageRow)))
    if wanted:
        for row in rows:
            if wanted in (row.id, f"{row.name} {row.version}"):
                return row
        raise NotFound(f"there is no image {wanted!r}", hint=known_names("images", [f"{r.name} {r.version}" for r in rows]))
    mine = [row for row in rows if row.name == application]
    if not mine:
        raise NotFound(f"no image of the application {application!r} is registered", hint="`fleet image register FILE` takes one in")
    return max(mine, key=lambda row: version_key(row.version))


def version_key(version: str) -> tuple[tuple[int, int, str], ...]:
    """Orders versions as people do: numbers as numbers; a pre-release (``1.4.0-rc1``) before its release."""
    main, _, pre = version.partition("-")
    key = [(1, int(p), "") if p.isdigit() else (0, 0, p) for p in re.split(r"[.+]", main)]
    while key and key[-1] == (1, 0, ""):
        key.pop()
    tail = [(0, -1, "")] + [(0, 0, p) for p in pre.split(".")] if pre else [(0, 1, "")]
    return tuple(key + tail)


def _image(row: ImageRow) -> ImageRecord:
    return ImageRecord(row.id, row.name, row.version, row.size_bytes, row.sha256, row.created_at)


def known_names(what: str, names: Iterable[str]) -> str:
    """A hint that lists what there is."""
    shown = sorted(names)
    return f"{what} there are: {', '.join(shown[:8])}{' …' if len(shown) > 8 else ''}" if shown else f"there are no {what} yet"
