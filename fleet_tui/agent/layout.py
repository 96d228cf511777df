"""Where things lie on the machine. One OS folder, thrown away with the machine; the data disk hangs in it as ``data``."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any


class Layout:
    """Every path of one OS folder. None is made by asking."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.configuration = folder / "configuration"
        """What setup actions write: properties, authorized keys."""
        self.application = folder / "application"
        """The unpacked bundle."""
        self.certificates = folder / "certificates"
        """Material that is fetched at every start-up; what is made here lies on the data disk."""
        self.home = folder / "home"
        self.logs = folder / "log"
        self.run = folder / "run"
        self.spools = folder / "spool"
        self.agent_file = folder / "agent.json"
        """Machine, one-time token and door, written by the provider."""
        self.lock = folder / "agent.lock"
        self.output = folder / "agent.out"
        """The agent's own stdout and stderr."""
        self.state = folder / "agent-state.json"
        self.commands = folder / "commands.json"
        self.bundle = folder / "bundle.tar"
        self.unpacked = folder / "unpacked.json"
        self.data = folder / "data"
        """Link to the data disk, made by the provider at attach."""
        self.application_log = self.logs / "application.log"
        self.application_run = self.run / "application.json"
        self.properties = self.configuration / "application.properties"
        self.authorized_keys = self.configuration / "authorized_keys"
        self.license = self.configuration / "license"
        self.directory = self.configuration / "fleet-directory.json"
        self.drivers = folder / "drivers"
        """What ``install_db_driver`` fetched, a folder for each database."""
        self.code_envs = folder / "code-envs"

    def application_or_home(self) -> Path:
        """Where commands run: the unpacked application, before that the home folder."""
        return self.application if self.application.is_dir() else self.home


class DataDisk:
    """Every path of the data disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.signature = folder / ".fleet-disk"
        self.application = folder / "application"
        self.containers = folder / "containers"
        self.certificates = folder / "certificates"
        self.version = self.application / ".fleet-version.json"


def write(path: Path, text: str, mode: int = 0o600) -> None:
    """Put a file in place whole or not at all, whenever the machine is killed."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=str(path.parent))
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.rename(name, path)
    except BaseException:
        Path(name).unlink()
        raise


def add_line(path: Path, line: str, mode: int = 0o600) -> bool:
    """Have a text file contain a line; whether it had to be added."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    if line in lines:
        return False
    write(path, "".join(f"{each}\n" for each in [*lines, line]), mode)
    return True


def write_json(path: Path, value: Any, mode: int = 0o600) -> None:
    write(path, json.dumps(value, ensure_ascii=False, sort_keys=True), mode)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file; empty when there is no such file.

    Raises:
        ValueError: the file holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{path} does not hold an object")
    return value
