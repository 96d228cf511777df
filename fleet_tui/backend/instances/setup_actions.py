"""Setup actions a template can carry (spec 4.6): what each takes, and what is wrong with it.

A local instance has no packages, users or key ring of its own, so the kinds that would change the whole machine are
refused here and come with instances that have a machine to themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml

from fleet_tui.backend.errors import InvalidInput, Problem
from fleet_tui.backend.instances import SetupAction
from fleet_tui.backend.text import clean

STAGES = ("before_install", "after_install", "after_startup")
YAML_LIMIT = 256 * 1024
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}\Z")
_NOT_LOCAL = frozenset({
    "install_packages", "add_ssh_key", "add_ca_to_truststore", "install_db_driver", "advanced_security", "secure_cookies",
    "graphics_export", "memory_settings", "code_env_preset",
})


def _tasks(parameters: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    source = parameters.get("tasks")
    if isinstance(source, str):
        if len(source.encode()) > YAML_LIMIT:
            return {}, "the task list is larger than 256 KiB"
        try:
            source = yaml.safe_load(source)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
            return {}, f"not YAML{where}: {getattr(error, 'problem', None) or 'unreadable'}"
    if not isinstance(source, list) or not source:
        return {}, "a list of tasks is needed, each with `run`"
    tasks = []
    for number, task in enumerate(source, 1):
        if not isinstance(task, dict) or not isinstance(task.get("run"), str) or not task["run"].strip():
            return {}, f"task {number} has no `run`"
        if unknown := set(task) - {"name", "run", "creates"}:
            return {}, f"task {number} has an unknown key {sorted(unknown)[0]!r}; known are name, run, creates"
        tasks.append({key: clean(str(value), 200) if key == "name" else str(value) for key, value in task.items()})
    return {"tasks": tasks}, ""


def _pairs(key: str) -> Callable[[Mapping[str, Any]], tuple[dict[str, Any], str]]:
    def check(parameters: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        pairs = parameters.get(key)
        if not isinstance(pairs, dict) or not pairs:
            return {}, f"{key} is needed: names with values"
        for name, value in pairs.items():
            if not _NAME.match(str(name)):
                return {}, f"{name!r} is not a name"
            if isinstance(value, dict | list) or "\n" in str(value) or "\0" in str(value):
                return {}, f"the value of {name} is not one line of text"
        return {key: {str(name): str(value) for name, value in pairs.items()}}, ""

    return check


def _port(parameters: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    port = parameters.get("port")
    if isinstance(port, int) and not isinstance(port, bool) and 1024 <= port <= 65535:
        return {"port": port}, ""
    return {}, "port is needed: 1024 to 65535"


def _proxy(parameters: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    host, port = parameters.get("host"), parameters.get("port")
    if not isinstance(host, str) or not re.fullmatch(r"[A-Za-z0-9.:-]{1,253}", host):
        return {}, "host is needed"
    if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= 65535:
        return {}, "port is needed: 1 to 65535"
    exceptions = parameters.get("exceptions", [])
    if not isinstance(exceptions, list) or not all(isinstance(e, str) for e in exceptions):
        return {}, "exceptions is a list of host names"
    return {"host": host, "port": port, "exceptions": exceptions}, ""


def _authorized_key(parameters: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    key = str(parameters.get("key", "")).strip()
    if "PRIVATE KEY" in key:
        return {}, "that is a private key; give the public one"
    if re.fullmatch(r"(ssh-(ed25519|rsa)|ecdsa-sha2-nistp\d+|sk-[a-z0-9@.-]+) [A-Za-z0-9+/=]{40,}( [^\n]*)?", key):
        return {"key": key}, ""
    return {}, "one SSH public key is needed"


KINDS: Mapping[str, tuple[str | None, Callable[[Mapping[str, Any]], tuple[dict[str, Any], str]]]] = {
    "run_tasks": (None, _tasks),
    "add_env_variables": ("before_install", _pairs("variables")),
    "add_properties": ("before_install", _pairs("properties")),
    "application_port": ("before_install", _port),
    "setup_proxy": ("before_install", _proxy),
    "add_authorized_key": ("before_install", _authorized_key),
}
"""Kind -> (stage it always runs in, or ``None`` where the template says; check)."""


def checked(actions: Sequence[SetupAction]) -> tuple[SetupAction, ...]:
    """The actions with parameters in their final form.

    Raises:
        InvalidInput: everything wrong with any of them, by position.
    """
    result: list[SetupAction] = []
    problems: list[Problem] = []
    for number, action in enumerate(actions, 1):
        where = f"setup_actions.{number}"
        if action.kind not in KINDS:
            known = ", ".join(KINDS)
            why = "needs a machine of its own, which a local instance has not" if action.kind in _NOT_LOCAL else "is not a kind of action"
            problems.append(Problem(where, f"{action.kind} {why}; known here: {known}"))
            continue
        fixed, check = KINDS[action.kind]
        parameters, complaint = check(action.parameters)
        if complaint:
            problems.append(Problem(where, f"{action.name or action.kind}: {complaint}"))
        if action.stage not in STAGES:
            problems.append(Problem(where, f"{action.stage!r} is not a stage; stages are {', '.join(STAGES)}"))
        result.append(SetupAction(action.kind, clean(action.name or action.kind, 100), parameters, fixed or action.stage, action.enabled))
    if problems:
        raise InvalidInput("the template's setup actions are not acceptable", problems=problems)
    return tuple(result)
