"""What moto has no machines for: it gives each running instance a body on this machine, as AWS would by its user data.

A machine is a process tree with an OS folder; its data disk is the folder that the proxy keeps for the volume. The program in the user data is
run as it is; only its places are moved (``FLEET_MACHINE_ROOT``).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from fleet_tui.agent import processes
from fleet_tui.backend.providers.user_data import orders_in
from tests.cloud.account import KEY_ID, REGION, SECRET
from tests.journeys.doomed_daemon import die_with_parent

_LOOK_S = 0.15


@dataclass
class Body:
    """A running instance."""

    folder: Path
    machine: str
    orders: str
    """Digest of the user data it was started with."""
    program: subprocess.Popen[bytes]

    def cut_power(self) -> None:
        """Nothing of it is asked."""
        for _ in range(100):
            left = processes.marked(processes.marks(self.machine, self.folder))
            if not left and self.program.poll() is not None:
                return
            for process in left:
                processes.send(process, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.program.kill()
                self.program.wait(timeout=0.1)
        raise AssertionError(f"{left} of {self.machine} does not end")


class Hypervisor:
    """Follows one site's instances in moto, past the proxy: what it looks at is not what somebody is told.

    Args:
        moto: port.
        folder: holds the machines' OS disks.
        content: what the proxy keeps volumes in.
        site: tag of the site whose instances these are.
    """

    def __init__(self, moto: int, folder: Path, content: Path, site: Callable[[], str]) -> None:
        self.folder, self.content, self._site = folder, content, site
        self.bodies: dict[str, Body] = {}
        self.born: list[str] = []
        """Every instance that ever ran, in order."""
        self.trouble: list[str] = []
        self._ec2: Any = boto3.client(
            "ec2", region_name=REGION, endpoint_url=f"http://127.0.0.1:{moto}", aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET
        )
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join(timeout=30)
        for body in self.bodies.values():
            body.cut_power()

    def _follow(self) -> None:
        while not self._ended.wait(_LOOK_S):
            try:
                self._look()
            except (BotoCoreError, ClientError) as problem:
                self.trouble.append(str(problem))

    def _look(self) -> None:
        found = self._ec2.describe_instances(Filters=[{"Name": "tag:fleet:site", "Values": [self._site()]}])
        instances = {one["InstanceId"]: one for r in found["Reservations"] for one in r["Instances"]}
        for name, body in list(self.bodies.items()):
            state = instances[name]["State"]["Name"] if name in instances else "terminated"
            if state != "running" or self._orders(name)[1] != body.orders:
                body.cut_power()
                del self.bodies[name]
                if state in ("terminated", "shutting-down"):
                    shutil.rmtree(body.folder, ignore_errors=True)
        for name, instance in instances.items():
            if instance["State"]["Name"] == "running" and name not in self.bodies:
                self._power_on(name, instance)

    def _orders(self, name: str) -> tuple[str, str]:
        told = self._ec2.describe_instance_attribute(InstanceId=name, Attribute="userData")["UserData"].get("Value", "")
        text = base64.b64decode(told).decode()
        return text, hashlib.sha256(text.encode()).hexdigest()

    def _power_on(self, name: str, instance: dict[str, Any]) -> None:
        """Once its disk is there, as the program waits for it on a real machine."""
        text, digest = self._orders(name)
        orders = orders_in(text)
        attached = {one["Ebs"]["VolumeId"] for one in instance["BlockDeviceMappings"]}
        if orders["volume"] and orders["volume"] not in attached:
            return
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        if orders["volume"] and not (folder / "data").is_symlink():
            (folder / "data").symlink_to(self.content / orders["volume"])
        (folder / "user-data").write_text(text)
        with (folder / "console").open("ab") as console:
            program = subprocess.Popen(
                [sys.executable, "-I", "-S", str(folder / "user-data")], cwd=folder, stdin=subprocess.DEVNULL, stdout=console, stderr=console,
                env={"PATH": os.environ["PATH"], "FLEET_MACHINE_ROOT": str(folder)}, preexec_fn=die_with_parent,
            )
        self.bodies[name] = Body(folder, orders["machine"], digest, program)
        if name not in self.born:
            self.born.append(name)

    def console(self) -> str:
        """The last words of every machine, for the text of a failure."""
        return "\n".join(f"--- {file.parent.name}\n{file.read_text(errors='replace')[-2000:]}" for file in sorted(self.folder.glob("*/console")))
