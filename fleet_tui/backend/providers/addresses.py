"""Addresses on guest networks: the lowest free one of the network's range is a machine's until it is terminated."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import NoCapacity, WrongState
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.networks.rows import NetworkRow, NicRow
from fleet_tui.backend.providers.rows import OwnMachineRow
from fleet_tui.backend.store import in_turn

_TURN = 0x61646472  # "addr": who takes one is alone, or two daemons would take the same


@dataclass(frozen=True, slots=True)
class Card:
    """A machine's card as it is to configure it."""

    mac: str
    address: str
    prefix: int
    gateway: str
    """Empty where the network has none."""

    def as_netplan(self) -> Mapping[str, object]:
        """Network configuration, version 2, as NoCloud takes it."""
        ethernet: dict[str, object] = {"match": {"macaddress": self.mac}, "addresses": [f"{self.address}/{self.prefix}"]}
        if self.gateway:
            ethernet["routes"] = [{"to": "::/0" if ":" in self.gateway else "0.0.0.0/0", "via": self.gateway}]
        return {"version": 2, "ethernets": {"eth0": ethernet}}


def free_address(tx: Session, network: NetworkRow) -> str:
    """One that no VM of the network has. Nobody else gets it while this transaction lasts.

    Raises:
        WrongState: the network has no range.
        NoCapacity: all are taken.
    """
    in_turn(tx, _TURN)
    if not network.cidr:
        raise WrongState(
            f"guest network {network.name} has no range of addresses, so machines on it can be given none",
            hint="make one with a CIDR, and name that in the virtual network", state="no-cidr",
        )
    taken = {network.gateway, *tx.scalars(select(OwnMachineRow.address).where(OwnMachineRow.network_id == network.id)), *_of_vms(tx, network.id)}
    for address in ipaddress.ip_network(network.cidr, strict=False).hosts():
        if str(address) not in taken:
            return str(address)
    raise NoCapacity(f"every address of guest network {network.name} is taken", hint="deprovision an instance, or use another network")


def card_of(tx: Session, machine: OwnMachineRow, vm_id: str) -> Card:
    """The card of a machine's VM on its network."""
    network = tx.get_one(NetworkRow, machine.network_id)
    mac = tx.scalar(select(NicRow.mac).where(NicRow.vm_id == vm_id, NicRow.network_id == network.id).limit(1))
    if mac is None:
        raise WrongState(f"VM {machine.id} has no card on network {network.name}", hint="reprovision the instance", state="no-card")
    return Card(mac, machine.address, ipaddress.ip_network(network.cidr, strict=False).prefixlen, network.gateway)


def _of_vms(tx: Session, network_id: str) -> Sequence[str]:
    """Addresses that other VMs of the network are known by."""
    query = select(VmRow.ips).join(NicRow, NicRow.vm_id == VmRow.id).where(NicRow.network_id == network_id)
    return [address for ips in tx.scalars(query) for address in ips]
