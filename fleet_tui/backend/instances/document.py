"""The start-up document: everything an agent needs to bring one instance up (spec 4.7)."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import InvalidInput, NoCapacity, Problem
from fleet_tui.backend.instances import SetupAction
from fleet_tui.backend.instances.drivers import Drivers
from fleet_tui.backend.instances.fields import FIELDS
from fleet_tui.backend.instances.images import choose_image
from fleet_tui.backend.instances.links import NETWORK_COPY, TEMPLATE_ACTIONS, TEMPLATE_COPY, coming_up, network_copy, template_copy
from fleet_tui.backend.instances.network_fields import SHARED_MACHINES
from fleet_tui.backend.instances.rows import ImageRow, InstanceRow
from fleet_tui.backend.instances.serving import certificate_section
from fleet_tui.backend.instances.setup_actions import Seal, opened
from fleet_tui.backend.instances.tasks import is_own, needs_ansible, read_tasks
from fleet_tui.backend.instances.template_fields import public_keys
from fleet_tui.backend.instances.templates import actions_of, find_template, open_field
from fleet_tui.backend.instances.virtual_networks import find_network
from fleet_tui.backend.store import in_turn

FIRST_PORT, LAST_PORT = 20000, 29999
_PORTS = 0x706F727473  # "ports": who gives one away is alone, or two daemons would choose the same


def start_up_document(tx: Session, row: InstanceRow, drivers: Drivers, held: bool = False) -> dict[str, Any]:
    """What the agent is told after its hello; with ``held``, without the changes that wait for a reprovision.

    Holds the template's secrets in the clear, so it is sealed as a whole and given to the agent alone; the log is taught to mask them.
    """
    settings, timeouts = standing(row) if held else row.settings, drivers.timeouts
    template, network = made_with(tx, row, held)
    image = image_of(tx, row, held)
    learn = drivers.lines.masker.learn
    return {
        "instance": {"id": row.id, "label": row.label, "kind": row.kind},
        "disk": {"id": row.disk_id, "path": row.disk_path, "size_gb": settings["data_disk.size_gb"]},
        "port": row.port,
        "addresses": {"private_ip": row.private_ip, "public_ip": row.public_ip, "host_name": row.host_name},
        "certificate": certificate_section(
            row, settings, network["https_strategy"], drivers.certificates.directory(network["acme_directory"]), network["region"],
        ),
        "http": {"mode": network["http_mode"] if network["https_strategy"] != "none" else "plain", "port": row.http_port or 80},
        "application": {**image.manifest, "bundle_sha256": image.sha256},
        "actions": actions_document(template, drivers),
        "machine": {"is_whole": network["provider"] not in SHARED_MACHINES},
        "license": open_field(drivers.sealer, template, "license_override", learn),
        "api_access": {
            "mode": template["api_access_mode"], "storage": template["api_key_storage"], "key_id": template["api_key_id"],
            "secret": open_field(drivers.sealer, template, "api_key_secret", learn), "secret_id": template["api_secret_id"],
        },
        "directory": _directory(tx, row, network),
        "environment": {"FLEET_LABEL": row.label, "FLEET_KIND": row.kind},
        "timeouts": {
            "start_s": timeouts.start_s, "stop_s": timeouts.stop_s, "action_s": timeouts.action_s, "install_s": timeouts.install_s,
            "health_s": timeouts.health_s,
        },
        "health_interval_s": timeouts.health_interval_s,
    }


def made_with(tx: Session, row: InstanceRow, held: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    """Template and virtual network as the instance is to run with them: those of now, or with ``held`` those its machine was made or booted with."""
    settings = standing(row) if held else coming_up(tx, row)
    template, network = settings.get(TEMPLATE_COPY), settings.get(NETWORK_COPY)
    if template is None:
        template = template_copy(find_template(tx, settings["template"]))
        if TEMPLATE_ACTIONS in settings:  # made by an earlier program, which kept the actions alone
            template["setup_actions"] = settings[TEMPLATE_ACTIONS]
    if network is None:
        network = network_copy(find_network(tx, settings["virtual_network"]))
    return template, network


def actions_document(template: dict[str, Any], drivers: Drivers) -> list[dict[str, Any]]:
    """Setup actions as the agent has them, secrets opened, tasks as records; first the template's own authorised keys."""
    seal, learn = Seal(drivers.sealer, template["id"]), drivers.lines.masker.learn
    keys = [SetupAction("add_authorized_key", "authorised key", {"key": key}, "before_install") for key in public_keys(template["authorized_keys"])]
    saved = (SetupAction(**action) for action in template["setup_actions"])
    actions = [*keys, *(opened(action, seal, learn) if action.enabled else replace(action, parameters={}) for action in saved)]
    return [
        {"kind": a.kind, "name": a.name, "stage": a.stage, "enabled": a.enabled, "parameters": _for_agent(a)} for a in actions
    ]


def _for_agent(action: SetupAction) -> dict[str, Any]:
    parameters = dict(action.parameters)
    if action.kind == "run_tasks" and action.enabled:
        tasks = read_tasks(parameters["tasks"])
        parameters |= {"tasks": tasks, "is_own": is_own(tasks), "needs_ansible": needs_ansible(tasks)}
    return parameters


def _directory(tx: Session, row: InstanceRow, network: dict[str, Any]) -> dict[str, Any]:
    """What instances of one virtual network are told of each other; empty where they are to know nothing."""
    mode, events = network["fleet_directory.mode"], network["fleet_directory.event_server"]
    if mode == "none" and not events:
        return {}
    others = tx.execute(
        select(InstanceRow.label, InstanceRow.kind, InstanceRow.url).where(InstanceRow.network_id == row.network_id).order_by(InstanceRow.label)
    ).all()
    return {
        "deployer_mode": mode, "event_server": events,
        "instances": [{"label": label, "kind": kind, "url": url or ""} for label, kind, url in others if label != row.label],
    }


def image_of(tx: Session, row: InstanceRow, held: bool = False) -> ImageRow:
    """The image to run: what the settings ask for now, or with ``held`` the one that is installed."""
    settings = standing(row) if held else row.settings
    return choose_image(tx, find_template(tx, settings["template"]).application, settings.get("image", ""))


def standing(row: InstanceRow) -> dict[str, Any]:
    """Settings of a machine that exists: what was saved since and waits for a reprovision is left out (INS-2)."""
    applied = row.applied or {}
    waiting = {f.name: applied.get(f.name, f.initial) for f in FIELDS if f.change_class == "R"} if applied else {}
    return {**applied, **row.settings, **waiting, "image": row.image}


def assign_port(tx: Session, row: InstanceRow) -> int:
    """The port its application is given: what its template fixes, else the one it has, else the lowest free one.

    Raises:
        InvalidInput: the template's port belongs to another instance.
        NoCapacity: every port of the range is given away.
    """
    in_turn(tx, _PORTS)
    fixed = check_port(tx, row)
    if fixed is not None:
        row.port = fixed
    elif row.port is None or not FIRST_PORT <= row.port <= LAST_PORT:
        row.port = free_port(tx)
    return row.port


def check_port(tx: Session, row: InstanceRow) -> int | None:
    """The port that its template fixes, if it does. Raises InvalidInput when another instance has it."""
    fixed = fixed_port(actions_of(find_template(tx, row.settings["template"])))
    holder = tx.scalar(select(InstanceRow.label).where(InstanceRow.port == fixed, InstanceRow.id != row.id)) if fixed is not None else None
    if holder is not None:
        complaint = f"the template fixes port {fixed}, which {holder} has"
        raise InvalidInput(complaint, problems=[Problem("template", complaint)], hint="give one of them a template with another port")
    return fixed


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
