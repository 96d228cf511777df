"""Setup actions: declarative, repeatable steps of the template, run by stage in list order."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional, Sequence

from fleet_tui.agent.drivers import install_db_driver
from fleet_tui.agent.environments import code_env_preset
from fleet_tui.agent.failures import Failure, Stopped
from fleet_tui.agent.layout import add_line, write
from fleet_tui.agent.machine import Machine
from fleet_tui.agent.system import add_ca_to_truststore, add_ssh_key, graphics_export, install_packages, ssh_folder
from fleet_tui.agent.tasks import run_tasks

STAGES = ("before_install", "after_install", "after_startup")

Say = Callable[[str], None]


def run_stage(machine: Machine, stage: str) -> bool:
    """Phase ``actions:<stage>``; false when the stage has no enabled action.

    Raises:
        Failure: an action failed; the ones after it were not begun.
    """
    actions = _of_stage(machine.document.get("actions"), stage)
    for action in actions:
        machine.check()
        _run_one(machine, stage, action)
    return any(action.get("enabled", True) for action in actions)


def replay(machine: Machine, given: Optional[Sequence[Mapping[str, Any]]] = None) -> list[dict[str, str]]:
    """Run the enabled actions of every stage again; the first failing one stops, the rest is ``skipped``.

    Args:
        given: the template's actions of today; those of the start-up document when not told.
    """
    results: list[dict[str, str]] = []
    failed = False
    for stage in STAGES:
        for action in _of_stage(machine.document.get("actions") if given is None else given, stage):
            state, error = "skipped", ""
            if not failed and action.get("enabled", True):
                try:
                    _run_one(machine, stage, action)
                    state = "done"
                except Stopped:
                    raise
                except Failure as failure:
                    state, error, failed = "failed", str(failure), True
                    machine.journal.say(f"actions:{stage}", error, "error")
            results.append({"name": _name(action), "stage": stage, "state": state, "error": error})
    return results


def _of_stage(actions: Optional[Sequence[Mapping[str, Any]]], stage: str) -> list[Mapping[str, Any]]:
    return [action for action in actions or () if action.get("stage", "after_install") == stage]


def _name(action: Mapping[str, Any]) -> str:
    return str(action.get("name") or action.get("kind"))


def _run_one(machine: Machine, stage: str, action: Mapping[str, Any]) -> None:
    say, name, kind = machine.sayer(f"actions:{stage}"), _name(action), str(action.get("kind"))
    if not action.get("enabled", True):
        say(f"{name}: skipped, it is switched off")
        return
    body = _KINDS.get(kind)
    if body is None:
        raise Failure(f"action {name!r}: this agent does not know the kind {kind!r}; switch it off or use another kind")
    if kind in WHOLE and not machine.is_whole:
        raise Failure(f"action {name!r}: {kind} changes the whole machine, which this instance shares with others; switch it off here")
    say(f"{name}: {kind}")
    try:
        body(machine, action.get("parameters") or {}, say)
    except (KeyError, TypeError, ValueError) as error:
        raise Failure(f"action {name!r}: its parameters are not what {kind} takes ({error!r}); edit the template") from error
    except Stopped:
        raise
    except Failure as error:
        raise Failure(f"action {name!r}: {error}") from error


def _add_env_variables(machine: Machine, parameters: Mapping[str, Any], say: Say) -> None:
    variables = {str(name): str(value) for name, value in dict(parameters["variables"]).items()}
    reserved = sorted(set(variables) & set(machine.marks))
    if reserved:
        raise Failure(f"{', '.join(reserved)} belongs to the agent; choose another name")
    machine.environment.update(variables)
    say(f"set {', '.join(sorted(variables))}")


def _add_properties(machine: Machine, parameters: Mapping[str, Any], say: Say) -> None:
    properties = {str(name): str(value) for name, value in dict(parameters["properties"]).items()}
    machine.properties.update(properties)
    text = "".join(f"{name}={_escaped(value)}\n" for name, value in sorted(machine.properties.items()))
    write(machine.layout.properties, text)
    say(f"{len(machine.properties)} properties in {machine.layout.properties}")


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")


def _application_port(machine: Machine, parameters: Mapping[str, Any], say: Say) -> None:
    port = int(parameters["port"])
    if not 1024 <= port <= 65535:
        raise Failure(f"port {port} is not in 1024..65535")
    machine.port = port
    say(f"the application's port is {port}")


def _setup_proxy(machine: Machine, parameters: Mapping[str, Any], say: Say) -> None:
    address = f"http://{parameters['host']}:{int(parameters['port'])}"
    given = parameters.get("exceptions") or ()
    exceptions = given.split(",") if isinstance(given, str) else list(given)
    without = ",".join(dict.fromkeys(["localhost", "127.0.0.1", *(str(name).strip() for name in exceptions if str(name).strip())]))
    for name in ("http_proxy", "https_proxy"):
        machine.environment[name] = machine.environment[name.upper()] = address
    machine.environment["no_proxy"] = machine.environment["NO_PROXY"] = without
    say(f"proxy {address}, not for {without}")


def _add_authorized_key(machine: Machine, parameters: Mapping[str, Any], say: Say) -> None:
    key = str(parameters["key"]).strip()
    if "PRIVATE KEY" in key:
        raise Failure("that is a private key; give the public one")
    if not key or "\n" in key:
        raise Failure("one public key on one line is needed")
    add_line(machine.layout.authorized_keys, key)
    if machine.is_whole:
        add_line(ssh_folder(machine) / "authorized_keys", key)
    say(f"authorized key {key.split()[-1][:80]}")


def _advanced_security(machine: Machine, parameters: Mapping[str, Any], say: Say) -> None:
    basic, hsts = bool(parameters.get("basic_headers", True)), bool(parameters.get("hsts", False))
    _tell_application(machine, say, {"FLEET_SECURITY_HEADERS": basic, "FLEET_HSTS": hsts})


def _secure_cookies(machine: Machine, parameters: Mapping[str, Any], say: Say) -> None:
    _tell_application(machine, say, {"FLEET_SECURE_COOKIES": bool(parameters.get("enabled", True))})


def _memory_settings(machine: Machine, parameters: Mapping[str, Any], say: Say) -> None:
    worker = int(parameters.get("worker_mb") or 0)
    values = {"FLEET_MEMORY_MB": int(parameters["application_mb"]), **({"FLEET_WORKER_MEMORY_MB": worker} if worker else {})}
    _tell_application(machine, say, values)


def _tell_application(machine: Machine, say: Say, values: Mapping[str, Any]) -> None:
    """Settings that are the application's own to heed, told by its environment."""
    words = {name: ("true" if value else "false") if isinstance(value, bool) else str(value) for name, value in values.items()}
    machine.environment.update(words)
    say(", ".join(f"{name}={value}" for name, value in words.items()))


_KINDS: Mapping[str, Callable[[Machine, Mapping[str, Any], Say], None]] = {
    "install_packages": install_packages,
    "run_tasks": run_tasks,
    "add_authorized_key": _add_authorized_key,
    "add_ssh_key": add_ssh_key,
    "add_ca_to_truststore": add_ca_to_truststore,
    "add_env_variables": _add_env_variables,
    "add_properties": _add_properties,
    "setup_proxy": _setup_proxy,
    "install_db_driver": install_db_driver,
    "advanced_security": _advanced_security,
    "secure_cookies": _secure_cookies,
    "application_port": _application_port,
    "graphics_export": graphics_export,
    "memory_settings": _memory_settings,
    "code_env_preset": code_env_preset,
}
KINDS: Sequence[str] = tuple(_KINDS)
WHOLE: Sequence[str] = ("install_packages", "add_ssh_key", "add_ca_to_truststore", "graphics_export")
"""Kinds that change the machine as a whole; only an instance that has one to itself does them."""
