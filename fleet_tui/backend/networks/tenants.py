"""VMs on networks and segments on hosts, as guest networks need to know them: slices that own those fill them in."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class Card:
    """A VM's card that must be plugged in on a host now."""

    network_id: str
    host_id: str
    vm_id: str
    vm: str
    mac: str
    port: str
    runs: bool
    """The VM is known to run there; else it is about to, is on its way, or nobody can say."""


class Tenants(Protocol):
    """VMs that have a card on a network."""

    def running(self, tx: Session, network_ids: Collection[str]) -> Mapping[str, int]:
        """How many VMs of each network take room on a host now: run, start, stop or move. A network without any may be left out."""
        ...

    def hosts(self, tx: Session, network_ids: Collection[str]) -> Mapping[str, Collection[str]]:
        """Hosts, by id, that should have the segment of each network now."""
        ...

    def on_hosts(self, tx: Session, network_ids: Collection[str] = (), host_id: str = "") -> Sequence[Card]:
        """Cards of VMs that run, start or stop on a host, or move there, or of which nobody can say; of all networks and hosts where none are
        named."""
        ...

    def names(self, tx: Session, network_id: str) -> Sequence[str]:
        """Every VM with a card on it, whatever its state, sorted."""
        ...


class Segments(Protocol):
    """What hosts have for a network. Every verb can be repeated, and acts outside any transaction."""

    def provide(self, network_id: str, number: int) -> None:
        """Make what must be there before the first VM comes: on vSphere on every host of the cluster, elsewhere nothing. Undoes
        what it made when it fails."""
        ...

    def withdraw(self, network_id: str, number: int) -> None:
        """Remove what no VM needs any more, before the ID is somebody else's."""
        ...

