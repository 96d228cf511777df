"""What simulated instances are made from: applications, templates, networks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.instances import SetupAction
from fleet_tui.backend.instances.action_kinds import secret_places
from fleet_tui.backend.instances.bundle import Manifest
from fleet_tui.backend.instances.links import template_copy
from fleet_tui.backend.instances.rows import ImageRow, NetworkRow, TemplateRow
from fleet_tui.backend.instances.setup_actions import Seal, checked
from fleet_tui.backend.instances.templates import actions_of
from fleet_tui.backend.secrets import Sealer
from fleet_tui.backend.simulation.blueprint import DEPLOYER, ROLES, Role

TEMPLATE_VERSION = 2
"""Templates were changed once; who waits for that change was made with the first version."""
HELLO = Role("hello", 0.0, "design", "hello-app", ("1.4.0",), (50,))
NETWORKS: Mapping[str, Mapping[str, Any]] = {
    "local": {}, "local-tls": {"https_strategy": "self_signed"},
    "edge": {
        "https_strategy": "letsencrypt", "http_mode": "redirect", "contact_mail": "ops@example.com", "acme_directory": "staging",
        "region": "eu-west-1", "vpc_id": "vpc-0a1b2c3d", "subnet_id": "subnet-0a1b2c3d", "second_subnet_id": "subnet-0d5e6f70",
        "security_groups": ["sg-0a1b2c3d", "sg-0d5e6f70"], "dns_strategy": "cloud_dns", "public_zone_id": "Z0EXAMPLE",
    },
    "vault": {
        "https_strategy": "per_instance", "http_mode": "disabled", "region": "eu-central-1", "internet_access": "egress_only",
        "assign_public_ip": False, "directory_mode": "central", "event_server": "deployer-01",
    },
}
"""Virtual networks by label, with what of each is not as usual. Instances are in the first two."""
GONE: Mapping[str, str] = {"subnet-0d5e6f70": "is not there any more", "sg-0d5e6f70": "is not in vpc-0a1b2c3d any more"}
"""What was taken away in the cloud behind the back of a virtual network."""
LEGACY = "legacy"
"""A template that no instance is made from."""

_WARM = SetupAction("run_tasks", "warm cache", {"tasks": [{"name": "warm cache", "run": "curl -fsS localhost:$FLEET_PORT/warm"}]}, "after_startup")
_ENVIRONMENT = SetupAction("add_env_variables", "environment", {"variables": {"TZ": "Europe/Berlin", "STAGE": "production"}}, "before_install")
_PROXY = SetupAction("setup_proxy", "proxy", {"host": "proxy.internal", "port": 3128, "exceptions": ["10.0.0.0/8"]}, "before_install", False)
_TUNE = SetupAction("run_tasks", "tune", {"tasks": [{"name": "tune", "run": "./tune --memory auto"}]}, "after_install")
_TOOLS = SetupAction("install_packages", "tools", {"packages": ["curl", "jq", "rsync"]}, "before_install")
_MEMORY = SetupAction("memory_settings", "memory", {"application_mb": 4096, "worker_mb": 512}, "before_install")
_HEADERS = SetupAction("advanced_security", "headers", {"basic_headers": True, "hsts": True}, "before_install")
_SHOP = SetupAction(
    "add_env_variables", "payment", {"variables": {"PAYMENT_URL": "https://pay.example.com", "PAYMENT_TOKEN": "made-up"}}, "before_install",
)
_DRIVER = SetupAction("install_db_driver", "oracle driver", {
    "database": "oracle", "url": "https://drivers.example.com/ojdbc11.zip", "paths": ["ojdbc11.jar"], "username": "fleet", "password": "made-up",
}, "before_install")
_SCIENCE = SetupAction("code_env_preset", "science", {"name": "science", "packages": ["pandas==2.2.3", "scikit-learn"]}, "after_install", False)
_ACTIONS: Mapping[str, tuple[SetupAction, ...]] = {
    "web": (_TOOLS, _ENVIRONMENT, _SHOP, _PROXY, _HEADERS, _MEMORY, _WARM), "db": (_ENVIRONMENT, _MEMORY, _TUNE), "ci": (_TOOLS, _PROXY),
    "design": (_ENVIRONMENT, _DRIVER, _SCIENCE, _TUNE), "cache": (_TUNE,), LEGACY: (_PROXY, _DRIVER),
}
_FIELDS: Mapping[str, Mapping[str, Any]] = {
    "web": {"machine_type": "m7i.large"}, "db": {"machine_type": "r7i.xlarge", "restrict_metadata_access": False},
    LEGACY: {"api_access_mode": "keypair", "api_key_storage": "inline_encrypted", "api_key_id": "AKIAEXAMPLE000000001"},
}


@dataclass(frozen=True, slots=True)
class Registers:
    """Ids of templates and networks by label, and each template's setup actions."""

    templates: Mapping[str, str]
    networks: Mapping[str, str]
    actions: Mapping[str, list[dict[str, Any]]]
    copies: Mapping[str, Mapping[str, Any]]
    """By label of a template: what those were made with that wait for its change."""


def enter(tx: Session, folder: Path, now: datetime, sealer: Sealer) -> Registers:
    """Enter what is missing; what the site has already is used as it is. ``folder`` takes placeholders for the bundles."""
    for role in (*ROLES, DEPLOYER, HELLO):
        _images(tx, role, folder, now)
        _template(tx, role.name, role.application, sealer)
    _template(tx, LEGACY, HELLO.application, sealer)
    for label, values in NETWORKS.items():
        if tx.scalar(select(NetworkRow).where(NetworkRow.label == label)) is None:
            named = values.get("second_subnet_id") in GONE
            row = NetworkRow(id=f"n-{label}", label=label, provider="fake", **{"https_strategy": "none", **values}, version=1, findings=[])
            row.checked_at = now - timedelta(hours=26) if named else None
            row.findings = [{"field": "second_subnet_id", "text": f"subnet-0d5e6f70 {GONE['subnet-0d5e6f70']}", "is_error": True}] if named else []
            tx.add(row)
    tx.flush()
    templates = list(tx.scalars(select(TemplateRow)))
    return Registers(
        templates={row.label: row.id for row in templates},
        networks={row.label: row.id for row in tx.scalars(select(NetworkRow))},
        actions={row.label: row.setup_actions for row in templates},
        copies={row.label: _as_it_was(row) for row in templates},
    )


def _template(tx: Session, label: str, application: str, sealer: Sealer) -> None:
    if tx.scalar(select(TemplateRow).where(TemplateRow.label == label)) is not None:
        return
    identity = f"t-{label}"
    wanted = [replace(action, id=f"a-{label}-{n}") for n, action in enumerate(_ACTIONS.get(label, ()), 1)]
    actions = [asdict(action) for action in checked(wanted, [replace(action, parameters={}) for action in wanted], Seal(sealer, identity))]
    fields = _FIELDS.get(label, {})
    tx.add(TemplateRow(id=identity, label=label, application=application, setup_actions=actions, stamps={}, version=TEMPLATE_VERSION, **fields))


def _as_it_was(row: TemplateRow) -> dict[str, Any]:
    """A template before its last change, which brought its actions with secrets, or else its last one, or else another machine type."""
    actions = actions_of(row)
    before = [action for action in actions if not any(secret_places(action.kind, action.parameters))]
    kept = before if len(before) < len(actions) else before[:-1]
    other = {} if actions else {"machine_type": "m6i.large"}
    return {**template_copy(row), **other, "setup_actions": [asdict(action) for action in kept], "stamps": {}}


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
