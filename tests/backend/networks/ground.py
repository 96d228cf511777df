"""A zone with physical networks and guest networks, for tests to stand on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import Unreachable
from fleet_tui.backend.events.rows import EventRow
from fleet_tui.backend.hosts.rows import ZoneRow
from fleet_tui.backend.networks import CreatePhysicalNetwork, physical
from fleet_tui.backend.networks.rows import DedicationRow, NetworkOfferingRow, NetworkRow, PhysicalNetworkRow, VlanRangeRow, VlanRow
from fleet_tui.backend.networks.states import GuestType, Isolation, NetworkState, PhysicalState
from fleet_tui.backend.networks.tenants import Card
from fleet_tui.backend.store import Store, new_id

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Clock:
    """Stands still until told."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return (self.time - NOW).total_seconds()

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class Users:
    """Implements ``Tenants``: who has VMs, as the test says."""

    def __init__(self) -> None:
        self.up: dict[str, int] = {}
        self.vms: dict[str, Sequence[str]] = {}

    def running(self, tx: Session, network_ids: Collection[str]) -> Mapping[str, int]:
        return {id_: count for id_, count in self.up.items() if id_ in network_ids}

    def hosts(self, tx: Session, network_ids: Collection[str]) -> Mapping[str, Collection[str]]:
        return {}

    def on_hosts(self, tx: Session, network_ids: Collection[str] = (), host_id: str = "") -> Sequence[Card]:
        return ()

    def names(self, tx: Session, network_id: str) -> Sequence[str]:
        return self.vms.get(network_id, ())


class Hosts:
    """Implements ``Segments``: notes what it is asked for, and refuses when told to."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str, int]] = []
        self.broken = ""
        self.between: Callable[[], None] = lambda: None

    def provide(self, network_id: str, number: int) -> None:
        self._do("provide", network_id, number)

    def withdraw(self, network_id: str, number: int) -> None:
        self._do("withdraw", network_id, number)

    def _do(self, verb: str, network_id: str, number: int) -> None:
        self.said.append((verb, network_id, number))
        self.between()
        if self.broken == verb:
            raise Unreachable(f"no answer while making eth1.{number}", hint="look at the host")


def zone(tx: Session, name: str = "z1") -> ZoneRow:
    found = tx.scalar(select(ZoneRow).where(ZoneRow.name == name))
    if found is None:
        found = ZoneRow(id=f"z-{name}", name=name, allocation="Enabled", guest_cidr="10.1.0.0/16")
        tx.add(found)
        tx.flush()
    return found


def physnet(
    tx: Session, ranges: str = "600-799", name: str = "guest", isolation: Isolation = Isolation.VLAN, label: str = "eth1", in_zone: str = "z1",
) -> PhysicalNetworkRow:
    """Made as a person would, and enabled."""
    zone(tx, in_zone)
    row = physical.create(tx, CreatePhysicalNetwork(name, in_zone, isolation, {"kvm": label}, ranges), "ada")
    row.state = PhysicalState.ENABLED.value
    tx.flush()
    return row


def offering(tx: Session, name: str = "isolated", specify: bool = False, persistent: bool = False) -> NetworkOfferingRow:
    found = tx.scalar(select(NetworkOfferingRow).where(NetworkOfferingRow.name == name))
    if found is None:
        found = NetworkOfferingRow(
            id=new_id("no"), name=name, guest_type=GuestType.ISOLATED.value, specify_vlan=specify, persistent=persistent,
        )
        tx.add(found)
        tx.flush()
    return found


def network(tx: Session, on: PhysicalNetworkRow, name: str, owner: str = "") -> NetworkRow:
    """An isolated one that is ``Allocated``; ``owner`` is an account."""
    row = NetworkRow(
        id=f"gn-{name}", name=name, offering_id=offering(tx).id, physical_id=on.id, state=NetworkState.ALLOCATED.value,
        owner_kind="account" if owner else "", owner=owner, created_at=NOW, updated_at=NOW,
    )
    tx.add(row)
    tx.flush()
    return row


def taken(tx: Session) -> list[int]:
    return list(tx.scalars(select(VlanRow.number).order_by(VlanRow.number)))


def everything(tx: Session) -> dict[str, list[tuple[object, ...]]]:
    """Every row of networks, and how many events there are: to show that nothing changed."""
    tables = (*(row.__table__ for row in (PhysicalNetworkRow, VlanRangeRow, DedicationRow, VlanRow, NetworkRow, NetworkOfferingRow)), EventRow.__table__)
    return {table.name: sorted((tuple(map(str, row)) for row in tx.execute(select(table))), key=str) for table in tables}


def fabric(tx: Session) -> PhysicalNetworkRow:
    return physical.find(tx, "guest")


def state(store: Store, id_: str = "gn-shop") -> tuple[str, list[int]]:
    with store.read() as tx:
        return tx.get_one(NetworkRow, id_).state, taken(tx)
