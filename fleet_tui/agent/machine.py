"""What the parts of the agent share about the machine they work on."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, Mapping

from fleet_tui.agent import processes
from fleet_tui.agent.failures import DoorUnreachable, Failure, Stopped
from fleet_tui.agent.journal import Journal
from fleet_tui.agent.layout import DataDisk, Layout, write, write_json
from fleet_tui.agent.listener import Listener
from fleet_tui.agent.standing import Standing

Ask = Callable[[str, Mapping[str, Any]], "dict[str, Any]"]
"""(method, request) -> reply; see :meth:`Door.call` for what it raises."""
_ASK_S = 600.0
"""How long a control plane that is away is waited for."""
_INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "USER", "LOGNAME", "SHELL")


class Machine:
    """Orders, places, environment and the log. The environment is made anew by every start-up sequence."""

    def __init__(
        self, name: str, layout: Layout, document: Mapping[str, Any], journal: Journal, standing: Standing, data_serial: str = "",
        door: Ask | None = None,
    ) -> None:
        self.name = name
        self.data_serial = data_serial
        """By which the data disk is found among the machine's disks; empty where it is a folder."""
        self.layout = layout
        self.document = document
        self.journal = journal
        self.standing = standing
        self.disk = DataDisk(layout.data)
        self.marks = processes.marks(name, layout.folder)
        self.port = int(document.get("port") or self.application.get("port") or 0)
        self.environment: dict[str, str] = {}
        self.properties: dict[str, str] = {}
        self.certificate: tuple[Path, Path] | None = None
        """Certificate and key the application serves with."""
        self.root = Path("/")
        """Of the machine's own file system; another one in tests."""
        self.listener: Listener | None = None
        """Plain HTTP beside the application."""
        self._door = door
        self._stopping = threading.Event()
        self._why = ""

    @property
    def application(self) -> Mapping[str, Any]:
        return self.section("application")

    @property
    def is_whole(self) -> bool:
        """Whether the instance has this machine to itself."""
        return self.section("machine").get("is_whole") is True

    @property
    def scheme(self) -> str:
        return "https" if self.certificate else "http"

    @property
    def url(self) -> str:
        addresses = self.section("addresses")
        host = addresses.get("host_name") or addresses.get("public_ip") or addresses.get("private_ip") or "localhost"
        return f"{self.scheme}://{host}:{self.port}/"

    def section(self, name: str) -> Mapping[str, Any]:
        """A part of the start-up document; empty when it is missing."""
        value = self.document.get(name)
        return value if isinstance(value, Mapping) else {}

    def timeout(self, name: str, default: float) -> float:
        return float(self.section("timeouts").get(name) or default)

    def sayer(self, phase: str) -> Callable[[str], None]:
        return self.journal.sayer(phase)

    def reset(self) -> None:
        """The environment a start-up sequence begins with."""
        addresses = self.section("addresses")
        private = str(addresses.get("private_ip") or "127.0.0.1")
        self.port = int(self.document.get("port") or self.application.get("port") or 0)
        self.properties = {}
        self.environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        self.environment.setdefault("PATH", "/usr/local/bin:/usr/bin:/bin")
        self.environment.setdefault("LANG", "C.UTF-8")
        self.environment.update({str(name): str(value) for name, value in self.section("environment").items()})
        self.environment.update(
            {
                **self.marks,
                "HOME": str(self.layout.home),
                "FLEET_INSTANCE": str(self.section("instance").get("id", "")),
                "FLEET_LABEL": str(self.section("instance").get("label", "")),
                "FLEET_KIND": str(self.section("instance").get("kind", "")),
                "FLEET_ADDRESS": "127.0.0.1" if private.startswith("127.") else "0.0.0.0",
                "FLEET_PRIVATE_IP": private,
                "FLEET_PUBLIC_IP": str(addresses.get("public_ip") or ""),
                "FLEET_HOST_NAME": str(addresses.get("host_name") or ""),
                "FLEET_DATA_DISK": str(self.disk.folder),
                "FLEET_DATA": str(self.disk.application),
                "FLEET_CONTAINERS": str(self.disk.containers),
                "FLEET_APPLICATION": str(self.layout.application),
                "FLEET_APP_NAME": str(self.application.get("name", "")),
                "FLEET_APP_VERSION": str(self.application.get("version", "")),
                "FLEET_PROPERTIES": str(self.layout.properties),
                "FLEET_DRIVERS": str(self.layout.drivers),
                "FLEET_CODE_ENVS": str(self.layout.code_envs),
                "FLEET_PYTHON": sys.executable,
            }
        )

    def surroundings(self, **more: str) -> dict[str, str]:
        """The environment for a program started now."""
        certificate, key = self.certificate or ("", "")
        return {
            **self.environment, "FLEET_PORT": str(self.port), "FLEET_SCHEME": self.scheme,
            "FLEET_CERTIFICATE": str(certificate), "FLEET_KEY": str(key), **more,
        }

    def ask(self, method: str, request: Mapping[str, Any], limit_s: float = _ASK_S) -> dict[str, Any]:
        """Ask the control plane for something this machine alone is given; while it does not answer, again and again.

        Raises:
            DoorRefused: it said no.
            Failure: it did not answer in time.
        """
        if self._door is None:
            raise Failure("there is no way to the control plane")
        deadline = time.monotonic() + limit_s
        while True:
            try:
                return self._door(method, request)
            except DoorUnreachable as error:
                if time.monotonic() >= deadline:
                    raise Failure(f"the control plane does not answer: {error}; retry the start-up when it does") from error
            self.pause(0.5)

    def break_off(self, why: str) -> None:
        """Stop the start-up sequence or the actions that run now."""
        self._why = why
        self._stopping.set()

    def go_on(self) -> None:
        """What was to be broken off has ended."""
        self._stopping.clear()

    def stopped(self) -> str:
        """Why work is to be broken off; empty while it is not."""
        return self._why if self._stopping.is_set() else ""

    def check(self) -> None:
        """Raises Stopped when work is to be broken off."""
        if why := self.stopped():
            raise Stopped(f"broken off: {why}")

    def pause(self, seconds: float) -> None:
        """Sleep, unless work is to be broken off."""
        self._stopping.wait(seconds)
        self.check()


def set_up(machine: Machine) -> None:
    """Phase ``internal-setup``: folders, modes, environment. What an earlier agent left running is stopped.

    Raises:
        Failure: the document lacks what every start-up needs, or a leftover will not end.
    """
    say = machine.sayer("internal-setup")
    missing = [name for name in ("name", "version", "start") if not machine.application.get(name)]
    if missing:
        raise Failure(f"the start-up document lacks application {', '.join(missing)}; register the image again")
    machine.reset()
    if not 1 <= machine.port <= 65535:
        raise Failure(f"the start-up document gives port {machine.port}; set a port from 1 to 65535")
    layout = machine.layout
    for folder in (layout.configuration, layout.home, layout.logs, layout.run):
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
    write(layout.properties, "")
    write(layout.authorized_keys, "")
    lay_out(machine)
    leftovers = processes.marked(machine.marks)
    for process in leftovers:
        say(f"stopping {process}, left by an earlier agent")
    _, left = processes.end(lambda: processes.marked(machine.marks), machine.timeout("stop_s", 120.0))
    if left:
        raise Failure(f"{left[0]}, left by an earlier agent, does not end; end it by hand, then retry the start-up")
    say(f"{len(machine.environment)} environment variables, port {machine.port}, {machine.layout.folder}")


def lay_out(machine: Machine) -> None:
    """What the instance is given beside its actions: license, key for the cloud's API, directory of its fleet. What it is not given goes."""
    layout, api = machine.layout, machine.section("api_access")
    say = machine.sayer("internal-setup")
    wanted = str(machine.document.get("license") or "")
    _keep(layout.license, wanted, machine, "FLEET_LICENSE")
    if wanted:
        say("the template's license is in place")
    key = str(api.get("secret") or "") if api.get("mode") == "keypair" and api.get("storage") == "inline_encrypted" else ""
    credentials = layout.home / ".aws" / "credentials"
    credentials.parent.mkdir(mode=0o700, exist_ok=True)
    text = f"[default]\naws_access_key_id = {api.get('key_id', '')}\naws_secret_access_key = {key}\n" if key else ""
    _keep(credentials, text, machine, "AWS_SHARED_CREDENTIALS_FILE")
    if api.get("mode") == "keypair" and api.get("storage") == "secret_manager":
        machine.environment["FLEET_API_SECRET_ID"] = str(api.get("secret_id") or "")
    directory = machine.section("directory")
    if directory:
        write_json(layout.directory, dict(directory))
        machine.environment["FLEET_DIRECTORY"] = str(layout.directory)
    elif layout.directory.exists():
        layout.directory.unlink()


def _keep(path: Path, text: str, machine: Machine, variable: str) -> None:
    """Have a file say ``text`` and the environment name it, or have neither."""
    if text:
        write(path, text)
        machine.environment[variable] = str(path)
    elif path.exists():
        path.unlink()
