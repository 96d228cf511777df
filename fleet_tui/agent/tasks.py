"""The action ``run_tasks``: by ansible-playbook where the machine has it, else by the agent itself, and the log says which."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from typing import Any, Callable, Mapping, Sequence

from fleet_tui.agent import modules
from fleet_tui.agent.failures import Failure
from fleet_tui.agent.layout import write
from fleet_tui.agent.lines import first_line
from fleet_tui.agent.machine import Machine
from fleet_tui.agent.shell import run, told_status

Say = Callable[[str], None]

PROGRAM = "ansible-playbook"


def run_tasks(machine: Machine, parameters: Mapping[str, Any], say: Say) -> None:
    """Run a list of tasks.

    Raises:
        Failure: a task failed, or needs Ansible on a machine without it.
    """
    tasks: Sequence[Mapping[str, Any]] = parameters["tasks"]
    program = shutil.which(PROGRAM, path=machine.environment.get("PATH"))
    if all("run" in task for task in tasks):
        say(f"{_count(tasks)}, run by the agent itself")
    elif program is not None:
        say(f"{_count(tasks)}, run by {program}")
        _by_ansible(machine, program, tasks, say)
        return
    else:
        needs = str(parameters.get("needs_ansible") or "") or modules.foreign(tasks)
        if needs:
            raise Failure(f"{needs}, which needs {PROGRAM}, and that is not on this machine; install the package ansible-core before this action")
        say(f"{_count(tasks)}, run by the agent itself: {PROGRAM} is not on this machine")
    for number, task in enumerate(tasks, 1):
        machine.check()
        name = str(task.get("name") or f"task {number}")
        if "run" in task:
            _run(machine, name, task, say)
        else:
            modules.do(machine, name, task, say)


def expanded(path: str, environment: Mapping[str, str]) -> str:
    """``$NAME`` and ``${NAME}`` in a path, from the environment the task would have."""
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda found: environment.get(found[1] or found[2], found[0]), path)


def _count(tasks: Sequence[Any]) -> str:
    return f"{len(tasks)} {'task' if len(tasks) == 1 else 'tasks'}"


def _run(machine: Machine, name: str, task: Mapping[str, Any], say: Say) -> None:
    """A task in the product's own word: a shell command."""
    creates = task.get("creates")
    folder = machine.layout.application_or_home()
    if creates and (folder / expanded(str(creates), machine.surroundings())).exists():
        say(f"{name}: skipped, {creates} exists")
        return
    say(f"{name}: {first_line(str(task['run']))}")
    timeout = machine.timeout("action_s", 600.0)
    status = run(str(task["run"]), folder=folder, environment=machine.surroundings(), timeout_s=timeout, say=say, stopped=machine.stopped)
    if status != 0:
        raise Failure(f"{name} ended with {told_status(status)}; its output is in the log")


def _by_ansible(machine: Machine, program: str, tasks: Sequence[Mapping[str, Any]], say: Say) -> None:
    """One play on this machine. JSON is YAML, so that nothing has to be quoted."""
    folder = machine.layout.application_or_home()
    playbook = folder / ".fleet-playbook.json"  # Ansible works in the folder of its playbook
    play = {"hosts": "localhost", "connection": "local", "gather_facts": _wants_facts(tasks), "tasks": [_for_ansible(task) for task in tasks]}
    settings = machine.layout.run / "ansible.cfg"  # of our own and empty, so that no other one is found
    write(playbook, json.dumps([play], ensure_ascii=False))
    write(settings, "")
    environment = {
        **machine.surroundings(), "ANSIBLE_CONFIG": str(settings), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_RETRY_FILES_ENABLED": "0",
        "ANSIBLE_LOCALHOST_WARNING": "0", "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0", "ANSIBLE_PYTHON_INTERPRETER": "auto_silent",
        "ANSIBLE_DEPRECATION_WARNINGS": "0", "PYTHONUNBUFFERED": "1",
    }
    command = f"exec {shlex.quote(program)} -i localhost, {shlex.quote(str(playbook))}"
    timeout = machine.timeout("action_s", 600.0) * len(tasks)
    try:
        status = run(command, folder=folder, environment=environment, timeout_s=timeout, say=say, stopped=machine.stopped)
    finally:
        playbook.unlink()
    if status != 0:
        raise Failure(f"{PROGRAM} ended with {told_status(status)}; its output is in the log")


def _for_ansible(task: Mapping[str, Any]) -> Mapping[str, Any]:
    """A task in the product's own word among others is a shell command to Ansible."""
    if "run" not in task:
        return task
    creates = {"args": {"creates": task["creates"]}} if task.get("creates") else {}
    name = {"name": task["name"]} if task.get("name") else {}
    return {**name, "ansible.builtin.shell": str(task["run"]), **creates}


def _wants_facts(tasks: Sequence[Mapping[str, Any]]) -> bool:
    """Gathering takes seconds: only where a task can use them."""
    return "ansible_" in str(tasks)
