"""The start-up document: everything an agent needs to bring one instance up (spec 4.7)."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.certificates.rules import Rules
from fleet_tui.backend.errors import InvalidInput, NoCapacity, Problem
from fleet_tui.backend.instances import SetupAction
from fleet_tui.backend.instances.drivers import Timeouts
from fleet_tui.backend.instances.fields import FIELDS
from fleet_tui.backend.instances.images import choose_image
from fleet_tui.backend.instances.rows import ImageRow, InstanceRow
from fleet_tui.backend.instances.serving import certificate_section
from fleet_tui.backend.instances.templates import actions_of, find_template
from fleet_tui.backend.instances.virtual_networks import find_network
from fleet_tui.backend.store import in_turn

FIRST_PORT, LAST_PORT = 20000, 29999
TEMPLATE_ACTIONS = "template.setup_actions"
"""Beside the applied settings: the setup actions a machine was made with."""
_PORTS = 0x706F727473  # "ports": who gives one away is alone, or two daemons would choose the same


def start_up_document(tx: Session, row: InstanceRow, timeouts: Timeouts, held: bool = False, rules: Rules | None = None) -> dict[str, Any]:
    """What the agent is told after its hello; with ``held``, without the changes that wait for a reprovision.

    Holds no more secrets than the setup actions do; kept sealed all the same.
    """
    settings = standing(row) if held else row.settings
    template = find_template(tx, settings["template"])
    network = find_network(tx, settings["virtual_network"])
    image = image_of(tx, row, held)
    actions = [SetupAction(**action) for action in settings[TEMPLATE_ACTIONS]] if TEMPLATE_ACTIONS in settings else actions_of(template)
    return {
        "instance": {"id": row.id, "label": row.label, "kind": row.kind},
        "disk": {"id": row.disk_id, "path": row.disk_path, "size_gb": settings["data_disk.size_gb"]},
        "port": row.port,
        "addresses": {"private_ip": row.private_ip, "public_ip": row.public_ip, "host_name": row.host_name},
        "certificate": certificate_section(
            row, settings, network.https_strategy, (rules or Rules()).directory(network.acme_directory), network.region,
        ),
        "http": {"mode": network.http_mode if network.https_strategy != "none" else "plain", "port": row.http_port or 80},
        "application": {**image.manifest, "bundle_sha256": image.sha256},
        "actions": [
            {"kind": a.kind, "name": a.name, "stage": a.stage, "enabled": a.enabled, "parameters": dict(a.parameters)}
            for a in actions
        ],
        "environment": {"FLEET_LABEL": row.label, "FLEET_KIND": row.kind},
        "timeouts": {
            "start_s": timeouts.start_s, "stop_s": timeouts.stop_s, "action_s": timeouts.action_s, "install_s": timeouts.install_s,
            "health_s": timeouts.health_s,
        },
        "health_interval_s": timeouts.health_interval_s,
    }


def image_of(tx: Session, row: InstanceRow, held: bool = False) -> ImageRow:
    """The image to run: what the settings ask for now, or with ``held`` the one that is installed."""
    settings = standing(row) if held else row.settings
    return choose_image(tx, find_template(tx, settings["template"]).application, settings.get("image", ""))


def standing(row: InstanceRow) -> dict[str, Any]:
    """Settings of a machine that exists: what was saved since and waits for a reprovision is left out (INS-2)."""
    applied = row.applied or {}
    waiting = {f.name: applied[f.name] for f in FIELDS if f.change_class == "R" and f.name in applied}
    return {**applied, **row.settings, **waiting, "image": row.image}


def assign_port(tx: Session, row: InstanceRow) -> int:
    """The port its application is given: what its template fixes, else the one it has, else the lowest free one.

    Raises:
        InvalidInput: the template's port belongs to another instance.
        NoCapacity: every port of the range is given away.
    """
    in_turn(tx, _PORTS)
    fixed = fixed_port(actions_of(find_template(tx, row.settings["template"])))
    if fixed is not None:
        holder = tx.scalar(select(InstanceRow.label).where(InstanceRow.port == fixed, InstanceRow.id != row.id))
        if holder is not None:
            complaint = f"the template fixes port {fixed}, which {holder} has"
            raise InvalidInput(complaint, problems=[Problem("template", complaint)], hint="give one of them a template with another port")
        row.port = fixed
    elif row.port is None or not FIRST_PORT <= row.port <= LAST_PORT:
        row.port = free_port(tx)
    return row.port


def free_port(tx: Session) -> int:
    """The lowest port that no instance has and nobody listens on. Raises NoCapacity."""
    columns = (InstanceRow.port, InstanceRow.http_port)
    given = {port for column in columns for port in tx.scalars(select(column).where(column.is_not(None)))}
    free = (port for port in range(FIRST_PORT, LAST_PORT + 1) if port not in given and _is_free(port))
    if (port := next(free, None)) is None:
        raise NoCapacity(f"all ports from {FIRST_PORT} to {LAST_PORT} are given away", hint="delete an instance")
    return port


def fixed_port(actions: Iterable[SetupAction]) -> int | None:
    ports = [action.parameters["port"] for action in actions if action.kind == "application_port" and action.enabled]
    return int(ports[-1]) if ports else None


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
