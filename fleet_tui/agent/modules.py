"""A small set of Ansible's modules, done by the agent itself on machines without Ansible. Each looks first, so that it can be repeated."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

from fleet_tui.agent.failures import Failure, Stopped
from fleet_tui.agent.layout import write
from fleet_tui.agent.lines import first_line
from fleet_tui.agent.machine import Machine
from fleet_tui.agent.shell import run, told_status

Say = Callable[[str], None]

_PREFIXES = ("ansible.builtin.", "ansible.legacy.")
_KEYWORDS = frozenset({"name", "args", "environment", "ignore_errors", "tags"})


def foreign(tasks: Sequence[Mapping[str, Any]]) -> str:
    """The first task the agent does not know how to do, in words; empty when it knows all."""
    for number, task in enumerate(tasks, 1):
        if "run" in task:
            continue
        wrong = [key for key in task if key not in _KEYWORDS and _plain(key) not in MODULES]
        if wrong or not any(_plain(key) in MODULES for key in task):
            return f"task {number} uses {(wrong or ['no module'])[0]!r}"
    return ""


def do(machine: Machine, name: str, task: Mapping[str, Any], say: Say) -> None:
    """One task. Raises Failure, unless the task says that failing does not matter."""
    key = next(key for key in task if _plain(key) in MODULES)
    given = task[key]
    arguments = {**(dict(given) if isinstance(given, Mapping) else {"cmd": str(given)}), **dict(task.get("args") or {})}
    environment = {**machine.surroundings(), **{str(k): str(v) for k, v in dict(task.get("environment") or {}).items()}}
    try:
        said = MODULES[_plain(key)](machine, arguments, environment, say)
    except Stopped:
        raise
    except (Failure, OSError, re.error) as error:
        if task.get("ignore_errors") is True:
            say(f"{name}: failed, which the task allows: {error}")
            return
        raise Failure(f"{name}: {error}") from error
    say(f"{name}: {said}")


def _plain(key: str) -> str:
    return next((key[len(prefix):] for prefix in _PREFIXES if key.startswith(prefix)), key)


def _place(machine: Machine, path: Any) -> Path:
    if not path:
        raise Failure("its path is missing")
    return machine.layout.application_or_home() / str(path)


def _command(machine: Machine, arguments: Mapping[str, Any], environment: Mapping[str, str], say: Say, *, in_shell: bool = False) -> str:
    creates, removes = arguments.get("creates"), arguments.get("removes")
    folder = machine.layout.application_or_home()
    if creates and (folder / str(creates)).exists():
        return f"skipped, {creates} exists"
    if removes and not (folder / str(removes)).exists():
        return f"skipped, {removes} is not there"
    text = str(arguments["cmd"])
    if not in_shell:
        try:
            text = f"exec {' '.join(shlex.quote(word) for word in shlex.split(text))}"
        except ValueError as error:
            raise Failure(f"the command cannot be read: {error}") from error
    say(first_line(str(arguments["cmd"])))
    within = folder / str(arguments["chdir"]) if arguments.get("chdir") else folder
    timeout = machine.timeout("action_s", 600.0)
    status = run(text, folder=within, environment=environment, timeout_s=timeout, say=say, stopped=machine.stopped)
    if status != 0:
        raise Failure(f"ended with {told_status(status)}; its output is in the log")
    return "done"


def _shell(machine: Machine, arguments: Mapping[str, Any], environment: Mapping[str, str], say: Say) -> str:
    return _command(machine, arguments, environment, say, in_shell=True)


def _copy(machine: Machine, arguments: Mapping[str, Any], environment: Mapping[str, str], say: Say) -> str:
    if "content" not in arguments:
        raise Failure("copy takes `content` here; a file to copy from is not on the machine")
    path, text = _place(machine, arguments.get("dest")), str(arguments["content"])
    if path.is_dir():
        raise Failure(f"{path} is a folder")
    if path.exists() and arguments.get("force") is False:
        return f"{path} is there, left alone"
    is_same = path.exists() and path.read_bytes() == text.encode()
    wanted = _mode(arguments)
    mode = wanted if wanted is not None else (path.stat().st_mode & 0o7777 if path.exists() else 0o644)
    if is_same and path.stat().st_mode & 0o7777 == mode:
        return f"{path} is as it is to be"
    write(path, text, mode)
    return f"{path} written"


def _file(machine: Machine, arguments: Mapping[str, Any], environment: Mapping[str, str], say: Say) -> str:
    path, state = _place(machine, arguments.get("path") or arguments.get("dest")), str(arguments.get("state") or "file")
    mode = _mode(arguments)
    if state == "absent":
        if not os.path.lexists(str(path)):
            return f"{path} is not there"
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(str(path))
        else:
            path.unlink()
        return f"{path} removed"
    if state == "directory":
        path.mkdir(parents=True, exist_ok=True)
    elif state == "touch":
        path.touch()
    elif state == "link":
        aim = str(arguments.get("src") or "")
        if not aim:
            raise Failure("src is missing, which the link is to lead to")
        if path.is_symlink() and os.readlink(str(path)) == aim:
            return f"{path} leads to {aim}"
        if path.is_symlink():
            path.unlink()
        os.symlink(aim, str(path))
        return f"{path} leads to {aim} now"
    elif state != "file":
        raise Failure(f"the state {state!r} is not known here; known are file, directory, absent, touch, link")
    elif not path.exists():
        raise Failure(f"{path} is not there")
    if mode is not None:
        path.chmod(mode)
    return f"{path} is there"


def _lineinfile(machine: Machine, arguments: Mapping[str, Any], environment: Mapping[str, str], say: Say) -> str:
    path, state = _place(machine, arguments.get("path")), str(arguments.get("state") or "present")
    line, pattern = str(arguments.get("line") or ""), arguments.get("regexp")
    if not path.exists() and not (state == "present" and arguments.get("create") is True):
        if state == "absent":
            return f"{path} is not there"
        raise Failure(f"{path} is not there; `create: true` would make it")
    try:
        before = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    except UnicodeDecodeError:
        raise Failure(f"{path} is not UTF-8 text") from None
    hits = [index for index, text in enumerate(before) if (re.search(str(pattern), text) if pattern else text == line)]
    after = list(before)
    if state == "absent":
        after = [text for index, text in enumerate(before) if index not in hits]
    elif hits:
        after[hits[-1]] = line
    else:
        after.append(line)
    wanted = _mode(arguments)
    mode = wanted if wanted is not None else (path.stat().st_mode & 0o7777 if path.exists() else 0o644)
    if after == before and path.exists():
        path.chmod(mode)
        return f"{path} is as it is to be"
    data = "".join(f"{text}\n" for text in after)
    write(path, data, mode)
    return f"{path} changed"


def _debug(machine: Machine, arguments: Mapping[str, Any], environment: Mapping[str, str], say: Say) -> str:
    return first_line(str(arguments.get("msg", "")))


def _mode(arguments: Mapping[str, Any]) -> int | None:
    """A mode as YAML gives it: ``"0644"`` as text is octal, ``0644`` unquoted has become a number already."""
    mode = arguments.get("mode")
    if mode is None:
        return None
    if isinstance(mode, int):
        return mode
    if re.fullmatch(r"0?[0-7]{3,4}", str(mode)):
        return int(str(mode), 8)
    raise Failure(f"the mode {mode!r} is not known here; give octal digits, such as \"0644\"")


MODULES: Mapping[str, Callable[[Machine, Mapping[str, Any], Mapping[str, str], Say], str]] = {
    "command": _command, "shell": _shell, "copy": _copy, "file": _file, "lineinfile": _lineinfile, "debug": _debug,
}
"""By name, without Ansible's prefix."""
