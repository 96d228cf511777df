"""Who the agent is in this boot, and how it proves it.

The provider leaves machine, door and a one-time token. The token is exchanged at hello for a key and the start-up
document, both kept in a file only we can read, and then removed: an agent that is started again on the same OS folder
goes on as the same boot, so the numbers of its lines go on too.
"""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from typing import Any, Callable, Mapping

from fleet_tui.agent import AGENT_VERSION
from fleet_tui.agent.door import Door
from fleet_tui.agent.failures import DoorRefused, DoorUnreachable, Fatal
from fleet_tui.agent.layout import Layout, read_json, write_json

_HELD_S = 45.0
"""What the control plane may take to ask others for us."""


class Identity:
    """One boot's name, key and orders."""

    def __init__(self, layout: Layout, machine: str, door: str, token: str, state: Mapping[str, Any], ca_pem: str = "") -> None:
        self._layout = layout
        self.machine = machine
        self.door = door
        self.ca_pem = ca_pem
        self.token = token
        digest = hashlib.sha256(token.encode()).hexdigest() if token else str(state.get("token_sha256", ""))
        same = state.get("token_sha256") == digest
        self._token_sha256 = digest
        self.boot = str(state["boot"]) if same and state.get("boot") else uuid.uuid4().hex
        self.key = str(state.get("key", "")) if same else ""
        self.document: dict[str, Any] = dict(state.get("document") or {}) if same else {}
        self.life = int(state.get("life", 0)) + 1
        """How often this boot's agent was started."""
        self.heartbeat_s = float(state.get("heartbeat_s", 30.0))
        self.disk_use_s = float(state.get("disk_use_s", 60.0))
        self._given: Mapping[str, Any] = {"machine": machine, "door": door, "ca_pem": ca_pem}
        """What the provider left."""

    @classmethod
    def load(cls, layout: Layout) -> Identity:
        """Read what the provider and an earlier start of this boot left.

        Raises:
            Fatal: nothing to start from.
        """
        try:
            given, state = read_json(layout.agent_file), read_json(layout.state)
        except (OSError, ValueError) as error:
            raise Fatal(f"the agent's files cannot be read: {error}") from error
        if not given.get("machine") or not given.get("door"):
            raise Fatal(f"{layout.agent_file} names no machine and door; boot the machine through its provider")
        identity = cls(layout, str(given["machine"]), str(given["door"]), str(given.get("token") or ""), state, str(given.get("ca_pem") or ""))
        identity._given = given
        if not identity.token and not identity.key:
            raise Fatal("there is neither a token nor a key; boot the machine through its provider")
        identity._save()
        return identity

    @property
    def data_serial(self) -> str:
        """Of the data disk, where the machine has disks."""
        return str(self._given.get("data_serial") or "")

    def way(self) -> Door:
        """A way to the door, for one thread."""
        return Door(self.door, self.machine, self.ca_pem)

    def say_hello(self, wait: Callable[[float], bool], say: Callable[[str], None]) -> None:
        """Exchange the token; go on with the key when there is none any more.

        Args:
            wait: sleeps so many seconds; true when the agent is to stop.
            say: takes what is worth a line.

        Raises:
            Fatal: refused, or told to stop before the door answered.
        """
        if not self.token:
            say(f"going on as boot {self.boot[:8]}, which the door knows")
            return
        door, pause = self.way(), 1.0
        request = {"machine": self.machine, "boot": self.boot, "token": self.token, "pid": os.getpid(), "agent_version": AGENT_VERSION}
        while True:
            try:
                welcome = door.call("agent.hello", {**request, "clock": time.time()})
                break
            except DoorUnreachable as error:
                say(f"the door does not answer ({error}); next try in {pause:.0f} s")
                if wait(pause):
                    raise Fatal("told to stop before the door answered") from error
                pause = min(10.0, pause * 2)
            except DoorRefused as error:
                raise Fatal(f"hello was refused: {error.message} [{error.code}]") from error
            finally:
                door.close()
        self._welcomed(welcome)

    def ask(self, method: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """One call in this machine's name; see :meth:`Door.call`."""
        door = self.way()
        try:
            return door.call(method, {"machine": self.machine, "boot": self.boot, "key": self.key, **request}, _HELD_S)
        finally:
            door.close()

    def _welcomed(self, welcome: Mapping[str, Any]) -> None:
        document = welcome.get("document")
        if not welcome.get("key") or not isinstance(document, dict):
            raise Fatal("the door's welcome has no key or no document; agent and daemon do not fit together")
        self.key, self.document = str(welcome["key"]), document
        self.heartbeat_s = float(welcome.get("heartbeat_s") or 30.0)
        self.disk_use_s = float(welcome.get("disk_use_s") or 60.0)
        self._save()
        # Only now, with the key safe, is the token worthless enough to lose.
        write_json(self._layout.agent_file, {name: value for name, value in self._given.items() if name != "token"})
        self.token = ""

    def _save(self) -> None:
        write_json(
            self._layout.state,
            {
                "token_sha256": self._token_sha256, "boot": self.boot, "key": self.key, "document": self.document, "life": self.life,
                "heartbeat_s": self.heartbeat_s, "disk_use_s": self.disk_use_s,
            },
        )
