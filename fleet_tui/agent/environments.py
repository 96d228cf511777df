"""The action ``code_env_preset``: a Python environment for code of the application's users."""

from __future__ import annotations

import shlex
import shutil
from typing import Any, Callable, Mapping

from fleet_tui.agent.failures import Failure
from fleet_tui.agent.layout import read_json, write_json
from fleet_tui.agent.machine import Machine
from fleet_tui.agent.shell import run, told_status


def code_env_preset(machine: Machine, parameters: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Have ``$FLEET_CODE_ENVS/<name>`` with these packages; made anew when they or its Python are others than before.

    Raises:
        Failure: that Python is not there, or ``pip`` fails.
    """
    name, python = str(parameters["name"]), str(parameters.get("python") or "python3")
    order = {"python": python, "packages": sorted(str(package) for package in parameters.get("packages") or ())}
    folder, mark = machine.layout.code_envs / name, machine.layout.code_envs / f".{name}.json"
    if read_json(mark) == order and folder.is_dir():
        say(f"{name} is as it is to be")
        return
    if shutil.which(python, path=machine.environment.get("PATH")) is None:
        raise Failure(f"{python} is not on this machine; install it before this action, or name another")
    machine.layout.code_envs.mkdir(mode=0o700, exist_ok=True)
    if mark.exists():
        mark.unlink()
    commands = [f"{python} -m venv --clear {shlex.quote(str(folder))}"]
    if order["packages"]:
        packages = " ".join(shlex.quote(package) for package in order["packages"])
        commands.append(f"{shlex.quote(str(folder / 'bin/python'))} -m pip install --disable-pip-version-check --no-input {packages}")
    for command in commands:
        status = run(
            f"exec {command}", folder=machine.layout.application_or_home(), environment=machine.surroundings(),
            timeout_s=machine.timeout("install_s", 1800.0), say=say, stopped=machine.stopped,
        )
        if status != 0:
            raise Failure(f"making the environment {name} ended with {told_status(status)}; its output is in the log")
    write_json(mark, order)
    say(f"{name} is in {folder}")
