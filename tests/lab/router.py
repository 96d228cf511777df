"""A router beside the hosts of a lab: it carries a guest network, by its tag, to the management network, where we are."""

from __future__ import annotations

import contextlib
import shutil
from ipaddress import ip_network

from tests.lab.commands import LabError, run
from tests.lab.host import Host
from tests.lab.lab import Lab

NUMBER = 9
"""Its place among the hosts, which no host has."""


class Router:
    """A machine with a foot in both networks. It is on inside the block."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._folder = lab.folder / "router"
        self.host = Host(NUMBER, self._folder, lab.network)
        self._routes: list[str] = []

    def __enter__(self) -> Router:
        shutil.rmtree(self._folder, ignore_errors=True)
        self.host.make(shared=self._lab.shared, authorized=self._lab.key_file.with_suffix(".pub").read_text().strip(), password=self._lab.password)
        self.host.on()
        self.host.wait()
        self.host.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
        return self

    def __exit__(self, *_: object) -> None:
        for route in self._routes:
            with contextlib.suppress(LabError):
                run("ip", "route", "del", route)
        self.host.off()
        shutil.rmtree(self._folder, ignore_errors=True)

    def carry(self, vlan: int, cidr: str, gateway: str) -> None:
        """Be the gateway of a guest network, and have this machine reach it through the router."""
        port = f"gw{vlan}"
        self.host.run("ovs-vsctl", "add-port", "ovs0", port, f"tag={vlan}", "--", "set", "interface", port, "type=internal")
        self.host.run("ip", "address", "add", f"{gateway}/{ip_network(cidr).prefixlen}", "dev", port)
        self.host.run("ip", "link", "set", port, "up")
        run("ip", "route", "add", cidr, "via", self.host.address)
        self._routes.append(cidr)
