"""A dry run of a template's setup actions: what would be done on one instance, in the order of things, without a secret in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.instances import SetupAction
from fleet_tui.backend.instances.action_kinds import KINDS, STAGES
from fleet_tui.backend.instances.network_fields import SHARED_MACHINES
from fleet_tui.backend.instances.profiles import KEPT, RenderedAction, RenderedTemplate, RenderTemplate
from fleet_tui.backend.instances.rows import InstanceRow, NetworkRow
from fleet_tui.backend.instances.settings import find_row
from fleet_tui.backend.instances.setup_actions import Seal, checked, shown
from fleet_tui.backend.instances.tasks import is_own, module_of, needs_ansible, read_tasks
from fleet_tui.backend.instances.template_fields import public_keys
from fleet_tui.backend.instances.templates import actions_of, find_template
from fleet_tui.backend.secrets import Sealer
from fleet_tui.backend.text import clean

_MOST_TASKS = 50


def render(tx: Session, request: RenderTemplate, sealer: Sealer) -> RenderedTemplate:
    """What the actions would do. Raises :class:`InvalidInput` where actions of a form are not acceptable."""
    template = find_template(tx, request.target)
    actions = actions_of(template)
    if request.setup_actions is not None:
        actions = checked(request.setup_actions, actions, Seal(sealer, template.id))
    instance = find_row(tx, request.instance) if request.instance else None
    network = tx.get(NetworkRow, instance.network_id) if instance is not None else None
    keys = [SetupAction("add_authorized_key", "authorised key", {"key": key}, "before_install") for key in public_keys(template.authorized_keys)]
    ordered = sorted([*keys, *actions], key=lambda action: STAGES.index(action.stage))
    return RenderedTemplate(
        template=template.label, instance=instance.label if instance is not None else "", network=network.label if network is not None else "",
        actions=tuple(_rendered(tx, shown(action), instance, network) for action in ordered),
    )


def lines_of(action: SetupAction) -> tuple[str, ...]:
    """What one action would do, a line each; secrets in it are masked already."""
    return tuple(clean(line, 300) for line in _LINES[action.kind](action.parameters))


def _rendered(tx: Session, action: SetupAction, instance: InstanceRow | None, network: NetworkRow | None) -> RenderedAction:
    return RenderedAction(
        action.stage, action.kind, action.name, action.enabled, lines_of(action), _refusal(tx, action, instance, network) if action.enabled else "",
    )


def _refusal(tx: Session, action: SetupAction, instance: InstanceRow | None, network: NetworkRow | None) -> str:
    if network is None or instance is None:
        return ""
    if KINDS[action.kind].is_whole and network.provider in SHARED_MACHINES:
        return f"changes the whole machine, and instances of {network.label} share theirs"
    if action.kind == "application_port":
        port = action.parameters["port"]
        holder = tx.scalar(select(InstanceRow.label).where(InstanceRow.port == port, InstanceRow.id != instance.id))
        if holder is not None and network.provider in SHARED_MACHINES:
            return f"port {port} is {holder}'s"
    return ""


# --- a line or some for each kind ----------------------------------------------------------------------------------


def _tasks(parameters: Mapping[str, Any]) -> Sequence[str]:
    tasks = read_tasks(parameters["tasks"])
    if is_own(tasks):
        head = "by the agent itself"
    elif why := needs_ansible(tasks):
        head = f"by ansible-playbook, which must be on the machine: {why}"
    else:
        head = "by ansible-playbook where the machine has it, else by the agent itself"
    lines = [f"{number}. {_task(task)}" for number, task in enumerate(tasks[:_MOST_TASKS], 1)]
    more = len(tasks) - _MOST_TASKS
    return [head, *lines, *([f"and {more} more tasks"] if more > 0 else [])]


def _task(task: Mapping[str, Any]) -> str:
    name = f"{task['name']}: " if task.get("name") else ""
    if "run" in task:
        lines = str(task["run"]).strip().splitlines()
        unless = f", unless {task['creates']} exists" if task.get("creates") else ""
        return f"{name}run {lines[0]}{' …' if len(lines) > 1 else ''}{unless}"
    words = [f"{module_of(key)} {_argument(value)}".rstrip() for key, value in task.items() if key != "name"]
    return f"{name}{'; '.join(words)}"


def _argument(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key}={_argument(item)}" for key, item in value.items())
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else f"{text[:79]}…"


def _pairs(parameters: Mapping[str, Any], name: str) -> list[str]:
    return [f"{key}={value}" for key, value in sorted(parameters[name].items())]


def _driver(parameters: Mapping[str, Any]) -> Sequence[str]:
    lines = [f"fetch {parameters['url']}" + (f" as {parameters['username']}" if parameters["username"] else "")]
    if parameters["password"]:
        lines.append(f"with password {KEPT}")
    lines += [f"with header {name}: {value}" for name, value in sorted(parameters["headers"].items())]
    if parameters["sha256"]:
        lines.append(f"check that its SHA-256 is {parameters['sha256'].lower()}")
    what = ", ".join(parameters["paths"]) or "the file itself"
    return [*lines, f"put {what} into $FLEET_DRIVERS/{parameters['database']}", "nothing where that is there already"]


def _proxy(parameters: Mapping[str, Any]) -> Sequence[str]:
    without = ", ".join(["localhost", "127.0.0.1", *parameters["exceptions"]])
    return [f"HTTP_PROXY and HTTPS_PROXY are http://{parameters['host']}:{parameters['port']}", f"NO_PROXY is {without}"]


def _memory(parameters: Mapping[str, Any]) -> Sequence[str]:
    worker = parameters["worker_mb"]
    lines = [f"FLEET_MEMORY_MB={parameters['application_mb']}"]
    return [*lines, f"FLEET_WORKER_MEMORY_MB={worker}"] if worker else lines


def _environment(parameters: Mapping[str, Any]) -> Sequence[str]:
    lines = [f"{parameters['python']} -m venv $FLEET_CODE_ENVS/{parameters['name']}"]
    return [*lines, f"pip install {' '.join(parameters['packages'])}"] if parameters["packages"] else lines


def _switch(name: str, value: bool) -> str:
    return f"{name}={'true' if value else 'false'}"


_LINES: Mapping[str, Callable[[Mapping[str, Any]], Sequence[str]]] = {
    "install_packages": lambda p: [f"install with the system's package manager, those not there yet: {', '.join(p['packages'])}"],
    "run_tasks": _tasks,
    "add_authorized_key": lambda p: [f"let in {p['key'].split()[0]} …{p['key'].split()[1][-12:]} {' '.join(p['key'].split()[2:])}".rstrip()],
    "add_ssh_key": lambda p: [f"write ~/.ssh/{p['file']}, mode 600: {KEPT}"],
    "add_ca_to_truststore": lambda p: [f"add {p['certificates'].count('BEGIN CERTIFICATE')} certificate(s) to the machine's trust store"],
    "add_env_variables": lambda p: _pairs(p, "variables"),
    "add_properties": lambda p: [f"{line} in $FLEET_PROPERTIES" for line in _pairs(p, "properties")],
    "setup_proxy": _proxy,
    "install_db_driver": _driver,
    "advanced_security": lambda p: [_switch("FLEET_SECURITY_HEADERS", p["basic_headers"]), _switch("FLEET_HSTS", p["hsts"])],
    "secure_cookies": lambda p: [_switch("FLEET_SECURE_COOKIES", p["enabled"])],
    "application_port": lambda p: [f"FLEET_PORT={p['port']}"],
    "graphics_export": lambda p: [f"install {', '.join([p['browser'], 'fonts', *p['fonts']])}", "FLEET_BROWSER is the browser's path"],
    "memory_settings": _memory,
    "code_env_preset": _environment,
}
