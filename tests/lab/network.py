"""What a lab puts into this machine's network, all of it named after the lab's number: a management network and a trunk, and cables of each host."""

from __future__ import annotations

import contextlib
import json

from tests.lab.commands import LabError, run


class Network:
    """The networks of lab ``number``: for management ``10.77.N.0/24``, where we are .1 and host I is .(10 + I), by ``eth0``; and a trunk, a switch
    that passes every VLAN and has no address, by ``eth1`` and ``eth2``."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.prefix = f"flab{number}"
        self.net = f"10.77.{number}"
        self.bridge = f"{self.prefix}br"
        self.trunk = f"{self.prefix}tr"

    def address(self, host: int) -> str:
        return f"{self.net}.{10 + host}"

    def namespace(self, host: int) -> str:
        return f"{self.prefix}-kvm{host}"

    def _plug(self, host: int) -> str:
        return f"{self.prefix}h{host}"

    def _trunks(self, host: int) -> dict[str, str]:
        """Our ends of the cables into the trunk, by the host's."""
        return {"eth1": f"{self.prefix}t{host}", "eth2": f"{self.prefix}u{host}"}

    def trunk_end(self, host: int) -> str:
        """Our end of the cable from a host's ``eth1`` into the trunk."""
        return self._trunks(host)["eth1"]

    def _mac(self, host: int) -> str:
        """The same at every power-on: others still have it in their tables."""
        return f"02:6c:61:62:{self.number:02x}:{host:02x}"

    def up(self) -> None:
        for name in (self.bridge, self.trunk):
            if name not in _links():
                run("ip", "link", "add", name, "type", "bridge")
            run("ip", "link", "set", name, "up")
        run("ip", "address", "replace", f"{self.net}.1/24", "dev", self.bridge)

    def attach(self, host: int) -> None:
        """A network namespace for a host, with its cards in it."""
        self.detach(host)
        name = self.namespace(host)
        run("ip", "netns", "add", name)
        run("ip", "link", "add", self._plug(host), "type", "veth", "peer", "name", "eth0", "address", self._mac(host), "netns", name)
        run("ip", "link", "set", self._plug(host), "master", self.bridge, "up")
        for card, ours in self._trunks(host).items():
            run("ip", "link", "add", ours, "type", "veth", "peer", "name", card, "netns", name)
            run("ip", "link", "set", ours, "master", self.trunk, "up")
        lines = ["link set lo up", "link set eth0 up", "link set eth1 up", "link set eth2 up", f"address add {self.address(host)}/24 dev eth0"]
        run("ip", "-n", name, "-batch", "-", input="\n".join(lines))

    def detach(self, host: int) -> None:
        """What was configured while it ran is lost with it, as on iron."""
        links = (self._plug(host), *self._trunks(host).values())
        for command in (*(("link", "del", link) for link in links), ("netns", "del", self.namespace(host))):
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
            if name in (self.bridge, self.trunk) or name.startswith((f"{self.prefix}h", f"{self.prefix}t", f"{self.prefix}u")):
                with contextlib.suppress(LabError):
                    run("ip", "link", "del", name)


def _links() -> list[str]:
    return [link["ifname"] for link in json.loads(run("ip", "-json", "link", "show"))]


def is_taken(number: int) -> bool:
    """Whether this machine already routes the network of that number."""
    return any(route["dst"].startswith(f"10.77.{number}.") for route in json.loads(run("ip", "-json", "route", "show")))
