"""Images: application bundles that instances can run."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.clock import Clock
from fleet_tui.backend.errors import InvalidInput, NotFound, Problem
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.instances import ImageRecord
from fleet_tui.backend.instances.bundle import read_manifest
from fleet_tui.backend.instances.rows import ImageRow
from fleet_tui.backend.store import new_id


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
