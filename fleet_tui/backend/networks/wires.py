"""What carries segments on one host: found, made, removed and looked at. `linux` does it over the host's shell, `fake_wires` for hosts that
are not there; one contract suite runs over both.

A segment is one VLAN (or VXLAN) on one card of a host. Names follow CloudStack: the device ``eth1.500`` in the bridge ``breth1-500``; with
Open vSwitch ``breth1-500`` is a bridge of that one VLAN within the bridge that has the card (``ovs-vsctl add-br``, a "fake bridge"); ``vx500``
in ``brvx-500`` for VXLAN. No error of a verb names an ID: they reach people who may not know it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fleet_tui.backend.hypervisors import Nic
from fleet_tui.backend.networks.states import Isolation, Technique

_NAME = 15
"""Characters that Linux allows an interface's name."""


@dataclass(frozen=True, slots=True)
class Segment:
    """What a host is to carry."""

    isolation: Isolation
    number: int
    label: str
    """The host's card, or the Open vSwitch bridge, that has it."""
    local: str = ""
    """VXLAN: the host's own address."""
    peers: tuple[str, ...] = ()
    """VXLAN: addresses of the other hosts, to which everything unknown is sent."""

    @property
    def device(self) -> str:
        return device(self.isolation, self.label, self.number)

    @property
    def bridge(self) -> str:
        return bridge(self.isolation, self.label, self.number)


@dataclass(frozen=True, slots=True)
class Plug:
    """How a guest's card gets into a segment on one host."""

    technique: Technique
    device: str
    """What carries the segment; with Open vSwitch the bridge of that VLAN."""
    bridge: str
    """Where the card is put."""
    tag: int = 0
    """Of its port, with Open vSwitch."""

    def nic(self, mac: str, port: str) -> Nic:
        is_ovs = self.technique is Technique.OVS
        return Nic(mac, self.bridge, is_ovs, self.tag, port if is_ovs else "")


@dataclass(frozen=True, slots=True)
class Found:
    """A segment as it is on a host."""

    number: int
    technique: Technique
    device: str
    """Empty when only its bridge is there."""
    bridge: str
    """Where the device hangs; empty when in none."""
    wrong: str = ""
    """What does not belong so; empty when it is as :meth:`Wires.ensure` makes it."""
    taps: tuple[str, ...] = ()
    """Addresses of what hangs in it besides, as :func:`tap_address` gives them for guests' cards."""


class Wires(Protocol):
    """One host, connected. Verbs block and may be repeated at any point, also by two at once.

    Raise ``Unreachable`` or ``TimedOut`` for the link, ``WrongState`` for a host that lacks the card or the means.
    """

    def technique(self, isolation: Isolation, label: str) -> Technique:
        """How this host carries such segments: Open vSwitch if that has the card, else the kernel's 802.1Q; VXLAN for that isolation."""
        ...

    def ensure(self, segment: Segment, nics: Sequence[Nic] = ()) -> Plug:
        """Have it carried. What is there and right stays untouched; what fails is undone.

        Args:
            nics: cards of guests that run here: any that fell out of the segment is put in again.
        """
        ...

    def remove(self, segment: Segment) -> None:
        """Carry it no more; nothing happens when it is gone.

        Raises:
            InUse: a guest's card is in it; nothing was changed.
        """
        ...

    def present(self, isolation: Isolation, label: str) -> Sequence[Found]:
        """Every segment of that card, whoever made it, by number."""
        ...

    def close(self) -> None: ...


class Wiring(Protocol):
    """The way to hosts' wires."""

    def open(self, host_id: str) -> Wires:
        """Close it when done.

        Raises:
            Unreachable, AuthFailed: with details ``reason`` (spec 7.4).
        """
        ...


def device(isolation: Isolation, label: str, number: int) -> str:
    """Name of what carries the segment."""
    return f"{device_stem(isolation, label)}{number}"


def bridge(isolation: Isolation, label: str, number: int) -> str:
    return f"{bridge_stem(isolation, label)}{number}"


def device_stem(isolation: Isolation, label: str) -> str:
    """Name without its number; that of a card with a long name is shortened to what is left room for."""
    if isolation is Isolation.VXLAN:
        return "vx"
    return f"{label}." if len(f"{label}.4094") <= _NAME else f"fv{_short(label)}."


def bridge_stem(isolation: Isolation, label: str) -> str:
    if isolation is Isolation.VXLAN:
        return "brvx-"
    return f"br{label}-" if len(f"br{label}-4094") <= _NAME else f"fb{_short(label)}-"


def number_in(name: str, stem: str) -> int | None:
    """The ID in an interface's name; ``None`` when it has none, or another stem."""
    rest = name.removeprefix(stem)
    return int(rest) if name.startswith(stem) and re.fullmatch(r"0|[1-9]\d{0,9}", rest) else None


def tap_address(mac: str) -> str:
    """What a guest's card has as address on the host: its own, with the first byte of libvirt."""
    return f"fe{mac.lower()[2:]}"


def _short(label: str) -> str:
    return hashlib.sha256(label.encode()).hexdigest()[:6]
