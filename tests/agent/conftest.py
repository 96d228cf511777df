"""One real machine on a throw-away site: the packed agent as a process of its own, booted by the local provider."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fleet_tui.backend import directories
from fleet_tui.backend.instances.bundle import pack
from fleet_tui.backend.providers import BootConfiguration, MachineSpec, MachineState
from fleet_tui.backend.providers.local import LocalProvider
from tests.agent.stub_door import StubDoor
from tests.waiting import until

HELLO = Path(__file__).parents[2] / "examples/hello-app"
MACHINE, DISK = "m-1", "d-1"


def quiet(text: str) -> None:
    pass


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Rig:
    """A machine, its disk, its door, and what it will be told at hello."""

    root: Path
    provider: LocalProvider
    door: StubDoor
    document: dict[str, Any]
    tokens: int = 0
    said: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.root / "machines" / MACHINE

    @property
    def disk(self) -> Path:
        found = self.provider.find_disk(DISK) or self.provider.ensure_disk(DISK, 10, "t-0", quiet)
        return Path(found.path)

    @property
    def port(self) -> int:
        return int(self.document["port"])

    def bundle(self, source: Path = HELLO, **changes: Any) -> None:
        """Pack a bundle and put it, changed, into the document."""
        manifest = pack(source, self.root / "bundle.tar")
        digest = hashlib.sha256((self.root / "bundle.tar").read_bytes()).hexdigest()
        self.document["application"] = {**manifest.as_document(), "bundle_sha256": digest, **changes}

    def make(self) -> None:
        spec = MachineSpec(MACHINE, "i-1", "web", "t-1")
        self.document["disk"]["path"] = str(self.disk)
        self.provider.create_machine(spec, quiet)
        self.provider.attach_disk(MACHINE, DISK)

    def boot(self, new_token: bool = True) -> None:
        if new_token:
            self.tokens += 1
            self.door.token = f"token-{self.tokens}"
        order = BootConfiguration(MACHINE, self.door.token, self.door.address)
        self.provider.boot(MACHINE, order, str(self.root / "bundle.tar"), self.said.append)

    def rebuild(self) -> None:
        """Throw the machine away, keep the disk, make another one."""
        self.provider.shut_down(MACHINE, 10.0, quiet)
        self.provider.detach_disk(MACHINE, DISK)
        self.provider.terminate(MACHINE, quiet)
        self.door.phases = {}
        self.make()

    def start(self) -> None:
        """Make, boot and wait until ready."""
        self.make()
        self.boot()
        self.ready()

    def ready(self) -> None:
        def through() -> bool:
            assert not self.door.failed(), self.door.failed()
            return self.door.states().get("ready") == "done"

        until(through, 20.0, "ready")

    def failure(self, phase: str) -> str:
        """The error of the phase, once the start-up has failed there."""
        failed = until(self.door.failed, 20.0, "a failed phase")
        assert set(failed) == {phase}, failed
        return failed[phase]

    def result(self, command: str) -> dict[str, Any]:
        return until(lambda: self.door.results.get(command), 20.0, f"the result of {command}")

    def do(self, verb: str, **arguments: Any) -> dict[str, Any]:
        return self.result(self.door.command(verb, **arguments))

    def pid(self) -> int:
        pid = self.provider.find_machine(MACHINE).pid
        assert pid is not None
        return pid

    def application_pid(self) -> int:
        return int(json.loads((self.folder / "run/application.json").read_text())["pid"])

    def state(self) -> MachineState:
        return self.provider.find_machine(MACHINE).state

    def get(self, path: str = "/") -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            return str(answer.read().decode())


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    root = tmp_path / "site"
    root.mkdir()
    document: dict[str, Any] = {
        "instance": {"id": "i-1", "label": "web", "kind": "design"},
        "disk": {"id": DISK, "path": "", "size_gb": 10},
        "port": free_port(),
        "addresses": {"private_ip": "127.0.0.1", "public_ip": "", "host_name": "localhost"},
        "certificate": {"strategy": "none", "common_name": "web", "sans": []},
        "actions": [], "environment": {},
        "timeouts": {"start_s": 10, "stop_s": 5, "action_s": 10, "install_s": 10, "health_s": 10},
        "health_interval_s": 0.2,
    }
    python = os.environ.get("FLEET_TEST_AGENT_PYTHON") or sys.executable  # to see that the oldest supported one does
    provider = LocalProvider(directories.find({"FLEET_HOME": str(root)}), python)
    door = StubDoor(root, document)
    rig = Rig(root, provider, door, document)
    rig.bundle()
    door.open()
    try:
        yield rig
    finally:
        provider.terminate(MACHINE, quiet)
        door.shut()
