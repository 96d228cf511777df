"""What simulated instances are made from: applications, templates, networks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.instances import SetupAction
from fleet_tui.backend.instances.bundle import Manifest
from fleet_tui.backend.instances.rows import ImageRow, NetworkRow, TemplateRow
from fleet_tui.backend.instances.setup_actions import checked
from fleet_tui.backend.simulation.blueprint import DEPLOYER, ROLES, Role

TEMPLATE_VERSION = 2
"""Templates were changed once; who waits for that change was made with the first version."""
HELLO = Role("hello", 0.0, "design", "hello-app", ("1.4.0",), (50,))
NETWORKS: Mapping[str, str] = {"local": "none", "local-tls": "self_signed"}

_WARM = SetupAction("run_tasks", "warm cache", {"tasks": [{"name": "warm cache", "run": "curl -fsS localhost:$FLEET_PORT/warm"}]}, "after_startup")
_ENVIRONMENT = SetupAction("add_env_variables", "environment", {"variables": {"TZ": "Europe/Berlin", "STAGE": "production"}}, "before_install")
_PROXY = SetupAction("setup_proxy", "proxy", {"host": "proxy.internal", "port": 3128, "exceptions": ["10.0.0.0/8"]}, "before_install", False)
_TUNE = SetupAction("run_tasks", "tune", {"tasks": [{"name": "tune", "run": "./tune --memory auto"}]}, "after_install")
_ACTIONS: Mapping[str, tuple[SetupAction, ...]] = {
    "web": (_ENVIRONMENT, _PROXY, _WARM), "db": (_ENVIRONMENT, _TUNE), "ci": (_PROXY,), "design": (_ENVIRONMENT, _TUNE), "cache": (_TUNE,),
}


@dataclass(frozen=True, slots=True)
class Registers:
    """Ids of templates and networks by label, and each template's setup actions."""

    templates: Mapping[str, str]
    networks: Mapping[str, str]
    actions: Mapping[str, list[dict[str, Any]]]


def enter(tx: Session, folder: Path, now: datetime) -> Registers:
    """Enter what is missing; what the site has already is used as it is. ``folder`` takes placeholders for the bundles."""
    for role in (*ROLES, DEPLOYER, HELLO):
        _images(tx, role, folder, now)
        if tx.scalar(select(TemplateRow).where(TemplateRow.label == role.name)) is None:
            actions = [asdict(action) for action in checked(_ACTIONS.get(role.name, ()))]
            tx.add(TemplateRow(
                id=f"t-{role.name}", label=role.name, application=role.application, setup_actions=actions, version=TEMPLATE_VERSION,
            ))
    for label, strategy in NETWORKS.items():
        if tx.scalar(select(NetworkRow).where(NetworkRow.label == label)) is None:
            tx.add(NetworkRow(id=f"n-{label}", label=label, provider="fake", https_strategy=strategy))
    tx.flush()
    templates = list(tx.scalars(select(TemplateRow)))
    return Registers(
        templates={row.label: row.id for row in templates},
        networks={row.label: row.id for row in tx.scalars(select(NetworkRow))},
        actions={row.label: row.setup_actions for row in templates},
    )


def _images(tx: Session, role: Role, folder: Path, now: datetime) -> None:
    if role is HELLO and tx.scalar(select(ImageRow.id).where(ImageRow.name == role.application).limit(1)) is not None:
        return
    for version in role.versions:
        content = f"{role.application} {version}: simulated, nothing is in it\n".encode()
        digest = hashlib.sha256(content).hexdigest()
        if tx.scalar(select(ImageRow.id).where(ImageRow.sha256 == digest)) is None:
            path = placeholder(folder, digest, content)
            manifest = Manifest(role.application, version, "./serve", install="./install", upgrade="./upgrade", health="/health").as_document()
            tx.add(ImageRow(
                id=f"m-{role.application}-{version}", name=role.application, version=version, sha256=digest, size_bytes=len(content),
                path=str(path), manifest=manifest, created_at=now,
            ))


def placeholder(folder: Path, digest: str, content: bytes) -> Path:
    """A file where a bundle would be; the same again when it is there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{digest}.tar"
    path.write_bytes(content)
    return path
