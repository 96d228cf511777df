"""Task lists of ``run_tasks``: read and checked when they are saved, handed to the agent as plain records.

A task is one of Ansible's (``ansible-playbook`` runs the list where the machine has it), or of the product's own word ``run``: a
shell command. The agent can do a small set of Ansible's modules by itself, for machines without Ansible.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fleet_tui.backend.instances.marked import Marked, NotYaml, read
from fleet_tui.backend.text import clean

LIMIT = 256 * 1024
"""Bytes of a task list (spec 4.6)."""
_MOST = 1000
_RUN = frozenset({"name", "run", "creates"})
"""Keys of a task in the product's own word."""
OWN_MODULES: Mapping[str, frozenset[str]] = {
    "command": frozenset({"cmd", "chdir", "creates", "removes"}),
    "shell": frozenset({"cmd", "chdir", "creates", "removes"}),
    "copy": frozenset({"content", "dest", "mode", "force"}),
    "file": frozenset({"path", "dest", "state", "mode", "src"}),
    "lineinfile": frozenset({"path", "line", "regexp", "state", "create", "mode"}),
    "debug": frozenset({"msg"}),
}
"""Ansible's modules that the agent can do itself, with the arguments it knows."""
OWN_KEYWORDS = frozenset({"name", "args", "environment", "ignore_errors", "tags"})
"""Keywords of a task the agent can heed itself."""
_KEYWORDS = OWN_KEYWORDS | frozenset({
    "action", "any_errors_fatal", "async", "become", "become_exe", "become_flags", "become_method", "become_user", "changed_when", "check_mode",
    "collections", "connection", "debugger", "delay", "delegate_facts", "delegate_to", "diff", "failed_when", "ignore_unreachable", "listen",
    "local_action", "loop", "loop_control", "module_defaults", "no_log", "notify", "poll", "port", "register", "remote_user", "retries", "run_once",
    "throttle", "timeout", "until", "vars", "when",
})
_FROM_FILES = frozenset({"include_tasks", "import_tasks", "include_role", "import_role", "include", "include_vars", "import_playbook"})
_PREFIXES = ("ansible.builtin.", "ansible.legacy.")


def read_tasks(source: Any) -> list[dict[str, Any]]:
    """The tasks in ``source``: YAML text, or a list as JSON has it.

    Raises:
        NotYaml: with line and column where ``source`` is text, and the number of the task.
    """
    marked = read(source, LIMIT, "the task list") if isinstance(source, str) else Marked(source, {})
    if not isinstance(marked.value, list) or not marked.value:
        raise NotYaml("a list of tasks is needed, each with `run` or a module of Ansible", *marked.places.get((), ()))
    if len(marked.value) > _MOST:
        raise NotYaml(f"{len(marked.value)} tasks; {_MOST} are allowed")
    return [_task(marked, index, task) for index, task in enumerate(marked.value)]


def _task(marked: Marked, index: int, task: Any) -> dict[str, Any]:
    def wrong(why: str, *path: str | int) -> NotYaml:
        at = (index, *path)
        while at and at not in marked.places:
            at = at[:-1]
        return NotYaml(f"task {index + 1} {why}", *marked.places.get(at, ()))

    if not isinstance(task, dict) or not all(isinstance(key, str) for key in task):
        raise wrong("has no `run` and no module")
    if "hosts" in task:
        raise wrong("is a play; give its tasks alone", "hosts")
    if "name" in task:
        task = {**task, "name": clean(str(task["name"]), 200)}
    if "run" in task:
        if not isinstance(task["run"], str) or not task["run"].strip():
            raise wrong("has an empty `run`", "run")
        if unknown := sorted(set(task) - _RUN):
            raise wrong(f"has an unknown key {unknown[0]!r} beside `run`; known are name, run, creates", unknown[0])
        return {key: str(value) for key, value in task.items()}
    found: dict[str, Any] = task
    if {"block", "rescue", "always"} & task.keys():
        if not isinstance(task.get("block"), list) or not task["block"]:
            raise wrong("has a block without tasks")
        return found
    modules = [key for key in task if key not in _KEYWORDS and not key.startswith("with_")]
    if not modules and not {"action", "local_action"} & task.keys():
        raise wrong("has no `run` and no module")
    if len(modules) > 1:
        raise wrong(f"has two modules, {modules[0]!r} and {modules[1]!r}, or a keyword that Ansible does not know", modules[1])
    if modules and module_of(modules[0]) in _FROM_FILES:
        raise wrong(f"takes tasks from a file ({modules[0]}), which is not on the machine; write them here", modules[0])
    return found


def module_of(key: str) -> str:
    """A module without the prefix that says it is one of Ansible's own."""
    return next((key.removeprefix(prefix) for prefix in _PREFIXES if key.startswith(prefix)), key)


def needs_ansible(tasks: Sequence[Mapping[str, Any]]) -> str:
    """Why the agent could not do these by itself, naming the first task; empty when it can."""
    for number, task in enumerate(tasks, 1):
        if "run" in task:
            continue
        modules = [key for key in task if key not in _KEYWORDS and not key.startswith("with_")]
        beyond = [key for key in task if key not in modules and key not in OWN_KEYWORDS]
        if beyond:
            return f"task {number} uses `{beyond[0]}`"
        module = module_of(modules[0]) if modules else "action"
        if module not in OWN_MODULES:
            return f"task {number} uses `{module}`"
        given = task[modules[0]]
        arguments = {**(given if isinstance(given, dict) else {}), **(task.get("args") or {})}
        if foreign := sorted(set(arguments) - OWN_MODULES[module]):
            return f"task {number} uses `{foreign[0]}` of `{module}`"
        if not isinstance(given, dict) and (module not in ("command", "shell") or not isinstance(given, str)):
            return f"task {number} gives `{module}` its arguments as one line"
        if "{{" in str(task) or "{%" in str(task):
            return f"task {number} uses a template ({{{{ … }}}})"
    return ""


def is_own(tasks: Sequence[Mapping[str, Any]]) -> bool:
    """Whether every task is in the product's own word, which Ansible does not know."""
    return all("run" in task for task in tasks)
