"""What a lab puts into this machine's network, all of it named after the lab's number: a bridge, and a cable for each host."""

from __future__ import annotations

import contextlib
import json

from tests.lab.commands import LabError, run


class Network:
    """The management network of lab ``number``: ``10.77.N.0/24``, we are .1, host I is .(10 + I)."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.prefix = f"flab{number}"
        self.net = f"10.77.{number}"
        self.bridge = f"{self.prefix}br"

    def address(self, host: int) -> str:
        return f"{self.net}.{10 + host}"

    def namespace(self, host: int) -> str:
        return f"{self.prefix}-kvm{host}"

    def _plug(self, host: int) -> str:
        return f"{self.prefix}h{host}"

    def _mac(self, host: int) -> str:
        """The same at every power-on: others still have it in their tables."""
        return f"02:6c:61:62:{self.number:02x}:{host:02x}"

    def up(self) -> None:
        if self.bridge not in _links():
            run("ip", "link", "add", self.bridge, "type", "bridge")
        run("ip", "link", "set", self.bridge, "up")
        run("ip", "address", "replace", f"{self.net}.1/24", "dev", self.bridge)

    def attach(self, host: int) -> None:
        """A network namespace for a host, with ``eth0`` in it."""
        self.detach(host)
        name = self.namespace(host)
        run("ip", "netns", "add", name)
        run("ip", "link", "add", self._plug(host), "type", "veth", "peer", "name", "eth0", "address", self._mac(host), "netns", name)
        run("ip", "link", "set", self._plug(host), "master", self.bridge, "up")
        lines = ["link set lo up", "link set eth0 up", f"address add {self.address(host)}/24 dev eth0"]
        run("ip", "-n", name, "-batch", "-", input="\n".join(lines))

    def detach(self, host: int) -> None:
        """What was configured while it ran is lost with it, as on iron."""
        for command in (("link", "del", self._plug(host)), ("netns", "del", self.namespace(host))):
            with contextlib.suppress(LabError):
                run("ip", *command)

    def plug(self, host: int, *, connected: bool) -> None:
        run("ip", "link", "set", self._plug(host), "up" if connected else "down")

    def down(self) -> None:
        """Remove whatever carries this lab's name."""
        for name in run("ip", "netns", "list").split():
            if name.startswith(f"{self.prefix}-kvm"):
                self.detach(int(name.removeprefix(f"{self.prefix}-kvm")))
        for name in _links():
            if name == self.bridge or name.startswith(f"{self.prefix}h"):
                with contextlib.suppress(LabError):
                    run("ip", "link", "del", name)


def _links() -> list[str]:
    return [link["ifname"] for link in json.loads(run("ip", "-json", "link", "show"))]


def is_taken(number: int) -> bool:
    """Whether this machine already routes the network of that number."""
    return any(route["dst"].startswith(f"10.77.{number}.") for route in json.loads(run("ip", "-json", "route", "show")))
