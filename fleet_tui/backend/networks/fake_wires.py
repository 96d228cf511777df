"""Segments of hosts that are not there: kept in the world of fake hypervisors, beside the guests whose cards are put into them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fleet_tui.backend.errors import InUse, WrongState
from fleet_tui.backend.hypervisors import GuestState, Nic
from fleet_tui.backend.hypervisors.fake import FakeWorld
from fleet_tui.backend.hypervisors.fake_ledger import Host
from fleet_tui.backend.networks import wires
from fleet_tui.backend.networks.linux import Shells
from fleet_tui.backend.networks.states import Isolation, Technique
from fleet_tui.backend.networks.wires import Found, Plug, Segment, tap_address
from fleet_tui.backend.remote import Shell

SWITCH = "ovs0"
"""Open vSwitch's bridge on every fake host that has one."""
_HALTED = (GuestState.OFF.value, GuestState.CRASHED.value)


class FakeWiring:
    """Implements :class:`Wiring`. A host is reached as its shell is, and breaks like it: faults at ``shell:open`` and ``shell:run:: wires*``."""

    def __init__(self, world: FakeWorld, shells: Shells) -> None:
        self._world, self._shells = world, shells

    def open(self, host_id: str) -> FakeWires:
        return FakeWires(self._world, self._shells.shell(host_id))


class FakeWires:
    """Implements :class:`Wires`."""

    def __init__(self, world: FakeWorld, shell: Shell) -> None:
        self._world, self._shell = world, shell
        self._name = world.at(shell.login.address).id

    def technique(self, isolation: Isolation, label: str) -> Technique:
        with self._asked("technique") as host:
            return _technique(host, isolation, label)

    def ensure(self, segment: Segment, nics: Sequence[Nic] = ()) -> Plug:
        with self._asked("ensure") as host:
            how = _technique(host, segment.isolation, segment.label)
            is_ovs = how is Technique.OVS
            device, bridge = (segment.bridge, SWITCH) if is_ovs else (segment.device, segment.bridge)
            made: dict[str, Any] = {
                "isolation": segment.isolation.value, "label": segment.label, "number": segment.number, "technique": how.value, "device": device,
                "bridge": bridge, "out": [],
            }
            if (there := _find(host, segment)) is not None:
                made["out"] = [mac for mac in there["out"] if mac not in {nic.mac for nic in nics}]
            if made != there:
                host.interfaces = [*(one for one in host.interfaces if one is not there), made]
                self._world.ledger.put(host)
            return Plug(how, device, bridge, segment.number if is_ovs else 0)

    def remove(self, segment: Segment) -> None:
        with self._asked("remove") as host:
            there = _find(host, segment)
            if there is None:
                return
            if self._taps(there):
                raise InUse(f"a guest's card is in the network's interface on {host.address}", hint="stop or move that guest first")
            host.interfaces = [one for one in host.interfaces if one is not there]
            self._world.ledger.put(host)

    def present(self, isolation: Isolation, label: str) -> Sequence[Found]:
        with self._asked("present") as host:
            here = [one for one in host.interfaces if (one["isolation"], one["label"]) == (isolation.value, label)]
            return tuple(self._found(one, wires.bridge(isolation, label, one["number"])) for one in sorted(here, key=lambda one: one["number"]))

    def close(self) -> None:
        self._shell.close()

    def _found(self, one: dict[str, Any], bridge: str) -> Found:
        wrong = "" if one["bridge"] in (SWITCH, bridge) else f"it hangs in {one['bridge']}"
        return Found(one["number"], Technique(one["technique"]), one["device"], one["bridge"], wrong, self._taps(one))

    def _taps(self, one: dict[str, Any]) -> tuple[str, ...]:
        guests = self._world.ledger.on_host.get(self._name, {}).values()
        return tuple(sorted(
            tap_address(nic["mac"]) for guest in guests if guest.state not in _HALTED for nic in guest.nics
            if nic["bridge"] == one["bridge"] and nic["tag"] in (0, one["number"]) and nic["mac"] not in one["out"]
        ))

    @contextmanager
    def _asked(self, verb: str) -> Iterator[Host]:
        self._shell.run(f": wires {verb}")
        with self._world.locked():
            yield self._world.host(self._name)


def _technique(host: Host, isolation: Isolation, label: str) -> Technique:
    if isolation is Isolation.GRE:
        raise WrongState(f"{host.address} cannot carry GRE networks", hint="use VLAN or VXLAN on this physical network", state="no-gre")
    if label not in host.nics:
        raise WrongState(f"{host.address} has no network card {label}", hint="correct the label of the physical network", state="no-card")
    if isolation is Isolation.VXLAN:
        return Technique.VXLAN
    if not host.technique:
        raise WrongState(
            f"{host.address} can carry no VLAN on {label}: its kernel lacks 802.1Q, and no Open vSwitch bridge has the card",
            hint="load the module 8021q, or put the card into an Open vSwitch bridge", state="no-802.1q",
        )  # fmt: skip
    return Technique(host.technique)


def _find(host: Host, segment: Segment) -> dict[str, Any] | None:
    key = (segment.isolation.value, segment.label, segment.number)
    return next((one for one in host.interfaces if (one["isolation"], one["label"], one["number"]) == key), None)
